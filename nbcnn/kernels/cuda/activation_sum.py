"""The gradient of an activation together with its sum over rows: a layer's bias gradient in the
same pass.

    dx[r,k] = f'(v[r,k]) dy[r,k]        db[k] = sum over r of dx[r,k]

Blocks over columns (`lanes.py`); what the slabs have is added by a second launch (`reduce.py`).
"""

from functools import cache

import numpy as np
from numba import cuda

from nbcnn.kernels import scalar
from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import Launch
from nbcnn.kernels.cuda.lanes import add_lanes, columns, launch_blocks, place, threads
from nbcnn.kernels.cuda.quads import access, width_of
from nbcnn.kernels.cuda.reduce import fold_slabs
from nbcnn.kernels.impl import Impl, Scratch, always
from nbcnn.ops.broadcast import RowSumSpec
from nbcnn.ops.elementwise import UnaryGradientSum
from nbcnn.ops.reduce import ReduceSpec


@cache
def kernel_of(function: str, dtype: str, width: int, size: int):
    f, number = jit.formula(scalar.UNARY_GRADIENT[function], dtype), np.dtype(dtype).type
    (fetch, put), places = access(width), size * width

    @jit.kernel(bounds=size, constants=(function, dtype, width, size))
    def gradient_sum(s, g, alpha, beta, v, dy, dx, parts):
        sums = cuda.shared.array(places, number)
        at, slope = cuda.local.array(width, number), cuda.local.array(width, number)
        total = cuda.local.array(width, number)
        t, a, b = cuda.threadIdx.x, number(alpha), number(beta)
        slab, lane, row, end, k = place(g, cuda.blockIdx.x, t, width, s.rows)
        for j in range(width):
            total[j] = number(0)
        if lane < g.lanes and k < s.c:
            while row < end:
                i = row * s.c + k
                fetch(v, i, at)
                fetch(dy, i, slope)
                for j in range(width):
                    at[j] = f(at[j], slope[j], a, b)
                    total[j] += at[j]
                put(dx, i, at)
                row += g.lanes
        for j in range(width):
            sums[t + j * size] = total[j]
        add_lanes(sums, t, g.columns, lane, g.lanes, width, size)
        if lane == 0 and k < s.c:
            for j in range(width):
                total[j] = sums[t + j * size]
            put(parts, slab * s.c + k, total)

    return gradient_sum


def scratch(spec: RowSumSpec, dtype: str, caps) -> dict[str, Scratch]:
    g = columns(spec.rows, spec.c // width_of(dtype, spec.c), caps)
    return {"slabs": Scratch((g.slabs * spec.c,), dtype)}


def impls(op: UnaryGradientSum) -> tuple[Impl, ...]:
    def bind(spec: RowSumSpec, caps, inputs, outputs, scratch) -> list[Launch]:
        (dx, db), parts = outputs, scratch["slabs"]
        dtype = str(dx.dtype)
        width = width_of(dtype, spec.c)
        g = columns(spec.rows, spec.c // width, caps)
        kernel = kernel_of(op.function, dtype, width, threads(caps))
        args = (spec, g, float(op.alpha), float(op.beta), *inputs, dx, parts)
        over = ReduceSpec(1, g.slabs, spec.c)
        return [
            *launch_blocks(kernel, caps, g.blocks, *args),
            *fold_slabs("sum", over, 1, caps, parts, db),
        ]

    return (Impl("slabs", always, bind, scratch, inplace=((0, 0), (0, 1))),)
