"""Least time of matrix products: what `ops.py` compares theirs with.

A product takes at least the time of its multiply-adds at the measured peak, with those that fill
vectors and register tiles; and that of moving what the last cache cannot hold from one run to the
next, at the measured bandwidth of reading memory (results are written no faster). Kernels can do
both at once, so the larger is the bound.

Vectors run along the results' rows where w is stored so; along their columns where x is stored
transposed; in either way where an operand has to be transposed anyway. Whichever loses less counts.
"""

from typing import Any, NamedTuple

from nbcnn.kernels.cpu.blocking import Tile
from nbcnn.ops.conv_spec import MatmulSpec

UNITS, LANES, MEMORY = "multiply-adds", "whole tiles", "memory"
LOST = 0.02  # of the multiply-adds, from which what fills tiles is named as the bound


class Bound(NamedTuple):
    seconds: float
    by: str


def product(args: dict[str, Any], what: str) -> MatmulSpec:
    """The product that a pass of a dense layer is."""
    m, k, n = args["m"], args["k"], args["n"]
    if what == "forward":
        return MatmulSpec(m, n, k)
    return MatmulSpec(m, k, n, tw=1) if what == "dx" else MatmulSpec(k, n, m, tx=1)


def rounded(count: int, step: int) -> int:
    return -(-count // step) * step


def results(rows: int, columns: int, tile: Tile) -> int:
    """Numbers in the vectors of all tiles: panels of single vectors have taller tiles, and fewer
    rows than a tile's may be another kernel's.
    """
    vectors = -(-columns // tile.lanes)
    if rows <= tile.rows:
        return rows * vectors * tile.lanes
    singles = vectors % tile.vectors
    height = tile.rows + tile.rows // 2
    full = rounded(rows, tile.rows) * (vectors - singles)
    return (full + rounded(rows, height) * singles) * tile.lanes


def product_bound(spec: MatmulSpec, tile: Tile, peak: float, bandwidth: float, cache: int) -> Bound:
    """Of a product; `peak` in FLOP/s, `bandwidth` in bytes/s, `cache` in bytes."""
    filled = results(spec.m, spec.n, tile)
    if spec.tx or spec.tw:
        filled = min(filled, results(spec.n, spec.m, tile))
    units = 2 * filled * spec.k / peak
    numbers = spec.m * spec.k + spec.k * spec.n + spec.m * spec.n
    memory = max(0, numbers * tile.item - cache) / bandwidth
    if memory > units:
        return Bound(memory, MEMORY)
    lost = filled / (spec.m * spec.n) - 1
    return Bound(units, LANES if lost > LOST else UNITS)
