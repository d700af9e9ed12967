"""Results that go around the caches.

A store to a line that is in no cache first reads the line, and the line then displaces another.
Where a step's arrays together are larger than the last cache, both are in vain: what follows will
not find the result there anyway. Non-temporal stores write whole lines to memory instead. They are
only as fast as memory, so where arrays do fit they lose (2 cores of Zen 4 with 32 MB, y = relu(a +
b), ms, ordinary / non-temporal):

    each array  12 MB: 0.38 / 0.42   16 MB: 0.72 / 0.58   26 MB: 1.73 / 1.22   40 MB: 2.85 / 2.14

and with w = relu(y) after it, both ways in both steps:

    each array  12 MB: 0.94 / 0.89   16 MB: 1.55 / 1.25   26 MB: 3.03 / 2.37   40 MB: 5.36 / 4.08

A kernel computes pieces into a buffer in L1, in its ordinary loop, and copies them from there. Only
x86 has such stores in this form; a fence at the end of a task makes them visible before the task
counts as done.
"""

from collections.abc import Sequence

import numpy as np
from llvmlite import ir

from nbcnn.kernels.cpu import jit, simd, types
from nbcnn.kernels.cpu.call import Caps
from nbcnn.kernels.impl import Scratch

PIECE = 1024  # elements of a buffer
LARGE = 1.4  # bytes of all arrays over those of the last cache
LINE = 64


def large(nbytes: int, caps: Caps) -> bool:
    """Whether results of a step over so many bytes, read and written, go around the caches."""
    return caps.streams and nbytes > LARGE * caps.l3


def scratch(nbytes: int, dtype: str, caps: Caps) -> dict[str, Scratch]:
    """The buffers, where they are needed."""
    return {"pieces": Scratch((caps.threads, PIECE), dtype)} if large(nbytes, caps) else {}


def pieces(scratch: dict, y: np.ndarray, inputs: Sequence[np.ndarray]) -> tuple[int, np.ndarray]:
    """(1, a buffer per thread) for results that go around the caches, else (0, y).

    Where y takes the memory of an input, its lines are in the caches already.
    """
    buffers = scratch.get("pieces")
    shared = any(x.ctypes.data == y.ctypes.data for x in inputs)
    if buffers is None or buffers.dtype != y.dtype or shared:
        return 0, y.reshape(1, -1)
    return 1, buffers


def _write_lines(b, args):
    """As many bytes as make whole lines of y, none where y does not begin with one."""
    x, y, count = args
    line = simd.vector_type(LINE // 4, 4)
    odd = b.icmp_unsigned("!=", b.and_(y, simd.integer(LINE - 1)), simd.integer(0))
    whole = b.select(odd, simd.integer(0), b.and_(count, simd.integer(-LINE)))
    with simd.loop(b, whole, LINE) as i:
        simd.store_past(b, simd.load_vector(b, b.add(x, i), line), b.add(y, i))
    return whole


def _fence(builder, args):
    if builder.module.triple.startswith("x86_64"):
        builder.call(simd.declare(builder, "llvm.x86.sse.sfence", ir.VoidType(), []), [])


write_lines = simd.emit(types.intp, (types.intp,) * 3, _write_lines)
fence = simd.emit(types.void, (), _fence)
"""fence(): what was written around the caches comes before what follows."""


@jit.always_inline
def write_out(buffer, y, first, count):
    """Copy `count` elements of a buffer around the caches to y[first], ..."""
    source, nbytes = simd.address(buffer), count * y.itemsize
    target = simd.address(y) + first * y.itemsize
    done = write_lines(source, target, nbytes)
    simd.copy_bytes(target + done, source + done, nbytes - done)
