"""Pooling and upsampling of (n, h, w, c): a thread takes one pixel of the result and four of its
channels, or one; threads of a warp lie along the channels, so what they read lies together.

A max pool keeps which pixel of its window won, one byte. Gradients gather: a pixel of the input
looks at the windows that cover it, in the order of the windows, so nothing is added by two threads.
"""

from functools import cache

import numpy as np
from numba import cuda

from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import launch
from nbcnn.kernels.cuda.index import divider, is_far
from nbcnn.kernels.cuda.quads import access, width_of
from nbcnn.kernels.impl import Impl, always
from nbcnn.ops.pool import Pool2DSpec


@jit.device
def pixels_inside(s, p, q):
    """How many pixels of the window at output (p, q) lie in the input."""
    top, left = p * s.sh - s.pt, q * s.sw - s.pl
    rows = min(top + s.kh, s.h) - max(top, 0)
    columns = min(left + s.kw, s.w) - max(left, 0)
    return max(rows, 0) * max(columns, 0)


@cache
def pixel(far: bool):
    """find(i, h, w, c) = (image, row, column, channel) of element i; `find` counts in quads of
    channels where c does.
    """
    divided = divider(far)

    @jit.device
    def find(i, h, w, c):
        i, channel = divided(i, c)
        i, column = divided(i, w)
        image, row = divided(i, h)
        return image, row, column, channel

    return find


@cache
def covering(far: bool):
    """cover(at, kernel, step, size): the first and the end of the windows that hold a place `at`
    (from the padding's edge) along one axis.
    """
    divided = divider(far)

    @jit.device
    def cover(at, kernel, step, size):
        last, _ = divided(at, step)
        first = 0
        if at >= kernel:
            first, _ = divided(at - kernel + step, step)
        return first, min(last + 1, size)

    return cover


@cache
def maxpool_kernel(dtype: str, width: int, keep: bool, far: bool):
    """`winner` gets the place in the window; the first of equal ones, or the first NaN."""
    number, (fetch, put), find = np.dtype(dtype).type, access(width), pixel(far)

    @jit.kernel(constants=(dtype, width, keep, far))
    def maxpool(s, x, y, winner):
        v, best = cuda.local.array(width, number), cuda.local.array(width, number)
        place = cuda.local.array(width, np.int32)
        quads = s.c // width
        i = cuda.grid(1)
        while i < s.n * s.oh * s.ow * quads:
            n, p, q, k = find(i, s.oh, s.ow, quads)
            top, left = p * s.sh - s.pt, q * s.sw - s.pl
            for j in range(width):
                best[j], place[j] = number(-np.inf), np.int32(-1)
            for u in range(max(-top, 0), min(s.kh, s.h - top)):
                for w in range(max(-left, 0), min(s.kw, s.w - left)):
                    fetch(x, ((n * s.h + top + u) * s.w + left + w) * s.c + k * width, v)
                    for j in range(width):
                        nan = v[j] != v[j] and best[j] == best[j]
                        if place[j] < 0 or v[j] > best[j] or nan:
                            best[j], place[j] = v[j], np.int32(u * s.kw + w)
            put(y, i * width, best)
            if keep:
                for j in range(width):
                    winner[i * width + j] = max(place[j], 0)
            i += cuda.gridsize(1)

    return maxpool


@cache
def maxpool_gradient_kernel(dtype: str, width: int, far: bool):
    number, (fetch, put) = np.dtype(dtype).type, access(width)
    find, cover = pixel(far), covering(far)

    @jit.kernel(constants=(dtype, width, far))
    def maxpool_gradient(s, dy, winner, dx):
        v, total = cuda.local.array(width, number), cuda.local.array(width, number)
        quads = s.c // width
        i = cuda.grid(1)
        while i < s.n * s.h * s.w * quads:
            n, row, column, k = find(i, s.h, s.w, quads)
            for j in range(width):
                total[j] = number(0)
            first_p, end_p = cover(row + s.pt, s.kh, s.sh, s.oh)
            first_q, end_q = cover(column + s.pl, s.kw, s.sw, s.ow)
            for p in range(first_p, end_p):
                u = row + s.pt - p * s.sh
                for q in range(first_q, end_q):
                    place = u * s.kw + column + s.pl - q * s.sw
                    at = ((n * s.oh + p) * s.ow + q) * s.c + k * width
                    fetch(dy, at, v)
                    for j in range(width):
                        if winner[at + j] == place:
                            total[j] += v[j]
            put(dx, i * width, total)
            i += cuda.gridsize(1)

    return maxpool_gradient


@cache
def avgpool_kernel(dtype: str, width: int, far: bool):
    """`weight` times the mean."""
    number, (fetch, put), find = np.dtype(dtype).type, access(width), pixel(far)

    @jit.kernel(constants=(dtype, width, far))
    def avgpool(s, weight, x, y):
        v, total = cuda.local.array(width, number), cuda.local.array(width, number)
        quads = s.c // width
        i = cuda.grid(1)
        while i < s.n * s.oh * s.ow * quads:
            n, p, q, k = find(i, s.oh, s.ow, quads)
            top, left = p * s.sh - s.pt, q * s.sw - s.pl
            for j in range(width):
                total[j] = number(0)
            for u in range(max(-top, 0), min(s.kh, s.h - top)):
                for w in range(max(-left, 0), min(s.kw, s.w - left)):
                    fetch(x, ((n * s.h + top + u) * s.w + left + w) * s.c + k * width, v)
                    for j in range(width):
                        total[j] += v[j]
            share = number(weight) / number(max(pixels_inside(s, p, q), 1))
            for j in range(width):
                total[j] *= share
            put(y, i * width, total)
            i += cuda.gridsize(1)

    return avgpool


@cache
def avgpool_gradient_kernel(dtype: str, width: int, far: bool):
    number, (fetch, put) = np.dtype(dtype).type, access(width)
    find, cover = pixel(far), covering(far)

    @jit.kernel(constants=(dtype, width, far))
    def avgpool_gradient(s, dy, dx):
        v, total = cuda.local.array(width, number), cuda.local.array(width, number)
        quads = s.c // width
        i = cuda.grid(1)
        while i < s.n * s.h * s.w * quads:
            n, row, column, k = find(i, s.h, s.w, quads)
            for j in range(width):
                total[j] = number(0)
            first_p, end_p = cover(row + s.pt, s.kh, s.sh, s.oh)
            first_q, end_q = cover(column + s.pl, s.kw, s.sw, s.ow)
            for p in range(first_p, end_p):
                for q in range(first_q, end_q):
                    fetch(dy, ((n * s.oh + p) * s.ow + q) * s.c + k * width, v)
                    share = number(1) / number(pixels_inside(s, p, q))
                    for j in range(width):
                        total[j] += v[j] * share
            put(dx, i * width, total)
            i += cuda.gridsize(1)

    return avgpool_gradient


@cache
def upsample_kernel(dtype: str, width: int, far: bool):
    number, (fetch, put), find = np.dtype(dtype).type, access(width), pixel(far)
    divided = divider(far)

    @jit.kernel(constants=(dtype, width, far))
    def upsample(s, x, y):
        v = cuda.local.array(width, number)
        quads = s.c // width
        i = cuda.grid(1)
        while i < s.n * s.h * s.w * quads:
            n, row, column, k = find(i, s.h, s.w, quads)
            p, _ = divided(row, s.kh)
            q, _ = divided(column, s.kw)
            fetch(x, ((n * s.oh + p) * s.ow + q) * s.c + k * width, v)
            put(y, i * width, v)
            i += cuda.gridsize(1)

    return upsample


def bind_with(kernel_of, *numbers: int):
    """`bind` of a kernel that is made by type, width and size of indices."""

    def bind(spec: Pool2DSpec, caps, inputs, outputs, scratch):
        y = outputs[0]
        dtype = str(y.dtype)
        width = width_of(dtype, spec.c)
        kernel = kernel_of(dtype, width, is_far(max(a.size for a in (*inputs, *outputs))))
        return launch(kernel, caps, y.size // width, spec, *numbers, *inputs, *outputs)

    return bind


def bind_maxpool(spec: Pool2DSpec, caps, inputs, outputs, scratch):
    (x,), y, keep = inputs, outputs[0], len(outputs) > 1
    dtype = str(x.dtype)
    width = width_of(dtype, spec.c)
    kernel = maxpool_kernel(dtype, width, keep, is_far(x.size))
    return launch(kernel, caps, y.size // width, spec, x, y, outputs[-1])


def bind_upsample_dx(spec: Pool2DSpec, caps, inputs, outputs, scratch):
    """A sum: the mean, times how many."""
    return bind_with(avgpool_kernel, spec.kh * spec.kw)(spec, caps, inputs, outputs, scratch)


maxpool2d = Impl("pixels", always, bind_maxpool)
maxpool2d_dx = Impl("pixels", always, bind_with(maxpool_gradient_kernel))
avgpool2d = Impl("pixels", always, bind_with(avgpool_kernel, 1))
avgpool2d_dx = Impl("pixels", always, bind_with(avgpool_gradient_kernel))
upsample2d = Impl("pixels", always, bind_with(upsample_kernel))
upsample2d_dx = Impl("pixels", always, bind_upsample_dx)
