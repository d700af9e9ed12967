"""Pooling pixels, channels in the lanes of vectors: loops over windows and their taps, with what
they find in registers.

LLVM leaves the plain loops half scalar: the loop over channels is short and mixes types (values,
one-byte indices). A pixel's channels are taken four vectors at a time, then two, then one. With
AVX-512 the last vector is under a mask. Others have no mask for bytes, and would load and store
them one by one: there the last vector ends with the last channel and may lie over channels that
were done before, which get the same results once more (16 x 37 x 29 x 20, 3x3 with stride 2,
backward: 0.27 ms with masks, 0.16 so; but with AVX-512 0.07 and 0.10, as these stores cross lines).
No other memory is touched.

All addresses and steps are in bytes: `line` and `pixel` lead to the next row and column of an
image. A winner is kept in `index` bytes, 1 or 4, or not at all where that is 0.
"""

from contextlib import contextmanager
from functools import cache

from llvmlite import ir

from nbcnn.kernels.cpu import simd, types
from nbcnn.kernels.cpu.blocking import Tile
from nbcnn.kernels.cpu.simd import integer

SEVERAL = 4  # vectors of channels at a time: independent chains of maxima or sums

_I32 = ir.IntType(32)
MASKED = 64  # bytes of vectors whose loads and stores have masks for every type


class Lanes:
    """Loads and stores of some vectors of numbers and of indices, which begin at `starts`, channels
    from the first; of the last of them under the `mask`.
    """

    def __init__(self, builder, tile: Tile, index: int, starts=None, mask=None):
        self.builder, self.tile, self.mask = builder, tile, mask
        self.starts = (integer(0),) if starts is None else starts
        self.vectors = len(self.starts)
        self.vector, self.index = simd.vector_type(tile.lanes, tile.item), index
        self.places = ir.VectorType(ir.IntType(8 * max(index, 1)), tile.lanes)

    def each(self, address, item: int):
        """Addresses of the vectors of numbers of `item` bytes."""
        return [_at(self.builder, address, (start, integer(item))) for start in self.starts]

    def numbers(self, value: float) -> list:
        return [ir.Constant(self.vector, [value] * self.tile.lanes)] * self.vectors

    @property
    def masks(self):
        return [None] * (self.vectors - 1) + [self.mask]

    def load(self, address) -> list:
        b, vector, found = self.builder, self.vector, self.each(address, self.tile.item)
        return [
            simd.load_vector(b, at, vector)
            if mask is None
            else simd.masked_load(b, at, vector, mask)
            for at, mask in zip(found, self.masks)
        ]

    def store(self, values, address) -> None:
        for value, at, mask in zip(values, self.each(address, self.tile.item), self.masks):
            if mask is None:
                simd.store_vector(self.builder, value, at)
            else:
                simd.masked_store(self.builder, value, at, mask)

    def load_places(self, address) -> list:
        found = zip(self.each(address, self.index), self.masks)
        return [self._places_at(at, mask) for at, mask in found]

    def _places_at(self, address, mask):
        pointer = self.builder.inttoptr(address, self.places.as_pointer())
        if mask is None:
            return self.builder.load(pointer, align=self.index)
        kinds = [pointer.type, _I32, mask.type, self.places]
        function = simd.declare(self.builder, self._name("load"), self.places, kinds)
        rest = ir.Constant(_I32, self.index), mask, ir.Constant(self.places, None)
        return self.builder.call(function, (pointer, *rest))

    def store_places(self, places, address) -> None:
        for value, at, mask in zip(places, self.each(address, self.index), self.masks):
            pointer = self.builder.inttoptr(at, self.places.as_pointer())
            if mask is None:
                self.builder.store(value, pointer, align=self.index)
                continue
            kinds = [self.places, pointer.type, _I32, mask.type]
            function = simd.declare(self.builder, self._name("store"), ir.VoidType(), kinds)
            align = ir.Constant(_I32, self.index)
            self.builder.call(function, (value, pointer, align, mask))

    def _name(self, what: str) -> str:
        return f"llvm.masked.{what}.v{self.tile.lanes}i{8 * self.index}.p0"

    def place(self, number):
        """A tap's number in every lane."""
        kind = self.places.element
        return simd.broadcast(self.builder, self.builder.trunc(number, kind), self.tile.lanes)


def over_channels(builder, tile: Tile, index: int, channels, body, abreast=SEVERAL) -> None:
    """Emit body(lanes, first channel) for all channels, `abreast` vectors at a time, then two, then
    one.

    Several at once because a pass over a window's taps costs more than what it does at each.
    """
    b, lanes, several = builder, tile.lanes, abreast * tile.lanes
    masks = lanes * tile.item == MASKED
    last = b.sub(channels, integer(lanes))

    def inside(k):
        return simd.first_lanes(b, b.sub(channels, k), lanes)

    def pair(k):
        second = b.add(k, integer(lanes))
        if masks:
            body(Lanes(b, tile, index, (integer(0), integer(lanes)), inside(second)), k)
        else:
            body(Lanes(b, tile, index, (integer(0), b.sub(simd.smaller(b, second, last), k))), k)

    def one(k):
        if masks:
            body(Lanes(b, tile, index, mask=inside(k)), k)
            return
        with b.if_else(b.icmp_signed(">=", channels, integer(lanes))) as (enough, few):
            with enough:
                body(Lanes(b, tile, index), last)
            with few:
                body(Lanes(b, tile, index, mask=inside(k)), k)

    many = b.sub(channels, b.urem(channels, integer(several)))
    with simd.loop(b, many, several) as k:
        body(Lanes(b, tile, index, [integer(i * lanes) for i in range(abreast)]), k)
    left = b.udiv(b.add(b.sub(channels, many), integer(lanes - 1)), integer(lanes))
    single = b.and_(left, integer(1))
    paired = b.mul(b.sub(left, single), integer(lanes))
    if abreast > 1:
        with simd.loop(b, paired, 2 * lanes) as k:
            pair(b.add(many, k))
    with b.if_then(b.icmp_signed("!=", single, integer(0))):
        one(b.add(many, paired))


@contextmanager
def _grid(builder, rows, columns, values):
    """The body of a loop over rows and columns that carries `values`: (row, column, list)."""
    with simd.loop(builder, rows, values=values) as (u, outer):
        with simd.loop(builder, columns, values=outer) as (v, inner):
            yield u, v, inner
        outer[:] = inner
    values[:] = outer


def _at(builder, base, *steps):
    """base + the sum of number * step."""
    for number, step in steps:
        base = builder.add(base, builder.mul(number, step))
    return base


@cache
def window_max(tile: Tile, index: int):
    """window_max(windows, step, x, line, pixel, rows, columns, tap, tap_line, y, indices,
    channels): the maxima of `windows` windows, `step` apart, the first from x on; each is of rows x
    columns pixels. The first of equals wins, NaN over all.

    `tap`: number of a window's first pixel; the next row's is `tap_line` further. The results'
    pixels lie one after the other.
    """
    item = integer(tile.item)

    def build(builder, args):
        windows, step, x, line, pixel, rows, columns, tap, tap_line, y, indices, channels = args
        with simd.loop(builder, windows) as j:
            first, to = _at(builder, x, (j, step)), builder.mul(j, channels)

            def body(lanes: Lanes, k):
                values = lanes.numbers(float("-inf"))
                if index:
                    values += [lanes.place(tap)] * lanes.vectors
                with _grid(builder, rows, columns, values) as (u, v, best):
                    at = _at(builder, first, (u, line), (v, pixel), (k, item))
                    number = builder.add(_at(builder, tap, (u, tap_line)), v)
                    _keep_best(builder, lanes, lanes.load(at), number, best)
                place = builder.add(to, k)
                lanes.store(values[: lanes.vectors], _at(builder, y, (place, item)))
                if index:
                    at = _at(builder, indices, (place, integer(index)))
                    lanes.store_places(values[lanes.vectors :], at)

            over_channels(builder, tile, index, channels, body)

    return simd.emit(types.void, (types.intp,) * 12, build)


def _keep_best(builder, lanes: Lanes, found, number, best) -> None:
    """Replace the maxima in `best`, and the winners that follow them, by what is better."""
    place = lanes.place(number)
    for k, value in enumerate(found):
        larger = builder.fcmp_unordered(">", value, best[k])
        better = builder.and_(larger, builder.fcmp_ordered("ord", best[k], best[k]))
        best[k] = builder.select(better, value, best[k])
        if lanes.index:
            winner = best[lanes.vectors + k]
            best[lanes.vectors + k] = builder.select(better, place, winner)


@cache
def window_mean(tile: Tile, abreast: int = SEVERAL):
    """window_mean(windows, step, x, line, pixel, rows, columns, part, y, channels): as
    `window_max`, `part` * the sums.
    """
    item = integer(tile.item)

    def build(builder, args):
        windows, step, x, line, pixel, rows, columns, part, y, channels = args
        factor = simd.broadcast(builder, part, tile.lanes)
        with simd.loop(builder, windows) as j:
            first, to = _at(builder, x, (j, step)), builder.mul(j, channels)

            def body(lanes: Lanes, k):
                totals = lanes.numbers(0.0)
                with _grid(builder, rows, columns, totals) as (u, v, sums):
                    found = lanes.load(_at(builder, first, (u, line), (v, pixel), (k, item)))
                    sums[:] = [builder.fadd(total, value) for total, value in zip(sums, found)]
                means = [builder.fmul(total, factor) for total in totals]
                lanes.store(means, _at(builder, y, (builder.add(to, k), item)))

            over_channels(builder, tile, 0, channels, body, abreast)

    return simd.emit(types.void, (*(types.intp,) * 7, _number(tile), *(types.intp,) * 2), build)


@cache
def spread_max(tile: Tile, index: int):
    """spread_max(windows, step, dy, indices, columns, tap, dx, pixel, channels): one row of the
    windows, `step` apart in dx: dx = dy at the pixel that won, if it is in this row, else 0.

    `tap`: number of the row's first pixel. Windows do not overlap.
    """
    item = integer(tile.item)

    def build(builder, args):
        windows, step, dy, indices, columns, tap, dx, pixel, channels = args
        with simd.loop(builder, windows) as j:
            first, source = _at(builder, dx, (j, step)), builder.mul(j, channels)

            def body(lanes: Lanes, k):
                place = builder.add(source, k)
                slopes = lanes.load(_at(builder, dy, (place, item)))
                winners = lanes.load_places(_at(builder, indices, (place, integer(index))))
                zeros = lanes.numbers(0.0)
                with simd.loop(builder, columns) as v:
                    number = lanes.place(builder.add(tap, v))
                    won = [builder.icmp_unsigned("==", winner, number) for winner in winners]
                    values = map(builder.select, won, slopes, zeros)
                    lanes.store(values, _at(builder, first, (v, pixel), (k, item)))

            over_channels(builder, tile, index, channels, body)

    return simd.emit(types.void, (types.intp,) * 9, build)


@cache
def spread_mean(tile: Tile):
    """spread_mean(windows, step, dy, part, columns, dx, pixel, channels): as `spread_max`, dx =
    part * dy at every pixel.
    """
    item = integer(tile.item)

    def build(builder, args):
        windows, step, dy, part, columns, dx, pixel, channels = args
        factor = simd.broadcast(builder, part, tile.lanes)
        with simd.loop(builder, windows) as j:
            first, source = _at(builder, dx, (j, step)), builder.mul(j, channels)

            def body(lanes: Lanes, k):
                slopes = lanes.load(_at(builder, dy, (builder.add(source, k), item)))
                values = [builder.fmul(slope, factor) for slope in slopes]
                with simd.loop(builder, columns) as v:
                    lanes.store(values, _at(builder, first, (v, pixel), (k, item)))

            over_channels(builder, tile, 0, channels, body)

    number = _number(tile)
    return simd.emit(types.void, (*(types.intp,) * 3, number, *(types.intp,) * 4), build)


@cache
def gather_max(tile: Tile, index: int):
    """gather_max(dy, indices, line, pixel, rows, columns, tap, tap_line, tap_pixel, dx, channels):
    one pixel of dx = the sum of dy over rows x columns windows that it has won.

    It is tap number `tap` of the first window; the number is `tap_line` and `tap_pixel` smaller
    from one row and column of windows to the next. One loop over all windows: with two, one in the
    other, 3x3 with stride 1 and 2 took 7 % longer.
    """
    item = integer(tile.item)

    def build(builder, args):
        dy, indices, line, pixel, rows, columns, tap, tap_line, tap_pixel, dx, channels = args
        line, pixel = (builder.sdiv(step, item) for step in (line, pixel))

        count = builder.mul(rows, columns)
        wrap = builder.sub(line, builder.mul(builder.sub(columns, integer(1)), pixel))
        tap_wrap = builder.sub(tap_line, builder.mul(builder.sub(columns, integer(1)), tap_pixel))

        def body(lanes: Lanes, k):
            zero, totals = lanes.numbers(0.0)[0], lanes.numbers(0.0)
            carried = [*totals, k, tap, columns]
            with simd.loop(builder, count, values=carried) as (_, now):
                *sums, place, number_at, left = now
                slopes = lanes.load(_at(builder, dy, (place, item)))
                winners = lanes.load_places(_at(builder, indices, (place, integer(index))))
                number = lanes.place(number_at)
                for i, (slope, winner) in enumerate(zip(slopes, winners)):
                    won = builder.icmp_unsigned("==", winner, number)
                    sums[i] = builder.fadd(sums[i], builder.select(won, slope, zero))
                left = builder.sub(left, integer(1))
                ends = builder.icmp_signed("==", left, integer(0))
                now[:] = [
                    *sums,
                    builder.add(place, builder.select(ends, wrap, pixel)),
                    builder.sub(number_at, builder.select(ends, tap_wrap, tap_pixel)),
                    builder.select(ends, columns, left),
                ]
            lanes.store(now[: lanes.vectors], _at(builder, dx, (k, item)))

        over_channels(builder, tile, index, channels, body)

    return simd.emit(types.void, (types.intp,) * 11, build)


@cache
def gather_mean(tile: Tile):
    """gather_mean(dy, line, pixel, rows, columns, row_parts, column_parts, dx, channels): one pixel
    of dx = the sum over rows x columns windows of dy times its share in the window's mean.

    That is row_parts[u] * column_parts[v]: addresses of numbers.
    """
    item, pointer = integer(tile.item), simd.scalar_type(tile.item).as_pointer()

    def build(builder, args):
        dy, line, pixel, rows, columns, row_parts, column_parts, dx, channels = args

        def number(base, i):
            return builder.load(builder.inttoptr(_at(builder, base, (i, item)), pointer))

        def body(lanes: Lanes, k):
            totals = lanes.numbers(0.0)
            with _grid(builder, rows, columns, totals) as (u, v, sums):
                part = builder.fmul(number(row_parts, u), number(column_parts, v))
                factor = simd.broadcast(builder, part, tile.lanes)
                slopes = lanes.load(_at(builder, dy, (u, line), (v, pixel), (k, item)))
                sums[:] = [simd.multiply_add(builder, s, factor, t) for s, t in zip(slopes, sums)]
            lanes.store(totals, _at(builder, dx, (k, item)))

        over_channels(builder, tile, 0, channels, body)

    return simd.emit(types.void, (types.intp,) * 9, build)


def _number(tile: Tile):
    return types.float32 if tile.item == 4 else types.float64
