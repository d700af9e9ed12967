"""Where batches come from: arrays cut into batches, generators, and sequences of batches.

A source gives batches; a batch fills the input arrays of a step. Arrays are read in place: a
shuffled batch is gathered straight into the step's input, through a small staging array where the
data type or the device differs. Nothing as large as the data is allocated while training.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nbcnn import random_state
from nbcnn.models.prepare import Prepared, Specs, split_off
from nbcnn.utils import unpack_x_y_sample_weight


class Batch(NamedTuple):
    """`fill(runner)` copies the batch into the arrays of a step made for its specs."""

    size: int
    specs: Specs
    fill: Callable[[Any], None]


class Rows:
    """Copies rows of one array into inputs of steps."""

    def __init__(self, array: np.ndarray, dtype: str) -> None:
        # np.take copies a whole array that is not contiguous, at every call.
        self.array = np.ascontiguousarray(array)
        self.dtype = dtype
        self._staging: dict[int, np.ndarray] = {}

    def put(self, device: Any, target: Any, rows: slice | np.ndarray) -> None:
        if isinstance(rows, slice):
            device.upload(target, self.array[rows])
        elif device.kind == "cpu" and self.array.dtype == self.dtype:
            np.take(self.array, rows, axis=0, out=target, mode="clip")
        else:
            staging = self._staging_of(len(rows))
            np.take(self.array, rows, axis=0, out=staging, mode="clip")
            device.upload(target, staging)

    def _staging_of(self, size: int) -> np.ndarray:
        if size not in self._staging:
            self._staging[size] = np.empty((size, *self.array.shape[1:]), self.array.dtype)
        return self._staging[size]


class Source:
    """Batches, pass after pass.

    steps : batches in a pass, None where that is unknown.
    """

    steps: int | None = None

    def one_pass(self) -> Iterator[Batch]:
        raise NotImplementedError

    def __init__(self) -> None:
        self._running: Iterator[Batch] = iter(())

    def batches(self, limit: int | None = None) -> Iterator[Batch]:
        """One pass, or `limit` batches that go on where the last call ended.

        With a limit the data starts again at its end; a source that cannot gives fewer.
        """
        if limit is None:
            yield from self.one_pass()
            return
        for _ in range(limit):
            batch = next(self._running, None)
            if batch is None:
                self._running = self.one_pass()
                batch = next(self._running, None)
            if batch is None:
                return
            yield batch


class ArraySource(Source):
    """Arrays of equal length.

    shuffle : True for a new order of samples in every pass, "batch" for a new order of batches.
    """

    def __init__(self, data: Prepared, batch_size: int, shuffle: bool | str = False) -> None:
        super().__init__()
        self.samples, self.batch_size, self.shuffle = data.samples, batch_size, shuffle
        self.steps = -(-data.samples // batch_size)
        self._x = [Rows(array, dtype) for array, dtype in zip(data.x, data.x_types)]
        self._y = [
            None if array is None else Rows(array, dtype)
            for array, dtype in zip(data.y, data.y_types)
        ]
        self._w = [Rows(array, data.weight_type) for array in data.w if array is not None]
        self._data = data

    def split(
        self, where: str, share: float, batch_size: int
    ) -> tuple["ArraySource", "ArraySource"]:
        """A source of the first samples, and one of the last `share` of them in their order."""
        kept, held_out = split_off(where, self._data, share)
        first = ArraySource(kept, self.batch_size, self.shuffle)
        return first, ArraySource(held_out, batch_size)

    def one_pass(self) -> Iterator[Batch]:
        order = random_state.generator().permutation(self.samples) if self.shuffle is True else None
        starts = np.arange(0, self.samples, self.batch_size)
        if self.shuffle == "batch":
            random_state.generator().shuffle(starts)
        specs: dict[int, Specs] = {}
        for start in starts.tolist():
            stop = min(start + self.batch_size, self.samples)
            size = stop - start
            if size not in specs:
                specs[size] = self._data.specs(size)
            rows = slice(start, stop) if order is None else order[start:stop]
            yield Batch(size, specs[size], self._filler(rows))

    def _filler(self, rows: slice | np.ndarray) -> Callable[[Any], None]:
        def fill(runner: Any) -> None:
            device = runner.device
            for source, target in zip(self._x, runner.x):
                source.put(device, target, rows)
            for given, target in zip(self._y, runner.y):
                if given is not None:
                    given.put(device, target, rows)
            for source, target in zip(self._w, runner.w):
                source.put(device, target, rows)

        return fill


def whole_batch(data: Prepared) -> Batch:
    """All of `data` as a single batch."""

    def fill(runner: Any) -> None:
        device = runner.device
        for array, target in zip(data.x, runner.x):
            device.upload(target, array)
        for given, target in zip(data.y, runner.y):
            if given is not None:
                device.upload(target, given)
        weights = (array for array in data.w if array is not None)
        for array, target in zip(weights, runner.w):
            device.upload(target, array)

    return Batch(data.samples, data.specs(data.samples), fill)


class StreamSource(Source):
    """Batches as they come from a generator, a loader, or a sequence such as `PyDataset`.

    A batch is x, (x, y) or (x, y, sample_weight). `prepare` checks its parts.
    """

    def __init__(
        self, stream: Any, prepare: Callable[..., Prepared], shuffle: bool | str = False
    ) -> None:
        super().__init__()
        self.stream, self.prepare, self.shuffle = stream, prepare, shuffle
        self.is_sequence = is_batch_sequence(stream)
        self._ahead: list[Any] = []
        if self.is_sequence or hasattr(stream, "__len__"):
            self.steps = len(stream)

    def peek(self) -> Prepared:
        """The first batch, which stays in the stream."""
        if self.is_sequence:
            return self.prepare(*unpack_x_y_sample_weight(self.stream[0]))
        first = next(iter(self.stream), self)
        if first is self:
            raise ValueError("the data yields no batches")
        if iter(self.stream) is self.stream:  # an iterator: what was read would be lost
            self._ahead = [first]
        return self.prepare(*unpack_x_y_sample_weight(first))

    def one_pass(self) -> Iterator[Batch]:
        items = (
            self._sequence() if self.is_sequence else itertools.chain(self._first(), self.stream)
        )
        for item in items:
            yield whole_batch(self.prepare(*unpack_x_y_sample_weight(item)))

    def _first(self) -> list[Any]:
        ahead, self._ahead = self._ahead, []
        return ahead

    def _sequence(self) -> Iterator[Any]:
        _call(self.stream, "on_epoch_begin")
        order = np.arange(len(self.stream))
        if self.shuffle:
            random_state.generator().shuffle(order)
        for index in order.tolist():
            yield self.stream[index]
        _call(self.stream, "on_epoch_end")


def _call(stream: Any, hook: str) -> None:
    function = getattr(stream, hook, None)
    if function is not None:
        function()


def is_batch_sequence(data: Any) -> bool:
    """Whether `data` has numbered batches: `__len__` and `__getitem__`, and is no array or
    container.
    """
    plain = isinstance(data, (list, tuple, Mapping, str, bytes, np.ndarray))
    numbered = hasattr(data, "__len__") and hasattr(data, "__getitem__")
    return numbered and not plain and not hasattr(data, "__array__")


def is_stream(data: Any) -> bool:
    """Whether `data` gives batches, in contrast to holding all samples."""
    if is_batch_sequence(data):
        return True
    container = isinstance(data, (list, tuple, Mapping, str, bytes, Sequence))
    return hasattr(data, "__iter__") and not container and not hasattr(data, "__array__")
