"""The CPU: ordinary NumPy arrays as memory, and programs of compiled kernel calls."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn import config
from nbcnn.kernels.cpu import jit, program
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.runtime.cpu_transfers import CpuFeed, CpuOutlet
from nbcnn.runtime.crew import crew
from nbcnn.runtime.host import host_caps
from nbcnn.runtime.transfers import Outlet

ALIGNMENT = 64


class Program:
    """A list of kernel calls, compiled and packed; `run` executes them in order.

    In front of them there may be slots: calls that come and go.
    """

    regions = 1

    def __init__(self, calls: Sequence[Call], threads: int):
        self.calls = tuple(calls)
        shared = threads > 1 and any(call.tasks > 1 for call in self.calls)
        self.threads = threads if shared else 1
        self._packed = [jit.pack(call.args) for call in self.calls]
        entries = jit.compile_entries(
            [(call.kernel, packed.kinds) for call, packed in zip(self.calls, self._packed)],
            (program.LEAD, program.FOLLOW) if threads > 1 else (program.LEAD,),
        )
        self._slots = 0
        self._set_rows(
            [
                (entry.address, packed.words.ctypes.data, call.tasks)
                for call, entry, packed in zip(self.calls, entries, self._packed)
            ]
        )

    def _set_rows(self, rows: Sequence[Sequence[int]]) -> None:
        self._rows = np.array(rows, dtype=np.int64).reshape(-1, program.ROW)
        self._counters = np.zeros(2 * len(rows) + 1, dtype=np.int64)
        self._addresses = (self._rows.ctypes.data, self._counters.ctypes.data, len(rows))

    def run(self) -> None:
        if self.calls or self._slots:
            crew().lead(*self._addresses, self.threads)

    def run_one(self, index: int) -> None:
        """Run a single call, for profiling."""
        rows, counters, _ = self._addresses
        row = self._slots + index
        crew().lead(rows + self._rows[0].nbytes * row, counters, 1, self.threads)

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


class CpuDevice:
    """See `runtime.device.Device`."""

    kind = "cpu"
    name = "cpu"

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

    def synchronize(self) -> None:
        """Nothing to wait for: `Program.run` returns when it is done."""

    def program(self, calls: Sequence[Call]) -> Program:
        # More threads than processors would only wait for each other: a step of 120 ms took 880 ms
        # with 64 threads on 2 processors. Results are the same.
        return Program(calls, min(self.caps.threads, config.available_threads()))

    def feed(self, program: Program, target: np.ndarray, movable: bool) -> CpuFeed:
        return CpuFeed(self, program, target, movable)

    def outlet(self, program: Program, source: np.ndarray, movable: bool) -> Outlet:
        return CpuOutlet(self, program, source) if movable else Outlet(self, source)


def open_device(threads: int) -> CpuDevice:
    return CpuDevice(threads)
