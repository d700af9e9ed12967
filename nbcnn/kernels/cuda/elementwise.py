"""Elementwise functions, their derivatives, arithmetic with broadcasting, selection and conversion.

    y[i] = f(x[i])    dx[i] = f'(v[i]) dy[i]    y = g(f(a, b))    y = a where c else b

Formulas come from `kernels.scalar`. A thread takes four neighbouring elements where types and sizes
allow (`quads.py`), else one, and strides over the array by the grid. With broadcasting it finds its
place in the operands by divisions of 32 bits, as many as there are axes that could not be merged.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numba import cuda

from nbcnn.kernels import scalar
from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import launch
from nbcnn.kernels.cuda.index import divider, is_far, placer
from nbcnn.kernels.cuda.quads import access, repeated, width_of
from nbcnn.kernels.impl import Impl, always
from nbcnn.ops.broadcast import BroadcastSpec, merged_where
from nbcnn.ops.elementwise import COMPARISONS, PREDICATES
from nbcnn.ops.op import result_dtype


def computed_in(dtype: str) -> str:
    """The type in which values of this type are computed: booleans as bytes."""
    return "uint8" if dtype == "bool" else dtype


def width_for(*arrays) -> int:
    """Elements a thread takes of flat arrays of these types."""
    return min(width_of(str(array.dtype)) for array in arrays)


@cache
def unary_kernel(function: str, dtype: str, width: int):
    """y = f(x), computed in `dtype`."""
    f, number = jit.formula(scalar.UNARY[function], dtype), np.dtype(dtype).type
    fetch, put = access(width)

    @jit.kernel(constants=(function, dtype, width))
    def unary(s, alpha, beta, x, y):
        a, b, whole = number(alpha), number(beta), s.n // width * width if width > 1 else 0
        first, step = cuda.grid(1), cuda.gridsize(1)
        if width > 1:
            v = cuda.local.array(width, number)
            i = first * width
            while i < whole:
                fetch(x, i, v)
                for j in range(width):
                    v[j] = f(v[j], a, b)
                put(y, i, v)
                i += step * width
        i = whole + first
        while i < s.n:
            y[i] = f(number(x[i]), a, b)
            i += step

    return unary


@cache
def unary_gradient_kernel(function: str, dtype: str, width: int):
    f, number = jit.formula(scalar.UNARY_GRADIENT[function], dtype), np.dtype(dtype).type
    fetch, put = access(width)

    @jit.kernel(constants=(function, dtype, width))
    def unary_gradient(s, alpha, beta, v, dy, dx):
        a, b, whole = number(alpha), number(beta), s.n // width * width if width > 1 else 0
        first, step = cuda.grid(1), cuda.gridsize(1)
        if width > 1:
            at, slope = cuda.local.array(width, number), cuda.local.array(width, number)
            i = first * width
            while i < whole:
                fetch(v, i, at)
                fetch(dy, i, slope)
                for j in range(width):
                    at[j] = f(at[j], slope[j], a, b)
                put(dx, i, at)
                i += step * width
        i = whole + first
        while i < s.n:
            dx[i] = f(number(v[i]), dy[i], a, b)
            i += step

    return unary_gradient


@cache
def binary_kernel(function: str, act: str, dtype: str, width: int):
    """y = act(f(a, b)) of equal shapes, both converted to `dtype` first."""
    f, number = jit.formula(scalar.BINARY[function], dtype), np.dtype(dtype).type
    g = jit.formula(scalar.UNARY[act], dtype)
    fetch, put = access(width)

    @jit.kernel(constants=(function, act, dtype, width))
    def binary(s, alpha, beta, a, b, y):
        p, q, whole = number(alpha), number(beta), s.n // width * width if width > 1 else 0
        first, step = cuda.grid(1), cuda.gridsize(1)
        if width > 1:
            left, right = cuda.local.array(width, number), cuda.local.array(width, number)
            i = first * width
            while i < whole:
                fetch(a, i, left)
                fetch(b, i, right)
                for j in range(width):
                    left[j] = g(f(left[j], right[j]), p, q)
                put(y, i, left)
                i += step * width
        i = whole + first
        while i < s.n:
            y[i] = g(f(number(a[i]), number(b[i])), p, q)
            i += step

    return binary


class Steps(NamedTuple):
    """Of a thread that takes `width` elements of the last axis: how far apart they lie in operands
    a and b, 0 or 1.
    """

    width: int
    a: int
    b: int


@cache
def broadcast_kernel(function: str, act: str, dtype: str, steps: Steps, far: bool):
    """The same with broadcasting, four elements of the last axis a thread."""
    f, number = jit.formula(scalar.BINARY[function], dtype), np.dtype(dtype).type
    g, divided, place, width = jit.formula(scalar.UNARY[act], dtype), divider(far), placer(far), 4
    fetch, put = access(width)
    fetch_a, fetch_b = (fetch if step else repeated(width) for step in (steps.a, steps.b))

    @jit.kernel(constants=(function, act, dtype, steps, far))
    def broadcast(s, alpha, beta, a, b, y):
        p, q = number(alpha), number(beta)
        left, right = cuda.local.array(width, number), cuda.local.array(width, number)
        i = cuda.grid(1) * width
        while i < s.n:
            row, k = divided(i, s.d5)
            at_a = place(row, s.d1, s.d2, s.d3, s.d4, s.a0, s.a1, s.a2, s.a3, s.a4)
            at_b = place(row, s.d1, s.d2, s.d3, s.d4, s.b0, s.b1, s.b2, s.b3, s.b4)
            fetch_a(a, at_a + k * s.a5, left)
            fetch_b(b, at_b + k * s.b5, right)
            for j in range(width):
                left[j] = g(f(left[j], right[j]), p, q)
            put(y, i, left)
            i += cuda.gridsize(1) * width

    return broadcast


@cache
def broadcast_one_kernel(function: str, act: str, dtype: str, far: bool):
    """The same, one element a thread."""
    f, number = jit.formula(scalar.BINARY[function], dtype), np.dtype(dtype).type
    g, divided, place = jit.formula(scalar.UNARY[act], dtype), divider(far), placer(far)

    @jit.kernel(constants=(function, act, dtype, far))
    def broadcast(s, alpha, beta, a, b, y):
        p, q = number(alpha), number(beta)
        i = cuda.grid(1)
        while i < s.n:
            row, k = divided(i, s.d5)
            at_a = place(row, s.d1, s.d2, s.d3, s.d4, s.a0, s.a1, s.a2, s.a3, s.a4)
            at_b = place(row, s.d1, s.d2, s.d3, s.d4, s.b0, s.b1, s.b2, s.b3, s.b4)
            left, right = number(a[at_a + k * s.a5]), number(b[at_b + k * s.b5])
            y[i] = g(f(left, right), p, q)
            i += cuda.gridsize(1)

    return broadcast


def steps_of(s: BroadcastSpec) -> Steps | None:
    """None where quads of the last axis would not be aligned in all arrays."""
    aligned = s.d5 % 4 == 0 and s.a5 in (0, 1) and s.b5 in (0, 1)
    for last, *others in ((s.a5, *s[7:12]), (s.b5, *s[13:18])):
        aligned = aligned and (last == 0 or all(step % 4 == 0 for step in others))
    return Steps(4, s.a5, s.b5) if aligned else None


@cache
def where_kernel(dtype: str, far: bool):
    number, divided, place = np.dtype(computed_in(dtype)).type, divider(far), placer(far)

    @jit.kernel(constants=(dtype, far))
    def where(s, condition, a, b, y):
        i = cuda.grid(1)
        while i < s.n:
            row, k = divided(i, s.d5)
            at = place(row, s.d1, s.d2, s.d3, s.d4, s.c0, s.c1, s.c2, s.c3, s.c4)
            at_a = place(row, s.d1, s.d2, s.d3, s.d4, s.a0, s.a1, s.a2, s.a3, s.a4)
            at_b = place(row, s.d1, s.d2, s.d3, s.d4, s.b0, s.b1, s.b2, s.b3, s.b4)
            if condition[at + k * s.c5] != 0:
                y[i] = number(a[at_a + k * s.a5])
            else:
                y[i] = number(b[at_b + k * s.b5])
            i += cuda.gridsize(1)

    return where


@cache
def cast_kernel(dtype: str, width: int):
    """To `dtype`; to float32 four at a time, of any type."""
    number, (_, put) = np.dtype(dtype).type, access(width)
    logical = dtype == "bool"

    @jit.kernel(constants=(dtype, width))
    def cast(s, x, y):
        whole = s.n // width * width if width > 1 else 0
        first, step = cuda.grid(1), cuda.gridsize(1)
        if width > 1:
            v = cuda.local.array(width, number)
            i = first * width
            while i < whole:
                for j in range(width):
                    v[j] = number(x[i + j])
                put(y, i, v)
                i += step * width
        i = whole + first
        while i < s.n:
            y[i] = x[i] != 0 if logical else number(x[i])
            i += step

    return cast


def quads(n: int, width: int) -> int:
    return -(-n // width)


def unary(op):
    """Predicates look at the input in its own type; all else is computed in the type of the
    result.
    """

    def bind(spec, caps, inputs, outputs, scratch):
        (x,), (y,) = inputs, outputs
        dtype, width = (
            computed_in(str((x if op.function in PREDICATES else y).dtype)),
            width_for(x, y),
        )
        kernel, parameters = (
            unary_kernel(op.function, dtype, width),
            (float(op.alpha), float(op.beta)),
        )
        return launch(kernel, caps, quads(spec.n, width), spec, *parameters, x, y)

    return (Impl("loop", always, bind, inplace=((0, 0),)),)


def unary_gradient(op):
    def bind(spec, caps, inputs, outputs, scratch):
        width, parameters = width_for(*inputs, *outputs), (float(op.alpha), float(op.beta))
        kernel = unary_gradient_kernel(op.function, str(outputs[0].dtype), width)
        size = quads(spec.n, width)
        return launch(kernel, caps, size, spec, *parameters, *inputs, *outputs)

    return (Impl("loop", always, bind, inplace=((0, 0), (0, 1))),)


def binary(op):
    """Operands are converted to their common type: that of the result, but for comparisons."""

    def bind(spec, caps, inputs, outputs, scratch):
        dtype, width = str(outputs[0].dtype), width_for(*inputs, *outputs)
        if dtype == "bool":
            dtype = result_dtype(*(str(x.dtype) for x in inputs))
        which = op.function, op.act or "identity", computed_in(dtype)
        if not isinstance(spec, BroadcastSpec):
            kernel = binary_kernel(*which, width)
        else:
            steps, far = steps_of(spec) if width > 1 else None, is_far(spec.n)
            width = steps.width if steps else 1
            kernel = (
                broadcast_kernel(*which, steps, far) if steps else broadcast_one_kernel(*which, far)
            )
        parameters, size = (float(op.alpha), float(op.beta)), quads(spec.n, width)
        return launch(kernel, caps, size, spec, *parameters, *inputs, *outputs)

    # A result as large in bytes as an operand has as many elements, unless it is a comparison's.
    inplace = () if op.function in COMPARISONS else ((0, 0), (0, 1))
    return (Impl("loop", always, bind, inplace=inplace),)


def bind_where(spec, caps, inputs, outputs, scratch):
    kernel = where_kernel(str(outputs[0].dtype), is_far(spec.n))
    return launch(kernel, caps, spec.n, merged_where(spec), *inputs, *outputs)


def bind_cast(spec, caps, inputs, outputs, scratch):
    dtype = str(outputs[0].dtype)
    width = width_of(dtype)
    kernel = cast_kernel(dtype, width)
    return launch(kernel, caps, quads(spec.n, width), spec, *inputs, *outputs)


where = Impl("loop", always, bind_where, inplace=((0, 1), (0, 2)))
cast = Impl("loop", always, bind_cast)
