"""Transforms of Winograd's convolutions, emitted with channels as lanes: see `winograd_maps`.

Pixels are found through the tables of `winograd_tiles`. Transformed numbers are packed as
`winograd_gemm` reads them: of each point first all of its tiles with the first chunk of channels,
one vector each, then those with the next chunk.
"""

from functools import cache

from nbcnn.kernels.cpu import simd, types
from nbcnn.kernels.cpu.blocking import Tile
from nbcnn.kernels.cpu.simd import integer
from nbcnn.kernels.cpu.winograd_maps import TAPS, Form, Vectors
from nbcnn.kernels.cpu.winograd_tiles import entry


def over_vectors(builder, tile: Tile, count, body):
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


def load(v: Vectors, address, mask):
    if mask is None:
        return simd.load_vector(v.b, address, v.vector)
    return simd.masked_load(v.b, address, v.vector, mask)


def store(v: Vectors, value, address, mask):
    if mask is None:
        simd.store_vector(v.b, value, address)
    else:
        simd.masked_store(v.b, value, address, mask)


def pixel_loader(v: Vectors, table, side, at, mask):
    """load(k): the vector at pixel k of a table, `at` bytes further."""
    return lambda k: load(v, v.b.add(entry(v.b, table, side, k), at), mask)


def point_loader(v: Vectors, source, plane):
    """load(e): the vector at point e."""
    return lambda e: simd.load_vector(v.b, v.b.add(source, v.b.mul(plane, integer(e))), v.vector)


def store_point(v: Vectors, e, number, target, plane):
    simd.store_vector(v.b, number, v.b.add(target, v.b.mul(plane, integer(e))))


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
            pixel = pixel_loader(v, table, form.side, at, mask)
            target = builder.add(values, builder.mul(k, chunk))
            for half in halves:
                for e, value in v.values(v.input, pixel, form.side, form.halves[half]):
                    store_point(v, e, value, target, plane)

        over_vectors(builder, tile, channels, body)

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
            pixel = pixel_loader(v, table, form.out, at, mask)
            target = builder.add(values, builder.mul(k, chunk))
            for e, value in v.values(v.kernel, pixel, form.out, form.halves[half]):
                store_point(v, e, value, target, plane)
            if half == 0:
                gradients = [pixel(k) for k in range(form.out**2)]
                while len(gradients) > 1:  # in pairs: short chains, small errors
                    pairs = zip(gradients[::2], gradients[1::2])
                    gradients = [builder.fadd(*pair) for pair in pairs]
                total = builder.add(sums, at)
                before = simd.load_vector(builder, total, v.vector)
                simd.store_vector(builder, builder.fadd(before, gradients[0]), total)

        over_vectors(builder, tile, filters, body)

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
            point = point_loader(v, builder.add(products, at), plane)
            target = builder.add(dw, at)
            for number in v.results(point, TAPS, rows):
                if 0 not in halves:
                    number = builder.fadd(load(v, target, mask), number)
                store(v, number, target, mask)
                target = builder.add(target, tap)

        over_vectors(builder, tile, columns, body)

    return simd.emit(types.void, (types.intp,) * 5, build)


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
            point, target = point_loader(v, builder.add(taps, at), tap), builder.add(values, at)
            for e, value in v.values(v.kernel, point, TAPS, range(form.side)):
                store_point(v, e, value, target, plane)

    return simd.emit(types.void, (types.intp,) * 5, build)
