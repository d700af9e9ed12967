"""Batch normalization with the max pool that follows it, windows side by side (see `norm.py`).

Forward, the pass that applies the line reads x and writes the pooled map and which pixel of each
window won: the full map is not written. Backward, g is dy at the winner of each window, so both
passes read x, dy and winners, and the second writes dx. Rows of the blocks are windows.
"""

from functools import cache

import numpy as np
from numba import cuda

from nbcnn.kernels import scalar
from nbcnn.kernels.cuda import jit, norm
from nbcnn.kernels.cuda.call import Launch
from nbcnn.kernels.cuda.index import divided
from nbcnn.kernels.cuda.lanes import (
    Columns,
    add_lanes,
    columns,
    launch_blocks,
    one_slab,
    place,
    threads,
)
from nbcnn.kernels.cuda.norm_gradient import factors_kernel
from nbcnn.kernels.cuda.quads import access, width_of
from nbcnn.kernels.impl import Impl, Scratch
from nbcnn.ops.norm import NormSpec
from nbcnn.ops.norm_pool import NormPoolSpec


@jit.device
def first_pixel(s, window):
    """The element of x at the first pixel of a window, channel 0."""
    line, q = divided(window, s.w // s.pw)
    return (line * s.ph * s.w + q * s.pw) * s.c


@cache
def line_kernel(dtype: str, width: int, act: int, size: int):
    """y = act of the largest (x - line[0]) * line[1] + line[2] of a window, and its place."""
    number, (fetch, put) = np.dtype(dtype).type, access(width)
    f = jit.formula(scalar.TAIL[act], dtype)

    @jit.kernel(bounds=size, constants=(dtype, width, act, size))
    def pooled_line(s, windows, g, x, line, y, winner):
        v, best = cuda.local.array(width, number), cuda.local.array(width, number)
        start, scale = cuda.local.array(width, number), cuda.local.array(width, number)
        shift, which = cuda.local.array(width, number), cuda.local.array(width, np.int32)
        _, lane, row, end, k = place(g, cuda.blockIdx.x, cuda.threadIdx.x, width, windows)
        if lane < g.lanes and k < s.c:
            fetch(line, k, start)
            fetch(line, s.c + k, scale)
            fetch(line, 2 * s.c + k, shift)
            while row < end:
                first = first_pixel(s, row) + k
                for u in range(s.ph):
                    for w in range(s.pw):
                        fetch(x, first + (u * s.w + w) * s.c, v)
                        for j in range(width):
                            value = (v[j] - start[j]) * scale[j] + shift[j]
                            nan = value != value and best[j] == best[j]
                            if u + w == 0 or value > best[j] or nan:
                                best[j], which[j] = value, np.int32(u * s.pw + w)
                for j in range(width):
                    winner[row * s.c + k + j] = which[j]
                    best[j] = f(best[j], number(0), number(0))
                put(y, row * s.c + k, best)
                row += g.lanes

    return pooled_line


@cache
def gradient_sums_kernel(dtype: str, width: int, act: int, size: int):
    """parts[slab] = sums of g and of g (x - x0) over a slab of windows."""
    number, (fetch, put), places = np.dtype(dtype).type, access(width), size * width
    slope = jit.formula(scalar.TAIL_GRADIENT[act], dtype)

    @jit.kernel(bounds=size, constants=(dtype, width, act, size))
    def pooled_sums(s, windows, g, x, dy, winner, line, parts):
        sums = cuda.shared.array(places, number)
        products = cuda.shared.array(places, number)
        v, d = cuda.local.array(width, number), cuda.local.array(width, number)
        start, scale = cuda.local.array(width, number), cuda.local.array(width, number)
        shift, which = cuda.local.array(width, number), cuda.local.array(width, np.int32)
        plain, along = cuda.local.array(width, number), cuda.local.array(width, number)
        t = cuda.threadIdx.x
        slab, lane, row, end, k = place(g, cuda.blockIdx.x, t, width, windows)
        for j in range(width):
            plain[j], along[j] = number(0), number(0)
        if lane < g.lanes and k < s.c:
            fetch(line, k, start)
            fetch(line, s.c + k, scale)
            fetch(line, 2 * s.c + k, shift)
            while row < end:
                first = first_pixel(s, row) + k
                fetch(dy, row * s.c + k, d)
                for j in range(width):
                    which[j] = winner[row * s.c + k + j]
                for u in range(s.ph):
                    for w in range(s.pw):
                        fetch(x, first + (u * s.w + w) * s.c, v)
                        for j in range(width):
                            if which[j] == u * s.pw + w:
                                distance = v[j] - start[j]
                                value = distance * scale[j] + shift[j]
                                slant = slope(value, d[j], number(0), number(0))
                                plain[j] += slant
                                along[j] += slant * distance
                row += g.lanes
        for j in range(width):
            sums[t + j * size], products[t + j * size] = plain[j], along[j]
        add_lanes(sums, t, g.columns, lane, g.lanes, width, size)
        add_lanes(products, t, g.columns, lane, g.lanes, width, size)
        if lane == 0 and k < s.c:
            at = 2 * slab * s.c + k
            for j in range(width):
                plain[j], along[j] = sums[t + j * size], products[t + j * size]
            put(parts, at, plain)
            put(parts, at + s.c, along)

    return pooled_sums


@cache
def gradient_kernel(dtype: str, width: int, act: int, size: int):
    """dx = A g + B (x - x0) + C."""
    number, (fetch, put) = np.dtype(dtype).type, access(width)
    slope = jit.formula(scalar.TAIL_GRADIENT[act], dtype)

    @jit.kernel(bounds=size, constants=(dtype, width, act, size))
    def pooled_gradient(s, windows, g, x, dy, winner, line, factors, dx):
        v, d = cuda.local.array(width, number), cuda.local.array(width, number)
        start, scale = cuda.local.array(width, number), cuda.local.array(width, number)
        shift, which = cuda.local.array(width, number), cuda.local.array(width, np.int32)
        of_g, of_x = cuda.local.array(width, number), cuda.local.array(width, number)
        rest = cuda.local.array(width, number)
        _, lane, row, end, k = place(g, cuda.blockIdx.x, cuda.threadIdx.x, width, windows)
        if lane < g.lanes and k < s.c:
            fetch(line, k, start)
            fetch(line, s.c + k, scale)
            fetch(line, 2 * s.c + k, shift)
            fetch(factors, k, of_g)
            fetch(factors, s.c + k, of_x)
            fetch(factors, 2 * s.c + k, rest)
            while row < end:
                first = first_pixel(s, row) + k
                fetch(dy, row * s.c + k, d)
                for j in range(width):
                    which[j] = winner[row * s.c + k + j]
                for u in range(s.ph):
                    for w in range(s.pw):
                        at = first + (u * s.w + w) * s.c
                        fetch(x, at, v)
                        for j in range(width):
                            distance, slant = v[j] - start[j], number(0)
                            if which[j] == u * s.pw + w:
                                value = distance * scale[j] + shift[j]
                                slant = slope(value, d[j], number(0), number(0))
                            v[j] = of_g[j] * slant + (of_x[j] * distance + rest[j])
                        put(dx, at, v)
                row += g.lanes

    return pooled_gradient


def rows_of(s: NormPoolSpec) -> NormSpec:
    """The normalization alone."""
    return NormSpec(s.n * s.h * s.w, s.c, s.epsilon, s.act)


def cut(s: NormPoolSpec, dtype: str, caps) -> tuple[int, Columns]:
    """Windows, and the blocks over them."""
    windows = s.n * (s.h // s.ph) * (s.w // s.pw)
    return windows, columns(windows, s.c // width_of(dtype, s.c), caps)


def scratch(s: NormPoolSpec, dtype: str, caps) -> dict[str, Scratch]:
    return norm.scratch(rows_of(s), dtype, caps)


def scratch_dx(s: NormPoolSpec, dtype: str, caps) -> dict[str, Scratch]:
    _, g = cut(s, dtype, caps)
    return {
        "parts": Scratch((2 * g.slabs * s.c,), dtype),
        "factors": Scratch((3 * s.c,), dtype),
    }


def bind(s: NormPoolSpec, caps, inputs, outputs, scratch) -> list[Launch]:
    (x, *_), (y, winner, mean, var, line) = inputs, outputs
    dtype = str(x.dtype)
    windows, g = cut(s, dtype, caps)
    kernel, made = line_kernel(dtype, width_of(dtype, s.c), s.act, threads(caps)), (mean, var, line)
    return [
        *norm.statistics_launches(rows_of(s), caps, inputs, made, scratch["parts"]),
        *launch_blocks(kernel, caps, g.blocks, s, windows, g, x, line, y, winner),
    ]


def bind_dx(s: NormPoolSpec, caps, inputs, outputs, scratch) -> list[Launch]:
    (x, dy, winner, gamma, mean, var, line), (dx, dgamma, dbeta) = inputs, outputs
    dtype, size = str(x.dtype), threads(caps)
    windows, g = cut(s, dtype, caps)
    h = one_slab(g.slabs, s.c, caps)
    parts, factors = scratch["parts"], scratch["factors"]
    which = dtype, width_of(dtype, s.c), s.act, size
    between = (rows_of(s), g, h, gamma, mean, var, line, parts, dgamma, dbeta, factors)
    data, take_sums, take_dx = (
        (s, windows, g, x, dy, winner, line),
        gradient_sums_kernel(*which),
        gradient_kernel(*which),
    )
    return [
        *launch_blocks(take_sums, caps, g.blocks, *data, parts),
        *launch_blocks(factors_kernel(dtype, size), caps, h.tiles, *between),
        *launch_blocks(take_dx, caps, g.blocks, *data, factors, dx),
    ]


def accepts(s: NormPoolSpec, dtype: str, caps) -> str | None:
    windows = s.n * (s.h // s.ph) * (s.w // s.pw)
    return "more windows than 32 bits count" if windows > 1 << 32 else None


batchnorm_maxpool = Impl("windows", accepts, bind, scratch)
batchnorm_maxpool_dx = Impl("windows", accepts, bind_dx, scratch_dx)
