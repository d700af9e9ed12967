"""One routine behind direct convolution and its input gradient: the micro-kernel over all pixels.

    target[n, p + i*step, q + j*step, f] =
        act(b[f] + sum over taps, c of source[n, i*s + du, j*s + dv, c] * w[tap, c, f])

for each *phase* (p, q). A convolution is one phase whose taps are the kernel's; the gradient with
respect to the input of a convolution with strides has one phase per position modulo the strides,
each a convolution with stride 1 over dy with its own few taps (no zeros inserted; a phase without
taps just writes zeros). See `conv_direct.py`.

Rows of the register tile are consecutive pixels of the target, across image rows and images, so
nothing is wasted at odd widths; their addresses come from tables made here, once. The steps of the
sum are (tap, channel): taps that lie side by side are one run of `taps * c` consecutive numbers.
Weights are packed in panels of a tile's width.

Blocking. A task is a block of pixels: some images, or some rows of one. If the taps reach over the
edge, the task first copies its part of the source into a buffer of the thread, with zeros around
(this also brings it to L2, which is where the sweep then reads). Then: for each panel of columns,
for each chunk of steps such that the panel's part fills half of L1, for each tile of pixels. The
target is read and written once per chunk; a chunk is about 200 steps, so this costs 1 %.
"""

import itertools
from functools import cache
from typing import NamedTuple

import numpy as np

from nbcnn.kernels.cpu import jit, simd
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
from nbcnn.kernels.cpu.gemm_micro import panel_product
from nbcnn.kernels.cpu.vector_math import activate
from nbcnn.ops.conv_spec import RELU

TASKS = 16  # at least so many, if the work is worth it: balances a few cores
TASK_STEPS = 40_000  # vector multiply-adds that make a task worth its cost (about 20 us)


class Image(NamedTuple):
    """A batch of images (n, h, w, c)."""

    n: int
    h: int
    w: int
    c: int


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


class Tables(NamedTuple):
    segments: np.ndarray  # byte offsets of runs of taps
    chunks: np.ndarray  # (first segment, segments, depth, row of the packed panel)
    phases: np.ndarray  # (first chunk, chunks, first pixel, row, columns)
    sources: np.ndarray  # byte offset per pixel of a block
    targets: np.ndarray


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
):
    """The `Sweep` and its `Tables`. `stride`: source pixels per pixel of a phase; `step`: target
    pixels.
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

    image_steps = (
        target.h * target.w * groups * max(depth // len(phases), 1) * columns // tile.lanes
    )
    buffer_w = max(reach_w) + right - left + 1
    row_bytes = buffer_w * source.c * item
    images, rows = _block(
        source.n, target.h, step[0], image_steps, tile, target.w, stride[0], row_bytes, caps
    )
    blocks = -(-target.h // rows)
    buffer_h = (rows // step[0] - 1) * stride[0] + bottom - top + 1
    tasks = -(-source.n // images) * blocks
    wide = min(panels(group_f, tile), max(1, TASKS // tasks)) if act <= RELU else 1
    if image_steps * images // blocks < 2 * TASK_STEPS:
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
        source.c * item,
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
    )
    width = source.w if inside else buffer_w
    plane = (source.h if inside else buffer_h) * width
    origin = (0, 0) if inside else (top, left)
    tables = _tables(sweep, phases, stride, step, width, plane, origin, tile, caps)
    return sweep, tables


def _block(n, height, step, image_steps, tile, width, stride, row_bytes, caps):
    """(images per task, rows per task): buffers within a third of L2, enough tasks, tasks worth
    their cost.
    """
    room = max(
        1, caps.l2 // 3 // max(row_bytes, 1) // stride * step
    )  # target rows whose source fits
    whole = height // step + (height % step > 0)
    if n >= TASKS and room >= height:
        by_cost = max(1, TASK_STEPS // max(image_steps, 1))
        by_pixels = max(
            1, 32 * tile.rows // (height * width)
        )  # so that a panel in L1 is used often enough
        images = max(1, min(max(by_cost, by_pixels), room // height, n // TASKS))
        return images, whole * step
    least = max(
        1, -(-whole * TASK_STEPS // max(image_steps, 1)), -(-8 * tile.rows // (width * step))
    )
    wanted = max(least, -(-whole * n // (2 * TASKS)))
    blocks = -(-whole // max(1, min(wanted, room // step, whole)))
    return 1, -(-whole // blocks) * step


def _tables(sweep, phases, stride, step, width, plane, origin, tile, caps) -> Tables:
    pixel, limit = sweep.c * tile.item, depth_in_l1(tile, caps)
    segments: list[int] = []
    chunks: list[tuple[int, int, int, int]] = []
    phase_rows: list[tuple[int, int, int, int, int]] = []
    sources: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    for phase in phases:
        first_chunk, first_pixel = len(chunks), sum(len(offsets) for offsets in sources)
        runs = _runs(phase.taps, sweep.groups == 1)
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


def buffer_shape(sweep: Sweep, caps: Caps) -> tuple[int, int]:
    """Of the scratch array with a padded block per thread, in numbers."""
    return caps.threads, max(sweep.images * sweep.buffer_h * sweep.buffer_w * sweep.c, 1)


def packed_shape(sweep: Sweep, tile: Tile) -> tuple[int]:
    return (sweep.groups * padded_columns(sweep.group_f, tile) * sweep.depth + tile.width,)


def call(sweep: Sweep, tables: Tables, source, packed, bias, target, buffer, caps: Caps) -> Call:
    """`bias`: (f,), or `zeros` as wide as a tile; `packed`: see `conv_pack.py`."""
    kernel = sweep_kernel(register_tile(caps, source.dtype.name))
    stride = 0 if bias.size < sweep.target_c else 1
    arrays = (source.reshape(-1), packed, bias, target.reshape(-1), buffer)
    return Call(kernel, tasks(sweep), (sweep, stride, *arrays, *tables))


@cache
def sweep_kernel(tile: Tile):
    product, act_numbers, fill = panel_product(tile), activate(tile), fill_block(tile)
    lanes, width, item = tile.lanes, tile.width, tile.item
    number = np.float32 if item == 4 else np.float64
    lowest, zero = number(-np.inf), number(0)

    def sweep_pixels(
        task,
        thread,
        s,
        bias_step,
        source,
        packed,
        bias,
        target,
        buffer,
        segments,
        chunks,
        phases,
        sources,
        targets,
    ):
        side, task = task % s.panel_blocks, task // s.panel_blocks
        block, first = task % s.blocks, task // s.blocks * s.images
        images = min(s.images, s.n - first)
        top_row = block * s.rows
        if s.buffer_h > 0:
            a = simd.address(buffer) + thread * buffer.shape[1] * item
            fill(s, a, simd.address(source), first, images, block * s.source_rows + s.top)
        else:
            a = simd.address(source) + (first * s.h + block * s.source_rows) * s.w * s.c * item
        c = simd.address(target) + (first * s.target_h + top_row) * s.target_w * s.target_c * item
        height = min(s.rows, s.target_h - top_row)
        panels = (s.group_f + width - 1) // width
        padded = (s.group_f + lanes - 1) // lanes * lanes
        for index in range(s.phases):
            columns = phases[index, 4]
            pixels = images * ((height - phases[index, 3] + s.step_h - 1) // s.step_h) * columns
            source_table = simd.address(sources) + phases[index, 2] * 8
            target_table = simd.address(targets) + phases[index, 2] * 8
            chunk_end = phases[index, 0] + phases[index, 1]
            for part in range(s.groups * panels):
                if part % s.panel_blocks != side:
                    continue
                group, panel = part // panels, part % panels
                left = s.group_f - panel * width
                across = min(width, padded - panel * width)
                b_panel = simd.address(packed) + (group * padded + panel * width) * s.depth * item
                f = group * s.group_f + panel * width
                start = simd.address(bias) + f * bias_step * item
                for k in range(phases[index, 0], chunk_end):
                    low = zero if s.act == RELU and k + 1 == chunk_end else lowest
                    b = b_panel + chunks[k, 3] * across * item
                    segment = simd.address(segments) + chunks[k, 0] * 8
                    resume = int(k > phases[index, 0])
                    product(
                        a + group * s.group_c * item,
                        source_table,
                        item,
                        segment,
                        chunks[k, 1],
                        chunks[k, 2],
                        b,
                        across * item,
                        c + f * item,
                        target_table,
                        pixels,
                        left,
                        start,
                        resume,
                        low,
                    )
        if s.act > RELU:
            act_numbers(c, images * height * s.target_w * s.target_c, s.act)

    return jit.kernel(sweep_pixels, constants=(tile,))
