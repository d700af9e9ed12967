"""Strided copies and concatenation: one thread per element copied."""

from numba import cuda

from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import launch
from nbcnn.kernels.cuda.elementwise import place
from nbcnn.kernels.impl import Impl, always


@jit.kernel
def fill_kernel(s, y):
    for i in range(cuda.grid(1), s.total, cuda.gridsize(1)):
        y[i] = s.value


@jit.kernel
def copy_kernel(s, x, y):
    for i in range(cuda.grid(1), s.n, cuda.gridsize(1)):
        xi = place(i, s.d1, s.d2, s.d3, s.d4, s.d5, s.x0, s.x1, s.x2, s.x3, s.x4, s.x5)
        yi = place(i, s.d1, s.d2, s.d3, s.d4, s.d5, s.y0, s.y1, s.y2, s.y3, s.y4, s.y5)
        y[s.yo + yi] = x[s.xo + xi]


@jit.kernel
def concat_kernel(s, x, y):
    row = s.length * s.inner
    for i in range(cuda.grid(1), s.outer * row, cuda.gridsize(1)):
        y[(i // row * s.total + s.start) * s.inner + i % row] = x[i]


def bind_copy(spec, caps, inputs, outputs, scratch):
    calls = launch(fill_kernel, caps, spec.total, spec, *outputs) if spec.fill else []
    return calls + launch(copy_kernel, caps, spec.n, spec, *inputs, *outputs)


def bind_concat(specs, caps, inputs, outputs, scratch):
    calls = []
    for spec, x in zip(specs, inputs):
        calls += launch(concat_kernel, caps, x.size, spec, x, *outputs)
    return calls


copy = Impl("plain", always, bind_copy)
concat = Impl("plain", always, bind_concat)
