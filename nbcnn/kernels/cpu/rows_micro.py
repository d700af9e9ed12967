"""Rows in whole vectors: softmax and the parts it is made of, and cross-entropy's gradient.

The last vector of a row is masked: a row of 21 numbers takes two vectors, where LLVM's loops end in
a number at a time. Sums are those of the lanes, each short, then of all lanes. Short rows stay in
registers: what a masked store has written takes long to be read again.
"""

from functools import cache

from llvmlite import ir

from nbcnn.kernels.cpu import simd, types
from nbcnn.kernels.cpu.blocking import Tile
from nbcnn.kernels.cpu.simd import integer
from nbcnn.kernels.cpu.vector_math import Numbers

MOST_KEPT = 4  # vectors of a row that stays in registers


def _number(tile: Tile):
    return types.float32 if tile.item == 4 else types.float64


def _over_row(builder, tile: Tile, count, start, step):
    """step(offset in bytes, mask or None, value) -> value, for the vectors of a row."""
    b = builder
    whole = b.and_(count, integer(-tile.lanes))
    with simd.loop(b, whole, tile.lanes, [start]) as (i, values):
        values[0] = step(b.mul(i, integer(tile.item)), None, values[0])
    before, after = b.block, b.append_basic_block("rest")
    rest = b.append_basic_block("tail")
    b.cbranch(b.icmp_signed("<", whole, count), rest, after)
    b.position_at_end(rest)
    mask = simd.first_lanes(b, b.sub(count, whole), tile.lanes)
    value, tail = step(b.mul(whole, integer(tile.item)), mask, values[0]), b.block
    b.branch(after)
    b.position_at_end(after)
    found = b.phi(value.type)
    found.add_incoming(values[0], before)
    found.add_incoming(value, tail)
    return found


def _load(builder, address, vector, mask):
    if mask is None:
        return simd.load_vector(builder, address, vector)
    return simd.masked_load(builder, address, vector, mask)


def _store(builder, value, address, mask):
    if mask is None:
        simd.store_vector(builder, value, address)
    else:
        simd.masked_store(builder, value, address, mask)


def _reduced(builder, name, value, *first):
    """One number of a vector's."""
    scalar = value.type.element
    name = f"llvm.vector.reduce.{name}.{simd.suffix(value.type)}"
    kinds = [*(x.type for x in first), value.type]
    return builder.call(
        simd.declare(builder, name, scalar, kinds), (*first, value), fastmath=("reassoc",)
    )


@cache
def row_largest(tile: Tile):
    """largest(x, count): the maximum of `count` numbers from address x. NaN may be taken or not."""
    vector = simd.vector_type(tile.lanes, tile.item)

    def build(builder, args):
        x, count = args
        lowest = ir.Constant(vector, [float("-inf")] * tile.lanes)

        def step(at, mask, best):
            value = _load(builder, builder.add(x, at), vector, mask)
            if mask is not None:
                value = builder.select(mask, value, lowest)
            return builder.select(builder.fcmp_ordered(">", value, best), value, best)

        return _reduced(builder, "fmax", _over_row(builder, tile, count, lowest, step))

    return simd.emit(_number(tile), (types.intp,) * 2, build)


@cache
def row_exponentials(tile: Tile):
    """exponentials(x, y, count, shift): writes exp(x - shift) to y, returns their sum."""
    vector = simd.vector_type(tile.lanes, tile.item)

    def build(builder, args):
        x, y, count, shift = args
        numbers, shift = Numbers(builder, vector), simd.broadcast(builder, shift, tile.lanes)
        zero = numbers.const(0)

        def step(at, mask, total):
            value = _load(builder, builder.add(x, at), vector, mask)
            value = numbers.exp(numbers.fsub(value, shift))
            _store(builder, value, builder.add(y, at), mask)
            if mask is not None:
                value = builder.select(mask, value, zero)
            return numbers.fadd(total, value)

        total = _over_row(builder, tile, count, zero, step)
        return _reduced(builder, "fadd", total, ir.Constant(vector.element, 0.0))

    return simd.emit(_number(tile), (types.intp,) * 3 + (_number(tile),), build)


@cache
def row_multiple(tile: Tile):
    """multiple(x, y, count, factor): writes x * factor to y, which may be x."""
    vector = simd.vector_type(tile.lanes, tile.item)

    def build(builder, args):
        x, y, count, factor = args
        factor = simd.broadcast(builder, factor, tile.lanes)

        def step(at, mask, nothing):
            value = _load(builder, builder.add(x, at), vector, mask)
            _store(builder, builder.fmul(value, factor), builder.add(y, at), mask)
            return nothing

        _over_row(builder, tile, count, integer(0), step)

    return simd.emit(types.void, (types.intp,) * 3 + (_number(tile),), build)


@cache
def short_row_softmax(tile: Tile):
    """softmax(x, y, count, largest): writes the softmax of up to MOST_KEPT vectors of numbers to y
    and their maximum to `largest`; returns the sum of exp(x - maximum).
    """
    vector = simd.vector_type(tile.lanes, tile.item)

    def row(b, vectors, x, y, count, largest):
        numbers = Numbers(b, vector)
        lowest = ir.Constant(vector, [float("-inf")] * tile.lanes)
        places = [integer(v * tile.lanes * tile.item) for v in range(vectors)]
        mask = simd.first_lanes(b, b.sub(count, integer((vectors - 1) * tile.lanes)), tile.lanes)
        masks = [None] * (vectors - 1) + [mask]
        found = [_load(b, b.add(x, at), vector, m) for at, m in zip(places, masks)]
        found[-1] = b.select(mask, found[-1], lowest)
        best = found[0]
        for value in found[1:]:
            best = b.select(b.fcmp_ordered(">", value, best), value, best)
        shift = _reduced(b, "fmax", best)
        b.store(shift, b.inttoptr(largest, vector.element.as_pointer()))
        wide = simd.broadcast(b, shift, tile.lanes)
        powers = [numbers.exp(numbers.fsub(value, wide)) for value in found]
        powers[-1] = b.select(mask, powers[-1], numbers.const(0))
        total = powers[0]
        for value in powers[1:]:
            total = numbers.fadd(total, value)
        total = _reduced(b, "fadd", total, ir.Constant(vector.element, 0.0))
        factor = simd.broadcast(b, b.fdiv(ir.Constant(vector.element, 1.0), total), tile.lanes)
        for value, at, m in zip(powers, places, masks):
            _store(b, b.fmul(value, factor), b.add(y, at), m)
        return total

    def build(b, args):
        count, end = args[2], b.append_basic_block("row_end")
        totals = []
        for vectors in range(1, MOST_KEPT + 1):
            here, longer = b.append_basic_block("row"), b.append_basic_block("longer")
            fits = b.icmp_signed("<=", count, integer(vectors * tile.lanes))
            b.cbranch(fits if vectors < MOST_KEPT else ir.Constant(ir.IntType(1), 1), here, longer)
            b.position_at_end(here)
            totals.append((row(b, vectors, *args), b.block))
            b.branch(end)
            b.position_at_end(longer)
        b.unreachable()
        b.position_at_end(end)
        total = b.phi(vector.element)
        for value, block in totals:
            total.add_incoming(value, block)
        return total

    return simd.emit(_number(tile), (types.intp,) * 4, build)


@cache
def row_gradient(tile: Tile):
    """gradient(p, dx, count, label, scale): writes (p - 1 where it is the label's) * scale."""
    vector = simd.vector_type(tile.lanes, tile.item)
    lanes = ir.Constant(ir.VectorType(ir.IntType(64), tile.lanes), list(range(tile.lanes)))

    def build(builder, args):
        b, (p, dx, count, label, scale) = builder, args
        numbers, scale = Numbers(b, vector), simd.broadcast(b, scale, tile.lanes)

        def step(at, mask, nothing):
            value = _load(b, b.add(p, at), vector, mask)
            left = b.sub(label, b.sdiv(at, integer(tile.item)))
            hit = b.icmp_signed("==", lanes, simd.broadcast(b, left, tile.lanes))
            value = b.fsub(value, b.select(hit, numbers.const(1), numbers.const(0)))
            _store(b, b.fmul(value, scale), b.add(dx, at), mask)
            return nothing

        _over_row(b, tile, count, integer(0), step)

    return simd.emit(types.void, (types.intp,) * 4 + (_number(tile),), build)
