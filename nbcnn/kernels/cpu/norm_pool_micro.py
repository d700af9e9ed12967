"""The passes of batch normalization with a max pool over a row of windows, as vector code.

A window's pixels are taken together, a vector of channels after the other, as `row_sweep` takes
four rows: what belongs to the channels is loaded once for all of them. The same row of the windows
below is asked for ahead.
"""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import compress
from typing import NamedTuple

from llvmlite import ir

from nbcnn.kernels.cpu import pool_micro, simd, types
from nbcnn.kernels.cpu.blocking import Tile
from nbcnn.kernels.cpu.norm_micro import activated, difference, slope_of, zero
from nbcnn.kernels.cpu.row_sweep import Lanes
from nbcnn.kernels.cpu.simd import integer


class Window(NamedTuple):
    rows: int
    columns: int


class Places:
    """One byte for every lane."""

    def __init__(self, builder, tile: Tile, mask=None):
        self.b, self.lanes = builder, pool_micro.Lanes(builder, tile, 1, mask=mask)

    def number(self, k: int):
        return ir.Constant(self.lanes.places, [k] * self.lanes.places.count)

    def load(self, address):
        return self.lanes.load_places(address)[0]

    def store(self, places, address):
        self.lanes.store_places([places], address)


# (builder, lanes, places, addresses[map][pixel of the window], pooled, winners, addresses of column
# arrays)
Body = Callable[[object, Lanes, Places, Sequence[Sequence], object, object, Sequence], None]


def windows(
    tile: Tile, window: Window, maps: Sequence[bool], columns: int, body: Body, past: bool = False
):
    """windows(maps.., pooled, winners, columns.., count, line, channels): addresses of full maps
    (`maps` tells which are worth asking for ahead), of the pooled one and its winners at the first
    of `count` windows, and of arrays of numbers per channel; `line`: bytes of a full map's row.
    `past`: `Lanes.write` passes the caches by.
    """
    lanes, item, number = tile.lanes, tile.item, len(maps)

    def build(b, args):
        full, (pooled, winners) = args[:number], args[number : number + 2]
        arrays, (count, line, channels) = args[number + 2 : -3], args[-3:]
        pixel = b.mul(channels, integer(item))
        whole = b.and_(channels, integer(-lanes))
        below = b.mul(line, integer(window.rows))

        def taps(base):
            """Addresses of a window's pixels."""
            for u in range(window.rows):
                for v in range(window.columns):
                    skip = b.add(b.mul(line, integer(u)), b.mul(pixel, integer(v)))
                    yield b.add(base, skip)

        with simd.loop(b, count) as j:
            skip = b.mul(j, b.mul(pixel, integer(window.columns)))
            corners = [list(taps(b.add(base, skip))) for base in full]
            first = b.add(pooled, b.mul(j, pixel)), b.add(winners, b.mul(j, channels))

            def at(k, mask=None):
                step = b.mul(k, integer(item))
                found = [[b.add(tap, step) for tap in corner] for corner in corners]
                if mask is None:
                    for corner in compress(found, maps):
                        for tap in corner:
                            simd.prefetch(b, b.add(tap, below), near=False)
                places = Places(b, tile, mask)
                pools, marks = b.add(first[0], step), b.add(first[1], k)
                numbers = Lanes(b, tile, mask, past)
                body(b, numbers, places, found, pools, marks, [b.add(a, step) for a in arrays])

            with simd.loop(b, whole, lanes) as k:
                at(k)
            with b.if_then(b.icmp_signed("<", whole, channels)):
                at(whole, simd.first_lanes(b, b.sub(channels, whole), lanes))
        if past:
            b.fence("seq_cst")

    return simd.emit(types.void, (types.intp,) * (number + columns + 5), build)


@cache
def line(tile: Tile, act: int, window: Window):
    """line(x, y, winners, origin, scale, shift, count, line, channels)."""

    def body(b, lanes, places, maps, y, winners, columns):
        origin, scale, shift = map(lanes.load, columns)
        values = [difference(b, lanes.load(at), origin) for at in maps[0]]
        best, *others = [simd.multiply_add(b, value, scale, shift) for value in values]
        winner = places.number(0)
        for k, value in enumerate(others, 1):  # larger, or the first that is no number
            larger = b.fcmp_unordered(">", value, best)
            better = b.and_(larger, b.fcmp_ordered("ord", best, best))
            best = b.select(better, value, best)
            winner = b.select(better, places.number(k), winner)
        lanes.store(activated(b, lanes, act, best), y)
        places.store(winner, winners)

    return windows(tile, window, (True,), 3, body)


@cache
def gradient_sums(tile: Tile, act: int, window: Window):
    """gradient_sums(x, dy, winners, origin, scale, shift, first, second, count, line, channels):
    add g and g (x - origin), which are zero but at the winners.
    """

    def body(b, lanes, places, maps, dy, winners, columns):
        origin, scale, shift = map(lanes.load, columns[:3])
        winner, (x, *others) = places.load(winners), map(lanes.load, maps[0])
        for k, value in enumerate(others, 1):
            x = b.select(b.icmp_unsigned("==", winner, places.number(k)), value, x)
        centered = difference(b, x, origin)
        slope = slope_of(b, lanes, act, centered, scale, shift, lanes.load(dy))
        lanes.store(b.fadd(lanes.load(columns[3]), slope), columns[3])
        total = simd.multiply_add(b, slope, centered, lanes.load(columns[4]))
        lanes.store(total, columns[4])

    return windows(tile, window, (True,), 5, body)


@cache
def gradient(tile: Tile, act: int, window: Window, past: bool):
    """gradient(x, dx, dy, winners, origin, scale, shift, a, b, c, count, line, channels): dx = a g
    + b (x - origin) + c, which `past` has written past the caches.
    """

    def body(b, lanes, places, maps, dy, winners, columns):
        origin, scale, shift, of_g, of_x, rest = map(lanes.load, columns)
        winner, given, results = places.load(winners), lanes.load(dy), []
        for k, at in enumerate(maps[0]):
            centered = difference(b, lanes.load(at), origin)
            won = b.icmp_unsigned("==", winner, places.number(k))
            slope = b.select(won, given, zero(lanes))
            slope = slope_of(b, lanes, act, centered, scale, shift, slope)
            value = simd.multiply_add(b, centered, of_x, rest)
            results.append(simd.multiply_add(b, slope, of_g, value))
        for value, at in zip(results, maps[1]):
            lanes.write(value, at)

    return windows(tile, window, (True, not past), 6, body, past)
