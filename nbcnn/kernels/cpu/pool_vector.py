"""Pooling with vector code for the windows that lie inside the image; those at its edges go the
plain way.

The scheme is that of `pool.py`: forward a task is a few output rows, backward it gathers a few rows
of dx. A pixel's channels are taken a vector at a time through all taps (`pool_micro.py`), the rest
under a mask, so few channels cost no more than one vector. Where windows neither overlap nor leave
gaps, dx is written without being zeroed first.

Chosen for windows of at most 9 taps (code is unrolled) in float32 and float64.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

from nbcnn.kernels.cpu import jit, pool, simd
from nbcnn.kernels.cpu import pool_micro as micro
from nbcnn.kernels.cpu.blocking import ITEM, Tile, register_tile
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.shares import blocks, flat
from nbcnn.kernels.impl import Impl
from nbcnn.ops.pool import Pool2DSpec

MOST_TAPS = 9


@jit.always_inline
def inside(s, top, left):
    """Whether a window lies inside the image."""
    return top >= 0 and top + s.kh <= s.h and left >= 0 and left + s.kw <= s.w


@cache
def maxpool2d_kernel(tile: Tile, kh: int, kw: int, indexed: bool, edges: bool) -> jit.Kernel:
    lanes, item = tile.lanes, tile.item
    whole = micro.window_max(tile, kh, kw, indexed, False)
    part = micro.window_max(tile, kh, kw, indexed, True)
    fold = micro.fold_max(tile, indexed)

    @jit.always_inline
    def at_edge(s, image, top, left, x, y, indices):
        """A window only partly inside. x, y, indices: addresses, y's and indices' of its pixel."""
        u0, u1 = pool.taps(top, s.h, kh)
        v0, v1 = pool.taps(left, s.w, kw)
        for tap in range(u0 * kw, u1 * kw):
            u, v = tap // kw, tap % kw
            if v0 <= v < v1:
                at = x + ((image * s.h + top + u) * s.w + left + v) * s.c * item
                first = u == u0 and v == v0
                for k in range(0, s.c, lanes):
                    fold(at + k * item, tap, y + k * item, indices + k, first, min(lanes, s.c - k))

    @jit.kernel(constants=(tile, kh, kw, indexed, edges))
    def maxpool2d(task, thread, spec, per, x, y, indices):
        s, pixel = spec, spec.c * item
        line, full = s.w * pixel, s.c // lanes * lanes
        from_x, to_y, to_i = simd.address(x), simd.address(y), simd.address(indices)
        for row in range(task * per, min((task + 1) * per, s.n * s.oh)):
            image, top = row // s.oh, row % s.oh * s.sh - s.pt
            for j in range(s.ow):
                left, at_y = j * s.sw - s.pl, (row * s.ow + j) * s.c
                y_at, i_at = to_y + at_y * item, to_i + at_y
                if not edges or inside(s, top, left):
                    at = from_x + (image * s.h + top) * line + left * pixel
                    for k in range(0, full, lanes):
                        whole(at + k * item, line, pixel, y_at + k * item, i_at + k, 0)
                    if full < s.c:
                        k = full
                        part(at + k * item, line, pixel, y_at + k * item, i_at + k, s.c - k)
                elif edges:
                    at_edge(s, image, top, left, from_x, y_at, i_at)

    return maxpool2d


@cache
def avgpool2d_kernel(tile: Tile, kh: int, kw: int, edges: bool) -> jit.Kernel:
    lanes, item = tile.lanes, tile.item
    whole, part = (micro.window_sum(tile, kh, kw, masked) for masked in (False, True))

    @jit.kernel(constants=(tile, kh, kw, edges))
    def avgpool2d(task, thread, spec, per, x, y):
        s, pixel, share = spec, spec.c * item, y.dtype.type(1.0 / (kh * kw))
        line, full = s.w * pixel, s.c // lanes * lanes
        from_x, to_y = simd.address(x), simd.address(y)
        for row in range(task * per, min((task + 1) * per, s.n * s.oh)):
            image, top = row // s.oh, row % s.oh * s.sh - s.pt
            for j in range(s.ow):
                left, at_y = j * s.sw - s.pl, (row * s.ow + j) * s.c
                if not edges or inside(s, top, left):
                    at = from_x + (image * s.h + top) * line + left * pixel
                    y_at = to_y + at_y * item
                    for k in range(0, full, lanes):
                        whole(at + k * item, line, pixel, y_at + k * item, share, 0)
                    if full < s.c:
                        k = full
                        part(at + k * item, line, pixel, y_at + k * item, share, s.c - k)
                elif edges:
                    pool.mean_window(s, image, top, left, at_y, x, y)

    return avgpool2d


@jit.always_inline
def clear(s, kw, add, covered, dx, at):
    """Zero what the windows of a row of dx will not write; all of it where they `add`."""
    start = 0
    if covered and not add:
        start = min(s.ow, (s.w - kw) // s.sw + 1) * s.sw * s.c
    for e in range(start, s.w * s.c):
        dx[at + e] = 0


@cache
def maxpool2d_dx_kernel(tile: Tile, kh: int, kw: int, add: bool, edges: bool) -> jit.Kernel:
    lanes, item = tile.lanes, tile.item
    whole, part = (micro.spread_max(tile, kw, add, masked) for masked in (False, True))
    one = micro.spread_max(tile, 1, True, True)

    @jit.always_inline
    def at_edge(s, left, tap, dy, indices, dx):
        """One row of a window of which only some taps are inside. Addresses of its pixels."""
        v0, v1 = pool.taps(left, s.w, kw)
        for v in range(v0, v1):
            at = dx + v * s.c * item
            for k in range(0, s.c, lanes):
                one(dy + k * item, indices + k, tap + v, at + k * item, 0, min(lanes, s.c - k))

    @jit.kernel(constants=(tile, kh, kw, add, edges))
    def maxpool2d_dx(task, thread, spec, per, dy, indices, dx):
        s, pixel, full = spec, spec.c * item, spec.c // lanes * lanes
        from_y, from_i, to_x = simd.address(dy), simd.address(indices), simd.address(dx)
        for row in range(task * per, min((task + 1) * per, s.n * s.h)):
            image, line = row // s.h, row % s.h
            first, stop = pool.reach(line, s.pt, kh, s.sh, s.oh)
            clear(s, kw, add, first < stop, dx, row * s.w * s.c)
            for i in range(first, stop):
                tap = (line + s.pt - i * s.sh) * kw
                for j in range(s.ow):
                    left, at_y = j * s.sw - s.pl, ((image * s.oh + i) * s.ow + j) * s.c
                    at, y_at = to_x + (row * s.w + left) * pixel, from_y + at_y * item
                    if not edges or (left >= 0 and left + kw <= s.w):
                        for k in range(0, full, lanes):
                            whole(y_at + k * item, from_i + at_y + k, tap, at + k * item, pixel, 0)
                        if full < s.c:
                            k = full
                            rest = s.c - k
                            part(
                                y_at + k * item, from_i + at_y + k, tap, at + k * item, pixel, rest
                            )
                    elif edges:
                        at_edge(s, left, tap, y_at, from_i + at_y, at)

    return maxpool2d_dx


@cache
def avgpool2d_dx_kernel(tile: Tile, kh: int, kw: int, add: bool, edges: bool) -> jit.Kernel:
    lanes, item = tile.lanes, tile.item
    whole, part = (micro.spread_sum(tile, kw, add, masked) for masked in (False, True))

    @jit.kernel(constants=(tile, kh, kw, add, edges))
    def avgpool2d_dx(task, thread, spec, per, dy, dx):
        s, pixel, full = spec, spec.c * item, spec.c // lanes * lanes
        number = dx.dtype.type
        from_y, to_x = simd.address(dy), simd.address(dx)
        for row in range(task * per, min((task + 1) * per, s.n * s.h)):
            image, line = row // s.h, row % s.h
            first, stop = pool.reach(line, s.pt, kh, s.sh, s.oh)
            clear(s, kw, add, first < stop, dx, row * s.w * s.c)
            for i in range(first, stop):
                u0, u1 = pool.taps(i * s.sh - s.pt, s.h, kh)
                share = number(1.0 / ((u1 - u0) * kw))
                for j in range(s.ow):
                    left, at_y = j * s.sw - s.pl, ((image * s.oh + i) * s.ow + j) * s.c
                    if not edges or (left >= 0 and left + kw <= s.w):
                        at, y_at = to_x + (row * s.w + left) * pixel, from_y + at_y * item
                        for k in range(0, full, lanes):
                            whole(y_at + k * item, share, at + k * item, pixel, 0)
                        if full < s.c:
                            k = full
                            part(y_at + k * item, share, at + k * item, pixel, s.c - k)
                    elif edges:
                        pool.spread_mean(s, row, u1 - u0, left, at_y, dy, dx)

    return avgpool2d_dx


def accepts(spec: Pool2DSpec, dtype: str, caps: Caps) -> str | None:
    if dtype not in ITEM:
        return f"no {dtype}"
    taps = spec.kh * spec.kw
    return None if taps <= MOST_TAPS else f"window of {taps} taps, at most {MOST_TAPS}"


def has_edges(spec: Pool2DSpec) -> bool:
    """Whether some window reaches outside the image."""
    below = (spec.oh - 1) * spec.sh - spec.pt + spec.kh > spec.h
    right = (spec.ow - 1) * spec.sw - spec.pl + spec.kw > spec.w
    return spec.pt > 0 or spec.pl > 0 or below or right


def overlaps(spec: Pool2DSpec) -> bool:
    """Whether dx must be zeroed and added to: windows overlap, leave gaps, or start outside."""
    return spec.sh < spec.kh or spec.sw != spec.kw or spec.pl != 0


def bind_max(
    spec: Pool2DSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    x, y, *indices = flat(inputs[0]), *map(flat, outputs)
    kernel = maxpool2d_kernel(
        register_tile(caps, x.dtype.name), spec.kh, spec.kw, bool(indices), has_edges(spec)
    )
    per = pool.per_task(spec.sh * spec.w * spec.c)
    args = (spec, per, x, y, indices[0] if indices else np.empty(0, np.uint8))
    return [Call(kernel, blocks(spec.n * spec.oh, per), args)]


def bind_avg(
    spec: Pool2DSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    x, y = flat(inputs[0]), flat(outputs[0])
    kernel = avgpool2d_kernel(register_tile(caps, x.dtype.name), spec.kh, spec.kw, has_edges(spec))
    per = pool.per_task(spec.sh * spec.w * spec.c)
    return [Call(kernel, blocks(spec.n * spec.oh, per), (spec, per, x, y))]


def bind_dx(kernel_of):
    def bind(
        spec: Pool2DSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
    ) -> list[Call]:
        dx, per = flat(outputs[0]), pool.per_task(spec.w * spec.c)
        tile = register_tile(caps, dx.dtype.name)
        kernel = kernel_of(tile, spec.kh, spec.kw, overlaps(spec), has_edges(spec))
        args = (spec, per, *map(flat, inputs), dx)
        return [Call(kernel, blocks(spec.n * spec.h, per), args)]

    return bind


maxpool2d_impl = Impl("vectors", accepts, bind_max)
maxpool2d_dx_impl = Impl("vectors", accepts, bind_dx(maxpool2d_dx_kernel))
avgpool2d_impl = Impl("vectors", accepts, bind_avg)
avgpool2d_dx_impl = Impl("vectors", accepts, bind_dx(avgpool2d_dx_kernel))
