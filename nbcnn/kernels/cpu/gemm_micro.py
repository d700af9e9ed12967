"""The micro-kernel: a tile of rows x vectors accumulators that stays in registers.

    C[i, :] = low-clamped( init[:] or C[i, :]  +  sum_t sum_l  A[i, t, l] * B[t, l, :] )

with free strides: row i of A starts at a + a_rows[i] + segments[t] and advances by `a_step` bytes,
the rows of B follow each other at `b_step` bytes through all segments, row i of C is at c +
c_rows[i]. This one routine is matrix multiplication in all transpositions, and direct convolution:
there the rows are output pixels and the segments kernel taps (forward and input gradient), or the
rows are channels and the segments image rows (weight gradient).

Each step loads `vectors` vectors of B, broadcasts one number of A per row, and does rows * vectors
fused multiply-adds. `llvm.fmuladd` rather than `llvm.fma`: without FMA hardware the latter is a
library call per lane. Row offsets come from tables, so that a tile may span image rows and images:
no waste at odd widths.

Fewer rows than the tile has: the missing ones repeat the last one and are not stored. Fewer
columns: B is padded (its packing sees to that), init and C are accessed under a mask.

A step of two vectors also asks for a cache line of what comes next, so that memory works during the
sum: the rows of A of the tile below; during the last tile, what follows B; or what the caller
names. It takes one of 29 instructions and brought pointwise convolutions on large images from 80 %
of the multiply-adds' peak to 95 %.
"""

from functools import cache

from llvmlite import ir

from nbcnn.kernels.cpu import simd, types
from nbcnn.kernels.cpu.blocking import Tile
from nbcnn.kernels.cpu.simd import integer

_I32, _I64 = ir.IntType(32), ir.IntType(64)


class _Emitter:
    """Emission of one tile; the IR builder and the element type at hand."""

    def __init__(self, builder, tile: Tile, vectors: int):
        self.b = builder
        self.rows, self.lanes, self.item, self.vectors = tile.rows, tile.lanes, tile.item, vectors
        self.pairs = tile.pairs
        self.scalar = simd.scalar_type(tile.item)
        self.vector = simd.vector_type(tile.lanes, tile.item)

    def step(self, x, y, total):
        """total + x * y, or + the dot products of pairs."""
        function = simd.dot_pairs if self.pairs else simd.multiply_add
        return function(self.b, x, y, total)

    def offset(self, address):
        return self.b.load(self.b.inttoptr(address, _I64.as_pointer()), align=8)

    def broadcast_at(self, address):
        number = self.b.load(self.b.inttoptr(address, self.scalar.as_pointer()), align=self.item)
        return simd.broadcast(self.b, number, self.lanes)

    def load(self, address):
        return simd.load_vector(self.b, address, self.vector)

    def offsets(self, table, count):
        """Entries 0..rows-1 of a table of 8-byte integers; past `count` the last valid one
        again.
        """
        last = self.b.sub(count, integer(1))
        found = []
        for i in range(self.rows):
            inside = self.b.icmp_signed("<", integer(i), count)
            index = self.b.select(inside, integer(i), last)
            found.append(self.offset(self.b.add(table, self.b.shl(index, integer(3)))))
        return found

    def prefetch(self, rows, beyond):
        """Bring the tile's lines of C near, to be written, or those `beyond` bytes behind them:
        they arrive during the sum.
        """
        for row in rows:
            for v in range(0, self.vectors * self.lanes * self.item, 64):
                simd.prefetch(self.b, self.b.add(row, integer(v + beyond)), write=True)

    def opaque(self, value):
        """The same integer, hidden from LLVM's loop strength reduction.

        Otherwise it keeps one running pointer per row: `rows` additions a step instead of one.
        """
        return self.b.asm(ir.FunctionType(_I64, [_I64]), "", "=r,0", (value,), side_effect=False)

    def column(self, v):
        return integer(v * self.lanes * self.item)

    def products(self, a_rows, a_step, segments, count, depth, b, b_step, ahead, packing=None):
        """The loops over segments and steps; returns the accumulators.

        `ahead`: (address, bytes) of the line to ask for in the first step, and from step to step.
        `packing`: (address, bytes) of B where it comes from, and from step to step, if it is to be
        packed on the way; address 0 if not.
        """
        builder, entry = self.b, self.b.block
        outer, segment, segment_end, done = (
            builder.append_basic_block(n) for n in ("outer", "segment", "segment_end", "done")
        )
        zero = ir.Constant(self.vector, [0.0] * self.lanes)
        cells = range(self.rows * self.vectors)
        packed = None
        if packing is None:
            builder.branch(outer)
        else:
            first = builder.append_basic_block("first")
            wanted = builder.icmp_signed("!=", packing[0], integer(0))
            builder.cbranch(wanted, first, outer)
            builder.position_at_end(first)
            starts = integer(0), b, ahead[0], packing[0]
            steps = a_step, b_step, ahead[1], packing[1]
            packed, _ = self.steps(a_rows, depth, starts, steps, [zero for _ in cells])
            packed_end = builder.block
            builder.branch(done)

        builder.position_at_end(outer)
        t, b_start = builder.phi(_I64), builder.phi(_I64)
        sums = [builder.phi(self.vector) for _ in cells]
        builder.cbranch(builder.icmp_signed("<", t, count), segment, done)

        builder.position_at_end(segment)
        a_offset = self.offset(builder.add(segments, builder.shl(t, integer(3))))
        rows = [builder.add(row, a_offset) for row in a_rows]
        starts = integer(0), b_start, builder.add(ahead[0], a_offset)
        totals, b_next = self.steps(rows, depth, starts, (a_step, b_step, ahead[1]), sums)
        builder.branch(segment_end)

        builder.position_at_end(segment_end)
        following = builder.add(t, integer(1))
        builder.branch(outer)
        for phi, start, after in (
            (t, integer(0), following),
            (b_start, b, b_next),
            *((s, zero, x) for s, x in zip(sums, totals)),
        ):
            phi.add_incoming(start, entry)
            phi.add_incoming(after, segment_end)
        builder.position_at_end(done)
        return sums if packed is None else self.either(sums, outer, packed, packed_end)

    def either(self, sums, block, others, other_block):
        """The sums of the block that came here."""
        found = [self.b.phi(self.vector) for _ in sums]
        for phi, one, other in zip(found, sums, others):
            phi.add_incoming(one, block)
            phi.add_incoming(other, other_block)
        return found

    def steps(self, rows, depth, starts, steps, sums):
        """The loop over `depth` steps from where the block ends; (accumulators, end of B).

        `starts`, `steps`: of A, B, the line to ask for, and of what is packed into B where that is.
        """
        builder, entry = self.b, self.b.block
        inner, end = builder.append_basic_block("inner"), builder.append_basic_block("inner_end")
        builder.branch(inner)
        builder.position_at_end(inner)
        left, *places = (builder.phi(_I64) for _ in range(1 + len(starts)))
        a_at, b_at, ahead_at = places[:3]
        running = [builder.phi(self.vector) for _ in sums]
        if self.vectors > 1:  # a tile of one vector has its registers full of row addresses
            simd.prefetch(builder, ahead_at)
        packs, source = len(places) > 3, places[-1] if len(places) > 3 else b_at
        b_row = [self.load(builder.add(source, self.column(v))) for v in range(self.vectors)]
        for v, value in enumerate(b_row if packs else ()):
            simd.store_vector(builder, value, builder.add(b_at, self.column(v)))
        totals = []
        for i in range(self.rows):
            x = self.broadcast_at(builder.add(rows[i], a_at))
            for v in range(self.vectors):
                totals.append(self.step(x, b_row[v], running[i * self.vectors + v]))
        fewer = builder.sub(left, integer(1))
        following = [builder.add(place, step) for place, step in zip(places, steps)]
        following[0] = self.opaque(following[0])
        builder.cbranch(builder.icmp_signed(">", fewer, integer(0)), inner, end)
        for phi, start, after in (
            (left, depth, fewer),
            *zip(places, starts, following),
            *zip(running, sums, totals),
        ):
            phi.add_incoming(start, entry)
            phi.add_incoming(after, inner)
        builder.position_at_end(end)
        return totals, following[1]

    def finish(self, sums, c_rows, starts, count, columns, low):
        """Add the starting values, clamp from below, store; under masks if the tile is not full."""
        builder = self.b
        full, partial, end = (builder.append_basic_block(n) for n in ("full", "partial", "end"))
        whole = builder.and_(
            builder.icmp_signed(">=", count, integer(self.rows)),
            builder.icmp_signed(">=", columns, integer(self.vectors * self.lanes)),
        )
        low = simd.broadcast(builder, low, self.lanes)
        builder.cbranch(whole, full, partial)

        builder.position_at_end(full)
        for i in range(self.rows):
            for v in range(self.vectors):
                start = self.load(builder.add(starts[i], self.column(v)))
                value = self.clamp(builder.fadd(sums[i * self.vectors + v], start), low)
                simd.store_vector(builder, value, builder.add(c_rows[i], self.column(v)))
        builder.branch(end)

        builder.position_at_end(partial)
        for v in range(self.vectors):
            inside = simd.first_lanes(
                builder, builder.sub(columns, integer(v * self.lanes)), self.lanes
            )
            for i in range(self.rows):
                exists = builder.icmp_signed("<", integer(i), count)
                mask = builder.and_(inside, simd.broadcast(builder, exists, self.lanes))
                start = simd.masked_load(
                    builder, builder.add(starts[i], self.column(v)), self.vector, mask
                )
                value = self.clamp(builder.fadd(sums[i * self.vectors + v], start), low)
                simd.masked_store(builder, value, builder.add(c_rows[i], self.column(v)), mask)
        builder.branch(end)
        builder.position_at_end(end)

    def clamp(self, value, low):
        """max(value, low) that keeps NaN."""
        return self.b.select(self.b.fcmp_ordered(">", low, value), low, value)


def _tile(builder, tile: Tile, vectors: int, args, ahead, packing=None, beyond=0):
    (
        a, a_table, a_step, segments, count, depth, b, b_step, c, c_table, rows, columns,
        start, resume, low,
    ) = args  # fmt: skip
    emitter = _Emitter(builder, tile, vectors)
    a_rows = [builder.add(a, offset) for offset in emitter.offsets(a_table, rows)]
    c_rows = [builder.add(c, offset) for offset in emitter.offsets(c_table, rows)]
    emitter.prefetch(c_rows, beyond)
    sums = emitter.products(a_rows, a_step, segments, count, depth, b, b_step, ahead, packing)
    again = builder.icmp_signed("!=", resume, integer(0))
    starts = [builder.select(again, row, start) for row in c_rows]
    emitter.finish(sums, c_rows, starts, rows, columns, low)


def _arguments(tile: Tile):
    return (types.intp,) * 14 + (types.float32 if tile.item == 4 else types.float64,)


@cache
def micro_kernel(tile: Tile, vectors: int):
    """A function for kernels, one tile:

        micro(a, a_rows, a_step, segments, count, depth, b, b_step, c, c_rows, rows, columns, start,
        resume, low)

    a, b, c: addresses; a_rows, c_rows: addresses of tables of `rows` byte offsets; segments:
    address of a table of `count` byte offsets in a; each segment is `depth` >= 1 steps. `rows`
    1..tile.rows and `columns` >= 1 say how much of the tile exists. `start`: address of the row
    that the sums start from (a bias, zeros); with `resume` they start from C itself. `low`: results
    are max(result, low).
    """

    def build(builder, args):
        _tile(builder, tile, vectors, args, (args[0], integer(0)))

    return simd.emit(types.void, _arguments(tile), build)


@cache
def panel_product(tile: Tile, streams: bool = False):
    """A function for kernels, all tiles below each other: arguments as of `micro_kernel`, with any
    number of `rows`.

    The panel has two vectors or, if `columns` fit, one; then tiles have half as many rows again, as
    each step loads one vector and one number per row for only one multiply-add per row.

    With `streams` there are six arguments more: (address, step, apart, tiles): tile i < tiles asks
    for the lines at address + i * apart, then `step` bytes further with each step of its sum; the
    others, or all if `tiles` is 0, as without. (source, source step): where B comes from; the first
    tile packs it on the way, `count` is 1 then. Source 0: B is there.
    """
    shapes = (2, tile), (1, tile._replace(rows=tile.rows + tile.rows // 2))

    def build(builder, args):
        args, extra = (args[:-6], args[-6:]) if streams else (args, None)
        a, a_table, *between, c_table, rows, columns, start, resume, low = args
        with builder.if_else(builder.icmp_signed(">", columns, integer(tile.lanes))) as branches:
            for (vectors, shape), branch in zip(shapes, branches):
                with branch, simd.loop(builder, rows, shape.rows) as i:
                    skip = builder.shl(i, integer(3))
                    tables = builder.add(a_table, skip), builder.add(c_table, skip)
                    left = simd.smaller(builder, builder.sub(rows, i), integer(shape.rows))
                    below = (a, tables[0], *between, tables[1], left, columns, start, resume, low)
                    ahead, packing = _following(builder, shape, below, i, rows), None
                    if extra is not None:
                        ahead = _named(builder, shape, i, extra[:4], ahead)
                    if extra is not None and vectors > 1:
                        first = builder.icmp_signed("==", i, integer(0))
                        packing = builder.select(first, extra[4], integer(0)), extra[5]
                    # Rows go through several panels: a short sum is too short to wait for C.
                    beyond = tile.width * tile.item if streams else 0
                    _tile(builder, shape, vectors, below, ahead, packing, beyond)

    return simd.emit(types.void, _arguments(tile) + (types.intp,) * 6 * streams, build)


def _following(builder, tile: Tile, args, i, rows):
    """(address, step) of what comes after a tile: the rows of A below or, at the end, what is
    behind B.
    """
    a, a_table, a_step, _, count, depth, b, b_step, *_ = args
    below = builder.icmp_signed("<", builder.add(i, integer(tile.rows)), rows)
    entry = builder.add(a_table, builder.select(below, integer(8 * tile.rows), integer(0)))
    first = builder.add(a, builder.load(builder.inttoptr(entry, _I64.as_pointer()), align=8))
    # Rows of consecutive numbers most often lie one behind the other.
    dense = builder.icmp_signed("==", a_step, integer(tile.item))
    step = builder.select(dense, integer(tile.rows * tile.item), a_step)
    end = builder.add(b, builder.mul(b_step, builder.mul(count, depth)))
    return builder.select(below, first, end), builder.select(below, step, b_step)


def _named(builder, tile: Tile, i, named, otherwise):
    """The stream that the caller names, for its tiles, or `otherwise`."""
    address, step, apart, tiles = named
    number = builder.sdiv(i, integer(tile.rows))
    wanted = builder.icmp_signed("<", number, tiles)
    start = builder.add(address, builder.mul(number, apart))
    return (
        builder.select(wanted, start, otherwise[0]),
        builder.select(wanted, step, otherwise[1]),
    )
