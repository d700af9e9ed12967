"""Batch normalization over rows, forward and backward, with an activation in the tail.

    forward    mean = sum x / n,  var = sum (x - mean)^2 / n,  y = act((x - mean) a + beta),  a =
    gamma / sqrt(var + e) backward   g = dy act'(y),  dbeta = sum g,  dgamma = s sum g (x - mean),
    s = 1 / sqrt(var + e)
               dx = A g + B (x - mean) + C  with  A = gamma s,  B = -A s dgamma / n,  C = -A dbeta /
               n

Two passes over memory and a short call between them. Pass 1 takes both sums by slabs of rows, cut
as `reduce.py` cuts sums: running results per column of several rows side by side, folded to a
partial result a slab. Forward, x is shifted by its first row, so that nothing cancels however far
the mean lies from zero. The short call adds the partial sums in float64, in the order of the slabs,
and leaves the coefficients of pass 2 repeated for rows side by side, so that the inner loop of pass
2 is long also where channels are few.
"""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np

from nbcnn.kernels import scalar
from nbcnn.kernels.cpu import jit
from nbcnn.kernels.cpu.activation_sum import fold_rows
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.cpu.reduce import WIDE, Slabs, cut
from nbcnn.kernels.cpu.shares import blocks, flat
from nbcnn.kernels.cpu.simd_streams import fetch, put
from nbcnn.kernels.cpu.vecmath import formula
from nbcnn.kernels.impl import Impl, Scratch, always
from nbcnn.ops.norm import NormSpec
from nbcnn.ops.reduce import ReduceSpec

CHANNELS = 256  # of one task of the calls between the passes


@jit.kernel
def moments(task, thread, spec, g, x, scratch, parts):
    """Sums of x - x0 and of its square over a slab; x0 is the first row."""
    first, second, shift = scratch[thread, 0], scratch[thread, 1], scratch[thread, 2]
    slab, k0 = task // g.tiles, task % g.tiles * g.columns
    columns = min(g.columns, spec.c - k0)
    for p in range(g.repeat):
        for k in range(columns):
            shift[p * columns + k] = x[k0 + k]
    for k in range(columns * g.repeat):
        first[k] = 0
        second[k] = 0
    rows = min(g.rows, spec.rows - slab * g.rows)
    at = slab * g.rows * spec.c + k0
    for j in range(0, rows, g.repeat):
        for k in range(min(g.repeat, rows - j) * columns):
            value = fetch(x, at + k) - fetch(shift, k)
            put(first, k, first[k] + value, 0)
            put(second, k, second[k] + value * value, 1)
        at += g.repeat * spec.c
    fold_rows(first, columns, g.repeat)
    fold_rows(second, columns, g.repeat)
    for k in range(columns):
        parts[2 * slab * spec.c + k0 + k] = first[k]
        parts[(2 * slab + 1) * spec.c + k0 + k] = second[k]


@jit.always_inline
def total(parts, slabs, c, which, k):
    """Sum of a channel's partial sums, in the order of the slabs."""
    value = 0.0
    for slab in range(slabs):
        value += np.float64(parts[(2 * slab + which) * c + k])
    return value


@jit.kernel
def statistics(task, thread, spec, g, x, gamma, beta, parts, mean, var, factors):
    """mean, var, and the rows (x0, a, beta - (mean - x0) a) of `factors`, each repeated.

    x - x0 is exact where the mean is far from zero, which x - mean is not once the mean is rounded.
    """
    width = spec.c * g.repeat
    for k in range(task * CHANNELS, min((task + 1) * CHANNELS, spec.c)):
        offset = total(parts, g.slabs, spec.c, 0, k) / spec.rows
        spread = max(total(parts, g.slabs, spec.c, 1, k) / spec.rows - offset * offset, 0.0)
        mean[k] = np.float64(x[k]) + offset
        var[k] = spread
        scale = np.float64(gamma[k]) / math.sqrt(spread + spec.epsilon)
        for p in range(g.repeat):
            factors[p * spec.c + k] = x[k]
            factors[width + p * spec.c + k] = scale
            factors[2 * width + p * spec.c + k] = np.float64(beta[k]) - offset * scale


@cache
def apply_kernel(dtype: str, act: int) -> jit.Kernel:
    f, zero = formula(scalar.TAIL[act], dtype), np.dtype(dtype).type(0)

    @jit.kernel(constants=(dtype, act))
    def apply(task, thread, spec, g, x, factors, y):
        width = spec.c * g.repeat
        begin, end = task * g.rows * spec.c, min((task + 1) * g.rows, spec.rows) * spec.c
        for at in range(begin, end, width):
            for k in range(min(width, end - at)):
                centered = fetch(x, at + k) - fetch(factors, k)
                value = centered * fetch(factors, width + k) + fetch(factors, 2 * width + k)
                put(y, at + k, f(value, zero, zero), 0)

    return apply


@cache
def gradient_sums_kernel(dtype: str, act: int) -> jit.Kernel:
    f, zero = formula(scalar.TAIL_GRADIENT[act], dtype), np.dtype(dtype).type(0)

    @jit.kernel(constants=(dtype, act))
    def gradient_sums(task, thread, spec, g, x, dy, mean, y, scratch, parts):
        """Sums of g and of g (x - mean) over a slab."""
        first, second, center = scratch[thread, 0], scratch[thread, 1], scratch[thread, 2]
        slab, k0 = task // g.tiles, task % g.tiles * g.columns
        columns = min(g.columns, spec.c - k0)
        for p in range(g.repeat):
            for k in range(columns):
                center[p * columns + k] = mean[k0 + k]
        for k in range(columns * g.repeat):
            first[k] = 0
            second[k] = 0
        rows = min(g.rows, spec.rows - slab * g.rows)
        at = slab * g.rows * spec.c + k0
        for j in range(0, rows, g.repeat):
            for k in range(min(g.repeat, rows - j) * columns):
                slope = f(fetch(y, at + k), fetch(dy, at + k), zero, zero)
                put(first, k, first[k] + slope, 0)
                put(second, k, second[k] + slope * (fetch(x, at + k) - fetch(center, k)), 1)
            at += g.repeat * spec.c
        fold_rows(first, columns, g.repeat)
        fold_rows(second, columns, g.repeat)
        for k in range(columns):
            parts[2 * slab * spec.c + k0 + k] = first[k]
            parts[(2 * slab + 1) * spec.c + k0 + k] = second[k]

    return gradient_sums


@jit.kernel
def gradient_factors(task, thread, spec, g, gamma, mean, var, parts, dgamma, dbeta, factors):
    """dgamma, dbeta, and the rows (mean, A, B, C) of `factors`, each repeated."""
    width = spec.c * g.repeat
    for k in range(task * CHANNELS, min((task + 1) * CHANNELS, spec.c)):
        s = 1.0 / math.sqrt(np.float64(var[k]) + spec.epsilon)
        shift_sum = total(parts, g.slabs, spec.c, 0, k)
        scale_sum = total(parts, g.slabs, spec.c, 1, k) * s
        dbeta[k] = shift_sum
        dgamma[k] = scale_sum
        a = np.float64(gamma[k]) * s
        for p in range(g.repeat):
            factors[p * spec.c + k] = mean[k]
            factors[width + p * spec.c + k] = a
            factors[2 * width + p * spec.c + k] = -a * s * scale_sum / spec.rows
            factors[3 * width + p * spec.c + k] = -a * shift_sum / spec.rows


@cache
def gradient_kernel(dtype: str, act: int) -> jit.Kernel:
    f, zero = formula(scalar.TAIL_GRADIENT[act], dtype), np.dtype(dtype).type(0)

    @jit.kernel(constants=(dtype, act))
    def gradient(task, thread, spec, g, x, dy, y, factors, dx):
        width = spec.c * g.repeat
        begin, end = task * g.rows * spec.c, min((task + 1) * g.rows, spec.rows) * spec.c
        for at in range(begin, end, width):
            for k in range(min(width, end - at)):
                slope = f(fetch(y, at + k), fetch(dy, at + k), zero, zero)
                centered = fetch(x, at + k) - fetch(factors, k)
                rest = centered * fetch(factors, 2 * width + k) + fetch(factors, 3 * width + k)
                put(dx, at + k, slope * fetch(factors, width + k) + rest, 0)

    return gradient


@jit.kernel
def repeat_factors(task, thread, spec, g, scale, shift, factors):
    """The rows (0, scale, shift) of `factors`, each repeated."""
    width = spec.c * g.repeat
    for k in range(task * CHANNELS, min((task + 1) * CHANNELS, spec.c)):
        for p in range(g.repeat):
            factors[p * spec.c + k] = 0
            factors[width + p * spec.c + k] = scale[k]
            factors[2 * width + p * spec.c + k] = shift[k]


def slabs_of(spec: NormSpec) -> Slabs:
    return cut(ReduceSpec(1, spec.rows, spec.c))


def scratch(spec: NormSpec, dtype: str, caps) -> dict[str, Scratch]:
    g = slabs_of(spec)
    return {
        "running": Scratch((caps.threads, 3, WIDE), dtype),
        "parts": Scratch((2 * g.slabs * spec.c,), dtype),
        "factors": Scratch((4 * spec.c * g.repeat,), dtype),
    }


def scratch_scale_shift(spec: NormSpec, dtype: str, caps) -> dict[str, Scratch]:
    return {"factors": Scratch((3 * spec.c * slabs_of(spec).repeat,), dtype)}


def bind(spec: NormSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict) -> list[Call]:
    (x, gamma, beta), (y, mean, var) = map(flat, inputs), map(flat, outputs)
    g, parts, factors = slabs_of(spec), scratch["parts"], scratch["factors"]
    between = (spec, g, x, gamma, beta, parts, mean, var, factors)
    return [
        Call(moments, g.slabs * g.tiles, (spec, g, x, scratch["running"], parts)),
        Call(statistics, blocks(spec.c, CHANNELS), between),
        Call(apply_kernel(x.dtype.name, spec.act), g.slabs, (spec, g, x, factors, y)),
    ]


def bind_dx(spec: NormSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict) -> list[Call]:
    (x, dy, gamma, mean, var, y), (dx, dgamma, dbeta) = map(flat, inputs), map(flat, outputs)
    g, parts, factors = slabs_of(spec), scratch["parts"], scratch["factors"]
    dtype, running = x.dtype.name, scratch["running"]
    sums = (spec, g, x, dy, mean, y, running, parts)
    between = (spec, g, gamma, mean, var, parts, dgamma, dbeta, factors)
    return [
        Call(gradient_sums_kernel(dtype, spec.act), g.slabs * g.tiles, sums),
        Call(gradient_factors, blocks(spec.c, CHANNELS), between),
        Call(gradient_kernel(dtype, spec.act), g.slabs, (spec, g, x, dy, y, factors, dx)),
    ]


def bind_scale_shift(
    spec: NormSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    (x, scale, shift), (y,), factors = map(flat, inputs), map(flat, outputs), scratch["factors"]
    g = slabs_of(spec)
    return [
        Call(repeat_factors, blocks(spec.c, CHANNELS), (spec, g, scale, shift, factors)),
        Call(apply_kernel(x.dtype.name, spec.act), g.slabs, (spec, g, x, factors, y)),
    ]


batchnorm_impl = Impl("slabs", always, bind, scratch, inplace=((0, 0),))
batchnorm_dx_impl = Impl("slabs", always, bind_dx, scratch, inplace=((0, 1), (0, 0)))
scale_shift_impl = Impl("loop", always, bind_scale_shift, scratch_scale_shift, inplace=((0, 0),))
