"""The gradient of an activation together with its sum over rows: a layer's bias gradient in the
same pass.

    dx[r,k] = f'(v[r,k]) dy[r,k]        db[k] = sum over r of dx[r,k]

A task is a slab of rows, cut as `reduce.py` cuts sums, with the same running results per column of
several rows side by side; the slabs' sums are then reduced by that file's kernel. Reading dx again
for its sum would cost a second pass over memory.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

from nbcnn.kernels import scalar
from nbcnn.kernels.cpu import jit
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.cpu.reduce import WIDE, cut, fold_calls, partial_scratch
from nbcnn.kernels.cpu.shares import flat
from nbcnn.kernels.cpu.simd_streams import again, fetch, put
from nbcnn.kernels.cpu.vector_math import formula
from nbcnn.kernels.impl import Impl, Scratch, always
from nbcnn.ops.broadcast import RowSumSpec
from nbcnn.ops.elementwise import UnaryGradientSum
from nbcnn.ops.reduce import ReduceSpec


@jit.always_inline
def fold_rows(wide, columns, repeat):
    """Add the rows that lie side by side in `wide` into the first, halves upon halves."""
    while repeat > 1:
        half = repeat // 2
        repeat -= half
        for k in range(half * columns):
            wide[k] += wide[repeat * columns + k]


@cache
def dx_sum_kernel(function: str, dtype: str) -> jit.Kernel:
    f, number = formula(scalar.UNARY_GRADIENT[function], dtype), np.dtype(dtype).type

    @jit.kernel(constants=(function, dtype))
    def dx_sum(task, thread, spec, g, alpha, beta, v, dy, dx, scratch, parts):
        wide, a, b = scratch[thread], number(alpha), number(beta)
        slab, tile = task // g.tiles, task % g.tiles
        j0, k0 = slab * g.rows, tile * g.columns
        rows, columns = min(g.rows, spec.rows - j0), min(g.columns, spec.c - k0)
        width, at = columns * g.repeat, j0 * spec.c + k0
        for k in range(width):
            wide[k] = 0
        for j in range(0, rows, g.repeat):
            for k in range(min(width, (rows - j) * columns)):
                value = f(fetch(v, at + k), fetch(dy, at + k), a, b)
                put(dx, at + k, value, 0)
                put(wide, k, again(wide, k, 1) + value, 1)
            at += g.repeat * spec.c
        fold_rows(wide, columns, g.repeat)
        for k in range(columns):
            parts[slab * spec.c + k0 + k] = wide[k]

    return dx_sum


def _as_reduction(spec: RowSumSpec) -> ReduceSpec:
    return ReduceSpec(1, spec.rows, spec.c)


def _over_slabs(spec: RowSumSpec) -> ReduceSpec:
    return ReduceSpec(1, cut(_as_reduction(spec)).slabs, spec.c)


def scratch(spec: RowSumSpec, dtype: str, caps) -> dict[str, Scratch]:
    slabs = _over_slabs(spec)
    return {
        "running": Scratch((caps.threads, WIDE), dtype),
        "slabs": Scratch((slabs.length * spec.c,), dtype),
        **partial_scratch(slabs, dtype, caps),
    }


@cache
def impls(op: UnaryGradientSum) -> tuple[Impl, ...]:
    def bind(spec: RowSumSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict) -> list:
        (v, dy), (dx, db) = map(flat, inputs), map(flat, outputs)
        g, slabs = cut(_as_reduction(spec)), _over_slabs(spec)
        parts = scratch["slabs"] if slabs.length > 1 else db
        args = (spec, g, op.alpha, op.beta, v, dy, dx, scratch["running"], parts)
        kernel = dx_sum_kernel(op.function, dx.dtype.name)
        calls = [Call(kernel, g.slabs * g.tiles if spec.c else 0, args)]
        return calls + (fold_calls("sum", slabs, parts, db, scratch) if slabs.length > 1 else [])

    return (Impl("slabs", always, bind, scratch, inplace=((0, 0), (0, 1))),)
