"""Tile sizes per instruction set: what fits the registers and caches of the CPU at hand.

The register tile is `rows` x `vectors` accumulators. It needs rows * vectors + vectors + 1 vector
registers (the accumulators, one row of B, one broadcast), at least 8 independent accumulators to
cover the latency of two FMA units, and few enough rows that their addresses stay in the 15 general
registers of x86.
"""

from typing import NamedTuple

from nbcnn.kernels.cpu.call import Caps

ITEM = {"float32": 4, "float64": 8}


class Tile(NamedTuple):
    """Register tile: `rows` rows by up to `vectors` vectors of `lanes` numbers of `item` bytes."""

    rows: int
    vectors: int
    lanes: int
    item: int
    pairs: bool = False  # numbers of the operands are pairs of bfloat16

    @property
    def width(self) -> int:
        """Columns of a full panel."""
        return self.vectors * self.lanes


def register_tile(caps: Caps, dtype: str) -> Tile:
    item = ITEM[dtype]
    if caps.vector == 64:
        rows = 8
    elif caps.vector == 32:
        rows = 6
    else:
        rows = 8 if caps.registers == 32 else 4
    return Tile(rows, 2, caps.vector // item, item, caps.pairs)


def depth_in_l1(tile: Tile, caps: Caps) -> int:
    """Rows of a packed panel as large as the L1 cache.

    It is read from end to end, which is fast from L2 too, and shorter panels mean more passes over
    the results: with half of L1 the products of large matrices took 1 to 5 % longer. Twice L1 gains
    another 1 or 2 %, but such long float32 sums lose more.
    """
    return max(32, caps.l1 // (tile.width * tile.item))


def panels(columns: int, tile: Tile) -> int:
    return -(-columns // tile.width)


def padded_columns(columns: int, tile: Tile) -> int:
    """Columns of all panels together: the last panel has only the vectors it needs."""
    return -(-columns // tile.lanes) * tile.lanes
