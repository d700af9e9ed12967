"""Running sums and products, and sorting.

    y[o,j,i] = f(y[o,j-1,i], x[o,j,i])

Where the axis is not the last, a task has some columns and goes through their rows, which are
vectors; along the last axis the sums of a row wait for one another, and a task has whole rows.

Sorting merges runs of twice the length in every pass, from the row of results to scratch memory and
back; of equal elements the left one goes first. A task sorts one row.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

from nbcnn.kernels import scalar
from nbcnn.kernels.cpu import jit
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.cpu.shares import BLOCK, blocks, flat
from nbcnn.kernels.cpu.simd_streams import fetch, put
from nbcnn.kernels.cpu.vector_math import formula
from nbcnn.kernels.impl import Impl, Scratch, always
from nbcnn.ops.gather import JOINS
from nbcnn.ops.ordering import ArgsortSpec, Cumulative, CumulativeSpec

COLUMNS = 1024  # of a task
RUN = 8  # elements that are put in order one by one before runs are merged


@cache
def cumulative_kernel(function: str, dtype: str) -> jit.Kernel:
    join = formula(scalar.BINARY[JOINS[function]], dtype)

    @jit.kernel(constants=(function, dtype))
    def cumulative(task, thread, spec, across, x, y):
        s = spec
        begin = task % across * COLUMNS
        end = min(begin + COLUMNS, s.inner)
        step = -s.inner if s.reverse else s.inner
        at = task // across * s.length * s.inner + (s.length - 1) * s.inner * s.reverse
        for i in range(begin, end):
            put(y, at + i, fetch(x, at + i), 0)
        for _ in range(1, s.length):
            at += step
            for i in range(begin, end):
                y[at + i] = join(y[at - step + i], x[at + i])

    return cumulative


@cache
def cumulative_rows_kernel(function: str, dtype: str) -> jit.Kernel:
    join, number = formula(scalar.BINARY[JOINS[function]], dtype), np.dtype(dtype).type
    first = number(function == "prod")

    @jit.kernel(constants=(function, dtype))
    def cumulative_rows(task, thread, spec, per, x, y):
        s = spec
        step = 1 - 2 * s.reverse
        for row in range(task * per, min((task + 1) * per, s.outer)):
            total, at = first, row * s.length + (s.length - 1) * s.reverse
            for _ in range(s.length):
                total = number(join(total, x[at]))
                y[at] = total
                at += step

    return cumulative_rows


@cache
def cumulative_impls(op: Cumulative) -> tuple[Impl, ...]:
    def bind(
        spec: CumulativeSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
    ) -> list[Call]:
        x, y = flat(inputs[0]), flat(outputs[0])
        if not y.size:
            return []
        if spec.inner == 1:
            per = max(1, BLOCK // spec.length)
            kernel = cumulative_rows_kernel(op.function, y.dtype.name)
            return [Call(kernel, blocks(spec.outer, per), (spec, per, x, y))]
        across = blocks(spec.inner, COLUMNS)
        kernel = cumulative_kernel(op.function, y.dtype.name)
        return [Call(kernel, spec.outer * across, (spec, across, x, y))]

    return (Impl("running", always, bind, inplace=((0, 0),)),)


@jit.always_inline
def before(a, b, descending):
    """Whether a has to go before b. NaN is larger than all."""
    return (a > b or (a != a and b == b)) if descending else (a < b or (b != b and a == a))


@jit.kernel
def argsort(task, thread, spec, x, held, y):
    s, base = spec, task * spec.length
    mine = thread * s.length
    for first in range(0, s.length, RUN):
        for i in range(first, min(first + RUN, s.length)):
            value, j = x[base + i], i
            while j > first and before(value, x[base + y[base + j - 1]], s.descending):
                y[base + j] = y[base + j - 1]
                j -= 1
            y[base + j] = i
    width = RUN
    while width < s.length:
        for first in range(0, s.length, 2 * width):
            middle = min(first + width, s.length)
            end = min(first + 2 * width, s.length)
            left, right = first, middle
            for i in range(first, end):
                take_left = left < middle
                if take_left and right < end:
                    a, b = x[base + y[base + left]], x[base + y[base + right]]
                    take_left = not before(b, a, s.descending)
                if take_left:
                    held[mine + i] = y[base + left]
                    left += 1
                else:
                    held[mine + i] = y[base + right]
                    right += 1
        for i in range(s.length):
            y[base + i] = held[mine + i]
        width *= 2


def scratch(spec: ArgsortSpec, dtype: str, caps) -> dict[str, Scratch]:
    return {"held": Scratch((caps.threads, spec.length), "int32")}


def bind_argsort(
    spec: ArgsortSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    args = (spec, flat(inputs[0]), flat(scratch["held"]), flat(outputs[0]))
    return [Call(argsort, spec.rows if spec.length else 0, args)]


argsort_impl = Impl("merge", always, bind_argsort, scratch)
