"""Rows of an array that a step is given, converted to what it takes: one thread per element."""

from functools import cache
from typing import NamedTuple

import numpy as np
from numba import cuda

from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import Caps, Launch, launch
from nbcnn.kernels.cuda.elementwise import bind_cast
from nbcnn.ops.broadcast import FlatSpec


class RowsSpec(NamedTuple):
    rows: int
    width: int  # elements of a row


@cache
def gather_kernel(dtype: str):
    """Row i of y is row order[i] of x."""
    number = np.dtype(dtype).type

    @jit.kernel
    def kernel(s, order, x, y):
        for i in range(cuda.grid(1), s.rows * s.width, cuda.gridsize(1)):
            y[i] = number(x[order[i // s.width] * s.width + i % s.width])

    return kernel


def gather(caps: Caps, order, x, y) -> list[Launch]:
    """`order`: as many row numbers as y has rows, int64."""
    spec = RowsSpec(len(y), y.size // len(y) if y.size else 0)
    return launch(gather_kernel(y.dtype.name), caps, y.size, spec, order, x, y)


def convert(caps: Caps, x, y) -> list[Launch]:
    """y is x, in the type of y."""
    return bind_cast(FlatSpec(y.size), caps, [x], [y], {})
