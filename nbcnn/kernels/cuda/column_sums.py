"""Sums of a matrix's columns, as of dy over pixels for a bias gradient: slabs of rows, then the
slabs in order. A block has threads along the columns, whose neighbours read neighbouring floats,
and rows of threads that share a slab and are added in order.
"""

from functools import cache
from typing import Any

from numba import cuda, types
from numpy import float32, int32

from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import Caps, Launch, launch
from nbcnn.kernels.cuda.indices import divided
from nbcnn.kernels.cuda.tile_product import add_parts_kernel
from nbcnn.kernels.impl import Scratch

SLAB_ROWS = 1024  # at least, so that there are fewer partial sums to add than to make


@cache
def partial_kernel(across: int, down: int) -> Any:
    threads = across * down

    @jit.kernel(bounds=threads, constants=(across, down))
    def partial_sums(rows, columns, slab_rows, x, parts):
        shared = cuda.shared.array(0, types.float32)  # a number per thread
        t = int32(cuda.threadIdx.x)
        down_at, across_at = divided(t, int32(across))
        column_blocks = int32((columns + across - 1) // across)
        slab, block = divided(int32(cuda.blockIdx.x), column_blocks)
        column = int32(block * across + across_at)
        total = float32(0)
        if column < columns:
            last = min(int32((slab + 1) * slab_rows), int32(rows))
            for row in range(int32(slab * slab_rows + down_at), last, down):
                total += x[int32(row * int32(columns) + column)]
        shared[t] = total
        cuda.syncthreads()
        if (down_at == 0) & (column < columns):
            for i in range(1, down):
                total += shared[t + i * across]
            parts[int32(slab * int32(columns) + column)] = total

    return partial_sums


def slabs(rows: int, columns: int, caps: Caps) -> tuple[int, int]:
    """(slabs, rows of each), so that there are a few blocks for every multiprocessor."""
    wanted = -(-4 * caps.multiprocessors * 32 // columns)
    least = 4 if caps.simulated else SLAB_ROWS
    slab_rows = max(least, -(-rows // wanted))
    return -(-rows // slab_rows), slab_rows


def sums_scratch(rows: int, columns: int, dtype: str, caps: Caps) -> dict[str, Scratch]:
    return {"sums": Scratch((slabs(rows, columns, caps)[0], columns), dtype)}


def column_sums(rows: int, columns: int, caps: Caps, x: Any, parts: Any, y: Any) -> list[Launch]:
    """Launches for y[j] = sum over i of x[i, j]; `parts` as `sums_scratch` wants it."""
    count, slab_rows = slabs(rows, columns, caps)
    across, down = (4, 2) if caps.simulated else (32, 8)
    flat = x.reshape(x.size), parts.reshape(parts.size)
    grid = count * -(-columns // across)
    kernel = partial_kernel(across, down)
    args, threads = (rows, columns, slab_rows, *flat), across * down
    first = Launch(kernel, grid, threads, args, shared=4 * threads, fixed=True)
    return [
        first,
        *launch(add_parts_kernel, caps, columns, columns, count, 1, 0, 0, parts, parts, y),
    ]
