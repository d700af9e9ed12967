"""Places of max pooling's winners, unpooling to places, and its gradient: plain kernels.

Forward a thread owns a pixel of the result: it looks at the windows that cover it. Only where some
place is not in its own window, which a launch before has found out, it goes through all windows of
its image, in order. So nothing is added by two threads.
"""

from functools import cache

import numpy as np
from numba import cuda

from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import launch
from nbcnn.kernels.impl import Impl, Scratch, always
from nbcnn.ops.pool import Pool2DSpec


@jit.kernel
def pool_places_kernel(s, winners, places):
    for at in range(cuda.grid(1), s.n * s.oh * s.ow * s.c, cuda.gridsize(1)):
        q, p, winner = at // s.c % s.ow, at // (s.c * s.ow) % s.oh, int(winners[at])
        row, column = p * s.sh - s.pt + winner // s.kw, q * s.sw - s.pl + winner % s.kw
        places[at] = row * s.w + column


@jit.device
def in_window(s, place, p, q):
    """Whether a place is a pixel of the window (p, q) in the image."""
    if place < 0 or place >= s.h * s.w:
        return False
    u, v = place // s.w - p * s.sh + s.pt, place % s.w - q * s.sw + s.pl
    return u >= 0 and u < s.kh and v >= 0 and v < s.kw


@jit.kernel
def strays_kernel(s, places, strays):
    """For each image and channel, whether a place lies outside of its window."""
    for at in range(cuda.grid(1), s.n * s.c, cuda.gridsize(1)):
        n, c, found = at // s.c, at % s.c, 0
        for window in range(s.oh * s.ow):
            place = int(places[(n * s.oh * s.ow + window) * s.c + c])
            if not in_window(s, place, window // s.ow, window % s.ow):
                found = 1
        strays[at] = found


@cache
def unpool_kernel(dtype: str):
    number = np.dtype(dtype).type

    @jit.kernel(constants=(dtype,))
    def max_unpool(s, strays, x, places, y):
        for at in range(cuda.grid(1), s.n * s.h * s.w * s.c, cuda.gridsize(1)):
            c, pixel, n = at % s.c, at // s.c % (s.h * s.w), at // (s.c * s.h * s.w)
            row, column = pixel // s.w + s.pt, pixel % s.w + s.pl
            first_p, end_p = max(0, (row - s.kh) // s.sh + 1), min(s.oh, row // s.sh + 1)
            first_q, end_q = max(0, (column - s.kw) // s.sw + 1), min(s.ow, column // s.sw + 1)
            if strays[n * s.c + c]:
                first_p, end_p, first_q, end_q = 0, s.oh, 0, s.ow
            total = number(0)
            for p in range(first_p, end_p):
                for q in range(first_q, end_q):
                    window = ((n * s.oh + p) * s.ow + q) * s.c + c
                    if places[window] == pixel:
                        total += x[window]
            y[at] = total

    return max_unpool


@cache
def gradient_kernel(dtype: str):
    number = np.dtype(dtype).type

    @jit.kernel(constants=(dtype,))
    def max_unpool_dx(s, dy, places, dx):
        for at in range(cuda.grid(1), s.n * s.oh * s.ow * s.c, cuda.gridsize(1)):
            place, image = int(places[at]), at // (s.oh * s.ow * s.c)
            value = number(0)
            if place >= 0 and place < s.h * s.w:
                value = dy[(image * s.h * s.w + place) * s.c + at % s.c]
            dx[at] = value

    return max_unpool_dx


def bind_places(spec: Pool2DSpec, caps, inputs, outputs, scratch):
    return launch(pool_places_kernel, caps, outputs[0].size, spec, *inputs, *outputs)


def scratch_of(spec: Pool2DSpec, dtype: str, caps) -> dict[str, Scratch]:
    return {"strays": Scratch((spec.n * spec.c,), "int32")}


def bind(spec: Pool2DSpec, caps, inputs, outputs, scratch):
    (x, places), (y,), strays = inputs, outputs, scratch["strays"]
    made = unpool_kernel(str(y.dtype))
    return [
        *launch(strays_kernel, caps, spec.n * spec.c, spec, places, strays),
        *launch(made, caps, y.size, spec, strays, x, places, y),
    ]


def bind_dx(spec: Pool2DSpec, caps, inputs, outputs, scratch):
    made = gradient_kernel(str(outputs[0].dtype))
    return launch(made, caps, outputs[0].size, spec, *inputs, *outputs)


pool_places = Impl("plain", always, bind_places)
max_unpool2d = Impl("plain", always, bind, scratch_of)
max_unpool2d_dx = Impl("plain", always, bind_dx)
