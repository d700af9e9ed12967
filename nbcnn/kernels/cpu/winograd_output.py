"""The output transform of Winograd's convolutions, with the tail: bias, clamp, pool.

A pool whose windows tile the outputs is taken in registers, so the full map never exists. The
maximum is taken first: bias and clamp, which keep the order, then have fewer pixels to go over.
"""

from functools import cache, reduce
from typing import NamedTuple

from llvmlite import ir

from nbcnn.kernels.cpu import simd, types
from nbcnn.kernels.cpu.blocking import Tile
from nbcnn.kernels.cpu.pool_micro import Lanes
from nbcnn.kernels.cpu.simd import integer
from nbcnn.kernels.cpu.winograd_maps import Form, Vectors
from nbcnn.kernels.cpu.winograd_tiles import entry
from nbcnn.kernels.cpu.winograd_transforms import load, over_vectors, point_loader, store


class Pool(NamedTuple):
    """In the tail: of window x window outputs the mean or the maximum. 1: none."""

    window: int = 1
    mean: bool = False


class _Tail:
    """From outputs before the bias to pixels of the target."""

    def __init__(self, builder, tile: Tile, pool: Pool, start, low):
        self.b, self.lanes, self.pool, self.start, self.low = builder, tile.lanes, pool, start, low
        self.vector = simd.vector_type(tile.lanes, tile.item)

    def finish(self, number):
        """max(low, start + number) that keeps NaN."""
        number = self.b.fadd(number, self.start)
        return self.b.select(self.b.fcmp_ordered(">", self.low, number), self.low, number)

    def pixel(self, window):
        """(value, which one won or None) of a window's outputs."""
        if self.pool.mean:
            total = reduce(self.b.fadd, [self.finish(number) for number in window])
            share = ir.Constant(self.vector, [1 / len(window)] * self.lanes)
            return self.b.fmul(total, share), None
        best, winner = window[0], self.number(0)
        for k, number in enumerate(window[1:], 1):
            # Larger, or the first that is no number.
            larger = self.b.fcmp_unordered(">", number, best)
            better = self.b.and_(larger, self.b.fcmp_ordered("ord", best, best))
            best = self.b.select(better, number, best)
            winner = self.b.select(better, self.number(k), winner)
        return self.finish(best), winner

    def number(self, k):
        return ir.Constant(ir.VectorType(ir.IntType(8), self.lanes), [k] * self.lanes)


def _windows(pixels, rows, columns, window):
    """The outputs of each window, row by row."""
    for i in range(0, rows, window):
        for j in range(0, columns, window):
            yield [pixels[(i + u) * columns + j + w] for u in range(window) for w in range(window)]


@cache
def output_transform(tile: Tile, form: Form, pool: Pool):
    """A function for kernels:

        transform(products, plane, columns, table, offset, winners, start, low)

    Products of a tile, `plane` bytes from one point to the next, become its pixels: with
    max(low, start + result) of `columns` numbers, the pool. `table`: of the target's pixels, to
    whose addresses `offset` is added. `winners`: of a maximum, the like table of bytes for which
    output of the window won, to whose addresses offset / item is added; or 0.
    """
    sides = form.rows.out, form.columns.out
    across = form.columns.out // pool.window  # pixels of the target in a row

    def build(builder, args):
        products, plane, columns, table, offset, winners, start, low = args
        v = Vectors(builder, tile, form)
        low = simd.broadcast(builder, low, tile.lanes)
        indexed = builder.icmp_signed("!=", winners, integer(0))

        def body(_, at, mask):
            point = point_loader(v, builder.add(products, at), plane)
            outputs = v.results(point, sides, range(form.rows.side))
            tail = _Tail(builder, tile, pool, load(v, builder.add(start, at), mask), low)
            found = [tail.pixel(window) for window in _windows(outputs, *sides, pool.window)]
            skip = builder.add(offset, at)
            for k, (value, _) in enumerate(found):
                store(v, value, builder.add(entry(builder, table, across, k), skip), mask)
            if pool.window > 1 and not pool.mean:
                skip = builder.udiv(skip, integer(tile.item))
                lanes = Lanes(builder, tile, 1, mask=mask)
                with builder.if_then(indexed):
                    for k, (_, winner) in enumerate(found):
                        at = builder.add(entry(builder, winners, across, k), skip)
                        lanes.store_places([winner], at)

        over_vectors(builder, tile, columns, body)

    number = types.float32 if tile.item == 4 else types.float64
    return simd.emit(types.void, (types.intp,) * 7 + (number,), build)
