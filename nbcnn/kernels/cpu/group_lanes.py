"""Channels of grouped convolutions in the lanes of vectors.

Lanes are consecutive output channels, several groups of `outputs` each (or a part of one group).
Every lane of a group reads the same `inputs` channels of the source, which lie side by side, and
those of the next group follow. So what multiplies channel j's weights is a vector that holds, in
each lane, channel j of the lane's group: a fixed permutation of what one load brings.
"""

from llvmlite import ir

from nbcnn.kernels.cpu import simd
from nbcnn.kernels.cpu.blocking import Tile


def group_channels(builder, tile: Tile, inputs: int, outputs: int, address) -> list:
    """For each of a group's input channels a vector: in each lane this channel of its group.

    `address`: of the first lane's group in the source. Nothing beyond the last lane's is read.
    """
    groups = [lane // outputs for lane in range(tile.lanes)]
    parts = []
    for start in range(0, (groups[-1] + 1) * inputs, tile.lanes):
        size = min(tile.lanes, (groups[-1] + 1) * inputs - start)
        at = builder.add(address, simd.integer(start * tile.item))
        part = simd.load_vector(builder, at, simd.vector_type(size, tile.item))
        parts.append(part if size == tile.lanes else _widened(builder, part, tile))
    return [
        _gathered(builder, parts, [group * inputs + j for group in groups], tile)
        for j in range(inputs)
    ]


def _gathered(builder, parts, places, tile: Tile):
    """A vector of the numbers at `places` (None: any number), counted through all parts."""
    if len(parts) == 1:
        return _lanes(builder, parts[0], parts[0], places, tile)
    if len(parts) == 2:
        return _lanes(builder, parts[0], parts[1], places, tile)
    half = 1 << (len(parts) - 1).bit_length() - 1
    border = half * tile.lanes
    low = [place if place is not None and place < border else None for place in places]
    high = [place - border if place is not None and place >= border else None for place in places]
    halves = (
        _gathered(builder, parts[:half], low, tile),
        _gathered(builder, parts[half:], high, tile),
    )
    choice = [i if low[i] is not None else tile.lanes + i for i in range(tile.lanes)]
    return _lanes(builder, *halves, choice, tile)


def _widened(builder, part, tile: Tile):
    """A shorter vector's numbers in the first lanes of a whole one."""
    size = part.type.count
    return _lanes(builder, part, part, [min(lane, size - 1) for lane in range(tile.lanes)], tile)


def _lanes(builder, first, second, places, tile: Tile):
    """The numbers at `places` in two vectors, one after the other."""
    order = [lane if place is None else place for lane, place in enumerate(places)]
    kind = ir.VectorType(ir.IntType(32), tile.lanes)
    return builder.shuffle_vector(first, second, ir.Constant(kind, order))
