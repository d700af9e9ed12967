"""Picking, collecting, running sums and sorting: plain kernels, a thread a result.

Collecting, a thread owns a place and goes through all indices, in order, so sums are the same from
run to run. Sorting, a thread counts the elements of its row that go before its own.
"""

from functools import cache

import numpy as np
from numba import cuda

from nbcnn.kernels import scalar
from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import launch
from nbcnn.kernels.cuda.elementwise import computed_in
from nbcnn.kernels.impl import Impl, always
from nbcnn.ops.gather import JOINS


@cache
def gather_kernel(dtype: str, kind: str):
    @jit.kernel(constants=(dtype, kind))
    def gather(s, x, indices, y):
        at = cuda.grid(1)
        while at < s.outer * s.picks * s.inner:
            row, i = at // s.inner, at % s.inner
            k = int(indices[at] if s.along else indices[row % s.picks])
            k = min(max(k, 0), s.length - 1)
            y[at] = x[(row // s.picks * s.length + k) * s.inner + i]
            at += cuda.gridsize(1)

    return gather


@cache
def scatter_kernel(function: str, dtype: str, kind: str):
    join = jit.formula(scalar.BINARY[JOINS[function]], dtype)
    number = np.dtype(dtype).type

    @jit.kernel(constants=(function, dtype, kind))
    def scatter(s, values, indices, y):
        to = cuda.grid(1)
        while to < s.outer * s.length * s.inner:
            row, i = to // s.inner, to % s.inner
            o, own = row // s.length, row % s.length
            total = number(s.start)
            for j in range(s.picks):
                at = (o * s.picks + j) * s.inner + i
                k = indices[at] if s.along else indices[j]
                if k == own:
                    total = number(join(total, number(values[at])))
            y[to] = total
            to += cuda.gridsize(1)

    return scatter


@cache
def cumulative_kernel(function: str, dtype: str):
    join = jit.formula(scalar.BINARY[JOINS[function]], dtype)
    number = np.dtype(dtype).type
    first = number(function == "prod")

    @jit.kernel(constants=(function, dtype))
    def cumulative(s, x, y):
        column = cuda.grid(1)
        while column < s.outer * s.inner:
            o, i = column // s.inner, column % s.inner
            total = first
            for j in range(s.length):
                row = s.length - 1 - j if s.reverse else j
                at = (o * s.length + row) * s.inner + i
                total = number(join(total, x[at]))
                y[at] = total
            column += cuda.gridsize(1)

    return cumulative


@cache
def argsort_kernel(dtype: str):
    @jit.kernel(constants=(dtype,))
    def argsort(s, x, y):
        at = cuda.grid(1)
        while at < s.rows * s.length:
            base, own = at // s.length * s.length, at % s.length
            value, rank = x[at], 0
            for j in range(s.length):
                other = x[base + j]
                if s.descending:
                    first = other > value or (other != other and value == value)
                else:
                    first = other < value or (value != value and other == other)
                same = other == value or (other != other and value != value)
                if first or (same and j < own):
                    rank += 1
            y[base + rank] = own
            at += cuda.gridsize(1)

    return argsort


def bind_gather(spec, caps, inputs, outputs, scratch):
    kernel = gather_kernel(str(outputs[0].dtype), str(inputs[1].dtype))
    return launch(kernel, caps, spec.outer * spec.picks * spec.inner, spec, *inputs, *outputs)


def scatter(op):
    def bind(spec, caps, inputs, outputs, scratch):
        dtype, kind = str(outputs[0].dtype), str(inputs[1].dtype)
        kernel = scatter_kernel(op.function, computed_in(dtype), kind)
        return launch(kernel, caps, spec.outer * spec.length * spec.inner, spec, *inputs, *outputs)

    return (Impl("owners", always, bind),)


def cumulative(op):
    def bind(spec, caps, inputs, outputs, scratch):
        size = spec.outer * spec.inner if spec.length else 0
        kernel = cumulative_kernel(op.function, computed_in(str(outputs[0].dtype)))
        return launch(kernel, caps, size, spec, *inputs, *outputs)

    return (Impl("running", always, bind, inplace=((0, 0),)),)


def bind_argsort(spec, caps, inputs, outputs, scratch):
    kernel = argsort_kernel(str(inputs[0].dtype))
    return launch(kernel, caps, spec.rows * spec.length, spec, *inputs, *outputs)


gather = Impl("rows", always, bind_gather)
argsort = Impl("ranks", always, bind_argsort)
