"""Gradients of pooling with vector code, for any window, stride and padding; and upsampling, which
spreads pixels as the gradient of an average pool spreads dy, whole.

A task is a few rows of dx; every pixel of dx is written once and never read. Where windows lie side
by side, each spreads its dy over its pixels of the row. Else pixels gather from the windows that
they lie in, all at once that lie in theirs the same way (`pool_runs.py`). Both through
`pool_micro.py`.

Chosen for float32 and float64, as forward (`pool_vector.py`).
"""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from nbcnn.kernels.cpu import jit, pool, simd
from nbcnn.kernels.cpu import pool_micro as micro
from nbcnn.kernels.cpu.blocking import Tile, register_tile
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.pool_runs import (
    MOST_CHANNELS,
    Axis,
    interleave,
    parts_of,
    phase_pixels,
    runs,
    windows_at,
)
from nbcnn.kernels.cpu.pool_vector import accepts
from nbcnn.kernels.cpu.shares import blocks, flat
from nbcnn.kernels.impl import Impl, Scratch
from nbcnn.ops.pool import Pool2DSpec


def side_by_side(s: Pool2DSpec) -> bool:
    """Whether windows neither overlap nor leave gaps along a row."""
    return s.sh >= s.kh and s.sw == s.kw and s.pl == 0


@jit.always_inline
def whole(s):
    """(windows that lie inside as a whole, columns of the one after them that is cut, or 0)."""
    windows = min(s.ow, s.w // s.kw)
    return windows, s.w - windows * s.kw if s.ow > windows else 0


@jit.always_inline
def clear_after(s, pixel, line):
    """Zero the columns of a row of dx, at address `line`, that no window reaches."""
    reached = min(s.w, s.ow * s.kw)
    simd.zero_bytes(line + reached * pixel, (s.w - reached) * pixel)


@cache
def maxpool2d_spread(tile: Tile, index: int) -> jit.Kernel:
    item, spread = tile.item, micro.spread_max(tile, index)

    @jit.kernel(constants=(tile, index))
    def maxpool2d_dx(task, thread, spec, per, dy, indices, dx):
        s, pixel = spec, spec.c * item
        windows, cut = whole(s)
        for row in range(task * per, min((task + 1) * per, s.n * s.h)):
            image, i = row // s.h, (row % s.h + s.pt) // s.sh
            line, u = simd.address(dx) + row * s.w * pixel, row % s.h + s.pt - i * s.sh
            if i >= s.oh or u >= s.kh:
                simd.zero_bytes(line, s.w * pixel)
                continue
            clear_after(s, pixel, line)
            at, step = (image * s.oh + i) * s.ow * s.c, s.kw * pixel
            for part in range(2):
                count, columns = (windows, s.kw) if part == 0 else (1, cut)
                if columns > 0:
                    y, winners = simd.address(dy) + at * item, simd.address(indices) + at * index
                    spread(count, step, y, winners, columns, u * s.kw, line, pixel, s.c)
                line, at = line + count * step, at + count * s.c

    return maxpool2d_dx


@cache
def avgpool2d_spread(tile: Tile) -> jit.Kernel:
    item, spread = tile.item, micro.spread_mean(tile)

    @jit.kernel(constants=(tile,))
    def avgpool2d_dx(task, thread, spec, per, weight, dy, dx):
        s, pixel = spec, spec.c * item
        windows, cut = whole(s)
        for row in range(task * per, min((task + 1) * per, s.n * s.h)):
            image, i = row // s.h, (row % s.h + s.pt) // s.sh
            line = simd.address(dx) + row * s.w * pixel
            if i >= s.oh or row % s.h + s.pt - i * s.sh >= s.kh:
                simd.zero_bytes(line, s.w * pixel)
                continue
            clear_after(s, pixel, line)
            u0, u1 = pool.taps(i * s.sh - s.pt, s.h, s.kh)
            y = simd.address(dy) + (image * s.oh + i) * s.ow * pixel
            for part in range(2):
                count, columns = (windows, s.kw) if part == 0 else (1, cut)
                if columns > 0:
                    share = dx.dtype.type(weight / ((u1 - u0) * columns))
                    spread(count, s.kw * pixel, y, share, columns, line, pixel, s.c)
                line, y = line + count * s.kw * pixel, y + count * pixel

    return avgpool2d_dx


@jit.always_inline
def runs_place(buffer, thread, line, item):
    """Where the runs of a row go."""
    own = simd.address(buffer) + thread * buffer.shape[1] * item
    return own if buffer.shape[1] > 0 else line


@cache
def maxpool2d_gather(tile: Tile, index: int) -> jit.Kernel:
    item, gather, merge = tile.item, micro.gather_max(tile, index), interleave(tile)

    @jit.kernel(constants=(tile, index))
    def maxpool2d_dx(task, thread, spec, per, dy, indices, dx, rows, runs, buffer):
        s, pixel = spec, spec.c * item
        stop = min((task + 1) * per, s.n * s.h)
        for row in range(task * per, stop):
            image, top = row // s.h, row % s.h
            i, down = rows[top, 0], rows[top, 1]
            line = simd.address(dx) + row * s.w * pixel
            place = runs_place(buffer, thread, line, item)
            for run in range(len(runs)):
                at = ((image * s.oh + i) * s.ow + runs[run, 0]) * s.c
                gather(
                    simd.address(dy) + at * item,
                    simd.address(indices) + at * index,
                    s.ow * pixel,
                    pixel,
                    down,
                    runs[run, 1],
                    (top + s.pt - i * s.sh) * s.kw + runs[run, 2],
                    s.sh * s.kw,
                    s.sw,
                    place + runs[run, 3] * pixel,
                    runs[run, 4] * s.c,
                )
            if buffer.shape[1] > 0:
                end = simd.address(dx) + stop * s.w * pixel
                merge(line, end, place, s.w, s.sw, (s.w + s.sw - 1) // s.sw * pixel, s.c)

    return maxpool2d_dx


@cache
def avgpool2d_gather(tile: Tile) -> jit.Kernel:
    item, gather, merge = tile.item, micro.gather_mean(tile), interleave(tile)

    @jit.kernel(constants=(tile,))
    def avgpool2d_dx(task, thread, spec, per, dy, dx, rows, runs, row_parts, column_parts, buffer):
        s, pixel = spec, spec.c * item
        stop = min((task + 1) * per, s.n * s.h)
        for row in range(task * per, stop):
            image, top = row // s.h, row % s.h
            i, down = rows[top, 0], rows[top, 1]
            line = simd.address(dx) + row * s.w * pixel
            place = runs_place(buffer, thread, line, item)
            for run in range(len(runs)):
                j = runs[run, 0]
                gather(
                    simd.address(dy) + ((image * s.oh + i) * s.ow + j) * pixel,
                    s.ow * pixel,
                    pixel,
                    down,
                    runs[run, 1],
                    simd.address(row_parts) + i * item,
                    simd.address(column_parts) + j * item,
                    place + runs[run, 3] * pixel,
                    runs[run, 4] * s.c,
                )
            if buffer.shape[1] > 0:
                end = simd.address(dx) + stop * s.w * pixel
                merge(line, end, place, s.w, s.sw, (s.w + s.sw - 1) // s.sw * pixel, s.c)

    return avgpool2d_dx


def axes(s: Pool2DSpec) -> tuple[Axis, Axis]:
    """Rows and columns."""
    return (s.h, s.pt, s.kh, s.sh, s.oh), (s.w, s.pl, s.kw, s.sw, s.ow)


def phased(s: Pool2DSpec) -> bool:
    return not side_by_side(s) and s.sw > 1 and s.c <= MOST_CHANNELS


def scratch(spec: Pool2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    if not phased(spec):
        return {}
    lanes = register_tile(caps, dtype).lanes  # the last pixel is read as whole vectors
    row = spec.sw * phase_pixels(spec.w, spec.sw) * spec.c
    return {"row": Scratch((caps.threads, row + lanes), dtype)}


def buffer(scratch: dict, dtype) -> np.ndarray:
    return scratch.get("row", np.empty((1, 0), dtype))


def bind_max(
    spec: Pool2DSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    dy, indices, dx = *map(flat, inputs), flat(outputs[0])
    tile, per = register_tile(caps, dx.dtype.name), pool.per_task(spec.w * spec.c)
    args: tuple = (spec, per, dy, indices, dx)
    kernel = maxpool2d_spread(tile, indices.itemsize)
    if not side_by_side(spec):
        kernel = maxpool2d_gather(tile, indices.itemsize)
        down, across = axes(spec)
        args = (*args, windows_at(*down), runs(across, phased(spec)))
        args = (*args, buffer(scratch, dx.dtype))
    return [Call(kernel, blocks(spec.n * spec.h, per), args)]


def bind_spread(weight: Callable[[Pool2DSpec], int]):
    def bind(
        spec: Pool2DSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
    ) -> list[Call]:
        dy, dx = flat(inputs[0]), flat(outputs[0])
        tile, per = register_tile(caps, dx.dtype.name), pool.per_task(spec.w * spec.c)
        kernel, args = avgpool2d_spread(tile), (spec, per, weight(spec), dy, dx)
        return [Call(kernel, blocks(spec.n * spec.h, per), args)]

    return bind


def bind_avg(
    spec: Pool2DSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    if side_by_side(spec):
        return bind_spread(pool.mean_weight)(spec, caps, inputs, outputs, scratch)
    dy, dx = flat(inputs[0]), flat(outputs[0])
    tile, per = register_tile(caps, dx.dtype.name), pool.per_task(spec.w * spec.c)
    down, across = axes(spec)
    parts = [parts_of(*axis).astype(dx.dtype) for axis in (down, across)]
    tables = windows_at(*down), runs(across, phased(spec), parts[1]), *parts
    args = (spec, per, dy, dx, *tables, buffer(scratch, dx.dtype))
    return [Call(avgpool2d_gather(tile), blocks(spec.n * spec.h, per), args)]


maxpool2d_dx = Impl("vectors", accepts, bind_max, scratch)
avgpool2d_dx = Impl("vectors", accepts, bind_avg, scratch)
upsample2d = Impl("vectors", accepts, bind_spread(pool.sum_weight))
