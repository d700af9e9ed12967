"""Copying a block of images to a buffer with zeros around it, where taps reach over the edge."""

from functools import cache

from nbcnn.kernels.cpu import jit, simd, types
from nbcnn.kernels.cpu.blocking import Tile

LINE = 64  # bytes of a cache line


def _fetch(builder, args):
    address, lines = args
    with simd.loop(builder, lines) as i:
        at = builder.add(address, builder.mul(i, simd.integer(LINE)))
        simd.prefetch(builder, at, near=False)


fetch_lines = simd.emit(types.void, (types.intp,) * 2, _fetch)
"""fetch_lines(address, lines): ask for consecutive lines, into L2."""


@cache
def fill_block(tile: Tile):
    """fill(sweep, buffer, source, first image, images, first row): copy a block, zeros where there
    is no source.

    `sweep` may be any record with the fields h, w, c, left, buffer_h, buffer_w and pixel. Where a
    buffer's pixel has more bytes than the source's, c must fill whole vectors.
    """
    item, spread = tile.item, spread_pixels(tile)

    def fill(s, buffer, source, first, images, top):
        pixel = s.c * item
        zeros_left = min(max(-s.left, 0), s.buffer_w)
        start = max(s.left, 0)
        inside = max(min(s.w - start, s.buffer_w - zeros_left), 0)
        zeros_right = s.buffer_w - zeros_left - inside
        at = buffer
        for image in range(first, first + images):
            for row in range(top, top + s.buffer_h):
                if row < 0 or row >= s.h:
                    simd.zero_bytes(at, s.buffer_w * s.pixel)
                else:
                    simd.zero_bytes(at, zeros_left * s.pixel)
                    at_pixel = at + zeros_left * s.pixel
                    origin = source + ((image * s.h + row) * s.w + start) * pixel
                    if s.pixel == pixel:
                        simd.copy_bytes(at_pixel, origin, inside * pixel)
                    else:
                        spread(at_pixel, origin, inside, s.c, s.pixel)
                    simd.zero_bytes(at_pixel + inside * s.pixel, zeros_right * s.pixel)
                at += s.buffer_w * s.pixel

    return jit.helper(fill)


@cache
def spread_pixels(tile: Tile):
    """spread(target, source, pixels, channels, pixel): consecutive pixels, whole vectors, to
    `pixel` bytes apart.
    """
    lanes, item = tile.lanes, tile.item
    vector = simd.vector_type(lanes, item)

    def build(builder, args):
        b, (target, source, pixels, channels, pixel) = builder, args
        size = b.mul(channels, simd.integer(item))
        with simd.loop(b, pixels) as i:
            to, at = b.add(target, b.mul(i, pixel)), b.add(source, b.mul(i, size))
            with simd.loop(b, size, lanes * item) as j:
                simd.store_vector(b, simd.load_vector(b, b.add(at, j), vector), b.add(to, j))

    return simd.emit(types.void, (types.intp,) * 5, build)
