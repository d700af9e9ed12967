"""Operands of products on tensor cores: rounded, and laid out as the kernels read them.

    packed[matrix, row, (u, v), step] = r(w[matrix, tap (u, v), row, step])

where r rounds to TF32 or bfloat16.

The steps of the sum of a tap are side by side, padded with zeros to whole chunks of 16 bytes.
Weights change once per training step, so in inference packed ones are kept. Memory bound: one
thread makes one 32-bit word (weights) or one chunk (activations).
"""

from typing import NamedTuple

from numba import cuda, int64

from nbcnn.kernels.cuda import jit, ptx
from nbcnn.kernels.cuda.call import Caps, Launch, launch
from nbcnn.kernels.cuda.mma_tiles import PER_CHUNK, chunks_of, flat, quotient
from nbcnn.kernels.impl import Scratch
from nbcnn.ops.conv_spec import Conv2DSpec, MatmulSpec


class Weights(NamedTuple):
    """What of w goes where: rows x taps (kh, kw) x steps. Tap (u, v) is (u0 + u * su, v0 + v * sv)
    of w; the `*_stride`s are in numbers of w.
    """

    rows: int
    kh: int
    kw: int
    steps: int
    row_stride: int
    step_stride: int
    u_stride: int = 0
    v_stride: int = 0
    u0: int = 0
    su: int = 1
    v0: int = 0
    sv: int = 1
    batch: int = 1
    matrix_stride: int = 0

    def padded(self, bfloat16: bool) -> int:
        """Numbers per tap in the packed weights."""
        return padded(self.steps, bfloat16)

    def words(self, bfloat16: bool) -> int:
        numbers = self.batch * self.rows * self.kh * self.kw * self.padded(bfloat16)
        return numbers // 2 if bfloat16 else numbers


def padded(count: int, bfloat16: bool) -> int:
    return chunks_of(count, bfloat16) * PER_CHUNK[bfloat16]


def filters(s: Conv2DSpec) -> Weights:
    """A row per filter, as the forward pass reads w (kh, kw, c, f)."""
    return Weights(s.f, s.kh, s.kw, s.c, 1, s.f, s.kw * s.c * s.f, s.c * s.f)


def channels(s: Conv2DSpec) -> Weights:
    """A row per channel, as the data gradient reads w."""
    return Weights(s.c, s.kh, s.kw, s.f, s.f, 1, s.kw * s.c * s.f, s.c * s.f)


def columns(s: MatmulSpec) -> Weights:
    """A row per column of y, of w (k, n) or (n, k)."""
    strides = (s.k, 1) if s.tw else (1, s.n)
    batch = s.batch if s.wb else 1
    return Weights(s.n, 1, 1, s.k, *strides, batch=batch, matrix_stride=s.k * s.n)


@jit.device
def number(s, w, row, tap, step):
    """Of the packed weights; `row` counts through all matrices."""
    if step >= s.steps:
        return ptx.from_bits(0)
    u, matrix = quotient(tap, s.kw), quotient(row, s.rows)
    v = tap - u * s.kw
    at = matrix * int64(s.matrix_stride) + (row - matrix * s.rows) * s.row_stride
    at += (s.u0 + u * s.su) * s.u_stride + (s.v0 + v * s.sv) * s.v_stride
    return w[at + step * s.step_stride]


@jit.kernel
def pack_tf32(s, steps, w, packed):
    """`steps`: padded."""
    taps = s.kh * s.kw
    for i in range(cuda.grid(1), s.batch * s.rows * taps * steps, cuda.gridsize(1)):
        line = quotient(i, steps)
        row = quotient(line, taps)
        value = number(s, w, row, line - row * taps, i - line * steps)
        packed[i] = ptx.from_bits(ptx.round_tf32(value))


@jit.kernel
def pack_bf16(s, steps, w, packed):
    taps, pairs = s.kh * s.kw, steps // 2
    for i in range(cuda.grid(1), s.batch * s.rows * taps * pairs, cuda.gridsize(1)):
        line = quotient(i, pairs)
        row, step = quotient(line, taps), (i - line * pairs) * 2
        tap = line - row * taps
        low, high = number(s, w, row, tap, step), number(s, w, row, tap, step + 1)
        packed[i] = ptx.from_bits(ptx.pack_bf16(low, high))


@jit.kernel
def halve_kernel(rows, steps, x, halves):
    """halves (rows, chunks of 8) = x (rows, steps) in bfloat16."""
    chunks = (steps + 7) // 8
    for i in range(cuda.grid(1), rows * chunks, cuda.gridsize(1)):
        row = quotient(i, chunks)
        first = (i - row * chunks) * 8
        at = int64(row) * steps + first
        if steps % 8 == 0:
            a, b, c, d = ptx.load4(x, at)
            e, f, g, h = ptx.load4(x, at + 4)
            ptx.store4(
                halves,
                4 * i,
                ptx.from_bits(ptx.pack_bf16(a, b)),
                ptx.from_bits(ptx.pack_bf16(c, d)),
                ptx.from_bits(ptx.pack_bf16(e, f)),
                ptx.from_bits(ptx.pack_bf16(g, h)),
            )
        else:
            zero = ptx.from_bits(0)
            for k in range(4):
                step = first + 2 * k
                low = x[at + 2 * k] if step < steps else zero
                high = x[at + 2 * k + 1] if step + 1 < steps else zero
                halves[4 * i + k] = ptx.from_bits(ptx.pack_bf16(low, high))


@jit.kernel
def pad_kernel(rows, steps, x, chunks):
    """chunks (rows, steps padded to chunks of 4) = x (rows, steps) in TF32."""
    padded = (steps + 3) // 4 * 4
    for i in range(cuda.grid(1), rows * padded, cuda.gridsize(1)):
        row = quotient(i, padded)
        step = i - row * padded
        value = x[int64(row) * steps + step] if step < steps else ptx.from_bits(0)
        chunks[i] = ptx.from_bits(ptx.round_tf32(value))


def packed_scratch(s: Weights, bfloat16: bool) -> Scratch:
    return Scratch((s.words(bfloat16),), "float32", constant=True)


def pack(s: Weights, bfloat16: bool, w, packed, caps: Caps) -> list[Launch]:
    kernel = pack_bf16 if bfloat16 else pack_tf32
    calls = launch(kernel, caps, s.words(bfloat16), s, s.padded(bfloat16), flat(w), packed)
    return [call._replace(weights_only=True) for call in calls]


def in_chunks(steps: int, bfloat16: bool) -> bool:
    """Whether the products can read rows of so many float32 as they are."""
    return not bfloat16 and steps % PER_CHUNK[bfloat16] == 0


def chunks_scratch(rows: int, steps: int, bfloat16: bool) -> Scratch:
    words = padded(steps, bfloat16) // (2 if bfloat16 else 1)
    return Scratch((rows * words,), "float32")


def to_chunks(rows: int, steps: int, bfloat16: bool, x, chunks, caps: Caps) -> list[Launch]:
    """`chunks` = x (rows, steps) in whole chunks of 16 bytes."""
    kernel = halve_kernel if bfloat16 else pad_kernel
    count = chunks_of(steps, True) if bfloat16 else padded(steps, False)
    return launch(kernel, caps, rows * count, rows, steps, flat(x), chunks)
