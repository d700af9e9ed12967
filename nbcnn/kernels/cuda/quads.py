"""Reading and writing several neighbouring elements at once: what reaches a GPU's full bandwidth.

A kernel is written for `width` elements a thread, 4 or 1, which it holds in small local arrays;
these become registers. Four float32 are one access of 128 bits. All arrays begin at multiples of 64
bytes, so an index that is a multiple of four is all that takes.
"""

from functools import cache
from typing import Any

from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.ptx import load4, store4


def width_of(dtype: str, *sizes: int) -> int:
    """How many elements a thread takes where these sizes (of rows, of strides) keep its quads
    aligned.
    """
    return 4 if dtype == "float32" and all(size % 4 == 0 for size in sizes) else 1


@cache
def access(width: int) -> tuple[Any, Any]:
    """fetch(p, i, values) and put(p, i, values) for arrays of this many values."""
    if width == 1:

        @jit.device
        def fetch(p, i, values):
            values[0] = p[i]

        @jit.device
        def put(p, i, values):
            p[i] = values[0]

    else:

        @jit.device
        def fetch(p, i, values):
            values[0], values[1], values[2], values[3] = load4(p, i)

        @jit.device
        def put(p, i, values):
            store4(p, i, values[0], values[1], values[2], values[3])

    return fetch, put


@cache
def repeated(width: int) -> Any:
    """fetch(p, i, values) of one element for all places."""

    @jit.device
    def fetch(p, i, values):
        for j in range(width):
            values[j] = p[i]

    return fetch
