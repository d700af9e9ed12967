"""Convolutions of few channels and filters: the batch in the vector lanes.

Vectors over filters are mostly empty where there are few filters (6 of 16 lanes), and vectors over
pixels need one layout for each stride. A vector over images is always full: its lanes are the same
number of as many images, weights are broadcast.

    target[n, p + i*step, q + j*step, f] =
        act(b[f] + sum over taps, c of source[n, i*s + du, j*s + dv, c] * w[tap, c, f])

for each phase (p, q), as in `conv_sweep.py`: the forward pass is one phase, the input gradient of
a convolution with strides has one per position modulo the strides.

Blocking. Outside, images stay NHWC. A task takes as many images as a vector has lanes and a block
of rows. It transposes its part of the source into a buffer, (row, column, channel, image), with
zeros where the taps reach over the edge and for images that do not exist. Then, strip of rows by
strip, such that a strip's results stay in L2: the sweep (`conv_lanes_micro.py`) over the phases and
blocks of filters, the activation and the pool of the tail, and the transposition back.

Chosen where filters fill little of a vector, and images much, see `accepts`.
"""

from functools import cache

import numpy as np

from nbcnn.kernels.cpu import conv_lanes_micro as micro
from nbcnn.kernels.cpu import conv_winograd, jit, simd
from nbcnn.kernels.cpu.blocking import ITEM, Tile, register_tile
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.conv_lanes_plan import Sweep, plan, plan_dx
from nbcnn.kernels.cpu.gemm_pack import pack_columns
from nbcnn.kernels.cpu.vector_math import activate
from nbcnn.kernels.impl import Impl, Scratch
from nbcnn.ops.conv_spec import MAX_POOL, MAX_POOL_INDEXED, MEAN_POOL, NO_POOL, RELU, Conv2DSpec

# Against direct convolution, 64 images of 28x28 and 14x14, 1 to 128 channels, 3x3 to 7x7: where
# filters fill a quarter of the vectors, lanes are 2.5 to 6 times as fast, half: 1.8 to 2.8, three
# quarters: 1.2 to 1.8, one vector: 1.0 (5x5 and 7x7 1.05 to 1.8), two vectors: 0.7 to 1.1. 1x1: 1.2
# times with 8 filters, 0.8 with 16.
MOST_FILL = 0.75
ONE_VECTOR = 25  # taps
NARROW = 6  # filters; more are faster by Winograd where that fits (8: 1.1 times, 4: 0.6)


def accepts(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    reason = refuses(spec, spec.f, ONE_VECTOR, dtype, caps)
    if spec.pool == MAX_POOL_INDEXED:
        return "the winners of a pool"
    if reason is None and spec.ph * spec.ow * spec.f * caps.vector > caps.l2 // 2:
        return "a row of windows does not fit in L2"
    if (
        reason is None
        and spec.f > NARROW
        and conv_winograd.conv2d.accepts(spec, dtype, caps) is None
    ):
        return "Winograd multiplies less"
    return reason


def accepts_dx(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    reason = refuses(spec, spec.c, ONE_VECTOR, dtype, caps)
    if reason is None and spec.c > NARROW and conv_winograd.dx.accepts(spec, dtype, caps) is None:
        return "Winograd multiplies less"
    return reason


def refuses(s: Conv2DSpec, filters: int, large: int, dtype: str, caps: Caps) -> str | None:
    """Why lanes do not fit or do not pay. `filters`: what other algorithms have in their vectors;
    `large`: taps, from which lanes pay even if these fill one vector.
    """
    if dtype not in ITEM:
        return f"no {dtype}"
    if s.groups > 1 or s.n == 0:
        return "groups" if s.groups > 1 else "no images"
    tile, taps = register_tile(caps, dtype), s.kh * s.kw
    room = tile.lanes if taps >= large else tile.lanes // 2 if taps == 1 else 3 * tile.lanes // 2
    fill = 1.0 if taps >= large else MOST_FILL
    images, columns = _filled(s.n, tile.lanes), _filled(filters, tile.lanes)
    if filters > room or columns > fill * images:
        return f"{filters} filters fill {columns:.0%} of vectors, {s.n} images {images:.0%}"
    rows = max((s.kh - 1) * s.dilh + 1 + s.sh, (s.kh - 1) * s.dilh // s.sh + 2)
    size = rows * max((s.w + s.kw * s.dilw) * s.c, (s.ow + s.kw * s.dilw) * s.f) * tile.lanes
    return None if size * tile.item <= caps.l3 // 8 else "rows beyond the caches"


def _filled(count: int, lanes: int) -> float:
    """How much of the lanes of vectors `count` numbers fill."""
    return count / (-(-count // lanes) * lanes)


def _scratch(planner):
    def scratch(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
        s = planner(spec, dtype, caps)[0]
        lanes = register_tile(caps, dtype).lanes
        strip = s.strip * s.target_w * s.target_c * lanes
        return {
            "packed": Scratch((_packed_size(s),), dtype, constant=True),
            "source": Scratch((caps.threads, s.buffer_h * s.buffer_w * s.c * lanes), dtype),
            "strip": Scratch((caps.threads, strip), dtype),
        }

    return scratch


def _calls(spec, planner, transposed, source, w, bias, target, scratch, caps) -> list[Call]:
    tile = register_tile(caps, source.dtype.name)
    s, tables, order = planner(spec, source.dtype.name, caps)
    if bias is None:
        bias = np.zeros(s.target_c, source.dtype)
    taps = np.array(order or [0], np.int64)
    parts = -(-s.target_c // s.filters)
    shape = (s.filters, s.target_c, s.c, len(order), int(transposed))
    arrays = source.reshape(-1), scratch["packed"], bias, target.reshape(-1)
    sweep = (s, *arrays, scratch["source"], scratch["strip"], *tables)
    tasks = -(-s.n // tile.lanes) * s.blocks
    return [
        Call(pack_weights, parts, (*shape, w.reshape(-1), taps, scratch["packed"]), True),
        Call(sweep_kernel(tile), tasks, sweep),
    ]


def _packed_size(s: Sweep) -> int:
    return max(-(-s.target_c // s.filters) * s.filters * s.steps, 1)


@jit.kernel
def pack_weights(task, thread, block, filters, channels, taps, transposed, w, order, packed):
    """One block of filters: its weights in the order in which the sweep reads them. The last block
    overlaps the one before it, so that all are full.
    """
    first = min(task * block, filters - block)
    at = task * block * taps * channels
    for tap in range(taps):
        start = order[tap] * filters * channels
        for k in range(channels):
            for f in range(first, first + block):
                packed[at] = w[start + (f * channels + k if transposed else k * filters + f)]
                at += 1


@cache
def fill_lanes(tile: Tile):
    """fill(s, buffer, source, first image, images, first row): a block of the source with the
    images in the lanes and zeros around. `s`: any record with h, w, c, left, buffer_h, buffer_w.
    """
    lanes, item = tile.lanes, tile.item
    size, transpose = lanes * item, pack_columns(tile._replace(vectors=1))

    def fill(s, buffer, source, first, images, top):
        image, pixel = s.h * s.w * s.c * item, s.c * size
        zeros_left, start = min(max(-s.left, 0), s.buffer_w), max(s.left, 0)
        inside = max(min(s.w - start, s.buffer_w - zeros_left), 0)
        zeros_right = s.buffer_w - zeros_left - inside
        at, end = buffer, top + s.buffer_h
        row = top
        while row < end:
            if row < 0 or row >= s.h:
                simd.zero_bytes(at, s.buffer_w * pixel)
                rows = 1
            else:
                rows = min(end, s.h) - row if inside == s.buffer_w == s.w else 1
                simd.zero_bytes(at, zeros_left * pixel)
                origin = source + first * image + (row * s.w + start) * s.c * item
                transpose(at + zeros_left * pixel, origin, image, rows * inside * s.c, images)
                simd.zero_bytes(at + (zeros_left + inside) * pixel, zeros_right * pixel)
            at += rows * s.buffer_w * pixel
            row += rows

    return jit.helper(fill)


@cache
def sweep_kernel(tile: Tile):
    tiles, fill, to_images = micro.sweep_tiles(tile), fill_lanes(tile), micro.to_images(tile)
    act_numbers, pool = activate(tile), micro.pool_windows(tile)
    lanes, item = tile.lanes, tile.item
    number = np.float32 if item == 4 else np.float64
    lowest, zero, size = number(-np.inf), number(0), lanes * item

    def sweep_lanes(
        task, thread, s, source, packed, bias, target, buffer, strip_buffer, strips, table, offsets
    ):
        block, first = task % s.blocks, task // s.blocks * lanes
        images = min(lanes, s.n - first)
        own = simd.address(buffer) + thread * buffer.shape[1] * item
        out = simd.address(strip_buffer) + thread * strip_buffer.shape[1] * item
        fill(s, own, simd.address(source), first, images, block * s.block_rows + s.top)
        pixels = (s.target_h // s.window_h) * (s.target_w // s.window_w)
        image = pixels * s.target_c * item
        low = zero if s.act == RELU else lowest
        words = table.size // strips[-1]
        begin = block * s.block_strips
        for strip in range(begin, min(begin + s.block_strips, strips.size - 1)):
            row = strip * s.strip
            height = min(s.strip, s.target_h - row)
            at = simd.address(table) + strips[strip] * words * 8
            count = strips[strip + 1] - strips[strip]
            weights = simd.address(packed)
            for f in range(0, s.target_c, s.filters):
                filter_ = min(f, s.target_c - s.filters)
                tiles(
                    own,
                    out + filter_ * size,
                    at,
                    count,
                    weights,
                    simd.address(offsets),
                    simd.address(bias) + filter_ * item,
                    s.filters,
                    low,
                )
                weights += s.filters * s.steps * item
            numbers = height * s.target_w * s.target_c
            if s.act > RELU and s.pool != MAX_POOL:
                act_numbers(out, numbers * lanes, s.act)
            if s.pool != NO_POOL:
                rows, columns = height // s.window_h, s.target_w // s.window_w
                line, mean = s.target_w * s.target_c * size, int(s.pool == MEAN_POOL)
                pool(out, rows, columns, s.target_c, line, s.window_h, s.window_w, mean)
                numbers = rows * columns * s.target_c
            if s.act > RELU and s.pool == MAX_POOL:  # commutes with a maximum
                act_numbers(out, numbers * lanes, s.act)
            start = (
                first * image + row // s.window_h * (s.target_w // s.window_w) * s.target_c * item
            )
            to_images(simd.address(target) + start, image, out, numbers, images)

    return jit.kernel(sweep_lanes, constants=(tile,))


def bind(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    bias = inputs[2] if spec.bias else None
    return _calls(spec, plan, False, inputs[0], inputs[1], bias, outputs[0], scratch, caps)


def bind_dx(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    return _calls(spec, plan_dx, True, inputs[0], inputs[1], None, outputs[0], scratch, caps)


conv2d = Impl("lanes", accepts, bind, _scratch(plan))
dx = Impl("lanes", accepts_dx, bind_dx, _scratch(plan_dx))
