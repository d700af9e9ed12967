"""Layer normalization of one row, as vector code: what is loaded once stays in L1 for the rest.

Sums run in several vectors side by side, so that an addition need not wait for the one before; the
rest of a row goes by single vectors under a mask.
"""

from functools import cache

from llvmlite import ir

from nbcnn.kernels.cpu import simd, types
from nbcnn.kernels.cpu.blocking import Tile

ABREAST = 4  # vectors side by side


class _Row:
    """Code for passes over a row of `count` numbers."""

    def __init__(self, builder, tile: Tile, count):
        self.b, self.tile, self.count = builder, tile, count
        self.scalar = simd.scalar_type(tile.item)
        self.whole = builder.and_(count, simd.integer(-ABREAST * tile.lanes))

    def sums(self, arrays, number, body):
        """`number` sums over the row: body(vector maths, loaded arrays) gives their summands."""
        b, wide = self.b, self.vector(ABREAST)
        with simd.loop(b, self.whole, wide.count, [self.zero(wide)] * number) as (k, totals):
            loaded = [simd.load_vector(b, self.at(array, k), wide) for array in arrays]
            totals[:] = [b.fadd(t, x) for t, x in zip(totals, body(wide, loaded))]
        results = [self.folded(total) for total in totals]
        left, narrow = b.sub(self.count, self.whole), self.vector(1)
        with simd.loop(b, left, narrow.count, [self.zero(narrow)] * number) as (i, totals):
            mask = simd.first_lanes(b, b.sub(left, i), narrow.count)
            places = [self.at(array, b.add(self.whole, i)) for array in arrays]
            loaded = [simd.masked_load(b, place, narrow, mask) for place in places]
            summands = [b.select(mask, x, self.zero(narrow)) for x in body(narrow, loaded)]
            totals[:] = [b.fadd(t, x) for t, x in zip(totals, summands)]
        return [b.fadd(x, self.folded(total)) for x, total in zip(results, totals)]

    def each(self, arrays, targets, body):
        """body(vector type, loaded arrays) gives what is written to the targets."""
        b, wide, narrow = self.b, self.vector(ABREAST), self.vector(1)
        with simd.loop(b, self.whole, wide.count) as k:
            loaded = [simd.load_vector(b, self.at(array, k), wide) for array in arrays]
            for value, target in zip(body(wide, loaded), targets):
                simd.store_vector(b, value, self.at(target, k))
        left = b.sub(self.count, self.whole)
        with simd.loop(b, left, narrow.count) as i:
            k, mask = b.add(self.whole, i), simd.first_lanes(b, b.sub(left, i), narrow.count)
            loaded = [simd.masked_load(b, self.at(a, k), narrow, mask) for a in arrays]
            for value, target in zip(body(narrow, loaded), targets):
                simd.masked_store(b, value, self.at(target, k), mask)

    def vector(self, abreast):
        return simd.vector_type(abreast * self.tile.lanes, self.tile.item)

    def zero(self, vector):
        return ir.Constant(vector, [0.0] * vector.count)

    def at(self, array, k):
        return self.b.add(array, self.b.mul(k, simd.integer(self.tile.item)))

    def folded(self, vector):
        """The sum of a vector's numbers."""
        kinds = [self.scalar, vector.type]
        name = f"llvm.vector.reduce.fadd.{simd.suffix(vector.type)}"
        function = simd.declare(self.b, name, self.scalar, kinds)
        arguments = (ir.Constant(self.scalar, 0.0), vector)
        return self.b.call(function, arguments, fastmath=("reassoc",))

    def everywhere(self, vector, number):
        return simd.broadcast(self.b, number, vector.count)


def _number(tile: Tile):
    return types.float32 if tile.item == 4 else types.float64


@cache
def row_sum(tile: Tile):
    """row_sum(x, origin, count): the sum of x - origin."""

    def build(b, args):
        x, origin, count = args
        row = _Row(b, tile, count)

        def distances(vector, loaded):
            return [b.fsub(loaded[0], row.everywhere(vector, origin), flags=("nsz",))]

        return row.sums([x], 1, distances)[0]

    return simd.emit(_number(tile), (types.intp, _number(tile), types.intp), build)


@cache
def row_spread(tile: Tile):
    """row_spread(x, origin, offset, count): the sum of (x - origin - offset)^2."""

    def build(b, args):
        x, origin, offset, count = args
        row = _Row(b, tile, count)

        def squares(vector, loaded):
            distance = b.fsub(loaded[0], row.everywhere(vector, origin), flags=("nsz",))
            distance = b.fsub(distance, row.everywhere(vector, offset), flags=("nsz",))
            return [b.fmul(distance, distance)]

        return row.sums([x], 1, squares)[0]

    kinds = (types.intp, _number(tile), _number(tile), types.intp)
    return simd.emit(_number(tile), kinds, build)


@cache
def row_apply(tile: Tile):
    """row_apply(x, gamma, beta, y, origin, scale, shift, count):
    y = ((x - origin) scale + shift) gamma + beta.
    """

    def build(b, args):
        x, gamma, beta, y, origin, scale, shift, count = args
        row = _Row(b, tile, count)

        def result(vector, loaded):
            number, factor, offset = loaded
            distance = b.fsub(number, row.everywhere(vector, origin), flags=("nsz",))
            wide_scale, wide_shift = (row.everywhere(vector, v) for v in (scale, shift))
            scaled = simd.multiply_add(b, distance, wide_scale, wide_shift)
            return [simd.multiply_add(b, scaled, factor, offset)]

        row.each([x, gamma, beta], [y], result)

    kinds = (*(types.intp,) * 4, *(_number(tile),) * 3, types.intp)
    return simd.emit(types.void, kinds, build)


@cache
def row_gradient(tile: Tile):
    """row_gradient(x, dy, gamma, dx, dgamma, dbeta, mean, scale, share, count): dx of a row, and
    its part added to dgamma and dbeta. `share`: 1 / count.
    """

    def build(b, args):
        x, dy, gamma, dx, dgamma, dbeta, mean, scale, share, count = args
        row = _Row(b, tile, count)

        def standard(vector, number):
            centered = b.fsub(number, row.everywhere(vector, mean))
            return b.fmul(centered, row.everywhere(vector, scale))

        def products(vector, loaded):
            number, slope, factor = loaded
            weighted = b.fmul(slope, factor)
            return [weighted, b.fmul(weighted, standard(vector, number))]

        plain, along = (b.fmul(s, share) for s in row.sums([x, dy, gamma], 2, products))

        def results(vector, loaded):
            number, slope, factor, scales, offsets = loaded
            h = standard(vector, number)
            rest = b.fsub(b.fmul(slope, factor), row.everywhere(vector, plain))
            rest = b.fsub(rest, b.fmul(h, row.everywhere(vector, along)))
            value = b.fmul(rest, row.everywhere(vector, scale))
            return [value, simd.multiply_add(b, slope, h, scales), b.fadd(offsets, slope)]

        row.each([x, dy, gamma, dgamma, dbeta], [dx, dgamma, dbeta], results)

    kinds = (*(types.intp,) * 6, *(_number(tile),) * 3, types.intp)
    return simd.emit(types.void, kinds, build)
