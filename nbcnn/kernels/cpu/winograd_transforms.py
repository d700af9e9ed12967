"""Transforms of Winograd's convolutions, emitted with channels as lanes: see `winograd_maps`.

Pixels are found through the tables of `winograd_tiles`. Transformed numbers are packed as
`winograd_gemm` reads them: of each point first all of its tiles with the first chunk of channels,
one vector each, then those with the next chunk.
"""

from functools import cache

from nbcnn.kernels.cpu import simd, types
from nbcnn.kernels.cpu.blocking import Tile
from nbcnn.kernels.cpu.simd import integer
from nbcnn.kernels.cpu.winograd_maps import Form, Vectors
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


def pixel_loader(v: Vectors, table, columns, at, mask):
    """load(k): the vector at pixel k of a table, `at` bytes further."""
    return lambda k: load(v, v.b.add(entry(v.b, table, columns, k), at), mask)


def point_loader(v: Vectors, source, plane):
    """load(e): the vector at point e."""
    return lambda e: simd.load_vector(v.b, v.b.add(source, v.b.mul(plane, integer(e))), v.vector)


def store_point(v: Vectors, e, number, target, plane):
    simd.store_vector(v.b, number, v.b.add(target, v.b.mul(plane, integer(e))))


def over_parts(builder, form: Form, wanted):
    """(number, rows of points) of each part; its code runs where bit `number` of `wanted` is set.
    Where there is but one part it always runs.
    """
    parts = form.parts
    for number, part in enumerate(parts):
        if len(parts) == 1:
            yield number, part
            return
        bit = builder.and_(wanted, integer(1 << number))
        with builder.if_then(builder.icmp_signed("!=", bit, integer(0))):
            yield number, part


@cache
def input_transform(tile: Tile, form: Form):
    """A function for kernels:

        transform(table, channels, values, chunk, plane, wanted)

    `table`: of the pixels of a tile. Vector k of the values at point e goes to values + k * chunk +
    e * plane (bytes), for the points in the `form.parts` whose bits are set in `wanted`; beyond
    `channels` they are zeros.
    """

    def build(builder, args):
        table, channels, values, chunk, plane, wanted = args
        v = Vectors(builder, tile, form)

        for _, part in over_parts(builder, form, wanted):

            def body(k, at, mask):
                pixel = pixel_loader(v, table, form.columns.side, at, mask)
                target = builder.add(values, builder.mul(k, chunk))
                for e, value in v.input(pixel, part):
                    store_point(v, e, value, target, plane)

            over_vectors(builder, tile, channels, body)

    return simd.emit(types.void, (types.intp,) * 6, build)


@cache
def gradient_transform(tile: Tile, form: Form):
    """A function for kernels:

        transform(table, filters, values, chunk, plane, wanted, sums)

    As `input_transform`, of the gradients of a tile of outputs; with the first part their sum is
    added to `sums`.
    """
    sides = form.rows.out, form.columns.out

    def build(builder, args):
        table, filters, values, chunk, plane, wanted, sums = args
        v = Vectors(builder, tile, form)

        for number, part in over_parts(builder, form, wanted):

            def body(k, at, mask):
                pixel = pixel_loader(v, table, sides[1], at, mask)
                target = builder.add(values, builder.mul(k, chunk))
                for e, value in v.kernel(pixel, sides, part):
                    store_point(v, e, value, target, plane)
                if number == 0:
                    gradients = [pixel(k) for k in range(form.outputs)]
                    while len(gradients) > 1:  # in pairs: short chains, small errors
                        pairs = zip(gradients[::2], gradients[1::2])
                        gradients = [builder.fadd(*pair) for pair in pairs]
                    total = builder.add(sums, at)
                    before = simd.load_vector(builder, total, v.vector)
                    simd.store_vector(builder, builder.fadd(before, gradients[0]), total)

            over_vectors(builder, tile, filters, body)

    return simd.emit(types.void, (types.intp,) * 7, build)


@cache
def taps_transform(tile: Tile, form: Form):
    """A function for kernels:

        transform(products, plane, columns, dw, tap, wanted)

    Sums of products at the points of these parts, `plane` bytes from one point to the next, become
    `columns` gradients of each tap, `tap` bytes apart. Those of parts but the first are added.
    """
    sides = form.rows.taps, form.columns.taps

    def build(builder, args):
        products, plane, columns, dw, tap, wanted = args
        v = Vectors(builder, tile, form)

        for number, part in over_parts(builder, form, wanted):

            def body(k, at, mask):
                point = point_loader(v, builder.add(products, at), plane)
                target = builder.add(dw, at)
                for value in v.results(point, sides, part):
                    if number > 0:
                        value = builder.fadd(load(v, target, mask), value)
                    store(v, value, target, mask)
                    target = builder.add(target, tap)

            over_vectors(builder, tile, columns, body)

    return simd.emit(types.void, (types.intp,) * 6, build)


@cache
def kernel_transform(tile: Tile, form: Form):
    """A function for kernels:

        transform(taps, tap, count, values, plane)

    `count` numbers, a multiple of the lanes, of each tap, `tap` bytes apart, become values at the
    points, `plane` bytes apart.
    """
    sides = form.rows.taps, form.columns.taps

    def build(builder, args):
        taps, tap, count, values, plane = args
        v = Vectors(builder, tile, form)
        with simd.loop(builder, count, tile.lanes) as i:
            at = builder.mul(i, integer(tile.item))
            point, target = point_loader(v, builder.add(taps, at), tap), builder.add(values, at)
            for part in form.split(form.columns.taps):
                for e, value in v.kernel(point, sides, part):
                    store_point(v, e, value, target, plane)

    return simd.emit(types.void, (types.intp,) * 5, build)
