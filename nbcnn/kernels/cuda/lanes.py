"""Blocks of threads over the rows of an array, and sums over the threads of a block.

*Columns*: a thread stays at its columns and walks down the rows, so what belongs to a column is
read once, and neighbouring threads read neighbouring columns. As many threads lie side by side as
a row has columns (32 at most; a tile), and the rest of the block are lanes, which take every
`lanes`-th row of the block's slab. Slabs follow from the shape alone.

*Rows*: where each row has a result of its own, several threads walk along a row together.

What the lanes have found lies in shared memory and is combined in halves upon halves, always in the
same order. Between blocks nothing is combined; a second launch does that.
"""

import threading
from typing import Any, NamedTuple

from numba import cuda

from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import Caps, Launch
from nbcnn.kernels.cuda.index import divided

THREADS, SIMULATED_THREADS = 256, 6  # 6: lanes are halved unevenly, and some have nothing
ACROSS, SIMULATED_ACROSS = 32, 4  # threads side by side, at most
NARROW, SIMULATED_NARROW = 4, 2
BLOCKS = 1024  # a GPU has room for about as many at a time
FEWEST, MOST = 8, 64  # rows a lane takes


class Columns(NamedTuple):
    """A block is `columns` x `lanes` threads and takes a tile of columns of a slab of rows."""

    columns: int
    lanes: int
    tiles: int
    rows: int  # a slab
    slabs: int

    @property
    def blocks(self) -> int:
        return self.tiles * self.slabs


class Rows(NamedTuple):
    """A block is `rows` x `lanes` threads, each row's next to each other."""

    lanes: int
    rows: int
    blocks: int


def threads(caps: Caps) -> int:
    return SIMULATED_THREADS if caps.simulated else THREADS


def columns(rows: int, across: int, caps: Caps, outer: int = 1) -> Columns:
    """For `outer` arrays of rows of `across` columns each: elements, or quads of them."""
    tiles = -(-across // (SIMULATED_ACROSS if caps.simulated else ACROSS))
    beside = max(1, -(-across // max(tiles, 1)))  # tiles of one size
    lanes = threads(caps) // beside
    each = -(-rows * tiles * outer // (lanes * BLOCKS))
    each = 1 if caps.simulated else max(FEWEST, min(MOST, each))
    return Columns(beside, lanes, tiles, lanes * each, -(-rows // (lanes * each)))


def one_slab(rows: int, across: int, caps: Caps) -> Columns:
    """For the few rows that blocks have left, in a single slab. What counts here is how many rows
    a thread reads one after the other, so blocks are narrow.
    """
    beside = max(1, min(across, SIMULATED_NARROW if caps.simulated else NARROW))
    return Columns(beside, threads(caps) // beside, -(-across // beside), rows, 1)


def along_rows(rows: int, length: int, caps: Caps) -> Rows:
    """For rows of `length` elements, or quads of them."""
    lanes = 1
    while 2 * lanes <= min(length, threads(caps)):
        lanes *= 2
    beside = threads(caps) // lanes
    return Rows(lanes, beside, -(-rows // beside))


def launch_blocks(kernel: Any, caps: Caps, blocks: int, *args: Any) -> list[Launch]:
    """The launch of so many blocks of a kernel that is made for them; none where there are none."""
    if blocks == 0:
        return []
    flat = tuple(a.reshape(a.size) if hasattr(a, "reshape") and a.ndim != 1 else a for a in args)
    return [Launch(kernel, blocks, threads(caps), flat, fixed=True)]


if jit.SIMULATED:

    def barrier():
        """All threads of the block come here before any goes on."""
        threading.current_thread().syncthreads()

else:

    @jit.device
    def barrier():
        cuda.syncthreads()


@jit.device
def place(g, block, thread, width, rows):
    """(slab, lane, first row, end of rows, first column) of a thread in a block over columns;
    `width` columns a thread. Threads to spare have a lane that does not exist.
    """
    lane, column = divided(thread, g.columns)
    slab, tile = divided(block, g.tiles)
    end = min((slab + 1) * g.rows, rows)
    return slab, lane, slab * g.rows + lane, end, (tile * g.columns + column) * width


@jit.device
def row_place(g, block, thread):
    """(row, lane) of a thread in a block over rows; for threads to spare a row beyond all, and a
    lane that does not exist.
    """
    place, lane = divided(thread, g.lanes)
    if place >= g.rows:
        return g.rows * g.blocks, g.lanes
    return block * g.rows + place, lane


@jit.device
def add_lanes(sums, at, step, lane, lanes, kinds, stride):
    """Sum over lanes what each has at `sums[at + kind * stride]`, into the place of lane 0; lanes
    are `step` apart. All threads of the block must come, with a lane that does not exist where
    they have nothing.
    """
    count = lanes
    while count > 1:
        half = (count + 1) // 2
        barrier()
        if lane + half < count:
            for kind in range(kinds):
                own = at + kind * stride
                sums[own] += sums[own + half * step]
        count = half
    barrier()


@jit.device
def max_lanes(found, at, step, lane, lanes):
    """The same for the largest number, where NaN wins."""
    count = lanes
    while count > 1:
        half = (count + 1) // 2
        barrier()
        if lane + half < count:
            other = found[at + half * step]
            if other > found[at] or other != other:
                found[at] = other
        count = half
    barrier()
