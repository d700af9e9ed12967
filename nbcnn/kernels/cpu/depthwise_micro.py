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

from functools import cache

from llvmlite import ir
from numba import types

from nbcnn.kernels.cpu import simd

_I64, _I32 = ir.IntType(64), ir.IntType(32)


def _int(value):
    return ir.Constant(_I64, value)


class _Vectors:
    """Loads, stores and arithmetic of a vector type; `left`: the lanes that exist, if not all."""

    def __init__(self, builder, item: int, lanes: int, left=None):
        self.b, self.item = builder, item
        self.scalar = ir.FloatType() if item == 4 else ir.DoubleType()
        self.kind = ir.VectorType(self.scalar, lanes)
        self.pointer = self.kind.as_pointer()
        self.suffix = f"v{lanes}f{8 * item}"
        self.zero = ir.Constant(self.kind, [0.0] * lanes)
        self.mask = None
        if left is not None:
            lane = ir.Constant(ir.VectorType(_I64, lanes), list(range(lanes)))
            self.mask = builder.icmp_signed("<", lane, self.broadcast(left))

    def broadcast(self, value):
        kind = ir.VectorType(value.type, self.kind.count)
        undefined, lanes = ir.Constant(kind, ir.Undefined), ir.VectorType(_I32, kind.count)
        first = self.b.insert_element(undefined, value, ir.Constant(_I32, 0))
        return self.b.shuffle_vector(first, undefined, ir.Constant(lanes, [0] * kind.count))

    def call(self, name, result, *args):
        name = f"llvm.{name}.{self.suffix}"
        kind = ir.FunctionType(result, [a.type for a in args])
        function = self.b.module.globals.get(name) or ir.Function(self.b.module, kind, name)
        return self.b.call(function, args)

    def load(self, address):
        pointer = self.b.inttoptr(address, self.pointer)
        if self.mask is None:
            return self.b.load(pointer, align=self.item)
        align = ir.Constant(_I32, self.item)
        return self.call("masked.load", self.kind, pointer, align, self.mask, self.zero)

    def store(self, value, address):
        pointer = self.b.inttoptr(address, self.pointer)
        if self.mask is None:
            self.b.store(value, pointer, align=self.item)
        else:
            align = ir.Constant(_I32, self.item)
            self.call("masked.store", ir.VoidType(), value, pointer, align, self.mask)

    def multiply_add(self, x, y, z):
        return self.call("fmuladd", self.kind, x, y, z)

    def clamp(self, value, low):
        """max(value, low) that keeps NaN."""
        low = self.broadcast(low)
        return self.b.select(self.b.fcmp_ordered(">", low, value), low, value)


def _loop(builder, count, starts, step):
    """for k in range(count): values = step(k, values); returns the values, `starts` if count is 0."""
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
    for phi, start, value in zip((k, *values), (_int(0), *starts), (after, *following), strict=True):
        phi.add_incoming(start, entry)
        phi.add_incoming(value, back)
    builder.position_at_end(end)
    return values


def _pair(builder, table, index):
    """Both numbers of an entry in a table of pairs of 8-byte integers."""
    first = builder.add(table, builder.shl(index, _int(4)))
    second = builder.add(first, _int(8))
    return tuple(builder.load(builder.inttoptr(a, _I64.as_pointer())) for a in (first, second))


def _over_channels(builder, item, lanes, channels, body):
    """body(vectors, byte offset) for all channels: whole vectors, then the rest under a mask."""
    whole = builder.udiv(channels, _int(lanes))
    left = builder.sub(channels, builder.mul(whole, _int(lanes)))

    def step(k, values):
        body(_Vectors(builder, item, lanes), builder.mul(k, _int(lanes * item)))
        return ()

    _loop(builder, whole, (), step)
    with builder.if_then(builder.icmp_signed(">", left, _int(0))):
        body(_Vectors(builder, item, lanes, left), builder.mul(whole, _int(lanes * item)))


@cache
def window_sum(item: int, lanes: int, pixels: int):
    """A function for kernels, for numbers of `item` bytes in vectors of `lanes`:

        sums(channels, x, x_step, w, taps, count, y, y_step, start, started, low)

    stores y[p, :] = max(low, start[:] + sum over t of x[p, taps[t].x, :] * w[taps[t].w, :]) for all
    p < pixels. x, w, y, start: addresses; pixel p of x is at p * x_step bytes, of y at p * y_step;
    `taps`: address of `count` pairs of byte offsets in x and w. Without `started` sums start from
    zero (`start` must be readable all the same).
    """

    def build(builder, args):
        channels, x, x_step, w, taps, count, y, y_step, start, started, low = args
        flag = builder.icmp_signed("!=", started, _int(0))

        def fill(vectors, at):
            initial = builder.select(flag, vectors.load(builder.add(start, at)), vectors.zero)
            first, weights = builder.add(x, at), builder.add(w, at)
            sources = [builder.add(first, builder.mul(x_step, _int(p))) for p in range(pixels)]

            def add_tap(t, sums):
                source_at, weight_at = _pair(builder, taps, t)
                weight = vectors.load(builder.add(weights, weight_at))
                seen = [vectors.load(builder.add(source, source_at)) for source in sources]
                return [
                    vectors.multiply_add(s, weight, total)
                    for s, total in zip(seen, sums, strict=True)
                ]

            sums = _loop(builder, count, [initial] * pixels, add_tap)
            for p, total in enumerate(sums):
                target = builder.add(builder.add(y, at), builder.mul(y_step, _int(p)))
                vectors.store(vectors.clamp(total, low), target)

        _over_channels(builder, item, lanes, channels, fill)

    number = types.float32 if item == 4 else types.float64
    return simd.emit(types.void, (types.intp,) * 10 + (number,), build)


@cache
def tap_sum(item: int, lanes: int, most: int):
    """A function for kernels, for numbers of `item` bytes in vectors of `lanes`:

        sums(channels, x, x_line, x_step, dy, dy_line, dy_step, lines, columns, taps, count, dw)

    adds to dw[taps[t].w, :], for t < count, the sum over the lines and columns of a block of pixels
    of x[line, column, taps[t].x, :] * dy[line, column, :]. Byte steps from line to line and from
    column to column; `count` is 1..most.
    """

    def build(builder, args):
        channels, x, x_line, x_step, dy, dy_line, dy_step, lines, columns, taps, count, dw = args
        last = builder.sub(count, _int(1))

        def add_block(vectors, at):
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
                    gradient = vectors.load(builder.add(dy_at, builder.mul(column, dy_step)))
                    offset = builder.add(x_at, builder.mul(column, x_step))
                    seen = [vectors.load(builder.add(source, offset)) for source in sources]
                    return [
                        vectors.multiply_add(s, gradient, total)
                        for s, total in zip(seen, sums, strict=True)
                    ]

                return _loop(builder, columns, sums, add_pixel)

            sums = _loop(builder, lines, [vectors.load(target) for target in targets], add_line)
            for total, target in zip(sums, targets, strict=True):
                vectors.store(total, target)

        _over_channels(builder, item, lanes, channels, add_block)

    return simd.emit(types.void, (types.intp,) * 12, build)
