"""Inner loops of the plain kernels: a few scaled rows added to a row, and dot products.

Both run along contiguous memory, so LLVM turns them into vector code for any dtype, if indices are
unsigned: for signed ones Numba adds a test for negative values that keeps it from doing so. Adding
four rows at once halves the traffic of the row that collects them: 5 loads and a store for 4
multiply-adds instead of 8 and 4.
"""

import math

from nbcnn.kernels import scalar
from nbcnn.kernels.cpu import jit
from nbcnn.kernels.cpu.types import uintp
from nbcnn.ops.conv_spec import GELU, HARD_SILU, RELU, RELU6, SIGMOID, SILU, TANH

_hard_silu, _silu, _gelu = (
    scalar.compiled(scalar.TAIL[act], "float64", {}, jit.always_inline)
    for act in (HARD_SILU, SILU, GELU)
)


@jit.always_inline
def add_rows(out, at, rows, first, stride, factors, f0, fstride, count, length):
    """out[at + i] += sum over r < count of factor r * element i of row r, for i < length.

    Factor r is factors[f0 + r * fstride]; row r starts at rows[first + r * stride].
    """
    size, target = uintp(length), uintp(at)
    r = 0
    while r + 4 <= count:
        a0, a1 = factors[f0 + r * fstride], factors[f0 + (r + 1) * fstride]
        a2, a3 = factors[f0 + (r + 2) * fstride], factors[f0 + (r + 3) * fstride]
        r0, r1 = uintp(first + r * stride), uintp(first + (r + 1) * stride)
        r2, r3 = uintp(first + (r + 2) * stride), uintp(first + (r + 3) * stride)
        for i in range(size):
            pair = a0 * rows[r0 + i] + a1 * rows[r1 + i]
            out[target + i] += pair + (a2 * rows[r2 + i] + a3 * rows[r3 + i])
        r += 4
    while r < count:
        a0, r0 = factors[f0 + r * fstride], uintp(first + r * stride)
        for i in range(size):
            out[target + i] += a0 * rows[r0 + i]
        r += 1


@jit.always_inline
def dot(a, a0, astride, b, b0, length):
    """Sum over i of a[a0 + i * astride] * b[b0 + i]."""
    total = a.dtype.type(0)
    first, step, second = uintp(a0), uintp(astride), uintp(b0)
    for i in range(uintp(length)):
        total += a[first + i * step] * b[second + i]
    return total


@jit.helper
def activate(values, at, length, act):
    """Apply an activation of `TAIL_ACTIVATIONS` to `length` values, in place. NaN stays NaN."""
    zero, one, six = values.dtype.type(0), values.dtype.type(1), values.dtype.type(6)
    if act == RELU:
        for i in range(at, at + length):
            values[i] = zero if values[i] < zero else values[i]
    elif act == SIGMOID:
        for i in range(at, at + length):
            values[i] = one / (one + math.exp(-values[i]))
    elif act == TANH:
        for i in range(at, at + length):
            values[i] = math.tanh(values[i])
    elif act == RELU6:
        for i in range(at, at + length):
            value = zero if values[i] < zero else values[i]
            values[i] = six if value > six else value
    elif act == HARD_SILU:
        for i in range(at, at + length):
            values[i] = _hard_silu(values[i], 0.0, 0.0)
    elif act == SILU:
        for i in range(at, at + length):
            values[i] = _silu(values[i], 0.0, 0.0)
    elif act == GELU:
        for i in range(at, at + length):
            values[i] = _gelu(values[i], 0.0, 0.0)
