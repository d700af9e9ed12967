"""Matrix products, blocked for the caches around the register-tiled micro-kernel.

    y[b,i,j] = act(bias[j] + sum over l of x[b,i,l] * w[b,l,j])

A task computes a block of rows x columns of one matrix. For each chunk of some 200 steps of the
sum it packs its part of w in panels (`gemm_pack.py`), then runs the micro-kernel down the rows for
each panel; meanwhile it asks for what will be packed next. x is packed too if enough panels then
read it: in panels of one vector of rows. Otherwise it is read where it is, in either orientation:
the tile's rows are addresses with a free stride.

Exceptions. The sum is short: results are most of the memory traffic, so a tile of rows goes through
all panels before the next. Few rows: reading w is most of the traffic, so it is packed by whole
rows, for all panels at once.

Blocks are chosen such that there are enough tasks, that little of w is packed twice (many rows per
task) and little of x is read twice from L3 (many columns per task). Products with few rows, where a
slab of the sum is one run through memory, and with a long sum and few results (the weight gradient
of a dense layer on images) are split along the sum instead, with partial results added in a fixed
order.

The gradients of a product are products. Chosen for float32 and float64 with three rows and more.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from nbcnn.kernels.cpu import jit, matmul_rows, simd, slabs
from nbcnn.kernels.cpu.blocking import (
    ITEM,
    Tile,
    depth_in_l1,
    padded_columns,
    panels,
    register_tile,
)
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.gemm_micro import panel_product
from nbcnn.kernels.cpu.gemm_pack import pack_all_rows, pack_columns, pack_rows
from nbcnn.kernels.cpu.vector_math import activate
from nbcnn.kernels.impl import Impl, Scratch
from nbcnn.ops.conv_spec import RELU, MatmulSpec

TASKS = 4  # per thread, if the work is worth it
RESULTS = (
    16  # blocks of results, below which a long sum is split; by shape alone, as it decides the bits
)
TASK_STEPS = 40_000  # vector multiply-adds that make a task worth its cost (about 7 us)
PACK_COST, READ_COST = (
    13,
    16,
)  # cycles per step: to pack w for a row of tiles, to read x for all columns
PACK_PANELS = 4  # from which packing x pays, where it pays at all
SHORT = 64  # steps of a short sum
LEAST_ROWS = 3  # with fewer the plain loops were 1.2 to 3 times as fast
FEW = 64  # rows, up to which w is packed by whole rows
SLAB_ROWS = 32  # rows, up to which w is read in slabs,
SLAB_NUMBERS = 1 << 20  # if it has so many numbers (16x512x512 took 1.2 times as long)
SLAB_PANELS = 32  # of a slab: rows of w are read in pieces of 4 kB
DEEP = 1024  # steps of a panel of transposed w that is read from end to end
PANELWISE, WHOLE = 0, 1
ALIAS = 2048  # rows at a multiple of so many bytes compete for the same lines of L1


class Blocks(NamedTuple):
    rows: int  # of a task, a multiple of the tile's
    columns: int  # of a task, a multiple of a panel's
    depth: int  # steps per packed panel
    slabs: int  # tasks along the sum, each with a partial result
    pack: int  # 1: x is packed, 0: read where it is
    run: int  # rows that go through a panel before the next panel
    fetch: int  # how w is packed: PANELWISE or WHOLE


def accepts(spec: MatmulSpec, dtype: str, caps: Caps) -> str | None:
    if dtype not in ITEM:
        return f"no {dtype}"
    if spec.m < LEAST_ROWS:
        return f"{spec.m} rows: the packed panels would be read once"
    if spec.batch * spec.n == 0:
        return "no results"
    return "the sum is empty" if spec.k < 1 else None


def blocks(s: MatmulSpec, tile: Tile, caps: Caps) -> Blocks:
    depth = depth_in_l1(tile, caps)
    depth = padded_columns(-(-s.k // -(-s.k // depth)), tile)
    if s.tw and s.m <= FEW and s.k <= DEEP:
        depth = s.k
    wide, high = panels(s.n, tile), -(-s.m // tile.rows)
    steps = high * tile.rows * s.k * wide * tile.vectors
    few = s.m <= SLAB_ROWS and s.k * s.n >= SLAB_NUMBERS
    if few and s.batch == 1 and not s.tw:
        return slab_blocks(s, tile, caps, steps)
    wanted = max(1, min(-(-TASKS * caps.threads // s.batch), steps // TASK_STEPS))
    # Numbers in a quarter of L2: the part of x that all panels read. Twice that: the block of y.
    room = caps.l2 // 4 // tile.item
    options = []
    for across in range(1, min(wide, wanted) + 1):
        columns = -(-wide // across)
        most = max(1, min(2 * room // (columns * tile.width), room // depth) // tile.rows)
        rows = min(-(-high // -(-wanted // across)), most)
        cost = PACK_COST / (rows * tile.rows) + READ_COST / (columns * tile.width)
        options.append((cost, columns, rows))
    _, columns, rows = min(options)
    results, count = wide * -(-high // 8), 1
    if s.batch == 1 and results < RESULTS:
        worth = steps // (8 * TASK_STEPS)
        count = max(1, min(slabs.slab_count(s.k, s.m * s.n, 512), worth, RESULTS // results))
    awkward = s.tx or s.k * tile.item % ALIAS == 0
    pack = int(awkward and columns >= PACK_PANELS)
    fetch, run = PANELWISE, rows * tile.rows
    if (s.k <= SHORT or s.m <= FEW) and columns * tile.width * depth <= 2 * room:
        fetch, run = WHOLE, 3 * tile.rows if s.k <= SHORT else run
    return Blocks(rows * tile.rows, columns * tile.width, depth, count, pack, run, fetch)


def slab_blocks(s: MatmulSpec, tile: Tile, caps: Caps, steps: int) -> Blocks:
    """Blocks of a product with few rows: all of them, so that w is read once; slabs of the sum of
    which partial results are a small part of the traffic. Half of L2 holds what is packed and what
    comes next.
    """
    wide, rows = panels(s.n, tile), -(-s.m // tile.rows) * tile.rows
    across = -(-wide // SLAB_PANELS)
    columns = -(-wide // across) * tile.width
    depth = max(32, min(depth_in_l1(tile, caps), caps.l2 // 4 // (columns * tile.item)))
    count = max(1, min(slabs.MOST, s.k // (8 * s.m), steps // (across * TASK_STEPS)))
    return Blocks(rows, columns, min(depth, padded_columns(s.k, tile)), count, 0, rows, WHOLE)


def scratch(spec: MatmulSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    tile = register_tile(caps, dtype)
    made = blocks(spec, tile, caps)
    needed = {
        "panels": Scratch(
            (caps.threads, made.depth * (made.columns if made.fetch == WHOLE else tile.width)),
            dtype,
        )
    }
    if made.pack:
        needed["block"] = Scratch(
            (caps.threads, padded_columns(made.rows, tile) * made.depth), dtype
        )
    if made.slabs > 1:
        needed["partials"] = Scratch((made.slabs, spec.m * spec.n), dtype)
    return needed


def bind(spec: MatmulSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    x, w = inputs[0], inputs[1]
    y, dtype = outputs[0].reshape(-1), x.dtype.name
    tile = register_tile(caps, dtype)
    made = blocks(spec, tile, caps)
    zeros = np.zeros(tile.width, dtype)
    start = inputs[2] if spec.bias else zeros
    target, sums, inner = y, [], spec
    if made.slabs > 1:
        sums = [matmul_rows.finish(spec, tile, scratch["partials"], start, y)]
        target, inner, start = scratch["partials"].reshape(-1), spec._replace(bias=0, act=0), zeros
    block = scratch["block"] if made.pack else np.zeros((1, 1), dtype)
    row = np.arange(made.rows, dtype=np.int64)
    x_rows = row * (1 if spec.tx else spec.k)
    if made.pack:
        x_rows = row // tile.lanes * made.depth * tile.lanes + row % tile.lanes
    tables = x_rows * tile.item, row * spec.n * tile.item, np.zeros(1, np.int64)
    tasks = -(-spec.m // made.rows) * -(-spec.n // made.columns) * spec.batch * made.slabs
    arrays = x.reshape(-1), w.reshape(-1), start, target, scratch["panels"], block
    return [Call(gemm_kernel(tile), tasks, (inner, made, *arrays, *tables)), *sums]


@cache
def gemm_kernel(tile: Tile):
    product = panel_product(tile, streams=True)
    as_rows, as_columns, act_numbers = pack_all_rows(tile), pack_columns(tile), activate(tile)
    one_panel, pack_x = pack_rows(tile), pack_block(tile)
    lanes, width, item = tile.lanes, tile.width, tile.item
    number = np.float32 if item == 4 else np.float64
    lowest, zero = number(-np.inf), number(0)

    @jit.always_inline
    def next_panel(s, at, b, j0, j, j1, begin, depth, end):
        """Address of what will be packed after the panel of column j, or 0."""
        if s.tw:  # whole rows of what is stored: they follow each other
            return b + (j + width) * s.k * item if depth == s.k and j + width < j1 else 0
        if at.fetch == PANELWISE and j + width < j1:
            return b + (begin * s.n + j + width) * item
        there = j if at.fetch == WHOLE else j0
        return b + ((begin + depth) * s.n + there) * item if begin + depth < end else 0

    def multiply(task, thread, s, at, x, w, bias, y, packed, block, x_rows, y_rows, segments):
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
        a_own, x_step = simd.address(block) + thread * block.shape[1] * item, a_step
        if at.pack:
            x_step = lanes * item
        for begin in range(first, end, at.depth):
            depth = min(at.depth, end - begin)
            a_from = a + i0 * a_row + begin * a_step
            if at.pack:
                pack_x(
                    a_own, a_from, s.tx, a_row if s.tx == 0 else a_step, depth, i1 - i0, at.depth
                )
                a_from = a_own
            low = zero if s.act == RELU and begin + depth == end else lowest
            if at.fetch == WHOLE and not s.tw:
                as_rows(own, b + (begin * s.n + j0) * item, s.n * item, depth, j1 - j0, at.depth)
            for group in range(i0, i1, at.run):
                for j in range(j0, j1, width):
                    left = j1 - j
                    panel = own + (j - j0) * at.depth * item if at.fetch == WHOLE else own
                    if group == i0 and s.tw:
                        as_columns(panel, b + (j * s.k + begin) * item, s.k * item, depth, left)
                    elif at.fetch == PANELWISE:
                        one_panel(panel, b + (begin * s.n + j) * item, s.n * item, depth, left)
                    step = min(width, (left + lanes - 1) // lanes * lanes) * item
                    start = simd.address(bias) + s.bias * j * item
                    rows = min(at.run, i1 - group)
                    following, apart = 0, width * item if s.tw else s.n * item
                    if group == i0:
                        following = next_panel(s, at, b, j0, j, j1, begin, depth, end)
                    product(
                        a_from,
                        simd.address(x_rows) + (group - i0) * 8,
                        x_step,
                        simd.address(segments),
                        1,
                        depth,
                        panel,
                        step,
                        c + (i0 * s.n + j) * item,
                        simd.address(y_rows) + (group - i0) * 8,
                        rows,
                        left,
                        start,
                        int(begin > first),
                        low,
                        following,
                        apart,
                    )
        if s.act > RELU:
            for i in range(i0, i1):
                act_numbers(c + (i * s.n + j0) * item, j1 - j0, s.act)

    return jit.kernel(multiply, constants=(tile,))


@cache
def pack_block(tile: Tile):
    """pack(target, x, transposed, step, depth, rows, room): a block of x in panels of one vector of
    rows.

    `step`: bytes from one stored row to the next; `room`: steps that a panel of the target has
    space for.
    """
    column = Tile(tile.rows, 1, tile.lanes, tile.item)
    as_rows, as_columns = pack_rows(column), pack_columns(column)
    lanes, item = tile.lanes, tile.item

    def pack(target, x, transposed, step, depth, rows, room):
        for i in range(0, rows, lanes):
            at = target + i * room * item
            if transposed:
                as_rows(at, x + i * item, step, depth, rows - i)
            else:
                as_columns(at, x + i * step, step, depth, rows - i)

    return jit.helper(pack)


# tanh and sigmoid of sums far from 0 magnify what 200 roundings leave.
gemm = Impl("gemm", accepts, bind, scratch, rtol=1.5)
