"""The linear maps of Winograd's F(4x4, 3x3), emitted with channels as lanes.

A tile of 4 x 4 outputs of a 3 x 3 convolution reads 6 x 6 inputs. Both are polynomials' values in
disguise: evaluate input and kernel at six points, multiply value by value (36 products in two
dimensions instead of 144), and interpolate. The points are 0, +-1/sqrt(2), +-sqrt(2) and infinity:
with them rounding errors are about seven times smaller than with the usual 0, +-1, +-2, infinity,
at the same cost. Points come in pairs +-p, which share their even and their odd part.

One dimension, a = 1/sqrt(2), b = sqrt(2):

    input    0:   d0 - 2.5 d2 + d4                  kernel   p: (g0 + p g1 + p^2 g2) / N(p)
            +-a:  (d4 - 2 d2) +- a (d3 - 2 d1)              infinity: g2
            +-b:  (d4 - d2/2) +- b (d3 - d1/2)      output   y_k = sum over p of p^k m(p),
            inf:  d1 - 2.5 d3 + d5                           and m(infinity) is added to y_3

N(p) is the product of the differences to the other points: 1 at 0, -3/2 at +-a, 6 at +-b; it is
divided out of the kernel, which is transformed once. In two dimensions the map is applied to the
columns, then to the rows.

The gradient of the kernel is F(3x3, 4x4): a convolution of the same 6 x 6 inputs with the 4 x 4
gradients of the outputs as its kernel, whose results are the 3 x 3 taps. Six points again, and the
map of the inputs, which depends on nothing else, is the same.
"""

import math
from functools import cache

from llvmlite import ir
from numba import types

from nbcnn.kernels.cpu import simd
from nbcnn.kernels.cpu.blocking import Tile
from nbcnn.kernels.cpu.simd import integer

SIDE, OUT, TAPS = 6, 4, 3  # of a tile of inputs, of a tile of outputs, of the kernel
POINTS = SIDE * SIDE
A, B = math.sqrt(0.5), math.sqrt(2.0)


class _Vectors:
    """Arithmetic on vectors."""

    def __init__(self, builder, tile: Tile):
        self.b, self.vector = builder, simd.vector_type(tile.lanes, tile.item)

    def const(self, value):
        return ir.Constant(self.vector, [value] * self.vector.count)

    def add(self, x, y):
        return self.b.fadd(x, y)

    def sub(self, x, y):
        return self.b.fsub(x, y)

    def mul(self, factor, x):
        return self.b.fmul(self.const(factor), x)

    def mul_add(self, factor, x, y):
        return simd.multiply_add(self.b, self.const(factor), x, y)


def _input(v: _Vectors, d):
    """Six inputs -> values at the points."""
    even_a, odd_a = v.mul_add(-2.0, d[2], d[4]), v.mul_add(-2.0, d[1], d[3])
    even_b, odd_b = v.mul_add(-0.5, d[2], d[4]), v.mul_add(-0.5, d[1], d[3])
    return [
        v.mul_add(-2.5, d[2], v.add(d[0], d[4])),
        v.mul_add(A, odd_a, even_a),
        v.mul_add(-A, odd_a, even_a),
        v.mul_add(B, odd_b, even_b),
        v.mul_add(-B, odd_b, even_b),
        v.mul_add(-2.5, d[3], v.add(d[1], d[5])),
    ]


def _kernel(v: _Vectors, g):
    """Three taps -> values at the points, divided by N."""
    found = [g[0]]
    for point, norm in ((A, -1.5), (B, 6.0)):
        even = v.mul_add(point**2 / norm, g[2], v.mul(1 / norm, g[0]))
        found += [v.mul_add(sign * point / norm, g[1], even) for sign in (1, -1)]
    return [*found, g[2]]


def _gradient(v: _Vectors, g):
    """Four gradients of outputs -> values at the points, divided by N."""
    found = [g[0]]
    for point, norm in ((A, -1.5), (B, 6.0)):
        even = v.mul_add(point**2 / norm, g[2], v.mul(1 / norm, g[0]))
        odd = v.mul_add(point**2, g[3], g[1])
        found += [v.mul_add(sign * point / norm, odd, even) for sign in (1, -1)]
    return [*found, g[3]]


def _taps(v: _Vectors, m):
    """Six sums of products -> three gradients of taps."""
    sum_a, diff_a = v.add(m[1], m[2]), v.sub(m[1], m[2])
    sum_b, diff_b = v.add(m[3], m[4]), v.sub(m[3], m[4])
    return [
        v.add(m[0], v.add(sum_a, sum_b)),
        v.mul_add(A, diff_a, v.mul(B, diff_b)),
        v.mul_add(A**2, sum_a, v.mul_add(B**2, sum_b, m[5])),
    ]


def _output(v: _Vectors, m):
    """Six products -> four outputs."""
    sum_a, diff_a = v.add(m[1], m[2]), v.sub(m[1], m[2])
    sum_b, diff_b = v.add(m[3], m[4]), v.sub(m[3], m[4])
    return [
        v.add(m[0], v.add(sum_a, sum_b)),
        v.mul_add(A, diff_a, v.mul(B, diff_b)),
        v.mul_add(A**2, sum_a, v.mul(B**2, sum_b)),
        v.mul_add(A**3, diff_a, v.mul_add(B**3, diff_b, m[5])),
    ]


def _both_ways(v, transform, values, side):
    """A one-dimensional map over the columns, then the rows, of `side` x `side` values."""
    columns = [transform(v, values[j::side]) for j in range(side)]
    rows = zip(*columns)
    return [number for row in rows for number in transform(v, list(row))]


def _over_vectors(builder, tile: Tile, count, body):
    """body(byte offset, mask) for `count` numbers: whole vectors (mask None), then the rest."""
    whole = builder.mul(builder.udiv(count, integer(tile.lanes)), integer(tile.lanes))
    left = builder.sub(count, whole)
    with simd.loop(builder, whole, tile.lanes) as i:
        body(builder.mul(i, integer(tile.item)), None)
    with builder.if_then(builder.icmp_signed(">", left, integer(0))):
        body(builder.mul(whole, integer(tile.item)), simd.first_lanes(builder, left, tile.lanes))


def _address(builder, table, index):
    at = builder.add(table, integer(8 * index))
    return builder.load(builder.inttoptr(at, ir.IntType(64).as_pointer()))


def _pixels(v: _Vectors, table, at, mask, count):
    """Vectors at the `count` addresses of a table, `at` bytes further."""
    found = []
    for e in range(count):
        pixel = v.b.add(_address(v.b, table, e), at)
        found.append(
            simd.load_vector(v.b, pixel, v.vector)
            if mask is None
            else simd.masked_load(v.b, pixel, v.vector, mask)
        )
    return found


def _store_points(v: _Vectors, numbers, target, plane):
    for number in numbers:
        simd.store_vector(v.b, number, target)
        target = v.b.add(target, plane)


def _load_points(v: _Vectors, source, plane, count):
    found = []
    for _ in range(count):
        found.append(simd.load_vector(v.b, source, v.vector))
        source = v.b.add(source, plane)
    return found


@cache
def input_transform(tile: Tile):
    """A function for kernels:

        transform(table, channels, values, plane)

    `table`: addresses of the 36 pixels of a tile, row by row. The values at point e go to
    values + e * plane (bytes), in whole vectors: beyond `channels` they are zeros.
    """

    def build(builder, args):
        table, channels, values, plane = args
        v = _Vectors(builder, tile)

        def body(at, mask):
            numbers = _both_ways(v, _input, _pixels(v, table, at, mask, POINTS), SIDE)
            _store_points(v, numbers, builder.add(values, at), plane)

        _over_vectors(builder, tile, channels, body)

    return simd.emit(types.void, (types.intp,) * 4, build)


@cache
def gradient_transform(tile: Tile):
    """A function for kernels:

        transform(table, filters, values, plane, sums)

    As `input_transform`, of the 16 gradients of a tile of outputs; their sum is added to `sums`.
    """

    def build(builder, args):
        table, filters, values, plane, sums = args
        v = _Vectors(builder, tile)

        def body(at, mask):
            gradients = _pixels(v, table, at, mask, OUT * OUT)
            numbers = _both_ways(v, _gradient, gradients, OUT)
            _store_points(v, numbers, builder.add(values, at), plane)
            while len(gradients) > 1:  # in pairs: short chains, small errors
                gradients = [v.add(*gradients[k : k + 2]) for k in range(0, len(gradients), 2)]
            total = builder.add(sums, at)
            before = simd.load_vector(builder, total, v.vector)
            simd.store_vector(builder, v.add(before, gradients[0]), total)

        _over_vectors(builder, tile, filters, body)

    return simd.emit(types.void, (types.intp,) * 5, build)


@cache
def taps_transform(tile: Tile):
    """A function for kernels:

        transform(products, plane, columns, dw, tap)

    Sums of products, `plane` bytes from one point to the next, become `columns` gradients of each
    of nine taps, `tap` bytes apart.
    """

    def build(builder, args):
        products, plane, columns, dw, tap = args
        v = _Vectors(builder, tile)

        def body(at, mask):
            m = _load_points(v, builder.add(products, at), plane, POINTS)
            target = builder.add(dw, at)
            for number in _both_ways(v, _taps, m, SIDE):
                if mask is None:
                    simd.store_vector(builder, number, target)
                else:
                    simd.masked_store(builder, number, target, mask)
                target = builder.add(target, tap)

        _over_vectors(builder, tile, columns, body)

    return simd.emit(types.void, (types.intp,) * 5, build)


@cache
def output_transform(tile: Tile):
    """A function for kernels:

        transform(products, plane, columns, table, offset, start, low)

    Products of a tile, `plane` bytes from one point to the next, become 4 x 4 pixels; each is
    max(low, start + result) for `columns` numbers. `table`: addresses of the pixels, row by row, to
    which `offset` is added.
    """

    def build(builder, args):
        products, plane, columns, table, offset, start, low = args
        v = _Vectors(builder, tile)
        low = simd.broadcast(builder, low, tile.lanes)

        def body(at, mask):
            m = _load_points(v, builder.add(products, at), plane, POINTS)
            first = builder.add(start, at)
            first = (
                simd.load_vector(builder, first, v.vector)
                if mask is None
                else simd.masked_load(builder, first, v.vector, mask)
            )
            skip = builder.add(offset, at)
            for k, number in enumerate(_both_ways(v, _output, m, SIDE)):
                number = v.add(number, first)
                number = builder.select(builder.fcmp_ordered(">", low, number), low, number)
                pixel = builder.add(_address(builder, table, k), skip)
                if mask is None:
                    simd.store_vector(builder, number, pixel)
                else:
                    simd.masked_store(builder, number, pixel, mask)

        _over_vectors(builder, tile, columns, body)

    number = types.float32 if tile.item == 4 else types.float64
    return simd.emit(types.void, (types.intp,) * 6 + (number,), build)


@cache
def expect_pixels(tile: Tile):
    """A function for kernels:

        expect(table, offset)

    Bring a panel of the 16 pixels that `output_transform` is going to write into L2.
    """

    def build(builder, args):
        table, offset = args
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kinds = [byte, word, word, word]
        function = simd.declare(builder, "llvm.prefetch.p0", ir.VoidType(), kinds)
        options = [ir.Constant(word, x) for x in (1, 2, 1)]  # to write, into L2, data
        for k in range(OUT * OUT):
            pixel = builder.add(_address(builder, table, k), offset)
            for line in range(0, tile.width * tile.item, 64):
                at = builder.inttoptr(builder.add(pixel, integer(line)), byte)
                builder.call(function, [at, *options])

    return simd.emit(types.void, (types.intp,) * 2, build)


@cache
def kernel_transform(tile: Tile):
    """A function for kernels:

        transform(taps, tap, count, values, plane)

    `count` numbers, a multiple of the lanes, of each of nine taps, `tap` bytes apart, become 36
    values, `plane` bytes apart.
    """

    def build(builder, args):
        taps, tap, count, values, plane = args
        v = _Vectors(builder, tile)
        with simd.loop(builder, count, tile.lanes) as i:
            at = builder.mul(i, integer(tile.item))
            g = _load_points(v, builder.add(taps, at), tap, TAPS * TAPS)
            _store_points(v, _both_ways(v, _kernel, g, TAPS), builder.add(values, at), plane)

    return simd.emit(types.void, (types.intp,) * 5, build)
