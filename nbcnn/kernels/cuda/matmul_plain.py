"""Matrix products by the formula: one thread per element of y, all options."""

import numpy as np
from numba import cuda

from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import launch
from nbcnn.kernels.impl import Impl, always


@jit.kernel
def matmul_kernel(s, x, w, b, y):
    # Steps along the summed axis, for operands stored as they are or transposed.
    x_step = s.m if s.tx else 1
    w_step = 1 if s.tw else s.n
    for at in range(cuda.grid(1), s.batch * s.m * s.n, cuda.gridsize(1)):
        j, i, matrix = at % s.n, at // s.n % s.m, at // (s.n * s.m)
        xi = matrix * s.xb * s.m * s.k + (i if s.tx else i * s.k)
        wi = matrix * s.wb * s.k * s.n + (j * s.k if s.tw else j)
        total = np.float64(0.0)
        for l in range(s.k):  # noqa: E741 - the spec's symbol
            total += x[xi + l * x_step] * w[wi + l * w_step]
        if s.bias:
            total += b[j]
        y[at] = jit.activate(s.act, total)


def bind(spec, caps, inputs, outputs, scratch):
    x, w = inputs[:2]
    (y,) = outputs
    return launch(matmul_kernel, caps, y.size, spec, x, w, inputs[2] if spec.bias else w, y)


matmul = Impl("plain", always, bind)
