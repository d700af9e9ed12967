"""How a sweep (`conv_sweep.py`) is cut: blocks of pixels, and the tables of offsets for them."""

import itertools
from typing import NamedTuple

import numpy as np

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
from nbcnn.ops.conv_spec import NO_POOL, RELU, Conv2DSpec

TASKS = 16  # at least so many, if the work is worth it: balances a few cores
TASK_STEPS = 40_000  # vector multiply-adds that make a task worth its cost (about 20 us)

ALIAS = 2048  # pixels at a multiple of so many bytes compete for the same lines of L1
MOST_SIDE = 4  # tasks that share a block's pixels and split its columns, for few images
SPREAD_PANELS = 4  # from which it pays to copy them a line further apart


class Image(NamedTuple):
    """A batch of images (n, h, w, c)."""

    n: int
    h: int
    w: int
    c: int


class Pool(NamedTuple):
    """What the tail does with windows of h x w pixels of the target; they lie side by side."""

    kind: int = NO_POOL
    h: int = 1
    w: int = 1


class Phase(NamedTuple):
    """Target pixels (row + i * step, column + j * step), and their taps (du, dv), in the order of
    the weights.
    """

    row: int
    column: int
    taps: tuple[tuple[int, int], ...]


class Sweep(NamedTuple):
    """What the kernel needs to know, in numbers (bytes where it says so)."""

    n: int
    images: int  # per task
    blocks: int  # of rows, per image
    rows: int  # target rows of a block, a multiple of `step_h`
    source_rows: int  # from one block to the next
    h: int  # source
    w: int
    c: int
    top: int  # the buffer's first row and column, relative to the block's
    left: int
    buffer_h: int  # 0: no buffer, the source is read where it is
    buffer_w: int
    pixel: int  # bytes of a pixel in the buffer
    target_h: int
    target_w: int
    target_c: int
    step_h: int
    groups: int
    group_c: int
    group_f: int
    depth: int  # steps of the sum over all phases: rows of a packed panel
    panel_blocks: int  # tasks side by side in the columns
    phases: int
    act: int
    ph: int
    pw: int


class Tables(NamedTuple):
    segments: np.ndarray  # byte offsets of runs of taps
    chunks: np.ndarray  # (first segment, segments, depth, row of the packed panel)
    phases: np.ndarray  # (first chunk, chunks, first pixel, row, columns)
    sources: np.ndarray  # byte offset per pixel of a block
    targets: np.ndarray


def every_pixel(s: Conv2DSpec) -> bool:
    """Whether each pixel of the output is made from the same one of the input."""
    taps, corner = (s.kh, s.kw, s.sh, s.sw), (s.pt, s.pl, s.oh, s.ow)
    return taps == (1, 1, 1, 1) and corner == (0, 0, s.h, s.w) and not s.pool


def pixelwise(s: Conv2DSpec) -> Conv2DSpec:
    """A 1x1 convolution of every pixel as that of one image of one column: where images and rows
    end does not matter then, blocks are of any number of pixels.
    """
    pixels = s.n * s.h * s.w
    return s._replace(n=1, h=pixels, w=1, oh=pixels, ow=1) if every_pixel(s) else s


def make(
    source: Image,
    target: Image,
    groups: int,
    phases: list[Phase],
    stride,
    step,
    act: int,
    dtype: str,
    caps: Caps,
    pool: Pool,
):
    """The `Sweep` and its `Tables`. `stride`: source pixels per pixel of a phase; `step`: target
    pixels. With a `pool`, the target is of whole windows, and there is one phase.
    """
    tile, item = register_tile(caps, dtype), ITEM[dtype]
    group_c, group_f = source.c // groups, target.c // groups
    depth = group_c * sum(len(p.taps) for p in phases)
    columns = padded_columns(group_f, tile)
    all_taps = [tap for p in phases for tap in p.taps] or [(0, 0)]
    (top, left), (bottom, right) = np.min(all_taps, 0).tolist(), np.max(all_taps, 0).tolist()
    reach_h = [(-(-(target.h - p.row) // step[0]) - 1) * stride[0] for p in phases]
    reach_w = [(-(-(target.w - p.column) // step[1]) - 1) * stride[1] for p in phases]
    inside = (
        top >= 0
        and left >= 0
        and max(reach_h) + bottom < source.h
        and max(reach_w) + right < source.w
    )

    pixel = source.c * item
    if pixel % ALIAS == 0 and panels(group_f, tile) >= SPREAD_PANELS:
        pixel, inside = pixel + LINE, False

    image_steps = (
        target.h * target.w * groups * max(depth // len(phases), 1) * columns // tile.lanes
    )
    buffer_w = max(reach_w) + right - left + 1
    # Rows of a block are a multiple of it.
    column = source.n * target.w * step[0] == 1 and not pool.kind
    down = tile.rows if column else max(step[0], pool.h)
    bytes_down = stride[0] * down // step[0] * buffer_w * pixel
    if pool.kind:
        bytes_down += down * target.w * target.c * item
    # Tasks side by side in the columns, at most: several copy the same block, and clamp it alone.
    side = 1 if act > RELU or pool.kind else min(panels(group_f, tile) // 2, MOST_SIDE)
    across = -(-target.w // len(phases))  # pixels of a phase for each row of the target
    images, rows = _block(
        source.n, target.h, down, image_steps, tile, across, bytes_down, caps, max(side, 1)
    )
    blocks = -(-target.h // rows)
    buffer_h = (rows // step[0] - 1) * stride[0] + bottom - top + 1
    tasks = -(-source.n // images) * blocks
    wide = min(panels(group_f, tile), max(1, TASKS // tasks)) if act <= RELU else 1
    if image_steps * images // blocks < 2 * TASK_STEPS or pool.kind:
        wide = 1

    sweep = Sweep(
        source.n,
        images,
        blocks,
        rows,
        rows // step[0] * stride[0],
        source.h,
        source.w,
        source.c,
        top,
        left,
        0 if inside else buffer_h,
        buffer_w,
        pixel,
        target.h,
        target.w,
        target.c,
        step[0],
        groups,
        group_c,
        group_f,
        depth,
        wide,
        len(phases),
        act,
        pool.h,
        pool.w,
    )
    width = source.w if inside else buffer_w
    plane = (source.h if inside else buffer_h) * width
    origin = (0, 0) if inside else (top, left)
    tables = _tables(sweep, phases, stride, step, width, plane, origin, tile, caps)
    return sweep, tables


def _block(n, height, step, image_steps, tile, width, step_bytes, caps, side):
    """(images per task, rows per task): buffers within half of L2, enough tasks, tasks worth
    their cost. Of each `step` rows the source, and the block to be pooled, have `step_bytes`.
    """
    room = max(1, caps.l2 // 2 // max(step_bytes, 1) * step)  # rows that fit
    whole = height // step + (height % step > 0)
    if n >= TASKS and room >= height:
        by_cost = max(1, TASK_STEPS // max(image_steps, 1))
        by_pixels = max(
            1, 32 * tile.rows // (height * width)
        )  # so that a panel in L1 is used often enough
        images = max(1, min(max(by_cost, by_pixels), room // height, n * side // TASKS))
        return images, whole * step
    least = max(
        1, -(-whole * TASK_STEPS // max(image_steps, 1)), -(-8 * tile.rows // (width * step))
    )
    wanted = max(least, -(-whole * n // (2 * TASKS)))
    blocks = -(-whole // max(1, min(wanted, room // step, whole)))
    return 1, -(-whole // blocks) * step


def _tables(sweep, phases, stride, step, width, plane, origin, tile, caps) -> Tables:
    pixel, limit = sweep.pixel, depth_in_l1(tile, caps)
    segments: list[int] = []
    chunks: list[tuple[int, int, int, int]] = []
    phase_rows: list[tuple[int, int, int, int, int]] = []
    sources: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    for phase in phases:
        first_chunk, first_pixel = len(chunks), sum(len(offsets) for offsets in sources)
        runs = _runs(phase.taps, sweep.groups == 1 and pixel == sweep.c * tile.item)
        length = len(runs[0]) * sweep.group_c if runs else 1
        starts = [((u - origin[0]) * width + v - origin[1]) * pixel for (u, v), *_ in runs]
        _add_chunks(segments, chunks, starts, length, limit, tile.item)
        columns = -(-(sweep.target_w - phase.column) // step[1])
        count = len(chunks) - first_chunk
        phase_rows.append((first_chunk, count, first_pixel, phase.row, columns))
        ranges = np.arange(sweep.images), np.arange(sweep.rows // step[0]), np.arange(columns)
        image, i, j = (axis.ravel() for axis in np.meshgrid(*ranges, indexing="ij"))
        if sweep.images > 1:  # rows of the block that the image does not have
            exists = phase.row + i * step[0] < sweep.target_h
            image, i, j = image[exists], i[exists], j[exists]
        sources.append((image * plane + i * stride[0] * width + j * stride[1]) * pixel)
        line = image * sweep.target_h + phase.row + i * step[0]
        column = phase.column + j * step[1]
        targets.append((line * sweep.target_w + column) * sweep.target_c * tile.item)
    return Tables(
        np.array(segments or [0], np.int64),
        np.array(chunks, np.int64),
        np.array(phase_rows, np.int64),
        np.concatenate(sources).astype(np.int64),
        np.concatenate(targets).astype(np.int64),
    )


def _add_chunks(segments, chunks, starts, length, limit, item):
    """Append the segments of one phase, runs of `length` steps, in chunks of about `limit` steps.

    A phase without taps gets an empty chunk: its pixels are written all the same.
    """
    row = chunks[-1][3] + chunks[-1][1] * chunks[-1][2] if chunks else 0
    parts = max(1, -(-length // limit))  # of a run, a chunk each, where it is longer than the limit
    per_chunk = 1
    if parts == 1 and starts:
        per_chunk = -(-len(starts) // -(-len(starts) * length // limit))
    cuts = [length * part // parts for part in range(parts + 1)]
    for i in range(0, max(len(starts), 1), per_chunk):
        for a, b in itertools.pairwise(cuts):
            group = [start + a * item for start in starts[i : i + per_chunk]]
            chunks.append((len(segments), len(group), b - a, row))
            segments += group
            row += len(group) * (b - a)


def _runs(taps, joined: bool):
    """Taps that follow each other along a row, as runs of equal length."""
    runs: list[list] = []
    for tap in taps:
        if joined and runs and tap == (runs[-1][-1][0], runs[-1][-1][1] + 1):
            runs[-1].append(tap)
        else:
            runs.append([tap])
    if len({len(run) for run in runs}) > 1:
        return [[tap] for tap in taps]
    return runs


def tasks(sweep: Sweep) -> int:
    return -(-sweep.n // sweep.images) * sweep.blocks * sweep.panel_blocks


def buffer_shape(sweep: Sweep, item: int, caps: Caps) -> tuple[int, int]:
    """Of the scratch array with a padded block per thread, in numbers."""
    pixels = sweep.images * sweep.buffer_h * sweep.buffer_w
    return caps.threads, max(pixels * sweep.pixel // item, 1)


def block_shape(sweep: Sweep, caps: Caps) -> tuple[int, int]:
    """Of the scratch array with a block to be pooled per thread, in numbers."""
    lines = sweep.images * min(sweep.rows, sweep.target_h)
    return caps.threads, lines * sweep.target_w * sweep.target_c


def packed_shape(sweep: Sweep, tile: Tile) -> tuple[int]:
    return (sweep.groups * padded_columns(sweep.group_f, tile) * sweep.depth + tile.width,)
