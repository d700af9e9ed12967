"""Convolution by its formula: one thread per output element, all geometries.

Forward and data gradient gather, so nothing is written twice; the weight gradient sums over images
and pixels in one thread per weight, in that order.
"""

import numpy as np
from numba import cuda

from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import launch
from nbcnn.kernels.impl import Impl, no_pool


@jit.kernel
def conv2d_kernel(s, x, w, b, y):
    cg, fg = s.c // s.groups, s.f // s.groups
    for i in range(cuda.grid(1), s.n * s.oh * s.ow * s.f, cuda.gridsize(1)):
        f, q = i % s.f, i // s.f % s.ow
        p, n = i // (s.f * s.ow) % s.oh, i // (s.f * s.ow * s.oh)
        total = np.float64(0.0)
        for u in range(s.kh):
            row = p * s.sh + u * s.dilh - s.pt
            if row < 0 or row >= s.h:
                continue
            for v in range(s.kw):
                column = q * s.sw + v * s.dilw - s.pl
                if column < 0 or column >= s.w:
                    continue
                xi = ((n * s.h + row) * s.w + column) * s.c + f // fg * cg
                wi = (u * s.kw + v) * cg * s.f + f
                for c in range(cg):
                    total += x[xi + c] * w[wi + c * s.f]
        if s.bias:
            total += b[f]
        y[i] = jit.activate(s.act, total)


@jit.kernel
def conv2d_dx_kernel(s, dy, w, dx):
    cg, fg = s.c // s.groups, s.f // s.groups
    for i in range(cuda.grid(1), s.n * s.h * s.w * s.c, cuda.gridsize(1)):
        c, column = i % s.c, i // s.c % s.w
        row, n = i // (s.c * s.w) % s.h, i // (s.c * s.w * s.h)
        first = c // cg * fg  # filters of this channel's group
        total = np.float64(0.0)
        for u in range(s.kh):
            p = row + s.pt - u * s.dilh  # output row times stride
            if p < 0 or p % s.sh or p // s.sh >= s.oh:
                continue
            for v in range(s.kw):
                q = column + s.pl - v * s.dilw
                if q < 0 or q % s.sw or q // s.sw >= s.ow:
                    continue
                yi = ((n * s.oh + p // s.sh) * s.ow + q // s.sw) * s.f + first
                wi = ((u * s.kw + v) * cg + c % cg) * s.f + first
                for f in range(fg):
                    total += dy[yi + f] * w[wi + f]
        dx[i] = total


@jit.kernel
def conv2d_dw_kernel(s, x, dy, dw):
    cg, fg = s.c // s.groups, s.f // s.groups
    for i in range(cuda.grid(1), s.kh * s.kw * cg * s.f, cuda.gridsize(1)):
        f, c = i % s.f, i // s.f % cg
        v, u = i // (s.f * cg) % s.kw, i // (s.f * cg * s.kw)
        channel = f // fg * cg + c
        total = np.float64(0.0)
        for n in range(s.n):
            for p in range(s.oh):
                row = p * s.sh + u * s.dilh - s.pt
                if row < 0 or row >= s.h:
                    continue
                for q in range(s.ow):
                    column = q * s.sw + v * s.dilw - s.pl
                    if column < 0 or column >= s.w:
                        continue
                    xi = ((n * s.h + row) * s.w + column) * s.c + channel
                    total += x[xi] * dy[((n * s.oh + p) * s.ow + q) * s.f + f]
        dw[i] = total


@jit.kernel
def conv2d_db_kernel(s, dy, db):
    for f in range(cuda.grid(1), s.f, cuda.gridsize(1)):
        total = np.float64(0.0)
        for pixel in range(s.n * s.oh * s.ow):
            total += dy[pixel * s.f + f]
        db[f] = total


def bind_conv2d(spec, caps, inputs, outputs, scratch):
    x, w = inputs[:2]
    (y,) = outputs
    return launch(conv2d_kernel, caps, y.size, spec, x, w, inputs[2] if spec.bias else w, y)


def bind_dx(spec, caps, inputs, outputs, scratch):
    return launch(conv2d_dx_kernel, caps, outputs[0].size, spec, *inputs, *outputs)


def bind_dw(spec, caps, inputs, outputs, scratch):
    calls = launch(conv2d_dw_kernel, caps, outputs[0].size, spec, *inputs, outputs[0])
    if spec.bias:
        calls += launch(conv2d_db_kernel, caps, spec.f, spec, inputs[1], outputs[1])
    return calls


conv2d = Impl("plain", no_pool, bind_conv2d)
conv2d_dx = Impl("plain", no_pool, bind_dx)
conv2d_dw = Impl("plain", no_pool, bind_dw)
