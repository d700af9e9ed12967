"""Rows of a user's array into an input of a step: the first calls of the step's own program.

    y[r] = x[rows[r]],  converted to the type of y

`x`, `y`: one axis; `width`: elements of a row. Rows that need no conversion are moved as bytes, so
there is one compiled kernel for all types, and one more for each pair of types that differ. A grid
(`shares`) deals rows, and parts of long rows, out to tasks.
"""

import numpy as np

from nbcnn.kernels.cpu import jit, simd
from nbcnn.kernels.cpu.shares import BLOCK, Grid, flat, grid, grid_columns, grid_rows
from nbcnn.kernels.cpu.simd_streams import fetch, put

BYTES = 4 * BLOCK  # a task


@jit.kernel
def move(task, thread, g, width, x, rows, y):
    first, stop = grid_rows(g, task)
    begin, end = grid_columns(g, task)
    for row in range(first, stop):
        target = simd.address(y) + row * width + begin
        simd.copy_bytes(target, simd.address(x) + rows[row] * width + begin, end - begin)


@jit.kernel
def convert(task, thread, g, width, x, rows, y):
    first, stop = grid_rows(g, task)
    begin, end = grid_columns(g, task)
    for row in range(first, stop):
        source, target = rows[row] * width, row * width
        for i in range(begin, end):
            put(y, target + i, fetch(x, source + i), 0)


def known(dtype: np.dtype) -> bool:
    """Whether the kernels take numbers of this type."""
    return dtype.isnative and (dtype.kind in "biu" or dtype.name in ("float32", "float64"))


def gathering(x: np.ndarray, y: np.ndarray) -> tuple[jit.Kernel, Grid, int, np.ndarray, np.ndarray]:
    """(kernel, grid, width, x, y) that fill y with as many rows of x."""
    width = y.size // len(y)
    if x.dtype == y.dtype:
        size = width * y.itemsize
        source, target = (a.reshape(-1).view(np.uint8) for a in (x, y))
        return move, grid(len(y), size, BYTES), size, source, target
    return convert, grid(len(y), width), width, flat(x), flat(y)
