"""Picking and collecting elements by numbers in an array.

    y[o,j,i] = x[o, k, i]    x[o,k,i] = f of y[o,j,i] where indices[j] = k

k is indices[j], or indices[o,j,i] where they lie along. Picked rows (all i) are dealt out to tasks;
an index is read once a row. Collecting, a task owns a range of places and goes through all indices,
in order: no two tasks write to one place, and sums do not depend on the number of threads.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

from nbcnn.kernels import scalar
from nbcnn.kernels.cpu import jit
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.cpu.copy import words
from nbcnn.kernels.cpu.shares import BLOCK, blocks, flat
from nbcnn.kernels.cpu.simd_streams import fetch, put
from nbcnn.kernels.cpu.vector_math import formula
from nbcnn.kernels.impl import Impl, always
from nbcnn.ops.gather import JOINS, GatherSpec, Scatter

OWNERS = 16  # of the places along an axis; each goes through all indices


@jit.kernel
def gather(task, thread, spec, per, x, indices, y):
    s = spec
    for row in range(task * per, min((task + 1) * per, s.outer * s.picks)):
        start, to = row // s.picks * s.length * s.inner, row * s.inner
        if s.along:
            for i in range(s.inner):
                k = min(max(fetch(indices, to + i), 0), s.length - 1)
                put(y, to + i, fetch(x, start + k * s.inner + i), 0)
        else:
            k = min(max(fetch(indices, row % s.picks), 0), s.length - 1)
            start += k * s.inner
            for i in range(s.inner):
                put(y, to + i, fetch(x, start + i), 0)


@cache
def scatter_kernel(function: str, dtype: str) -> jit.Kernel:
    join, number = formula(scalar.BINARY[JOINS[function]], dtype), np.dtype(dtype).type

    @jit.kernel(constants=(function, dtype))
    def scatter(task, thread, spec, per, owners, values, indices, y):
        s = spec
        o, first = task // owners, task % owners * per
        stop, base = min(first + per, s.length), task // owners * s.length * s.inner
        for i in range(base + first * s.inner, base + stop * s.inner):
            y[i] = number(s.start)
        for j in range(s.picks):
            at = (o * s.picks + j) * s.inner
            if s.along:
                for i in range(s.inner):
                    k = indices[at + i]
                    if k >= first and k < stop:
                        to = base + k * s.inner + i
                        y[to] = join(y[to], values[at + i])
            else:
                k = indices[j]
                if k >= first and k < stop:
                    to = base + k * s.inner
                    for i in range(s.inner):
                        y[to + i] = join(y[to + i], values[at + i])

    return scatter


def bind_gather(
    spec: GatherSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    per = max(1, BLOCK // max(1, spec.inner))
    x, y = words(inputs[0]), words(outputs[0])
    tasks = blocks(spec.outer * spec.picks, per) if spec.inner else 0
    return [Call(gather, tasks, (spec, per, x, flat(inputs[1]), y))]


@cache
def scatter_impls(op: Scatter) -> tuple[Impl, ...]:
    def bind(
        spec: GatherSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
    ) -> list[Call]:
        values, y = flat(inputs[0]), flat(outputs[0])
        work = spec.outer * max(spec.length, spec.picks) * spec.inner
        wanted = max(1, min(OWNERS // max(1, spec.outer), blocks(work), spec.length))
        per = max(1, blocks(spec.length, wanted))
        owners = max(1, blocks(spec.length, per))
        args = (spec, per, owners, values, flat(inputs[1]), y)
        tasks = spec.outer * owners if y.size else 0
        return [Call(scatter_kernel(op.function, y.dtype.name), tasks, args)]

    return (Impl("owners", always, bind),)


gather_impl = Impl("rows", always, bind_gather)
