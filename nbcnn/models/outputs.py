"""Where the outputs of `predict` are written."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn.ops.tensor import TensorSpec


class Outputs:
    """Memory for outputs: NumPy arrays, or arrays of the device `home`."""

    def __init__(self, home: Any) -> None:
        self.home = home

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        if self.home is None:
            return np.empty(shape, dtype)
        nbytes = TensorSpec(shape, dtype).nbytes
        return self.home.view(self.home.empty(nbytes), 0, shape, dtype)

    def new(self, runner: Any) -> list[Any]:
        """Arrays for one batch."""
        return [self.empty(*spec) for spec in runner.outputs]


class Growing(Outputs, ABC):
    """Of one batch after the other."""

    @abstractmethod
    def next(self, runner: Any) -> list[Any]:
        """Where the next batch's outputs belong."""

    @abstractmethod
    def whole(self) -> list[Any]:
        """The outputs of all batches."""


class Whole(Growing):
    """For a known number of samples: batches are parts of the arrays."""

    def __init__(self, home: Any, samples: int) -> None:
        super().__init__(home)
        self.samples, self.done = samples, 0
        self.arrays: list[Any] = []

    def next(self, runner: Any) -> list[Any]:
        specs = runner.outputs
        if not self.arrays:
            self.arrays = [self.empty((self.samples, *s.shape[1:]), s.dtype) for s in specs]
        start, self.done = self.done, self.done + specs[0].shape[0]
        return [array[start : self.done] for array in self.arrays]

    def whole(self) -> list[Any]:
        return self.arrays


class Pieces(Growing):
    """For as many batches as come."""

    def __init__(self, home: Any) -> None:
        super().__init__(home)
        self.batches: list[list[Any]] = []

    def next(self, runner: Any) -> list[Any]:
        self.batches.append(self.new(runner))
        return self.batches[-1]

    def whole(self) -> list[Any]:
        return [self._joined(parts) for parts in zip(*self.batches)]

    def _joined(self, parts: Sequence[Any]) -> Any:
        if self.home is None:
            return np.concatenate(parts)
        shape = (sum(map(len, parts)), *parts[0].shape[1:])
        found, start = self.empty(shape, parts[0].dtype.name), 0
        for part in parts:
            self.home.copy(found[start : start + len(part)], part)
            start += len(part)
        self.home.synchronize()
        return found
