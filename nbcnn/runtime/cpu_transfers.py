"""Batches into a CPU program without a copy where that is possible, else by a kernel of its own.

Kernels get arrays by address, and where these addresses stand is known (`Program.pointers`). So
rows that lie in a user's array as kernels want them are not copied: the addresses are changed.
Shuffled rows, and those of another type, are gathered by the program's first calls, on all its
threads. Results are written straight to where the user gets them, likewise.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from nbcnn.kernels.cpu import gather, jit
from nbcnn.runtime.transfers import Feed, Outlet

if TYPE_CHECKING:
    from nbcnn.runtime.cpu import CpuDevice, Program


NOTHING = (0, 0, 0)  # the row of a slot without a call


class Pointers:
    """The places in a program's arguments that hold addresses inside one array."""

    def __init__(self, program: "Program", array: np.ndarray):
        self._places = program.pointers(array)
        self._home = array.ctypes.data

    def move(self, address: int) -> None:
        for words, index, offset in self._places:
            words[index] = address + offset

    def back(self) -> None:
        self.move(self._home)


class Gathering:
    """A call of a gathering kernel, for sources of one data type; `row` is what a slot takes."""

    def __init__(self, source: np.ndarray, target: np.ndarray):
        self._every = np.arange(len(target))
        kernel, grid, width, x, y = gather.gathering(source, target)
        self._packed = jit.pack((grid, width, x, self._every, y))
        entry = jit.compile_entry(kernel, self._packed.kinds)
        self.row = (entry.address, self._packed.words.ctypes.data, grid.tasks)
        self._words = self._packed.words.data

    def begin(self, source: np.ndarray, order: np.ndarray | None) -> Callable[[int], None]:
        """What takes the call to other rows of this source."""
        at_source, at_rows, _ = self._packed.pointers
        self._words[at_source] = source.ctypes.data
        if order is not None:
            return partial(self._advance, at_rows, order.ctypes.data, order.itemsize)
        self._words[at_rows] = self._every.ctypes.data
        return partial(self._advance, at_source, source.ctypes.data, source.nbytes // len(source))

    def _advance(self, index: int, address: int, stride: int, start: int) -> None:
        self._words[index] = address + stride * start


class CpuFeed(Feed):
    """`movable`: whether kernels may be pointed to the user's memory."""

    def __init__(self, device: "CpuDevice", program: "Program", target: np.ndarray, movable: bool):
        super().__init__(device, target)
        self._program, self._slot = program, program.reserve()
        self._pointers = Pointers(program, target) if movable else None
        self._gatherings: dict[np.dtype, Gathering] = {}
        self._source: np.ndarray | None = None
        self._order: np.ndarray | None = None
        self._advance: Callable[[int], None] = self._copy

    def load(self, source: np.ndarray, order: np.ndarray | None, start: int) -> None:
        if source is not self._source or order is not self._order:
            self.release()
            self._source, self._order = source, order
            self._advance = self._way(source, order)
        self._advance(start)

    def release(self) -> None:
        if self._source is not None:
            self._source = self._order = None
            self._program.set_slot(self._slot, NOTHING)
            if self._pointers is not None:
                self._pointers.back()

    def _way(self, source: np.ndarray, order: np.ndarray | None) -> Callable[[int], None]:
        kind, flags = source.dtype, source.flags
        if not (source.size and flags.c_contiguous and flags.aligned):
            return self._copy
        if order is None and kind == self._target.dtype and self._pointers is not None:
            return partial(self._point, source.ctypes.data, source.nbytes // len(source))
        if not gather.known(kind):
            return self._copy
        if kind not in self._gatherings:
            self._gatherings[kind] = Gathering(source, self._target)
        self._program.set_slot(self._slot, self._gatherings[kind].row)
        return self._gatherings[kind].begin(source, order)

    def _copy(self, start: int) -> None:
        assert self._source is not None
        super().load(self._source, self._order, start)

    def _point(self, address: int, row: int, start: int) -> None:
        assert self._pointers is not None
        self._pointers.move(address + row * start)


class CpuOutlet(Outlet):
    """Of a result that has memory of its own, which nothing but this program uses."""

    def __init__(self, device: "CpuDevice", program: "Program", source: np.ndarray):
        super().__init__(device, source)
        self._pointers = Pointers(program, source)

    def aim(self, target: np.ndarray) -> None:
        self._target = target  # kept alive while it is pointed to
        self._pointers.move(target.ctypes.data)

    def collect(self) -> None:
        """The result is there already."""

    def release(self) -> None:
        super().release()
        self._pointers.back()
