"""A case: an operation and the arrays to run it on. What must come out is in `reference`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nbcnn.ops.tensor import TensorSpec


class Case(NamedTuple):
    """Floats among the inputs are given in float64 and cast to the type under test, except those
    whose places are in `wide`, which are float64 in any case.
    """

    name: str
    op: Any
    inputs: tuple[np.ndarray, ...]
    wide: tuple[int, ...] = ()

    def arrays(self, dtype: str) -> list[np.ndarray]:
        return [
            np.ascontiguousarray(a, dtype if a.dtype.kind == "f" and i not in self.wide else None)
            for i, a in enumerate(self.inputs)
        ]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Random numbers that depend on shape and seed only."""
    return np.random.default_rng((seed, *shape)).standard_normal(shape)


def positive(*shape: int, seed: int = 0) -> np.ndarray:
    return np.abs(normal(*shape, seed=seed)) + 0.125


def specs_of(arrays: Sequence[np.ndarray]) -> list[TensorSpec]:
    return [TensorSpec(a.shape, a.dtype.name) for a in arrays]
