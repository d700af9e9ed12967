"""Inner loops of depthwise convolution, the kernel's size and stride compiled in.

A sweep runs along a strip of a few rows for one vector of channels. An input vector is loaded once
and multiplied with every weight that it meets, so a step of 3x3 convolution over four rows of
output makes 36 multiply-adds from six loads. The price: several sums are under way at a time.
In a *step* the sweep reads `inward` columns of the input (of each of its lines) and completes
`outward` columns of the output; the sums of a later column are a *slot* further, and each step
moves all slots down by one:

    gather (forward):          inward = stride, outward = 1, tap = (slots - 1 - slot) * stride + p,
    spread (input gradient):   inward = 1, outward = stride, tap = slot * stride + p,

where p counts the columns of a step. Rows go the same way, without slots: a strip has `rows` groups
of `outward` lines, and reads all lines that these meet.

`weight_sweep` holds the sums of a kernel's weights and keeps the gradient of the columns under way
in the slots.

In a grouped convolution a vector that is loaded becomes several, one for each channel of a group
(`group_lanes`), and each meets its own weights. There are too many of these for the registers; a
multiply-add reads them from L1, which costs nothing where a vector is loaded and one multiplied in
a cycle. (All lines of a strip under one load of a weight took 1.3 to 1.5 times as long.)

Lines that do not exist are left out by branches that are the same in all steps, so the processor
foresees them. Columns that do not exist are asked for in *careful* steps only, at the ends.
"""

import itertools
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

from llvmlite import ir

from nbcnn.kernels.cpu import simd, types
from nbcnn.kernels.cpu.blocking import Tile
from nbcnn.kernels.cpu.depthwise_micro import Lanes
from nbcnn.kernels.cpu.group_lanes import group_channels


class Sweep(NamedTuple):
    """What a sweep is compiled for."""

    kh: int
    kw: int
    stride: int
    spread: int  # 1: input gradient
    rows: int  # groups of lines in a strip
    masked: int  # 1: fewer channels than lanes
    inputs: int = 1  # channels of a group that are read
    outputs: int = 1  # channels of a group that are made; in lanes

    @property
    def depthwise(self) -> bool:
        return self.inputs == self.outputs == 1

    @property
    def inward(self) -> int:
        return 1 if self.spread else self.stride

    @property
    def outward(self) -> int:
        return self.stride if self.spread else 1

    @property
    def slots(self) -> int:
        return -(-self.kw // self.stride)

    @property
    def lines(self) -> int:
        """Lines of input under a strip."""
        if self.spread:
            return self.rows - 1 + -(-self.kh // self.stride)
        return (self.rows - 1) * self.stride + self.kh

    @property
    def made(self) -> int:
        """Lines of output of a strip."""
        return self.rows * self.outward

    def kernel_row(self, line: int, made: int) -> int | None:
        """The row of the kernel through which an input line adds to an output line."""
        if self.spread:
            group, p = divmod(made, self.stride)
            row = (group + -(-self.kh // self.stride) - 1 - line) * self.stride + p
        else:
            row = line - made * self.stride
        return row if 0 <= row < self.kh else None

    def kernel_column(self, slot: int, seen: int, made: int) -> int | None:
        """The column of the kernel through which a step's column `seen` adds to column `made` of a
        slot.
        """
        ahead, p = (slot, made) if self.spread else (self.slots - 1 - slot, seen)
        column = ahead * self.stride + p
        return column if column < self.kw else None

    def taps(self, line: int, seen: int):
        """What an input vector meets: (output line, slot, column in the slot), (row, column)."""
        for made in range(self.made):
            row = self.kernel_row(line, made)
            for slot in range(self.slots):
                for p in range(self.outward):
                    column = self.kernel_column(slot, seen, p)
                    if row is not None and column is not None:
                        yield (made, slot, p), (row, column)

    def sums(self) -> list[tuple[int, int, int]]:
        """All sums under way in a step."""
        return [
            (made, slot, p)
            for made in range(self.made)
            for slot in range(self.slots)
            for p in range(self.outward)
        ]


@contextmanager
def _guarded(builder, condition, values: dict):
    """The body runs if `condition`; entries of `values` that it replaces are merged after it."""
    before, entry = dict(values), builder.block
    with builder.if_then(condition):
        yield
        end = builder.block
    for key, value in values.items():
        if value is not before[key]:
            merged = builder.phi(value.type)
            merged.add_incoming(before[key], entry)
            merged.add_incoming(value, end)
            values[key] = merged


def _along(builder, bounds, values: list, step):
    """step(t, values, careful) -> values for all steps t from bounds[0] to bounds[3], those before
    bounds[1] and from bounds[2] on being careful ones; returns the last values.
    """
    begin, first, last, end = bounds
    values = [*values, simd.integer(0)]  # `simd.loop` wants one at least
    with simd.loop(builder, simd.integer(2), values=values) as (phase, current):
        ahead = builder.icmp_signed("==", phase, simd.integer(0))
        for start, stop, careful in (
            (builder.select(ahead, begin, last), builder.select(ahead, first, end), True),
            (first, builder.select(ahead, last, first), False),
        ):
            count = builder.sub(stop, start)
            with simd.loop(builder, count, values=current) as (k, inner):
                inner[:-1] = step(builder.add(start, k), inner[:-1], careful)
            current[:] = inner
    return current[:-1]


class _Strip:
    """One operand of a sweep: a few lines of pixels, some of which do not exist."""

    def __init__(self, builder, args, lines):
        address, line, self.mask, self.first, self.limit, self.pixel = args
        self.builder = builder
        self.bases = [
            builder.add(address, builder.mul(line, simd.integer(i))) for i in range(lines)
        ]

    def has_line(self, line: int):
        bit = self.builder.and_(self.mask, simd.integer(1 << line))
        return self.builder.icmp_signed("!=", bit, simd.integer(0))

    def has_column(self, column):
        at = self.builder.add(column, self.first)
        return self.builder.icmp_unsigned("<", at, self.limit)

    def at(self, line: int, column):
        """Address of a pixel; `column` counts from where the strip's address is."""
        return self.builder.add(self.bases[line], self.builder.mul(column, self.pixel))


CACHE_LINE = 64


def _prefetch(builder, address, t, size):
    """Ask for the t-th `size` bytes from `address` on."""
    byte, i32 = ir.IntType(8).as_pointer(), ir.IntType(32)
    function = simd.declare(builder, "llvm.prefetch.p0", ir.VoidType(), [byte, i32, i32, i32])
    at = builder.add(address, builder.mul(t, simd.integer(size)))
    hints = [ir.Constant(i32, hint) for hint in (0, 2, 1)]  # to read, into L2, data
    for line in range(0, size, CACHE_LINE):
        there = builder.inttoptr(builder.add(at, simd.integer(line)), byte)
        builder.call(function, (there, *hints))


def _see(builder, sweep: Sweep, x: _Strip, read, t, values: dict, careful: bool, use):
    """Load what step t reads and `use(line, seen, vectors)` it: `read` makes a vector of each
    channel of a group.
    """
    columns = [
        builder.add(builder.mul(t, simd.integer(sweep.inward)), simd.integer(p))
        for p in range(sweep.inward)
    ]
    if not careful:
        for line in range(sweep.lines):
            with _guarded(builder, x.has_line(line), values):
                for p, column in enumerate(columns):
                    use(line, p, read(x.at(line, column)))
        return
    for p, column in enumerate(columns):
        with _guarded(builder, x.has_column(column), values):
            for line in range(sweep.lines):
                with _guarded(builder, x.has_line(line), values):
                    use(line, p, read(x.at(line, column)))


def _reader(builder, tile: Tile, sweep: Sweep, lanes: Lanes):
    """read(address): what lanes multiply, a vector for each channel of a group."""
    if sweep.depthwise:
        return lambda address: [lanes.load(address)]
    return lambda address: group_channels(builder, tile, sweep.inputs, sweep.outputs, address)


def _weights(builder, tile: Tile, sweep: Sweep, lanes: Lanes, w, w_tap):
    """weight(u, v, channel of the group), a vector."""
    if sweep.depthwise:
        # Those without a register wait on the stack: 7x7 takes 0.8 of the time that it takes with
        # loads where they are used.
        taps = itertools.product(range(sweep.kh), range(sweep.kw))
        held = [
            lanes.load(builder.add(w, builder.mul(w_tap, simd.integer(i))))
            for i, _ in enumerate(taps)
        ]
        return lambda u, v, channel: held[u * sweep.kw + v]

    def weight(u, v, channel):
        number = (u * sweep.kw + v) * sweep.inputs + channel
        return lanes.load(builder.add(w, simd.integer(number * tile.lanes * tile.item)))

    return weight


@cache
def output_sweep(tile: Tile, sweep: Sweep):
    """A function for kernels:

        run(x, x_line, x_mask, x_first, x_limit, x_pixel,
            y, y_line, y_mask, y_first, y_limit, y_pixel,
            w, w_tap, start, started, begin, first, last, end, channels,
            ahead, low)

    makes one strip of the output: y = max(low, start + sum of x * w). Addresses and distances are
    in bytes. Step t = 0 reads input columns from address x on and makes columns from address y on;
    these are columns x_first and y_first of x_limit and y_limit. Line i of the input (output)
    exists if bit i of x_mask (y_mask) is set. Tap (u, v) of the kernel is at w + (u * kw + v) *
    w_tap. Without `started` sums start from zero (`start` must be readable all the same). Step t
    also asks for its part of the memory from `ahead` on: what a sweep reads is scattered, and the
    processor does not foresee it.
    """

    def build(builder, args):
        source = _Strip(builder, args[:6], sweep.lines)
        target = _Strip(builder, args[6:12], sweep.made)
        w, w_tap, start, started, *bounds, channels, ahead, low = args[12:]
        lanes = Lanes.of(builder, tile, channels if sweep.masked else None)
        read = _reader(builder, tile, sweep, lanes)
        zero = ir.Constant(simd.vector_type(tile.lanes, tile.item), [0.0] * tile.lanes)
        flag = builder.icmp_signed("!=", started, simd.integer(0))
        initial = builder.select(flag, lanes.load(start), zero)
        lowest = simd.broadcast(builder, low, tile.lanes)

        weight = _weights(builder, tile, sweep, lanes, w, w_tap)
        carried = [(made, slot, p) for made, slot, p in sweep.sums() if slot < sweep.slots - 1]

        def step(t, values, careful):
            sums = dict.fromkeys(sweep.sums(), initial)
            sums.update(zip(carried, values, strict=True))
            vector = tile.lanes * tile.item
            if not careful:
                size = sweep.rows * sweep.inward**2 * vector * sweep.inputs // sweep.outputs
                _prefetch(builder, ahead, t, size)

            def use(line, seen, vectors):
                for j, vector in enumerate(vectors):
                    for place, tap in sweep.taps(line, seen):
                        factor = weight(*tap, j)
                        sums[place] = simd.multiply_add(builder, vector, factor, sums[place])

            _see(builder, sweep, source, read, t, sums, careful, use)
            for p in range(sweep.outward):
                column = builder.add(builder.mul(t, simd.integer(sweep.outward)), simd.integer(p))
                with _guarded(builder, target.has_column(column) if careful else _true, {}):
                    for made in range(sweep.made):
                        with builder.if_then(target.has_line(made)):
                            total = sums[made, 0, p]
                            # not `max`: NaN is kept
                            below = builder.fcmp_ordered("<", total, lowest)
                            total = builder.select(below, lowest, total)
                            lanes.store(total, target.at(made, column))
            return [sums[made, slot + 1, p] for made, slot, p in carried]

        _along(builder, bounds, [initial] * len(carried), step)

    number = types.float32 if tile.item == 4 else types.float64
    return simd.emit(types.void, (types.intp,) * 22 + (number,), build)


_true = ir.Constant(ir.IntType(1), 1)


@cache
def weight_sweep(tile: Tile, sweep: Sweep):
    """A function for kernels:

        run(x, x_line, x_mask, x_first, x_limit, x_pixel,
            dy, dy_line, dy_mask, dy_first, dy_limit, dy_pixel,
            sums, begin, first, last, end, channels, x_ahead, dy_ahead)

    adds to sums[u, v, channel of a group], one vector each, what one strip of the gradient
    contributes: the sum of x * dy. Arguments as those of `output_sweep`.
    """

    def build(builder, args):
        source = _Strip(builder, args[:6], sweep.lines)
        gradient = _Strip(builder, args[6:12], sweep.rows)
        buffer, *bounds, channels, x_ahead, dy_ahead = args[12:]
        lanes = Lanes.of(builder, tile, channels if sweep.masked else None)
        read = _reader(builder, tile, sweep, lanes)
        zero = ir.Constant(simd.vector_type(tile.lanes, tile.item), [0.0] * tile.lanes)
        taps = list(itertools.product(range(sweep.kh), range(sweep.kw), range(sweep.inputs)))
        newest = sweep.slots - 1
        carried = [(made, slot) for made in range(sweep.rows) for slot in range(newest)]

        def step(t, values, careful):
            sums = dict(zip(taps, values[: len(taps)], strict=True))
            vector = tile.lanes * tile.item
            if not careful:
                size = sweep.rows * sweep.inward**2 * vector * sweep.inputs // sweep.outputs
                _prefetch(builder, x_ahead, t, size)
                _prefetch(builder, dy_ahead, t, sweep.rows * vector)
            slopes = dict(zip(carried, values[len(taps) :], strict=True))
            fresh = dict.fromkeys(range(sweep.rows), zero)
            column = builder.add(t, simd.integer(newest))
            with _guarded(builder, gradient.has_column(column) if careful else _true, fresh):
                for made in range(sweep.rows):
                    with _guarded(builder, gradient.has_line(made), fresh):
                        fresh[made] = lanes.load(gradient.at(made, column))
            slopes.update({(made, newest): value for made, value in fresh.items()})

            def use(line, seen, vectors):
                for j, vector in enumerate(vectors):
                    for (made, slot, _), tap in sweep.taps(line, seen):
                        at = (*tap, j)
                        sums[at] = simd.multiply_add(builder, vector, slopes[made, slot], sums[at])

            _see(builder, sweep, source, read, t, sums, careful, use)
            return [*sums.values(), *(slopes[made, slot + 1] for made, slot in carried)]

        totals = _along(builder, bounds, [zero] * (len(taps) + len(carried)), step)
        for i, total in enumerate(totals[: len(taps)]):
            at = builder.add(buffer, simd.integer(i * tile.lanes * tile.item))
            before = simd.load_vector(builder, at, total.type)
            simd.store_vector(builder, builder.fadd(before, total), at)

    return simd.emit(types.void, (types.intp,) * 20, build)
