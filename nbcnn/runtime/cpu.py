"""The CPU: ordinary NumPy arrays as memory, and programs of compiled kernel calls."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn.kernels.cpu import jit, program
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.runtime.crew import crew
from nbcnn.runtime.host import host_caps

ALIGNMENT = 64


class Program:
    """A list of kernel calls, compiled and packed; `run` executes them in order."""

    def __init__(self, calls: Sequence[Call], threads: int):
        self.calls = tuple(calls)
        shared = threads > 1 and any(call.tasks > 1 for call in self.calls)
        self.threads = threads if shared else 1
        packed = [jit.pack(call.args) for call in self.calls]
        self._entries = jit.compile_entries(
            [(call.kernel, kinds) for call, (kinds, _) in zip(self.calls, packed)]
        )
        self._blocks = [block for _, block in packed]
        self._rows = np.array(
            [
                (entry.address, block.ctypes.data, call.tasks)
                for call, entry, block in zip(self.calls, self._entries, self._blocks)
            ],
            dtype=np.int64,
        ).reshape(-1, program.ROW)
        self._counters = np.zeros(2 * len(self.calls) + 1, dtype=np.int64)
        self._addresses = (self._rows.ctypes.data, self._counters.ctypes.data)

    def run(self) -> None:
        if self.calls:
            crew().lead(*self._addresses, len(self.calls), self.threads)

    def run_one(self, index: int) -> None:
        """Run a single call, for profiling."""
        rows, counters = self._addresses
        crew().lead(rows + self._rows[0].nbytes * index, counters, 1, self.threads)


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
        return Program(calls, self.caps.threads)


def open_device(threads: int) -> CpuDevice:
    return CpuDevice(threads)
