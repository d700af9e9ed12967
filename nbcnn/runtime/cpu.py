"""The CPU: ordinary NumPy arrays as memory, and the compiled loop that runs lists of kernel calls."""

import ctypes
import sys
import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from nbcnn.kernels.cpu import jit, program
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.runtime.host import host_caps

ALIGNMENT = 64
_region = threading.Lock()  # Numba's fallback threading layer dies on regions entered from two threads at once


class Program:
    """A list of kernel calls, compiled and packed; `run` executes them in order."""

    def __init__(self, calls: Sequence[Call], threads: int):
        self.calls = tuple(calls)
        shared = threads > 1 and any(call.tasks > 1 for call in self.calls)
        self.threads = threads if shared else 1
        self._run = program.compiled_run(parallel=shared)
        packed = [jit.pack(call.args) for call in self.calls]
        self._entries = [jit.compile_entry(call.kernel, kinds) for call, (kinds, _) in zip(self.calls, packed)]
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
            with _region:
                self._run(*self._addresses, 0, len(self.calls), self.threads, _usleep())

    def run_one(self, index: int) -> None:
        """Run a single call, for profiling."""
        with _region:
            self._run(*self._addresses, index, index + 1, self.threads, _usleep())


@cache
def _usleep() -> int:
    """Address of the C library's usleep; 0 on Windows, which has none."""
    if sys.platform == "win32":
        return 0
    return ctypes.cast(ctypes.CDLL(None).usleep, ctypes.c_void_p).value or 0


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

    def view(self, buffer: np.ndarray, offset: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
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
