"""Vector inner loops of depthwise convolution: channels are the lanes.

`window_sum`: an output pixel is a sum over kernel taps of input vector times weight vector. A strip
of neighbouring pixels shares the weight's load, and its accumulators stay in registers.
`tap_sum`: a weight is a sum over pixels of input vector times output gradient vector. Several taps
share the load of the gradient.

Taps come from a table of pairs of byte offsets, so that borders, strides and dilation are the
caller's affair and a tap outside the input is simply not in the table. Plain loops do not do here:
nine streams beside the one that is written are more than LLVM checks for overlap, so it would leave
them scalar.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from llvmlite import ir

from nbcnn.kernels.cpu import simd, types
from nbcnn.kernels.cpu.blocking import Tile

_I64 = ir.IntType(64)


def _int(value):
    return ir.Constant(_I64, value)


class Lanes(NamedTuple):
    """Loads and stores of some channels: a whole vector, or the lanes of a mask."""

    load: Callable
    store: Callable

    @staticmethod
    def of(builder, tile: Tile, count=None) -> "Lanes":
        """All lanes, or the first `count`."""
        vector = simd.vector_type(tile.lanes, tile.item)
        if count is None:
            return Lanes(
                lambda address: simd.load_vector(builder, address, vector),
                lambda value, address: simd.store_vector(builder, value, address),
            )
        mask = simd.first_lanes(builder, count, tile.lanes)
        return Lanes(
            lambda address: simd.masked_load(builder, address, vector, mask),
            lambda value, address: simd.masked_store(builder, value, address, mask),
        )


def _loop(builder, count, starts, step):
    """for k in range(count): values = step(k, values), from `starts`; returns the values."""
    entry, head = builder.block, builder.append_basic_block("head")
    body, end = builder.append_basic_block("body"), builder.append_basic_block("end")
    builder.branch(head)
    builder.position_at_end(head)
    k = builder.phi(_I64)
    values = [builder.phi(start.type) for start in starts]
    builder.cbranch(builder.icmp_signed("<", k, count), body, end)
    builder.position_at_end(body)
    following = step(k, values)
    after = builder.add(k, _int(1))
    back = builder.block
    builder.branch(head)
    phis, first, later = (k, *values), (_int(0), *starts), (after, *following)
    for phi, start, value in zip(phis, first, later, strict=True):
        phi.add_incoming(start, entry)
        phi.add_incoming(value, back)
    builder.position_at_end(end)
    return values


def _pair(builder, table, index):
    """Both numbers of an entry in a table of pairs of 8-byte integers."""
    first = builder.add(table, builder.shl(index, _int(4)))
    second = builder.add(first, _int(8))
    return tuple(builder.load(builder.inttoptr(a, _I64.as_pointer())) for a in (first, second))


def _over_channels(builder, tile: Tile, channels, body):
    """body(lanes, byte offset) for all channels: whole vectors, then the rest under a mask."""
    size = tile.lanes * tile.item
    whole = builder.udiv(channels, _int(tile.lanes))
    left = builder.sub(channels, builder.mul(whole, _int(tile.lanes)))
    full = Lanes.of(builder, tile)

    def step(k, values):
        body(full, builder.mul(k, _int(size)))
        return ()

    _loop(builder, whole, (), step)
    with builder.if_then(builder.icmp_signed(">", left, _int(0))):
        body(Lanes.of(builder, tile, left), builder.mul(whole, _int(size)))


@cache
def window_sum(tile: Tile, pixels: int):
    """A function for kernels:

        sums(channels, x, x_step, w, taps, count, y, y_step, start, started, low)

    stores y[p, :] = max(low, start[:] + sum over t of x[p, taps[t].x, :] * w[taps[t].w, :]) for all
    p < pixels. x, w, y, start: addresses; pixel p of x is at p * x_step bytes, of y at p * y_step;
    `taps`: address of `count` pairs of byte offsets in x and w. Without `started` sums start from
    zero (`start` must be readable all the same).
    """

    def build(builder, args):
        channels, x, x_step, w, taps, count, y, y_step, start, started, low = args
        zero = ir.Constant(simd.vector_type(tile.lanes, tile.item), [0.0] * tile.lanes)
        lowest = simd.broadcast(builder, low, tile.lanes)
        flag = builder.icmp_signed("!=", started, _int(0))

        def fill(lanes, at):
            initial = builder.select(flag, lanes.load(builder.add(start, at)), zero)
            first, weights = builder.add(x, at), builder.add(w, at)
            sources = [builder.add(first, builder.mul(x_step, _int(p))) for p in range(pixels)]

            def add_tap(t, sums):
                source_at, weight_at = _pair(builder, taps, t)
                weight = lanes.load(builder.add(weights, weight_at))
                seen = [lanes.load(builder.add(source, source_at)) for source in sources]
                return [
                    simd.multiply_add(builder, s, weight, total)
                    for s, total in zip(seen, sums, strict=True)
                ]

            sums = _loop(builder, count, [initial] * pixels, add_tap)
            for p, total in enumerate(sums):
                target = builder.add(builder.add(y, at), builder.mul(y_step, _int(p)))
                # not `max`: NaN is kept
                below = builder.fcmp_ordered("<", total, lowest)
                lanes.store(builder.select(below, lowest, total), target)

        _over_channels(builder, tile, channels, fill)

    number = types.float32 if tile.item == 4 else types.float64
    return simd.emit(types.void, (types.intp,) * 10 + (number,), build)


@cache
def tap_sum(tile: Tile, most: int):
    """A function for kernels:

        sums(channels, x, x_line, x_step, dy, dy_line, dy_step, lines, columns, taps, count, dw)

    adds to dw[taps[t].w, :], for t < count, the sum over the lines and columns of a block of pixels
    of x[line, column, taps[t].x, :] * dy[line, column, :]. Byte steps from line to line and from
    column to column; `count` is 1..most.
    """

    def build(builder, args):
        channels, x, x_line, x_step, dy, dy_line, dy_step, lines, columns, taps, count, dw = args
        last = builder.sub(count, _int(1))

        def add_block(lanes, at):
            first, gradients, sums_at = (builder.add(base, at) for base in (x, dy, dw))
            sources, targets = [], []
            for t in range(most):
                # Taps that do not exist do the last one's work again, and store the same there.
                inside = builder.icmp_signed("<", _int(t), count)
                pair = _pair(builder, taps, builder.select(inside, _int(t), last))
                sources.append(builder.add(first, pair[0]))
                targets.append(builder.add(sums_at, pair[1]))

            def add_line(line, sums):
                x_at = builder.mul(line, x_line)
                dy_at = builder.add(gradients, builder.mul(line, dy_line))

                def add_pixel(column, sums):
                    gradient = lanes.load(builder.add(dy_at, builder.mul(column, dy_step)))
                    offset = builder.add(x_at, builder.mul(column, x_step))
                    seen = [lanes.load(builder.add(source, offset)) for source in sources]
                    return [
                        simd.multiply_add(builder, s, gradient, total)
                        for s, total in zip(seen, sums, strict=True)
                    ]

                return _loop(builder, columns, sums, add_pixel)

            sums = _loop(builder, lines, [lanes.load(target) for target in targets], add_line)
            for total, target in zip(sums, targets, strict=True):
                lanes.store(total, target)

        _over_channels(builder, tile, channels, add_block)

    return simd.emit(types.void, (types.intp,) * 12, build)
