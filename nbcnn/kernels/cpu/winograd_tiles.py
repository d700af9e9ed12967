"""Tiles of Winograd's convolutions: where their pixels are, and fetching them ahead of time.

The pixels of a tile are found through a table of addresses, row by row, each row `pitch(columns)`
entries long: `window` fills it with a few vector operations, for all channels. Pixels outside an
image point elsewhere, so the transforms know nothing of borders and nothing is copied.

Dilated kernels see an image as dilation x dilation images, its phases, of every so many-th row and
column; in each they are ordinary kernels. A tile lies within a phase.
"""

from functools import cache

from llvmlite import ir

from nbcnn.kernels.cpu import jit, simd, types
from nbcnn.kernels.cpu.blocking import Tile
from nbcnn.kernels.cpu.simd import integer

LINE = 64  # bytes of a cache line


def pitch(columns: int) -> int:
    """Entries of a table's row."""
    return 1 << (columns - 1).bit_length()


@jit.always_inline
def place(s, number):
    """(image, row, column) of a tile; s: sizes. Rows and columns of tiles go through all phases."""
    across = s.tiles_w * s.dilation_w
    inside = number % (s.tiles_h * s.dilation_h * across)
    return number // (s.tiles_h * s.dilation_h * across), inside // across, inside % across


@jit.always_inline
def along(number, tiles, step, dilation, lead, extent):
    """In one dimension, of `extent` pixels: (first pixel of a phase, pixels of the phase, where in
    it a tile begins). Tiles of a phase are `step` apart; phase 0 begins at pixel `lead`.
    """
    first = number // tiles + lead
    start = first % dilation
    size = (extent - start + dilation - 1) // dilation
    return start, size, number % tiles * step + first // dilation


@cache
def window(rows: int, columns: int):
    """A function for kernels:

        window(table, base, row, pixel, i, j, h, w, elsewhere)

    Fill `table` with the addresses of rows x columns pixels from (i, j) of an image of h x w at
    `base`, whose rows and pixels are `row` and `pixel` bytes apart; `elsewhere` where there are
    none.
    """
    lanes, word = pitch(columns), ir.IntType(64)

    def build(builder, args):
        table, base, row, pixel, i, j, h, w, elsewhere = args
        kind = ir.VectorType(word, lanes)

        def all_lanes(x):
            return simd.broadcast(builder, x, lanes)

        number = ir.Constant(kind, list(range(lanes)))
        inside = builder.icmp_unsigned("<", builder.add(all_lanes(j), number), all_lanes(w))
        start = builder.add(base, builder.add(builder.mul(i, row), builder.mul(j, pixel)))
        found = builder.add(all_lanes(start), builder.mul(all_lanes(pixel), number))
        found = builder.select(inside, found, all_lanes(elsewhere))
        step = builder.select(inside, all_lanes(row), ir.Constant(kind, [0] * lanes))
        for p in range(rows):
            exists = builder.icmp_unsigned("<", builder.add(i, integer(p)), h)
            chosen = builder.select(exists, found, all_lanes(elsewhere))
            at = builder.add(table, integer(p * lanes * 8))
            builder.store(chosen, builder.inttoptr(at, kind.as_pointer()), align=8)
            found = builder.add(found, step)

    return simd.emit(types.void, (types.intp,) * 9, build)


def entry(builder, table, columns, k):
    """Entry k of a table of pixels, while emitting."""
    at = builder.add(table, integer(8 * (k // columns * pitch(columns) + k % columns)))
    return builder.load(builder.inttoptr(at, ir.IntType(64).as_pointer()))


class _Prefetch:
    """Emission of prefetches: of lines to be written, or read, into L1 or L2."""

    def __init__(self, builder, write: bool, level: int):
        self.b, self.byte, word = builder, ir.IntType(8).as_pointer(), ir.IntType(32)
        kinds = [self.byte, word, word, word]
        self.function = simd.declare(builder, "llvm.prefetch.p0", ir.VoidType(), kinds)
        self.options = [ir.Constant(word, x) for x in (int(write), 4 - level, 1)]

    def __call__(self, address):
        self.b.call(self.function, [self.b.inttoptr(address, self.byte), *self.options])


@cache
def expect_pixels(tile: Tile, rows: int, columns: int):
    """A function for kernels:

        expect(table, offset)

    Bring a panel of the rows x columns pixels that are going to be written into L2.
    """

    def build(builder, args):
        table, offset = args
        fetch = _Prefetch(builder, True, 2)
        for k in range(rows * columns):
            pixel = builder.add(entry(builder, table, columns, k), offset)
            for line in range(0, tile.width * tile.item, LINE):
                fetch(builder.add(pixel, integer(line)))

    return simd.emit(types.void, (types.intp,) * 2, build)


@cache
def expect_block(rows: int, columns: int):
    """A function for kernels:

        expect(base, row, pixel, size)

    Bring `size` bytes of rows x columns pixels near. They may lie outside of any array.
    """

    def build(builder, args):
        base, row, pixel, size = args
        fetch = _Prefetch(builder, False, 1)
        with simd.loop(builder, size, LINE) as line:
            start = builder.add(base, line)
            for _ in range(rows):
                at = start
                for _ in range(columns):
                    fetch(at)
                    at = builder.add(at, pixel)
                start = builder.add(start, row)

    return simd.emit(types.void, (types.intp,) * 4, build)
