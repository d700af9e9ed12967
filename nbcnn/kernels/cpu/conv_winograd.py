"""Winograd convolution F(4x4, 3x3): a quarter of the multiplications, forward and input gradient.

A tile of 4 x 4 outputs takes 36 products per pair of channel and filter instead of 144; with the
transforms around them (`winograd_transforms.py`) it is two to three times as fast as the direct
convolution. The error, relative to the largest result, is about 2e-6 against float64 where the
direct one's is 1e-6; a NaN or an infinity in the input reaches all of its tile of outputs.

    values[e][t][c]   = input transform of tile t          (36 points e)
    products[e][t][f] = sum over c of values[e][t][c] * u[e][c][f]
    y                 = act(bias + output transform of products)

The input gradient of a convolution with stride 1 is the convolution of dy with the kernel flipped
and transposed.

Blocking. A task is a block of tiles, across images, so few that their values and the products of
one panel of filters stay in L2. For each panel: 36 matrix products by the micro-kernel, then the
output transform. During the products the pixels that it will write are fetched: the output does not
fit in a cache, and waiting for it takes a tenth of the time.

Borders. Each pixel that a tile reads or writes has an entry in a table of addresses. Those outside
the input point to zeros, those outside the output to memory that nobody reads; so the transforms
know nothing of borders, and nothing is copied.

Kernels are packed in panels as for the direct convolution, then transformed; both only read
weights.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from nbcnn.kernels.cpu import conv_pack, jit, simd
from nbcnn.kernels.cpu.blocking import Tile, padded_columns, panels, register_tile
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.gemm_micro import panel_product
from nbcnn.kernels.cpu.winograd_transforms import (
    OUT,
    POINTS,
    SIDE,
    TAPS,
    expect_pixels,
    input_transform,
    kernel_transform,
    output_transform,
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
STEPS = 32  # rows of a panel that one task of the kernel's transform takes


class Tiling(NamedTuple):
    """What the kernel needs to know."""

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
    row: int  # bytes of a tile's values at one point
    plane: int  # bytes of a block's values at one point
    act: int


def accepts(s: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    if 4 * POINTS * s.c * s.f > KERNEL_BYTES * tile_count(s):
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
    fill = s.n * s.oh * s.ow / (tiles * OUT * OUT)
    if fill < (LEAST_FILL_NARROW if s.c * s.f < NARROW else LEAST_FILL):
        return f"outputs fill {fill:.0%} of their tiles"
    return None


def tile_count(s: Conv2DSpec) -> int:
    return s.n * -(-s.oh // OUT) * -(-s.ow // OUT)


def _gradient(s: Conv2DSpec) -> Conv2DSpec:
    """The convolution of dy that is the input gradient (where the stride is 1)."""
    sides = {"h": s.oh, "w": s.ow, "oh": s.h, "ow": s.w, "c": s.f, "f": s.c}
    return s._replace(**sides, pt=s.kh - 1 - s.pt, pl=s.kw - 1 - s.pl, bias=0, act=0)


def tiling(s: Conv2DSpec, caps: Caps) -> Tiling:
    tile = register_tile(caps, "float32")
    tiles_h, tiles_w = -(-s.oh // OUT), -(-s.ow // OUT)
    tiles = s.n * tiles_h * tiles_w
    row = padded_columns(s.c, tile) * tile.item
    if row % (4 * LINE) == 0:
        row += LINE  # rows a power of 2 apart would compete for few places in L1
    room = caps.l2 * 3 // 4 // (POINTS * (row + tile.width * tile.item))
    block = max(1, min(room // tile.rows, 6, tiles // (TASKS * tile.rows))) * tile.rows
    plane = block * row + LINE
    first = -s.pt, -s.pl
    return Tiling(
        s.h, s.w, s.c, s.oh, s.ow, s.f, *first, tiles_h, tiles_w, tiles, block, row, plane, s.act
    )


def _scratch(view):
    def scratch(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
        s = view(spec)
        t, tile = tiling(s, caps), register_tile(caps, dtype)
        size = s.c * padded_columns(s.f, tile) + tile.width
        products = POINTS * (t.block * tile.width + LINE // tile.item)
        return {
            "packed": Scratch((TAPS * TAPS * size,), dtype),
            "u": Scratch((POINTS * size,), dtype, constant=True),
            "values": Scratch((caps.threads, POINTS * t.plane // tile.item), dtype),
            "products": Scratch((caps.threads, products), dtype),
            "nowhere": Scratch((caps.threads, s.f), dtype),
            "table": Scratch((caps.threads, POINTS + OUT * OUT * t.block), "int64"),
        }

    return scratch


def _calls(spec, transposed, source, w, bias, target, scratch, caps) -> list[Call]:
    s = _gradient(spec) if transposed else spec
    t, tile = tiling(s, caps), register_tile(caps, "float32")
    zeros = np.zeros(max(s.c, s.f, tile.width), np.float32)
    order = list(range(TAPS * TAPS))[:: -1 if transposed else 1]
    packed, u = scratch["packed"], scratch["u"]
    transform = Call(
        kernel_kernel(tile),
        panels(s.f, tile) * -(-s.c // STEPS),
        (s.c, s.f, packed, u),
        weights_only=True,
    )
    rows = np.arange(t.block, dtype=np.int64)
    arrays = (
        source.reshape(-1),
        u,
        zeros if bias is None else bias,
        zeros,
        target.reshape(-1),
        *(scratch[name] for name in ("values", "products", "nowhere", "table")),
        rows * t.row,
        rows * (tile.width * tile.item),
    )
    convolve = Call(tile_kernel(tile), -(-t.tiles // t.block), (t, *arrays))
    return [conv_pack.call(spec, order, transposed, w, packed, caps), transform, convolve]


def bind(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    bias = inputs[2] if spec.bias else None
    return _calls(spec, False, inputs[0], inputs[1], bias, outputs[0], scratch, caps)


def bind_dx(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    return _calls(spec, True, inputs[0], inputs[1], None, outputs[0], scratch, caps)


@cache
def kernel_kernel(tile: Tile):
    transform, lanes, width, item = kernel_transform(tile), tile.lanes, tile.width, tile.item

    def transform_kernel(task, thread, c, f, packed, u):
        """Some rows of one panel: packed[tap][c][f] to u[point][c][f]."""
        chunks = (c + STEPS - 1) // STEPS
        panel, first = task // chunks, task % chunks * STEPS
        padded = (f + lanes - 1) // lanes * lanes
        across = min(width, padded - panel * width)
        plane, start = c * across * item, panel * width * c * item
        skip, count = first * across * item, min(STEPS, c - first) * across
        source = simd.address(packed) + start * (TAPS * TAPS) + skip
        transform(source, plane, count, simd.address(u) + start * POINTS + skip, plane)

    return jit.kernel(transform_kernel, constants=(tile,))


@jit.always_inline
def window(table, base, row, pixel, i, j, side, h, w, elsewhere):
    """Fill `table` with the addresses of side x side pixels from (i, j) of an image of h x w at
    `base`; `elsewhere` where there are none.
    """
    at = base + i * row + j * pixel
    for p in range(side):
        inside = 0 <= i + p < h
        for q in range(side):
            found = at + q * pixel if inside and 0 <= j + q < w else elsewhere
            simd.store_int(table + (p * side + q) * 8, found)
        at += row


@cache
def tile_kernel(tile: Tile):
    product = panel_product(tile)
    into_values, into_pixels = input_transform(tile), output_transform(tile)
    expect = expect_pixels(tile)
    lanes, width, item = tile.lanes, tile.width, tile.item
    lowest, zero = np.float32(-np.inf), np.float32(0)

    def convolve_tiles(
        task,
        thread,
        s,
        source,
        u,
        bias,
        zeros,
        target,
        values,
        products,
        nowhere,
        table,
        value_rows,
        product_rows,
    ):
        first = task * s.block
        count = min(s.block, s.tiles - first)
        v = simd.address(values) + thread * values.shape[1] * item
        m = simd.address(products) + thread * products.shape[1] * item
        dump = simd.address(nowhere) + thread * nowhere.shape[1] * item
        reads = simd.address(table) + thread * table.shape[1] * 8
        writes = reads + POINTS * 8
        nothing = simd.address(zeros)
        for k in range(count):
            image, number = (
                (first + k) // (s.tiles_h * s.tiles_w),
                (first + k) % (s.tiles_h * s.tiles_w),
            )
            i, j = number // s.tiles_w * OUT, number % s.tiles_w * OUT
            pixel = s.c * item
            base = simd.address(source) + image * s.h * s.w * pixel
            window(reads, base, s.w * pixel, pixel, i + s.top, j + s.left, SIDE, s.h, s.w, nothing)
            into_values(reads, s.c, v + k * s.row, s.plane)
            pixel = s.f * item
            base = simd.address(target) + image * s.oh * s.ow * pixel
            at = writes + k * OUT * OUT * 8
            window(at, base, s.ow * pixel, pixel, i, j, OUT, s.oh, s.ow, dump)
        padded = (s.f + lanes - 1) // lanes * lanes
        low = zero if s.act == RELU else lowest
        product_plane = (s.block * width + LINE // item) * item
        for f in range(0, s.f, width):
            across = min(width, padded - f)
            kernel = simd.address(u) + f * s.c * POINTS * item
            for e in range(POINTS):
                for k in range(e, count, POINTS):  # while the products keep the core busy
                    expect(writes + k * OUT * OUT * 8, f * item)
                product(
                    v + e * s.plane,
                    simd.address(value_rows),
                    item,
                    simd.address(value_rows),  # one segment, at 0
                    1,
                    s.c,
                    kernel + e * s.c * across * item,
                    across * item,
                    m + e * product_plane,
                    simd.address(product_rows),
                    count,
                    across,
                    nothing,
                    0,
                    lowest,
                )
            for k in range(count):
                into_pixels(
                    m + k * width * item,
                    product_plane,
                    min(width, s.f - f),
                    writes + k * OUT * OUT * 8,
                    f * item,
                    simd.address(bias) + f * item,
                    low,
                )

    return jit.kernel(convolve_tiles, constants=(tile,))


conv2d = Impl("winograd_f4", accepts, bind, _scratch(lambda spec: spec))
dx = Impl("winograd_f4", accepts_dx, bind_dx, _scratch(_gradient))
