"""The CPU: ordinary NumPy arrays as memory, and programs of compiled kernel calls."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nbcnn import config
from nbcnn.kernels.cpu import jit, program
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.impl import Passes
from nbcnn.runtime.cpu_transfers import CpuFeed, CpuOutlet
from nbcnn.runtime.crew import crew
from nbcnn.runtime.host import host_caps
from nbcnn.runtime.transfers import Outlet

ALIGNMENT = 64


class Program:
    """A list of kernel calls, compiled and packed; `run` executes them in order.

    Calls that run in passes have a row for each. Rows share the packed arguments where no address
    differs from pass to pass, which is so for all but the first and last calls of a stretch.

    In front of the calls there may be slots: calls that come and go.
    """

    regions = 1

    def __init__(self, calls: Sequence[Call], threads: int, passes: Sequence[Passes] = ()):
        self.calls = tuple(calls)
        shared = threads > 1 and any(call.tasks > 1 for call in self.calls)
        self.threads = threads if shared else 1
        packed = [jit.pack(call.args) for call in self.calls]
        entries = jit.compile_entries(
            [(c.kernel, p.kinds) for c, p in zip(self.calls, packed)],
            (program.LEAD, program.FOLLOW) if threads > 1 else (program.LEAD,),
        )
        blocks = list(_in_order(packed, passes))
        self._packed = list({id(block): block for _, block in blocks}.values())
        self._slots = 0
        self._set_rows(
            [
                (entries[index].address, block.words.ctypes.data, self.calls[index].tasks)
                for index, block in blocks
            ]
        )

    def _set_rows(self, rows: Sequence[Sequence[int]]) -> None:
        self._rows = np.array(rows, dtype=np.int64).reshape(-1, program.ROW)
        self._counters = np.zeros(program.counters_for(len(rows), self.threads) + 1, np.int64)
        self._addresses = (self._rows.ctypes.data, self._counters.ctypes.data, len(rows))

    def run(self) -> None:
        if self.calls or self._slots:
            crew().lead(*self._addresses, self.threads)

    def reserve(self) -> int:
        """The number of a new slot, without a call."""
        at, rows = self._slots, self._rows.tolist()
        self._slots += 1
        self._set_rows([*rows[:at], (0, 0, 0), *rows[at:]])
        return at

    def set_slot(self, slot: int, row: tuple[int, int, int]) -> None:
        """Put a call into a slot: address of its entry, of its arguments, number of tasks."""
        self._rows[slot] = row

    def pointers(self, array: np.ndarray) -> list[tuple[memoryview, int, int]]:
        """Where arguments of the calls are addresses inside an array: (words, index, offset from
        its start).
        """
        start, found = array.ctypes.data, []
        for packed in self._packed:
            words = packed.words.data
            for index in packed.pointers:
                offset = words[index] - start
                if 0 <= offset < array.nbytes:
                    found.append((words, index, offset))
        return found


def _in_order(
    packed: Sequence[jit.Packed], passes: Sequence[Passes]
) -> Iterator[tuple[int, jit.Packed]]:
    """The number and the arguments of every call that a run makes."""
    done = 0
    for first, stop, starts, arrays in passes:
        yield from ((index, packed[index]) for index in range(done, first))
        moves = [_moves(packed[index], arrays) for index in range(first, stop)]
        for start in starts:
            for index, steps in enumerate(moves, first):
                yield index, _moved(packed[index], steps, start)
        done = stop
    yield from ((index, packed[index]) for index in range(done, len(packed)))


def _moves(packed: jit.Packed, arrays: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """(word, bytes from one place along axis 0 to the next) of addresses inside the arrays."""
    places = [(array.ctypes.data, array.nbytes, array.strides[0]) for array in arrays]
    return [
        (index, stride)
        for index in packed.pointers
        for start, nbytes, stride in places
        if 0 <= packed.words[index] - start < nbytes
    ]


def _moved(packed: jit.Packed, moves: Sequence[tuple[int, int]], places: int) -> jit.Packed:
    if not moves or places == 0:
        return packed
    words = packed.words.copy()
    for index, step in moves:
        words[index] += places * step
    return packed._replace(words=words)


class CpuDevice:
    """See `runtime.device.Device`."""

    kind = "cpu"
    name = "cpu"
    input_copies = 0

    def __init__(self, threads: int):
        self.caps: Caps = host_caps(threads)

    def impls(self, op: Any) -> tuple:
        from nbcnn.kernels.cpu import lists

        return lists.impls(op)

    def empty(self, nbytes: int) -> np.ndarray:
        """Uninitialised bytes, aligned to 64."""
        raw = np.empty(nbytes + ALIGNMENT, dtype=np.uint8)
        start = -raw.ctypes.data % ALIGNMENT
        return raw[start : start + nbytes]

    def view(
        self, buffer: np.ndarray, offset: int, shape: tuple[int, ...], dtype: str
    ) -> np.ndarray:
        nbytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        return buffer[offset : offset + nbytes].view(dtype).reshape(shape)

    def upload(self, target: np.ndarray, source: np.ndarray) -> None:
        np.copyto(target, source, casting="unsafe")

    def download(self, source: np.ndarray) -> np.ndarray:
        return source.copy()

    def free_bytes(self) -> None:
        """The system tells when it is too late."""

    def copy(self, target: np.ndarray, source: np.ndarray) -> None:
        np.copyto(target, source)

    def synchronize(self) -> None:
        """Nothing to wait for: `Program.run` returns when it is done."""

    @property
    def close_bytes(self) -> int:
        """A part of L3, which is to hold what two operations in turn read and write, and weights.

        On 32 MB of L3 and 1 MB of L2 for each core a MobileNet runs at 2100 images a second uncut
        and at 2400 in passes of 8 or 4 MB, 2310 of 2 MB; ResNet-20 at 5000 uncut, 5210 in passes of
        12 MB, 5290 of 8, 5240 of 4, 5050 of 2; a VGG at 2200, 2170, 2340, 2300 and 2290.
        """
        return self.caps.l3 // 4

    def program(self, calls: Sequence[Call], passes: Sequence[Passes] = ()) -> Program:
        # More threads than processors would only wait for each other: a step of 120 ms took 880 ms
        # with 64 threads on 2 processors. Results are the same.
        return Program(calls, min(self.caps.threads, config.available_threads()), passes)

    def feed(self, program: Program, target: np.ndarray, movable: bool) -> CpuFeed:
        return CpuFeed(self, program, target, movable)

    def outlet(self, program: Program, source: np.ndarray, movable: bool) -> Outlet:
        return CpuOutlet(self, program, source) if movable else Outlet(self, source)


def open_device(threads: int) -> CpuDevice:
    return CpuDevice(threads)
