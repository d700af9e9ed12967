"""Layer normalization, forward and backward: every row of c numbers by itself.

    forward    mean = sum x / c,  s = 1 / sqrt(sum (x - mean)^2 / c + e),  y = (x - mean) s gamma +
               beta
    backward   h = (x - mean) s,  g = dy gamma,  dx = s (g - mean(g) - h mean(g h)),
               dgamma = sum over rows of dy h,  dbeta = sum over rows of dy

A row is read from memory once and stays in L1 for the passes that follow (`layer_norm_micro.py`).
Forward measures from the row's first number, which is exact where the mean is far from zero, and
sums the variance from distances to the mean, so nothing cancels. A task is some rows. Backward
a task is a slab of rows, which adds to sums of its own for dgamma and dbeta; slabs follow from the
shape and are added in order (`slabs.py`).
"""

from functools import cache

import numpy as np

from nbcnn.kernels.cpu import jit, simd, slabs
from nbcnn.kernels.cpu import layer_norm_micro as micro
from nbcnn.kernels.cpu.blocking import Tile, register_tile
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.cpu.shares import BLOCK, blocks, flat
from nbcnn.kernels.impl import Impl, Scratch, always
from nbcnn.ops.layer_norm import LayerNormSpec


@cache
def normalize_kernel(tile: Tile) -> jit.Kernel:
    item = tile.item
    row_sum, row_spread, apply = micro.row_sum(tile), micro.row_spread(tile), micro.row_apply(tile)

    @jit.kernel(constants=(tile,))
    def normalize(task, thread, spec, per, x, gamma, beta, y, means, scales):
        one, size = x.dtype.type(1), x.dtype.type(spec.c)
        for row in range(task * per, min((task + 1) * per, spec.rows)):
            at, origin = row * spec.c * item, x[row * spec.c]
            offset = row_sum(simd.address(x) + at, origin, spec.c) / size
            spread = row_spread(simd.address(x) + at, origin, offset, spec.c) / size
            scale = one / np.sqrt(spread + x.dtype.type(spec.epsilon))
            apply(
                simd.address(x) + at, simd.address(gamma), simd.address(beta),
                simd.address(y) + at, origin, scale, -offset * scale, spec.c,
            )  # fmt: skip
            means[row], scales[row] = origin + offset, scale

    return normalize


@cache
def gradient_kernel(tile: Tile) -> jit.Kernel:
    item, row_gradient = tile.item, micro.row_gradient(tile)

    @jit.kernel(constants=(tile,))
    def gradient(task, thread, spec, count, x, dy, gamma, means, scales, dx, parts):
        first, end = slabs.slab_range(task, count, spec.rows)
        for k in range(2 * spec.c):
            parts[task, k] = 0
        dgamma = simd.address(parts) + task * parts.shape[1] * item
        share = x.dtype.type(1.0 / spec.c)
        for row in range(first, end):
            at = row * spec.c * item
            row_gradient(
                simd.address(x) + at, simd.address(dy) + at, simd.address(gamma),
                simd.address(dx) + at, dgamma, dgamma + spec.c * item,
                means[row], scales[row], share, spec.c,
            )  # fmt: skip

    return gradient


def scratch(spec: LayerNormSpec, dtype: str, caps) -> dict[str, Scratch]:
    least = max(8, BLOCK // max(spec.c, 1))
    count = slabs.slab_count(spec.rows, 2 * spec.c, least)
    return {"parts": Scratch((count, 2 * spec.c), dtype)}


def bind(spec: LayerNormSpec, caps, inputs, outputs, scratch) -> list[Call]:
    x, *others = map(flat, (*inputs, *outputs))
    per = max(1, BLOCK // max(spec.c, 1))
    kernel = normalize_kernel(register_tile(caps, x.dtype.name))
    return [Call(kernel, blocks(spec.rows, per), (spec, per, x, *others))]


def bind_dx(spec: LayerNormSpec, caps, inputs, outputs, scratch) -> list[Call]:
    dx, *sums = map(flat, outputs)
    parts, kernel = scratch["parts"], gradient_kernel(register_tile(caps, dx.dtype.name))
    args = (spec, len(parts), *map(flat, inputs), dx, parts)
    return [Call(kernel, len(parts), args), *slabs.reductions(parts, sums)]


layernorm_impl = Impl("rows", always, bind)
layernorm_dx_impl = Impl("rows", always, bind_dx, scratch, inplace=((0, 1), (0, 0)))
