"""Elementwise operations: one thread per element; formulas from `kernels.scalar`."""

from functools import cache

import numpy as np
from numba import cuda

from nbcnn.kernels import scalar
from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import launch
from nbcnn.kernels.impl import Impl, always
from nbcnn.ops.broadcast import BroadcastSpec, FlatSpec
from nbcnn.ops.elementwise import PREDICATES
from nbcnn.ops.op import result_dtype


@jit.device
def place(i, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5):
    """Where element i of a contiguous array with these sizes is found in an array with these
    strides.
    """
    at = i % d5 * s5
    i //= d5
    at += i % d4 * s4
    i //= d4
    at += i % d3 * s3
    i //= d3
    at += i % d2 * s2
    i //= d2
    return at + i % d1 * s1 + i // d1 * s0


def computed_in(dtype: str) -> str:
    """The type in which values of this type are computed: booleans as bytes."""
    return "uint8" if dtype == "bool" else dtype


@cache
def unary_kernel(function: str, dtype: str):
    """y = f(x), computed in `dtype`."""
    f, number = jit.formula(scalar.UNARY[function], dtype), np.dtype(dtype).type

    @jit.kernel
    def kernel(s, a, b, x, y):
        for i in range(cuda.grid(1), s.n, cuda.gridsize(1)):
            y[i] = f(number(x[i]), number(a), number(b))

    return kernel


@cache
def unary_gradient_kernel(function: str, dtype: str):
    f, number = jit.formula(scalar.UNARY_GRADIENT[function], dtype), np.dtype(dtype).type

    @jit.kernel
    def kernel(s, a, b, v, dy, dx):
        for i in range(cuda.grid(1), s.n, cuda.gridsize(1)):
            dx[i] = f(number(v[i]), dy[i], number(a), number(b))

    return kernel


@jit.kernel
def column_sums_kernel(s, x, sums):
    """Over rows, in order: one thread per column."""
    for c in range(cuda.grid(1), s.c, cuda.gridsize(1)):
        total = np.float64(0.0)
        for row in range(s.rows):
            total += x[row * s.c + c]
        sums[c] = total


@cache
def binary_kernel(function: str, act: str, dtype: str):
    """y = act(f(a, b)) of equal shapes, both converted to `dtype` first."""
    f, number = jit.formula(scalar.BINARY[function], dtype), np.dtype(dtype).type
    g = jit.formula(scalar.UNARY[act], dtype)

    @jit.kernel
    def kernel(s, alpha, beta, a, b, y):
        for i in range(cuda.grid(1), s.n, cuda.gridsize(1)):
            y[i] = g(f(number(a[i]), number(b[i])), number(alpha), number(beta))

    return kernel


@cache
def broadcast_kernel(function: str, act: str, dtype: str):
    """The same with broadcasting."""
    f, number = jit.formula(scalar.BINARY[function], dtype), np.dtype(dtype).type
    g = jit.formula(scalar.UNARY[act], dtype)

    @jit.kernel
    def kernel(s, alpha, beta, a, b, y):
        for i in range(cuda.grid(1), s.n, cuda.gridsize(1)):
            ai = place(i, s.d1, s.d2, s.d3, s.d4, s.d5, s.a0, s.a1, s.a2, s.a3, s.a4, s.a5)
            bi = place(i, s.d1, s.d2, s.d3, s.d4, s.d5, s.b0, s.b1, s.b2, s.b3, s.b4, s.b5)
            y[i] = g(f(number(a[ai]), number(b[bi])), number(alpha), number(beta))

    return kernel


@jit.kernel
def where_kernel(s, condition, a, b, y):
    for i in range(cuda.grid(1), s.n, cuda.gridsize(1)):
        ci = place(i, s.d1, s.d2, s.d3, s.d4, s.d5, s.c0, s.c1, s.c2, s.c3, s.c4, s.c5)
        if condition[ci] != 0:
            y[i] = a[place(i, s.d1, s.d2, s.d3, s.d4, s.d5, s.a0, s.a1, s.a2, s.a3, s.a4, s.a5)]
        else:
            y[i] = b[place(i, s.d1, s.d2, s.d3, s.d4, s.d5, s.b0, s.b1, s.b2, s.b3, s.b4, s.b5)]


@cache
def cast_kernel(dtype: str):
    number = np.dtype(dtype).type

    if dtype == "bool":

        @jit.kernel
        def kernel(s, x, y):
            for i in range(cuda.grid(1), s.n, cuda.gridsize(1)):
                y[i] = x[i] != 0

    else:

        @jit.kernel
        def kernel(s, x, y):
            for i in range(cuda.grid(1), s.n, cuda.gridsize(1)):
                y[i] = number(x[i])

    return kernel


def unary(op):
    """Predicates look at the input in its own type; all else is computed in the type of the
    result.
    """

    def bind(spec, caps, inputs, outputs, scratch):
        (x,), (y,) = inputs, outputs
        dtype = computed_in(str((x if op.function in PREDICATES else y).dtype))
        kernel = unary_kernel(op.function, dtype)
        return launch(kernel, caps, spec.n, spec, float(op.alpha), float(op.beta), x, y)

    return (Impl("plain", always, bind),)


def unary_gradient(op):
    def bind(spec, caps, inputs, outputs, scratch):
        kernel = unary_gradient_kernel(op.function, str(outputs[0].dtype))
        return launch(
            kernel, caps, spec.n, spec, float(op.alpha), float(op.beta), *inputs, *outputs
        )

    return (Impl("plain", always, bind),)


def unary_gradient_sum(op):
    def bind(spec, caps, inputs, outputs, scratch):
        dx, db = outputs
        (gradient,) = unary_gradient(op)
        calls = gradient.bind(FlatSpec(dx.size), caps, inputs, (dx,), scratch)
        return calls + launch(column_sums_kernel, caps, db.size, spec, dx, db)

    return (Impl("plain", always, bind),)


def binary(op):
    """Operands are converted to their common type: that of the result, but for comparisons."""

    def bind(spec, caps, inputs, outputs, scratch):
        dtype = str(outputs[0].dtype)
        if dtype == "bool":
            dtype = result_dtype(*(str(x.dtype) for x in inputs))
        make = broadcast_kernel if isinstance(spec, BroadcastSpec) else binary_kernel
        kernel = make(op.function, op.act or "identity", computed_in(dtype))
        parameters = float(op.alpha), float(op.beta)
        return launch(kernel, caps, spec.n, spec, *parameters, *inputs, *outputs)

    return (Impl("plain", always, bind),)


def bind_where(spec, caps, inputs, outputs, scratch):
    return launch(where_kernel, caps, spec.n, spec, *inputs, *outputs)


def bind_cast(spec, caps, inputs, outputs, scratch):
    kernel = cast_kernel(str(outputs[0].dtype))
    return launch(kernel, caps, spec.n, spec, *inputs, *outputs)


where = Impl("plain", always, bind_where)
cast = Impl("plain", always, bind_cast)
