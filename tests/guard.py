"""Arrays next to memory that may not be touched: kernels use raw pointers, here a step too far is a
crash.

Each array lies in pages of its own between two inaccessible ones, either against the one before it
or against the one after it. Scratch is guarded as well. Reading or writing a byte outside ends the
process; pytest then shows the test. POSIX only: `available` tells.
"""

import ctypes
import mmap
import os
from collections.abc import Sequence

import kernel_runner
import numpy as np

from nbcnn.kernels.impl import Impl
from nbcnn.runtime.cpu import CpuDevice

available = os.name == "posix"
_NOTHING = 0  # PROT_NONE


def empty(shape: tuple[int, ...], dtype, at_end: bool) -> np.ndarray:
    """An array against the inaccessible page after it (`at_end`) or before it, filled with NaN."""
    kind, page = np.dtype(dtype), mmap.PAGESIZE
    size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    pages = max(-(-size // page), 1)
    memory = mmap.mmap(-1, (pages + 2) * page)
    raw = np.frombuffer(memory, np.uint8)  # keeps `memory` alive
    libc = ctypes.CDLL(None, use_errno=True)
    for guard in (raw.ctypes.data, raw.ctypes.data + (pages + 1) * page):
        if libc.mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(page), _NOTHING):
            raise OSError(ctypes.get_errno(), "mprotect failed")
    start = (pages + 1) * page - size if at_end else page
    array = raw[start : start + size].view(kind).reshape(shape)
    array[...] = kernel_runner.nans((), kind)
    return array


def copy(array: np.ndarray, at_end: bool) -> np.ndarray:
    guarded = empty(array.shape, array.dtype, at_end)
    guarded[...] = array
    return guarded


def run(
    impl: Impl,
    spec,
    inputs: Sequence[np.ndarray],
    shapes: Sequence[tuple[int, ...]],
    at_end: bool,
    threads: int = 2,
) -> list[np.ndarray]:
    """As `kernel_runner.run`, with all arrays and all scratch between inaccessible pages."""
    dtype = inputs[0].dtype
    inputs = [copy(x, at_end) for x in inputs]
    outputs = [empty(shape, dtype, at_end) for shape in shapes]
    allocate = lambda shape, kind: empty(shape, kind, at_end)  # noqa: E731
    kernel_runner.bind(impl, spec, inputs, outputs, CpuDevice(threads), allocate).run()
    return [output.copy() for output in outputs]
