"""Locally connected maps by their formula: one thread per element of the result.

All gather, so nothing is written twice; sums run in one thread, in order.
"""

import numpy as np
from numba import cuda

from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import launch
from nbcnn.kernels.impl import Impl, always


@jit.kernel
def local2d_kernel(s, x, w, y):
    for at in range(cuda.grid(1), s.n * s.oh * s.ow * s.f, cuda.gridsize(1)):
        f, place, n = at % s.f, at // s.f % (s.oh * s.ow), at // (s.f * s.oh * s.ow)
        top, left = place // s.ow * s.sh - s.pt, place % s.ow * s.sw - s.pl
        total = np.float64(0.0)
        for u in range(max(0, -top), min(s.kh, s.h - top)):
            for v in range(max(0, -left), min(s.kw, s.w - left)):
                xi = ((n * s.h + top + u) * s.w + left + v) * s.c
                wi = ((place * s.kh + u) * s.kw + v) * s.c * s.f + f
                for c in range(s.c):
                    total += x[xi + c] * w[wi + c * s.f]
        y[at] = total


@jit.kernel
def local2d_dx_kernel(s, dy, w, dx):
    for at in range(cuda.grid(1), s.n * s.h * s.w * s.c, cuda.gridsize(1)):
        c, column = at % s.c, at // s.c % s.w
        row, n = at // (s.c * s.w) % s.h, at // (s.c * s.w * s.h)
        total = np.float64(0.0)
        for u in range(s.kh):
            p = row + s.pt - u
            if p < 0 or p % s.sh or p // s.sh >= s.oh:
                continue
            for v in range(s.kw):
                q = column + s.pl - v
                if q < 0 or q % s.sw or q // s.sw >= s.ow:
                    continue
                place = p // s.sh * s.ow + q // s.sw
                yi = (n * s.oh * s.ow + place) * s.f
                wi = (((place * s.kh + u) * s.kw + v) * s.c + c) * s.f
                for f in range(s.f):
                    total += dy[yi + f] * w[wi + f]
        dx[at] = total


@jit.kernel
def local2d_dw_kernel(s, x, dy, dw):
    window = s.kh * s.kw * s.c
    for at in range(cuda.grid(1), s.oh * s.ow * window * s.f, cuda.gridsize(1)):
        f, k, place = at % s.f, at // s.f % window, at // (s.f * window)
        c, v, u = k % s.c, k // s.c % s.kw, k // (s.c * s.kw)
        row, column = place // s.ow * s.sh - s.pt + u, place % s.ow * s.sw - s.pl + v
        total = np.float64(0.0)
        if row >= 0 and row < s.h and column >= 0 and column < s.w:
            for n in range(s.n):
                xi = ((n * s.h + row) * s.w + column) * s.c + c
                total += x[xi] * dy[(n * s.oh * s.ow + place) * s.f + f]
        dw[at] = total


def bind_with(kernel):
    def bind(spec, caps, inputs, outputs, scratch):
        return launch(kernel, caps, outputs[0].size, spec, *inputs, *outputs)

    return bind


local2d = Impl("plain", always, bind_with(local2d_kernel))
local2d_dx = Impl("plain", always, bind_with(local2d_dx_kernel))
local2d_dw = Impl("plain", always, bind_with(local2d_dw_kernel))
