"""Transforms of Winograd's convolutions, emitted with channels as lanes: see `winograd_maps`.

Pixels are found through a table of addresses, row by row, each row `pitch(side)` entries long:
`window` fills it with a few vector operations, for all channels of a tile. Pixels outside an image
point elsewhere, so the transforms know nothing of borders.

Transformed numbers are packed as `winograd_gemm` reads them: of each point first all of its tiles
with the first chunk of channels, one vector each, then those with the next chunk.
"""

from functools import cache

from llvmlite import ir
from numba import types

from nbcnn.kernels.cpu import simd
from nbcnn.kernels.cpu.blocking import Tile
from nbcnn.kernels.cpu.simd import integer
from nbcnn.kernels.cpu.winograd_maps import TAPS, Form, Vectors

LINE = 64  # bytes of a cache line


def pitch(side: int) -> int:
    """Entries of a table's row."""
    return 1 << (side - 1).bit_length()


@cache
def window(side: int):
    """A function for kernels:

        window(table, base, row, pixel, i, j, h, w, elsewhere)

    Fill `table` with the addresses of side x side pixels from (i, j) of an image of h x w at
    `base`, whose rows and pixels are `row` and `pixel` bytes apart; `elsewhere` where there are
    none.
    """
    lanes, word = pitch(side), ir.IntType(64)

    def build(builder, args):
        table, base, row, pixel, i, j, h, w, elsewhere = args
        kind = ir.VectorType(word, lanes)

        def all_lanes(x):
            return simd.broadcast(builder, x, lanes)

        number = ir.Constant(kind, list(range(lanes)))
        inside = builder.icmp_unsigned("<", builder.add(all_lanes(j), number), all_lanes(w))
        start = builder.add(base, builder.add(builder.mul(i, row), builder.mul(j, pixel)))
        found = builder.add(all_lanes(start), builder.mul(all_lanes(pixel), number))
        found = builder.select(inside, found, all_lanes(elsewhere))
        step = builder.select(inside, all_lanes(row), ir.Constant(kind, [0] * lanes))
        for p in range(side):
            exists = builder.icmp_unsigned("<", builder.add(i, integer(p)), h)
            chosen = builder.select(exists, found, all_lanes(elsewhere))
            at = builder.add(table, integer(p * lanes * 8))
            builder.store(chosen, builder.inttoptr(at, kind.as_pointer()), align=8)
            found = builder.add(found, step)

    return simd.emit(types.void, (types.intp,) * 9, build)


def _over_vectors(builder, tile: Tile, count, body):
    """body(number of the vector, byte offset, mask) for `count` numbers: whole vectors (mask None),
    then the rest.
    """
    vectors = builder.udiv(count, integer(tile.lanes))
    whole = builder.mul(vectors, integer(tile.lanes))
    left = builder.sub(count, whole)
    with simd.loop(builder, vectors) as k:
        body(k, builder.mul(k, integer(tile.lanes * tile.item)), None)
    with builder.if_then(builder.icmp_signed(">", left, integer(0))):
        mask = simd.first_lanes(builder, left, tile.lanes)
        body(vectors, builder.mul(whole, integer(tile.item)), mask)


def _load(v: Vectors, address, mask):
    if mask is None:
        return simd.load_vector(v.b, address, v.vector)
    return simd.masked_load(v.b, address, v.vector, mask)


def _store(v: Vectors, value, address, mask):
    if mask is None:
        simd.store_vector(v.b, value, address)
    else:
        simd.masked_store(v.b, value, address, mask)


def _address(builder, table, side, k):
    """Entry k of a table of side x side pixels."""
    at = builder.add(table, integer(8 * (k // side * pitch(side) + k % side)))
    return builder.load(builder.inttoptr(at, ir.IntType(64).as_pointer()))


def _pixel_loader(v: Vectors, table, side, at, mask):
    """load(k): the vector at pixel k of a table, `at` bytes further."""
    return lambda k: _load(v, v.b.add(_address(v.b, table, side, k), at), mask)


def _point_loader(v: Vectors, source, plane):
    """load(e): the vector at point e."""
    return lambda e: simd.load_vector(v.b, v.b.add(source, v.b.mul(plane, integer(e))), v.vector)


def _store_point(v: Vectors, e, number, target, plane):
    simd.store_vector(v.b, number, v.b.add(target, v.b.mul(plane, integer(e))))


def _all_rows(form: Form):
    return range(form.side)


@cache
def input_transform(tile: Tile, form: Form, halves: tuple[int, ...]):
    """A function for kernels:

        transform(table, channels, values, chunk, plane)

    `table`: of the pixels of a tile. Vector k of the values at point e goes to values + k * chunk +
    e * plane (bytes), for the points in these `form.halves`; beyond `channels` they are zeros.
    """

    def build(builder, args):
        table, channels, values, chunk, plane = args
        v = Vectors(builder, tile, form)

        def body(k, at, mask):
            load = _pixel_loader(v, table, form.side, at, mask)
            target = builder.add(values, builder.mul(k, chunk))
            for half in halves:
                for e, value in v.values(v.input, load, form.side, form.halves[half]):
                    _store_point(v, e, value, target, plane)

        _over_vectors(builder, tile, channels, body)

    return simd.emit(types.void, (types.intp,) * 5, build)


@cache
def gradient_transform(tile: Tile, form: Form, half: int):
    """A function for kernels:

        transform(table, filters, values, chunk, plane, sums)

    As `input_transform`, of the gradients of a tile of outputs; with the first half their sum is
    added to `sums`.
    """

    def build(builder, args):
        table, filters, values, chunk, plane, sums = args
        v = Vectors(builder, tile, form)

        def body(k, at, mask):
            load = _pixel_loader(v, table, form.out, at, mask)
            target = builder.add(values, builder.mul(k, chunk))
            for e, value in v.values(v.kernel, load, form.out, form.halves[half]):
                _store_point(v, e, value, target, plane)
            if half == 0:
                gradients = [load(k) for k in range(form.out**2)]
                while len(gradients) > 1:  # in pairs: short chains, small errors
                    pairs = zip(gradients[::2], gradients[1::2])
                    gradients = [builder.fadd(*pair) for pair in pairs]
                total = builder.add(sums, at)
                before = simd.load_vector(builder, total, v.vector)
                simd.store_vector(builder, builder.fadd(before, gradients[0]), total)

        _over_vectors(builder, tile, filters, body)

    return simd.emit(types.void, (types.intp,) * 6, build)


@cache
def taps_transform(tile: Tile, form: Form, halves: tuple[int, ...]):
    """A function for kernels:

        transform(products, plane, columns, dw, tap)

    Sums of products at the points of these halves, `plane` bytes from one point to the next, become
    `columns` gradients of each of nine taps, `tap` bytes apart. Those of a later half are added.
    """

    def build(builder, args):
        products, plane, columns, dw, tap = args
        v = Vectors(builder, tile, form)
        rows = [row for half in halves for row in form.halves[half]]

        def body(k, at, mask):
            load = _point_loader(v, builder.add(products, at), plane)
            target = builder.add(dw, at)
            for number in v.results(load, TAPS, rows):
                if 0 not in halves:
                    number = builder.fadd(_load(v, target, mask), number)
                _store(v, number, target, mask)
                target = builder.add(target, tap)

        _over_vectors(builder, tile, columns, body)

    return simd.emit(types.void, (types.intp,) * 5, build)


@cache
def output_transform(tile: Tile, form: Form):
    """A function for kernels:

        transform(products, plane, columns, table, offset, start, low)

    Products of a tile, `plane` bytes from one point to the next, become its pixels; each is
    max(low, start + result) for `columns` numbers. `table`: of the pixels, to whose addresses
    `offset` is added.
    """

    def build(builder, args):
        products, plane, columns, table, offset, start, low = args
        v = Vectors(builder, tile, form)
        low = simd.broadcast(builder, low, tile.lanes)

        def body(k, at, mask):
            load = _point_loader(v, builder.add(products, at), plane)
            first = _load(v, builder.add(start, at), mask)
            skip = builder.add(offset, at)
            for e, number in enumerate(v.results(load, form.out, _all_rows(form))):
                number = builder.fadd(number, first)
                number = builder.select(builder.fcmp_ordered(">", low, number), low, number)
                pixel = builder.add(_address(builder, table, form.out, e), skip)
                _store(v, number, pixel, mask)

        _over_vectors(builder, tile, columns, body)

    number = types.float32 if tile.item == 4 else types.float64
    return simd.emit(types.void, (types.intp,) * 6 + (number,), build)


class _Prefetch:
    """Emission of prefetches: of lines to be written, or read, into L1 or L2."""

    def __init__(self, builder, write: bool, level: int):
        self.b, self.byte, word = builder, ir.IntType(8).as_pointer(), ir.IntType(32)
        kinds = [self.byte, word, word, word]
        self.function = simd.declare(builder, "llvm.prefetch.p0", ir.VoidType(), kinds)
        self.options = [ir.Constant(word, x) for x in (int(write), 4 - level, 1)]

    def __call__(self, address):
        self.b.call(self.function, [self.b.inttoptr(address, self.byte), *self.options])


@cache
def expect_pixels(tile: Tile, side: int):
    """A function for kernels:

        expect(table, offset)

    Bring a panel of the side x side pixels that are going to be written into L2.
    """

    def build(builder, args):
        table, offset = args
        fetch = _Prefetch(builder, True, 2)
        for k in range(side**2):
            pixel = builder.add(_address(builder, table, side, k), offset)
            for line in range(0, tile.width * tile.item, LINE):
                fetch(builder.add(pixel, integer(line)))

    return simd.emit(types.void, (types.intp,) * 2, build)


@cache
def expect_block(rows: int, columns: int, level: int):
    """A function for kernels:

        expect(base, row, pixel, size)

    Bring `size` bytes of rows x columns pixels into the cache of that level. They may lie outside
    of any array.
    """

    def build(builder, args):
        base, row, pixel, size = args
        fetch = _Prefetch(builder, False, level)
        with simd.loop(builder, size, LINE) as line:
            start = builder.add(base, line)
            for _ in range(rows):
                at = start
                for _ in range(columns):
                    fetch(at)
                    at = builder.add(at, pixel)
                start = builder.add(start, row)

    return simd.emit(types.void, (types.intp,) * 4, build)


@cache
def kernel_transform(tile: Tile, form: Form):
    """A function for kernels:

        transform(taps, tap, count, values, plane)

    `count` numbers, a multiple of the lanes, of each of nine taps, `tap` bytes apart, become values
    at the points, `plane` bytes apart.
    """

    def build(builder, args):
        taps, tap, count, values, plane = args
        v = Vectors(builder, tile, form)
        with simd.loop(builder, count, tile.lanes) as i:
            at = builder.mul(i, integer(tile.item))
            load, target = _point_loader(v, builder.add(taps, at), tap), builder.add(values, at)
            for e, value in v.values(v.kernel, load, TAPS, _all_rows(form)):
                _store_point(v, e, value, target, plane)

    return simd.emit(types.void, (types.intp,) * 5, build)
