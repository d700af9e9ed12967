"""Reductions: one thread per result, from first to last element."""

from functools import cache

import numpy as np
from numba import cuda

from nbcnn.kernels import scalar
from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import launch
from nbcnn.kernels.cuda.elementwise import computed_in
from nbcnn.kernels.impl import Impl, always

COMBINE = {"sum": "add", "mean": "add", "prod": "multiply", "max": "maximum", "min": "minimum"}


@cache
def reduce_kernel(function: str, dtype: str):
    """Sum, mean, product, maximum or minimum, computed in `dtype`."""
    combine, number = jit.formula(scalar.BINARY[COMBINE[function]], dtype), np.dtype(dtype).type
    extreme, mean, neutral = function in ("max", "min"), function == "mean", function == "prod"

    @jit.kernel
    def kernel(s, x, y):
        for i in range(cuda.grid(1), s.outer * s.inner, cuda.gridsize(1)):
            first = i // s.inner * s.length * s.inner + i % s.inner
            total = number(x[first]) if extreme else number(neutral)
            for j in range(s.length):
                total = combine(total, number(x[first + j * s.inner]))
            y[i] = total / s.length if mean else total

    return kernel


@cache
def argreduce_kernel(function: str):
    """The first place of the maximum or minimum; NaN counts as more extreme than any number."""
    largest = function == "argmax"

    @jit.kernel
    def kernel(s, x, y):
        for i in range(cuda.grid(1), s.outer * s.inner, cuda.gridsize(1)):
            first = i // s.inner * s.length * s.inner + i % s.inner
            best, found = x[first], 0
            for j in range(1, s.length):
                v = x[first + j * s.inner]
                better = v > best if largest else v < best
                if better or (v != v and best == best):
                    best, found = v, j
            y[i] = found

    return kernel


@jit.kernel
def extreme_gradient_kernel(s, x, y, dy, dx):
    for i in range(cuda.grid(1), s.outer * s.inner, cuda.gridsize(1)):
        first = i // s.inner * s.length * s.inner + i % s.inner
        equal = 0
        for j in range(s.length):
            if x[first + j * s.inner] == y[i]:
                equal += 1
        for j in range(s.length):
            at = first + j * s.inner
            dx[at] = dy[i] / equal if x[at] == y[i] else 0.0


def reduce(op):
    """Floats are summed in float64, integers in int64."""

    def bind(spec, caps, inputs, outputs, scratch):
        (x,), (y,) = inputs, outputs
        if op.function in ("argmax", "argmin"):
            kernel = argreduce_kernel(op.function)
        elif op.function in ("max", "min"):
            kernel = reduce_kernel(op.function, computed_in(str(x.dtype)))
        else:
            kernel = reduce_kernel(op.function, "float64" if y.dtype.kind == "f" else "int64")
        return launch(kernel, caps, y.size, spec, x, y)

    return (Impl("plain", always, bind),)


def bind_extreme_gradient(spec, caps, inputs, outputs, scratch):
    size = spec.outer * spec.inner if spec.length else 0
    return launch(extreme_gradient_kernel, caps, size, spec, *inputs, *outputs)


extreme_gradient = Impl("plain", always, bind_extreme_gradient)
