"""Winograd's weight gradient, F(3x3, 4x4): a quarter of the multiplications.

    values[e][t][c]    = input transform of tile t of x       (36 points e)
    gradients[e][t][f] = gradient transform of tile t of dy
    products[e][c][f]  = sum over t of values[e][t][c] * gradients[e][t][f]
    dw                 = taps transform of products

Blocking. A task has a slab of tiles, and a part of the channels and one of the filters such that
its products stay in L2 for all of the slab. It takes blocks of tiles: transforms both sides, then
runs 36 matrix products whose sums run over the block's tiles. At the end the products become nine
taps. So x and dy are transformed once per part of the other, which costs about a tenth of the
products for parts of 64.

Slabs follow from the shape alone, and their results are added in order: the same bits at any number
of threads.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from nbcnn.kernels.cpu import jit, simd, slabs
from nbcnn.kernels.cpu.blocking import Tile, padded_columns, register_tile
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.conv_winograd import LINE, refuses, window
from nbcnn.kernels.cpu.gemm_micro import panel_product
from nbcnn.kernels.cpu.winograd_transforms import (
    OUT,
    POINTS,
    SIDE,
    TAPS,
    gradient_transform,
    input_transform,
    taps_transform,
)
from nbcnn.kernels.impl import Impl, Scratch
from nbcnn.ops.conv_spec import Conv2DSpec

PART = 64  # channels, and filters, of a task: 590 KB of products
SMALL_PART = 32  # where L2 is less than a megabyte
MOST_TILES = 48  # of a block
SLAB_TILES = 64  # of a slab at least: its taps transform then costs a few percent
TASKS = 16


class Split(NamedTuple):
    """What the kernel needs to know; steps in bytes."""

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
    row_c: int  # from one tile's values to the next
    row_f: int  # from one tile's gradients, or one channel's products, to the next
    plane_c: int  # from one point's values to the next
    plane_f: int
    plane: int  # from one point's products to the next
    bias: int


def accepts(s: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    return refuses(s, dtype)


def split(s: Conv2DSpec, caps: Caps) -> Split:
    tile = register_tile(caps, "float32")
    tiles_h, tiles_w = -(-s.oh // OUT), -(-s.ow // OUT)
    tiles = s.n * tiles_h * tiles_w
    most = PART if caps.l2 >= 1 << 20 else SMALL_PART
    part_c, part_f = _part(s.c, most, tile.lanes), _part(s.f, most, tile.lanes)
    parts_c, parts_f = -(-s.c // part_c), -(-s.f // part_f)
    row_c, row_f = (part * tile.item + LINE for part in (part_c, part_f))
    plane = part_c * row_f + LINE
    room = max(caps.l2 * 3 // 4 - POINTS * plane, caps.l2 // 4) // (POINTS * (row_c + row_f))
    block = max(tile.rows, min(room, MOST_TILES))
    count = min(
        -(-TASKS // (parts_c * parts_f)),
        slabs.slab_count(tiles, TAPS * TAPS * s.c * s.f, SLAB_TILES),
    )
    sizes = (tiles_h, tiles_w, tiles, block, count, parts_c, parts_f, part_c, part_f)
    planes = (row_c, row_f, block * row_c + LINE, block * row_f + LINE, plane)
    return Split(s.h, s.w, s.c, s.oh, s.ow, s.f, -s.pt, -s.pl, *sizes, *planes, s.bias)


def _part(count: int, most: int, lanes: int) -> int:
    """Equal parts of whole vectors, none above `most`."""
    parts = -(-count // most)
    return -(-count // (parts * lanes)) * lanes


def scratch(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    s, item = split(spec, caps), np.dtype(dtype).itemsize
    needed = {
        "values": Scratch((caps.threads, POINTS * s.plane_c // item), dtype),
        "gradients": Scratch((caps.threads, POINTS * s.plane_f // item), dtype),
        "products": Scratch((caps.threads, POINTS * s.plane // item), dtype),
        "sums": Scratch((caps.threads, s.part_f), dtype),
        "table": Scratch((caps.threads, POINTS), "int64"),
    }
    if s.slabs > 1:
        size = TAPS * TAPS * spec.c * spec.f + spec.f * spec.bias
        needed["partials"] = Scratch((s.slabs, size), dtype)
    return needed


def bind(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    x, dy = inputs
    s, tile = split(spec, caps), register_tile(caps, x.dtype.name)
    dw = outputs[0].reshape(1, -1)
    db = outputs[1].reshape(1, -1) if spec.bias else np.zeros((1, 1), x.dtype)
    apart, sums = 0, []
    if s.slabs > 1:
        dw = db = scratch["partials"]
        apart = outputs[0].size  # db follows dw in a row of the partials
        sums = slabs.reductions(scratch["partials"], outputs)
    channels = np.arange(s.part_c, dtype=np.int64)
    width = max(padded_columns(spec.c, tile), padded_columns(spec.f, tile), tile.width)
    arrays = (
        x.reshape(-1),
        dy.reshape(-1),
        dw,
        db,
        np.zeros(width, x.dtype),
        *(scratch[name] for name in ("values", "gradients", "products", "sums", "table")),
        channels * tile.item,
        channels * s.row_f,
    )
    return [Call(dw_kernel(tile), s.slabs * s.parts_c * s.parts_f, (s, apart, *arrays)), *sums]


@cache
def dw_kernel(tile: Tile):
    product = panel_product(tile)
    into_values, into_gradients = input_transform(tile), gradient_transform(tile)
    into_taps = taps_transform(tile)
    lanes, width, item = tile.lanes, tile.width, tile.item
    lowest = np.float32(-np.inf)

    def weight_gradient(
        task,
        thread,
        s,
        apart,
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
        value_rows,
        product_rows,
    ):
        parts = s.parts_c * s.parts_f
        slab, c, f = (
            task // parts,
            task % parts // s.parts_f * s.part_c,
            task % s.parts_f * s.part_f,
        )
        channels, filters = min(s.part_c, s.c - c), min(s.part_f, s.f - f)
        padded = (filters + lanes - 1) // lanes * lanes
        first, end = slab * s.tiles // s.slabs, (slab + 1) * s.tiles // s.slabs
        v = simd.address(values) + thread * values.shape[1] * item
        g = simd.address(gradients) + thread * gradients.shape[1] * item
        m = simd.address(products) + thread * products.shape[1] * item
        total = simd.address(sums) + thread * sums.shape[1] * item
        pixels = simd.address(table) + thread * table.shape[1] * 8
        nothing = simd.address(zeros)
        simd.zero_bytes(total, s.part_f * item)
        image_tiles = s.tiles_h * s.tiles_w
        for start in range(first, end, s.block):
            count = min(s.block, end - start)
            for k in range(count):
                image, number = (start + k) // image_tiles, (start + k) % image_tiles
                i, j = number // s.tiles_w * OUT, number % s.tiles_w * OUT
                pixel = s.c * item
                base = simd.address(x) + image * s.h * s.w * pixel + c * item
                row, left = s.w * pixel, j + s.left
                window(pixels, base, row, pixel, i + s.top, left, SIDE, s.h, s.w, nothing)
                into_values(pixels, channels, v + k * s.row_c, s.plane_c)
                pixel = s.f * item
                base = simd.address(dy) + image * s.oh * s.ow * pixel + f * item
                window(pixels, base, s.ow * pixel, pixel, i, j, OUT, s.oh, s.ow, nothing)
                into_gradients(pixels, filters, g + k * s.row_f, s.plane_f, total)
            for e in range(POINTS):
                for panel in range(0, filters, width):
                    product(
                        v + e * s.plane_c,
                        simd.address(value_rows),
                        s.row_c,
                        simd.address(value_rows),  # one segment, at 0
                        1,
                        count,
                        g + e * s.plane_f + panel * item,
                        s.row_f,
                        m + e * s.plane + panel * item,
                        simd.address(product_rows),
                        channels,
                        min(width, padded - panel),
                        nothing,
                        int(start > first),
                        lowest,
                    )
        dw_slab = simd.address(dw) + slab * dw.shape[1] * item
        for k in range(channels):
            target = dw_slab + ((c + k) * s.f + f) * item
            into_taps(m + k * s.row_f, s.plane, filters, target, s.c * s.f * item)
        if s.bias and c == 0:
            db_slab = simd.address(db) + (slab * db.shape[1] + apart + f) * item
            simd.copy_bytes(db_slab, total, filters * item)

    return jit.kernel(weight_gradient, constants=(tile,))


dw = Impl("winograd_f4", accepts, bind, scratch)
