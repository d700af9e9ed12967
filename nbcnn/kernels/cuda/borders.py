"""Padding by what is in the array: one thread per element of the result.

Backward a thread owns an element of dx and adds what shows it: the place in the middle of dy, then
those of the border, in order.
"""

from functools import cache

import numpy as np
from numba import cuda

from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import launch
from nbcnn.kernels.cuda.copy import moved_as
from nbcnn.kernels.impl import Impl, always
from nbcnn.ops.borders import EDGE, FILL, REFLECT, SYMMETRIC, BorderSpec


@jit.device
def source(place, size, before, mode):
    """Which element of an axis a place of the padded one shows; -1: a number of the border's."""
    i = place - before
    if i >= 0 and i < size:
        return i
    if mode == FILL:
        return -1
    if mode == EDGE:
        return 0 if i < 0 else size - 1
    if mode == REFLECT:
        return -i if i < 0 else 2 * size - 2 - i
    if mode == SYMMETRIC:
        return -1 - i if i < 0 else 2 * size - 1 - i
    return i + size if i < 0 else i - size


@cache
def pad_kernel(dtype: str):
    @jit.kernel(constants=(dtype,))
    def pad_border(s, x, fill, y):
        for at in range(cuda.grid(1), s.outer * s.od * s.oh * s.ow * s.inner, cuda.gridsize(1)):
            i, q = at % s.inner, at // s.inner % s.ow
            r, z = at // (s.inner * s.ow) % s.oh, at // (s.inner * s.ow * s.oh) % s.od
            o = at // (s.inner * s.ow * s.oh * s.od)
            plane = source(z, s.d, s.front, s.mode)
            row = source(r, s.h, s.top, s.mode)
            column = source(q, s.w, s.left, s.mode)
            if plane < 0 or row < 0 or column < 0:
                y[at] = fill[o * s.inner + i]
            else:
                y[at] = x[(((o * s.d + plane) * s.h + row) * s.w + column) * s.inner + i]

    return pad_border


@jit.device
def candidate(number, own, size, before):
    """Places of a padded axis that may show one element: its own, then those of the border."""
    if number == 0:
        return own + before
    return number - 1 if number <= before else size + number - 1


@cache
def gradient_kernel(dtype: str):
    number = np.dtype(dtype).type

    @jit.kernel(constants=(dtype,))
    def pad_border_dx(s, dy, dx):
        for at in range(cuda.grid(1), s.outer * s.d * s.h * s.w * s.inner, cuda.gridsize(1)):
            i, own_q = at % s.inner, at // s.inner % s.w
            own_r, own_z = at // (s.inner * s.w) % s.h, at // (s.inner * s.w * s.h) % s.d
            o, total = at // (s.inner * s.w * s.h * s.d), number(0)
            for a in range(s.od - s.d + 1):
                z = candidate(a, own_z, s.d, s.front)
                if source(z, s.d, s.front, s.mode) != own_z:
                    continue
                for b in range(s.oh - s.h + 1):
                    r = candidate(b, own_r, s.h, s.top)
                    if source(r, s.h, s.top, s.mode) != own_r:
                        continue
                    for c in range(s.ow - s.w + 1):
                        q = candidate(c, own_q, s.w, s.left)
                        if source(q, s.w, s.left, s.mode) == own_q:
                            place = ((o * s.od + z) * s.oh + r) * s.ow + q
                            total += dy[place * s.inner + i]
            dx[at] = total

    return pad_border_dx


def bind(spec: BorderSpec, caps, inputs, outputs, scratch):
    (y,) = outputs
    made = pad_kernel(moved_as(str(y.dtype)))
    return launch(made, caps, y.size, spec, inputs[0], inputs[-1], y)


def bind_dx(spec: BorderSpec, caps, inputs, outputs, scratch):
    made = gradient_kernel(str(outputs[0].dtype))
    return launch(made, caps, outputs[0].size, spec, *inputs, *outputs)


pad_border = Impl("plain", always, bind)
pad_border_dx = Impl("plain", always, bind_dx)
