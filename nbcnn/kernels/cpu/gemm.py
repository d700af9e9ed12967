"""Matrix products, blocked for the caches around the register-tiled micro-kernel.

    y[b,i,j] = act(bias[j] + sum over l of x[b,i,l] * w[b,l,j])

A task computes a block of rows x columns of one matrix, in chunks of up to 512 steps of the sum.
Some tiles of rows of x go through all panels of w before the next rows: x comes from L1, panels
from L2, and y is written a few rows at a time. When the first rows meet a panel, their first tile
packs it as it multiplies (`gemm_micro.py`), so that packing costs no pass of its own. Only
transposed w and a last panel that is not full are packed before. x is read where it is, in either
orientation: the tile's rows are addresses with a free stride. It is packed only if it is stored
transposed, enough panels read it, and its steps would compete for the same lines of L1, are far
apart or shorter than lines: columns then become panels of one vector of rows.

Meanwhile a tile asks, a line with each step, for what comes next: its neighbour's rows of x; the
next panel of w; where w is transposed, a square of as many rows as steps for as many panels as are
in it; where w is large and read for few rows, its rows one by one, as memory likes it (a block then
has as many steps as tiles that can ask); what of x is packed next.

Transposed w with few rows of x (the input gradient of a dense layer): to transpose it takes 64
shuffles for 256 numbers, each of which is multiplied with few others. So the roles change: rows of
w, as they lie in memory, are the tile's rows, and the block of results is transposed at the end.

`gemm_blocks.py` decides about blocks. The gradients of a product are products. Chosen for float32
and float64 with three rows and more.
"""

from functools import cache

import numpy as np

from nbcnn.kernels.cpu import jit, matmul_rows, simd
from nbcnn.kernels.cpu.blocking import ITEM, Tile, padded_columns, register_tile
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.gemm_blocks import LINE, blocks, turn, turned
from nbcnn.kernels.cpu.gemm_micro import panel_product
from nbcnn.kernels.cpu.gemm_pack import pack_columns, pack_rows, transpose
from nbcnn.kernels.cpu.vector_math import activate
from nbcnn.kernels.impl import Impl, Scratch
from nbcnn.ops.conv_spec import RELU, MatmulSpec

LEAST_ROWS = 3  # with fewer the plain loops were 1.2 to 3 times as fast


def accepts(spec: MatmulSpec, dtype: str, caps: Caps) -> str | None:
    if dtype not in ITEM:
        return f"no {dtype}"
    if spec.m < LEAST_ROWS:
        return f"{spec.m} rows: the packed panels would be read once"
    if spec.batch * spec.n == 0:
        return "no results"
    return "the sum is empty" if spec.k < 1 else None


def scratch(spec: MatmulSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    tile, turns = register_tile(caps, dtype), turned(spec)
    made = blocks(turn(spec) if turns else spec, tile, caps, turns)
    wide = made.columns if made.run < made.rows else tile.width
    needed = {"panels": Scratch((caps.threads, made.depth * wide), dtype)}
    if made.pack:
        size = padded_columns(made.rows, tile) * made.pack
        needed["block"] = Scratch((caps.threads, size), dtype)
    if made.pitch:
        needed["results"] = Scratch((caps.threads, made.rows * made.pitch), dtype)
    if made.slabs > 1:
        needed["partials"] = Scratch((made.slabs, spec.m * spec.n), dtype)
    return needed


def bind(spec: MatmulSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    x, w = inputs[0], inputs[1]
    y, dtype = outputs[0].reshape(-1), x.dtype.name
    tile, turns, given = register_tile(caps, dtype), turned(spec), spec
    if turns:
        spec, x, w = turn(spec), w, x
    made = blocks(spec, tile, caps, turns)
    zeros = np.zeros(tile.width, dtype)
    start = inputs[2] if spec.bias else zeros
    target, sums, inner = y, [], spec
    if made.slabs > 1:
        sums = [matmul_rows.finish(given, tile, scratch["partials"], start, y)]
        target, inner, start = scratch["partials"].reshape(-1), spec._replace(bias=0, act=0), zeros
    own = [scratch.get(name, np.zeros((1, 1), dtype)) for name in ("panels", "block", "results")]
    row = np.arange(made.rows, dtype=np.int64)
    x_rows = row * (1 if spec.tx else spec.k)
    if made.pack:
        x_rows = row // tile.lanes * made.pack * tile.lanes + row % tile.lanes
    y_rows = row * (made.pitch or spec.n)
    tables = x_rows * tile.item, y_rows * tile.item, np.zeros(1, np.int64)
    tasks = -(-spec.m // made.rows) * -(-spec.n // made.columns) * spec.batch * made.slabs
    arrays = x.reshape(-1), w.reshape(-1), start, target, *own
    return [Call(gemm_kernel(tile), tasks, (inner, made, *arrays, *tables)), *sums]


@cache
def gemm_kernel(tile: Tile):
    product = panel_product(tile, streams=True)
    as_columns, act_numbers, turn_block = pack_columns(tile), activate(tile), transpose(tile)
    one_panel, pack_x = pack_rows(tile), pack_block(tile)
    lanes, width, item = tile.lanes, tile.width, tile.item
    lines, number = max(1, width * item // LINE), np.float32 if item == 4 else np.float64
    lowest, zero = number(-np.inf), number(0)

    @jit.always_inline
    def next_row_by_row(s, at, a, b, panel, j0, j1, begin, depth, end):
        """The same, a row of w for each tile. Where tasks have all columns, these follow each
        other: several for each tile, and in the last panels those of x that is stored transposed.
        """
        tiles = (min(at.rows, s.m) + tile.rows - 1) // tile.rows
        here, size, row = b + ((begin + depth) * s.n + j0) * item, (j1 - j0) * item, s.n * item
        many = 1
        if j1 - j0 == s.n:
            wide = (s.n + width - 1) // width
            parts = max(1, wide * s.n // (s.n + s.m)) if s.tx else wide
            if panel >= parts:
                here, size, row = a + (begin + depth) * s.m * item, s.m * item, s.m * item
                panel, parts = panel - parts, wide - parts
            many = (depth + tiles * parts - 1) // (tiles * parts)
        done = panel * tiles * many
        left = max(0, min(depth, end - begin - depth) - done)
        return (
            here + done * row,
            max(1, many * size // depth),
            many * row,
            (left + many - 1) // many,
        )

    @jit.always_inline
    def next_of_w(s, at, a, b, j0, j, j1, begin, depth, end):
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
            return next_row_by_row(s, at, a, b, panel, j0, j1, begin, depth, end)
        if j + width < j1:
            return b + (begin * s.n + j + width) * item, down, LINE, lines
        return (
            b + ((begin + depth) * s.n + j0) * item,
            down,
            LINE,
            (lines if begin + depth < end else 0),
        )

    def multiply(
        task, thread, s, at, x, w, bias, y, packed, block, results, x_rows, y_rows, segments
    ):  # fmt: skip
        across, down = (s.n + at.columns - 1) // at.columns, (s.m + at.rows - 1) // at.rows
        j0, task = task % across * at.columns, task // across
        i0, task = task % down * at.rows, task // down
        slab, entry = task % at.slabs, task // at.slabs
        i1, j1 = min(i0 + at.rows, s.m), min(j0 + at.columns, s.n)
        first, end = slab * s.k // at.slabs, (slab + 1) * s.k // at.slabs
        a = simd.address(x) + entry * s.xb * s.m * s.k * item
        b = simd.address(w) + entry * s.wb * s.k * s.n * item
        y_at = simd.address(y) + (slab + entry) * s.m * s.n * item
        c = y_at + (i0 * s.n + j0) * item
        if at.pitch:
            c = simd.address(results) + thread * results.shape[1] * item
        own = simd.address(packed) + thread * packed.shape[1] * item
        a_row, a_step = (item, s.m * item) if s.tx else (s.k * item, item)
        a_own, x_step = simd.address(block) + thread * block.shape[1] * item, a_step
        if at.pack:
            x_step = lanes * item
        kept = at.run < at.rows
        for begin in range(first, end, at.depth):
            depth = min(at.depth, end - begin)
            a_from = a_at = a + i0 * a_row + begin * a_step
            if at.pack:
                pack_x(a_own, a_from, a_step, depth, i1 - i0, at.pack)
                a_from = a_own
            low = zero if s.act == RELU and begin + depth == end else lowest
            for group in range(i0, i1, at.run):
                for j in range(j0, j1, width):
                    left = j1 - j
                    panel = own + (j - j0) * at.depth * item if kept else own
                    source, following, step, apart, tiles = 0, 0, 0, 0, 0
                    if group == i0:
                        following, step, apart, tiles = next_of_w(
                            s, at, a, b, j0, j, j1, begin, depth, end
                        )
                        if at.pack and left <= width and begin + depth < end:
                            following, step = a_at + depth * a_step, a_step
                            apart, tiles = LINE, (i1 - i0) * item // LINE
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
                        c + (j - j0) * item,
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
                act_numbers(y_at + (i * s.n + j0) * item, j1 - j0, s.act)
        if at.pitch:
            turn_block(y_at + i0 * item, s.m * item, c, at.pitch * item, s.n, i1 - i0)

    return jit.kernel(multiply, constants=(tile,))


@cache
def pack_block(tile: Tile):
    """pack(target, x, step, depth, rows, pitch): columns of x become panels of one vector of rows.

    A panel has space for `pitch` steps. `step`: bytes from one stored row to the next.
    """
    as_rows = pack_rows(Tile(tile.rows, 1, tile.lanes, tile.item))
    lanes, item = tile.lanes, tile.item

    def pack(target, x, step, depth, rows, pitch):
        for i in range(0, rows, lanes):
            as_rows(target + i * pitch * item, x + i * item, step, depth, rows - i)

    return jit.helper(pack)


# tanh and sigmoid of sums far from 0 magnify what 200 roundings leave.
gemm = Impl("gemm", accepts, bind, scratch, rtol=1.5)
