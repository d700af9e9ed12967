"""Packing the right operand of a product into panels that the micro-kernel reads from end to end.

A panel holds `width` columns: rows of `width` numbers, one per step of the sum, one after the other, so that the
inner loop touches consecutive cache lines whatever the matrix's stride was (a stride of a power of two would map
all its rows to the same few lines of the cache). The last panel of a matrix is as wide as the vectors it needs;
columns that do not exist are zeros.

`rows`: the source has the steps as rows (copy). `columns`: the source has the steps as columns (transpose, in
registers, lanes x lanes at a time).
"""

from functools import cache

from llvmlite import ir
from numba import types
from numba.core import cgutils

from nbcnn.kernels.cpu import jit, simd
from nbcnn.kernels.cpu.blocking import Tile

_I64 = ir.IntType(64)
_I32 = ir.IntType(32)


def _int(value):
    return ir.Constant(_I64, value)


@cache
def pack_all_rows(tile: Tile):
    """pack(target, source, step, depth, columns, room): all panels of `columns`, each with space for `room` steps.

    Reads whole rows of the source one after the other, as memory and its translation like it.
    """
    spread, last = _spread(tile), pack_rows(tile)
    full_width, item = tile.width, tile.item

    def pack(target, source, step, depth, columns, room):
        full = columns // full_width
        size = full_width * item
        for l in range(depth):
            spread(target + l * size, source + l * step, full, room * size)
        if full * full_width < columns:
            last(target + full * room * size, source + full * size, step, depth, columns - full * full_width)

    return jit.helper(pack)


def _spread(tile: Tile):
    """spread(target, source, count, room): `count` panel rows that follow each other, to places `room` bytes apart."""
    size = tile.lanes * tile.item

    def build(builder, args):
        target, source, count, room = args
        vector = simd.vector_type(tile.lanes, tile.item)
        with cgutils.for_range(builder, count) as loop:
            start = builder.add(source, builder.mul(loop.index, _int(tile.vectors * size)))
            place = builder.add(target, builder.mul(loop.index, room))
            for v in range(tile.vectors):
                value = simd.load_vector(builder, builder.add(start, _int(v * size)), vector)
                simd.store_vector(builder, value, builder.add(place, _int(v * size)))

    return simd.emit(types.void, (types.intp,) * 4, build)


def _move(tile: Tile):
    """move(target, source, count): one vector, of which `count` numbers exist and the rest become zeros."""

    def build(builder, args):
        target, source, count = args
        vector = simd.vector_type(tile.lanes, tile.item)
        whole = builder.icmp_signed(">=", count, _int(tile.lanes))
        with builder.if_else(whole) as (full, partial):
            with full:
                simd.store_vector(builder, simd.load_vector(builder, source, vector), target)
            with partial:
                mask = simd.first_lanes(builder, count, tile.lanes)
                simd.store_vector(builder, simd.masked_load(builder, source, vector, mask), target)

    return simd.emit(types.void, (types.intp,) * 3, build)


@cache
def pack_rows(tile: Tile):
    """pack(target, source, step, depth, columns): rows of `columns` numbers, `step` bytes apart, to a panel.

    The panel is as wide as the vectors that hold `columns`, at most `tile.width`.
    """
    full_width, lanes, size = tile.width, tile.lanes, tile.lanes * tile.item
    move = _move(tile)

    def pack(target, source, step, depth, columns):
        columns = min(columns, full_width)
        vectors = (columns + lanes - 1) // lanes
        for l in range(depth):
            for v in range(vectors):
                move(target, source + l * step + v * size, columns - v * lanes)
                target += size

    return jit.helper(pack)


@cache
def pack_columns(tile: Tile):
    """pack(target, source, step, depth, columns): `columns` rows of `depth` numbers, `step` bytes apart, to a panel.

    As `pack_rows`, of the transposed source.
    """
    full_width, lanes, item = tile.width, tile.lanes, tile.item
    transpose, number, put = transpose_block(tile), simd.number_at(item), simd.put_number(item)

    def pack(target, source, step, depth, columns):
        columns = min(columns, full_width)
        width = (columns + lanes - 1) // lanes * lanes
        blocks = depth // lanes * lanes
        for first in range(0, width, lanes):
            inside = min(columns - first, lanes)
            start = 0
            if inside == lanes:
                for l in range(0, blocks, lanes):
                    at = source + first * step + l * item
                    transpose(target + (l * width + first) * item, width * item, at, step)
                start = blocks
            for l in range(start, depth):
                at = target + (l * width + first) * item
                for j in range(inside):
                    put(at + j * item, number(source + (first + j) * step + l * item))
                for j in range(inside, lanes):
                    put(at + j * item, 0.0)

    return jit.helper(pack)


@cache
def transpose_block(tile: Tile):
    """transpose(target, target_step, source, source_step): a lanes x lanes block, through registers."""
    lanes, item = tile.lanes, tile.item

    def build(builder, args):
        target, target_step, source, source_step = args
        vector = simd.vector_type(lanes, item)
        rows = []
        for i in range(lanes):
            at = builder.add(source, builder.mul(source_step, _int(i)))
            rows.append(simd.load_vector(builder, at, vector))
        distance = 1
        while distance < lanes:  # swap bit by bit between row number and lane number
            rows = _exchange(builder, rows, distance, lanes)
            distance *= 2
        for i in range(lanes):
            at = builder.add(target, builder.mul(target_step, _int(i)))
            simd.store_vector(builder, rows[i], at)

    return simd.emit(types.void, (types.intp,) * 4, build)


def _exchange(builder, rows, distance, lanes):
    """Rows i and i + distance exchange the lanes in which that bit of the lane number is set, clear."""
    low = [i if not i & distance else lanes + i - distance for i in range(lanes)]
    high = [i + distance if not i & distance else lanes + i for i in range(lanes)]
    kind = ir.VectorType(_I32, lanes)
    result = list(rows)
    for i in range(lanes):
        if not i & distance:
            pair = rows[i], rows[i + distance]
            result[i] = builder.shuffle_vector(*pair, ir.Constant(kind, low))
            result[i + distance] = builder.shuffle_vector(*pair, ir.Constant(kind, high))
    return result


@cache
def sum_panel(tile: Tile, vectors: int):
    """sum_panel(sums, panel, depth, columns, resume): sums of a packed panel's columns; `resume`: added to `sums`."""
    size = tile.lanes * tile.item

    def build(builder, args):
        sums, panel, depth, columns, resume = args
        vector = simd.vector_type(tile.lanes, tile.item)
        entry, loop, end = builder.block, *(builder.append_basic_block(n) for n in ("loop", "end"))
        builder.branch(loop)
        builder.position_at_end(loop)
        at, left = builder.phi(_I64), builder.phi(_I64)
        totals = [builder.phi(vector) for _ in range(vectors)]
        added = []
        for v, total in enumerate(totals):
            row = simd.load_vector(builder, builder.add(at, _int(v * size)), vector)
            added.append(builder.fadd(total, row))
        at_next, fewer = builder.add(at, _int(vectors * size)), builder.sub(left, _int(1))
        builder.cbranch(builder.icmp_signed(">", fewer, _int(0)), loop, end)
        zero = ir.Constant(vector, [0.0] * tile.lanes)
        for phi, start, following in (
            (at, panel, at_next), (left, depth, fewer), *((t, zero, a) for t, a in zip(totals, added)),
        ):
            phi.add_incoming(start, entry)
            phi.add_incoming(following, loop)
        builder.position_at_end(end)
        again = simd.broadcast(builder, builder.icmp_signed("!=", resume, _int(0)), tile.lanes)
        for v, total in enumerate(added):
            mask = simd.first_lanes(builder, builder.sub(columns, _int(v * tile.lanes)), tile.lanes)
            target = builder.add(sums, _int(v * size))
            before = simd.masked_load(builder, target, vector, builder.and_(mask, again))
            simd.masked_store(builder, builder.fadd(total, before), target, mask)

    return simd.emit(types.void, (types.intp,) * 5, build)
