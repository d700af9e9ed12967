"""Winograd convolution F(4x4, 3x3): a quarter of the multiplications, forward and input gradient.

A tile of 4 x 4 outputs takes 36 products per pair of channel and filter instead of 144; with the
transforms around them (`winograd_maps`) it is two to three times as fast as the direct
convolution. The error, relative to the largest result, is about 2e-6 against float64 where the
direct one's is 1e-6; a NaN or an infinity in the input reaches all of its tile of outputs.

    values[e][t][c]   = input transform of tile t          (36 points e)
    products[e][t][f] = sum over c of values[e][t][c] * u[e][c][f]
    y                 = act(bias + output transform of products)

The input gradient of a convolution with stride 1 is the convolution of dy with the kernel flipped
and transposed.

Blocking. A task is a block of tiles, across images, so few that their values and the products of
one panel of filters stay in L2. For each panel: 36 matrix products, then the output transform.
During the products the pixels that it will write are fetched: the output does not fit in a cache,
and waiting for it takes a tenth of the time.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from nbcnn.kernels.cpu import jit, simd, winograd_kernel
from nbcnn.kernels.cpu.blocking import Tile, padded_columns, register_tile
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.winograd_gemm import point_product, row_tile
from nbcnn.kernels.cpu.winograd_maps import F4, TAPS, Form
from nbcnn.kernels.cpu.winograd_transforms import (
    expect_block,
    expect_pixels,
    input_transform,
    output_transform,
    pitch,
    window,
)
from nbcnn.kernels.impl import Impl, Scratch
from nbcnn.ops.conv_spec import RELU, Conv2DSpec

# Thresholds, from one thread's time against the direct convolution's (AVX-512, 2 MB of L2), larger
# is better. Few filters are no obstacle: 64 -> 1 at 16 x 16 has 2.5.
LEAST_CHANNELS = 12  # 12 -> 12 has 1.4, 8 -> 8 has 1.1, 3 -> 64 has 0.7
# The error grows with the channels: 4.6e-6 of the largest result at 512, unmeasured beyond.
MOST_CHANNELS = 512
# Share of the tiles' outputs that exist. At 0.56 (6 x 6, 9 x 9) 32 -> 32 has 1.3, 16 -> 16 has
# 0.9; at 0.77 (7 x 7, 14 x 14) these have 1.7 and 1.2; at 0.39 (5 x 5) 24 -> 24 has 0.9.
LEAST_FILL, LEAST_FILL_NARROW = 0.5, 0.75
NARROW = 24 * 24  # channels times filters below which transforms weigh more
LEAST_TILES = 16  # with their kernel's transform, 64 -> 64 has 1.2 at 16 tiles and 0.6 at 4
# Each block of tiles reads all transformed kernels: 256 -> 256 has 0.95 at 18 tiles, 1.3 at 64,
# 512 -> 512 has 0.7 at 32, 1.2 at 128.
KERNEL_BYTES = 192 * 1024  # of transformed kernels that a tile may bring with it
TASKS = 8  # at least so many, if blocks stay reasonable: balances a few cores
LINE = 64  # bytes of a cache line


class Tiling(NamedTuple):
    """What the kernel needs to know; distances in bytes."""

    h: int  # source
    w: int
    c: int
    oh: int  # target
    ow: int
    f: int
    top: int  # the first tile's first row and column in the source
    left: int
    tiles_h: int  # per image
    tiles_w: int
    tiles: int  # of all images
    block: int  # tiles of a task
    chunk: int  # from one chunk of channels to the next
    plane: int  # from one point's values to the next
    product_plane: int
    blocks: int  # of a task
    act: int


def accepts(s: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    if 4 * F4.points * s.c * s.f > KERNEL_BYTES * tile_count(s):
        return f"few tiles for kernels of {s.c} x {s.f}"
    return refuses(s, dtype)


def accepts_dx(s: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    return accepts(_gradient(s), dtype, caps)


def refuses(s: Conv2DSpec, dtype: str) -> str | None:
    """Why F(4x4, 3x3) does not fit, or does not pay, in any pass."""
    if dtype != "float32":
        return f"float32 only, not {dtype}"
    if (s.kh, s.kw, s.sh, s.sw, s.dilh, s.dilw) != (TAPS, TAPS, 1, 1, 1, 1) or s.groups > 1:
        return "3x3 kernels with stride 1 only"
    if s.act > RELU:
        return "no activation but relu"
    if s.pool:
        return "no pooling in the tail"
    if s.c < LEAST_CHANNELS:
        return f"fewer than {LEAST_CHANNELS} channels"
    if s.c > MOST_CHANNELS:
        return f"more than {MOST_CHANNELS} channels lose accuracy"
    tiles = tile_count(s)
    if tiles < LEAST_TILES:
        return f"fewer than {LEAST_TILES} tiles"
    fill = s.n * s.oh * s.ow / (tiles * F4.out**2)
    if fill < (LEAST_FILL_NARROW if s.c * s.f < NARROW else LEAST_FILL):
        return f"outputs fill {fill:.0%} of their tiles"
    return None


def tile_count(s: Conv2DSpec) -> int:
    return s.n * -(-s.oh // F4.out) * -(-s.ow // F4.out)


def _gradient(s: Conv2DSpec) -> Conv2DSpec:
    """The convolution of dy that is the input gradient (where the stride is 1)."""
    sides = {"h": s.oh, "w": s.ow, "oh": s.h, "ow": s.w, "c": s.f, "f": s.c}
    return s._replace(**sides, pt=s.kh - 1 - s.pt, pl=s.kw - 1 - s.pl, bias=0, act=0)


def tiling(s: Conv2DSpec, caps: Caps, form: Form = F4) -> Tiling:
    tile = register_tile(caps, "float32")
    tiles_h, tiles_w = -(-s.oh // form.out), -(-s.ow // form.out)
    tiles = s.n * tiles_h * tiles_w
    c = padded_columns(s.c, tile)
    unit = row_tile(tile, 1)
    room = caps.l2 * 5 // 8 // (form.points * (c + tile.width) * tile.item)
    block = max(1, min(room // unit, MOST_UNITS, tiles // (TASKS * unit))) * unit
    chunk = block * tile.lanes * tile.item
    planes = c // tile.lanes * chunk + LINE, block * tile.width * tile.item + LINE
    first = -s.pt, -s.pl
    sizes = (s.h, s.w, s.c, s.oh, s.ow, s.f, *first, tiles_h, tiles_w, tiles)
    blocks = max(1, min(BLOCKS, tiles // (block * 32)))
    return Tiling(*sizes, block, chunk, *planes, blocks, s.act)


MOST_UNITS = 3
AHEAD, FAR, BLOCKS = 1, 1, 4


@jit.always_inline
def find(s, number, rows, base, pixel, row):
    """(address of its image, first row, first column) of a tile of outputs."""
    image, inside = number // (s.tiles_h * s.tiles_w), number % (s.tiles_h * s.tiles_w)
    return base + image * rows * row, inside // s.tiles_w * 4, inside % s.tiles_w * 4


def _scratch(view):
    def scratch(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
        s = view(spec)
        t, tile = tiling(s, caps), register_tile(caps, dtype)
        pixels = F4.side * pitch(F4.side) + F4.out * pitch(F4.out) * t.block
        return {
            **winograd_kernel.scratch(s.c, s.f, F4, caps),
            "values": Scratch((caps.threads, F4.points * t.plane // tile.item), dtype),
            "products": Scratch((caps.threads, F4.points * t.product_plane // tile.item), dtype),
            "nowhere": Scratch((caps.threads, s.f), dtype),
            "table": Scratch((caps.threads, pixels), "int64"),
        }

    return scratch


def _calls(spec, transposed, source, w, bias, target, scratch, caps) -> list[Call]:
    s = _gradient(spec) if transposed else spec
    t, tile = tiling(s, caps), register_tile(caps, "float32")
    zeros = np.zeros(max(s.c, s.f, tile.width), np.float32)
    arrays = (
        source.reshape(-1),
        scratch["u"],
        zeros if bias is None else bias,
        zeros,
        target.reshape(-1),
        *(scratch[name] for name in ("values", "products", "nowhere", "table")),
    )
    transform = winograd_kernel.call(s.c, s.f, transposed, w, scratch, F4, caps)
    return [transform, Call(tile_kernel(tile, F4), -(-t.tiles // (t.block * t.blocks)), (t, *arrays))]


def bind(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    bias = inputs[2] if spec.bias else None
    return _calls(spec, False, inputs[0], inputs[1], bias, outputs[0], scratch, caps)


def bind_dx(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    return _calls(spec, True, inputs[0], inputs[1], None, outputs[0], scratch, caps)


@cache
def tile_kernel(tile: Tile, form: Form):
    product, expect = point_product(tile), expect_pixels(tile, form.out)
    into_values, into_pixels = input_transform(tile, form, tuple(range(len(form.halves)))), output_transform(tile, form)
    read_window, write_window = window(form.side), window(form.out)
    lanes, width, item = tile.lanes, tile.width, tile.item
    points, out = form.points, form.out
    read_entries, write_entries = form.side * pitch(form.side) * 8, out * pitch(out) * 8
    arrive, far = expect_block(form.side, out, 1), expect_block(form.side, out, 2)
    lowest, zero = np.float32(-np.inf), np.float32(0)

    def convolve_tiles(
        task, thread, s, source, u, bias, zeros, target, values, products, nowhere, table
    ):
        v = simd.address(values) + thread * values.shape[1] * item
        m = simd.address(products) + thread * products.shape[1] * item
        dump = simd.address(nowhere) + thread * nowhere.shape[1] * item
        reads = simd.address(table) + thread * table.shape[1] * 8
        writes = reads + read_entries
        nothing = simd.address(zeros)
        padded = (s.f + lanes - 1) // lanes * lanes
        low = zero if s.act == RELU else lowest
        start = task * s.block * s.blocks
        end = min(start + s.block * s.blocks, s.tiles)
        for first in range(start, end, s.block):
            count, following = min(s.block, end - first), end - first - s.block
            for k in range(count):
                pixel, row = s.c * item, s.w * s.c * item
                base, i, j = find(s, first + k, s.h, simd.address(source), pixel, row)
                if AHEAD and k + AHEAD < count:
                    other, y, x = find(s, first + k + AHEAD, s.h, simd.address(source), pixel, row)
                    arrive(other + (y + s.top) * row + (x + s.left + TAPS - 1) * pixel, row, pixel, pixel)
                read_window(reads, base, row, pixel, i + s.top, j + s.left, s.h, s.w, nothing)
                into_values(reads, s.c, v + k * lanes * item, s.chunk, s.plane)
                pixel, row = s.f * item, s.ow * s.f * item
                base, i, j = find(s, first + k, s.oh, simd.address(target), pixel, row)
                at = writes + k * write_entries
                write_window(at, base, row, pixel, i, j, s.oh, s.ow, dump)
            for f in range(0, s.f, width):
                across = min(width, padded - f)
                kernel = simd.address(u) + f * s.c * points * item
                for e in range(points):
                    for k in range(e, count, points):  # while the products keep the core busy
                        expect(writes + k * write_entries, f * item)
                    if FAR and following > 0:
                        slot, slots = f // width * points + e, (padded + width - 1) // width * points
                        pixel, row = s.c * item, s.w * s.c * item
                        many = min(s.block, following)
                        for k in range(slot * many // slots, (slot + 1) * many // slots):
                            other, y, x = find(s, first + s.block + k, s.h, simd.address(source), pixel, row)
                            far(other + (y + s.top) * row + (x + s.left + TAPS - 1) * pixel, row, pixel, pixel)
                    product(
                        v + e * s.plane,
                        s.chunk,
                        s.c,
                        kernel + e * s.c * across * item,
                        m + e * s.product_plane,
                        count,
                        across,
                    )
                for k in range(count):
                    into_pixels(
                        m + k * width * item,
                        s.product_plane,
                        min(width, s.f - f),
                        writes + k * write_entries,
                        f * item,
                        simd.address(bias) + f * item,
                        low,
                    )

    return jit.kernel(convolve_tiles, constants=(tile, form))


conv2d = Impl("winograd_f4", accepts, bind, _scratch(lambda spec: spec))
dx = Impl("winograd_f4", accepts_dx, bind_dx, _scratch(_gradient))
