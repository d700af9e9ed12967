"""How a matrix product is cut into tasks and blocks; `gemm.py` says what they are.

Long blocks of steps, as results are most of the memory traffic: 512 steps took 1 to 3 % less time
than 256. A task's blocks of rows and columns are those with which the last thread is done first, by
the work in them and what it costs that w is packed once per block of rows and x read once per block
of columns. A part of w that two cores pack is the dearer: each line then travels between their
caches. Products with few rows and a large w, and those with a long sum and few results (the weight
gradient of a dense layer on images) are also split along the sum, with partial results added in a
fixed order.
"""

from typing import NamedTuple

from nbcnn.kernels.cpu import slabs
from nbcnn.kernels.cpu.blocking import Tile, depth_in_l1, padded_columns, panels
from nbcnn.kernels.cpu.call import Caps
from nbcnn.ops.conv_spec import MatmulSpec

TASKS = 4  # per thread, if the work is worth it
# Blocks of results, below which a long sum is split; by shape alone, as it decides the bits.
RESULTS = 16
TASK_STEPS = 40_000  # vector multiply-adds that make a task worth its cost (about 7 us)
# Per step of the sum, in vector multiply-adds: to pack w for a block of rows, as it is stored and
# transposed, per panel; to read x for a block of columns, per row.
PACK, TRANSPOSE, READ = 20, 26, 0.4
UNEVEN = 0.04  # of its time that a thread waits for others, if it had only one task
DEPTH = 512  # steps per packed panel, at most: longer sums lose digits
KEPT = 2  # times L2 that a task's packed panels take at most
RUN = 64  # rows of x, about, that go through all panels before the next rows
PACK_COLUMNS = 128  # from which packing x pays, where it pays at all
FEW = 64  # rows, up to which reading w is most of the work,
LARGE = 1 << 20  # if it has so many numbers (16x512x512 took 1.2 times as long)
SLAB_ROWS, ROW_SLABS = 32, 8  # rows, up to which the sum is cut in so many slabs then
# Results, at most, and numbers of x and w, at least, from which these are read from end to end:
# one thread, 8x56x56, 64 to 256 channels: 82 % of the peak before, 94 % so; two vary more.
STREAM_RESULTS, STREAM = 1 << 16, 1 << 21
STREAM_SLABS, STREAM_DEPTH = 4, 128  # 8 slabs or 256 steps were 1 to 3 % slower
# Rows of x at a multiple of so many bytes compete for the same lines of L1; with longer ones each
# step is on another page (two cores with 2 MB of L2, dw: 128x1280x1000 takes 0.78 of the time if
# packed, 672 -> 112 and 512x784x512 0.87).
ALIAS, LONG = 1024, 2048
LINE = 64
TURN = range(9, 513)  # rows of results that are computed transposed, if
TURN_STEPS = 2  # the sum has so many steps for each


class Blocks(NamedTuple):
    rows: int  # of a task, a multiple of the tile's
    columns: int  # of a task, a multiple of a panel's
    depth: int  # steps per packed panel
    slabs: int  # tasks along the sum, each with a partial result
    pack: int  # steps that a panel of x has room for, where x is packed; 0: read where it is
    run: int  # rows that go through a panel before the next panel; all panels are kept if not all
    rowwise: int  # 1: what of w comes next is asked for row by row, 0: panel by panel
    pitch: int  # numbers from row to row of results that are computed transposed; 0: they are not


def turned(s: MatmulSpec) -> bool:
    """Whether to compute the transposed product, as that spares transposing w."""
    plain = s.bias == 0 and s.act == 0
    # Tasks are blocks of columns then, of which there should be enough.
    return bool(s.tw) and plain and s.m in TURN and s.m <= s.n and TURN_STEPS * s.m <= s.k


def turn(s: MatmulSpec) -> MatmulSpec:
    """The product whose result is that of `s` transposed: w, then x."""
    return s._replace(m=s.n, n=s.m, tx=1 - s.tw, tw=1 - s.tx, xb=s.wb, wb=s.xb)


def blocks(s: MatmulSpec, tile: Tile, caps: Caps, turns: bool = False) -> Blocks:
    """Of a product; `turns`: the result of which is to be transposed."""
    if streams(s):
        return streamed(s, tile, caps)
    wide, high = panels(s.n, tile), -(-s.m // tile.rows)
    steps = high * tile.rows * s.k * wide * tile.vectors
    room, depth, count = caps.l2 // tile.item, DEPTH, 1
    rowwise = s.m <= FEW and s.k * s.n >= LARGE and not s.tw
    if rowwise:
        # What is asked for during a block's products is its depth in rows, one by each tile.
        most = max(32, int((room / 4 * high / tile.width) ** 0.5))
        depth = min(depth_in_l1(tile, caps), most)
    depth = padded_columns(-(-s.k // -(-s.k // depth)), tile)
    widest = max(1, (room // 4 if rowwise else room * KEPT) // (depth * tile.width))
    if rowwise and s.m <= SLAB_ROWS and s.batch == 1:
        across = -(-wide // widest)
        count = max(1, min(ROW_SLABS, s.k // (8 * s.m), steps // (across * TASK_STEPS)))
    elif s.batch == 1 and (results := wide * -(-high // 8)) < RESULTS:
        worth = steps // (8 * TASK_STEPS)
        count = max(1, min(slabs.slab_count(s.k, s.m * s.n, 512), worth, RESULTS // results))
    highest, pitch = high, 0
    if turns:
        pitch = padded_columns(s.n, tile) + tile.lanes
        widest, highest = wide, max(1, room // 2 // (pitch * tile.rows))
    packs = awkward(s, tile)
    if packs:
        highest = min(highest, max(1, room // 2 // (depth * tile.rows)))
    rows, columns = task_block(s, tile, caps, count, highest, widest, turns)
    run = rows
    if columns > 1 and not rowwise:
        run = -(-RUN // tile.rows)
    return Blocks(
        rows * tile.rows,
        columns * tile.width,
        depth,
        count,
        depth if packs and columns * tile.width >= PACK_COLUMNS else 0,
        min(rows, run) * tile.rows,
        int(rowwise),
        pitch,
    )


def streams(s: MatmulSpec) -> bool:
    """Whether x and w are read from end to end: a long sum with few results (the weight gradient of
    a 1x1 convolution), of operands that come from L3 or memory.
    """
    plain = s.bias == 0 and s.act == 0 and s.batch == 1 and s.tx and not s.tw
    return bool(plain) and s.m * s.n <= STREAM_RESULTS and s.k * (s.m + s.n) >= STREAM


def streamed(s: MatmulSpec, tile: Tile, caps: Caps) -> Blocks:
    """Tasks have all results and a part of the sum, so that a block's rows of x and of w follow
    each other in memory, and those of the next block are asked for evenly during all products.
    """
    wide, high = panels(s.n, tile), -(-s.m // tile.rows)
    steps = high * tile.rows * s.k * wide * tile.vectors
    worth = min(STREAM_SLABS, steps // (8 * TASK_STEPS))
    count = max(1, min(slabs.slab_count(s.k, s.m * s.n, 512), worth))
    each = -(-s.k // count)
    depth = padded_columns(-(-each // -(-each // STREAM_DEPTH)), tile)
    pack = depth if awkward(s, tile) and wide * tile.width >= PACK_COLUMNS else 0
    return Blocks(high * tile.rows, wide * tile.width, depth, count, pack, high * tile.rows, 1, 0)


def awkward(s: MatmulSpec, tile: Tile) -> bool:
    """Whether steps of x compete for the same lines of L1 or lie on pages of their own, or a tile's
    rows of a step, 24 bytes with AVX2, are part of a line or of two.
    """
    size = s.m * tile.item
    return bool(s.tx) and (size % ALIAS == 0 or size >= LONG or tile.lanes * tile.item < LINE)


def task_block(s: MatmulSpec, tile: Tile, caps: Caps, count, highest, widest, whole_rows):
    """(tiles, panels) of a task: those with which the last thread is done first. At most (highest,
    widest); `whole_rows`: with all columns.
    """
    wide, high = panels(s.n, tile), -(-s.m // tile.rows)
    parts, vectors = s.batch * count, -(-s.n // tile.lanes)
    steps = high * tile.rows * s.k * wide * tile.vectors
    wanted = max(1, min(-(-TASKS * caps.threads // parts), steps // TASK_STEPS))
    pack = TRANSPOSE if s.tw else PACK
    fewest, least = -(-wide // widest), -(-high // highest)
    most = fewest if whole_rows else max(fewest, min(wide, wanted))
    found = []
    for split in range(fewest, most + 1):
        columns = -(-wide // split)
        across = -(-wide // columns)
        for cut in range(least, max(least, min(high, wanted // across)) + 1):
            rows = -(-high // cut)
            down = -(-high // rows)
            tall = rows * tile.rows
            part = tall * min(columns * tile.vectors, vectors) + pack * columns + READ * tall
            whole = high * tile.rows * (vectors + READ * across) + pack * wide * down
            rounds = -(-across * down * parts // caps.threads)
            fair = whole * parts / caps.threads
            last = min(rounds * part, fair + part) * (1 + UNEVEN / rounds)
            found.append((last, rows, columns))
    return min(found)[1:]
