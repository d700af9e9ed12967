"""Matrix products, blocked for the caches around the register-tiled micro-kernel.

    y[b,i,j] = act(bias[j] + sum over l of x[b,i,l] * w[b,l,j])

A task computes a block of rows x columns of one matrix. For each chunk of some 200 steps of the
sum, and each panel of w, the micro-kernel runs down the rows; its first tile packs the panel as it
multiplies (`gemm_micro.py`), so that packing costs no pass of its own. Only transposed w and a last
panel that is not full are packed before. x is packed too if its rows would compete for the same
lines of L1 and enough panels read it: rows are copied to a better distance, columns become panels
of one vector of rows. Otherwise it is read where it is, in either orientation: the tile's rows are
addresses with a free stride.

Meanwhile a tile asks, a line with each step, for what comes next: its neighbour's rows of x; the
next panel of w; where w is transposed, a square of as many rows as steps for as many panels as are
in it; where w is large and read for few rows, its rows one by one, as memory likes it (a block then
has as many steps as tiles that can ask); what of x is packed next.

The sum is short: results are most of the memory traffic, so a few tiles of rows go through all
panels before the next, and all panels are kept.

Blocks are those with which the last thread is done first, by the work in them and what it costs
that w is packed once per block of rows and x read once per block of columns. A part of w that two
cores pack is the dearer: each line then travels between their caches (512x784x512: 87 % of the peak
with four blocks of rows, 95 % with four of columns). Products with few rows and a large w, and
those with a long sum and few results (the weight gradient of a dense layer on images) are also
split along the sum, with partial results added in a fixed order.

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
from nbcnn.kernels.cpu.gemm_pack import pack_columns, pack_rows
from nbcnn.kernels.cpu.vector_math import activate
from nbcnn.kernels.impl import Impl, Scratch
from nbcnn.ops.conv_spec import RELU, MatmulSpec

TASKS = 4  # per thread, if the work is worth it
# Blocks of results, below which a long sum is split; by shape alone, as it decides the bits.
RESULTS = 16
TASK_STEPS = 40_000  # vector multiply-adds that make a task worth its cost (about 7 us)
# Per step of the sum, in vector multiply-adds: to pack w for a block of rows, as it is stored and
# transposed, per panel; to read x for a block of columns, as it is and packed before, per row.
PACK, TRANSPOSE, READ, COPY = 20, 26, 0.4, 0.5
UNEVEN = 0.04  # of its time that a thread waits for others, if it had only one task
PACK_PANELS = 4  # from which packing x pays, where it pays at all
SHORT = 64  # steps of a short sum
LEAST_ROWS = 3  # with fewer the plain loops were 1.2 to 3 times as fast
FEW = 64  # rows, up to which reading w is most of the work,
LARGE = 1 << 20  # if it has so many numbers (16x512x512 took 1.2 times as long)
SLAB_ROWS = 32  # rows, up to which the sum is cut in slabs then
ALIAS = 2048  # rows at a multiple of so many bytes compete for the same lines of L1
LINE = 64


class Blocks(NamedTuple):
    rows: int  # of a task, a multiple of the tile's
    columns: int  # of a task, a multiple of a panel's
    depth: int  # steps per packed panel
    slabs: int  # tasks along the sum, each with a partial result
    pack: int  # numbers from row to row of x as it is packed; 0: read where it is
    run: int  # rows that go through a panel before the next panel; all panels are kept if not all
    rowwise: int  # 1: what of w comes next is asked for row by row, 0: panel by panel


def accepts(spec: MatmulSpec, dtype: str, caps: Caps) -> str | None:
    if dtype not in ITEM:
        return f"no {dtype}"
    if spec.m < LEAST_ROWS:
        return f"{spec.m} rows: the packed panels would be read once"
    if spec.batch * spec.n == 0:
        return "no results"
    return "the sum is empty" if spec.k < 1 else None


def blocks(s: MatmulSpec, tile: Tile, caps: Caps) -> Blocks:
    wide, high = panels(s.n, tile), -(-s.m // tile.rows)
    steps = high * tile.rows * s.k * wide * tile.vectors
    room, widest = caps.l2 // 4 // tile.item, wide
    depth, count = depth_in_l1(tile, caps), 1
    rowwise = s.m <= FEW and s.k * s.n >= LARGE and not s.tw
    if rowwise:
        # What is asked for during a block's products is its depth in rows, one by each tile.
        depth = min(depth, max(32, int((room * high / tile.width) ** 0.5)))
        widest = max(1, room // (depth * tile.width))
    depth = padded_columns(-(-s.k // -(-s.k // depth)), tile)
    if rowwise and s.m <= SLAB_ROWS and s.batch == 1:
        across = -(-wide // widest)
        count = max(1, min(slabs.MOST, s.k // (8 * s.m), steps // (across * TASK_STEPS)))
    elif s.batch == 1 and (results := wide * -(-high // 8)) < RESULTS:
        worth = steps // (8 * TASK_STEPS)
        count = max(1, min(slabs.slab_count(s.k, s.m * s.n, 512), worth, RESULTS // results))
    awkward = s.tx or s.k * tile.item % ALIAS == 0
    rows, columns = task_block(s, tile, caps, depth, count, widest, awkward)
    pack = 0
    if awkward and columns >= PACK_PANELS:  # rows an odd number of lines apart, or as in a panel
        pack = depth if s.tx else (-(-depth * tile.item // LINE) | 1) * LINE // tile.item
    run = rows * tile.rows
    if s.k <= SHORT and columns * tile.width * depth <= 2 * room:
        run = 3 * tile.rows
    return Blocks(rows * tile.rows, columns * tile.width, depth, count, pack, run, int(rowwise))


def task_block(s: MatmulSpec, tile: Tile, caps: Caps, depth, count, widest, awkward):
    """(tiles, panels) of a task: those with which the last thread is done first.

    The part of x that all panels read is at most half of L2.
    """
    wide, high = panels(s.n, tile), -(-s.m // tile.rows)
    parts, vectors = s.batch * count, -(-s.n // tile.lanes)
    steps = high * tile.rows * s.k * wide * tile.vectors
    wanted = max(1, min(-(-TASKS * caps.threads // parts), steps // TASK_STEPS))
    least = -(-high // max(1, caps.l2 // 2 // (depth * tile.item * tile.rows)))
    pack, read = TRANSPOSE if s.tw else PACK, COPY if awkward else READ
    found = []
    for split in range(-(-wide // widest), max(-(-wide // widest), min(wide, wanted)) + 1):
        columns = -(-wide // split)
        across = -(-wide // columns)
        for cut in range(least, max(least, min(high, wanted // across)) + 1):
            rows = -(-high // cut)
            down = -(-high // rows)
            tall = rows * tile.rows
            part = tall * min(columns * tile.vectors, vectors) + pack * columns + read * tall
            whole = high * tile.rows * (vectors + read * across) + pack * wide * down
            rounds = -(-across * down * parts // caps.threads)
            fair = whole * parts / caps.threads
            last = min(rounds * part, fair + part) * (1 + UNEVEN / rounds)
            found.append((last, rows, columns))
    return min(found)[1:]


def scratch(spec: MatmulSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    tile = register_tile(caps, dtype)
    made = blocks(spec, tile, caps)
    needed = {
        "panels": Scratch(
            (caps.threads, made.depth * (made.columns if made.run < made.rows else tile.width)),
            dtype,
        )
    }
    if made.pack:
        needed["block"] = Scratch(
            (caps.threads, padded_columns(made.rows, tile) * made.pack), dtype
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
        in_panels = row // tile.lanes * made.pack * tile.lanes + row % tile.lanes
        x_rows = in_panels if spec.tx else row * made.pack
    tables = x_rows * tile.item, row * spec.n * tile.item, np.zeros(1, np.int64)
    tasks = -(-spec.m // made.rows) * -(-spec.n // made.columns) * spec.batch * made.slabs
    arrays = x.reshape(-1), w.reshape(-1), start, target, scratch["panels"], block
    return [Call(gemm_kernel(tile), tasks, (inner, made, *arrays, *tables)), *sums]


@cache
def gemm_kernel(tile: Tile):
    product = panel_product(tile, streams=True)
    as_columns, act_numbers = pack_columns(tile), activate(tile)
    one_panel, pack_x = pack_rows(tile), pack_block(tile)
    lanes, width, item = tile.lanes, tile.width, tile.item
    lines, number = max(1, width * item // LINE), np.float32 if item == 4 else np.float64
    lowest, zero = number(-np.inf), number(0)

    @jit.always_inline
    def next_of_w(s, at, b, j0, j, j1, begin, depth, end):
        """(address, step, apart, tiles) of what of w comes next, for the product of panel j."""
        panel, down, right = (j - j0) // width, s.n * item, width * item
        if s.tw and depth == s.k:  # rows of what is stored follow each other
            return b + (j + width) * s.k * item, right, LINE, lines if j + width < j1 else 0
        if s.tw:  # as many rows as steps, a line of each: all lines during as many panels
            many = max(1, depth // width)
            first, shift = j0 + (panel // many + 1) * many * width, panel % many * right
            if first < j1:
                return b + (first * s.k + begin) * item + shift, s.k * item, LINE, lines
            at_end = lines if begin + depth < end else 0
            return b + (j0 * s.k + begin + depth) * item + shift, s.k * item, LINE, at_end
        if at.rowwise:
            tiles = (min(at.rows, s.m) + tile.rows - 1) // tile.rows
            left = min(depth, end - begin - depth) - panel * tiles
            line = ((begin + depth + panel * tiles) * s.n + j0) * item
            return b + line, max(1, (j1 - j0) * item // depth), down, left
        if j + width < j1:
            return b + (begin * s.n + j + width) * item, down, LINE, lines
        return (
            b + ((begin + depth) * s.n + j0) * item,
            down,
            LINE,
            (lines if begin + depth < end else 0),
        )

    @jit.always_inline
    def next_of_x(s, at, a, row, step, depth, rows):
        """The same of the part of x that is packed next, for the product of the last panel."""
        if s.tx:
            return a + depth * step, step, LINE, rows * item // LINE
        return a + depth * step, row, LINE, depth * item // LINE

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
            x_step = lanes * item if s.tx else item
        kept = at.run < at.rows
        for begin in range(first, end, at.depth):
            depth = min(at.depth, end - begin)
            a_from = a_at = a + i0 * a_row + begin * a_step
            if at.pack:
                pack_x(a_own, a_from, s.tx, a_step if s.tx else a_row, depth, i1 - i0, at.pack)
                a_from = a_own
            low = zero if s.act == RELU and begin + depth == end else lowest
            for group in range(i0, i1, at.run):
                for j in range(j0, j1, width):
                    left = j1 - j
                    panel = own + (j - j0) * at.depth * item if kept else own
                    source, following, step, apart, tiles = 0, 0, 0, 0, 0
                    if group == i0:
                        following, step, apart, tiles = next_of_w(
                            s, at, b, j0, j, j1, begin, depth, end
                        )
                        if at.pack and left <= width and begin + depth < end:
                            following, step, apart, tiles = next_of_x(
                                s, at, a_at, a_row, a_step, depth, i1 - i0
                            )
                        if s.tw:
                            as_columns(panel, b + (j * s.k + begin) * item, s.k * item, depth, left)
                        elif left < width:
                            one_panel(panel, b + (begin * s.n + j) * item, s.n * item, depth, left)
                        else:
                            source = b + (begin * s.n + j) * item
                    product(
                        a_from,
                        simd.address(x_rows) + (group - i0) * 8,
                        x_step,
                        simd.address(segments),
                        1,
                        depth,
                        panel,
                        min(width, (left + lanes - 1) // lanes * lanes) * item,
                        c + (i0 * s.n + j) * item,
                        simd.address(y_rows) + (group - i0) * 8,
                        min(at.run, i1 - group),
                        left,
                        simd.address(bias) + s.bias * j * item,
                        int(begin > first),
                        low,
                        following,
                        step,
                        apart,
                        tiles,
                        source,
                        s.n * item,
                    )
        if s.act > RELU:
            for i in range(i0, i1):
                act_numbers(c + (i * s.n + j0) * item, j1 - j0, s.act)

    return jit.kernel(multiply, constants=(tile,))


@cache
def pack_block(tile: Tile):
    """pack(target, x, transposed, step, depth, rows, pitch): a block of x, to be read fast.

    Rows are copied to places `pitch` numbers apart. Columns (`transposed`) become panels of one
    vector of rows, with space for `pitch` steps. `step`: bytes from one stored row to the next.
    """
    as_rows = pack_rows(Tile(tile.rows, 1, tile.lanes, tile.item))
    lanes, item = tile.lanes, tile.item

    def pack(target, x, transposed, step, depth, rows, pitch):
        if transposed:
            for i in range(0, rows, lanes):
                as_rows(target + i * pitch * item, x + i * item, step, depth, rows - i)
        else:
            for i in range(rows):
                simd.copy_bytes(target + i * pitch * item, x + i * step, depth * item)

    return jit.helper(pack)


# tanh and sigmoid of sums far from 0 magnify what 200 roundings leave.
gemm = Impl("gemm", accepts, bind, scratch, rtol=1.5)
