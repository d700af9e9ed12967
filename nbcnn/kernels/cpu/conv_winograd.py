"""Winograd convolution with 3x3 kernels, forward and input gradient.

F(4x4, 3x3): a tile of 4 x 4 outputs takes 36 products per pair of channel and filter instead of
144; with the transforms around them (`winograd_maps`) it is two to three times as fast as the
direct convolution. F(2x2, 3x3), 16 products instead of 36, is for maps on which larger tiles would
be mostly empty. Errors are at most 5e-6 and 1e-6 of the largest result (`tests/test_winograd.py`);
a NaN or an infinity in the input reaches all of its tile of outputs.

    values[e][t][c]   = input transform of tile t          (points e)
    products[e][t][f] = sum over c of values[e][t][c] * u[e][c][f]
    y                 = pool(act(bias + output transform of products))

The input gradient of a convolution with stride 1 is the convolution of dy with the kernel flipped
and transposed.

Blocking. A task is a block of tiles, across images, so few that their values and the products of
one panel of filters stay in L2. For each panel: the matrix products of all points, then the output
transform. During the products the pixels that it will write are fetched: the output does not fit
in a cache, and waiting for it takes a tenth of the time. Tiles' inputs are fetched one tile ahead.
Sums over many channels are taken in parts, which keeps their errors small.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from nbcnn.kernels.cpu import jit, simd, winograd_kernel
from nbcnn.kernels.cpu.blocking import Tile, padded_columns, register_tile
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.winograd_gemm import point_product, row_tile
from nbcnn.kernels.cpu.winograd_maps import F2, F4, TAPS, Form
from nbcnn.kernels.cpu.winograd_output import Pool, output_transform
from nbcnn.kernels.cpu.winograd_tiles import (
    LINE,
    expect_block,
    expect_pixels,
    pitch,
    place,
    window,
)
from nbcnn.kernels.cpu.winograd_transforms import input_transform
from nbcnn.kernels.impl import Impl, Scratch
from nbcnn.ops.conv_spec import MAX_POOL_INDEXED, MEAN_POOL, RELU, Conv2DSpec

# Thresholds, from one thread's time against the direct convolution's (AVX-512, 2 MB of L2), larger
# is better. Few filters are no obstacle: 64 -> 1 at 16 x 16 has 2.5.
LEAST_CHANNELS = 12  # 12 -> 12 has 1.4, 8 -> 8 has 1.1, 3 -> 64 has 0.7
MOST_CHANNELS = 512  # the error is measured up to these
# Share of the tiles' outputs that exist. F4: at 0.56 (6 x 6, 9 x 9) 32 -> 32 has 1.3, 16 -> 16 has
# 0.9; at 0.77 (7 x 7, 14 x 14) these have 1.7 and 1.2; at 0.39 (5 x 5) 24 -> 24 has 0.9. F2: at 0.7
# (5 x 5) 32 -> 32 and 128 -> 128 have 1.3 to 1.5, at 0.56 (3 x 3) 128 -> 128 has 1.0.
# Where both forms take as many products, F2 is faster: 1.1 at 5 x 5 and 6 x 6, and on maps of two
# rows or columns, where it takes fewer, 2.
LEAST_FILL = {F4: (0.75, 0.5), F2: (0.95, 0.65)}  # of narrow ones, of others
NARROW = 24 * 24  # channels times filters below which transforms weigh more
LEAST_TILES = 16  # with their kernel's transform, 64 -> 64 has 1.2 at 16 tiles and 0.6 at 4
# Each block of tiles reads all transformed kernels: 256 -> 256 has 0.95 at 18 tiles, 1.3 at 64,
# 512 -> 512 has 0.7 at 32, 1.2 at 128.
KERNEL_BYTES = 192 * 1024  # of transformed kernels that a tile may bring with it
# Of no weight where the transform is kept from run to run: at 16 tiles 256 -> 256 has 3.6 and
# 512 -> 512 has 3.1 by F4, 2.3 and 2.1 by F2.
TASKS = 8  # at least so many, if blocks stay reasonable: balances a few cores
UNITS = 3  # row tiles of the products in a block, at most
DEPTH = 256  # channels of a part of the sums


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
    act: int
    indexed: int  # whether winners of the pool are wanted


def refuses(s: Conv2DSpec, dtype: str, form: Form) -> str | None:
    """Why this form does not fit, or does not pay, in any pass."""
    if dtype != "float32":
        return f"float32 only, not {dtype}"
    if (s.kh, s.kw, s.sh, s.sw, s.dilh, s.dilw) != (TAPS, TAPS, 1, 1, 1, 1) or s.groups > 1:
        return "3x3 kernels with stride 1 only"
    if s.act > RELU:
        return "no activation but relu"
    if s.c < LEAST_CHANNELS:
        return f"fewer than {LEAST_CHANNELS} channels"
    if s.c > MOST_CHANNELS:
        return f"more than {MOST_CHANNELS} channels lose accuracy"
    tiles = tile_count(s, form)
    if tiles < LEAST_TILES:
        return f"fewer than {LEAST_TILES} tiles"
    fewest = F2.points * tile_count(s, F2)
    if form == F4 and s.ph <= F2.out and fewest <= form.points * tiles:
        return "F(2x2, 3x3) takes as few products"
    rows, columns = used(s)
    fill = s.n * rows * columns / (tiles * form.out**2)
    if fill < LEAST_FILL[form][s.c * s.f >= NARROW]:
        return f"outputs fill {fill:.0%} of their tiles"
    return None


def used(s: Conv2DSpec) -> tuple[int, int]:
    """Rows and columns of the convolution that the pool does not drop."""
    return s.oh // s.ph * s.ph, s.ow // s.pw * s.pw


def tile_grid(s: Conv2DSpec, form: Form) -> tuple[int, int]:
    rows, columns = used(s)
    return -(-rows // form.out), -(-columns // form.out)


def tile_count(s: Conv2DSpec, form: Form) -> int:
    tiles_h, tiles_w = tile_grid(s, form)
    return s.n * tiles_h * tiles_w


def gradient(s: Conv2DSpec) -> Conv2DSpec:
    """The convolution of dy that is the input gradient (where the stride is 1)."""
    sides = {"h": s.oh, "w": s.ow, "oh": s.h, "ow": s.w, "c": s.f, "f": s.c}
    return s._replace(**sides, pt=s.kh - 1 - s.pt, pl=s.kw - 1 - s.pl, bias=0, act=0)


def tiling(s: Conv2DSpec, caps: Caps, form: Form) -> Tiling:
    tile = register_tile(caps, "float32")
    tiles_h, tiles_w = tile_grid(s, form)
    tiles = s.n * tiles_h * tiles_w
    c, unit = padded_columns(s.c, tile), row_tile(tile, 1)
    if tiles < TASKS * unit and padded_columns(s.f, tile) % tile.width == 0:
        unit = row_tile(tile, tile.vectors)  # of all panels: more tasks where there are few
    room = caps.l2 * 5 // 8 // (form.points * (c + tile.width) * tile.item)
    block = max(1, min(room // unit, UNITS, tiles // (TASKS * unit))) * unit
    chunk = block * tile.lanes * tile.item
    planes = c // tile.lanes * chunk + LINE, block * tile.width * tile.item + LINE
    sides = (s.h, s.w, s.c, s.oh // s.ph, s.ow // s.pw, s.f, -s.pt, -s.pl)
    blocks = (tiles_h, tiles_w, tiles, block, chunk, *planes)
    return Tiling(*sides, *blocks, s.act, int(s.pool == MAX_POOL_INDEXED))


@cache
def tile_kernel(tile: Tile, form: Form, pool: Pool):
    across_pixels = form.out // pool.window  # of the target, in a tile
    product, expect = point_product(tile), expect_pixels(tile, across_pixels)
    into_values = input_transform(tile, form, tuple(range(len(form.halves))))
    into_pixels, arrive = output_transform(tile, form, pool), expect_block(form.side, form.out)
    read_window, write_window = window(form.side), window(across_pixels)
    lanes, width, item = tile.lanes, tile.width, tile.item
    points, out, overlap = form.points, form.out, form.side - form.out
    read_table = form.side * pitch(form.side) * 8
    write_table = across_pixels * pitch(across_pixels) * 8
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
        winners,
        values,
        products,
        nowhere,
        table,
    ):
        first = task * s.block
        count = min(s.block, s.tiles - first)
        v = simd.address(values) + thread * values.shape[1] * item
        m = simd.address(products) + thread * products.shape[1] * item
        dump = simd.address(nowhere) + thread * nowhere.shape[1] * item
        reads = simd.address(table) + thread * table.shape[1] * 8
        writes = reads + read_table
        marks = writes + s.block * write_table
        for k in range(count):
            pixel, row = s.c * item, s.w * s.c * item
            image, i, j = place(s, first + k + 1)
            base = simd.address(source) + image * s.h * row + (j * out + s.left + overlap) * pixel
            arrive(base + (i * out + s.top) * row, row, pixel, pixel)
            image, i, j = place(s, first + k)
            base = simd.address(source) + image * s.h * row
            y, x = i * out + s.top, j * out + s.left
            read_window(reads, base, row, pixel, y, x, s.h, s.w, simd.address(zeros))
            into_values(reads, s.c, v + k * lanes * item, s.chunk, s.plane)
            y, x, image = i * across_pixels, j * across_pixels, image * s.oh * s.ow * s.f
            at, base, row = k * write_table, simd.address(target) + image * item, s.ow * s.f * item
            write_window(writes + at, base, row, s.f * item, y, x, s.oh, s.ow, dump)
            if s.indexed:
                at, base, row = marks + at, simd.address(winners) + image, s.ow * s.f
                write_window(at, base, row, s.f, y, x, s.oh, s.ow, dump)
        padded = (s.f + lanes - 1) // lanes * lanes
        low = zero if s.act == RELU else lowest
        for f in range(0, s.f, width):
            across = min(width, padded - f)
            kernel = simd.address(u) + f * s.c * points * item
            for e in range(points):
                for k in range(e, count, points):  # while the products keep the core busy
                    expect(writes + k * write_table, f * item)
                for c in range(0, s.c, DEPTH):
                    product(
                        v + e * s.plane + c // lanes * s.chunk,
                        s.chunk,
                        min(DEPTH, s.c - c),
                        kernel + (e * s.c + c) * across * item,
                        m + e * s.product_plane,
                        count,
                        across,
                        c,
                    )
            for k in range(count):
                into_pixels(
                    m + k * width * item,
                    s.product_plane,
                    min(width, s.f - f),
                    writes + k * write_table,
                    f * item,
                    marks + k * write_table if s.indexed else 0,
                    simd.address(bias) + f * item,
                    low,
                )

    return jit.kernel(convolve_tiles, constants=(tile, form, pool))


class _Winograd(NamedTuple):
    """One form as an implementation of the convolution and of its input gradient."""

    form: Form

    def accepts(self, s: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
        if s.pool and (s.ph != s.pw or s.ph not in (2, 4) or s.ph > self.form.out):
            return f"pools of {s.ph} x {s.pw} do not tile its outputs"
        # Where the transform is kept, reading it costs less than the products that are saved.
        bytes_read = 0 if s.fixed else 4 * self.form.points * s.c * s.f
        if bytes_read > KERNEL_BYTES * tile_count(s, self.form):
            return f"few tiles for kernels of {s.c} x {s.f}"
        return refuses(s, dtype, self.form)

    def accepts_dx(self, s: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
        return self.accepts(gradient(s), dtype, caps)

    def scratch(self, s: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
        t, tile, form = tiling(s, caps, self.form), register_tile(caps, dtype), self.form
        pixels = form.side * pitch(form.side) + 2 * form.out * pitch(form.out) * t.block
        return {
            **winograd_kernel.scratch(s.c, s.f, form, caps),
            "values": Scratch((caps.threads, form.points * t.plane // tile.item), dtype),
            "products": Scratch((caps.threads, form.points * t.product_plane // tile.item), dtype),
            "nowhere": Scratch((caps.threads, s.f), dtype),
            "table": Scratch((caps.threads, pixels), "int64"),
        }

    def scratch_dx(self, s: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
        return self.scratch(gradient(s), dtype, caps)

    def bind(self, s: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
        return self.calls(s, False, inputs, outputs, scratch, caps)

    def bind_dx(self, s: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
        return self.calls(gradient(s), True, inputs, outputs, scratch, caps)

    def calls(self, s, transposed, inputs, outputs, scratch, caps) -> list[Call]:
        t, tile = tiling(s, caps, self.form), register_tile(caps, "float32")
        zeros = np.zeros(max(s.c, s.f, tile.width), np.float32)
        pool = Pool(s.ph, s.pool == MEAN_POOL) if s.pool else Pool()
        arrays = (
            inputs[0].reshape(-1),
            scratch["u"],
            inputs[2] if s.bias else zeros,
            zeros,
            outputs[0].reshape(-1),
            outputs[1].reshape(-1) if t.indexed else np.zeros(1, np.uint8),
            *(scratch[name] for name in ("values", "products", "nowhere", "table")),
        )
        kernel = tile_kernel(tile, self.form, pool)
        return [
            winograd_kernel.call(s.c, s.f, transposed, inputs[1], scratch, self.form, caps),
            Call(kernel, -(-t.tiles // t.block), (t, *arrays)),
        ]

    def impls(self) -> tuple[Impl, Impl]:
        name = f"winograd_f{self.form.out}"
        return (
            Impl(name, self.accepts, self.bind, self.scratch),
            Impl(name, self.accepts_dx, self.bind_dx, self.scratch_dx),
        )


conv2d, dx = _Winograd(F4).impls()
conv2d_f2, dx_f2 = _Winograd(F2).impls()
