"""Max and average pooling for any window, stride and padding, forward and backward.

Forward, a task is a few output rows; taps (u, v) of the window are the outer loops of a pixel and channels, which
are contiguous, the inner one. Pixels outside the input are left out by limiting the range of taps.

Backward gathers: a task is a few rows of dx. For each it visits the output rows whose windows reach it, so every
element of dx has one writer although windows may overlap.

The common windows that neither overlap nor reach outside have faster kernels in `pool_windows.py`.
"""

from collections.abc import Sequence

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


@jit.kernel
def maxpool2d(task, thread, spec, per, x, y, indices):
    """`indices`: of size 0 where they are not wanted. The first of equal values wins, and a NaN over all."""
    s = spec
    for row in range(task * per, min((task + 1) * per, s.n * s.oh)):
        image, top = row // s.oh, row % s.oh * s.sh - s.pt
        u0, u1 = taps(top, s.h, s.kh)
        for j in range(s.ow):
            left = j * s.sw - s.pl
            v0, v1 = taps(left, s.w, s.kw)
            at_y = (row * s.ow + j) * s.c
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


@jit.kernel
def maxpool2d_dx(task, thread, spec, per, dy, indices, dx):
    s = spec
    for row in range(task * per, min((task + 1) * per, s.n * s.h)):
        image, line = row // s.h, row % s.h
        at_x = row * s.w * s.c
        for e in range(s.w * s.c):
            dx[at_x + e] = 0
        first, stop = reach(line, s.pt, s.kh, s.sh, s.oh)
        for i in range(first, stop):
            u = line + s.pt - i * s.sh
            for j in range(s.ow):
                left = j * s.sw - s.pl
                v0, v1 = taps(left, s.w, s.kw)
                at_y = ((image * s.oh + i) * s.ow + j) * s.c
                for v in range(v0, v1):
                    tap, to = u * s.kw + v, at_x + (left + v) * s.c
                    for k in range(s.c):
                        won = fetch(indices, at_y + k) == tap
                        put(dx, to + k, dx[to + k] + (fetch(dy, at_y + k) if won else dx.dtype.type(0)), 0)


@jit.kernel
def avgpool2d(task, thread, spec, per, x, y):
    s, number = spec, y.dtype.type
    for row in range(task * per, min((task + 1) * per, s.n * s.oh)):
        image, top = row // s.oh, row % s.oh * s.sh - s.pt
        u0, u1 = taps(top, s.h, s.kh)
        for j in range(s.ow):
            left = j * s.sw - s.pl
            v0, v1 = taps(left, s.w, s.kw)
            at_y = (row * s.ow + j) * s.c
            share = number(1.0 / ((u1 - u0) * (v1 - v0)))
            for k in range(s.c):
                y[at_y + k] = 0
            for u in range(u0, u1):
                for v in range(v0, v1):
                    at_x = ((image * s.h + top + u) * s.w + left + v) * s.c
                    for k in range(s.c):
                        put(y, at_y + k, y[at_y + k] + fetch(x, at_x + k), 0)
            for k in range(s.c):
                y[at_y + k] *= share


@jit.kernel
def avgpool2d_dx(task, thread, spec, per, dy, dx):
    s, number = spec, dx.dtype.type
    for row in range(task * per, min((task + 1) * per, s.n * s.h)):
        image, line = row // s.h, row % s.h
        at_x = row * s.w * s.c
        for e in range(s.w * s.c):
            dx[at_x + e] = 0
        first, stop = reach(line, s.pt, s.kh, s.sh, s.oh)
        for i in range(first, stop):
            u0, u1 = taps(i * s.sh - s.pt, s.h, s.kh)
            for j in range(s.ow):
                left = j * s.sw - s.pl
                v0, v1 = taps(left, s.w, s.kw)
                at_y = ((image * s.oh + i) * s.ow + j) * s.c
                share = number(1.0 / ((u1 - u0) * (v1 - v0)))
                for v in range(v0, v1):
                    to = at_x + (left + v) * s.c
                    for k in range(s.c):
                        put(dx, to + k, dx[to + k] + share * fetch(dy, at_y + k), 0)


def per_task(elements: int) -> int:
    """Rows of this many elements that make a task."""
    return max(1, BLOCK // max(1, elements))


def bind_maxpool2d(spec: Pool2DSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict) -> list[Call]:
    per = per_task(spec.sh * spec.w * spec.c)
    indices = flat(outputs[1]) if len(outputs) > 1 else np.empty(0, np.uint8)
    args = (spec, per, flat(inputs[0]), flat(outputs[0]), indices)
    return [Call(maxpool2d, blocks(spec.n * spec.oh, per), args)]


def bind_avgpool2d(spec: Pool2DSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict) -> list[Call]:
    per = per_task(spec.sh * spec.w * spec.c)
    return [Call(avgpool2d, blocks(spec.n * spec.oh, per), (spec, per, flat(inputs[0]), flat(outputs[0])))]


def bind_dx(kernel: jit.Kernel):
    def bind(spec: Pool2DSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict) -> list[Call]:
        per = per_task(spec.w * spec.c)
        args = (spec, per, *map(flat, inputs), flat(outputs[0]))
        return [Call(kernel, blocks(spec.n * spec.h, per), args)]

    return bind


maxpool2d_impl = Impl("taps", always, bind_maxpool2d)
maxpool2d_dx_impl = Impl("taps", always, bind_dx(maxpool2d_dx))
avgpool2d_impl = Impl("taps", always, bind_avgpool2d)
avgpool2d_dx_impl = Impl("taps", always, bind_dx(avgpool2d_dx))
