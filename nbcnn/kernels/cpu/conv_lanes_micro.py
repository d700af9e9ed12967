"""Micro-kernels of convolutions with the batch in the vector lanes: a vector is one number of an
image, for as many images as a vector has lanes.

Sweep. A tile is filters x pixels accumulators; each step of the sum, a tap and a channel, loads a
vector per pixel and broadcasts a weight per filter:

    target[pixel, filter] = max(low, bias[filter] + sum over steps of
                                source[pixel + step] * weights[step, filter])

Gradient. A tile is rows x filters accumulators, rows being weights (tap, channel); each pixel
loads a vector per row of the source and one per filter of the slope:

    sums[row, filter] = sum over pixels and lanes of source[row + pixel] * slope[pixel, filter]

The lanes of a tile's accumulators are added up at the end, all together by a tree of shuffles.

Places in the source are sums of two byte offsets from tables, one of the pixel and one of the step
or row, so any stride, dilation and padding is the same code. There is a tile for every number of
filters up to `most_filters`: to fill up six filters to eight would waste a quarter of the work.
"""

from functools import cache

from llvmlite import ir

from nbcnn.kernels.cpu import simd, types
from nbcnn.kernels.cpu.blocking import Tile
from nbcnn.kernels.cpu.simd import integer

_I32, _I64 = ir.IntType(32), ir.IntType(64)
MOST_ROWS = 8  # pixels or weights of a tile: each takes a general register for its address


def most_filters(tile: Tile) -> int:
    return tile.rows if tile.rows in (6, 8) else 6


def tile_rows(tile: Tile, filters: int) -> int:
    """Rows of a tile such that its sums, a vector per row and one of the filters' (or the other
    way round) fill the registers: 32, or 16 where the tile of `blocking.py` says so.
    """
    registers = 32 if tile.rows == 8 else 16
    return max(1, min(MOST_ROWS, (registers - 2) // (filters + 1)))


class _Emitter:
    def __init__(self, builder, tile: Tile):
        self.b, self.tile, self.size = builder, tile, tile.lanes * tile.item
        self.vector, self.scalar = (
            simd.vector_type(tile.lanes, tile.item),
            simd.scalar_type(tile.item),
        )

    def entry(self, table, index):
        """Entry `index` of a table of 8-byte integers."""
        at = self.b.add(table, self.b.shl(index, integer(3)))
        return self.b.load(self.b.inttoptr(at, _I64.as_pointer()), align=8)

    def entries(self, table, count: int):
        return [self.entry(table, integer(i)) for i in range(count)]

    def numbers(self, address, count: int):
        """Consecutive numbers, each in every lane of a vector."""
        return [
            self._number(self.b.add(address, integer(i * self.tile.item))) for i in range(count)
        ]

    def _number(self, address):
        pointer = self.b.inttoptr(address, self.scalar.as_pointer())
        return simd.broadcast(self.b, self.b.load(pointer, align=self.tile.item), self.tile.lanes)

    def vectors(self, address, count: int):
        """Consecutive vectors."""
        return [self.vector_at(self.b.add(address, integer(i * self.size))) for i in range(count)]

    def vector_at(self, address):
        return simd.load_vector(self.b, address, self.vector)

    def exists(self, index: int, count):
        """A mask: all lanes where index < count, or none."""
        condition = self.b.icmp_signed("<", integer(index), count)
        return simd.broadcast(self.b, condition, self.tile.lanes)

    def clamp(self, value, low):
        """max(value, low) that keeps NaN."""
        return self.b.select(self.b.fcmp_ordered(">", low, value), low, value)

    def by_filters(self, filters, emit):
        """Code for each number of filters, `emit(number)`."""
        for number in range(1, most_filters(self.tile) + 1):
            with self.b.if_then(self.b.icmp_signed("==", filters, integer(number))):
                emit(number)

    def times(self, x, factor: int):
        return self.b.mul(x, integer(factor))


def tile_words(tile: Tile, filters: int) -> int:
    """Words of a tile's row in the table of `sweep_tiles`."""
    return 4 + 2 * tile_rows(tile, filters)


@cache
def sweep_tiles(tile: Tile):
    """sweep(source, target, table, tiles, weights, offsets, bias, filters, low).

    All are addresses but the numbers `tiles`, `filters` and `low`. A row of the table is a tile:
    the steps of its sum, given as (first, number of runs, steps a run, steps from one run to the
    next), then byte offsets of its pixels in the source, then in the target. weights: `filters`
    numbers a step; offsets: the byte offset of a step; bias: `filters` numbers.
    """

    def build(builder, args):
        source, target, table, tiles, weights, offsets, bias, filters, low = args
        e = _Emitter(builder, tile)

        def emit(width):
            rows = tile_rows(tile, width)
            lowest = simd.broadcast(builder, low, tile.lanes)
            words = 8 * tile_words(tile, width)
            with simd.loop(builder, tiles) as number:
                row = builder.add(table, e.times(number, words))
                first, runs, length, stride, *places = e.entries(row, 4 + 2 * rows)
                pixels = [builder.add(source, at) for at in places[:rows]]
                start = [x for x in e.numbers(bias, width) for _ in range(rows)]
                with simd.loop(builder, runs, 1, start) as (run, outer):
                    begin = builder.add(first, builder.mul(run, stride))
                    step_at = builder.add(offsets, e.times(begin, 8))
                    w_at = builder.add(weights, e.times(begin, width * tile.item))
                    with simd.loop(builder, length, 1, outer) as (step, sums):
                        offset = e.entry(step_at, step)
                        x = [e.vector_at(builder.add(pixel, offset)) for pixel in pixels]
                        at = builder.add(w_at, e.times(step, width * tile.item))
                        for i, w in enumerate(e.numbers(at, width)):
                            for j in range(rows):
                                cell = i * rows + j
                                sums[cell] = simd.multiply_add(builder, x[j], w, sums[cell])
                    outer[:] = sums
                for j, at in enumerate(places[rows:]):
                    to = builder.add(target, at)
                    for i in range(width):
                        value = e.clamp(outer[i * rows + j], lowest)
                        simd.store_vector(builder, value, builder.add(to, integer(i * e.size)))

        e.by_filters(filters, emit)

    number = types.float32 if tile.item == 4 else types.float64
    return simd.emit(types.void, (*(types.intp,) * 8, number), build)


@cache
def gradient_tiles(tile: Tile):
    """gradient(source, sources, slope, step, pixels, offsets, rows, filters, sums).

    One tile, of all the rows that one has for so many filters, or of one row. source, slope:
    addresses; sources, offsets: addresses of byte offsets of pixels and rows; `step`: bytes from
    a pixel of the slope to the next; sums: address for rows x filters numbers, and up to a vector
    less one number more.
    """

    def build(builder, args):
        source, sources, slope, step, pixels, offsets, rows, filters, sums = args
        e = _Emitter(builder, tile)
        zero = ir.Constant(e.vector, [0.0] * tile.lanes)

        def product(height, width):
            places = [builder.add(source, at) for at in e.entries(offsets, height)]
            with simd.loop(builder, pixels, 1, [zero] * (height * width)) as (pixel, cells):
                at = e.entry(sources, pixel)
                dy = e.vectors(builder.add(slope, builder.mul(pixel, step)), width)
                for j, place in enumerate(places):
                    x = e.vector_at(builder.add(place, at))
                    for i in range(width):
                        cell = j * width + i
                        cells[cell] = simd.multiply_add(builder, x, dy[i], cells[cell])
            for first in range(0, height * width, tile.lanes):
                total = _lane_sums(builder, cells[first : first + tile.lanes], tile.lanes)
                simd.store_vector(builder, total, builder.add(sums, integer(first * tile.item)))

        def emit(width):
            with builder.if_else(builder.icmp_signed("==", rows, integer(1))) as (one, many):
                with one:
                    product(1, width)
                with many:
                    product(tile_rows(tile, width), width)

        e.by_filters(filters, emit)

    return simd.emit(types.void, (types.intp,) * 9, build)


@cache
def pixel_sums(tile: Tile):
    """pixel_sums(slope, step, pixels, filters, sums): per filter, over pixels and lanes; arguments
    as of `gradient_tiles`.
    """

    def build(builder, args):
        slope, step, pixels, filters, sums = args
        e = _Emitter(builder, tile)
        zero = ir.Constant(e.vector, [0.0] * tile.lanes)

        def emit(width):
            with simd.loop(builder, pixels, 1, [zero] * width) as (pixel, cells):
                dy = e.vectors(builder.add(slope, builder.mul(pixel, step)), width)
                cells[:] = [builder.fadd(cell, value) for cell, value in zip(cells, dy)]
            for first in range(0, width, tile.lanes):
                total = _lane_sums(builder, cells[first : first + tile.lanes], tile.lanes)
                simd.store_vector(builder, total, builder.add(sums, integer(first * tile.item)))

        e.by_filters(filters, emit)

    return simd.emit(types.void, (types.intp,) * 5, build)


def _lane_sums(builder, vectors, lanes: int):
    """A vector whose lane i is the sum of the lanes of vector i.

    Two vectors become one that holds what is left of both, until one vector is left: a vector's
    sum takes about three instructions.
    """
    zero = ir.Constant(vectors[0].type, [0.0] * lanes)
    level = list(vectors) + [zero] * (lanes - len(vectors))
    distance = 1
    while distance < lanes:
        orders = simd.exchange_orders(distance, lanes)
        level = [
            builder.fadd(*(builder.shuffle_vector(a, b, order) for order in orders))
            for a, b in zip(level[::2], level[1::2])
        ]
        distance *= 2
    return level[0]


@cache
def pool_windows(tile: Tile):
    """pool_windows(places, rows, columns, filters, line, height, width, mean): in place, the means
    or (`mean` 0) maxima over windows of height x width pixels that lie side by side.

    Pixels are `filters` vectors, rows of them `line` bytes. A result never lies behind the window
    that it is made from, so nothing is overwritten that is still to be read.
    """

    def build(builder, args):
        places, rows, columns, filters, line, height, width, mean = args
        b, e = builder, _Emitter(builder, tile)
        pixel = e.times(filters, e.size)
        taps = b.sitofp(b.mul(height, width), e.scalar)
        share = simd.broadcast(b, b.fdiv(ir.Constant(e.scalar, 1.0), taps), tile.lanes)
        means = b.icmp_signed("!=", mean, integer(0))
        with simd.loop(b, rows) as i, simd.loop(b, columns) as j, simd.loop(b, pixel, e.size) as f:
            corner = b.add(b.mul(b.mul(i, height), line), b.mul(b.mul(j, width), pixel))
            at = b.add(b.add(places, corner), f)
            first = e.vector_at(at)
            start = [b.select(means, ir.Constant(e.vector, [0.0] * tile.lanes), first)]
            with simd.loop(b, height, 1, start) as (u, outer):
                row = b.add(at, b.mul(u, line))
                with simd.loop(b, width, 1, outer) as (v, inner):
                    x = e.vector_at(b.add(row, b.mul(v, pixel)))
                    best = inner[0]
                    larger = b.and_(
                        b.fcmp_unordered(">", x, best), b.fcmp_ordered("ord", best, best)
                    )
                    inner[0] = b.select(means, b.fadd(best, x), b.select(larger, x, best))
                outer[:] = inner
            to = b.add(places, b.mul(b.add(b.mul(i, columns), j), pixel))
            value = b.select(means, b.fmul(outer[0], share), outer[0])
            simd.store_vector(b, value, b.add(to, f))

    return simd.emit(types.void, (types.intp,) * 8, build)


@cache
def to_images(tile: Tile):
    """to_images(target, step, source, numbers, images): `numbers` vectors to as many numbers of
    each image, `step` bytes from one image to the next.
    """

    def build(builder, args):
        target, step, source, numbers, images = args
        e, lanes = _Emitter(builder, tile), tile.lanes
        with simd.loop(builder, numbers, lanes) as first:
            at = builder.add(source, e.times(first, e.size))
            to = builder.add(target, e.times(first, tile.item))
            left = builder.sub(numbers, first)
            places = [builder.add(to, e.times(step, i)) for i in range(lanes)]
            least = simd.smaller(builder, left, images)
            whole = builder.icmp_signed(">=", least, integer(lanes))
            with builder.if_else(whole) as (all_exist, some_exist):
                with all_exist:
                    for row, place in zip(simd.transposed(builder, e.vectors(at, lanes)), places):
                        simd.store_vector(builder, row, place)
                with some_exist:
                    rows = []
                    for i in range(lanes):
                        mask, place = e.exists(i, left), builder.add(at, integer(i * e.size))
                        rows.append(simd.masked_load(builder, place, e.vector, mask))
                    inside = simd.first_lanes(builder, left, lanes)
                    for i, row in enumerate(simd.transposed(builder, rows)):
                        mask = builder.and_(inside, e.exists(i, images))
                        simd.masked_store(builder, row, places[i], mask)

    return simd.emit(types.void, (types.intp,) * 5, build)
