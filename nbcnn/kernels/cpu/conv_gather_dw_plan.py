"""How a gathered weight gradient (`conv_gather_dw.py`) is cut: chunks of channels, blocks of
pixels, tasks; and its tables of offsets.
"""

from typing import NamedTuple

import numpy as np

from nbcnn.kernels.cpu.blocking import ITEM, Tile, depth_in_l1, panels, register_tile
from nbcnn.kernels.cpu.call import Caps
from nbcnn.kernels.cpu.conv_dw_plan import slabs_worth, vector_steps
from nbcnn.kernels.cpu.conv_fill import LINE
from nbcnn.kernels.cpu.conv_sweep_plan import TASK_STEPS
from nbcnn.ops.conv_spec import Conv2DSpec

# In steps of a tile: to read and write a tile of dw; to pack a step of a panel of dy, per tile.
TURN, PACK = 12, 1
PARTS = 3  # of L2, of which the buffer takes one
NOTHING, ZEROS = -2, -1  # in the table of columns: past the end; outside of x


class Gather(NamedTuple):
    """What the kernel needs to know."""

    n: int
    images: int  # per block
    blocks: int  # of rows, per image
    rows: int  # output rows of a block
    whole: int  # 1: all rows of an image's block are one segment
    slabs: int
    chunk: int  # channels
    chunks: int
    sides: int  # tasks side by side in the chunks
    parts: int  # tasks side by side in the panels
    source_rows: int  # x: from one block to the next
    h: int
    w: int
    c: int
    pixel: int  # bytes from pixel to pixel of x
    keys: int  # planes of columns
    hop: int  # from one column that is read to the next
    buffer_h: int  # rows of a plane
    width: int  # pixels of a row
    plane: int  # bytes of all planes of a line of channels
    image: int  # bytes of an image's block
    oh: int
    ow: int
    f: int
    groups: int
    group_c: int
    group_f: int
    taps: int
    bias: int


class Tables(NamedTuple):
    offsets: np.ndarray  # bytes in the buffer, of each row of dw: by chunk, group, tap, channel
    targets: np.ndarray  # bytes in dw
    segments: np.ndarray  # bytes in the buffer
    rows: np.ndarray  # of x, relative to the block's first
    columns: np.ndarray  # (keys, width): bytes in a row of x, or ZEROS, NOTHING


class Plane(NamedTuple):
    """Along one axis: the taps, in order, that have the same remainder modulo the stride; `more`
    positions than outputs.
    """

    taps: list[int]
    more: int

    def sources(self, outputs: int, stride: int, before: int) -> list[int]:
        first = self.taps[0] - before
        return [first + i * stride for i in range(outputs + self.more)]


def planes(k: int, stride: int, dilation: int) -> list[Plane]:
    by_remainder: dict[int, list[int]] = {}
    for u in range(k):
        by_remainder.setdefault(u * dilation % stride, []).append(u * dilation)
    return [Plane(taps, (taps[-1] - taps[0]) // stride) for taps in by_remainder.values()]


def places(found: list[Plane], starts, stride: int) -> np.ndarray:
    """Where each tap's positions start, its plane's at `starts`."""
    at = {
        tap: start + (tap - own.taps[0]) // stride
        for own, start in zip(found, starts)
        for tap in own.taps
    }
    return np.array([at[tap] for tap in sorted(at)])


def units(s: Conv2DSpec, chunk: int) -> int:
    """Groups of a chunk."""
    return chunk * s.groups // s.c if s.groups > 1 else 1


def plan(s: Conv2DSpec, dtype: str, caps: Caps) -> tuple[Gather, Tables]:
    tile, item = register_tile(caps, dtype), ITEM[dtype]
    down, across = planes(s.kh, s.sh, s.dilh), planes(s.kw, s.sw, s.dilw)
    width = s.ow + max(own.more for own in across)
    chunk, images, rows = _chunk_and_block(s, down, len(across) * width, tile, caps)
    chunks, blocks = -(-s.c // chunk), -(-s.oh // rows)
    count, sides, parts = _split(s, -(-s.n // images) * blocks, chunk, tile, caps)
    listed = [row for own in down for row in own.sources(rows, s.sh, s.pt)]
    plane = len(across) * len(listed) * width * LINE
    whole = int(width == s.ow)
    made = Gather(
        s.n,
        images,
        blocks,
        rows,
        whole,
        count,
        chunk,
        chunks,
        sides,
        parts,
        rows * s.sh,
        s.h,
        s.w,
        s.c,
        s.c * item,
        len(across),
        s.sw if len(across) == 1 else 1,
        len(listed),
        width,
        plane,
        -(-chunk * item // LINE) * plane,
        s.oh,
        s.ow,
        s.f,
        s.groups,
        s.c // s.groups,
        s.f // s.groups,
        s.kh * s.kw,
        s.bias,
    )
    row_starts = np.cumsum([0] + [rows + own.more for own in down[:-1]]) * width
    column_starts = np.arange(len(across)) * (len(listed) * width)
    tap_rows = places(down, row_starts // width, s.sh) * width
    taps = tap_rows[:, None] + places(across, column_starts, s.sw)
    segment = np.arange(1 if whole else rows) * width * LINE
    columns = np.full((len(across), width), NOTHING, np.int64)
    for key, own in enumerate(across):
        found = np.array(own.sources(s.ow, s.sw, s.pl))
        inside = (found >= 0) & (found < s.w)
        columns[key, : len(found)] = np.where(inside, found * made.pixel, ZEROS)
    offsets, targets = _rows_of_dw(made, taps.ravel() * LINE, item)
    segments = (np.arange(images)[:, None] * made.image + segment).ravel()
    return made, Tables(offsets, targets, segments, np.array(listed, np.int64), columns)


def _rows_of_dw(made: Gather, taps, item: int):
    """(offsets, targets): of each row of dw, bytes in the buffer and in dw; `taps`: bytes of each
    tap in the buffer.
    """
    offsets, targets = [], []
    for first in range(0, made.c, made.chunk):
        channels = np.arange(first, min(first + made.chunk, made.c))
        for own in channels.reshape(-1, made.group_c if made.groups > 1 else len(channels)):
            line, rest = np.divmod((own - first) * item, LINE)
            offsets.append((taps[:, None] + line * made.plane + rest).ravel())
            row = np.arange(made.taps)[:, None] * made.group_c + own % made.group_c
            targets.append(row.ravel() * (made.f * item))
    return np.concatenate(offsets), np.concatenate(targets)


def _chunk_and_block(s: Conv2DSpec, down: list[Plane], row: int, tile: Tile, caps: Caps):
    """(channels of a chunk, images, rows of a block): a balance between how often dw is read and
    written, which is less with more pixels in a block, and how often dy is packed, less with more
    channels in a chunk. `row`: pixels of the buffer for a row of x.
    """
    step = s.c // s.groups if s.groups > 1 else LINE // tile.item
    run, more = depth_in_l1(tile, caps), sum(own.more for own in down)
    found = []
    for many in range(1, -(-s.c // step) + 1):
        chunk = min(many * step, s.c)
        room = caps.l2 // PARTS // (-(-chunk * tile.item // LINE) * LINE * row)  # rows of x
        fit = (room - more) // len(down)  # rows of the output
        images, rows = 1, max(1, min(s.oh, run // s.ow, fit))
        rows = -(-s.oh // -(-s.oh // rows))
        if rows == s.oh:
            most = room // (more + len(down) * s.oh)
            images = max(1, min(s.n // slabs_worth(s, tile), run // (s.oh * s.ow), most))
        height = s.kh * s.kw * chunk // units(s, chunk)
        cost = TURN / (images * rows * s.ow) + PACK * tile.rows / height
        found.append((fit < 1, cost, chunk, images, rows))
        if fit < 1:  # and even less with more channels
            break
    return min(found)[2:]


def _split(s: Conv2DSpec, blocks: int, chunk: int, tile: Tile, caps: Caps):
    """(slabs, sides, parts): tasks that are worth their cost, the part of dw of each in L2."""
    size, chunks = s.kh * s.kw * s.c // s.groups * s.f, -(-s.c // chunk)
    count = min(blocks, slabs_worth(s, tile))
    worth = max(1, vector_steps(s, tile) // TASK_STEPS)
    wanted = max(
        -(-2 * size * tile.item // caps.l2), min(-(-4 * caps.threads // count), worth // count)
    )
    sides = -(-chunks // -(-chunks // max(1, min(chunks, wanted))))
    most = units(s, chunk) * panels(s.f // s.groups, tile)
    return count, sides, max(1, min(-(-wanted // sides), most))
