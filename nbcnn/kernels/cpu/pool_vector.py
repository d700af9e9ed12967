"""Pooling with vector code, for any window, stride and padding.

A task is a few output rows. For each output pixel the part of its window that lies inside the image
is visited once per one to four vectors of channels (`pool_micro.py`); windows that lie inside as a
whole are taken in one go. `pool_vector_dx.py` is the way back.

Chosen for float32 and float64. The geometry is data: one compiled kernel takes all windows.
"""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from nbcnn.kernels.cpu import jit, pool, simd
from nbcnn.kernels.cpu import pool_micro as micro
from nbcnn.kernels.cpu.blocking import ITEM, Tile, register_tile
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.shares import blocks, flat
from nbcnn.kernels.impl import Impl
from nbcnn.ops.pool import Pool2DSpec


@jit.always_inline
def alike(s, j):
    """Windows from column j on that have as many columns as this one: those inside, or it alone."""
    left = j * s.sw - s.pl
    if left < 0 or left + s.kw > s.w:
        return 1
    return min((s.w + s.pl - s.kw) // s.sw + 1, s.ow) - j


@cache
def maxpool2d_kernel(tile: Tile, index: int) -> jit.Kernel:
    item, maxima = tile.item, micro.window_max(tile, index)

    @jit.kernel(constants=(tile, index))
    def maxpool2d(task, thread, spec, per, x, y, indices):
        s, pixel = spec, spec.c * item
        line = s.w * pixel
        for row in range(task * per, min((task + 1) * per, s.n * s.oh)):
            image, top = row // s.oh, row % s.oh * s.sh - s.pt
            u0, u1 = pool.taps(top, s.h, s.kh)
            from_x = simd.address(x) + (image * s.h + top + u0) * line
            j = 0
            while j < s.ow:
                left, to, windows = j * s.sw - s.pl, (row * s.ow + j) * s.c, alike(s, j)
                v0, v1 = pool.taps(left, s.w, s.kw)
                maxima(
                    windows,
                    s.sw * pixel,
                    from_x + (left + v0) * pixel,
                    line,
                    pixel,
                    u1 - u0,
                    v1 - v0,
                    u0 * s.kw + v0,
                    s.kw,
                    simd.address(y) + to * item,
                    simd.address(indices) + to * index,
                    s.c,
                )
                j += windows

    return maxpool2d


@cache
def avgpool2d_kernel(tile: Tile) -> jit.Kernel:
    item, means = tile.item, micro.window_mean(tile)

    @jit.kernel(constants=(tile,))
    def avgpool2d(task, thread, spec, per, weight, x, y):
        s, pixel = spec, spec.c * item
        line = s.w * pixel
        for row in range(task * per, min((task + 1) * per, s.n * s.oh)):
            image, top = row // s.oh, row % s.oh * s.sh - s.pt
            u0, u1 = pool.taps(top, s.h, s.kh)
            from_x = simd.address(x) + (image * s.h + top + u0) * line
            j = 0
            while j < s.ow:
                left, windows = j * s.sw - s.pl, alike(s, j)
                v0, v1 = pool.taps(left, s.w, s.kw)
                means(
                    windows,
                    s.sw * pixel,
                    from_x + (left + v0) * pixel,
                    line,
                    pixel,
                    u1 - u0,
                    v1 - v0,
                    y.dtype.type(weight / ((u1 - u0) * (v1 - v0))),
                    simd.address(y) + (row * s.ow + j) * pixel,
                    s.c,
                )
                j += windows

    return avgpool2d


def accepts(spec: Pool2DSpec, dtype: str, caps: Caps) -> str | None:
    return None if dtype in ITEM else f"no {dtype}"


def bind_max(
    spec: Pool2DSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    x, y, *indices = flat(inputs[0]), *map(flat, outputs)
    index = indices[0].itemsize if indices else 0
    per = pool.per_task(spec.sh * spec.w * spec.c)
    kernel = maxpool2d_kernel(register_tile(caps, x.dtype.name), index)
    args = (spec, per, x, y, indices[0] if indices else np.empty(0, np.uint8))
    return [Call(kernel, blocks(spec.n * spec.oh, per), args)]


def bind_mean(weight: Callable[[Pool2DSpec], int]):
    def bind(
        spec: Pool2DSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
    ) -> list[Call]:
        x, y = flat(inputs[0]), flat(outputs[0])
        per = pool.per_task(spec.sh * spec.w * spec.c)
        kernel = avgpool2d_kernel(register_tile(caps, x.dtype.name))
        args = (spec, per, weight(spec), x, y)
        return [Call(kernel, blocks(spec.n * spec.oh, per), args)]

    return bind


maxpool2d = Impl("vectors", accepts, bind_max)
avgpool2d = Impl("vectors", accepts, bind_mean(pool.mean_weight))
upsample2d_dx = Impl("vectors", accepts, bind_mean(pool.sum_weight))
