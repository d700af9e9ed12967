"""Where batches come from: arrays cut into batches, generators, and sequences of batches.

A source gives batches; a batch is loaded into a step. Arrays are read in place: a step takes the
rows of a batch from them as it runs, in whatever order and data type they are. Nothing as large as
the data is allocated while training.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nbcnn import random_state
from nbcnn.models.loading import batches_of
from nbcnn.models.prepare import Prepared, Specs, split_off
from nbcnn.runtime.cuda_memory import is_on_a_gpu
from nbcnn.utils import unpack_x_y_sample_weight


class Batch(NamedTuple):
    """`size` rows of some arrays, those of a step's inputs, targets and weights in order: rows
    `order[start], order[start + 1], ...`, without an order rows start, start + 1, ...
    """

    size: int
    specs: Specs
    arrays: list[np.ndarray | None]
    order: np.ndarray | None = None
    start: int = 0

    def load(self, runner: Any) -> None:
        runner.load(self.arrays, self.order, self.start)


def arrays_of(data: Prepared) -> list[np.ndarray | None]:
    """What steps take rows of; contiguous, because rows are."""
    given = (*data.x, *data.y, *(w for w in data.w if w is not None))
    return [a if a is None or is_on_a_gpu(a) else np.ascontiguousarray(a) for a in given]


class Source(ABC):
    """Batches, pass after pass.

    steps : batches in a pass, None where that is unknown. restarts : whether a new pass begins with
    the first batch, in contrast to what an iterator has left.
    """

    steps: int | None = None
    restarts = True

    @abstractmethod
    def one_pass(self) -> Iterator[Batch]:
        """All batches once."""

    def __init__(self) -> None:
        self._running: Iterator[Batch] = iter(())
        self._pass_state: dict[str, Any] | None = None  # of the random generator, as it began
        self._given = 0  # batches of this pass
        self._resumed = False

    def batches(self, limit: int | None = None, anew: bool = False) -> Iterator[Batch]:
        """One pass, or `limit` batches that go on where the last call ended.

        With a limit the data starts again at its end; a source that cannot gives fewer. `anew`:
        begin with the first batch, where the source can.
        """
        if anew and self.restarts:
            self._begin()
            yield from itertools.islice(self._running, limit)
            return
        if limit is None:
            if not self._resumed:
                self._begin()
            self._resumed = False
            for batch in self._running:
                self._given += 1
                yield batch
            return
        for _ in range(limit):
            found = next(self._running, None)
            if found is None:
                self._begin()
                found = next(self._running, None)
            if found is None:
                return
            self._given += 1
            yield found

    def _begin(self) -> None:
        self._pass_state, self._given = random_state.get_state(), 0
        self._running = self.one_pass()

    def state(self) -> dict[str, Any] | None:
        """Where the pass is, as plain values; None before the first."""
        if self._pass_state is None:
            return None
        return {"random_state": self._pass_state, "given": self._given}

    def resume(self, state: Mapping[str, Any]) -> Batch | None:
        """Go on where an equal source was; returns the last batch that was given there. Sets the
        global random generator.
        """
        random_state.set_state(state["random_state"])
        self._begin()
        latest = None
        while self._given < state["given"]:
            latest = next(self._running, None)
            if latest is None:
                raise ValueError("the data is shorter than that of the training to resume")
            self._given += 1
        self._resumed = True
        return latest


class ArraySource(Source):
    """Arrays of equal length.

    shuffle : True for a new order of samples in every pass, "batch" for a new order of batches.
    """

    def __init__(self, data: Prepared, batch_size: int, shuffle: bool | str = False) -> None:
        super().__init__()
        self.samples, self.batch_size, self.shuffle = data.samples, batch_size, shuffle
        self.steps = -(-data.samples // batch_size)
        self._arrays, self._data = arrays_of(data), data

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
            size = min(self.batch_size, self.samples - start)
            if size not in specs:
                specs[size] = self._data.specs(size)
            yield Batch(size, specs[size], self._arrays, order, start)


def whole_batch(data: Prepared) -> Batch:
    """All of `data` as a single batch."""
    return Batch(data.samples, data.specs(data.samples), arrays_of(data))


class StreamSource(Source):
    """Batches as they come from a generator, a loader, or a sequence such as `PyDataset`.

    A batch is x, (x, y) or (x, y, sample_weight). `prepare` checks its parts.
    """

    def __init__(
        self, stream: Any, prepare: Callable[..., Prepared], shuffle: bool | str = False
    ) -> None:
        super().__init__()
        self.stream, self.prepare = stream, prepare
        self.shuffle = shuffle and not getattr(stream, "_keeps_order", False)
        self.is_sequence = is_batch_sequence(stream)
        self._opened: Iterable[Any] | None = None  # what `peek` has looked into
        self.restarts = not isinstance(stream, Iterator)
        if self.is_sequence or hasattr(stream, "__len__"):
            self.steps = len(stream)

    def peek(self) -> Prepared:
        """The first batch, which stays in the stream."""
        if self.is_sequence:
            return self.prepared(self.stream[0])
        items = iter(self.stream)
        first = next(items, self)
        if first is self:
            raise ValueError("the data yields no batches")
        self._opened = itertools.chain([first], items)
        return self.prepared(first)

    def prepared(self, item: Any) -> Prepared:
        """The checked arrays of what the stream gives."""
        return self.prepare(*unpack_x_y_sample_weight(item))

    def one_pass(self) -> Iterator[Batch]:
        for item in self._sequence() if self.is_sequence else self._rest():
            yield whole_batch(self.prepared(item))

    def _rest(self) -> Iterable[Any]:
        opened, self._opened = self._opened, None
        return self.stream if opened is None else opened

    def _sequence(self) -> Iterator[Any]:
        _call(self.stream, "on_epoch_begin")
        order = np.arange(len(self.stream))
        if self.shuffle:
            random_state.generator().shuffle(order)
        yield from batches_of(self.stream, order.tolist())
        _call(self.stream, "on_epoch_end")


def _call(stream: Any, hook: str) -> None:
    function = getattr(stream, hook, None)
    if function is not None:
        function()


def is_batch_sequence(data: Any) -> bool:
    """Whether `data` has numbered batches: `__len__` and `__getitem__`, and is no array or
    container.
    """
    plain = isinstance(data, (list, tuple, Mapping, str, bytes, np.ndarray)) or is_on_a_gpu(data)
    numbered = hasattr(data, "__len__") and hasattr(data, "__getitem__")
    return numbered and not plain and not hasattr(data, "__array__")


def is_stream(data: Any) -> bool:
    """Whether `data` gives batches, in contrast to holding all samples."""
    if is_batch_sequence(data):
        return True
    if is_on_a_gpu(data):
        return False
    container = isinstance(data, (list, tuple, Mapping, str, bytes, Sequence))
    return hasattr(data, "__iter__") and not container and not hasattr(data, "__array__")
