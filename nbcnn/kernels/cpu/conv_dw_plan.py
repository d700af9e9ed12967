"""How a direct weight gradient (`conv_direct_dw.py`) is cut: blocks, slabs, tables of offsets."""

from typing import NamedTuple

import numpy as np

from nbcnn.kernels.cpu import slabs
from nbcnn.kernels.cpu.blocking import (
    ITEM,
    Tile,
    depth_in_l1,
    padded_columns,
    panels,
    register_tile,
)
from nbcnn.kernels.cpu.call import Caps
from nbcnn.kernels.cpu.conv_fill import LINE
from nbcnn.kernels.cpu.conv_sweep_plan import TASK_STEPS, TASKS, pixelwise
from nbcnn.ops.conv_spec import Conv2DSpec

SLAB_PIXELS = 512  # of a slab at least: to write and add its partial sums then costs a few percent


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
    pixel: int  # bytes from pixel to pixel in the buffer
    oh: int
    ow: int
    f: int
    groups: int
    group_c: int
    group_f: int
    weights: int  # rows of dw: kh * kw * c / groups
    step: int  # bytes from one output pixel to the next
    joined: int  # 1: the same from a row's last to the next row's first
    bias: int


def plan(s: Conv2DSpec, dtype: str, caps: Caps):
    """(reduction, byte offsets of the rows of dw, byte offsets of the segments) of a weight
    gradient.
    """
    tile, item = register_tile(caps, dtype), ITEM[dtype]
    s = pixelwise(s)
    group_c, group_f = s.c // s.groups, s.f // s.groups
    bottom = (s.oh - 1) * s.sh + (s.kh - 1) * s.dilh - s.pt
    right = (s.ow - 1) * s.sw + (s.kw - 1) * s.dilw - s.pl
    inside = s.pt <= 0 and s.pl <= 0 and bottom < s.h and right < s.w
    buffer_w = right + s.pl + 1
    pixel = s.c * item
    if pixel % (4 * LINE) == 0:
        pixel, inside = pixel + LINE, False
    run = max(1, depth_in_l1(tile, caps) // s.ow)
    images, rows = _block(s, buffer_w * pixel, run, tile, caps)
    blocks = -(-s.oh // rows)
    count, parts = _split(s, -(-s.n // images) * blocks, tile, caps)
    buffer_h = (rows - 1) * s.sh + (s.kh - 1) * s.dilh + 1
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
        int((s.n, s.kh, s.kw, s.sh, s.sw) == (1, 1, 1, 1, 1) and s.w == buffer_w == 1),
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


def _block(s, row_bytes, run, tile, caps):
    """(images, rows) of a block whose part of x fits a third of L2, with about `run` rows if it
    does.
    """
    room = max(1, (caps.l2 // 3 // max(row_bytes, 1) - s.kh * s.dilh) // s.sh)
    if s.n >= slabs_worth(s, tile) and s.n > 1 and room >= s.oh:
        return max(1, min(s.n // slabs_worth(s, tile), run // s.oh, room // s.oh)), s.oh
    rows = max(1, min(run, room, s.oh))
    return 1, -(-s.oh // -(-s.oh // rows))


def slabs_worth(s, tile: Tile) -> int:
    """Slabs that are worth their cost."""
    size = s.kh * s.kw * s.c // s.groups * s.f
    most = min(TASKS, s.n * s.oh * s.ow // SLAB_PIXELS, slabs.MOST_ELEMENTS // size)
    return max(1, min(most, vector_steps(s, tile) // TASK_STEPS))


def vector_steps(s, tile: Tile) -> int:
    """Vector multiply-adds."""
    columns = padded_columns(s.f // s.groups, tile) // tile.lanes
    return s.n * s.oh * s.ow * s.kh * s.kw * s.c * columns


def _split(s, blocks, tile, caps):
    """(slabs, parts): tasks that are worth their cost, partial sums that fit in L2."""
    size = s.kh * s.kw * s.c // s.groups * s.f
    count, worth = min(blocks, slabs_worth(s, tile)), max(1, vector_steps(s, tile) // TASK_STEPS)
    parts = max(
        -(-2 * size * tile.item // caps.l2), min(-(-4 * caps.threads // count), worth // count)
    )
    return count, max(1, min(parts, s.groups * panels(s.f // s.groups, tile)))
