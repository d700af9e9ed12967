"""Moving elements: transpose, slice, pad, broadcast, concatenate.

    y[yo + sum i_k y_k] = x[xo + sum i_k x_k]

The spec has merged the axes as far as possible. A thread moves one element, or four where quads of
the last axis lie together and aligned on both sides. A transposition of the last two axes goes in
tiles through shared memory, so that neighbouring threads read and write neighbouring elements.
"""

from functools import cache

import numpy as np
from numba import cuda

from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import Launch, launch
from nbcnn.kernels.cuda.index import divided, divider, is_far, placer
from nbcnn.kernels.cuda.lanes import barrier, launch_blocks, threads
from nbcnn.kernels.cuda.quads import access, width_of
from nbcnn.kernels.impl import Impl, always
from nbcnn.ops.shape import CopySpec

TILE, SIMULATED_TILE = 32, 4


@cache
def fill_kernel(dtype: str):
    number = np.dtype(dtype).type

    @jit.kernel(constants=(dtype,))
    def fill(s, y):
        value = number(s.value)
        i = cuda.grid(1)
        while i < s.total:
            y[i] = value
            i += cuda.gridsize(1)

    return fill


@cache
def copy_kernel(dtype: str, width: int, far: bool):
    (fetch, put), divided, place = access(width), divider(far), placer(far)
    number = np.dtype(dtype).type

    @jit.kernel(constants=(dtype, width, far))
    def copy(s, x, y):
        v = cuda.local.array(width, number)
        i = cuda.grid(1) * width
        while i < s.n:
            row, k = divided(i, s.d5)
            at_x = s.xo + place(row, s.d1, s.d2, s.d3, s.d4, s.x0, s.x1, s.x2, s.x3, s.x4)
            at_y = s.yo + place(row, s.d1, s.d2, s.d3, s.d4, s.y0, s.y1, s.y2, s.y3, s.y4)
            fetch(x, at_x + k * s.x5, v)
            put(y, at_y + k * s.y5, v)
            i += cuda.gridsize(1) * width

    return copy


@cache
def transpose_kernel(dtype: str, tile: int, size: int):
    """A block moves one tile of the last two axes: it reads along d4, where x is contiguous, and
    writes along d5. A row of the tile in shared memory is one number longer than a tile, so that a
    column of it lies in all banks.
    """
    number, pitch, side = np.dtype(dtype).type, tile + 1, size // tile
    places, place = tile * pitch, placer(False)

    @jit.kernel(bounds=size, constants=(dtype, tile, size))
    def transpose(s, down, across, x, y):
        held = cuda.shared.array(places, number)
        row, column = cuda.threadIdx.x // tile, cuda.threadIdx.x % tile
        block, right = divided(cuda.blockIdx.x, across)
        outer, below = divided(block, down)
        i0, j0 = below * tile, right * tile
        at_x = s.xo + place(outer, 1, s.d1, s.d2, s.d3, 0, s.x0, s.x1, s.x2, s.x3)
        at_y = s.yo + place(outer, 1, s.d1, s.d2, s.d3, 0, s.y0, s.y1, s.y2, s.y3)
        for j in range(row, min(tile, s.d5 - j0), side):
            if i0 + column < s.d4:
                held[j * pitch + column] = x[at_x + i0 + column + (j0 + j) * s.x5]
        barrier()
        for i in range(row, min(tile, s.d4 - i0), side):
            if j0 + column < s.d5:
                y[at_y + (i0 + i) * s.y4 + j0 + column] = held[column * pitch + i]

    return transpose


@cache
def concat_kernel(dtype: str, width: int, far: bool):
    (fetch, put), divided, number = access(width), divider(far), np.dtype(dtype).type

    @jit.kernel(constants=(dtype, width, far))
    def concat(s, x, y):
        v, row = cuda.local.array(width, number), s.length * s.inner
        i = cuda.grid(1) * width
        while i < s.outer * row:
            outer, k = divided(i, row)
            fetch(x, i, v)
            put(y, (outer * s.total + s.start) * s.inner + k, v)
            i += cuda.gridsize(1) * width

    return concat


def moved_as(dtype: str) -> str:
    return "uint8" if dtype == "bool" else dtype


def is_transposition(s: CopySpec, caps) -> bool:
    least = SIMULATED_TILE if caps.simulated else TILE // 2
    turned = s.y5 == 1 and s.x4 == 1 and min(s.d4, s.d5) >= least
    return turned and s.d0 == 1 and not is_far(max(s.n, s.total))


def transposition(s: CopySpec, caps, x, y) -> list[Launch]:
    tile = SIMULATED_TILE if caps.simulated else TILE
    down, across = -(-s.d4 // tile), -(-s.d5 // tile)
    blocks = s.n // (s.d4 * s.d5) * down * across
    kernel = transpose_kernel(moved_as(str(y.dtype)), tile, threads(caps))
    return launch_blocks(kernel, caps, blocks, s._replace(fill=0), down, across, x, y)


def bind_copy(spec: CopySpec, caps, inputs, outputs, scratch) -> list[Launch]:
    (x,), (y,) = inputs, outputs
    dtype, calls = moved_as(str(y.dtype)), []
    if spec.fill and spec.n < spec.total:
        calls += launch(fill_kernel(dtype), caps, spec.total, spec, y)
    if is_transposition(spec, caps):
        return calls + transposition(spec, caps, x, y)
    others = (spec.d5, spec.xo, *spec[9:14], spec.yo, *spec[16:21])
    width = width_of(dtype, *others) if spec.x5 == spec.y5 == 1 else 1
    kernel = copy_kernel(dtype, width, is_far(max(spec.n, x.size, spec.total)))
    return calls + launch(kernel, caps, -(-spec.n // width), spec, x, y)


def bind_concat(specs, caps, inputs, outputs, scratch) -> list[Launch]:
    (y,), calls = outputs, []
    dtype = moved_as(str(y.dtype))
    for s, x in zip(specs, inputs):
        same = str(x.dtype) == str(y.dtype)
        sizes = (s.length * s.inner, s.total * s.inner, s.start * s.inner)
        width = width_of(dtype, *sizes) if same else 1
        kernel = concat_kernel(dtype, width, is_far(y.size))
        calls += launch(kernel, caps, x.size // width, s, x, y)
    return calls


copy = Impl("copy", always, bind_copy)
concat = Impl("copy", always, bind_concat)
