"""Elementwise functions, their derivatives, arithmetic with broadcasting, selection and conversion.

    y[i] = f(x[i])    dx[i] = f'(v[i]) dy[i]    y = f(a, b)    y = a where c else b

Formulas come from `kernels.scalar`; each function and type is a kernel of its own, made on demand.
Arrays are flat and a task is a block of elements. With broadcasting, neighbouring axes are merged
as far as possible (the spec does that); what remains is a table of rows whose last axis steps
through each operand by 1 or stays at one element, so a handful of inner loops, all of which LLVM
vectorizes, serve every rank. All work in place.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

from nbcnn.kernels import scalar
from nbcnn.kernels.cpu import jit, streaming
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.cpu.shares import (
    BLOCK,
    blocks,
    flat,
    grid,
    grid_columns,
    grid_rows,
    place,
    run_end,
    task_size,
)
from nbcnn.kernels.cpu.simd_streams import fetch, put
from nbcnn.kernels.cpu.streaming import PIECE, fence, write_out
from nbcnn.kernels.cpu.vector_math import formula
from nbcnn.kernels.impl import Impl, Scratch, always
from nbcnn.ops.broadcast import BroadcastSpec, FlatSpec, WhereSpec, merged_where
from nbcnn.ops.elementwise import COMPARISONS, Binary, Unary, UnaryGradient
from nbcnn.ops.op import result_dtype


def in_pieces(value):
    """A task's share of y[i] = value(i, p, q, arrays), straight to y or through a buffer: see
    `streaming`.
    """

    @jit.always_inline
    def compute(task, thread, spec, per, p, q, arrays, y, streamed, buffers):
        end = min((task + 1) * per, spec.n)
        out, step = (buffers[thread], PIECE) if streamed else (buffers[0], per)
        for first in range(task * per, end, step):
            stop = min(first + step, end)
            base = first if streamed else 0
            for i in range(first, stop):
                put(out, i - base, value(i, p, q, arrays), 0)
            if streamed:
                write_out(out, y, first, stop - first)
        if streamed:
            fence()

    return compute


def streamed_scratch(arrays: int):
    """Buffers for results that go around the caches, of functions that touch so many arrays."""

    def scratch(spec: FlatSpec | BroadcastSpec, dtype: str, caps) -> dict[str, Scratch]:
        if not isinstance(spec, FlatSpec):
            return {}
        return streaming.scratch(arrays * spec.n * np.dtype(dtype).itemsize, dtype, caps)

    return scratch


@cache
def unary_kernel(function: str, dtype: str) -> jit.Kernel:
    """`dtype`: type in which the function is computed."""
    f, number = formula(scalar.UNARY[function], dtype), np.dtype(dtype).type

    @jit.always_inline
    def value(i, p, q, arrays):
        return f(number(fetch(arrays[0], i)), p, q)

    compute = in_pieces(value)

    @jit.kernel(constants=(function, dtype))
    def unary(task, thread, spec, per, alpha, beta, x, y, streamed, buffers):
        p, q = number(alpha), number(beta)
        compute(task, thread, spec, per, p, q, (x,), y, streamed, buffers)

    return unary


@cache
def unary_dx_kernel(function: str, dtype: str) -> jit.Kernel:
    f, number = formula(scalar.UNARY_GRADIENT[function], dtype), np.dtype(dtype).type

    @jit.always_inline
    def value(i, p, q, arrays):
        v, dy = arrays
        return f(number(fetch(v, i)), fetch(dy, i), p, q)

    compute = in_pieces(value)

    @jit.kernel(constants=(function, dtype))
    def unary_dx(task, thread, spec, per, alpha, beta, v, dy, dx, streamed, buffers):
        p, q = number(alpha), number(beta)
        compute(task, thread, spec, per, p, q, (v, dy), dx, streamed, buffers)

    return unary_dx


def binary_formula(function: str, act: str, dtype: str):
    """act(f(a, b)) of two numbers and the activation's parameters."""
    f, g = formula(scalar.BINARY[function], dtype), formula(scalar.UNARY[act], dtype)

    @jit.always_inline
    def activated(a, b, alpha, beta):
        return g(f(a, b), alpha, beta)

    return activated


@cache
def binary_kernel(function: str, act: str, dtype: str) -> jit.Kernel:
    f, number = binary_formula(function, act, dtype), np.dtype(dtype).type

    @jit.always_inline
    def value(i, p, q, arrays):
        a, b = arrays
        return f(number(fetch(a, i)), number(fetch(b, i)), p, q)

    compute = in_pieces(value)

    @jit.kernel(constants=(function, act, dtype))
    def binary(task, thread, spec, per, alpha, beta, a, b, y, streamed, buffers):
        p, q = number(alpha), number(beta)
        compute(task, thread, spec, per, p, q, (a, b), y, streamed, buffers)

    return binary


@cache
def broadcast_kernel(function: str, act: str, dtype: str) -> jit.Kernel:
    f, number = binary_formula(function, act, dtype), np.dtype(dtype).type

    @jit.kernel(constants=(function, act, dtype))
    def broadcast(task, thread, spec, g, alpha, beta, a, b, y):
        s, p, q = spec, number(alpha), number(beta)
        row, stop = grid_rows(g, task)
        begin, end = grid_columns(g, task)
        while row < stop:
            at_a = place(row, s.d1, s.d2, s.d3, s.d4, s.a0, s.a1, s.a2, s.a3, s.a4)
            at_b = place(row, s.d1, s.d2, s.d3, s.d4, s.b0, s.b1, s.b2, s.b3, s.b4)
            last = run_end(row, s.d4, stop)
            while row < last:
                at_y = row * s.d5
                if s.a5 == 1 and s.b5 == 1:
                    for i in range(begin, end):
                        left, right = number(fetch(a, at_a + i)), number(fetch(b, at_b + i))
                        put(y, at_y + i, f(left, right, p, q), 0)
                elif s.a5 == 1:
                    right = number(fetch(b, at_b))
                    for i in range(begin, end):
                        put(y, at_y + i, f(number(fetch(a, at_a + i)), right, p, q), 0)
                else:
                    left = number(fetch(a, at_a))
                    for i in range(begin, end):
                        put(y, at_y + i, f(left, number(fetch(b, at_b + i * s.b5)), p, q), 0)
                at_a, at_b, row = at_a + s.a4, at_b + s.b4, row + 1

    return broadcast


@jit.kernel
def where(task, thread, spec, g, condition, a, b, y):
    s = spec
    first, stop = grid_rows(g, task)
    begin, end = grid_columns(g, task)
    number = y.dtype.type
    for row in range(first, stop):
        at_c = place(row, s.d1, s.d2, s.d3, s.d4, s.c0, s.c1, s.c2, s.c3, s.c4)
        at_a = place(row, s.d1, s.d2, s.d3, s.d4, s.a0, s.a1, s.a2, s.a3, s.a4)
        at_b = place(row, s.d1, s.d2, s.d3, s.d4, s.b0, s.b1, s.b2, s.b3, s.b4)
        at_y = row * s.d5
        if s.c5 == 1 and s.a5 == 1 and s.b5 == 1:
            for i in range(begin, end):
                yes, no = number(fetch(a, at_a + i)), number(fetch(b, at_b + i))
                put(y, at_y + i, yes if fetch(condition, at_c + i) else no, 0)
        elif s.c5 == 1 and s.a5 == 1:
            other = number(fetch(b, at_b))
            for i in range(begin, end):
                yes = number(fetch(a, at_a + i))
                put(y, at_y + i, yes if fetch(condition, at_c + i) else other, 0)
        else:
            for i in range(begin, end):
                yes, no = number(fetch(a, at_a + i * s.a5)), number(fetch(b, at_b + i * s.b5))
                put(y, at_y + i, yes if fetch(condition, at_c + i * s.c5) else no, 0)


@jit.kernel
def cast(task, thread, spec, to_bool, x, y):
    number = y.dtype.type
    if to_bool:
        for i in range(task * BLOCK, min((task + 1) * BLOCK, spec.n)):
            put(y, i, fetch(x, i) != 0, 0)
    else:
        for i in range(task * BLOCK, min((task + 1) * BLOCK, spec.n)):
            put(y, i, number(fetch(x, i)), 0)


def bytes_of(dtype: str) -> str:
    """The type in which kernels see values of this type: booleans are bytes."""
    return "uint8" if dtype == "bool" else dtype


@cache
def unary_impls(op: Unary) -> tuple[Impl, ...]:
    def bind(
        spec: FlatSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
    ) -> list[Call]:
        x, y = flat(inputs[0]), flat(outputs[0])
        kind = x.dtype.name if outputs[0].dtype == np.bool_ else y.dtype.name
        per = task_size(spec.n)
        args = (spec, per, op.alpha, op.beta, x, y, *streaming.pieces(scratch, y, [x]))
        return [Call(unary_kernel(op.function, kind), blocks(spec.n, per), args)]

    return (Impl("loop", always, bind, streamed_scratch(2), inplace=((0, 0),)),)


@cache
def unary_dx_impls(op: UnaryGradient) -> tuple[Impl, ...]:
    def bind(
        spec: FlatSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
    ) -> list[Call]:
        v, dy, dx = flat(inputs[0]), flat(inputs[1]), flat(outputs[0])
        kernel, per = unary_dx_kernel(op.function, dx.dtype.name), task_size(spec.n)
        pieces = streaming.pieces(scratch, dx, [v, dy])
        args = (spec, per, op.alpha, op.beta, v, dy, dx, *pieces)
        return [Call(kernel, blocks(spec.n, per), args)]

    return (Impl("loop", always, bind, streamed_scratch(3), inplace=((0, 0), (0, 1))),)


@cache
def binary_impls(op: Binary) -> tuple[Impl, ...]:
    def bind(spec, caps, inputs: Sequence, outputs: Sequence, scratch: dict) -> list[Call]:
        (a, b), y = map(flat, inputs), flat(outputs[0])
        dtype = bytes_of(result_dtype(*(x.dtype.name for x in inputs)))
        kind = dtype if op.function in COMPARISONS else y.dtype.name
        per, which = task_size(spec.n), (op.function, op.act or "identity", kind)
        args = (op.alpha, op.beta, a, b, y)
        if isinstance(spec, BroadcastSpec):
            g = grid(spec.n // max(spec.d5, 1), spec.d5, per)
            return [Call(broadcast_kernel(*which), g.tasks, (spec, g, *args))]
        pieces = streaming.pieces(scratch, y, [a, b])
        return [Call(binary_kernel(*which), blocks(spec.n, per), (spec, per, *args, *pieces))]

    # A result as large in bytes as an operand has as many elements, unless the result is a
    # comparison's.
    inplace = () if op.function in COMPARISONS else ((0, 0), (0, 1))
    return (Impl("loop", always, bind, streamed_scratch(3), inplace=inplace),)


def bind_where(
    spec: WhereSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    spec = merged_where(spec)
    g = grid(spec.n // max(spec.d5, 1), spec.d5)
    return [Call(where, g.tasks, (spec, g, *map(flat, inputs), flat(outputs[0])))]


def bind_cast(
    spec: FlatSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    to_bool = int(outputs[0].dtype == np.bool_)
    return [Call(cast, blocks(spec.n), (spec, to_bool, flat(inputs[0]), flat(outputs[0])))]


where_impl = Impl("loop", always, bind_where, inplace=((0, 1), (0, 2)))
cast_impl = Impl("loop", always, bind_cast)
