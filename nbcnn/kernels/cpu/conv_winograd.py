"""Winograd's convolution, forward and input gradient.

F(4x4, 3x3): a tile of 4 x 4 outputs takes 36 products per pair of channel and filter instead of
144; with the transforms around them (`winograd_maps`) it is two to three times as fast as the
direct convolution. Each axis has as many taps as the kernel, so there are F(4x4, 5x5), 64 products
instead of 400, and F(1x4, 1x7), 10 instead of 28. F(2x2, 3x3) and its like are for maps on which
larger tiles would be mostly empty. Dilated kernels are ordinary ones in each phase of the image.
Errors are at most those of `ERRORS`, of the largest result (`tests/test_winograd.py`); a NaN or an
infinity in the input reaches all of its tile of outputs.

    values[e][t][c]   = input transform of tile t          (points e)
    products[e][t][f] = sum over c of values[e][t][c] * u[e][c][f]
    y                 = pool(act(bias + output transform of products))

The input gradient of a convolution with stride 1 is the convolution of dy with the kernel flipped
and transposed.

Blocking. A task is a block of tiles, across images, so few that their values and the products of
one panel of filters stay in L2. For each panel: the matrix products of all points, then the output
transform. During the products the pixels that it will write are fetched: the output does not fit
in a cache, and waiting for it takes a tenth of the time. Tiles' inputs are fetched one tile ahead.
Sums over many channels are taken in parts, which keeps their errors small. Where tiles are few, or
the kernel is large, `winograd_deep` shares out panels of filters instead.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from nbcnn.kernels.cpu import jit, simd, winograd_kernel
from nbcnn.kernels.cpu.blocking import Tile, padded_columns, panels, register_tile
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.winograd_deep import READ, panel_kernel, values_kernel
from nbcnn.kernels.cpu.winograd_gather import finder, read_bytes, reader, write_bytes
from nbcnn.kernels.cpu.winograd_gemm import point_product, row_tile
from nbcnn.kernels.cpu.winograd_kernel import STEPS
from nbcnn.kernels.cpu.winograd_maps import Axis, Form
from nbcnn.kernels.cpu.winograd_output import Pool, output_transform
from nbcnn.kernels.cpu.winograd_tiles import LINE, expect_pixels
from nbcnn.kernels.impl import Impl, Scratch
from nbcnn.ops.conv_spec import MAX_POOL_INDEXED, MEAN_POOL, RELU, Conv2DSpec

LARGE, SMALL = 4, 2  # outputs of a tile, in each axis
# Bounds of the error, of the largest result, by the taps of both axes; no other kernels are taken.
ERRORS = {
    LARGE: {(3, 3): 5e-6, (3, 5): 1e-5, (5, 5): 1.5e-5, (1, 3): 2e-6, (1, 5): 3e-6, (1, 7): 8e-6},
    SMALL: {(3, 3): 1e-6, (3, 5): 2e-6, (5, 5): 3e-6, (1, 3): 1e-6, (1, 5): 2e-6, (1, 7): 3e-6},
}
ERRORS = {out: bounds | {k[::-1]: b for k, b in bounds.items()} for out, bounds in ERRORS.items()}

# Thresholds, from one thread's time against the direct convolution's (AVX-512, 2 MB of L2), larger
# is better. Few filters are no obstacle: 64 -> 1 at 16 x 16 has 2.5.
LEAST_CHANNELS = 12  # 3x3: 12 -> 12 has 1.4, 8 -> 8 has 1.1, 3 -> 64 has 0.7; 5x5: 12 -> 12 has 2.5
MOST_CHANNELS = 2048  # the error is measured up to these
# Products of the direct convolution for one of these, counting outputs of tiles that do not exist.
# 3x3, F4: at 2.25 (6 x 6, 9 x 9) 32 -> 32 has 1.3, 16 -> 16 has 0.9; at 3.1 (7 x 7, 14 x 14) these
# have 1.7 and 1.2; at 1.6 (5 x 5) 24 -> 24 has 0.9. F2: at 1.6 (5 x 5) 32 -> 32 and 128 -> 128 have
# 1.3 to 1.5, at 1.27 (3 x 3) 128 -> 128 has 1.0. 5x5, F4: at 2.4 (5 x 5) 32 -> 32 has 1.5 to 1.9.
# Where both forms take as many products, F2 is faster: 1.1 at 5 x 5 and 6 x 6, and on maps of two
# rows or columns, where it takes fewer, 2.
LEAST_SAVED = {LARGE: (3.0, 2.0), SMALL: (2.1, 1.45)}  # of narrow ones, of others
NARROW = 24 * 24  # channels times filters below which transforms weigh more
# Kernels with taps in a row transform as many numbers for fewer products: 1x3 has 1.1 at 32 -> 32
# and 0.6 at 16 -> 16, 1x7 1.0 at 16 -> 16; at 1.25 (5 x 5) 1x3 has 1.2 with 64 -> 64.
LINE_SAVED = 1.2
LINE_NARROW = 32 * 32
LEAST_TILES = 16  # 64 -> 64 has 1.6 at 16 tiles, 512 -> 512 as much, and 0.9 at 4
# Beyond so many bytes of transformed kernel a tile, it is transformed panel by panel, and where
# tiles are few: blocks of 16 would be as few tasks. One image of 28 x 28, 64 -> 64, takes 0.13 ms
# instead of 0.24 on two cores, 16 of 7 x 7, 512 -> 512, 7 to 8 instead of 9 to 12. At 128 tiles of
# 256 -> 256, 75 KB each, both take as long, at 98 tiles of 256 -> 512, 188 KB each, panels 0.76 of
# the time (2 cores of Zen 3 with 512 KB of L2); on 2 cores of a Xeon with 2 MB, whose L3 is slower,
# panels take 0.86 to 0.95 at 75 KB. Where the transform is kept from run to run it is made as a
# whole: then 256 -> 256 has 3.6 at 16 tiles and 512 -> 512 has 3.1.
DEEP_BYTES = 64 * 1024
# A kept one is read from memory in the end: on that Xeon, with other memory touched in between,
# 512 -> 512 took 17 ms at 32 tiles (1.2 MB each) and 14 at 18, panels 11 and 9; at 72 tiles of
# 512 -> 256 (260 KB) and 128 of 256 -> 256 both took as long.
DEEP_FIXED_BYTES = 1 << 20
TASKS = 8  # at least so many, if blocks stay reasonable: balances a few cores
DEEP_BLOCK = 64  # tiles of a group, at most; so many are few
DEEP_DEPTH = 64  # channels of a part of the sums, at most
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
    top: int  # the first tile's first row and column in the source, in the first phase
    left: int
    dilation_h: int
    dilation_w: int
    tiles_h: int  # per phase of an image
    tiles_w: int
    tiles: int  # of all images
    block: int  # tiles of a task
    depth: int  # channels of a part of the sums
    chunk: int  # from one chunk of channels to the next
    plane: int  # from one point's values to the next
    product_plane: int
    act: int
    indexed: int  # whether winners of the pool are wanted


def form_of(s: Conv2DSpec, out: int) -> Form:
    """With `out` outputs in each axis that has more taps than one."""
    return Form(*(Axis(out if taps > 1 else 1, taps) for taps in (s.kh, s.kw)))


def refuses(s: Conv2DSpec, dtype: str, out: int) -> str | None:
    """Why the form with so many outputs does not fit, or does not pay, in any pass."""
    if dtype != "float32":
        return f"float32 only, not {dtype}"
    if (s.kh, s.kw) not in ERRORS[out]:
        return f"no kernels of {s.kh} x {s.kw}"
    if (s.sh, s.sw) != (1, 1) or s.groups > 1:
        return "stride 1 only, and no groups"
    if s.act > RELU:
        return "no activation but relu"
    if s.c < LEAST_CHANNELS:
        return f"fewer than {LEAST_CHANNELS} channels"
    if s.c > MOST_CHANNELS:
        return f"more than {MOST_CHANNELS} channels lose accuracy"
    form, tiles = form_of(s, out), tile_count(s, out)
    if tiles < LEAST_TILES:
        return f"fewer than {LEAST_TILES} tiles"
    fewest = form_of(s, SMALL).points * tile_count(s, SMALL)
    if out == LARGE and s.ph <= SMALL and fewest <= form.points * tiles:
        return "tiles of two outputs take as few products"
    rows, columns = used(s)
    saved = s.n * rows * columns * form.taps / (tiles * form.points)
    line = 1 in (s.kh, s.kw)
    if line and s.c * s.f < LINE_NARROW:
        return "few channels for taps in a row"
    if saved < (LINE_SAVED if line else LEAST_SAVED[out][s.c * s.f >= NARROW]):
        return f"only {saved:.2f} times fewer products"
    return None


def used(s: Conv2DSpec) -> tuple[int, int]:
    """Rows and columns of the convolution that the pool does not drop."""
    return s.oh // s.ph * s.ph, s.ow // s.pw * s.pw


def tile_grid(s: Conv2DSpec, out: int) -> tuple[int, int]:
    """Tiles of a phase: the first has the most pixels."""
    (rows, columns), form = used(s), form_of(s, out)
    return -(-rows // (s.dilh * form.rows.out)), -(-columns // (s.dilw * form.columns.out))


def tiles_outputs(s: Conv2DSpec, form: Form) -> bool:
    """Whether the windows of the pool tile the outputs of a tile."""
    undilated = (s.dilh, s.dilw) == (1, 1)
    return undilated and s.ph == s.pw and all(axis.out % s.ph == 0 for axis in form)


def tile_count(s: Conv2DSpec, out: int) -> int:
    tiles_h, tiles_w = tile_grid(s, out)
    return s.n * s.dilh * s.dilw * tiles_h * tiles_w


def gradient(s: Conv2DSpec) -> Conv2DSpec:
    """The convolution of dy that is the input gradient (where the stride is 1)."""
    sides = {"h": s.oh, "w": s.ow, "oh": s.h, "ow": s.w, "c": s.f, "f": s.c}
    lead = {"pt": (s.kh - 1) * s.dilh - s.pt, "pl": (s.kw - 1) * s.dilw - s.pl}
    return s._replace(**sides, **lead, bias=0, act=0)


def tiling(s: Conv2DSpec, caps: Caps, out: int) -> Tiling:
    tile, form = register_tile(caps, "float32"), form_of(s, out)
    c, unit = padded_columns(s.c, tile), row_tile(tile, 1)
    tiles, depth = tile_count(s, out), DEPTH
    if deep(s, caps, out):
        room = caps.l2 * 5 // 16 // (form.points * tile.width * tile.item)  # u, and products
        most = min(room, DEEP_BLOCK, tiles + unit - 1) // unit * unit  # products go by whole units
        block = max(unit, most)
        depth = max(tile.lanes, min(room // tile.lanes * tile.lanes, DEEP_DEPTH))
        across = -(-tiles // block) * block  # values are those of all tiles
    else:
        if tiles < TASKS * unit and padded_columns(s.f, tile) % tile.width == 0:
            unit = row_tile(tile, tile.vectors)  # of all panels: more tasks where there are few
        room = caps.l2 * 5 // 8 // (form.points * (c + tile.width) * tile.item)
        across = block = max(1, min(room // unit, UNITS, tiles // (TASKS * unit))) * unit
    chunk = across * tile.lanes * tile.item
    planes = c // tile.lanes * chunk + LINE, block * tile.width * tile.item + LINE
    sides = (s.h, s.w, s.c, s.oh // s.ph, s.ow // s.pw, s.f, -s.pt, -s.pl)
    blocks = (s.dilh, s.dilw, *tile_grid(s, out), tiles, block, depth, chunk, *planes)
    return Tiling(*sides, *blocks, s.act, int(s.pool == MAX_POOL_INDEXED))


def deep(s: Conv2DSpec, caps: Caps, out: int) -> bool:
    """Whether the kernel is transformed by those who need it: see `winograd_deep`."""
    tile, tiles = register_tile(caps, "float32"), tile_count(s, out)
    transformed = tile.item * form_of(s, out).points * s.c * s.f
    if s.fixed:
        return transformed >= DEEP_FIXED_BYTES * tiles
    few = tiles <= DEEP_BLOCK and s.f > tile.width
    return few or transformed > DEEP_BYTES * tiles


@cache
def tile_kernel(tile: Tile, form: Form, pool: Pool):
    product, points = point_product(tile), form.points
    rows, columns = form.rows.out // pool.window, form.columns.out // pool.window
    read, find, expect = (
        reader(tile, form),
        finder(tile, form, pool),
        expect_pixels(tile, rows, columns),
    )
    into_pixels = output_transform(tile, form, pool)
    lanes, width, item = tile.lanes, tile.width, tile.item
    read_table, write_table = read_bytes(form), write_bytes(form, pool)
    zero, lowest = np.float32(0), np.float32(-np.inf)

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
            at = v + k * lanes * item
            read(s, first + k, simd.address(source), simd.address(zeros), reads, at)
            find(
                s,
                first + k,
                simd.address(target),
                simd.address(winners),
                dump,
                writes + k * write_table,
                marks + k * write_table,
            )
        padded = (s.f + lanes - 1) // lanes * lanes
        low = zero if s.act == RELU else lowest
        for f in range(0, s.f, width):
            across = min(width, padded - f)
            kernel = simd.address(u) + f * s.c * points * item
            for e in range(points):
                for k in range(e, count, points):  # while the products keep the core busy
                    expect(writes + k * write_table, f * item)
                for c in range(0, s.c, s.depth):
                    product(
                        v + e * s.plane + c // lanes * s.chunk,
                        s.chunk,
                        min(s.depth, s.c - c),
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
    """Forms of `out` outputs as an implementation of the convolution and of its input gradient."""

    out: int

    def accepts(self, s: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
        refused = refuses(s, dtype, self.out)
        if refused:
            return refused
        form = form_of(s, self.out)
        if s.pool and not tiles_outputs(s, form):
            return f"pools of {s.ph} x {s.pw} do not tile its outputs"
        return None

    def accepts_dx(self, s: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
        return self.accepts(gradient(s), dtype, caps)

    def scratch(self, s: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
        t, tile, form = tiling(s, caps, self.out), register_tile(caps, dtype), form_of(s, self.out)
        tables = (read_bytes(form) + 2 * t.block * write_bytes(form, Pool())) // 8
        sizes = {
            "values": form.points * t.plane // tile.item,
            "products": form.points * t.product_plane // tile.item,
            "nowhere": s.f,
        }
        needed = {name: Scratch((caps.threads, size), dtype) for name, size in sizes.items()}
        needed["table"] = Scratch((caps.threads, tables), "int64")
        if not deep(s, caps, self.out):
            return winograd_kernel.scratch(s.c, s.f, form, caps) | needed
        needed["values"] = Scratch((sizes["values"],), dtype)
        taps, u = form.taps * STEPS * tile.width, form.points * t.depth * tile.width
        needed["taps"] = Scratch((caps.threads, taps), dtype)
        needed["u"] = Scratch((caps.threads, u), dtype)
        return needed

    def scratch_dx(self, s: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
        return self.scratch(gradient(s), dtype, caps)

    def bind(self, s: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
        return self.calls(s, False, inputs, outputs, scratch, caps)

    def bind_dx(self, s: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
        return self.calls(gradient(s), True, inputs, outputs, scratch, caps)

    def calls(self, s, transposed, inputs, outputs, scratch, caps) -> list[Call]:
        t, form = tiling(s, caps, self.out), form_of(s, self.out)
        tile = register_tile(caps, "float32")
        source, w = (a.reshape(-1) for a in inputs[:2])
        zeros = np.zeros(max(s.c, s.f, tile.width), np.float32)
        bias = inputs[2] if s.bias else zeros
        pool = Pool(s.ph, s.pool == MEAN_POOL) if s.pool else Pool()
        target = outputs[0].reshape(-1)
        winners = outputs[1].reshape(-1) if t.indexed else np.zeros(1, np.uint8)
        blocks, values, table = -(-t.tiles // t.block), scratch["values"], scratch["table"]
        if deep(s, caps, self.out):
            order = winograd_kernel.order(form, transposed)
            ends = [
                scratch[name] for name in ("values", "taps", "u", "products", "nowhere", "table")
            ]
            panel = (t, int(transposed), w, order, bias, target, winners, *ends)
            return [
                Call(
                    values_kernel(tile, form),
                    -(-t.tiles // READ),
                    (t, source, zeros, values, table),
                ),
                Call(panel_kernel(tile, form, pool), blocks * panels(s.f, tile), panel),
            ]
        ends = [values, scratch["products"], scratch["nowhere"], table]
        args = (t, source, scratch["u"], bias, zeros, target, winners, *ends)
        return [
            winograd_kernel.call(s.c, s.f, transposed, w, scratch, form, caps),
            Call(tile_kernel(tile, form, pool), blocks, args),
        ]

    def impls(self) -> tuple[Impl, Impl]:
        name = f"winograd_f{self.out}"
        return (
            Impl(name, self.accepts, self.bind, self.scratch),
            Impl(name, self.accepts_dx, self.bind_dx, self.scratch_dx),
        )


conv2d, dx = _Winograd(LARGE).impls()
conv2d_f2, dx_f2 = _Winograd(SMALL).impls()
