"""Winograd's weight gradient, F(3x3, 4x4): a quarter of the multiplications. Forms and shapes are
those of `conv_winograd`.

    values[e][t][c]    = input transform of tile t of x       (points e)
    gradients[e][t][f] = gradient transform of tile t of dy
    products[e][c][f]  = sum over t of values[e][t][c] * gradients[e][t][f]
    dw                 = taps transform of products

Blocking. A task has a slab of tiles, and a part of the channels and one of the filters. It takes
blocks of tiles: transforms both sides, then runs the matrix products, whose sums run over the
block's tiles. At the end the products become taps. Products stay in L2 for all of the slab: where
those of all points would leave too little room, the task goes through its slab several times, each
time with a part of the points. That costs little: transforms go by parts of the points anyway.

Each part of x is transformed once per part of dy and the other way round, so parts are as large as
L2 allows.

Slabs follow from the shape alone, and their results are added in order: the same bits at any number
of threads.
"""

from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from nbcnn.kernels.cpu import jit, simd, slabs
from nbcnn.kernels.cpu.blocking import Tile, padded_columns, register_tile
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.conv_winograd import LARGE, SMALL, form_of, refuses, tile_count, tile_grid
from nbcnn.kernels.cpu.winograd_gemm import channel_product
from nbcnn.kernels.cpu.winograd_maps import Form
from nbcnn.kernels.cpu.winograd_tiles import LINE, along, expect_block, pitch, place, window
from nbcnn.kernels.cpu.winograd_transforms import (
    gradient_transform,
    input_transform,
    taps_transform,
)
from nbcnn.kernels.impl import Impl, Scratch, no_pool
from nbcnn.ops.conv_spec import Conv2DSpec

PART = 64  # channels, and filters, of a task
SMALL_PART = 32  # where L2 is less than a megabyte
MOST_TILES = 48  # of a block
SLAB_TILES = 64  # of a slab at least: its taps transform then costs a few percent
TASKS = 16
PASS_BYTES = 320 * 1024  # of products, beyond which a part of the points is taken at a time


class Split(NamedTuple):
    """What the kernel needs to know; distances in bytes."""

    h: int
    w: int
    c: int
    oh: int
    ow: int
    f: int
    top: int
    left: int
    dilation_h: int
    dilation_w: int
    tiles_h: int
    tiles_w: int
    tiles: int
    block: int  # tiles at a time
    slabs: int
    parts_c: int
    parts_f: int
    part_c: int
    part_f: int
    passes: int  # through a slab
    chunk: int  # from one chunk of channels, or filters, to the next
    plane_c: int  # from one point's values to the next
    plane_f: int
    plane: int  # from one point's products to the next
    bias: int


def split(s: Conv2DSpec, caps: Caps, out: int) -> Split:
    tile, form = register_tile(caps, "float32"), form_of(s, out)
    tiles = tile_count(s, out)
    most = PART if caps.l2 >= 1 << 20 else SMALL_PART
    part_c, part_f = _part(s.c, most, tile.lanes), _part(s.f, most, tile.lanes)
    parts_c, parts_f = -(-s.c // part_c), -(-s.f // part_f)
    plane = part_c * -(-part_f // tile.width) * tile.width * tile.item + LINE
    passes = len(form.parts) if form.points * plane > PASS_BYTES else 1
    points = most_points(form, passes)
    room = max(caps.l2 * 3 // 4 - points * plane, caps.l2 // 4)
    block = max(8, min(room // (points * (part_c + part_f) * tile.item), MOST_TILES))
    chunk = block * tile.lanes * tile.item
    planes = part_c // tile.lanes * chunk + LINE, part_f // tile.lanes * chunk + LINE, plane
    count = min(
        -(-TASKS // (parts_c * parts_f)),
        slabs.slab_count(tiles, form.taps * s.c * s.f, SLAB_TILES),
    )
    places = (s.h, s.w, s.c, s.oh, s.ow, s.f, -s.pt, -s.pl, s.dilh, s.dilw, *tile_grid(s, out))
    parts = (parts_c, parts_f, part_c, part_f)
    return Split(*places, tiles, block, count, *parts, passes, chunk, *planes, s.bias)


def starts(form: Form, passes: int) -> list[int]:
    """The first point of each pass, and the number of points."""
    rows = [part.start for part in form.parts] if passes > 1 else [0]
    return [row * form.columns.side for row in (*rows, form.rows.side)]


def most_points(form: Form, passes: int) -> int:
    """Of a pass."""
    return max(end - start for start, end in pairwise(starts(form, passes)))


def _part(count: int, most: int, lanes: int) -> int:
    """Equal parts of whole vectors, none above `most`."""
    parts = -(-count // most)
    return -(-count // (parts * lanes)) * lanes


@cache
def kernel(tile: Tile, form: Form):
    rows, columns = form
    product, arrive = channel_product(tile), expect_block(rows.side, columns.out)
    into_values, into_gradients = input_transform(tile, form), gradient_transform(tile, form)
    into_taps = taps_transform(tile, form)
    x_window = window(rows.side, columns.side)
    dy_window = window(rows.out, columns.out)
    lanes, width, item, vector = tile.lanes, tile.width, tile.item, tile.lanes * tile.item
    out_h, out_w, overlap = rows.out, columns.out, columns.side - columns.out

    def weight_gradient(
        task,
        thread,
        s,
        apart,
        skips,
        x,
        dy,
        dw,
        db,
        zeros,
        values,
        gradients,
        products,
        sums,
        table,
    ):
        """One part of one slab."""
        parts = s.parts_c * s.parts_f
        slab, part = task // parts, task % parts
        c, f = part // s.parts_f * s.part_c, part % s.parts_f * s.part_f
        channels, filters = min(s.part_c, s.c - c), min(s.part_f, s.f - f)
        padded = (filters + lanes - 1) // lanes * lanes
        first, end = slab * s.tiles // s.slabs, (slab + 1) * s.tiles // s.slabs
        total = simd.address(sums) + thread * sums.shape[1] * item
        pixels = simd.address(table) + thread * table.shape[1] * 8
        nothing = simd.address(zeros)
        simd.zero_bytes(total, s.part_f * item)
        row, row_y = s.w * s.c * item * s.dilation_h, s.ow * s.f * item * s.dilation_h
        pixel, pixel_y = s.c * item * s.dilation_w, s.f * item * s.dilation_w
        dw_slab = simd.address(dw) + slab * dw.shape[1] * item
        for turn in range(s.passes):
            wanted = 1 << turn if s.passes > 1 else -1
            skip = skips[turn]  # points before those of this turn
            v = simd.address(values) + thread * values.shape[1] * item - skip * s.plane_c
            g = simd.address(gradients) + thread * gradients.shape[1] * item - skip * s.plane_f
            m = simd.address(products) + thread * products.shape[1] * item - skip * s.plane
            for start in range(first, end, s.block):
                count = min(s.block, end - start)
                for k in range(count):
                    image, i, j = place(s, start + k + 1)
                    y, h, i = along(i, s.tiles_h, out_h, s.dilation_h, s.top, s.h)
                    z, w, j = along(j, s.tiles_w, out_w, s.dilation_w, s.left, s.w)
                    base = simd.address(x) + (((image * s.h + y) * s.w + z) * s.c + c) * item
                    arrive(base + i * row + (j + overlap) * pixel, row, pixel, channels * item)
                    image, tile_i, tile_j = place(s, start + k)
                    y, h, i = along(tile_i, s.tiles_h, out_h, s.dilation_h, s.top, s.h)
                    z, w, j = along(tile_j, s.tiles_w, out_w, s.dilation_w, s.left, s.w)
                    base = simd.address(x) + (((image * s.h + y) * s.w + z) * s.c + c) * item
                    x_window(pixels, base, row, pixel, i, j, h, w, nothing)
                    into_values(pixels, channels, v + k * vector, s.chunk, s.plane_c, wanted)
                    y, h, i = along(tile_i, s.tiles_h, out_h, s.dilation_h, 0, s.oh)
                    z, w, j = along(tile_j, s.tiles_w, out_w, s.dilation_w, 0, s.ow)
                    base = simd.address(dy) + (((image * s.oh + y) * s.ow + z) * s.f + f) * item
                    dy_window(pixels, base, row_y, pixel_y, i, j, h, w, nothing)
                    at = g + k * vector
                    into_gradients(pixels, filters, at, s.chunk, s.plane_f, wanted, total)
                for e in range(skip, skips[turn + 1]):
                    for panel in range(0, filters, width):
                        right = g + e * s.plane_f + panel // lanes * s.chunk
                        for k in range(0, channels, lanes):
                            product(
                                v + e * s.plane_c + k // lanes * s.chunk,
                                count,
                                right,
                                s.chunk,
                                m + e * s.plane + (panel * s.part_c + k * width) * item,
                                min(width, padded - panel),
                                int(start > first),
                            )
            for k in range(channels):
                for panel in range(0, filters, width):
                    target = dw_slab + ((c + k) * s.f + f + panel) * item
                    at = m + (panel * s.part_c + k * width) * item
                    across, tap = min(width, filters - panel), s.c * s.f * item
                    into_taps(at, s.plane, across, target, tap, wanted)
        if s.bias and c == 0:
            db_slab = simd.address(db) + (slab * db.shape[1] + apart + f) * item
            simd.copy_bytes(db_slab, total, filters * item)

    return jit.kernel(weight_gradient, constants=(tile, form))


class _Winograd(NamedTuple):
    """Forms of `out` outputs as an implementation."""

    out: int

    def accepts(self, s: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
        return no_pool(s, dtype, caps) or refuses(s, dtype, self.out)

    def scratch(self, spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
        s, item, form = (
            split(spec, caps, self.out),
            np.dtype(dtype).itemsize,
            form_of(spec, self.out),
        )
        points, rows, columns = most_points(form, s.passes), *form
        needed = {
            "values": Scratch((caps.threads, points * s.plane_c // item), dtype),
            "gradients": Scratch((caps.threads, points * s.plane_f // item), dtype),
            "products": Scratch((caps.threads, points * s.plane // item), dtype),
            "sums": Scratch((caps.threads, s.part_f), dtype),
            "table": Scratch((caps.threads, rows.side * pitch(columns.side)), "int64"),
        }
        if s.slabs > 1:
            size = form.taps * spec.c * spec.f + spec.f * spec.bias
            needed["partials"] = Scratch((s.slabs, size), dtype)
        return needed

    def bind(self, spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
        x, dy = inputs
        s, tile = split(spec, caps, self.out), register_tile(caps, x.dtype.name)
        form = form_of(spec, self.out)
        dw = outputs[0].reshape(1, -1)
        db = outputs[1].reshape(1, -1) if spec.bias else np.zeros((1, 1), x.dtype)
        apart, sums = 0, []
        if s.slabs > 1:
            dw = db = scratch["partials"]
            apart = outputs[0].size  # db follows dw in a row of the partials
            sums = slabs.reductions(scratch["partials"], outputs)
        width = max(padded_columns(spec.c, tile), padded_columns(spec.f, tile), tile.width)
        arrays = (
            np.array(starts(form, s.passes)),
            x.reshape(-1),
            dy.reshape(-1),
            dw,
            db,
            np.zeros(width, x.dtype),
            *(scratch[name] for name in ("values", "gradients", "products", "sums", "table")),
        )
        gradient = kernel(tile, form)
        return [Call(gradient, s.slabs * s.parts_c * s.parts_f, (s, apart, *arrays)), *sums]

    def impl(self) -> Impl:
        return Impl(f"winograd_f{self.out}", self.accepts, self.bind, self.scratch)


dw = _Winograd(LARGE).impl()
dw_f2 = _Winograd(SMALL).impl()
