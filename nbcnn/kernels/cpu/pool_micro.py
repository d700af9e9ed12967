"""Pooling one window, channels in the lanes of one vector: straight-line vector code for windows of
a fixed size.

LLVM leaves the plain loops half scalar: the loop over channels is short and mixes types (values,
one-byte indices). Each function here comes whole or `masked`, where only the first `count` lanes
take part and no other memory is touched. All addresses and steps are in bytes; `line` and `pixel`
lead to the next row and column of the image.
"""

from functools import cache

from llvmlite import ir
from numba import types

from nbcnn.kernels.cpu import simd
from nbcnn.kernels.cpu.blocking import Tile

_I64, _I32, _I8 = ir.IntType(64), ir.IntType(32), ir.IntType(8)


class Lanes:
    """Loads and stores of whole vectors, or of their first lanes."""

    def __init__(self, builder, tile: Tile, masked: bool, count):
        self.builder, self.vector = builder, simd.vector_type(tile.lanes, tile.item)
        self.bytes = ir.VectorType(_I8, tile.lanes)
        self.mask = simd.first_lanes(builder, count, tile.lanes) if masked else None

    def load(self, address):
        if self.mask is None:
            return simd.load_vector(self.builder, address, self.vector)
        return simd.masked_load(self.builder, address, self.vector, self.mask)

    def store(self, value, address):
        if self.mask is None:
            simd.store_vector(self.builder, value, address)
        else:
            simd.masked_store(self.builder, value, address, self.mask)

    def load_bytes(self, address):
        pointer = self.builder.inttoptr(address, self.bytes.as_pointer())
        if self.mask is None:
            return self.builder.load(pointer, align=1)
        kinds = [pointer.type, _I32, self.mask.type, self.bytes]
        name = f"llvm.masked.load.v{self.bytes.count}i8.p0"
        function = simd.declare(self.builder, name, self.bytes, kinds)
        rest = (ir.Constant(_I32, 1), self.mask, self.number(0))
        return self.builder.call(function, (pointer, *rest))

    def store_bytes(self, value, address):
        pointer = self.builder.inttoptr(address, self.bytes.as_pointer())
        if self.mask is None:
            self.builder.store(value, pointer, align=1)
            return
        kinds = [self.bytes, pointer.type, _I32, self.mask.type]
        name = f"llvm.masked.store.v{self.bytes.count}i8.p0"
        function = simd.declare(self.builder, name, ir.VoidType(), kinds)
        self.builder.call(function, (value, pointer, ir.Constant(_I32, 1), self.mask))

    def number(self, value):
        """The same byte in every lane."""
        return ir.Constant(self.bytes, [value] * self.bytes.count)


def _window(builder, lanes: Lanes, x, line, pixel, kh: int, kw: int):
    """(tap, values) for each tap of the window whose first pixel is at x."""
    for u in range(kh):
        at = builder.add(x, builder.mul(line, ir.Constant(_I64, u)))
        for v in range(kw):
            yield u * kw + v, lanes.load(builder.add(at, builder.mul(pixel, ir.Constant(_I64, v))))


@cache
def window_max(tile: Tile, kh: int, kw: int, indexed: bool, masked: bool):
    """window_max(x, line, pixel, y, indices, count): the first of equals wins, NaN over all."""

    def build(builder, args):
        x, line, pixel, y, indices, count = args
        lanes = Lanes(builder, tile, masked, count)
        best = winner = None
        for tap, value in _window(builder, lanes, x, line, pixel, kh, kw):
            if best is None:
                best, winner = value, lanes.number(0)
                continue
            better = _better(builder, value, best)
            best = builder.select(better, value, best)
            winner = builder.select(better, lanes.number(tap), winner)
        lanes.store(best, y)
        if indexed:
            lanes.store_bytes(winner, indices)

    return simd.emit(types.void, (types.intp,) * 6, build)


@cache
def fold_max(tile: Tile, indexed: bool):
    """fold_max(x, tap, y, indices, first, count): y and indices improved by one tap, or set if
    `first`.

    For windows of which only some taps are inside. Masked.
    """

    def build(builder, args):
        x, tap, y, indices, first, count = args
        lanes = Lanes(builder, tile, True, count)
        started = builder.icmp_signed("==", first, ir.Constant(_I64, 0))
        value, best = lanes.load(x), lanes.load(y)
        keep = builder.and_(
            builder.not_(_better(builder, value, best)),
            simd.broadcast(builder, started, tile.lanes),
        )
        lanes.store(builder.select(keep, best, value), y)
        if indexed:
            number = simd.broadcast(builder, builder.trunc(tap, _I8), tile.lanes)
            lanes.store_bytes(builder.select(keep, lanes.load_bytes(indices), number), indices)

    return simd.emit(types.void, (types.intp,) * 6, build)


def _better(builder, value, best):
    """Lanes where `value` is larger, or NaN where `best` is not."""
    return builder.and_(
        builder.fcmp_unordered(">", value, best), builder.fcmp_ordered("ord", best, best)
    )


@cache
def window_sum(tile: Tile, kh: int, kw: int, masked: bool):
    """window_sum(x, line, pixel, y, share, count): y = share * sum over the window."""

    def build(builder, args):
        x, line, pixel, y, share, count = args
        lanes = Lanes(builder, tile, masked, count)
        total = None
        for _, value in _window(builder, lanes, x, line, pixel, kh, kw):
            total = value if total is None else builder.fadd(total, value)
        lanes.store(builder.fmul(total, simd.broadcast(builder, share, tile.lanes)), y)

    return simd.emit(types.void, (*(types.intp,) * 4, _number(tile), types.intp), build)


@cache
def spread_max(tile: Tile, kw: int, add: bool, masked: bool):
    """spread_max(dy, indices, first, dx, pixel, count): one row of the window, whose first tap is
    number `first`.

    dx[v] = dy where that tap won, else 0; with `add`, added to what is there.
    """

    def build(builder, args):
        dy, indices, first, dx, pixel, count = args
        lanes = Lanes(builder, tile, masked, count)
        slope, winner = lanes.load(dy), lanes.load_bytes(indices)
        zero = ir.Constant(lanes.vector, [0.0] * tile.lanes)
        for v in range(kw):
            tap = builder.trunc(builder.add(first, ir.Constant(_I64, v)), _I8)
            won = builder.icmp_unsigned("==", winner, simd.broadcast(builder, tap, tile.lanes))
            _put(builder, lanes, builder.select(won, slope, zero), dx, pixel, v, add)

    return simd.emit(types.void, (types.intp,) * 6, build)


@cache
def spread_sum(tile: Tile, kw: int, add: bool, masked: bool):
    """spread_sum(dy, share, dx, pixel, count): dx[v] = share * dy for one row of the window."""

    def build(builder, args):
        dy, share, dx, pixel, count = args
        lanes = Lanes(builder, tile, masked, count)
        slope = builder.fmul(lanes.load(dy), simd.broadcast(builder, share, tile.lanes))
        for v in range(kw):
            _put(builder, lanes, slope, dx, pixel, v, add)

    return simd.emit(types.void, (types.intp, _number(tile), *(types.intp,) * 3), build)


def _put(builder, lanes: Lanes, value, dx, pixel, v: int, add: bool):
    address = builder.add(dx, builder.mul(pixel, ir.Constant(_I64, v)))
    lanes.store(builder.fadd(value, lanes.load(address)) if add else value, address)


def _number(tile: Tile):
    return types.float32 if tile.item == 4 else types.float64
