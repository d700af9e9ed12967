"""Micro-kernels of convolutions whose groups make one vector of channels.

Forward: `rows` x `pixels` neighbouring outputs, for all taps and channels of a group,

    y[r, p, :] = max(low, start[:] + sum over u, k, v of
                     x[r*sh + u*dilh, p*sw + v*dilw, k] * w[u, k, v, :])

With one vector of filters the usual tile loads one number of x for each multiply-add, and loads are
what it waits for. Here a number of x, once in a register, meets all taps of a kernel's row that see
it: 14 pixels of a 3-wide kernel take 19 loads for 42 multiply-adds.

Weights: the same with sums over pixels in place of channels, `channels` x taps of a row at a time,

    dw[v, k, :] = sum over i, j of x[i, j*sw + v*dilw, k] * dy[i, j, :]

Pixels of x, w and dy are one vector apart, so that all addresses of a step are one register and a
constant.
"""

from functools import cache
from typing import NamedTuple

from llvmlite import ir

from nbcnn.kernels.cpu import simd, types
from nbcnn.kernels.cpu.blocking import Tile
from nbcnn.kernels.cpu.simd import integer


class Window(NamedTuple):
    """What is written out: `pixels` outputs of `rows` rows, and the taps of a kernel's row."""

    rows: int
    pixels: int
    taps: int
    stride: int
    dilation: int

    def meetings(self) -> list[tuple[int, list[tuple[int, int]]]]:
        """(column of x, [(output, tap) that read it]) in the order of the columns."""
        found: dict[int, list[tuple[int, int]]] = {}
        for p in range(self.pixels):
            for v in range(self.taps):
                found.setdefault(p * self.stride + v * self.dilation, []).append((p, v))
        return sorted(found.items())


class _Emitter:
    def __init__(self, builder, tile: Tile):
        self.b, self.lanes, self.item = builder, tile.lanes, tile.item
        self.scalar = simd.scalar_type(tile.item)
        self.vector = simd.vector_type(tile.lanes, tile.item)
        self.size = tile.lanes * tile.item
        self.zero = ir.Constant(self.vector, [0.0] * tile.lanes)

    def load(self, address, number: int = 0):
        """The vector that is `number` vectors behind an address."""
        return simd.load_vector(
            self.b, self.b.add(address, integer(number * self.size)), self.vector
        )

    def everywhere(self, address, offset: int):
        """The number `offset` bytes behind an address, in every lane."""
        pointer = self.b.inttoptr(self.b.add(address, integer(offset)), self.scalar.as_pointer())
        return simd.broadcast(self.b, self.b.load(pointer, align=self.item), self.lanes)


@cache
def output_rows(tile: Tile, window: Window):
    """A function for kernels:

        outputs(x, x_row, w, depth, lines, x_line, y, y_pixel, y_row, start, low, columns, rows)

    x, w, y, start: addresses; `depth` channels, `lines` rows of the kernel `x_line` bytes apart in
    x; outputs are `y_pixel` and `y_row` bytes apart, their x `x_row`. Of the outputs `columns` and
    `rows` exist, all are computed: x must be readable for all.
    """
    cells = [(r, p) for r in range(window.rows) for p in range(window.pixels)]
    meetings = window.meetings()

    def build(builder, args):
        x, x_row, w, depth, lines, x_line, y, y_pixel, y_row, start, low, columns, rows = args
        b, e = builder, _Emitter(builder, tile)
        first = e.load(start)
        below = integer(window.taps * e.size)
        with simd.loop(b, lines, 1, [w] + [first] * len(cells)) as (u, outer):
            line = b.add(x, b.mul(u, x_line))
            with simd.loop(b, depth, 1, outer[:]) as (k, inner):
                at = b.add(line, b.mul(k, integer(tile.item)))
                weights = [e.load(inner[0], v) for v in range(window.taps)]
                sums = dict(zip(cells, inner[1:]))
                for r in range(window.rows):
                    row = b.add(at, b.mul(x_row, integer(r)))
                    for column, readers in meetings:
                        number = e.everywhere(row, column * e.size)
                        for p, v in readers:
                            sums[r, p] = simd.multiply_add(b, number, weights[v], sums[r, p])
                inner[:] = [b.add(inner[0], below), *sums.values()]
            outer[:] = inner
        floor = simd.broadcast(b, low, tile.lanes)
        results = [b.select(b.fcmp_ordered(">", floor, value), floor, value) for value in outer[1:]]
        places = [
            b.add(y, b.add(b.mul(y_row, integer(r)), b.mul(y_pixel, integer(p)))) for r, p in cells
        ]
        whole = b.and_(
            b.icmp_signed(">=", rows, integer(window.rows)),
            b.icmp_signed(">=", columns, integer(window.pixels)),
        )
        with b.if_else(whole) as (full, partial):
            with full:
                for value, place in zip(results, places):
                    simd.store_vector(b, value, place)
            with partial:
                for (r, p), value, place in zip(cells, results, places):
                    exists = b.and_(
                        b.icmp_signed("<", integer(r), rows),
                        b.icmp_signed("<", integer(p), columns),
                    )
                    with b.if_then(exists):
                        simd.store_vector(b, value, place)

    number = types.float32 if tile.item == 4 else types.float64
    return simd.emit(types.void, (types.intp,) * 10 + (number,) + (types.intp,) * 2, build)


@cache
def tap_sums(tile: Tile, window: Window, channels: int):
    """A function for kernels:

        sums(x, x_row, dy, rows, across, dw, dw_tap, dw_channel, resume)

    dy: `rows` times `across` runs of `window.pixels` vectors, one behind the other. Sums of the
    channels' are stored `dw_channel` bytes apart, of the taps' `dw_tap`; with `resume` they are
    added to what is there.
    """
    cells = [(v, k) for v in range(window.taps) for k in range(channels)]
    meetings = window.meetings()

    def build(builder, args):
        x, x_row, dy, rows, across, dw, dw_tap, dw_channel, resume = args
        b, e = builder, _Emitter(builder, tile)
        run = integer(window.pixels * e.size)
        step = integer(window.pixels * window.stride * e.size)
        with simd.loop(b, rows, 1, [dy] + [e.zero] * len(cells)) as (i, outer):
            line = b.add(x, b.mul(i, x_row))
            with simd.loop(b, across, 1, outer[:]) as (t, inner):
                at = b.add(line, b.mul(t, step))
                sums = dict(zip(cells, inner[1:]))
                gradients = {}
                for column, readers in meetings:
                    for p, _ in readers:
                        if p not in gradients:
                            gradients[p] = e.load(inner[0], p)
                    for k in range(channels):
                        number = e.everywhere(at, column * e.size + k * tile.item)
                        for p, v in readers:
                            sums[v, k] = simd.multiply_add(b, number, gradients[p], sums[v, k])
                inner[:] = [b.add(inner[0], run), *sums.values()]
            outer[:] = inner
        again = b.icmp_signed("!=", resume, integer(0))
        for (v, k), value in zip(cells, outer[1:]):
            place = b.add(dw, b.add(b.mul(dw_tap, integer(v)), b.mul(dw_channel, integer(k))))
            # Where nothing is there yet, dy is as good an address as any that may be read.
            before = b.select(again, e.load(b.select(again, place, dy)), e.zero)
            simd.store_vector(b, b.fadd(value, before), place)

    return simd.emit(types.void, (types.intp,) * 9, build)
