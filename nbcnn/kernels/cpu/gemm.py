"""Matrix products, blocked for the caches around the register-tiled micro-kernel.

    y[b,i,j] = act(bias[j] + sum over l of x[b,i,l] * w[b,l,j])

A task computes a block of rows x columns of one matrix. For each chunk of about 200 steps of the sum and each panel
of two vectors of columns it packs that part of w (half of L1, see `gemm_pack.py`), then runs the micro-kernel down
the rows. x is read where it is, in either orientation: the tile's rows are addresses with a free stride. With few
rows a packed panel would be read once or twice only, so w is read in place too, where a panel is full.

Blocks are chosen such that there are enough tasks, that little of w is packed twice (many rows per task) and little
of x is read twice from L3 (many columns per task). A product with a long sum and few results (the weight gradient of
a dense layer on images) is split along the sum instead, with partial results added in a fixed order.

The gradients of a product are products. Chosen for float32 and float64 whenever the sum is not empty.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from nbcnn.kernels.cpu import jit, simd, slabs
from nbcnn.kernels.cpu.blocking import ITEM, Tile, depth_in_l1, panels, register_tile
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.gemm_micro import micro_kernel
from nbcnn.kernels.cpu.gemm_pack import pack_columns, pack_rows
from nbcnn.kernels.cpu.vector_math import activate
from nbcnn.kernels.impl import Impl, Scratch
from nbcnn.ops.conv_spec import RELU, MatmulSpec

TASKS = 32  # at most, of one matrix
TASK_STEPS = 40_000  # vector multiply-adds that make a task worth its cost (about 7 us)
PACK_COST, READ_COST = 5, 12  # relative overhead: packing per row of a block, reading x per column


class Blocks(NamedTuple):
    rows: int  # of a task, a multiple of the tile's
    columns: int  # of a task, a multiple of a panel's
    depth: int  # steps per packed panel
    slabs: int  # tasks along the sum, each with a partial result
    direct: int  # 1: full panels of w are read where they are


def accepts(spec: MatmulSpec, dtype: str, caps: Caps) -> str | None:
    if dtype not in ITEM:
        return f"no {dtype}"
    return "the sum is empty" if spec.k < 1 else None


def blocks(s: MatmulSpec, tile: Tile, caps: Caps) -> Blocks:
    depth = depth_in_l1(tile, caps)
    depth = -(-s.k // -(-s.k // depth))
    wide, high = panels(s.n, tile), -(-s.m // tile.rows)
    steps = high * tile.rows * s.k * wide * tile.vectors
    wanted = max(1, min(-(-TASKS // s.batch), steps // TASK_STEPS))
    room = caps.l2 // 2 // tile.item  # of the block of y, and of the part of x for one panel
    options = []
    for across in range(1, min(wide, wanted) + 1):
        columns = -(-wide // across)
        most = max(1, min(room // (columns * tile.width), room // depth) // tile.rows)
        rows = min(-(-high // -(-wanted // across)), most)
        cost = PACK_COST / (rows * tile.rows) + READ_COST / (columns * tile.width)
        options.append((cost, columns, rows))
    _, columns, rows = min(options)
    tasks = -(-wide // columns) * -(-high // rows) * s.batch
    count = 1
    if s.batch == 1 and not s.bias and not s.act and tasks * 2 < wanted:
        count = max(1, min(slabs.slab_count(s.k, s.m * s.n, 4 * depth), wanted // tasks))
    direct = int(not s.tw and s.m <= 2 * tile.rows)
    return Blocks(rows * tile.rows, columns * tile.width, depth, count, direct)


def scratch(spec: MatmulSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    tile = register_tile(caps, dtype)
    made = blocks(spec, tile, caps)
    needed = {"panel": Scratch((caps.threads, made.depth * tile.width), dtype)}
    if made.slabs > 1:
        needed["partials"] = Scratch((made.slabs, spec.m * spec.n), dtype)
    return needed


def bind(spec: MatmulSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    x, w = inputs[0], inputs[1]
    y, dtype = outputs[0].reshape(-1), x.dtype.name
    tile = register_tile(caps, dtype)
    made = blocks(spec, tile, caps)
    bias = inputs[2] if spec.bias else np.zeros(tile.width, dtype)
    target, sums = y, []
    if made.slabs > 1:
        target = scratch["partials"].reshape(-1)
        sums = slabs.reductions(scratch["partials"], [y])
    rows = np.arange(tile.rows, dtype=np.int64) * tile.item
    x_rows, y_rows = rows * (1 if spec.tx else spec.k), rows * spec.n
    tasks = -(-spec.m // made.rows) * -(-spec.n // made.columns) * spec.batch * made.slabs
    args = (spec, made, x.reshape(-1), w.reshape(-1), bias, target, scratch["panel"], x_rows, y_rows, np.zeros(1, np.int64))
    return [Call(gemm_kernel(tile), tasks, args), *sums]


@cache
def gemm_kernel(tile: Tile):
    two, one = micro_kernel(tile, 2), micro_kernel(tile, 1)
    as_rows, as_columns, act_numbers = pack_rows(tile), pack_columns(tile), activate(tile)
    rows, lanes, width, item = tile.rows, tile.lanes, tile.width, tile.item
    number = np.float32 if item == 4 else np.float64
    lowest, zero = number(-np.inf), number(0)

    def product(task, thread, s, at, x, w, bias, y, packed, x_rows, y_rows, segments):
        across, down = (s.n + at.columns - 1) // at.columns, (s.m + at.rows - 1) // at.rows
        j0, task = task % across * at.columns, task // across
        i0, task = task % down * at.rows, task // down
        slab, entry = task % at.slabs, task // at.slabs
        i1, j1 = min(i0 + at.rows, s.m), min(j0 + at.columns, s.n)
        first, end = slab * s.k // at.slabs, (slab + 1) * s.k // at.slabs
        a = simd.address(x) + entry * s.xb * s.m * s.k * item
        b = simd.address(w) + entry * s.wb * s.k * s.n * item
        c = simd.address(y) + (slab + entry) * s.m * s.n * item
        own = simd.address(packed) + thread * packed.shape[1] * item
        a_row, a_step = (item, s.m * item) if s.tx else (s.k * item, item)
        for l in range(first, end, at.depth):
            depth = min(at.depth, end - l)
            low = zero if s.act == RELU and l + depth == end else lowest
            for j in range(j0, j1, width):
                left = s.n - j
                if s.tw:
                    as_columns(own, b + (j * s.k + l) * item, s.k * item, depth, left)
                elif not (at.direct and left >= width):
                    as_rows(own, b + (l * s.n + j) * item, s.n * item, depth, left)
                panel, step = own, min(width, (left + lanes - 1) // lanes * lanes) * item
                if at.direct and left >= width:
                    panel, step = b + (l * s.n + j) * item, s.n * item
                start = simd.address(bias) + s.bias * j * item
                for i in range(i0, i1, rows):
                    if left > lanes:
                        two(
                            a + i * a_row + l * a_step, simd.address(x_rows), a_step, simd.address(segments), 1, depth,
                            panel, step, c + (i * s.n + j) * item, simd.address(y_rows), min(rows, i1 - i), left,
                            start, int(l > first), low,
                        )
                    else:
                        one(
                            a + i * a_row + l * a_step, simd.address(x_rows), a_step, simd.address(segments), 1, depth,
                            panel, step, c + (i * s.n + j) * item, simd.address(y_rows), min(rows, i1 - i), left,
                            start, int(l > first), low,
                        )
        if s.act > RELU:
            for i in range(i0, i1):
                act_numbers(c + (i * s.n + j0) * item, j1 - j0, s.act)

    return jit.kernel(product, constants=(tile,))


gemm = Impl("gemm", accepts, bind, scratch)
