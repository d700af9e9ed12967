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
blocks of filters, the activation, and the transposition back.

Chosen where the measurements say so, see `accepts`.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from nbcnn.kernels.cpu import conv_lanes_micro as micro
from nbcnn.kernels.cpu import jit, simd
from nbcnn.kernels.cpu.blocking import ITEM, Tile, register_tile
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.gemm_pack import pack_columns
from nbcnn.kernels.cpu.vector_math import activate
from nbcnn.kernels.impl import Impl, Scratch
from nbcnn.ops.conv_spec import RELU, Conv2DSpec

TASKS = 16
TASK_STEPS = 40_000  # vector multiply-adds that make a task worth its cost
STRIP = 128 << 10  # bytes of the results of a strip: they stay in L2


class Image(NamedTuple):
    n: int
    h: int
    w: int
    c: int


class Axis(NamedTuple):
    """One axis of a phase: target positions first + i * step read source positions i * stride +
    taps; each tap with its number among the weights' taps.
    """

    first: int
    step: int
    stride: int
    taps: tuple[tuple[int, int], ...]

    def positions(self, size: int) -> int:
        return -(-(size - self.first) // self.step)


class Sweep(NamedTuple):
    n: int
    h: int  # source
    w: int
    c: int
    top: int  # the buffer's first row and column
    left: int
    buffer_h: int
    buffer_w: int
    target_h: int
    target_w: int
    target_c: int
    blocks: int  # of rows, per image: a task each
    block_strips: int
    block_rows: int  # source rows from a block to the next
    strip: int  # target rows
    filters: int  # of a tile
    steps: int  # of the sum, over all phases
    act: int


class Tables(NamedTuple):
    strips: np.ndarray  # first tile of each strip, and one number more
    tiles: np.ndarray  # see `conv_lanes_micro.sweep_tiles`
    offsets: np.ndarray  # byte offset per step


def plan(s: Conv2DSpec, dtype: str, caps: Caps):
    """(sweep, tables, order of the taps) of the forward pass."""
    rows = Axis(0, 1, s.sh, tuple((u * s.dilh - s.pt, u) for u in range(s.kh)))
    columns = Axis(0, 1, s.sw, tuple((v * s.dilw - s.pl, v) for v in range(s.kw)))
    source, target = Image(s.n, s.h, s.w, s.c), Image(s.n, s.oh, s.ow, s.f)
    return make(source, target, [rows], [columns], s.kw, s.act, dtype, caps)


def plan_dx(s: Conv2DSpec, dtype: str, caps: Caps):
    """(sweep, tables, order of the taps) of the input gradient."""
    rows = _phases(s.h, s.kh, s.sh, s.dilh, s.pt)
    columns = _phases(s.w, s.kw, s.sw, s.dilw, s.pl)
    source, target = Image(s.n, s.oh, s.ow, s.f), Image(s.n, s.h, s.w, s.c)
    return make(source, target, rows, columns, s.kw, 0, dtype, caps)


def _phases(size: int, taps: int, stride: int, dilation: int, before: int) -> list[Axis]:
    """One axis of the input gradient."""
    phases = []
    for p in range(min(stride, size)):
        places = [
            ((p + before - u * dilation) // stride, u)
            for u in range(taps)
            if (p + before - u * dilation) % stride == 0
        ]
        phases.append(Axis(p, stride, 1, tuple(sorted(places))))
    return phases


def make(source: Image, target: Image, rows, columns, kw, act: int, dtype: str, caps: Caps):
    """`rows`, `columns`: the phases of both axes; `kw`: taps in a row of the weights."""
    tile = register_tile(caps, dtype)
    size = tile.lanes * tile.item
    top, buffer_bottom = _reach(rows, target.h)
    left, buffer_right = _reach(columns, target.w)
    order = [u * kw + v for r in rows for q in columns for _, u in r.taps for _, v in q.taps]
    filters = -(-target.c // -(-target.c // micro.most_filters(tile)))
    step, stride = rows[0].step, rows[0].stride
    row_bytes = step * target.w * target.c * size
    strip = step * _strip(-(-target.h // step), target.w, STRIP // max(row_bytes, 1), micro.tile_rows(tile, filters))
    block_strips = _block(
        source, target, strip, len(order) * source.c // (len(rows) * len(columns)),
        (buffer_right - left) * source.c * size, stride, step, tile, caps,
    )  # fmt: skip
    block_rows = block_strips * strip // step * stride
    strips = -(-target.h // strip)
    taps = [du for r in rows for du, _ in r.taps] or [0]
    sweep = Sweep(
        n=source.n,
        h=source.h,
        w=source.w,
        c=source.c,
        top=top,
        left=left,
        buffer_h=block_rows - stride + max(taps) - min(taps) + 1,
        buffer_w=buffer_right - left,
        target_h=target.h,
        target_w=target.w,
        target_c=target.c,
        blocks=-(-strips // block_strips),
        block_strips=block_strips,
        block_rows=block_rows,
        strip=strip,
        filters=filters,
        steps=len(order) * source.c,
        act=act,
    )
    return sweep, _tables(sweep, rows, columns, tile), order


def _reach(phases, size):
    """(first, end) of the source positions that targets read, along one axis."""
    taps = [d for phase in phases for d, _ in phase.taps] or [0]
    last = max((phase.positions(size) - 1) * phase.stride for phase in phases)
    return min(taps), last + max(taps) + 1


def _strip(lines, width, room, per):
    """Lines of a strip: at most `room`, such that the pixels of strips fill their tiles best."""
    def tiles(strip):
        full, left = lines // strip, lines % strip
        return full * -(-strip * width // per) + -(-left * width // per)

    return min(range(1, max(1, min(room, lines)) + 1), key=lambda strip: (tiles(strip), -strip))


def _block(source, target, strip, steps, row_bytes, stride, step, tile, caps):
    """Strips of a block: a task worth its cost, a buffer of a third of L2 at most."""
    strips = -(-target.h // strip)
    groups = -(-source.n // tile.lanes)
    cost = strip * target.w * target.c * steps
    room = max(1, caps.l2 // 3 // max(row_bytes, 1) // stride * step // strip)
    least = -(-TASK_STEPS // max(cost, 1))
    wanted = max(least, strips * groups // TASKS)
    blocks = -(-strips // max(1, min(wanted, room, strips)))
    return -(-strips // blocks)


def _tables(s: Sweep, rows, columns, tile: Tile) -> Tables:
    size, first_step = tile.lanes * tile.item, 0
    offsets, numbers, tiles = [], [], []
    for r in rows:
        for q in columns:
            for du, _ in r.taps:
                for dv, _ in q.taps:
                    first = ((du - s.top) * s.buffer_w + dv - s.left) * s.c
                    offsets += [(first + k) * size for k in range(s.c)]
            for number in range(-(-s.target_h // s.strip)):
                made = _strip_tiles(s, number, r, q, first_step, tile)
                numbers.append(np.full(len(made), number))
                tiles.append(made)
            first_step += len(r.taps) * len(q.taps) * s.c
    strip = np.concatenate(numbers)
    order = np.argsort(strip, kind="stable")
    strips = np.searchsorted(strip[order], np.arange(-(-s.target_h // s.strip) + 1))
    return Tables(strips, np.concatenate(tiles)[order].ravel(), np.array(offsets or [0], np.int64))


def _strip_tiles(s: Sweep, number: int, r: Axis, q: Axis, first_step: int, tile: Tile):
    """The tiles of one phase in a strip. Pixels that use the same taps of a row (or of a column,
    whichever leaves fewer steps) come together: what is outside the image for all is left out.
    """
    per, size = micro.tile_rows(tile, s.filters), tile.lanes * tile.item
    start = number * s.strip // r.step
    end = min(start + s.strip // r.step, r.positions(s.target_h))
    count = q.positions(s.target_w)
    if start >= end or count <= 0:
        return np.zeros((0, 4 + 2 * per), np.int64)
    i, j = (x.ravel() for x in np.mgrid[start:end, :count])
    rows, columns = _inside(r, i[:, None], s.h), _inside(q, j[:, None], s.w)
    options = []
    for order in (np.lexsort((j, i, *columns)), np.lexsort((i, j, *rows))):
        places = np.append(order, np.repeat(order[-1:], -len(order) % per)).reshape(-1, per)
        (u0, u1), (v0, v1) = _inside(r, i[places], s.h), _inside(q, j[places], s.w)
        options.append((((u1 - u0) * (v1 - v0)).sum(), places, u0, u1, v0, v1))
    _, places, u0, u1, v0, v1 = min(options, key=lambda option: option[0])
    i, j = i[places], j[places]
    line = len(q.taps) * s.c
    whole = v1 - v0 == len(q.taps)
    runs = np.stack(
        [
            first_step + u0 * line + v0 * s.c,
            np.where(whole, 1, u1 - u0),
            np.where(whole, (u1 - u0) * line, (v1 - v0) * s.c),
            np.full(len(i), line),
        ],
        1,
    )
    block = number // s.block_strips * s.block_rows
    sources = ((i * r.stride - block) * s.buffer_w + j * q.stride) * s.c * size
    targets = (r.first + i * r.step - number * s.strip) * s.target_w + q.first + j * q.step
    return np.concatenate([runs, sources, targets * s.target_c * size], 1)


def _inside(axis: Axis, positions, size):
    """(first, end) of the taps that read inside the source at any of the positions of a tile."""
    taps = np.array([d for d, _ in axis.taps], np.int64)
    at = positions[:, :, None] * axis.stride + taps
    hit = ((at >= 0) & (at < size)).any(1)
    first = np.where(hit.any(1), hit.argmax(1), 0) if len(taps) else np.zeros(len(at), np.int64)
    end = np.where(hit.any(1), len(taps) - hit[:, ::-1].argmax(1), 0) if len(taps) else first
    return first, end


def accepts(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    if dtype not in ITEM:
        return f"no {dtype}"
    if spec.n == 0:
        return "no images"
    return None if spec.groups == 1 else "groups"


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
    act_numbers, lanes, item = activate(tile), tile.lanes, tile.item
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
        image = s.target_h * s.target_w * s.target_c * item
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
            if s.act > RELU:
                act_numbers(out, numbers * lanes, s.act)
            start = first * image + row * s.target_w * s.target_c * item
            to_images(simd.address(target) + start, image, out, numbers, images)

    return jit.kernel(sweep_lanes, constants=(tile,))


def bind(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    bias = inputs[2] if spec.bias else None
    return _calls(spec, plan, False, inputs[0], inputs[1], bias, outputs[0], scratch, caps)


def bind_dx(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    return _calls(spec, plan_dx, True, inputs[0], inputs[1], None, outputs[0], scratch, caps)


conv2d = Impl("lanes", accepts, bind, _scratch(plan))
dx = Impl("lanes", accepts, bind_dx, _scratch(plan_dx))
