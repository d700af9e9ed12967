"""Winograd's weight gradient, F(3x3, 4x4): a quarter of the multiplications; or F(3x3, 2x2).

    values[e][t][c]    = input transform of tile t of x       (points e)
    gradients[e][t][f] = gradient transform of tile t of dy
    products[e][c][f]  = sum over t of values[e][t][c] * gradients[e][t][f]
    dw                 = taps transform of products

Blocking. A task has a slab of tiles, and a part of the channels and one of the filters. It takes
blocks of tiles: transforms both sides, then runs the matrix products, whose sums run over the
block's tiles. At the end the products become nine taps. Products stay in L2 for all of the slab:
where those of all points would leave too little room, the task goes through its slab twice, each
time with half of the points. That costs little: transforms go by halves of the points anyway.

Each part of x is transformed once per part of dy and the other way round, so parts are as large as
L2 allows.

Slabs follow from the shape alone, and their results are added in order: the same bits at any number
of threads.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from nbcnn.kernels.cpu import jit, simd, slabs
from nbcnn.kernels.cpu.blocking import Tile, padded_columns, register_tile
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.conv_winograd import refuses, tile_grid
from nbcnn.kernels.cpu.winograd_gemm import channel_product
from nbcnn.kernels.cpu.winograd_maps import F2, F4, TAPS, Form
from nbcnn.kernels.cpu.winograd_tiles import LINE, expect_block, pitch, place, window
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
PASS_BYTES = 320 * 1024  # of products, beyond which half of the points are taken at a time


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


def split(s: Conv2DSpec, caps: Caps, form: Form) -> Split:
    tile = register_tile(caps, "float32")
    tiles_h, tiles_w = tile_grid(s, form)
    tiles = s.n * tiles_h * tiles_w
    most = PART if caps.l2 >= 1 << 20 else SMALL_PART
    part_c, part_f = _part(s.c, most, tile.lanes), _part(s.f, most, tile.lanes)
    parts_c, parts_f = -(-s.c // part_c), -(-s.f // part_f)
    plane = part_c * -(-part_f // tile.width) * tile.width * tile.item + LINE
    passes = len(form.halves) if form.points * plane > PASS_BYTES else 1
    points = form.points // passes
    room = max(caps.l2 * 3 // 4 - points * plane, caps.l2 // 4)
    block = max(8, min(room // (points * (part_c + part_f) * tile.item), MOST_TILES))
    chunk = block * tile.lanes * tile.item
    planes = part_c // tile.lanes * chunk + LINE, part_f // tile.lanes * chunk + LINE, plane
    count = min(
        -(-TASKS // (parts_c * parts_f)),
        slabs.slab_count(tiles, TAPS * TAPS * s.c * s.f, SLAB_TILES),
    )
    places = (s.h, s.w, s.c, s.oh, s.ow, s.f, -s.pt, -s.pl, tiles_h, tiles_w, tiles)
    parts = (parts_c, parts_f, part_c, part_f)
    return Split(*places, block, count, *parts, passes, chunk, *planes, s.bias)


def _part(count: int, most: int, lanes: int) -> int:
    """Equal parts of whole vectors, none above `most`."""
    parts = -(-count // most)
    return -(-count // (parts * lanes)) * lanes


@cache
def kernel(tile: Tile, form: Form):
    product, arrive = channel_product(tile), expect_block(form.side, form.out)
    form_points, many = form.points, len(form.halves) > 1
    halves = 0, len(form.halves) - 1
    low_values, high_values = (input_transform(tile, form, (half,)) for half in halves)
    low_gradients, high_gradients = (gradient_transform(tile, form, half) for half in halves)
    low_taps, high_taps = (taps_transform(tile, form, (half,)) for half in halves)
    x_window, dy_window = window(form.side), window(form.out)
    lanes, width, item = tile.lanes, tile.width, tile.item
    out, overlap, vector = form.out, form.side - form.out, tile.lanes * tile.item

    def weight_gradient(
        task, thread, s, apart, x, dy, dw, db, zeros, values, gradients, products, sums, table
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
        points = form_points // s.passes
        dw_slab = simd.address(dw) + slab * dw.shape[1] * item
        for turn in range(s.passes):
            low, high = turn == 0, many and turn == s.passes - 1
            skip = turn * points  # points before those of this turn
            v = simd.address(values) + thread * values.shape[1] * item - skip * s.plane_c
            g = simd.address(gradients) + thread * gradients.shape[1] * item - skip * s.plane_f
            m = simd.address(products) + thread * products.shape[1] * item - skip * s.plane
            for start in range(first, end, s.block):
                count = min(s.block, end - start)
                for k in range(count):
                    pixel, row = s.c * item, s.w * s.c * item
                    image, i, j = place(s, start + k + 1)
                    base = simd.address(x) + image * s.h * row + c * item
                    base += (i * out + s.top) * row + (j * out + s.left + overlap) * pixel
                    arrive(base, row, pixel, channels * item)
                    image, i, j = place(s, start + k)
                    i, j = i * out, j * out
                    base = simd.address(x) + image * s.h * row + c * item
                    x_window(pixels, base, row, pixel, i + s.top, j + s.left, s.h, s.w, nothing)
                    at = v + k * vector
                    if low:
                        low_values(pixels, channels, at, s.chunk, s.plane_c)
                    if high:
                        high_values(pixels, channels, at, s.chunk, s.plane_c)
                    pixel, row = s.f * item, s.ow * s.f * item
                    base = simd.address(dy) + image * s.oh * row + f * item
                    dy_window(pixels, base, row, pixel, i, j, s.oh, s.ow, nothing)
                    at = g + k * vector
                    if low:
                        low_gradients(pixels, filters, at, s.chunk, s.plane_f, total)
                    if high:
                        high_gradients(pixels, filters, at, s.chunk, s.plane_f, total)
                for e in range(skip, skip + points):
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
                    columns, tap = min(width, filters - panel), s.c * s.f * item
                    if low:
                        low_taps(at, s.plane, columns, target, tap)
                    if high:
                        high_taps(at, s.plane, columns, target, tap)
        if s.bias and c == 0:
            db_slab = simd.address(db) + (slab * db.shape[1] + apart + f) * item
            simd.copy_bytes(db_slab, total, filters * item)

    return jit.kernel(weight_gradient, constants=(tile, form))


class _Winograd(NamedTuple):
    """One form as an implementation."""

    form: Form

    def accepts(self, s: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
        return no_pool(s, dtype, caps) or refuses(s, dtype, self.form)

    def scratch(self, spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
        s, item = split(spec, caps, self.form), np.dtype(dtype).itemsize
        points = self.form.points // s.passes
        needed = {
            "values": Scratch((caps.threads, points * s.plane_c // item), dtype),
            "gradients": Scratch((caps.threads, points * s.plane_f // item), dtype),
            "products": Scratch((caps.threads, points * s.plane // item), dtype),
            "sums": Scratch((caps.threads, s.part_f), dtype),
            "table": Scratch((caps.threads, self.form.side * pitch(self.form.side)), "int64"),
        }
        if s.slabs > 1:
            size = TAPS * TAPS * spec.c * spec.f + spec.f * spec.bias
            needed["partials"] = Scratch((s.slabs, size), dtype)
        return needed

    def bind(self, spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
        x, dy = inputs
        s, tile = split(spec, caps, self.form), register_tile(caps, x.dtype.name)
        dw = outputs[0].reshape(1, -1)
        db = outputs[1].reshape(1, -1) if spec.bias else np.zeros((1, 1), x.dtype)
        apart, sums = 0, []
        if s.slabs > 1:
            dw = db = scratch["partials"]
            apart = outputs[0].size  # db follows dw in a row of the partials
            sums = slabs.reductions(scratch["partials"], outputs)
        width = max(padded_columns(spec.c, tile), padded_columns(spec.f, tile), tile.width)
        arrays = (
            x.reshape(-1),
            dy.reshape(-1),
            dw,
            db,
            np.zeros(width, x.dtype),
            *(scratch[name] for name in ("values", "gradients", "products", "sums", "table")),
        )
        gradient = kernel(tile, self.form)
        return [Call(gradient, s.slabs * s.parts_c * s.parts_f, (s, apart, *arrays)), *sums]

    def impl(self) -> Impl:
        return Impl(f"winograd_f{self.form.out}", self.accepts, self.bind, self.scratch)


dw = _Winograd(F4).impl()
dw_f2 = _Winograd(F2).impl()
