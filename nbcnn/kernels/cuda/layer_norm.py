"""Layer normalization over rows of c numbers.

    y = (x - mean) s gamma + beta,  s = 1 / sqrt(var + e)
    h = (x - mean) s,  g = dy gamma,  dx = s (g - mean g - h mean(g h)),
    dgamma = sum dy h,  dbeta = sum dy

Several threads walk along a row together (`lanes.py`), three times forward and twice backward;
after the first time a row lies in the caches. The variance is summed from distances to the mean.
The sums over rows take another pass, in blocks over columns; what the slabs have is added by a last
launch.
"""

from functools import cache
from math import sqrt

import numpy as np
from numba import cuda

from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import Launch
from nbcnn.kernels.cuda.lanes import (
    add_lanes,
    along_rows,
    columns,
    launch_blocks,
    place,
    row_place,
    threads,
)
from nbcnn.kernels.cuda.quads import access, width_of
from nbcnn.kernels.cuda.reduce import fold_slabs
from nbcnn.kernels.impl import Impl, Scratch, always
from nbcnn.ops.layer_norm import LayerNormSpec
from nbcnn.ops.reduce import ReduceSpec


@cache
def normalize_kernel(dtype: str, width: int, size: int):
    number, (fetch, put) = np.dtype(dtype).type, access(width)

    @jit.kernel(bounds=size, constants=(dtype, width, size))
    def normalize(s, g, x, gamma, beta, y, mean, scale):
        sums = cuda.shared.array(size, number)
        squares = cuda.shared.array(size, number)
        v, a = cuda.local.array(width, number), cuda.local.array(width, number)
        b = cuda.local.array(width, number)
        t = cuda.threadIdx.x
        row, lane = row_place(g, cuda.blockIdx.x, t)
        first, stop, step = row * s.c, s.c if row < s.rows else 0, g.lanes * width
        total, spread, count = number(0), number(0), number(s.c)
        origin = x[first] if stop > 0 else number(0)
        for k in range(lane * width, stop, step):
            fetch(x, first + k, v)
            for j in range(width):
                total += v[j] - origin
        sums[t] = total
        add_lanes(sums, t, 1, lane, g.lanes, 1, 0)
        center = sums[t - lane] / count  # from the origin
        for k in range(lane * width, stop, step):
            fetch(x, first + k, v)
            for j in range(width):
                distance = v[j] - origin - center
                spread += distance * distance
        squares[t] = spread
        add_lanes(squares, t, 1, lane, g.lanes, 1, 0)
        steep = number(1) / number(sqrt(squares[t - lane] / count + number(s.epsilon)))
        for k in range(lane * width, stop, step):
            fetch(x, first + k, v)
            fetch(gamma, k, a)
            fetch(beta, k, b)
            for j in range(width):
                v[j] = (v[j] - origin - center) * steep * a[j] + b[j]
            put(y, first + k, v)
        if lane == 0 and stop > 0:
            mean[row], scale[row] = origin + center, steep

    return normalize


@cache
def gradient_kernel(dtype: str, width: int, size: int):
    number, (fetch, put) = np.dtype(dtype).type, access(width)

    @jit.kernel(bounds=size, constants=(dtype, width, size))
    def gradient(s, g, x, dy, gamma, mean, scale, dx):
        sums = cuda.shared.array(size, number)
        products = cuda.shared.array(size, number)
        v, d = cuda.local.array(width, number), cuda.local.array(width, number)
        a = cuda.local.array(width, number)
        t = cuda.threadIdx.x
        row, lane = row_place(g, cuda.blockIdx.x, t)
        first, stop, step = row * s.c, s.c if row < s.rows else 0, g.lanes * width
        plain, along, count = number(0), number(0), number(s.c)
        center, steep = number(0), number(0)
        if stop > 0:
            center, steep = mean[row], scale[row]
        for k in range(lane * width, stop, step):
            fetch(x, first + k, v)
            fetch(dy, first + k, d)
            fetch(gamma, k, a)
            for j in range(width):
                slope = d[j] * a[j]
                plain += slope
                along += slope * ((v[j] - center) * steep)
        sums[t], products[t] = plain, along
        add_lanes(sums, t, 1, lane, g.lanes, 1, 0)
        add_lanes(products, t, 1, lane, g.lanes, 1, 0)
        plain, along = sums[t - lane] / count, products[t - lane] / count
        for k in range(lane * width, stop, step):
            fetch(x, first + k, v)
            fetch(dy, first + k, d)
            fetch(gamma, k, a)
            for j in range(width):
                h = (v[j] - center) * steep
                v[j] = steep * (d[j] * a[j] - plain - h * along)
            put(dx, first + k, v)

    return gradient


@cache
def column_sums_kernel(dtype: str, width: int, size: int):
    """The slabs' sums for dgamma and for dbeta."""
    number, (fetch, put), places = np.dtype(dtype).type, access(width), size * width

    @jit.kernel(bounds=size, constants=(dtype, width, size))
    def column_sums(s, g, x, dy, mean, scale, alongs, plains):
        sums = cuda.shared.array(places, number)
        products = cuda.shared.array(places, number)
        v, d = cuda.local.array(width, number), cuda.local.array(width, number)
        plain, along = cuda.local.array(width, number), cuda.local.array(width, number)
        t = cuda.threadIdx.x
        slab, lane, row, end, k = place(g, cuda.blockIdx.x, t, width, s.rows)
        for j in range(width):
            plain[j], along[j] = number(0), number(0)
        if lane < g.lanes and k < s.c:
            while row < end:
                fetch(x, row * s.c + k, v)
                fetch(dy, row * s.c + k, d)
                center, steep = mean[row], scale[row]
                for j in range(width):
                    plain[j] += d[j]
                    along[j] += d[j] * ((v[j] - center) * steep)
                row += g.lanes
        for j in range(width):
            sums[t + j * size], products[t + j * size] = plain[j], along[j]
        add_lanes(sums, t, g.columns, lane, g.lanes, width, size)
        add_lanes(products, t, g.columns, lane, g.lanes, width, size)
        if lane == 0 and k < s.c:
            for j in range(width):
                plain[j], along[j] = sums[t + j * size], products[t + j * size]
            put(alongs, slab * s.c + k, along)
            put(plains, slab * s.c + k, plain)

    return column_sums


def scratch(spec: LayerNormSpec, dtype: str, caps) -> dict[str, Scratch]:
    g = columns(spec.rows, spec.c // width_of(dtype, spec.c), caps)
    part = Scratch((g.slabs * spec.c,), dtype)
    return {"alongs": part, "plains": part}


def bind(spec: LayerNormSpec, caps, inputs, outputs, scratch) -> list[Launch]:
    dtype = str(outputs[0].dtype)
    width = width_of(dtype, spec.c)
    g = along_rows(spec.rows, spec.c // width, caps)
    kernel = normalize_kernel(dtype, width, threads(caps))
    return launch_blocks(kernel, caps, g.blocks if spec.c else 0, spec, g, *inputs, *outputs)


def bind_dx(spec: LayerNormSpec, caps, inputs, outputs, scratch) -> list[Launch]:
    x, dy, _, mean, scale = inputs
    dx, dgamma, dbeta = outputs
    dtype, size = str(dx.dtype), threads(caps)
    parts = scratch["alongs"], scratch["plains"]
    width = width_of(dtype, spec.c)
    g = along_rows(spec.rows, spec.c // width, caps)
    h = columns(spec.rows, spec.c // width, caps)
    rows, sums = (kernel(dtype, width, size) for kernel in (gradient_kernel, column_sums_kernel))
    over = ReduceSpec(1, h.slabs, spec.c)
    return [
        *launch_blocks(rows, caps, g.blocks if spec.c else 0, spec, g, *inputs, dx),
        *launch_blocks(sums, caps, h.blocks, spec, h, x, dy, mean, scale, *parts),
        *fold_slabs("sum", over, 1, caps, parts[0], dgamma),
        *fold_slabs("sum", over, 1, caps, parts[1], dbeta),
    ]


layernorm = Impl("rows", always, bind)
layernorm_dx = Impl("rows", always, bind_dx, scratch)
