"""Grouped convolution whose groups make whole vectors of channels from at most one vector of them.

    y[n,i,j,f] = act(b[f] + sum over u, v, k < c/groups of
                     x[n, i*sh + u*dilh - pt, j*sw + v*dilw - pl, g*c/groups + k] * w[u,v,k,f])

Blocking. A task has some rows of an image, and takes one group after the other: it copies the
group's channels, one vector of each pixel, to a buffer in L1, between zeros where taps reach over
the edge. Pixels of 512 channels lie 2 kB apart, where they would compete for a few places of L1; in
the buffer they lie side by side. From there the micro-kernels (`group_rows_micro.py`) read, with
the group's weights, 9 kB for 3x3 of 16 channels, in L1 too.

Input gradient, with stride 1: the same with the weights turned round. Weight gradient: a task has a
group and a slab of the images, dy is copied as x is, and slabs are added in order (`slabs.py`).

ResNeXt-50's groups of 16 take 0.7 to 0.8 of the time that they take as panels of `conv_direct`.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from nbcnn.kernels.cpu import jit, simd, slabs
from nbcnn.kernels.cpu.blocking import ITEM, Tile, register_tile
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.gemm_pack import pack_rows, sum_panel
from nbcnn.kernels.cpu.group_rows_micro import Window, output_rows, tap_sums
from nbcnn.kernels.cpu.vector_math import activate
from nbcnn.kernels.impl import Impl, Scratch, no_pool
from nbcnn.ops.conv_spec import RELU, Conv2DSpec

TASKS = 16  # at least so many: balances a few cores
MOST_SUMS = 14  # of a tile's outputs
FEWEST_SUMS = 8  # below, multiply-adds wait for each other


class Rows(NamedTuple):
    """How a pass is cut. `read` channels of a group are copied, `made` are the results."""

    n: int
    h: int
    w: int
    groups: int
    read: int
    made: int
    kh: int
    kw: int
    sh: int
    sw: int
    dilh: int
    pt: int
    pl: int
    oh: int
    ow: int
    act: int
    rows: int  # outputs of a task
    strips: int  # of an image
    buffer_h: int
    buffer_w: int
    parts: int  # tasks that share a strip's groups; of the weight gradient, slabs


def _refused(
    spec: Conv2DSpec, dtype: str, caps: Caps, read: int, made: int, copies: int = 1
) -> str | None:
    if spec.groups == 1:
        return "no groups"
    if spec.n == 0:
        return "no images"
    if dtype not in ITEM:
        return f"no {dtype}"
    lanes = register_tile(caps, dtype).lanes
    if made % lanes or read > lanes or 2 * read < lanes:
        return "groups are no vectors"
    if spec.kw == 1:
        return "a single column of taps"
    if caps.registers < 32 or _most_sums(spec, caps) < FEWEST_SUMS:
        return "too few registers"
    if _rows(spec, _window(spec, caps, copies), dtype, caps, copies) == 0:
        return "a group's rows do not fit in L1"
    return no_pool(spec, dtype, caps)


def _groups(spec: Conv2DSpec) -> tuple[int, int]:
    """Channels and filters of a group."""
    return spec.c // spec.groups, spec.f // spec.groups


def accepts(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    return _refused(spec, dtype, caps, *_groups(spec))


def accepts_dx(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    if spec.sh * spec.sw > 1:
        return "stride"
    channels, filters = _groups(spec)
    return _refused(_turned(spec), dtype, caps, filters, channels)


def accepts_dw(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    if spec.kw * 2 > caps.registers - 2 - spec.kw:
        return "too few registers"
    return _refused(spec, dtype, caps, *_groups(spec), copies=2)


def _turned(s: Conv2DSpec) -> Conv2DSpec:
    """The convolution of dy that is the input gradient of one with stride 1."""
    top, left = (s.kh - 1) * s.dilh - s.pt, (s.kw - 1) * s.dilw - s.pl
    return s._replace(h=s.oh, w=s.ow, c=s.f, f=s.c, oh=s.h, ow=s.w, pt=top, pl=left, bias=0, act=0)


def _most_sums(spec: Conv2DSpec, caps: Caps) -> int:
    return min(MOST_SUMS, caps.registers - spec.kw - 2)


def _window(spec: Conv2DSpec, caps: Caps, copies: int) -> Window:
    most = _most_sums(spec, caps)
    pixels = -(-spec.ow // -(-spec.ow // most))
    rows = max(1, min(most // pixels, spec.oh)) if copies == 1 else 1
    return Window(rows, pixels, spec.kw, spec.sw, spec.dilw)


def _rows(spec: Conv2DSpec, window: Window, dtype: str, caps: Caps, copies: int) -> int:
    """Rows of outputs whose x, and dy if there are two `copies`, take about half of L1."""
    size = register_tile(caps, dtype).lanes * ITEM[dtype]
    room = caps.l1 * (2 + copies) // 6 // size
    across = -(-spec.ow // window.pixels) * window.pixels
    line, own = _width(spec, window), across * (copies - 1)
    spread = (spec.kh - 1) * spec.dilh + 1 - spec.sh
    most = (room - spread * line) // (spec.sh * line + own)
    wanted = -(-spec.oh // window.rows) * window.rows
    return max(0, min(most // window.rows * window.rows, wanted))


def _width(spec: Conv2DSpec, window: Window) -> int:
    """Pixels of x that a row of whole tiles reads."""
    across = -(-spec.ow // window.pixels) * window.pixels
    return (across - 1) * spec.sw + (spec.kw - 1) * spec.dilw + 1


def _plan(spec: Conv2DSpec, dtype: str, caps: Caps, copies: int = 1) -> tuple[Rows, Window]:
    window = _window(spec, caps, copies)
    strips = -(-spec.oh // _rows(spec, window, dtype, caps, copies))
    rows = -(-spec.oh // (strips * window.rows)) * window.rows
    strips, height = -(-spec.oh // rows), (rows - 1) * spec.sh + (spec.kh - 1) * spec.dilh + 1
    if copies == 2:
        size = spec.kh * spec.kw * (spec.c // spec.groups) * spec.f
        parts = min(slabs.slab_count(spec.n * strips, size), -(-TASKS // spec.groups))
    else:
        parts = min(spec.groups, -(-TASKS // (spec.n * strips))) if spec.act <= RELU else 1
    plan = Rows(
        spec.n, spec.h, spec.w, spec.groups, *_groups(spec), spec.kh, spec.kw, spec.sh, spec.sw,
        spec.dilh, spec.pt, spec.pl, spec.oh, spec.ow, spec.act, rows, strips, height,
        _width(spec, window), parts,
    )  # fmt: skip
    return plan, window


@cache
def pack_kernel(tile: Tile):
    lanes = tile.lanes

    def pack(task, thread, s, transposed, w, packed):
        """The weights of a vector of results, in the order [u][k][v][lane]."""
        vectors = s.made // lanes
        group, first = task // vectors, task % vectors * lanes
        at, f = task * s.kh * s.kw * s.read * lanes, s.groups * (s.read if transposed else s.made)
        for u in range(s.kh):
            for k in range(s.read):
                for v in range(s.kw):
                    if transposed:
                        tap = (s.kh - 1 - u) * s.kw + s.kw - 1 - v
                        row = (tap * s.made + first) * f + group * s.read + k
                        for lane in range(lanes):
                            packed[at + lane] = w[row + lane * f]
                    else:
                        row = ((u * s.kw + v) * s.read + k) * f + group * s.made + first
                        for lane in range(lanes):
                            packed[at + lane] = w[row + lane]
                    at += lanes

    return jit.kernel(pack, constants=(tile,))


@cache
def fill_group(tile: Tile):
    """fill(rows, buffer, source, image, top, channel): a group's channels, from `channel` on, of
    the rows from `top` on, a vector a pixel, zeros where there is no source.
    """
    pack, size, item = pack_rows(tile), tile.lanes * tile.item, tile.item

    def fill(s, buffer, source, image, top, channel):
        pixel = s.groups * s.read * item
        before = min(max(s.pl, 0), s.buffer_w)
        start = max(-s.pl, 0)
        inside = max(min(s.w - start, s.buffer_w - before), 0)
        at = buffer
        for row in range(top, top + s.buffer_h):
            if row < 0 or row >= s.h:
                simd.zero_bytes(at, s.buffer_w * size)
            else:
                simd.zero_bytes(at, before * size)
                origin = source + ((image * s.h + row) * s.w + start) * pixel + channel * item
                pack(at + before * size, origin, pixel, inside, s.read)
                end = before + inside
                simd.zero_bytes(at + end * size, (s.buffer_w - end) * size)
            at += s.buffer_w * size

    return jit.helper(fill)


@cache
def output_kernel(tile: Tile, window: Window):
    outputs, fill, act_numbers = output_rows(tile, window), fill_group(tile), activate(tile)
    lanes, item, size = tile.lanes, tile.item, tile.lanes * tile.item
    down, across = window.rows, window.pixels
    number = np.float32 if item == 4 else np.float64
    lowest, zero = number(-np.inf), number(0)

    def rows_of_groups(task, thread, s, bias_step, source, packed, bias, target, buffer):
        part, block = task % s.parts, task // s.parts
        image, row = block // s.strips, block % s.strips * s.rows
        height = min(s.rows, s.oh - row)
        pixel, line = s.groups * s.made * item, s.buffer_w * size
        x = simd.address(buffer) + thread * buffer.shape[1] * item
        y = simd.address(target) + (image * s.oh + row) * s.ow * pixel
        low = zero if s.act == RELU else lowest
        weights = s.kh * s.kw * s.read * size
        for group in range(part, s.groups, s.parts):
            fill(s, x, simd.address(source), image, row * s.sh - s.pt, group * s.read)
            for made in range(group * s.made, (group + 1) * s.made, lanes):
                w = simd.address(packed) + made // lanes * weights
                start = simd.address(bias) + made * bias_step * item
                for i in range(0, height, down):
                    for j in range(0, s.ow, across):
                        outputs(
                            x + i * s.sh * line + j * s.sw * size,
                            s.sh * line,
                            w,
                            s.read,
                            s.kh,
                            s.dilh * line,
                            y + (i * s.ow + j) * pixel + made * item,
                            pixel,
                            s.ow * pixel,
                            start,
                            low,
                            s.ow - j,
                            height - i,
                        )
        if s.act > RELU:
            act_numbers(y, height * s.ow * s.groups * s.made, s.act)

    return jit.kernel(rows_of_groups, constants=(tile, window))


def _output_scratch(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    made, lanes = _plan(spec, dtype, caps)[0], register_tile(caps, dtype).lanes
    return {
        "packed": Scratch((spec.kh * spec.kw * made.read * spec.f,), dtype, constant=True),
        "buffer": Scratch((caps.threads, made.buffer_h * made.buffer_w * lanes), dtype),
    }


def _output_calls(spec, caps, transposed, source, w, bias, target, scratch) -> list[Call]:
    dtype = target.dtype.name
    made, window = _plan(spec, dtype, caps)
    tile, packed = register_tile(caps, dtype), scratch["packed"]
    step = 0 if bias is None else 1
    bias = np.zeros(tile.lanes, dtype) if bias is None else bias
    arrays = (source.reshape(-1), packed, bias, target.reshape(-1), scratch["buffer"])
    vectors, tasks = spec.f // tile.lanes, spec.n * made.strips * made.parts
    return [
        Call(
            pack_kernel(tile),
            vectors,
            (made, int(transposed), w.reshape(-1), packed),
            weights_only=True,
        ),
        Call(output_kernel(tile, window), tasks, (made, step, *arrays)),
    ]


def bind(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    bias = inputs[2] if spec.bias else None
    return _output_calls(spec, caps, False, inputs[0], inputs[1], bias, outputs[0], scratch)


def scratch_dx(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    return _output_scratch(_turned(spec), dtype, caps)


def bind_dx(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    dy, w = inputs
    return _output_calls(_turned(spec), caps, True, dy, w, None, outputs[0], scratch)


def _channels(spec: Conv2DSpec, caps: Caps) -> int:
    """Channels whose sums of a row of taps fit the registers, a part of the group's."""
    most = (caps.registers - 2 - spec.kw) // spec.kw
    read = spec.c // spec.groups
    return next(k for k in range(min(most, read), 0, -1) if read % k == 0)


@cache
def dw_kernel(tile: Tile, window: Window, channels: int):
    sums, fill = tap_sums(tile, window, channels), fill_group(tile)
    pack, add_up = pack_rows(tile), sum_panel(tile)
    lanes, item, size = tile.lanes, tile.item, tile.lanes * tile.item
    pixels = window.pixels

    def weight_gradient(task, thread, s, bias, apart, dw, db, x, dy, buffer, gradient):
        group, slab = task // s.parts, task % s.parts
        first, end = slab * s.n * s.strips // s.parts, (slab + 1) * s.n * s.strips // s.parts
        a = simd.address(buffer) + thread * buffer.shape[1] * item
        b = simd.address(gradient) + thread * gradient.shape[1] * item
        filters = s.groups * s.made
        line, across = s.buffer_w * size, (s.ow + pixels - 1) // pixels
        own = simd.address(dw) + slab * dw.shape[1] * item
        for block in range(first, end):
            image, row = block // s.strips, block % s.strips * s.rows
            height, resume = min(s.rows, s.oh - row), int(block > first)
            fill(s, a, simd.address(x), image, row * s.sh - s.pt, group * s.read)
            for made in range(group * s.made, (group + 1) * s.made, lanes):
                source = simd.address(dy) + ((image * s.oh + row) * s.ow * filters + made) * item
                for i in range(height):
                    at = b + i * across * pixels * size
                    pack(at, source + i * s.ow * filters * item, filters * item, s.ow, lanes)
                    simd.zero_bytes(at + s.ow * size, (across * pixels - s.ow) * size)
                if bias:
                    total = simd.address(db) + (slab * db.shape[1] + apart + made) * item
                    add_up(total, b, size, height * across * pixels, lanes, resume)
                for u in range(s.kh):
                    for k in range(0, s.read, channels):
                        sums(
                            a + u * s.dilh * line + k * item,
                            s.sh * line,
                            b,
                            height,
                            across,
                            own + ((u * s.kw * s.read + k) * filters + made) * item,
                            s.read * filters * item,
                            filters * item,
                            resume,
                        )

    return jit.kernel(weight_gradient, constants=(tile, window, channels))


def scratch_dw(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    (made, window), lanes = _plan(spec, dtype, caps, 2), register_tile(caps, dtype).lanes
    across = -(-spec.ow // window.pixels) * window.pixels
    needed = {
        "buffer": Scratch((caps.threads, made.buffer_h * made.buffer_w * lanes), dtype),
        "gradient": Scratch((caps.threads, made.rows * across * lanes), dtype),
    }
    if made.parts > 1:
        size = spec.kh * spec.kw * made.read * spec.f + spec.f * spec.bias
        needed["partials"] = Scratch((made.parts, size), dtype)
    return needed


def bind_dw(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    x, dy = inputs
    dtype = x.dtype.name
    made, window = _plan(spec, dtype, caps, 2)
    dw = outputs[0].reshape(1, -1)
    db = outputs[1].reshape(1, -1) if spec.bias else dw
    apart, sums = 0, []
    if made.parts > 1:  # db follows dw in a row of the partials
        dw = db = scratch["partials"]
        apart, sums = outputs[0].size, slabs.reductions(dw, outputs)
    kernel = dw_kernel(register_tile(caps, dtype), window, _channels(spec, caps))
    arrays = (dw, db, x.reshape(-1), dy.reshape(-1), scratch["buffer"], scratch["gradient"])
    return [Call(kernel, spec.groups * made.parts, (made, spec.bias, apart, *arrays)), *sums]


conv2d = Impl("group_rows", accepts, bind, _output_scratch)
conv2d_dx = Impl("group_rows", accepts_dx, bind_dx, scratch_dx)
conv2d_dw = Impl("group_rows", accepts_dw, bind_dw, scratch_dw)
