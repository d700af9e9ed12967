"""Gradients of pooling with vector code, for any window, stride and padding; and upsampling, which
spreads pixels as the gradient of an average pool spreads dy, whole.

A task is a few rows of dx; every pixel of dx is written once and never read. Where windows lie side
by side, each spreads its dy over its pixels of the row. Else each pixel gathers from the windows
that it lies in, which tables tell. Both through `pool_micro.py`.

Chosen for float32 and float64, as forward (`pool_vector.py`).
"""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from nbcnn.kernels.cpu import jit, pool, simd
from nbcnn.kernels.cpu import pool_micro as micro
from nbcnn.kernels.cpu.blocking import Tile, register_tile
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.cpu.pool_vector import accepts
from nbcnn.kernels.cpu.shares import blocks, flat
from nbcnn.kernels.impl import Impl
from nbcnn.ops.pool import Pool2DSpec

Axis = tuple[int, int, int, int, int]  # size, padding, window, stride, windows


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


@cache
def maxpool2d_gather(tile: Tile, index: int) -> jit.Kernel:
    item, gather = tile.item, micro.gather_max(tile, index)

    @jit.kernel(constants=(tile, index))
    def maxpool2d_dx(task, thread, spec, per, dy, indices, dx, rows, columns):
        s, pixel = spec, spec.c * item
        for row in range(task * per, min((task + 1) * per, s.n * s.h)):
            image, top = row // s.h, row % s.h
            i, down = rows[top, 0], rows[top, 1]
            for left in range(s.w):
                j, across = columns[left, 0], columns[left, 1]
                at = ((image * s.oh + i) * s.ow + j) * s.c
                gather(
                    simd.address(dy) + at * item,
                    simd.address(indices) + at * index,
                    s.ow * pixel,
                    pixel,
                    down,
                    across,
                    (top + s.pt - i * s.sh) * s.kw + left + s.pl - j * s.sw,
                    s.sh * s.kw,
                    s.sw,
                    simd.address(dx) + (row * s.w + left) * pixel,
                    s.c,
                )

    return maxpool2d_dx


@cache
def avgpool2d_gather(tile: Tile) -> jit.Kernel:
    item, gather = tile.item, micro.gather_mean(tile)

    @jit.kernel(constants=(tile,))
    def avgpool2d_dx(task, thread, spec, per, dy, dx, rows, columns, row_parts, column_parts):
        s, pixel = spec, spec.c * item
        for row in range(task * per, min((task + 1) * per, s.n * s.h)):
            image, top = row // s.h, row % s.h
            i, down = rows[top, 0], rows[top, 1]
            for left in range(s.w):
                j, across = columns[left, 0], columns[left, 1]
                gather(
                    simd.address(dy) + ((image * s.oh + i) * s.ow + j) * pixel,
                    s.ow * pixel,
                    pixel,
                    down,
                    across,
                    simd.address(row_parts) + i * item,
                    simd.address(column_parts) + j * item,
                    simd.address(dx) + (row * s.w + left) * pixel,
                    s.c,
                )

    return avgpool2d_dx


def windows_at(size: int, pad: int, window: int, stride: int, count: int) -> np.ndarray:
    """(first window, how many) that each of `size` positions lies in, along one axis."""
    position = np.arange(size) + pad
    first = np.clip((position - window) // stride + 1, 0, count)
    stop = np.minimum(position // stride + 1, count)
    return np.stack([first, np.maximum(stop - first, 0)], axis=1).astype(np.int64)


def shares(size: int, pad: int, window: int, stride: int, count: int, dtype) -> np.ndarray:
    """One over the positions of each window that lie inside, along one axis."""
    start = np.arange(count) * stride - pad
    return (1.0 / (np.minimum(start + window, size) - np.maximum(start, 0))).astype(dtype)


def axes(s: Pool2DSpec) -> tuple[Axis, Axis]:
    """What `windows_at` and `shares` ask for, of rows and of columns."""
    return (s.h, s.pt, s.kh, s.sh, s.oh), (s.w, s.pl, s.kw, s.sw, s.ow)


def bind_max(
    spec: Pool2DSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    dy, indices, dx = *map(flat, inputs), flat(outputs[0])
    tile, per = register_tile(caps, dx.dtype.name), pool.per_task(spec.w * spec.c)
    args: tuple = (spec, per, dy, indices, dx)
    kernel = maxpool2d_spread(tile, indices.itemsize)
    if not side_by_side(spec):
        kernel = maxpool2d_gather(tile, indices.itemsize)
        args = (*args, *(windows_at(*axis) for axis in axes(spec)))
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
    tables = (windows_at(*axis) for axis in axes(spec))
    parts = (shares(*axis, dx.dtype) for axis in axes(spec))
    args = (spec, per, dy, dx, *tables, *parts)
    return [Call(avgpool2d_gather(tile), blocks(spec.n * spec.h, per), args)]


maxpool2d_dx = Impl("vectors", accepts, bind_max)
avgpool2d_dx = Impl("vectors", accepts, bind_avg)
upsample2d = Impl("vectors", accepts, bind_spread(pool.sum_weight))
