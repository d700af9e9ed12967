"""Packing the right operand of a product into panels that the micro-kernel reads from end to end.

A panel holds `width` columns: rows of `width` numbers, one per step of the sum, one after the
other, so that the inner loop touches consecutive cache lines whatever the matrix's stride was (a
stride of a power of two would map all its rows to the same few lines of the cache). The last panel
of a matrix is as wide as the vectors it needs; columns that do not exist are zeros.

`rows`: the source has the steps as rows (copy). `columns`: the source has the steps as columns
(transpose, in registers, lanes x lanes at a time).
"""

from functools import cache

from llvmlite import ir

from nbcnn.kernels.cpu import simd, types
from nbcnn.kernels.cpu.blocking import Tile
from nbcnn.kernels.cpu.simd import integer

_I32, _I64 = ir.IntType(32), ir.IntType(64)
AHEAD = 256  # bytes


class _Packer:
    """What the packings share: emission of moves between places of one vector."""

    def __init__(self, builder, tile: Tile):
        self.b, self.tile, self.size = builder, tile, tile.lanes * tile.item
        self.vector = simd.vector_type(tile.lanes, tile.item)

    def times(self, x, factor: int):
        return self.b.mul(x, integer(factor))

    def padded(self, columns):
        """`columns` rounded up to whole vectors."""
        lanes = self.tile.lanes
        return self.b.and_(self.b.add(columns, integer(lanes - 1)), integer(-lanes))

    def move(self, target, source, count):
        """One vector, of which `count` numbers exist and the rest become zeros."""
        b = self.b
        with b.if_else(b.icmp_signed(">=", count, integer(self.tile.lanes))) as (full, partial):
            with full:
                simd.store_vector(b, simd.load_vector(b, source, self.vector), target)
            with partial:
                mask = simd.first_lanes(b, count, self.tile.lanes)
                simd.store_vector(b, simd.masked_load(b, source, self.vector, mask), target)

    def rows(self, target, source, step, depth, columns):
        """A panel whose rows are rows of the source."""
        b = self.b
        row = self.times(self.padded(columns), self.tile.item)
        with simd.loop(b, depth) as line:
            to, at = b.add(target, b.mul(line, row)), b.add(source, b.mul(line, step))
            with simd.loop(b, columns, self.tile.lanes) as j:
                start = self.times(j, self.tile.item)
                self.move(b.add(to, start), b.add(at, start), b.sub(columns, j))

    def transpose(
        self, target, target_step, source, source_step, height=None, width=None, exact=False
    ):
        """A lanes x lanes block through registers; or one of which only height x width exist: the
        rest of a vector is stored as zeros or, if `exact`, not at all.
        """
        b, lanes = self.b, self.tile.lanes
        rows = []
        for i in range(lanes):
            at = b.add(source, self.times(source_step, i))
            if height is None:
                rows.append(simd.load_vector(b, at, self.vector))
            else:
                mask = b.and_(simd.first_lanes(b, width, lanes), self.exists(i, height))
                rows.append(simd.masked_load(b, at, self.vector, mask))
        rows = simd.transposed(b, rows)
        for i in range(lanes):
            at = b.add(target, self.times(target_step, i))
            if width is None:
                simd.store_vector(b, rows[i], at)
            else:
                mask = self.exists(i, width)
                if exact:
                    mask = b.and_(mask, simd.first_lanes(b, height, lanes))
                simd.masked_store(b, rows[i], at, mask)

    def transposes(self, target, target_step, source, step, height, width, exact=False):
        """A matrix of height x width, block by block along the source's rows; or, if `exact`, along
        those of the result, which otherwise are whole vectors. Those may have to come from memory,
        to be written: they are asked for.
        """
        b, lanes, item = self.b, self.tile.lanes, self.tile.item
        outer, inner = (width, height) if exact else (height, width)
        with simd.loop(b, outer, lanes) as first, simd.loop(b, inner, lanes) as second:
            i, j = (second, first) if exact else (first, second)
            to = b.add(target, b.add(b.mul(j, target_step), self.times(i, item)))
            at = b.add(source, b.add(b.mul(i, step), self.times(j, item)))
            for row in range(lanes if exact else 0):
                line = b.add(b.add(to, self.times(target_step, row)), integer(AHEAD))
                simd.prefetch(b, line, write=True)
            high, wide = b.sub(height, i), b.sub(width, j)
            least = simd.smaller(b, high, wide)
            with b.if_else(b.icmp_signed(">=", least, integer(lanes))) as (whole, part):
                with whole:
                    self.transpose(to, target_step, at, step)
                with part:
                    self.transpose(to, target_step, at, step, high, wide, exact)

    def exists(self, row: int, count):
        return simd.broadcast(self.b, self.b.icmp_signed("<", integer(row), count), self.tile.lanes)


@cache
def pack_rows(tile: Tile):
    """pack(target, source, step, depth, columns): rows of `columns` numbers, `step` bytes apart, to
    a panel.

    The panel is as wide as the vectors that hold `columns`, at most `tile.width`.
    """

    def build(builder, args):
        target, source, step, depth, columns = args
        columns = simd.smaller(builder, columns, integer(tile.width))
        _Packer(builder, tile).rows(target, source, step, depth, columns)

    return simd.emit(types.void, (types.intp,) * 5, build)


@cache
def pack_columns(tile: Tile):
    """pack(target, source, step, depth, columns): `columns` rows of `depth` numbers, `step` bytes
    apart, to a panel.

    As `pack_rows`, of the transposed source.
    """
    item = tile.item

    def build(builder, args):
        b, (target, source, step, depth, columns) = builder, args
        packer = _Packer(b, tile)
        columns = simd.smaller(b, columns, integer(tile.width))
        row = packer.times(packer.padded(columns), item)
        packer.transposes(target, row, source, step, columns, depth)

    return simd.emit(types.void, (types.intp,) * 5, build)


@cache
def transpose(tile: Tile):
    """transpose(target, target_step, source, step, depth, columns): a matrix of `columns` rows of
    `depth` numbers to one of `depth` rows; steps are the bytes from row to row.
    """

    def build(builder, args):
        target, target_step, source, step, depth, columns = args
        packer = _Packer(builder, tile)
        packer.transposes(target, target_step, source, step, columns, depth, exact=True)

    return simd.emit(types.void, (types.intp,) * 6, build)


@cache
def sum_panel(tile: Tile):
    """sum_panel(sums, panel, step, depth, columns, resume): sums of a panel's columns; `resume`:
    added to `sums`.

    `step`: bytes from one row of the panel to the next; whole vectors are read.
    """

    def build(builder, args):
        b, (sums, panel, step, depth, columns, resume) = builder, args
        packer = _Packer(b, tile)
        columns = simd.smaller(b, columns, integer(tile.width))
        zero = ir.Constant(packer.vector, [0.0] * tile.lanes)
        again = b.icmp_signed("!=", resume, integer(0))
        with simd.loop(b, columns, tile.lanes) as j:
            start = packer.times(j, tile.item)
            mask = simd.first_lanes(b, b.sub(columns, j), tile.lanes)
            target = b.add(sums, start)
            with simd.loop(b, depth, 1, [zero]) as (line, totals):
                at = b.add(b.add(panel, start), b.mul(line, step))
                totals[0] = b.fadd(totals[0], simd.load_vector(b, at, packer.vector))
            kept = b.and_(mask, simd.broadcast(b, again, tile.lanes))
            before = simd.masked_load(b, target, packer.vector, kept)
            simd.masked_store(b, b.fadd(totals[0], before), target, mask)

    return simd.emit(types.void, (types.intp,) * 6, build)
