"""Direct weight gradient of a convolution: no im2col buffer.

    dw[u,v,c,f] = sum over n, i, j of x[n, i*sh + u*dilh - pt, j*sw + v*dilw - pl, c] * dy[n,i,j,f]
    db[f]       = sum over n, i, j of dy[n,i,j,f]

The micro-kernel's rows are the weights' (u, v, c), consecutive in dw; for each the pixels of x lie
at a fixed offset from the pixel of the output, so a table of offsets is all it needs and any
geometry is the same code. Its columns are filters, the steps of its sum pixels: one segment per row
of the output.

Blocking. A task has a slab of blocks (some rows of an image, or some images) and some of the panels
of filters. Of each block it copies x between zeros where the taps reach over the edge (as in
`conv_sweep.py`); this fits in L2. Then, for each run of as many pixels as fill half of L1 with one
panel of dy, and for each panel, it packs dy and runs over the tiles of rows of dw; a tile of dw is
read and written once per run. In the copy a pixel takes an odd number of cache lines: the
micro-kernel reads one line of each of some 200 pixels, and at 256 or 512 bytes from one to the next
most would compete for a few places in L1.

The sums of slabs are partial results; slabs follow from the shape alone and are added in order, so
the same bits come out with any number of threads. More slabs cost memory traffic: large dw are
split by panels instead.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from nbcnn.kernels.cpu import jit, simd, slabs
from nbcnn.kernels.cpu.blocking import (
    ITEM,
    Tile,
    depth_in_l1,
    padded_columns,
    panels,
    register_tile,
)
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.conv_fill import fill_block
from nbcnn.kernels.cpu.conv_sweep_plan import TASK_STEPS, TASKS
from nbcnn.kernels.cpu.gemm_micro import panel_product
from nbcnn.kernels.cpu.gemm_pack import pack_rows, sum_panel
from nbcnn.kernels.impl import Impl, Scratch, no_pool
from nbcnn.ops.conv_spec import Conv2DSpec

SLAB_PIXELS = 512  # of a slab at least: to write and add its partial sums then costs a few percent
FEW = 64  # rows of dw, up to which packing dy does not pay
LINE = 64  # bytes of a cache line


class Reduction(NamedTuple):
    """What the kernel needs to know."""

    n: int
    images: int  # per block
    blocks: int  # of rows, per image
    rows: int  # output rows of a block
    run: int  # about so many output rows are summed at once
    slabs: int
    parts: int  # tasks side by side in the panels
    source_rows: int  # x: from one block to the next
    h: int
    w: int
    c: int
    top: int  # the buffer's first row and column, relative to the block's
    left: int
    buffer_h: int  # 0: no buffer, x is read where it is
    buffer_w: int
    pixel: int  # bytes of a pixel in the buffer
    oh: int
    ow: int
    f: int
    groups: int
    group_c: int
    group_f: int
    weights: int  # rows of dw: kh * kw * c / groups
    step: int  # bytes of x from one output pixel to the next
    bias: int


def accepts(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    if dtype not in ITEM:
        return f"no {dtype}"
    return "no images" if spec.n == 0 else no_pool(spec, dtype, caps)


def plan(s: Conv2DSpec, dtype: str, caps: Caps):
    """(reduction, byte offsets of the rows of dw, byte offsets of the segments) of a weight
    gradient.
    """
    tile, item = register_tile(caps, dtype), ITEM[dtype]
    group_c, group_f = s.c // s.groups, s.f // s.groups
    bottom = (s.oh - 1) * s.sh + (s.kh - 1) * s.dilh - s.pt
    right = (s.ow - 1) * s.sw + (s.kw - 1) * s.dilw - s.pl
    inside = s.pt <= 0 and s.pl <= 0 and bottom < s.h and right < s.w
    buffer_w = right + s.pl + 1
    pixel = s.c * item
    if pixel % (4 * LINE) == 0:
        pixel, inside = pixel + LINE, False
    run = max(1, depth_in_l1(tile, caps) // s.ow)
    images, rows = _block(s, buffer_w * pixel, run, caps)
    blocks = -(-s.oh // rows)
    buffer_h = (rows - 1) * s.sh + (s.kh - 1) * s.dilh + 1
    count, parts = _split(s, -(-s.n // images) * blocks, tile, caps)
    made = Reduction(
        s.n,
        images,
        blocks,
        rows,
        run,
        count,
        parts,
        rows * s.sh,
        s.h,
        s.w,
        s.c,
        -s.pt,
        -s.pl,
        0 if inside else buffer_h,
        buffer_w,
        pixel,
        s.oh,
        s.ow,
        s.f,
        s.groups,
        group_c,
        group_f,
        s.kh * s.kw * group_c,
        s.sw * pixel,
        s.bias,
    )
    width = s.w if inside else buffer_w
    plane = (s.h if inside else buffer_h) * width
    origin = -(s.pt * width + s.pl) if inside else 0
    u, v, c = np.meshgrid(np.arange(s.kh), np.arange(s.kw), np.arange(group_c), indexing="ij")
    offsets = ((u * s.dilh * width + v * s.dilw + origin) * pixel + c * item).ravel()
    image, i = np.meshgrid(np.arange(images), np.arange(rows), indexing="ij")
    segments = ((image * plane + i * s.sh * width) * pixel).ravel()
    return made, offsets.astype(np.int64), segments.astype(np.int64)


def _block(s, row_bytes, run, caps):
    """(images, rows) of a block whose part of x fits a third of L2, with at least `run` rows if it
    does.
    """
    room = max(1, (caps.l2 // 3 // max(row_bytes, 1) - s.kh * s.dilh) // s.sh)
    if s.n >= TASKS and room >= s.oh:
        return max(1, min(s.n // TASKS, run // s.oh, room // s.oh)), s.oh
    rows = max(min(run, s.oh), s.oh * s.n // TASKS)
    return 1, -(-s.oh // -(-s.oh // max(1, min(rows, room, s.oh))))


def _split(s, blocks, tile, caps):
    """(slabs, parts): tasks that are worth their cost, partial sums that fit in L2."""
    rows = s.kh * s.kw * s.c // s.groups
    size = rows * s.f
    wide = s.groups * panels(s.f // s.groups, tile)
    steps = (
        s.n * s.oh * s.ow * rows * s.groups * padded_columns(s.f // s.groups, tile) // tile.lanes
    )
    worth = max(1, steps // TASK_STEPS)
    count = max(
        1, min(TASKS, blocks, worth, s.n * s.oh * s.ow // SLAB_PIXELS, slabs.MOST_ELEMENTS // size)
    )
    parts = max(
        -(-2 * size * tile.item // caps.l2), min(-(-4 * caps.threads // count), worth // count)
    )
    return count, max(1, min(parts, wide))


def _partials(spec: Conv2DSpec, made: Reduction) -> tuple[int, int]:
    return made.slabs, made.weights * spec.f + spec.f * spec.bias


def scratch(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    made = plan(spec, dtype, caps)[0]
    pixels = min(made.run + made.run // 5 + 1, made.images * made.rows) * made.ow
    buffer = max(made.images * made.buffer_h * made.buffer_w * made.pixel // ITEM[dtype], 1)
    needed = {
        "buffer": Scratch((caps.threads, buffer), dtype),
        "panel": Scratch((caps.threads, pixels * register_tile(caps, dtype).width), dtype),
    }
    if made.slabs > 1:
        needed["partials"] = Scratch(_partials(spec, made), dtype)
    return needed


def bind(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    x, dy = inputs
    dtype = x.dtype.name
    tile = register_tile(caps, dtype)
    made, offsets, segments = plan(spec, dtype, caps)
    dw = outputs[0].reshape(1, -1)
    db = outputs[1].reshape(1, -1) if spec.bias else np.zeros((1, 1), dtype)
    apart, sums = 0, []
    if made.slabs > 1:
        partials = scratch["partials"]
        dw, apart = partials, made.weights * spec.f  # db follows dw in a row of the partials
        db = partials
        sums = slabs.reductions(partials, outputs)
    target_rows = np.arange(made.weights, dtype=np.int64) * (spec.f * tile.item)
    arrays = (
        x.reshape(-1),
        dy.reshape(-1),
        dw,
        db,
        np.zeros(tile.width, dtype),
        scratch["buffer"],
        scratch["panel"],
    )
    args = (made, apart, *arrays, offsets, segments, target_rows)
    return [Call(dw_kernel(tile), made.slabs * made.parts, args), *sums]


@cache
def dw_kernel(tile: Tile):
    product, sums, pack, fill = (
        panel_product(tile),
        sum_panel(tile),
        pack_rows(tile),
        fill_block(tile),
    )
    lanes, width, item = tile.lanes, tile.width, tile.item
    lowest = (np.float32 if item == 4 else np.float64)(-np.inf)

    def weight_gradient(
        task, thread, s, apart, x, dy, dw, db, zeros, buffer, packed, offsets, segments, target_rows
    ):
        slab, side = task // s.parts, task % s.parts
        blocks = (s.n + s.images - 1) // s.images * s.blocks
        first, end = slab * blocks // s.slabs, (slab + 1) * blocks // s.slabs
        dw_slab = simd.address(dw) + slab * dw.shape[1] * item
        db_slab = simd.address(db) + (slab * db.shape[1] + apart) * item
        own = simd.address(packed) + thread * packed.shape[1] * item
        panels = (s.group_f + width - 1) // width
        padded = (s.group_f + lanes - 1) // lanes * lanes
        for block in range(first, end):
            image, row = block // s.blocks * s.images, block % s.blocks * s.rows
            images, height = min(s.images, s.n - image), min(s.rows, s.oh - row)
            if s.buffer_h > 0:
                a = simd.address(buffer) + thread * buffer.shape[1] * item
                fill(s, a, simd.address(x), image, images, block % s.blocks * s.source_rows + s.top)
            else:
                a = (
                    simd.address(x)
                    + (image * s.h + block % s.blocks * s.source_rows) * s.w * s.c * item
                )
            line = simd.address(dy) + (image * s.oh + row) * s.ow * s.f * item
            runs = max(1, (images * height * 20 + s.run * 17 - 1) // (s.run * 20))
            for run in range(runs):
                start = images * height * run // runs
                lines = images * height * (run + 1) // runs - start
                pixel = line + start * s.ow * s.f * item
                resume = int(block > first or run > 0)
                for part in range(side, s.groups * panels, s.parts):
                    group, panel = part // panels, part % panels
                    left = s.group_f - panel * width
                    across = min(width, padded - panel * width)
                    f = group * s.group_f + panel * width
                    panel_at, step = own, across * item
                    if s.weights <= FEW and left >= width:
                        panel_at, step = pixel + f * item, s.f * item
                    else:
                        pack(own, pixel + f * item, s.f * item, lines * s.ow, left)
                    if s.bias:
                        sums(db_slab + f * item, panel_at, step, lines * s.ow, left, resume)
                    product(
                        a + group * s.group_c * item,
                        simd.address(offsets),
                        s.step,
                        simd.address(segments) + start * 8,
                        lines,
                        s.ow,
                        panel_at,
                        step,
                        dw_slab + f * item,
                        simd.address(target_rows),
                        s.weights,
                        left,
                        simd.address(zeros),
                        resume,
                        lowest,
                    )

    return jit.kernel(weight_gradient, constants=(tile,))


dw = Impl("direct", accepts, bind, scratch)
