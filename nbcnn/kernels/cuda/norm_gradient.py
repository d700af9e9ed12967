"""Gradient of batch normalization.

    g = dy act'(y),  dbeta = sum g,  dgamma = s sum g (x - mean),  s = 1 / sqrt(var + e),
    dx = A g + B (x - x0) + C  with  A = gamma s,  B = -A s dgamma / n,
    C = -A dbeta / n - B (mean - x0)

As forward (`norm.py`), two passes and a short launch between them: x and dy are read twice, dx is
written. Where the slope is taken from y (after an addition, or of sigmoid and tanh), y is read as
well; where g is needed by others too, pass 1 writes it, and pass 2 reads it instead of dy.
"""

from functools import cache
from math import sqrt

import numpy as np
from numba import cuda

from nbcnn.kernels import scalar
from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import Launch
from nbcnn.kernels.cuda.lanes import add_lanes, columns, launch_blocks, one_slab, place, threads
from nbcnn.kernels.cuda.norm import partial_scratch
from nbcnn.kernels.cuda.quads import access, width_of
from nbcnn.kernels.impl import Impl, Scratch
from nbcnn.ops.conv_spec import LINEAR, SIGMOID, TANH
from nbcnn.ops.norm import NormGradientSpec


@cache
def gradient_sums_kernel(
    dtype: str, width: int, act: int, through_output: bool, joined: bool, shared: bool, size: int
):
    """parts[slab] = sums of g and of g (x - x0) over a slab; `out` gets g where it is shared."""
    number, (fetch, put), places = np.dtype(dtype).type, access(width), size * width
    slope = jit.formula(scalar.TAIL_GRADIENT[act], dtype)

    @jit.kernel(bounds=size, constants=(dtype, width, act, through_output, joined, shared, size))
    def gradient_sums(s, g, x, dy, y, more, line, parts, out):
        sums = cuda.shared.array(places, number)
        products = cuda.shared.array(places, number)
        v, d = cuda.local.array(width, number), cuda.local.array(width, number)
        seen, other = cuda.local.array(width, number), cuda.local.array(width, number)
        start, scale = cuda.local.array(width, number), cuda.local.array(width, number)
        shift = cuda.local.array(width, number)
        plain, along = cuda.local.array(width, number), cuda.local.array(width, number)
        t = cuda.threadIdx.x
        slab, lane, row, end, k = place(g, cuda.blockIdx.x, t, width, s.rows)
        for j in range(width):
            plain[j], along[j] = number(0), number(0)
        if lane < g.lanes and k < s.c:
            fetch(line, k, start)
            fetch(line, s.c + k, scale)
            fetch(line, 2 * s.c + k, shift)
            while row < end:
                i = row * s.c + k
                fetch(x, i, v)
                fetch(dy, i, d)
                if joined:
                    fetch(more, i, other)
                if through_output:
                    fetch(y, i, seen)
                for j in range(width):
                    distance = v[j] - start[j]
                    value = seen[j] if through_output else distance * scale[j] + shift[j]
                    slant = d[j] + other[j] if joined else d[j]
                    slant = slope(value, slant, number(0), number(0))
                    plain[j] += slant
                    along[j] += slant * distance
                    d[j] = slant
                if shared:
                    put(out, i, d)
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

    return gradient_sums


@cache
def factors_kernel(dtype: str, size: int):
    """dgamma, dbeta and the rows A, B, C of `factors` from the slabs' sums."""
    number = np.dtype(dtype).type

    @jit.kernel(bounds=size, constants=(dtype, size))
    def gradient_factors(s, g, h, gamma, mean, var, line, parts, dgamma, dbeta, factors):
        sums = cuda.shared.array(size, np.float64)
        products = cuda.shared.array(size, np.float64)
        t = cuda.threadIdx.x
        _, lane, slab, end, k = place(h, cuda.blockIdx.x, t, 1, g.slabs)
        plain, along = np.float64(0.0), np.float64(0.0)
        if lane < h.lanes and k < s.c:
            while slab < end:
                plain += parts[2 * slab * s.c + k]
                along += parts[(2 * slab + 1) * s.c + k]
                slab += h.lanes
        sums[t], products[t] = plain, along
        add_lanes(sums, t, h.columns, lane, h.lanes, 1, 0)
        add_lanes(products, t, h.columns, lane, h.lanes, 1, 0)
        if lane == 0 and k < s.c:
            offset = np.float64(mean[k]) - np.float64(line[k])
            shares, scale = sums[t], 1.0 / sqrt(np.float64(var[k]) + s.epsilon)
            # Without rows mean and var are NaN; the sums are zero all the same.
            slant = (products[t] - offset * shares) * scale if s.rows > 0 else 0.0
            dgamma[k], dbeta[k] = number(slant), number(shares)
            of_g = np.float64(gamma[k]) * scale
            of_x = -of_g * scale * slant / s.rows
            factors[k], factors[s.c + k] = number(of_g), number(of_x)
            factors[2 * s.c + k] = number(-of_g * shares / s.rows - of_x * offset)

    return gradient_factors


@cache
def gradient_kernel(dtype: str, width: int, act: int, through_output: bool, size: int):
    """dx = A g + B (x - x0) + C."""
    number, (fetch, put) = np.dtype(dtype).type, access(width)
    slope = jit.formula(scalar.TAIL_GRADIENT[act], dtype)
    recomputed = act != LINEAR and not through_output

    @jit.kernel(bounds=size, constants=(dtype, width, act, through_output, size))
    def gradient(s, g, x, dy, y, line, factors, dx):
        v, d = cuda.local.array(width, number), cuda.local.array(width, number)
        seen, start = cuda.local.array(width, number), cuda.local.array(width, number)
        scale, shift = cuda.local.array(width, number), cuda.local.array(width, number)
        of_g, of_x = cuda.local.array(width, number), cuda.local.array(width, number)
        rest = cuda.local.array(width, number)
        _, lane, row, end, k = place(g, cuda.blockIdx.x, cuda.threadIdx.x, width, s.rows)
        if lane < g.lanes and k < s.c:
            fetch(line, k, start)
            if recomputed:
                fetch(line, s.c + k, scale)
                fetch(line, 2 * s.c + k, shift)
            fetch(factors, k, of_g)
            fetch(factors, s.c + k, of_x)
            fetch(factors, 2 * s.c + k, rest)
            while row < end:
                i = row * s.c + k
                fetch(x, i, v)
                fetch(dy, i, d)
                if through_output:
                    fetch(y, i, seen)
                for j in range(width):
                    distance = v[j] - start[j]
                    value = distance * scale[j] + shift[j] if recomputed else seen[j]
                    slant = slope(value, d[j], number(0), number(0))
                    v[j] = of_g[j] * slant + (of_x[j] * distance + rest[j])
                put(dx, i, v)
                row += g.lanes

    return gradient


def scratch(spec: NormGradientSpec, dtype: str, caps) -> dict[str, Scratch]:
    return {
        **partial_scratch(spec.rows, spec.c, dtype, caps),
        "factors": Scratch((3 * spec.c,), dtype),
    }


def bind(spec: NormGradientSpec, caps, inputs, outputs, scratch) -> list[Launch]:
    x, dy, gamma, mean, var, line, *others = inputs
    dx, dgamma, dbeta, *shared = outputs
    dtype, size, act, through = str(x.dtype), threads(caps), spec.act, bool(spec.through_output)
    width = width_of(dtype, spec.c)
    g = columns(spec.rows, spec.c // width, caps)
    h = one_slab(g.slabs, spec.c, caps)
    parts, factors = scratch["parts"], scratch["factors"]
    out = shared[0] if spec.shared else dx
    y, more = others[0] if through else x, others[-1] if spec.joined else x
    flags = (through, bool(spec.joined), bool(spec.shared))
    take_sums = gradient_sums_kernel(dtype, width, act, *flags, size)
    take_dx = gradient_kernel(
        dtype, width, *((LINEAR, False) if spec.shared else (act, through)), size
    )
    between = (spec, g, h, gamma, mean, var, line, parts, dgamma, dbeta, factors)
    slope = out if spec.shared else dy
    return [
        *launch_blocks(take_sums, caps, g.blocks, spec, g, x, dy, y, more, line, parts, out),
        *launch_blocks(factors_kernel(dtype, size), caps, h.tiles, *between),
        *launch_blocks(take_dx, caps, g.blocks, spec, g, x, slope, y, line, factors, dx),
    ]


def accepts(spec: NormGradientSpec, dtype: str, caps) -> str | None:
    if spec.joined and not spec.shared:
        return "the sum of two gradients is written where it is shared"
    if spec.act in (SIGMOID, TANH) and not spec.through_output:
        return "the slope of this activation is taken from its output"
    return None


batchnorm_dx = Impl("slabs", accepts, bind, scratch)
