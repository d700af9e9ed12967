"""Geometry of convolutions with the batch in the lanes (`conv_lanes.py`): blocks, strips, and the
tables that the sweep reads (`conv_lanes_micro.py`).

A tile's pixels need not lie side by side. Those of a strip that use the same taps of a row, or of a
column, come together, so that a tile leaves out the taps that are outside the image for all its
pixels: half of the steps in the input gradient of a 5x5 kernel on a map of 14x14.
"""

from typing import NamedTuple

import numpy as np

from nbcnn.kernels.cpu import conv_lanes_micro as micro
from nbcnn.kernels.cpu.blocking import Tile, register_tile
from nbcnn.kernels.cpu.call import Caps
from nbcnn.kernels.cpu.conv_sweep_plan import TASK_STEPS, TASKS, Image, Pool
from nbcnn.ops.conv_spec import Conv2DSpec

STRIP = 128 << 10  # bytes of the results of a strip: they stay in L2


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
    strip: int  # target rows; whole windows of the pool
    filters: int  # of a tile
    steps: int  # of the sum, over all phases
    act: int
    pool: int
    window_h: int
    window_w: int


class Tables(NamedTuple):
    strips: np.ndarray  # first tile of each strip, and one number more
    tiles: np.ndarray  # see `conv_lanes_micro.sweep_tiles`
    offsets: np.ndarray  # byte offset per step


def plan(s: Conv2DSpec, dtype: str, caps: Caps):
    """(sweep, tables, order of the taps) of the forward pass."""
    rows = Axis(0, 1, s.sh, tuple((u * s.dilh - s.pt, u) for u in range(s.kh)))
    columns = Axis(0, 1, s.sw, tuple((v * s.dilw - s.pl, v) for v in range(s.kw)))
    source = Image(s.n, s.h, s.w, s.c)
    target = Image(s.n, s.oh // s.ph * s.ph, s.ow // s.pw * s.pw, s.f)
    pool = Pool(s.pool, s.ph, s.pw)
    return make(source, target, [rows], [columns], s.kw, s.act, pool, dtype, caps)


def plan_dx(s: Conv2DSpec, dtype: str, caps: Caps):
    """(sweep, tables, order of the taps) of the input gradient."""
    rows = _phases(s.h, s.kh, s.sh, s.dilh, s.pt)
    columns = _phases(s.w, s.kw, s.sw, s.dilw, s.pl)
    source, target = Image(s.n, s.oh, s.ow, s.f), Image(s.n, s.h, s.w, s.c)
    return make(source, target, rows, columns, s.kw, 0, Pool(), dtype, caps)


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


def make(source: Image, target: Image, rows, columns, kw, act: int, pool: Pool, dtype, caps):
    """`rows`, `columns`: the phases of both axes; `kw`: taps in a row of the weights."""
    tile = register_tile(caps, dtype)
    size = tile.lanes * tile.item
    (top, _), (left, buffer_w) = _reach(rows, target.h), _reach(columns, target.w)
    order = [u * kw + v for r in rows for q in columns for _, u in r.taps for _, v in q.taps]
    filters = -(-target.c // -(-target.c // micro.most_filters(tile)))
    step, stride = rows[0].step, rows[0].stride
    unit = step * pool.h  # rows that a strip holds a whole number of
    lines, room = -(-target.h // unit), STRIP // max(unit * target.w * target.c * size, 1)
    pixels = unit // step * target.w
    strip = unit * _strip(lines, pixels, room, micro.tile_rows(tile, filters))
    steps = len(order) * source.c // (len(rows) * len(columns))
    row_bytes = buffer_w * source.c * size
    block_strips = _block(source, target, strip, steps, row_bytes, stride, step, tile, caps)
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
        buffer_w=buffer_w,
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
        pool=pool.kind,
        window_h=pool.h,
        window_w=pool.w,
    )
    return sweep, _tables(sweep, rows, columns, tile), order


def _reach(phases, size):
    """(first, number) of the source positions that targets read, along one axis."""
    taps = [d for phase in phases for d, _ in phase.taps] or [0]
    last = max((phase.positions(size) - 1) * phase.stride for phase in phases)
    return min(taps), last + max(taps) + 1 - min(taps)


def _strip(lines, pixels, room, per):
    """Lines of a strip: at most `room`, such that strips fill tiles of `per` pixels best."""

    def tiles(strip):
        full, left = lines // strip, lines % strip
        return full * -(-strip * pixels // per) + -(-left * pixels // per)

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
