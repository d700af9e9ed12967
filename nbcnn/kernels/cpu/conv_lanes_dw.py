"""Weight gradient of a convolution of few channels and filters: the batch in the vector lanes.

    dw[u,v,c,f] = sum over n, i, j of x[n, i*sh + u*dilh - pt, j*sw + v*dilw - pl, c] * dy[n,i,j,f]
    db[f]       = sum over n, i, j of dy[n,i,j,f]

Why lanes, see `conv_lanes.py`: there are 16 partial sums per weight, one for each image of a group,
and they are added up when a tile has gone over the pixels (`conv_lanes_micro.py`).

Blocking. A unit is as many images as a vector has lanes, and a block of output rows. It transposes
its part of x into a buffer, with zeros around; then, run of rows by run, its part of dy, and goes
over all tiles of weights. A run's dy stays in L2. A task is a slab of
units; slabs follow from the shape alone and their sums are added in order (`slabs.py`).
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from nbcnn.kernels.cpu import conv_lanes_micro as micro
from nbcnn.kernels.cpu import conv_winograd_dw, jit, simd, slabs
from nbcnn.kernels.cpu.blocking import Tile, register_tile
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.conv_lanes import NARROW, fill_lanes, refuses
from nbcnn.kernels.cpu.conv_lanes_plan import TASK_STEPS, TASKS
from nbcnn.kernels.cpu.gemm_pack import pack_columns
from nbcnn.kernels.impl import Impl, Scratch, no_pool
from nbcnn.ops.conv_spec import Conv2DSpec

NEVER = 1 << 30  # taps, from which lanes pay where filters fill a vector: 5x5 and 7x7 have 0.9
APART = 64  # numbers: sums of two threads do not share cache lines
RUN = 128 << 10  # bytes of dy of a block of filters


class Reduction(NamedTuple):
    n: int
    h: int
    w: int
    c: int
    top: int  # the buffer's first row and column, relative to the block's
    left: int
    buffer_h: int
    buffer_w: int
    oh: int
    ow: int
    f: int
    blocks: int  # of rows, per image
    block: int  # output rows
    block_source: int  # rows of x from a block to the next
    run: int  # output rows
    run_source: int
    filters: int  # of a tile
    rows: int
    weights: int  # rows of dw: kh * kw * c
    slabs: int
    bias: int


def accepts(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    reason = no_pool(spec, dtype, caps) or refuses(spec, spec.f, NEVER, dtype, caps)
    if (
        reason is None
        and spec.f > NARROW
        and conv_winograd_dw.dw.accepts(spec, dtype, caps) is None
    ):
        return "Winograd multiplies less"
    return reason


def plan(s: Conv2DSpec, dtype: str, caps: Caps):
    """(reduction, byte offsets of the pixels of a run, of the rows of dw)."""
    tile = register_tile(caps, dtype)
    size, weights = tile.lanes * tile.item, s.kh * s.kw * s.c
    filters = -(-s.f // -(-s.f // micro.most_filters(tile)))
    run = max(1, min(s.oh, RUN // (s.ow * filters * size)))
    reach = (s.kh - 1) * s.dilh + 1
    buffer_w = (s.ow - 1) * s.sw + (s.kw - 1) * s.dilw + 1
    groups = -(-s.n // tile.lanes)
    room = max(1, (caps.l2 // 3 // (buffer_w * s.c * size) - reach) // s.sh // run)
    least = -(-TASK_STEPS // (run * s.ow * weights * s.f))
    runs = -(-s.oh // run)
    blocks = -(-runs // max(1, min(room, max(least, groups * runs // TASKS))))
    block = -(-runs // blocks) * run
    blocks = -(-s.oh // block)
    made = Reduction(
        n=s.n,
        h=s.h,
        w=s.w,
        c=s.c,
        top=-s.pt,
        left=-s.pl,
        buffer_h=(block - 1) * s.sh + reach,
        buffer_w=buffer_w,
        oh=s.oh,
        ow=s.ow,
        f=s.f,
        blocks=blocks,
        block=block,
        block_source=block * s.sh,
        run=run,
        run_source=run * s.sh,
        filters=filters,
        rows=micro.tile_rows(tile, filters),
        weights=weights,
        slabs=slabs.slab_count(groups * blocks, weights * s.f),
        bias=s.bias,
    )
    i, j = np.mgrid[:run, : s.ow]
    pixels = (i * s.sh * buffer_w + j * s.sw) * s.c * size
    u, v, c = np.mgrid[: s.kh, : s.kw, : s.c]
    offsets = ((u * s.dilh * buffer_w + v * s.dilw) * s.c + c) * size
    return made, pixels.ravel(), offsets.ravel()


def scratch(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    s, lanes = plan(spec, dtype, caps)[0], register_tile(caps, dtype).lanes
    needed = {
        "source": Scratch((caps.threads, s.buffer_h * s.buffer_w * s.c * lanes), dtype),
        "slope": Scratch((caps.threads, s.run * s.ow * s.f * lanes), dtype),
        "sums": Scratch((caps.threads, s.rows * s.filters // APART * APART + APART), dtype),
    }
    if s.slabs > 1:
        needed["partials"] = Scratch((s.slabs, s.weights * s.f + s.f * s.bias), dtype)
    return needed


def bind(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    x, dy = inputs
    s, pixels, offsets = plan(spec, x.dtype.name, caps)
    dw = outputs[0].reshape(1, -1)
    db = outputs[1].reshape(1, -1) if s.bias else np.zeros((1, 1), x.dtype)
    apart, sums = 0, []
    if s.slabs > 1:
        dw = db = scratch["partials"]
        apart, sums = s.weights * s.f, slabs.reductions(dw, outputs)
    buffers = scratch["source"], scratch["slope"], scratch["sums"]
    args = (s, apart, x.reshape(-1), dy.reshape(-1), dw, db, *buffers, pixels, offsets)
    return [Call(dw_kernel(register_tile(caps, x.dtype.name)), s.slabs, args), *sums]


@cache
def dw_kernel(tile: Tile):
    product, pixel_sums = micro.gradient_tiles(tile), micro.pixel_sums(tile)
    fill, transpose = fill_lanes(tile), pack_columns(tile._replace(vectors=1))
    lanes, item = tile.lanes, tile.item
    size = lanes * item

    def weight_gradient(
        task, thread, s, apart, x, dy, dw, db, buffer, slope_buffer, sums, pixels, offsets
    ):
        units = (s.n + lanes - 1) // lanes * s.blocks
        own = simd.address(buffer) + thread * buffer.shape[1] * item
        slope = simd.address(slope_buffer) + thread * slope_buffer.shape[1] * item
        total = simd.address(sums) + thread * sums.shape[1] * item
        image = s.oh * s.ow * s.f * item
        for k in range(s.weights * s.f):
            dw[task, k] = 0
        for k in range(s.f * s.bias):
            db[task, apart + k] = 0
        for unit in range(task * units // s.slabs, (task + 1) * units // s.slabs):
            block, first = unit % s.blocks, unit // s.blocks * lanes
            images = min(lanes, s.n - first)
            fill(s, own, simd.address(x), first, images, block * s.block_source + s.top)
            at = own
            for row in range(block * s.block, min((block + 1) * s.block, s.oh), s.run):
                count = min(s.run, s.oh - row) * s.ow
                origin = simd.address(dy) + first * image + row * s.ow * s.f * item
                transpose(slope, origin, image, count * s.f, images)
                for f0 in range(0, s.f, s.filters):
                    f = min(f0, s.f - s.filters)  # the last tile overlaps the one before it
                    dy_at = slope + f * size
                    if s.bias:
                        pixel_sums(dy_at, s.f * size, count, s.filters, total)
                        for i in range(f0 - f, s.filters):
                            db[task, apart + f + i] += sums[thread, i]
                    weight = 0
                    while weight < s.weights:
                        rows = s.rows if weight + s.rows <= s.weights else 1
                        product(
                            at,
                            simd.address(pixels),
                            dy_at,
                            s.f * size,
                            count,
                            simd.address(offsets) + weight * 8,
                            rows,
                            s.filters,
                            total,
                        )
                        for r in range(rows):
                            to = (weight + r) * s.f + f
                            for i in range(f0 - f, s.filters):
                                dw[task, to + i] += sums[thread, r * s.filters + i]
                        weight += rows
                at += s.run_source * s.buffer_w * s.c * size

    return jit.kernel(weight_gradient, constants=(tile,))


dw = Impl("lanes", accepts, bind, scratch)
