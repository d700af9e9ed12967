"""A tile's way in and out: its pixels to values at the points, and where its outputs go."""

from functools import cache

from nbcnn.kernels.cpu import jit
from nbcnn.kernels.cpu.blocking import Tile
from nbcnn.kernels.cpu.winograd_maps import Form
from nbcnn.kernels.cpu.winograd_output import Pool
from nbcnn.kernels.cpu.winograd_tiles import along, expect_block, pitch, place, window
from nbcnn.kernels.cpu.winograd_transforms import input_transform


def read_bytes(form: Form) -> int:
    """Of a table of the pixels that a tile reads."""
    return form.rows.side * pitch(form.columns.side) * 8


def write_bytes(form: Form, pool: Pool) -> int:
    """Of a table of the pixels that a tile writes."""
    return form.rows.out // pool.window * pitch(form.columns.out // pool.window) * 8


@cache
def reader(tile: Tile, form: Form):
    """A function for kernels:

        read(s, number, source, zeros, table, values)

    Transform the inputs of a tile, and fetch those of the next; `table` is a place for their
    addresses.
    """
    rows, columns = form
    into_values, arrive = input_transform(tile, form), expect_block(rows.side, columns.out)
    read_window, overlap = window(rows.side, columns.side), columns.side - columns.out
    out_h, out_w, item = rows.out, columns.out, tile.item

    def read(s, number, source, zeros, table, values):
        pixel, row = s.c * item, s.w * s.c * item
        down, right = row * s.dilation_h, pixel * s.dilation_w
        image, i, j = place(s, number + 1)
        y, h, i = along(i, s.tiles_h, out_h, s.dilation_h, s.top, s.h)
        x, w, j = along(j, s.tiles_w, out_w, s.dilation_w, s.left, s.w)
        base = source + (image * s.h + y) * row + x * pixel
        arrive(base + i * down + (j + overlap) * right, down, right, pixel)
        image, i, j = place(s, number)
        y, h, i = along(i, s.tiles_h, out_h, s.dilation_h, s.top, s.h)
        x, w, j = along(j, s.tiles_w, out_w, s.dilation_w, s.left, s.w)
        base = source + (image * s.h + y) * row + x * pixel
        read_window(table, base, down, right, i, j, h, w, zeros)
        into_values(table, s.c, values, s.chunk, s.plane, -1)

    return jit.always_inline(read)


@cache
def finder(tile: Tile, form: Form, pool: Pool):
    """A function for kernels:

        find(s, number, target, winners, nowhere, pixels, marks)

    Fill the tables `pixels` and, where winners are wanted, `marks` with the addresses that a tile
    writes to; `nowhere` takes what lies outside of the map.
    """
    down, across = form.rows.out // pool.window, form.columns.out // pool.window
    write_window, item = window(down, across), tile.item

    def find(s, number, target, winners, nowhere, pixels, marks):
        row, pixel = s.ow * s.f * s.dilation_h, s.f * s.dilation_w
        image, i, j = place(s, number)
        y, h, i = along(i, s.tiles_h, down, s.dilation_h, 0, s.oh)
        x, w, j = along(j, s.tiles_w, across, s.dilation_w, 0, s.ow)
        first = ((image * s.oh + y) * s.ow + x) * s.f
        base = target + first * item
        write_window(pixels, base, row * item, pixel * item, i, j, h, w, nowhere)
        if s.indexed:
            write_window(marks, winners + first, row, pixel, i, j, h, w, nowhere)

    return jit.always_inline(find)
