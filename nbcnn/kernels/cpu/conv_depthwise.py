"""Depthwise convolution with small kernels: one filter per channel (groups == c == f).

    y[n,i,j,c] = act(b[c] + sum over u,v of x[n, i*s+u-pt, j*s+v-pl, c] * w[u,v,c])

The kernels and geometry here also serve `conv_grouped`, where a group has several channels.

Channels are the vector lanes. The work is cut into *units*: a strip of a few output rows of one
image, for one vector of channels (`depthwise_sweep` has the loops). Units count channels first, so
the lines under a strip come from memory once and then lie in L2; a task is a run of units. The last
vector ends with the last channel and may make some channels of the one before again; only fewer
channels than lanes take masks.

Input gradient: for stride 1 the convolution of dy with the kernel turned round, by the same
compiled kernel. For larger strides a step reads one column of dy and completes `stride` columns of
dx: no zeros are inserted.
Weight gradient: a task is a slab of strips for a block of channels. Sums of a strip stay in
registers; they join those of the slab when the strip is done, which keeps float32 sums short.

Chosen for undilated kernels up to 7x7 with equal strides of 1 or 2; `conv_depthwise_taps` takes the
rest.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from nbcnn.kernels.cpu import conv_depthwise_taps, jit, simd, slabs
from nbcnn.kernels.cpu.blocking import Tile, register_tile
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.cpu.conv_plain import sum_pixels
from nbcnn.kernels.cpu.depthwise_sweep import Sweep, output_sweep, weight_sweep
from nbcnn.kernels.cpu.vector_math import activate
from nbcnn.kernels.impl import Impl, Scratch
from nbcnn.ops.conv_spec import RELU, Conv2DSpec

MOST_TAPS = 7  # rows and columns of a kernel: the code grows with them
MOST_STRIDE = 2
TASK_WORK = 1 << 13  # vector multiply-adds of a task at least: a few microseconds
TASKS = 64  # of large layers: long runs, so that a task finds what it has asked for ahead
SLAB_PIXELS = 128  # of dy, at least, between merges of a kernel's sums
WIDE = 32  # columns of a map
BLOCK = 4  # vectors of channels in a task of the weight gradient, at least: neighbours in memory


class Plane(NamedTuple):
    """Geometry of a pass over x (n, h, w, c) that makes y (n, oh, ow, f); see `output_sweep`."""

    n: int
    h: int
    w: int
    c: int
    oh: int
    ow: int
    f: int
    line: int  # the first strip reads x from this line on and
    made: int  # makes y from this line on
    x_first: int
    y_first: int  # columns at step 0
    strips: int  # of an image
    begin: int
    first: int
    last: int
    end: int  # steps; those from `first` to `last` need no care
    flip: int = 0  # the kernel's taps in reverse order


def plane(spec: Conv2DSpec, sweep: Sweep) -> Plane:
    """The forward pass."""
    s, ahead = spec, (sweep.slots - 1) * sweep.stride - spec.pl
    steps = _steps(sweep, ahead, s.w, 0, s.ow, 0)
    strips = -(-s.oh // sweep.rows)
    return Plane(s.n, s.h, s.w, s.c, s.oh, s.ow, s.f, -s.pt, 0, ahead, 0, strips, *steps)


def weight_plane(spec: Conv2DSpec, sweep: Sweep) -> Plane:
    """As forward; a step loads the column of dy that is `slots - 1` further."""
    s, later = plane(spec, sweep), sweep.slots - 1
    return s._replace(**dict(zip(_STEPS, _steps(sweep, s.x_first, s.w, 0, s.ow, later))))


def input_plane(spec: Conv2DSpec, sweep: Sweep) -> Plane:
    """From dy to dx."""
    s = spec
    if not sweep.spread:
        turned = s._replace(
            h=s.oh, w=s.ow, c=s.f, oh=s.h, ow=s.w, f=s.c, pt=s.kh - 1 - s.pt, pl=s.kw - 1 - s.pl
        )
        return plane(turned, sweep)._replace(flip=1)
    top, bottom = s.pt // s.sh, (s.h - 1 + s.pt) // s.sh
    steps = _steps(sweep, 0, s.ow, -s.pl, s.w, 0)
    line, made = top - (-(-s.kh // s.sh) - 1), top * s.sh - s.pt
    strips = -(-(bottom + 1 - top) // sweep.rows)
    return Plane(s.n, s.oh, s.ow, s.f, s.h, s.w, s.c, line, made, 0, -s.pl, strips, *steps)


_STEPS = ("begin", "first", "last", "end")


def _steps(sweep: Sweep, x_first, x_limit, y_first, y_limit, later) -> tuple[int, int, int, int]:
    """Begin and end of the steps, and between them of those that meet no border.

    Step t reads columns x_first + t * inward + ..., and y_first + (t + later) * outward + ... .
    """
    inward, outward = sweep.inward, sweep.outward
    begin = -((y_first + outward - 1) // outward) - (sweep.slots - 1)
    end = (y_limit - 1 - y_first) // outward + 1
    first = max(-(x_first // inward), -(y_first // outward))
    last = min(
        (x_limit - inward - x_first) // inward, (y_limit - outward - y_first) // outward - later
    )
    first = min(max(first, begin + sweep.slots - 1 - later), end)
    return begin, first, max(first, min(last + 1, end)), end


@jit.helper
def present(line, lines, limit):
    """A mask of the lines line..line+lines-1 that are in 0..limit-1."""
    first, end = max(0, -line), min(lines, limit - line)
    return (1 << end) - (1 << first) if first < end else 0


@cache
def output_kernel(tile: Tile, sweep: Sweep):
    item, lanes, run = tile.item, tile.lanes, output_sweep(tile, sweep)
    act_numbers = activate(tile)
    rows, lines, made = sweep.rows, sweep.lines, sweep.made
    inward, outward, taps = sweep.inward, sweep.outward, sweep.kh * sweep.kw
    inputs, outputs = sweep.inputs, sweep.outputs
    seen = rows * inward * inward * lanes * item * inputs // outputs  # bytes new in a step
    panel = 0 if sweep.depthwise else taps * inputs * lanes * item  # packed weights of a vector

    @jit.kernel(constants=(tile, sweep))
    def conv2d_depthwise(task, thread, plane, units, bias, act, x, w, b, y):
        """Units task * units ... of all n * strips * vectors."""
        p = plane
        low = y.dtype.type(0 if act == RELU else -np.inf)
        x_pixel, y_pixel = p.c * item, p.f * item
        vectors = (p.f + lanes - 1) // lanes
        w_first, w_tap = simd.address(w), y_pixel
        if p.flip and panel == 0:
            w_first, w_tap = w_first + (taps - 1) * y_pixel, -y_pixel
        stop = min((task + 1) * units, p.n * p.strips * vectors)
        for unit in range(task * units, stop):
            vector, strip = unit % vectors, unit // vectors % p.strips
            image = unit // (vectors * p.strips)
            first_made = max(0, min(vector * lanes, p.f - lanes))
            to, source = first_made * item, first_made // outputs * inputs * item
            line = p.line + strip * rows * inward
            row = p.made + strip * rows * outward
            x_at = ((image * p.h + line) * p.w + p.x_first) * x_pixel + source
            y_at = ((image * p.oh + row) * p.ow + p.y_first) * y_pixel + to
            ahead = simd.address(x) + x_at
            if unit + vectors < stop:
                ahead += lines * p.w * x_pixel - source + vector * p.ow * seen
            run(
                simd.address(x) + x_at, p.w * x_pixel, present(line, lines, p.h), p.x_first, p.w,
                x_pixel, simd.address(y) + y_at, p.ow * y_pixel, present(row, made, p.oh),
                p.y_first, p.ow, y_pixel,
                w_first + (vector * panel if panel else to), w_tap, simd.address(b) + to, bias,
                p.begin, p.first, p.last, p.end, p.f,
                ahead, low,
            )  # fmt: skip
            if act > RELU and vector == vectors - 1:
                first, end = max(row, 0), min(row + made, p.oh)
                done = simd.address(y) + (image * p.oh + first) * p.ow * y_pixel
                act_numbers(done, (end - first) * p.ow * p.f, act)

    return conv2d_depthwise


@cache
def weight_kernel(tile: Tile, sweep: Sweep, kh: int):
    """For kernels of `kh` rows, `sweep.kh` of them at a time."""
    size, lanes, run = tile.lanes * tile.item, tile.lanes, weight_sweep(tile, sweep)
    rows, lines, stride = sweep.rows, sweep.lines, sweep.stride
    inputs, outputs = sweep.inputs, sweep.outputs
    kernel_row, padded = sweep.kw * inputs, -(-kh // sweep.kh) * sweep.kh
    made = rows * size  # new to a strip, of dy, in a step; of x:
    seen = made * stride * stride * inputs // outputs

    @jit.helper
    def add_strip(p, unit, first, end, follows, x, dy, sums):
        """Add strip `unit` to the sums of vectors first..end-1."""
        x_pixel, dy_pixel = p.c * tile.item, p.f * tile.item
        image, row = unit // p.strips, unit % p.strips * rows
        dy += (image * p.oh + row) * p.ow * dy_pixel
        for u in range(0, padded, sweep.kh):
            line = p.line + row * stride + u
            mask = present(line, lines - max(0, u + sweep.kh - kh), p.h)
            x_at = x + ((image * p.h + line) * p.w + p.x_first) * x_pixel
            for vector in range(first, end):
                first_made = max(0, min(vector * lanes, p.f - lanes))
                at, source = first_made * tile.item, first_made // outputs * inputs * tile.item
                x_ahead, dy_ahead = x_at + source, dy + at
                if follows:
                    x_ahead = x_at + lines * p.w * x_pixel + vector * p.ow * seen
                    dy_ahead = dy + rows * p.ow * dy_pixel + vector * p.ow * made
                run(
                    x_at + source, p.w * x_pixel, mask, p.x_first, p.w, x_pixel,
                    dy + at, p.ow * dy_pixel, present(row, rows, p.oh), 0, p.ow, dy_pixel,
                    sums + ((vector - first) * padded + u) * kernel_row * size,
                    p.begin, p.first, p.last, p.end, p.f, x_ahead, dy_ahead,
                )  # fmt: skip

    @jit.kernel(constants=(tile, sweep, kh))
    def conv2d_dw_depthwise(task, thread, plane, count, blocks, bias, x, dy, sums, parts):
        """Slab task // blocks of the n * strips strips, for block task % blocks of channels."""
        p = plane
        slab, block = task // blocks, task % blocks
        v0, v1 = slabs.slab_range(block, blocks, (p.f + lanes - 1) // lanes)
        first, end = slabs.slab_range(slab, count, p.n * p.strips)
        mine = simd.address(sums[thread])
        simd.zero_bytes(mine, (v1 - v0) * padded * kernel_row * size)
        for unit in range(first, end):
            follows = blocks == 1 and unit + 1 < end
            add_strip(p, unit, v0, v1, follows, simd.address(x), simd.address(dy), mine)
        part, held = parts[slab], min(lanes, p.f)
        for vector in range(v0, v1):
            at = max(0, min(vector * lanes, p.f - lanes))
            for tap in range(kh * kernel_row):
                to = simd.address(part) + (tap * p.f + at) * tile.item
                made_at = mine + ((vector - v0) * padded * kernel_row + tap) * size
                simd.copy_bytes(to, made_at, held * tile.item)
        if bias and block == 0:
            top = (first // p.strips * p.oh + first % p.strips * rows) * p.ow
            bottom = (end // p.strips * p.oh + end % p.strips * rows) * p.ow
            sum_pixels(p.f, top, bottom, dy, kh * kernel_row * p.f, part)

    return conv2d_dw_depthwise


def accepts(spec: Conv2DSpec, dtype: str, caps) -> str | None:
    refused = conv_depthwise_taps.accepts(spec, dtype, caps)
    if refused:
        return refused
    if spec.dilh > 1 or spec.dilw > 1:
        return "dilated"
    if max(spec.kh, spec.kw) > MOST_TAPS:
        return "large kernel"
    return "stride" if spec.sh != spec.sw or spec.sh > MOST_STRIDE else None


def output_strip(spec: Conv2DSpec, tile: Tile, spread: int, caps) -> Sweep:
    """As many rows of output, up to a few, as registers hold sums for. `spread`: for the input
    gradient with strides.
    """
    one = Sweep(spec.kh, spec.kw, spec.sh, spread, 1, int(spec.c < tile.lanes))
    # With stride 1, 3x3: in L2 and L3 four rows take 0.7 to 0.9 of the time of two on maps of 7 to
    # 14 columns, 1 to 1.3 from 37 columns on; from memory 0.8 to 0.9. With stride 2 as well as for
    # 5x5 and 7x7, two are as fast as four, or faster.
    pixels = spec.n * (spec.h * spec.w + spec.oh * spec.ow)
    in_cache = pixels * spec.c * tile.item < caps.l3
    most = 2 if spec.sh > 1 or spec.kw > 3 or (spec.ow >= WIDE and in_cache) else 4
    # Spread, the weights need registers too: 5x5 with one row takes 0.7 of the time of two.
    free = caps.registers // 2 - 1 if spread else caps.registers - 2
    return one._replace(rows=max(1, min(most, free // (one.slots * one.made))))


def bind(spec: Conv2DSpec, caps, inputs, outputs, scratch) -> list[Call]:
    tile = register_tile(caps, outputs[0].dtype.name)
    sweep = output_strip(spec, tile, 0, caps)
    return [output_call(tile, sweep, plane(spec, sweep), spec, inputs, outputs[0])]


def bind_dx(spec: Conv2DSpec, caps, inputs, outputs, scratch) -> list[Call]:
    tile = register_tile(caps, outputs[0].dtype.name)
    sweep = output_strip(spec, tile, int(spec.sh > 1), caps)
    return [output_call(tile, sweep, input_plane(spec, sweep), spec, inputs, outputs[0])]


def output_call(tile: Tile, sweep: Sweep, plane: Plane, spec, inputs, output) -> Call:
    """`inputs`: source, weights and, with `spec.bias`, bias."""
    arrays = [a.reshape(-1) for a in inputs]
    x, w, b = arrays if spec.bias else (*arrays, arrays[1])  # w: read, but not used
    vectors = -(-plane.f // tile.lanes)
    total = plane.n * plane.strips * vectors
    units = max(1, TASK_WORK // _unit_work(plane, sweep), total // TASKS)
    if spec.act > RELU:  # applied to whole strips
        units = -(-units // vectors) * vectors
    args = (plane, units, spec.bias, spec.act, x, w, b, output.reshape(-1))
    return Call(output_kernel(tile, sweep), -(-total // units), args)


def _unit_work(plane: Plane, sweep: Sweep) -> int:
    """Vector multiply-adds, about."""
    return (plane.end - plane.begin) * sweep.rows * sweep.kh * sweep.kw * sweep.inputs


def weight_strip(spec: Conv2DSpec, tile: Tile, caps) -> Sweep:
    """As many rows of the kernel at once, then of dy, as the registers hold."""
    one = Sweep(spec.kh, spec.kw, spec.sh, 0, 1, int(spec.c < tile.lanes))
    free = caps.registers - 1
    most = max(1, min(spec.kh, (free - one.slots) // spec.kw))
    passes = -(-spec.kh // most)
    at_once = -(-spec.kh // passes)
    if passes * at_once != spec.kh:  # the last pass leaves lines out, which works for one row of dy
        return one._replace(kh=at_once)
    most = 4 if spec.sh == 1 and spec.kw <= 3 else 2
    rows = min(most, (free - at_once * spec.kw) // one.slots)
    return one._replace(rows=max(1, rows), kh=at_once)


def _cut(spec: Conv2DSpec, sweep: Sweep, tile: Tile) -> tuple[int, int]:
    """Slabs of strips, of enough pixels that merging their sums costs little; where that makes
    few, blocks of channels.
    """
    strips, size = spec.n * -(-spec.oh // sweep.rows), _gradient_size(spec)
    least = -(-SLAB_PIXELS // (sweep.rows * spec.ow))
    count = slabs.slab_count(strips, size, least)
    return count, min(-(-spec.f // tile.lanes // BLOCK) or 1, -(-slabs.MOST // count))


def _gradient_size(spec: Conv2DSpec) -> int:
    """Numbers of dw and db."""
    return (spec.kh * spec.kw * (spec.c // spec.groups) + spec.bias) * spec.f


def weight_scratch(spec: Conv2DSpec, sweep: Sweep, tile: Tile, caps) -> dict[str, Scratch]:
    dtype = "float32" if tile.item == 4 else "float64"
    count, blocks = _cut(spec, sweep, tile)
    vectors = -(spec.f // -tile.lanes)
    vectors = -(vectors // -blocks)  # of the largest block
    taps = -(-spec.kh // sweep.kh) * sweep.kh * spec.kw * sweep.inputs
    return {
        "sums": Scratch((caps.threads, vectors * taps * tile.lanes), dtype),
        "parts": Scratch((count, _gradient_size(spec)), dtype),
    }


def weight_calls(spec, sweep: Sweep, tile: Tile, inputs, outputs, scratch) -> list[Call]:
    x, dy, parts = inputs[0].reshape(-1), inputs[1].reshape(-1), scratch["parts"]
    count, blocks = _cut(spec, sweep, tile)
    args = (weight_plane(spec, sweep), count, blocks, spec.bias, x, dy, scratch["sums"], parts)
    calls = [Call(weight_kernel(tile, sweep, spec.kh), count * blocks, args)]
    return [*calls, *slabs.reductions(parts, outputs)]


def scratch_dw(spec: Conv2DSpec, dtype: str, caps) -> dict[str, Scratch]:
    tile = register_tile(caps, dtype)
    return weight_scratch(spec, weight_strip(spec, tile, caps), tile, caps)


def bind_dw(spec: Conv2DSpec, caps, inputs, outputs, scratch) -> list[Call]:
    tile = register_tile(caps, inputs[0].dtype.name)
    return weight_calls(spec, weight_strip(spec, tile, caps), tile, inputs, outputs, scratch)


conv2d = Impl("depthwise", accepts, bind)
conv2d_dx = Impl("depthwise", accepts, bind_dx)
conv2d_dw = Impl("depthwise", accepts, bind_dw, scratch_dw)
