"""Convolutions as operands of the tiled product: im2col that is never stored.

A target pixel and a tap (kernel position and channel) are each described by a few numbers, of which
the address and whether it lies in the image follow with few additions:

    x[image, row(pixel) + row(tap), column(pixel) + column(tap), channel(tap)]

The forward product and the data gradient sum over taps, the weight gradient over pixels. Going on
to later steps carries over digits (channel, kernel column, kernel row) instead of dividing.
"""

from functools import cache
from typing import NamedTuple

from numpy import float32, int32

from nbcnn.kernels.cuda import jit, ptx
from nbcnn.kernels.cuda.indices import divided
from nbcnn.kernels.cuda.tile_product import Source, Target

# Rows of no pixel and of no tap: their sum with any other is outside, and no number overflows.
NO_PIXEL, NO_TAP = -(2**30), -(2**29)


class Gather(NamedTuple):
    """Pixels (n, rows, columns) of a target, each reading h x w x c at rows i * step_h + first_h +
    u * tap_h for u < taps_h; of the c channels `depth` belong to a group.
    """

    n: int
    rows: int
    columns: int
    h: int
    w: int
    c: int
    depth: int
    step_h: int
    step_w: int
    first_h: int
    first_w: int
    taps_h: int
    taps_w: int
    tap_h: int
    tap_w: int


PIXEL_SIZE = 6  # row and column it begins to read at, offset there, and its digits: column, row, n
TAP_SIZE = 4  # rows and columns from the pixel's first, channel, offset


@jit.inlined
def _pixel_from_digits(o, numbers, at):
    j, i, n = numbers[at + 3], numbers[at + 4], numbers[at + 5]
    row = int32(i * int32(o.step_h) + int32(o.first_h))
    column = int32(j * int32(o.step_w) + int32(o.first_w))
    numbers[at] = row if n < o.n else int32(NO_PIXEL)
    numbers[at + 1] = column
    line = int32(n * int32(o.h) + row)
    numbers[at + 2] = int32(int32(line * int32(o.w) + column) * int32(o.c))


@jit.inlined
def pixel(o, i, numbers, at):
    i, j = divided(i, int32(o.columns))
    n, i = divided(i, int32(o.rows))
    numbers[at + 3], numbers[at + 4], numbers[at + 5] = j, i, n
    _pixel_from_digits(o, numbers, at)


@jit.inlined
def advance_pixel(o, numbers, at, by):
    j, i, n = int32(numbers[at + 3] + by), numbers[at + 4], numbers[at + 5]
    while j >= o.columns:
        j = int32(j - int32(o.columns))
        i = int32(i + 1)
        if i == o.rows:
            i = int32(0)
            n = int32(n + 1)
    numbers[at + 3], numbers[at + 4], numbers[at + 5] = j, i, n
    _pixel_from_digits(o, numbers, at)


@jit.inlined
def _tap_offset(o, row, column, channel):
    row = row if row > NO_TAP // 2 else int32(0)
    return int32(int32(row * int32(o.w) + column) * int32(o.c) + channel)


@jit.inlined
def tap(o, k, numbers, at):
    spot, channel = divided(k, int32(o.depth))
    u, v = divided(spot, int32(o.taps_w))
    row, column = int32(u * int32(o.tap_h)), int32(v * int32(o.tap_w))
    numbers[at] = row if u < o.taps_h else int32(NO_TAP)
    numbers[at + 1], numbers[at + 2] = column, channel
    numbers[at + 3] = _tap_offset(o, row, column, channel)


@jit.inlined
def carried(o, row, column, channel):
    """A tap whose channel may have gone beyond the last one of its kernel position."""
    while channel >= o.depth:
        channel = int32(channel - int32(o.depth))
        column = int32(column + int32(o.tap_w))
        if column == int32(o.taps_w * o.tap_w):
            column = int32(0)
            row = int32(row + int32(o.tap_h))
            if row == int32(o.taps_h * o.tap_h):
                row = int32(NO_TAP)
    return row, column, channel


@jit.inlined
def advance_tap(o, numbers, at, by):
    row, column, channel = carried(
        o, numbers[at], numbers[at + 1], int32(numbers[at + 2] + by)
    )  # fmt: skip
    numbers[at], numbers[at + 1], numbers[at + 2] = row, column, channel
    numbers[at + 3] = _tap_offset(o, row, column, channel)


@cache
def _gather_quad(vector: bool):
    """Four neighbouring taps at a pixel; with `vector` they are four channels of one position."""

    @jit.inlined
    def inside(o, row, column):
        return (row >= 0) & (row < o.h) & (column >= 0) & (column < o.w)

    @jit.inlined
    def whole(o, p, base, pixels, i, taps, j, out, at):
        a = b = c = d = float32(0)
        if inside(o, pixels[i] + taps[j], pixels[i + 1] + taps[j + 1]):
            a, b, c, d = ptx.load4(p, int32(base + pixels[i + 2] + taps[j + 3]))
        out[at], out[at + 1], out[at + 2], out[at + 3] = a, b, c, d

    @jit.inlined
    def single(o, p, base, pixels, i, taps, j, out, at):
        row, column, channel = taps[j], taps[j + 1], taps[j + 2]
        for e in range(4):
            offset = int32(base + pixels[i + 2] + _tap_offset(o, row, column, channel))
            value = float32(0)
            if inside(o, pixels[i] + row, pixels[i + 1] + column):
                value = p[offset]
            out[at + e] = value
            row, column, channel = carried(o, row, column, int32(channel + 1))

    return whole if vector else single


@cache
def pixels_by_taps(vector: bool) -> Source:
    """Places are pixels, the sum is over taps."""
    return Source(True, PIXEL_SIZE, TAP_SIZE, pixel, tap, advance_tap, _gather_quad(vector))


@cache
def taps_by_pixels(vector: bool) -> Source:
    """Places are taps, the sum is over pixels."""
    gather = _gather_quad(vector)

    @jit.inlined
    def quad(o, p, base, places, i, steps, j, out, at):
        gather(o, p, base, steps, j, places, i, out, at)

    return Source(False, TAP_SIZE, PIXEL_SIZE, tap, pixel, advance_pixel, quad)


class Kernel(NamedTuple):
    """w (kh, kw, channels, f) where the sum is over filters: positions (first_tap + u * tap_h +
    v * tap_w) for u < taps_h, and of the f filters `depth` of a group.
    """

    channels: int
    f: int
    depth: int
    first_tap: int
    taps_h: int
    taps_w: int
    tap_h: int
    tap_w: int


@cache
def channels_by_filters(vector: bool) -> Source:
    """Places are channels, the sum is over taps of filters."""

    @jit.inlined
    def place(o, i, numbers, at):
        numbers[at] = int32(i * int32(o.f)) if i < o.channels else int32(-1)

    @jit.inlined
    def position(o, row, column):
        return int32(int32(o.first_tap) + row + column) * int32(o.channels) * int32(o.f)

    @jit.inlined
    def load(o, p, base, place, row, column, f):
        value = float32(0)
        if (place >= 0) & (row >= 0):
            value = p[int32(base + place + position(o, row, column) + f)]
        return value

    @jit.inlined
    def step(o, k, numbers, at):
        spot, f = divided(k, int32(o.depth))
        u, v = divided(spot, int32(o.taps_w))
        numbers[at] = int32(u * int32(o.tap_h)) if u < o.taps_h else int32(NO_TAP)
        numbers[at + 1], numbers[at + 2] = int32(v * int32(o.tap_w)), f

    @jit.inlined
    def advance(o, numbers, at, by):
        row, column, f = carried(o, numbers[at], numbers[at + 1], int32(numbers[at + 2] + by))
        numbers[at], numbers[at + 1], numbers[at + 2] = row, column, f

    @jit.inlined
    def quad(o, p, base, places, i, steps, j, out, at):
        row, column, f = steps[j], steps[j + 1], steps[j + 2]
        if vector:
            a = b = c = d = float32(0)
            if (places[i] >= 0) & (row >= 0):
                start = int32(base + places[i] + position(o, row, column) + f)
                a, b, c, d = ptx.load4(p, start)
            out[at], out[at + 1], out[at + 2], out[at + 3] = a, b, c, d
        else:
            for e in range(4):
                out[at + e] = load(o, p, base, places[i], row, column, f)
                row, column, f = carried(o, row, column, int32(f + 1))

    return Source(True, 1, 3, place, step, advance, quad)


class Pixels(NamedTuple):
    """A result of which the pixels (row0 + i * step_h, column0 + j * step_w) are written, rows x
    columns of n images of h x w pixels of c channels.
    """

    n: int
    rows: int
    columns: int
    h: int
    w: int
    c: int
    row0: int
    column0: int
    step_h: int
    step_w: int


@cache
def pixel_target(vector: bool) -> Target:
    @jit.inlined
    def row(o, i):
        i, j = divided(i, int32(o.columns))
        n, i = divided(i, int32(o.rows))
        line = int32(n * int32(o.h) + int32(o.row0) + i * int32(o.step_h))
        column = int32(int32(o.column0) + j * int32(o.step_w))
        return int32(int32(line * int32(o.w) + column) * int32(o.c)) if n < o.n else int32(-1)

    return Target(row, vector)
