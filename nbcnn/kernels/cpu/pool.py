"""Max and average pooling for any window, stride and padding, forward and backward, and upsampling.

Forward, a task is a few output rows; taps (u, v) of the window are the outer loops of a pixel and
channels, which are contiguous, the inner one. Pixels outside the input are left out by limiting the
range of taps.

Backward gathers: a task is a few rows of dx. For each it visits the output rows whose windows reach
it, so every element of dx has one writer although windows may overlap.

Upsampling, which repeats pixels, is an average pool's way back with another weight, and its
gradient an average pool.

`pool_vector.py` has faster kernels for float32 and float64.
"""

from collections.abc import Callable, Sequence

import numpy as np

from nbcnn.kernels.cpu import jit
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.cpu.shares import BLOCK, blocks, flat
from nbcnn.kernels.cpu.simd_streams import fetch, put
from nbcnn.kernels.impl import Impl, always
from nbcnn.ops.pool import Pool2DSpec


@jit.always_inline
def taps(position, size, window):
    """(first, stop) tap of a window at `position` that lies inside 0 .. size - 1."""
    return max(0, -position), min(window, size - position)


@jit.always_inline
def reach(position, pad, window, stride, count):
    """(first, stop) output whose window covers an input position."""
    first = position + pad - window
    return max(0, first // stride + 1), min(count, (position + pad) // stride + 1)


@jit.helper
def max_window(s, image, top, left, at_y, x, y, indices):
    """One window. `indices`: of size 0 where they are not wanted. The first of equal values wins,
    NaN over all.
    """
    u0, u1 = taps(top, s.h, s.kh)
    v0, v1 = taps(left, s.w, s.kw)
    at_x = ((image * s.h + top + u0) * s.w + left + v0) * s.c
    for k in range(s.c):
        put(y, at_y + k, fetch(x, at_x + k), 0)
    if indices.size:
        for k in range(s.c):
            put(indices, at_y + k, u0 * s.kw + v0, 0)
    for u in range(u0, u1):
        for v in range(v0, v1):
            at_x = ((image * s.h + top + u) * s.w + left + v) * s.c
            keep_larger(x, at_x, y, at_y, indices, u * s.kw + v, s.c)


@jit.always_inline
def keep_larger(x, at_x, y, at_y, indices, tap, channels):
    if indices.size:
        for k in range(channels):
            value, best, winner = fetch(x, at_x + k), y[at_y + k], indices[at_y + k]
            better = value > best or (value != value and best == best)
            put(y, at_y + k, value if better else best, 0)
            put(indices, at_y + k, tap if better else winner, 1)
    else:
        for k in range(channels):
            value, best = fetch(x, at_x + k), y[at_y + k]
            put(y, at_y + k, best if best >= value or best != best else value, 0)


@jit.helper
def mean_window(s, image, top, left, weight, at_y, x, y):
    """`weight` times the mean; sums have the window's size for weight."""
    u0, u1 = taps(top, s.h, s.kh)
    v0, v1 = taps(left, s.w, s.kw)
    share = y.dtype.type(weight / ((u1 - u0) * (v1 - v0)))
    for k in range(s.c):
        y[at_y + k] = 0
    for u in range(u0, u1):
        for v in range(v0, v1):
            at_x = ((image * s.h + top + u) * s.w + left + v) * s.c
            for k in range(s.c):
                put(y, at_y + k, y[at_y + k] + fetch(x, at_x + k), 0)
    for k in range(s.c):
        y[at_y + k] *= share


@jit.helper
def spread_max(s, row, left, first, at_y, dy, indices, dx):
    """Add what a window gives to row `row` of dx; `first` is the number of its first tap in that
    row.
    """
    v0, v1 = taps(left, s.w, s.kw)
    for v in range(v0, v1):
        to = (row * s.w + left + v) * s.c
        for k in range(s.c):
            won = fetch(indices, at_y + k) == first + v
            put(dx, to + k, dx[to + k] + (fetch(dy, at_y + k) if won else dx.dtype.type(0)), 0)


@jit.helper
def spread_mean(s, row, rows, left, weight, at_y, dy, dx):
    """As `spread_max`; `rows`: how many rows of the window lie inside."""
    v0, v1 = taps(left, s.w, s.kw)
    share = dx.dtype.type(weight / (rows * (v1 - v0)))
    for v in range(v0, v1):
        to = (row * s.w + left + v) * s.c
        for k in range(s.c):
            put(dx, to + k, dx[to + k] + share * fetch(dy, at_y + k), 0)


@jit.kernel
def maxpool2d(task, thread, spec, per, x, y, indices):
    s = spec
    for row in range(task * per, min((task + 1) * per, s.n * s.oh)):
        image, top = row // s.oh, row % s.oh * s.sh - s.pt
        for j in range(s.ow):
            max_window(s, image, top, j * s.sw - s.pl, (row * s.ow + j) * s.c, x, y, indices)


@jit.kernel
def avgpool2d(task, thread, spec, per, weight, x, y):
    s = spec
    for row in range(task * per, min((task + 1) * per, s.n * s.oh)):
        image, top = row // s.oh, row % s.oh * s.sh - s.pt
        for j in range(s.ow):
            mean_window(s, image, top, j * s.sw - s.pl, weight, (row * s.ow + j) * s.c, x, y)


@jit.kernel
def maxpool2d_dx(task, thread, spec, per, dy, indices, dx):
    s = spec
    for row in range(task * per, min((task + 1) * per, s.n * s.h)):
        image, line = row // s.h, row % s.h
        for e in range(row * s.w * s.c, (row + 1) * s.w * s.c):
            dx[e] = 0
        first, stop = reach(line, s.pt, s.kh, s.sh, s.oh)
        for i in range(first, stop):
            tap, at = (line + s.pt - i * s.sh) * s.kw, (image * s.oh + i) * s.ow
            for j in range(s.ow):
                spread_max(s, row, j * s.sw - s.pl, tap, (at + j) * s.c, dy, indices, dx)


@jit.kernel
def avgpool2d_dx(task, thread, spec, per, weight, dy, dx):
    s = spec
    for row in range(task * per, min((task + 1) * per, s.n * s.h)):
        image, line = row // s.h, row % s.h
        for e in range(row * s.w * s.c, (row + 1) * s.w * s.c):
            dx[e] = 0
        first, stop = reach(line, s.pt, s.kh, s.sh, s.oh)
        for i in range(first, stop):
            u0, u1 = taps(i * s.sh - s.pt, s.h, s.kh)
            at = (image * s.oh + i) * s.ow
            for j in range(s.ow):
                spread_mean(s, row, u1 - u0, j * s.sw - s.pl, weight, (at + j) * s.c, dy, dx)


def per_task(elements: int) -> int:
    """Rows of this many elements that make a task."""
    return max(1, BLOCK // max(1, elements))


def bind_maxpool2d(
    spec: Pool2DSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    per = per_task(spec.sh * spec.w * spec.c)
    indices = flat(outputs[1]) if len(outputs) > 1 else np.empty(0, np.uint8)
    args = (spec, per, flat(inputs[0]), flat(outputs[0]), indices)
    return [Call(maxpool2d, blocks(spec.n * spec.oh, per), args)]


def mean_weight(spec: Pool2DSpec) -> int:
    """Of pools: results are means, gradients shares."""
    return 1


def sum_weight(spec: Pool2DSpec) -> int:
    """Of upsampling: results are repetitions, gradients sums."""
    return spec.kh * spec.kw


def bind_mean(weight: Callable[[Pool2DSpec], int]):
    def bind(
        spec: Pool2DSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
    ) -> list[Call]:
        per = per_task(spec.sh * spec.w * spec.c)
        args = (spec, per, weight(spec), flat(inputs[0]), flat(outputs[0]))
        return [Call(avgpool2d, blocks(spec.n * spec.oh, per), args)]

    return bind


def bind_spread(weight: Callable[[Pool2DSpec], int]):
    def bind(
        spec: Pool2DSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
    ) -> list[Call]:
        per = per_task(spec.w * spec.c)
        args = (spec, per, weight(spec), flat(inputs[0]), flat(outputs[0]))
        return [Call(avgpool2d_dx, blocks(spec.n * spec.h, per), args)]

    return bind


def bind_maxpool2d_dx(
    spec: Pool2DSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    per = per_task(spec.w * spec.c)
    args = (spec, per, *map(flat, inputs), flat(outputs[0]))
    return [Call(maxpool2d_dx, blocks(spec.n * spec.h, per), args)]


maxpool2d_impl = Impl("taps", always, bind_maxpool2d)
maxpool2d_dx_impl = Impl("taps", always, bind_maxpool2d_dx)
avgpool2d_impl = Impl("taps", always, bind_mean(mean_weight))
avgpool2d_dx_impl = Impl("taps", always, bind_spread(mean_weight))
upsample2d_impl = Impl("taps", always, bind_spread(sum_weight))
upsample2d_dx_impl = Impl("taps", always, bind_mean(sum_weight))
