"""Batch normalization over rows, with an addition and an activation in the tail; and channelwise
scale and shift.

    mean = sum x / n,  var = sum (x - mean)^2 / n,  y = act((x - x0) a + b [+ residual]),
    a = gamma / sqrt(var + e),  b = beta - (mean - x0) a,  x0 the first row

Two passes over memory, in blocks over columns (`lanes.py`), and a short launch between them, which
adds the slabs' results in float64 in a fixed order. A slab's mean and sum of squared distances are
taken from sums of x - x1 and of its square, x1 being the slab's first row: as x1 is one of the
slab's own numbers, cancellation is bounded by their count, however far the mean lies from zero.
That is as safe as Welford's running mean and spares its divisions.
"""

from functools import cache
from math import sqrt

import numpy as np
from numba import cuda

from nbcnn.kernels import scalar
from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import Launch
from nbcnn.kernels.cuda.lanes import add_lanes, columns, launch_blocks, one_slab, place, threads
from nbcnn.kernels.cuda.quads import access, width_of
from nbcnn.kernels.impl import Impl, Scratch, always
from nbcnn.ops.norm import NormSpec


@cache
def moments_kernel(dtype: str, width: int, size: int):
    """parts[slab, 0] = the slab's mean, parts[slab, 1] = its sum of squared distances to it."""
    number, (fetch, put), places = np.dtype(dtype).type, access(width), size * width

    @jit.kernel(bounds=size, constants=(dtype, width, size))
    def moments(s, g, x, parts):
        sums = cuda.shared.array(places, number)
        squares = cuda.shared.array(places, number)
        v, origin = cuda.local.array(width, number), cuda.local.array(width, number)
        total, square = cuda.local.array(width, number), cuda.local.array(width, number)
        t = cuda.threadIdx.x
        slab, lane, row, end, k = place(g, cuda.blockIdx.x, t, width, s.rows)
        for j in range(width):
            total[j], square[j] = number(0), number(0)
        first = row - lane
        if lane < g.lanes and k < s.c:
            fetch(x, first * s.c + k, origin)
            while row < end:
                fetch(x, row * s.c + k, v)
                for j in range(width):
                    distance = v[j] - origin[j]
                    total[j] += distance
                    square[j] += distance * distance
                row += g.lanes
        for j in range(width):
            sums[t + j * size], squares[t + j * size] = total[j], square[j]
        add_lanes(sums, t, g.columns, lane, g.lanes, width, size)
        add_lanes(squares, t, g.columns, lane, g.lanes, width, size)
        if lane == 0 and k < s.c:
            count = number(end - first)
            at = 2 * slab * s.c + k
            for j in range(width):
                offset = sums[t + j * size] / count
                v[j] = origin[j] + offset
                total[j] = max(squares[t + j * size] - sums[t + j * size] * offset, number(0))
            put(parts, at, v)
            put(parts, at + s.c, total)

    return moments


@cache
def statistics_kernel(dtype: str, size: int):
    """mean, var and line from the slabs' moments; `g`: how slabs were cut, `h`: this kernel's
    block.
    """
    number = np.dtype(dtype).type

    @jit.kernel(bounds=size, constants=(dtype, size))
    def statistics(s, g, h, x, gamma, beta, parts, mean, var, line):
        sums = cuda.shared.array(size, np.float64)
        squares = cuda.shared.array(size, np.float64)
        t = cuda.threadIdx.x
        _, lane, slab, end, k = place(h, cuda.blockIdx.x, t, 1, g.slabs)
        origin, total, square = np.float64(0.0), np.float64(0.0), np.float64(0.0)
        if lane < h.lanes and k < s.c:
            if s.rows > 0:
                origin = np.float64(x[k])
            while slab < end:
                count = min((slab + 1) * g.rows, s.rows) - slab * g.rows
                distance = np.float64(parts[2 * slab * s.c + k]) - origin
                total += distance * count
                square += distance * distance * count + parts[(2 * slab + 1) * s.c + k]
                slab += h.lanes
        sums[t], squares[t] = total, square
        add_lanes(sums, t, h.columns, lane, h.lanes, 1, 0)
        add_lanes(squares, t, h.columns, lane, h.lanes, 1, 0)
        if lane == 0 and k < s.c:
            offset = sums[t] / s.rows
            spread = squares[t] / s.rows - offset * offset
            spread = 0.0 if spread < 0.0 else spread
            scale = np.float64(gamma[k]) / sqrt(spread + s.epsilon)
            mean[k] = number(origin + offset)
            var[k] = number(spread)
            line[k] = number(origin)
            line[s.c + k] = number(scale)
            line[2 * s.c + k] = number(np.float64(beta[k]) - offset * scale)

    return statistics


@cache
def line_kernel(dtype: str, width: int, act: int, residual: bool, size: int):
    """y = act((x - line[0]) * line[1] + line[2] + added)."""
    number, (fetch, put) = np.dtype(dtype).type, access(width)
    f = jit.formula(scalar.TAIL[act], dtype)

    @jit.kernel(bounds=size, constants=(dtype, width, act, residual, size))
    def apply_line(s, g, x, added, line, y):
        v, more = cuda.local.array(width, number), cuda.local.array(width, number)
        start, scale = cuda.local.array(width, number), cuda.local.array(width, number)
        shift = cuda.local.array(width, number)
        _, lane, row, end, k = place(g, cuda.blockIdx.x, cuda.threadIdx.x, width, s.rows)
        if lane < g.lanes and k < s.c:
            fetch(line, k, start)
            fetch(line, s.c + k, scale)
            fetch(line, 2 * s.c + k, shift)
            while row < end:
                i = row * s.c + k
                fetch(x, i, v)
                if residual:
                    fetch(added, i, more)
                for j in range(width):
                    value = (v[j] - start[j]) * scale[j] + shift[j]
                    if residual:
                        value += more[j]
                    v[j] = f(value, number(0), number(0))
                put(y, i, v)
                row += g.lanes

    return apply_line


@cache
def scale_shift_kernel(dtype: str, width: int, act: int, size: int):
    number, (fetch, put) = np.dtype(dtype).type, access(width)
    f = jit.formula(scalar.TAIL[act], dtype)

    @jit.kernel(bounds=size, constants=(dtype, width, act, size))
    def apply_scale_shift(s, g, x, scale, shift, y):
        v, a = cuda.local.array(width, number), cuda.local.array(width, number)
        b = cuda.local.array(width, number)
        _, lane, row, end, k = place(g, cuda.blockIdx.x, cuda.threadIdx.x, width, s.rows)
        if lane < g.lanes and k < s.c:
            fetch(scale, k, a)
            fetch(shift, k, b)
            while row < end:
                fetch(x, row * s.c + k, v)
                for j in range(width):
                    v[j] = f(v[j] * a[j] + b[j], number(0), number(0))
                put(y, row * s.c + k, v)
                row += g.lanes

    return apply_scale_shift


def partial_scratch(rows: int, c: int, dtype: str, caps) -> dict[str, Scratch]:
    """Two results per slab and channel."""
    g = columns(rows, c // width_of(dtype, c), caps)
    return {"parts": Scratch((2 * g.slabs * c,), dtype)}


def scratch(spec: NormSpec, dtype: str, caps) -> dict[str, Scratch]:
    return partial_scratch(spec.rows, spec.c, dtype, caps)


def statistics_launches(spec: NormSpec, caps, inputs, outputs, parts) -> list[Launch]:
    """From x, gamma, beta to mean, var and line."""
    (x, gamma, beta), dtype, size = inputs, str(inputs[0].dtype), threads(caps)
    width = width_of(dtype, spec.c)
    g = columns(spec.rows, spec.c // width, caps)
    h = one_slab(g.slabs, spec.c, caps)
    last = (spec, g, h, x, gamma, beta, parts, *outputs)
    return [
        *launch_blocks(moments_kernel(dtype, width, size), caps, g.blocks, spec, g, x, parts),
        *launch_blocks(statistics_kernel(dtype, size), caps, h.tiles, *last),
    ]


def bind(spec: NormSpec, caps, inputs, outputs, scratch) -> list[Launch]:
    (x, gamma, beta, *added), (y, mean, var, line) = inputs, outputs
    dtype, residual = str(x.dtype), bool(spec.residual)
    width = width_of(dtype, spec.c)
    g = columns(spec.rows, spec.c // width, caps)
    kernel = line_kernel(dtype, width, spec.act, residual, threads(caps))
    apply = (spec, g, x, added[0] if residual else x, line, y)
    few, made = (x, gamma, beta), (mean, var, line)
    return [
        *statistics_launches(spec, caps, few, made, scratch["parts"]),
        *launch_blocks(kernel, caps, g.blocks, *apply),
    ]


def bind_scale_shift(spec: NormSpec, caps, inputs, outputs, scratch) -> list[Launch]:
    dtype = str(outputs[0].dtype)
    width = width_of(dtype, spec.c)
    g = columns(spec.rows, spec.c // width, caps)
    kernel = scale_shift_kernel(dtype, width, spec.act, threads(caps))
    return launch_blocks(kernel, caps, g.blocks, spec, g, *inputs, *outputs)


batchnorm = Impl("slabs", always, bind, scratch)
scale_shift = Impl("columns", always, bind_scale_shift)
