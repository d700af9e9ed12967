"""Pooling and upsampling: one thread per output element; gradients gather over the windows that
cover a pixel.
"""

import numpy as np
from numba import cuda

from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import launch
from nbcnn.kernels.impl import Impl, always


@jit.device
def pixels_inside(s, p, q):
    """How many pixels of the window at output (p, q) lie in the input."""
    top, left = p * s.sh - s.pt, q * s.sw - s.pl
    rows = min(top + s.kh, s.h) - max(top, 0)
    columns = min(left + s.kw, s.w) - max(left, 0)
    return max(rows, 0) * max(columns, 0)


@jit.kernel
def maxpool_kernel(s, x, y, winner, keep):
    """`winner` gets the place in the window where `keep` is 1; the first of equal ones, or the
    first NaN.
    """
    for i in range(cuda.grid(1), s.n * s.oh * s.ow * s.c, cuda.gridsize(1)):
        c, q = i % s.c, i // s.c % s.ow
        p, n = i // (s.c * s.ow) % s.oh, i // (s.c * s.ow * s.oh)
        best, place = -np.inf, -1
        for u in range(s.kh):
            row = p * s.sh + u - s.pt
            if row < 0 or row >= s.h:
                continue
            for v in range(s.kw):
                column = q * s.sw + v - s.pl
                if column < 0 or column >= s.w:
                    continue
                value = x[((n * s.h + row) * s.w + column) * s.c + c]
                if place < 0 or value > best or (value != value and best == best):
                    best, place = value, u * s.kw + v
        y[i] = best
        if keep:
            winner[i] = max(place, 0)


@jit.kernel
def maxpool_dx_kernel(s, dy, winner, dx):
    for i in range(cuda.grid(1), s.n * s.h * s.w * s.c, cuda.gridsize(1)):
        c, column = i % s.c, i // s.c % s.w
        row, n = i // (s.c * s.w) % s.h, i // (s.c * s.w * s.h)
        total = np.float64(0.0)
        for u in range(s.kh):
            p = row + s.pt - u  # output row times stride
            if p < 0 or p % s.sh or p // s.sh >= s.oh:
                continue
            for v in range(s.kw):
                q = column + s.pl - v
                if q < 0 or q % s.sw or q // s.sw >= s.ow:
                    continue
                yi = ((n * s.oh + p // s.sh) * s.ow + q // s.sw) * s.c + c
                if winner[yi] == u * s.kw + v:
                    total += dy[yi]
        dx[i] = total


@jit.kernel
def avgpool_kernel(s, weight, x, y):
    """`weight` times the mean."""
    for i in range(cuda.grid(1), s.n * s.oh * s.ow * s.c, cuda.gridsize(1)):
        c, q = i % s.c, i // s.c % s.ow
        p, n = i // (s.c * s.ow) % s.oh, i // (s.c * s.ow * s.oh)
        total = np.float64(0.0)
        for u in range(s.kh):
            row = p * s.sh + u - s.pt
            if row < 0 or row >= s.h:
                continue
            for v in range(s.kw):
                column = q * s.sw + v - s.pl
                if column >= 0 and column < s.w:
                    total += x[((n * s.h + row) * s.w + column) * s.c + c]
        y[i] = weight * total / max(pixels_inside(s, p, q), 1)


@jit.kernel
def avgpool_dx_kernel(s, dy, dx):
    for i in range(cuda.grid(1), s.n * s.h * s.w * s.c, cuda.gridsize(1)):
        c, column = i % s.c, i // s.c % s.w
        row, n = i // (s.c * s.w) % s.h, i // (s.c * s.w * s.h)
        total = np.float64(0.0)
        for u in range(s.kh):
            p = row + s.pt - u  # output row times stride
            if p < 0 or p % s.sh or p // s.sh >= s.oh:
                continue
            for v in range(s.kw):
                q = column + s.pl - v
                if q < 0 or q % s.sw or q // s.sw >= s.ow:
                    continue
                yi = ((n * s.oh + p // s.sh) * s.ow + q // s.sw) * s.c + c
                total += dy[yi] / pixels_inside(s, p // s.sh, q // s.sw)
        dx[i] = total


@jit.kernel
def upsample_kernel(s, x, y):
    for i in range(cuda.grid(1), s.n * s.h * s.w * s.c, cuda.gridsize(1)):
        c, column = i % s.c, i // s.c % s.w
        row, n = i // (s.c * s.w) % s.h, i // (s.c * s.w * s.h)
        y[i] = x[((n * s.oh + row // s.kh) * s.ow + column // s.kw) * s.c + c]


def bind_maxpool(spec, caps, inputs, outputs, scratch):
    (x,), y = inputs, outputs[0]
    keep = len(outputs) > 1
    winner = outputs[1] if keep else y
    return launch(maxpool_kernel, caps, y.size, spec, x, y, winner, int(keep))


def bind_maxpool_dx(spec, caps, inputs, outputs, scratch):
    return launch(maxpool_dx_kernel, caps, outputs[0].size, spec, *inputs, *outputs)


def bind_avgpool(spec, caps, inputs, outputs, scratch):
    return launch(avgpool_kernel, caps, outputs[0].size, spec, 1, *inputs, *outputs)


def bind_avgpool_dx(spec, caps, inputs, outputs, scratch):
    return launch(avgpool_dx_kernel, caps, outputs[0].size, spec, *inputs, *outputs)


def bind_upsample(spec, caps, inputs, outputs, scratch):
    return launch(upsample_kernel, caps, outputs[0].size, spec, *inputs, *outputs)


def bind_upsample_dx(spec, caps, inputs, outputs, scratch):
    weight = spec.kh * spec.kw  # a sum
    return launch(avgpool_kernel, caps, outputs[0].size, spec, weight, *inputs, *outputs)


maxpool2d = Impl("plain", always, bind_maxpool)
maxpool2d_dx = Impl("plain", always, bind_maxpool_dx)
avgpool2d = Impl("plain", always, bind_avgpool)
avgpool2d_dx = Impl("plain", always, bind_avgpool_dx)
upsample2d = Impl("plain", always, bind_upsample)
upsample2d_dx = Impl("plain", always, bind_upsample_dx)
