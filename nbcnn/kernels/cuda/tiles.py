"""Tiles of results: how blocks and threads share a product's elements, and which tile is taken.

A block owns `rows` x `columns` results and goes through the sum in stages of `depth` steps, whose
operands it keeps in shared memory. A thread owns `row_quads` x `column_quads` squares of 4 x 4
results in registers: per step it reads one 128-bit word per quad of each operand, so 4 words for 64
multiply-adds with 8 x 8 results. Its quads lie a whole fraction of the tile apart, so that the
threads of a warp, 4 by 8 of them, read neighbouring words without bank conflicts.
"""

from typing import NamedTuple

from nbcnn.kernels.cuda.call import Caps

ITEM = 4  # bytes
PADDING = 4  # of a row in shared memory: stores of transposed quads then meet different banks


class Tile(NamedTuple):
    rows: int
    columns: int
    depth: int
    row_quads: int
    column_quads: int
    resident: int = 1  # blocks that a multiprocessor should hold: bounds the registers

    @property
    def threads(self) -> int:
        return self.rows * self.columns // (16 * self.row_quads * self.column_quads)

    @property
    def shared(self) -> int:
        """Bytes of shared memory: two stages of both operands."""
        return 2 * ITEM * self.depth * (self.rows + self.columns + 2 * PADDING)


LARGE = Tile(128, 128, 8, 2, 2, 2)
TALL = Tile(128, 64, 8, 2, 2, 4)
SMALL = Tile(64, 64, 16, 2, 1, 4)
NARROW = Tile(128, 32, 8, 2, 2, 6)
SIMULATED = Tile(16, 8, 4, 2, 1)

SHORTEST_SPLIT = 256  # steps of the sum below which a second pass costs more than it brings
MOST_SPLITS = 64


class Cut(NamedTuple):
    """How a product is cut: its tile, blocks along rows and columns, parts of the sum and steps in
    a part.
    """

    tile: Tile
    row_blocks: int
    column_blocks: int
    splits: int
    split_depth: int

    def whole(self) -> "Cut":
        """The same without parts of sums."""
        return self._replace(splits=1, split_depth=self.splits * self.split_depth)


def blocks(tile: Tile, m: int, n: int) -> int:
    return -(-m // tile.rows) * -(-n // tile.columns)


def tile_for(m: int, n: int, batch: int, caps: Caps) -> Tile:
    """The largest tile that fits the columns and gives every multiprocessor a block.

    Not run on a GPU: the thresholds are guesses.
    """
    if caps.simulated:
        return SIMULATED
    wide = LARGE if n > 64 else TALL if n > 32 else NARROW
    return wide if blocks(wide, m, n) * batch >= caps.multiprocessors or n <= 32 else SMALL


def cut(m: int, n: int, k: int, batch: int, caps: Caps) -> Cut:
    """Few results of long sums leave multiprocessors idle: then blocks share sums, each adding a
    part of the steps.

    The parts depend on the shapes and the kind of GPU only, so results are the same in every run.
    """
    tile = tile_for(m, n, batch, caps)
    shortest = 2 * tile.depth if caps.simulated else SHORTEST_SPLIT
    idle = 2 * caps.multiprocessors // max(blocks(tile, m, n) * batch, 1)
    splits = max(1, min(idle, k // shortest, MOST_SPLITS))
    stages = -(-k // tile.depth)
    split_depth = -(-stages // splits) * tile.depth
    return Cut(
        tile, -(-m // tile.rows), -(-n // tile.columns),
        max(1, -(-k // split_depth)) if k else 1, split_depth,
    )  # fmt: skip
