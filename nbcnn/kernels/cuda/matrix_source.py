"""Matrices as operands and results of the tiled product: rows of length `ld`, in either order."""

from functools import cache
from typing import NamedTuple

from numpy import float32, int32

from nbcnn.kernels.cuda import jit, ptx
from nbcnn.kernels.cuda.tile_product import Source, Target


class Matrix(NamedTuple):
    """An operand of `places` (rows of A, columns of B) and `depth` steps, or a result of `places`
    rows; `ld` elements from row to row in memory.
    """

    places: int
    depth: int
    ld: int


@jit.inlined
def _step(o, k, numbers, at):
    numbers[at] = k


@jit.inlined
def _advance(o, numbers, at, by):
    numbers[at] = int32(numbers[at] + by)


@cache
def matrix(along_sum: bool, vector: bool) -> Source:
    """Steps of the sum are neighbours in memory, or places are. `vector`: quads of neighbours are
    whole, and at multiples of 16 bytes.
    """

    @jit.inlined
    def place(o, i, numbers, at):
        offset = int32(i * int32(o.ld)) if along_sum else i
        numbers[at] = offset if i < o.places else int32(-1)

    @jit.inlined
    def quad(o, p, base, places, i, steps, j, out, at):
        """`near` is the index along which four neighbours are taken, up to `end`."""
        offset, k = places[i], steps[j]
        inside = (offset >= 0) & (k < o.depth)
        if along_sum:
            near, end, start = k, int32(o.depth), int32(base + offset + k)
        else:
            near, end = offset, int32(o.places)
            start = int32(base + k * int32(o.ld) + offset)
        if vector:
            a = b = c = d = float32(0)
            if inside:
                a, b, c, d = ptx.load4(p, start)
            out[at], out[at + 1], out[at + 2], out[at + 3] = a, b, c, d
        else:
            for e in range(4):
                out[at + e] = p[int32(start + e)] if inside & (near + e < end) else float32(0)

    return Source(along_sum, 1, 1, place, _step, _advance, quad)


@cache
def matrix_target(vector: bool) -> Target:
    @jit.inlined
    def row(o, i):
        return int32(i * int32(o.ld)) if i < o.places else int32(-1)

    return Target(row, vector)
