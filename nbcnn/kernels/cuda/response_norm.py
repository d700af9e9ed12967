"""Local response normalization by its formula: one thread per element, sums over its neighbours.

Neighbours of a warp's elements lie in the same lines, so these loads come from the first cache.
"""

from functools import cache

import numpy as np
from numba import cuda

from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import launch
from nbcnn.kernels.impl import Impl, always


@cache
def base(dtype: str):
    """base(s, x, row, i) = d of element i of the row that begins at `row`."""
    number = np.dtype(dtype).type

    @jit.device
    def d(s, x, row, i):
        total = number(0)
        for j in range(max(0, i - s.size // 2), min(s.c, i + s.size // 2 + 1)):
            total += x[row + j] * x[row + j]
        return number(s.k) + number(s.alpha) * total

    return d


@cache
def forward_kernel(dtype: str):
    number, d = np.dtype(dtype).type, base(dtype)

    @jit.kernel(constants=(dtype,))
    def response_norm(s, x, y):
        minus_beta = number(-s.beta)
        for at in range(cuda.grid(1), s.rows * s.c, cuda.gridsize(1)):
            i = at % s.c
            y[at] = x[at] * number(d(s, x, at - i, i) ** minus_beta)

    return response_norm


@cache
def gradient_kernel(dtype: str):
    number, d = np.dtype(dtype).type, base(dtype)

    @jit.kernel(constants=(dtype,))
    def response_norm_dx(s, x, dy, dx):
        minus_beta, factor = number(-s.beta), number(-2 * s.alpha * s.beta)
        for at in range(cuda.grid(1), s.rows * s.c, cuda.gridsize(1)):
            i = at % s.c
            row = at - i
            own, total = number(0), number(0)
            for j in range(max(0, i - s.size // 2), min(s.c, i + s.size // 2 + 1)):
                base_of = d(s, x, row, j)
                scaled = dy[row + j] * number(base_of**minus_beta)
                total += scaled * x[row + j] / base_of
                if j == i:
                    own = scaled
            dx[at] = own + factor * x[at] * total

    return response_norm_dx


def bind_with(kernel):
    def bind(spec, caps, inputs, outputs, scratch):
        made = kernel(str(outputs[0].dtype))
        return launch(made, caps, outputs[0].size, spec, *inputs, *outputs)

    return bind


response_norm = Impl("plain", always, bind_with(forward_kernel))
response_norm_dx = Impl("plain", always, bind_with(gradient_kernel))
