"""Convolution as a matrix product: im2col by blocks, each multiplied while it is in the cache.

    y[p, f] = act(b[f] + sum over k of col[p, k] * w[k, f]),    p = (n, i, j),  k = (u, v, c)

col, the gathered input, is kh * kw times as large as the input. It never exists as a whole: a task
gathers PIXELS rows of as many columns as fill a third of the L2 cache into a buffer of its thread,
and multiplies them with all panels of the packed weights before it goes on with the next columns.

Input gradient. The pixels of dx that have the same remainders modulo the strides read dy through
the same taps: each remainder is a convolution of dy with stride 1 and a few of the taps, computed
the same way by a call of its own. So every element is written once, and nothing has to be added
from several tasks as in col2im.

Weight gradient. dw[k, f] = sum over p of col[p, k] * dy[p, f]: the steps of the sum are the pixels
of a block, whose rows of dy are packed into panels. A task is a slab of pixels and a block of
columns; partial sums are added as in `slabs.py`.

Chosen where the user asks for it: it takes any geometry, but `direct` saves the gathering.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from nbcnn.kernels.cpu import conv_pack, jit, simd, slabs
from nbcnn.kernels.cpu.blocking import ITEM, Tile, depth_in_l1, padded_columns, register_tile
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.conv_plain import sum_pixels
from nbcnn.kernels.cpu.gemm_micro import micro_kernel
from nbcnn.kernels.cpu.gemm_pack import pack_rows
from nbcnn.kernels.cpu.im2col_fill import PIXELS, Image, cut, filler
from nbcnn.kernels.cpu.vector_math import activate
from nbcnn.kernels.impl import Impl, Scratch, no_pool
from nbcnn.ops.conv_spec import RELU, Conv2DSpec

SLAB_PIXELS = 4 * PIXELS  # at least: adding one more slab should cost little beside making it


class Product(NamedTuple):
    """What one call makes: the target's pixels (row0 + i * step_h, column0 + j * step_w)."""

    target_h: int
    target_w: int
    f: int
    row0: int
    column0: int
    step_h: int
    step_w: int
    packed_row: int  # of the packed weights, for the first column
    depth: int  # rows of the packed weights
    chunk: int  # steps of the sum for which a panel's part stays in L1
    act: int


@cache
def tile_sweep(tile: Tile):
    """sweep(a, a_rows, a_step, count, steps, b, across, c, c_rows, left, start, resume, low).

    The micro-kernel over `count` rows and one panel of `across` packed columns, `left` of which
    exist; see `micro_kernel`.
    """
    two, one = micro_kernel(tile, 2), micro_kernel(tile, 1)
    rows, lanes, item = tile.rows, tile.lanes, tile.item

    def sweep(a, a_rows, a_step, count, steps, b, across, c, c_rows, left, start, resume, low):
        segment = a_rows  # one segment, at offset 0: as the first row is
        for i in range(0, count, rows):
            a_at, c_at, some = a_rows + 8 * i, c_rows + 8 * i, min(rows, count - i)
            if across > lanes:
                two(
                    a, a_at, a_step, segment, 1, steps, b, across * item,
                    c, c_at, some, left, start, resume, low,
                )  # fmt: skip
            else:
                one(
                    a, a_at, a_step, segment, 1, steps, b, across * item,
                    c, c_at, some, left, start, resume, low,
                )  # fmt: skip

    return jit.helper(sweep)


@cache
def product_kernel(tile: Tile):
    """The kernel of forward pass and input gradient: a task is a block of pixels."""
    sweep, fill, act_numbers = tile_sweep(tile), filler(tile.item), activate(tile)
    lanes, width, item = tile.lanes, tile.width, tile.item
    number = np.float32 if item == 4 else np.float64
    lowest, zero = number(-np.inf), number(0)

    @jit.helper
    def locate(s, image, first, pixels, places):
        """Byte offsets of the pixels in the target."""
        for i in range(pixels):
            row, j = (first + i) // image.columns, (first + i) % image.columns
            row = row // image.rows * s.target_h + s.row0 + row % image.rows * s.step_h
            places[i] = (row * s.target_w + s.column0 + j * s.step_w) * s.f * item

    @jit.kernel(constants=(tile,))
    def multiply(
        task, thread, s, image, bias_step, source, packed, bias, target, buffer, places,
        pieces, blocks, a_rows,
    ):  # fmt: skip
        first = task * a_rows.size
        pixels = min(a_rows.size, image.n * image.rows * image.columns - first)
        pitch, places = buffer.shape[1] // a_rows.size, places[thread]
        locate(s, image, first, pixels, places)
        if len(blocks) == 0:  # no taps
            for i in range(pixels):
                simd.zero_bytes(simd.address(target) + places[i], s.f * item)
        group_f = s.f // image.groups
        padded = (group_f + lanes - 1) // lanes * lanes
        for group in range(image.groups):
            for k in range(len(blocks)):
                column, length = blocks[k, 2], blocks[k, 3]
                listed = pieces[blocks[k, 0] : blocks[k, 1]]
                fill(image, first, pixels, group, listed, source, buffer[thread], pitch)
                for panel in range(0, group_f, width):
                    across = min(width, padded - panel)
                    f = group * group_f + panel
                    b_row = s.packed_row + column
                    b = (group * padded + panel) * s.depth + b_row * across
                    for step in range(0, length, s.chunk):
                        last = k + 1 == len(blocks) and step + s.chunk >= length
                        sweep(
                            simd.address(buffer[thread]) + step * item, simd.address(a_rows), item,
                            pixels, min(s.chunk, length - step),
                            simd.address(packed) + (b + step * across) * item, across,
                            simd.address(target) + f * item, simd.address(places), group_f - panel,
                            simd.address(bias) + f * bias_step * item, int(k > 0 or step > 0),
                            zero if s.act == RELU and last else lowest,
                        )  # fmt: skip
        if s.act > RELU:
            act_numbers(simd.address(target) + places[0], pixels * s.f, s.act)

    return multiply


@cache
def weight_gradient_kernel(tile: Tile):
    """A task is a slab of pixels and a block of columns."""
    sweep, fill, pack = tile_sweep(tile), filler(tile.item), pack_rows(tile)
    lanes, width, item = tile.lanes, tile.width, tile.item
    lowest = (np.float32 if item == 4 else np.float64)(-np.inf)

    @jit.helper
    def add_pixels(
        image, f, group, length, first, pixels, pitch, dy, rows, packed,
        parts, zeros, resume, tables,
    ):  # fmt: skip
        """Add a block of pixels to `length` rows of dw, at `parts`."""
        group_f = f // image.groups
        padded = (group_f + lanes - 1) // lanes * lanes
        for panel in range(0, group_f, width):
            across, left = min(width, padded - panel), group_f - panel
            source = dy + (first * f + group * group_f + panel) * item
            pack(packed, source, f * item, pixels, left)
            sweep(
                rows, simd.address(tables[0]), pitch * item, length, pixels, packed, across,
                parts + (group * group_f + panel) * item, simd.address(tables[1]), left,
                zeros, resume, lowest,
            )  # fmt: skip

    @jit.kernel(constants=(tile,))
    def weight_gradient(
        task, thread, image, f, bias, count, stride, x, dy, parts, buffer, panels, zeros,
        pieces, blocks, tables,
    ):  # fmt: skip
        slab, k = task // len(blocks), task % len(blocks)
        start, end = slabs.slab_range(slab, count, image.n * image.rows * image.columns)
        column, length = blocks[k, 2], blocks[k, 3]
        listed = pieces[blocks[k, 0] : blocks[k, 1]]
        pitch = tables.shape[1]
        most = buffer.shape[1] // pitch
        at = slab * stride
        for group in range(image.groups):
            for first in range(start, end, most):
                pixels = min(most, end - first)
                fill(image, first, pixels, group, listed, x, buffer[thread], pitch)
                add_pixels(
                    image, f, group, length, first, pixels, pitch, simd.address(dy),
                    simd.address(buffer[thread]), simd.address(panels[thread]),
                    simd.address(parts) + (at + column * f) * item, simd.address(zeros),
                    int(first > start), tables,
                )  # fmt: skip
        if bias and k == 0:
            sum_pixels(f, start, end, dy, at + stride - f, parts)

    return weight_gradient


def accepts(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    if dtype not in ITEM:
        return f"no {dtype}"
    return no_pool(spec, dtype, caps) if spec.n else "no images"


class Phase(NamedTuple):
    """One product: the image and taps that it reads, and the pixels of the target that it makes."""

    image: Image
    taps: list[tuple[int, int]]
    numbers: list[int]  # u * kw + v of each tap
    origin: tuple[int, int]  # first pixel of the target
    step: tuple[int, int]  # from pixel to pixel


def forward_phases(s: Conv2DSpec) -> list[Phase]:
    image = Image(s.n, s.h, s.w, s.c, s.groups, s.oh, s.ow, s.sh, s.sw)
    taps = [(u * s.dilh - s.pt, v * s.dilw - s.pl) for u in range(s.kh) for v in range(s.kw)]
    return [Phase(image, taps, list(range(s.kh * s.kw)), (0, 0), (1, 1))]


def gradient_phases(s: Conv2DSpec) -> list[Phase]:
    """A phase per remainder of dx's rows and columns modulo the strides."""
    phases = []
    for p in range(min(s.sh, s.h)):
        for q in range(min(s.sw, s.w)):
            rows, columns = -(-(s.h - p) // s.sh), -(-(s.w - q) // s.sw)
            image = Image(s.n, s.oh, s.ow, s.f, s.groups, rows, columns, 1, 1)
            ahead = [(p + s.pt - u * s.dilh, u) for u in range(s.kh)]
            across = [(q + s.pl - v * s.dilw, v) for v in range(s.kw)]
            seen = sorted(
                (a // s.sh, b // s.sw, u * s.kw + v)
                for a, u in ahead
                for b, v in across
                if a % s.sh == 0 and b % s.sw == 0
            )
            taps, numbers = [(a, b) for a, b, _ in seen], [tap for _, _, tap in seen]
            phases.append(Phase(image, taps, numbers, (p, q), (s.sh, s.sw)))
    return phases


def rows_of_buffer(pixels: int, tile: Tile) -> int:
    """PIXELS, or fewer where there are few pixels, so that there are tasks to share."""
    return min(PIXELS, max(-(-pixels // 16 // tile.rows), 4) * tile.rows)


def columns_of_buffer(caps: Caps, tile: Tile) -> int:
    """Columns of which PIXELS rows fill a third of L2; panels and target need room as well."""
    return max(64, caps.l2 // 3 // (PIXELS * tile.item))


class Target(NamedTuple):
    """The product's result (n, h, w, f), and whether w's filters (0) or channels (1) are its f."""

    h: int
    w: int
    f: int
    transposed: bool


def product_scratch(phases: list[Phase], target: Target, dtype: str, caps: Caps):
    tile, image = register_tile(caps, dtype), phases[0].image
    steps = image.c // image.groups * sum(len(phase.taps) for phase in phases)
    columns = image.groups * padded_columns(target.f // image.groups, tile)
    rows = rows_of_buffer(image.pixels, tile)
    return {
        "packed": Scratch((columns * steps + tile.width,), dtype, constant=True),
        "buffer": Scratch((caps.threads, rows * columns_of_buffer(caps, tile)), dtype),
        "places": Scratch((caps.threads, rows), "int64"),
    }


def product_calls(spec, phases, target: Target, arrays, scratch, caps: Caps) -> list[Call]:
    """Pack the weights, then a call per phase. `arrays`: source, weights, bias or None, result."""
    source, w, bias, result = arrays
    tile = register_tile(caps, source.dtype.name)
    packed, buffer, places = scratch["packed"], scratch["buffer"], scratch["places"]
    bias_step = int(bias is not None)
    if bias is None:
        bias = np.zeros(tile.width, source.dtype)
    order = [tap for phase in phases for tap in phase.numbers]
    calls = [conv_pack.call(spec, order, target.transposed, w, packed, caps)] if order else []
    channels, row = phases[0].image.c // spec.groups, 0
    most = columns_of_buffer(caps, tile)
    a_rows = np.arange(places.shape[1]) * most * tile.item
    for phase in phases:
        (row0, column0), (step_h, step_w) = phase.origin, phase.step
        product = Product(
            target.h, target.w, target.f, row0, column0, step_h, step_w, row,
            len(order) * channels, depth_in_l1(tile, caps), 0 if target.transposed else spec.act,
        )  # fmt: skip
        arrays = (source.reshape(-1), packed, bias, result.reshape(-1), buffer, places)
        columns = cut(phase.taps, phase.image, most)
        args = (product, phase.image, bias_step, *arrays, *columns, a_rows)
        calls.append(Call(product_kernel(tile), -(-phase.image.pixels // a_rows.size), args))
        row += len(phase.taps) * channels
    return calls


def forward_target(s: Conv2DSpec) -> Target:
    return Target(s.oh, s.ow, s.f, False)


def gradient_target(s: Conv2DSpec) -> Target:
    return Target(s.h, s.w, s.c, True)


def scratch(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    return product_scratch(forward_phases(spec), forward_target(spec), dtype, caps)


def scratch_dx(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    return product_scratch(gradient_phases(spec), gradient_target(spec), dtype, caps)


def bind(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    arrays = (*inputs[:2], inputs[2] if spec.bias else None, outputs[0])
    return product_calls(spec, forward_phases(spec), forward_target(spec), arrays, scratch, caps)


def bind_dx(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    arrays = (*inputs, None, outputs[0])
    return product_calls(spec, gradient_phases(spec), gradient_target(spec), arrays, scratch, caps)


def scratch_dw(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    tile = register_tile(caps, dtype)
    size = spec.kh * spec.kw * (spec.c // spec.groups) * spec.f + spec.bias * spec.f
    count = slabs.slab_count(spec.n * spec.oh * spec.ow, size, SLAB_PIXELS)
    return {
        "parts": Scratch((count, size), dtype),
        "buffer": Scratch((caps.threads, PIXELS * columns_of_buffer(caps, tile)), dtype),
        "panels": Scratch((caps.threads, PIXELS * tile.width), dtype),
    }


def bind_dw(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    x, dy, parts = inputs[0].reshape(-1), inputs[1].reshape(-1), scratch["parts"]
    tile = register_tile(caps, x.dtype.name)
    (phase,) = forward_phases(spec)
    most = columns_of_buffer(caps, tile)
    columns = cut(phase.taps, phase.image, most)
    tables = np.outer((1, spec.f), np.arange(most)) * tile.item  # columns of the buffer, rows of dw
    args = (
        phase.image, spec.f, spec.bias, *parts.shape, x, dy, parts.reshape(-1), scratch["buffer"],
        scratch["panels"], np.zeros(tile.width, x.dtype), *columns, tables,
    )  # fmt: skip
    tasks = len(parts) * len(columns.blocks)
    kernel = weight_gradient_kernel(tile)
    return [Call(kernel, tasks, args), *slabs.reductions(parts, outputs)]


conv2d = Impl("im2col", accepts, bind, scratch)
conv2d_dx = Impl("im2col", accepts, bind_dx, scratch_dx)
conv2d_dw = Impl("im2col", accepts, bind_dw, scratch_dw)
