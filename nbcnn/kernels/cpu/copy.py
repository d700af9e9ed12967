"""Moving elements: transpose, slice, pad, broadcast.

    y[yo + sum i_k y_k] = x[xo + sum i_k x_k]

The spec has merged the axes as far as possible. Rows (all axes but the last) are dealt out to
tasks, and so are parts of long rows; the inner loop copies along the last axis, with a loop of its
own for contiguous rows and for repeated elements. A transposition of the last two axes goes in
tiles of 16 x 16, which keeps the lines that both sides touch in the cache; into a last axis of two
to four elements (the channels of an image, groups that are shuffled) they are woven. Types of equal
size are one type here: elements are moved as unsigned integers.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

from nbcnn.kernels.cpu import jit
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.cpu.shares import (
    BLOCK,
    blocks,
    grid,
    grid_columns,
    grid_rows,
    place,
    run_end,
)
from nbcnn.kernels.cpu.simd_streams import fetch, put
from nbcnn.kernels.impl import Impl, always
from nbcnn.ops.shape import CopySpec

TILE = 16
WOVEN = (2, 3, 4)  # elements along the last axis


@jit.kernel
def fill(task, thread, value, y):
    for i in range(task * BLOCK, min((task + 1) * BLOCK, y.size)):
        put(y, i, value[0], 0)


@jit.kernel
def copy(task, thread, spec, g, x, y):
    s = spec
    row, stop = grid_rows(g, task)
    begin, end = grid_columns(g, task)
    while row < stop:
        at_x = s.xo + place(row, s.d1, s.d2, s.d3, s.d4, s.x0, s.x1, s.x2, s.x3, s.x4)
        at_y = s.yo + place(row, s.d1, s.d2, s.d3, s.d4, s.y0, s.y1, s.y2, s.y3, s.y4)
        last = run_end(row, s.d4, stop)
        while row < last:
            if s.x5 == 1 and s.y5 == 1:
                for i in range(begin, end):
                    put(y, at_y + i, fetch(x, at_x + i), 0)
            elif s.x5 == 0 and s.y5 == 1:
                value = fetch(x, at_x)
                for i in range(begin, end):
                    put(y, at_y + i, value, 0)
            else:
                for i in range(begin, end):
                    put(y, at_y + i * s.y5, fetch(x, at_x + i * s.x5), 0)
            at_x, at_y, row = at_x + s.x4, at_y + s.y4, row + 1


@jit.kernel
def copy_tiled(task, thread, spec, down, x, y):
    """The last two axes in tiles; a task is `TILE` positions of the second to last axis. `down`:
    tasks along it.
    """
    s = spec
    outer = task // down
    i0 = task % down * TILE
    i1 = min(i0 + TILE, s.d4)
    from_x = s.xo + place(outer, 1, s.d1, s.d2, s.d3, 0, s.x0, s.x1, s.x2, s.x3)
    from_y = s.yo + place(outer, 1, s.d1, s.d2, s.d3, 0, s.y0, s.y1, s.y2, s.y3)
    for j0 in range(0, s.d5, TILE):
        j1 = min(j0 + TILE, s.d5)
        for i in range(i0, i1):
            at_x, at_y = from_x + i * s.x4, from_y + i * s.y4
            for j in range(j0, j1):
                put(y, at_y + j * s.y5, fetch(x, at_x + j * s.x5), 0)


@cache
def weave_kernel(count: int) -> jit.Kernel:
    """y[r, i, j] = x[.., j, .., i] for `count` j: a row of the grid is r, a column i."""

    @jit.kernel(constants=(count,))
    def copy_woven(task, thread, spec, g, x, y):
        s = spec
        row, stop = grid_rows(g, task)
        begin, end = grid_columns(g, task)
        while row < stop:
            from_x = s.xo + place(row, 1, s.d1, s.d2, s.d3, 0, s.x0, s.x1, s.x2, s.x3)
            from_y = s.yo + place(row, 1, s.d1, s.d2, s.d3, 0, s.y0, s.y1, s.y2, s.y3)
            for i in range(begin, end):
                for j in range(count):
                    put(y, from_y + i * count + j, fetch(x, from_x + j * s.x5 + i), 0)
            row += 1

    return copy_woven


def words(array: np.ndarray) -> np.ndarray:
    """One axis of unsigned integers."""
    return array.reshape(-1).view(f"u{array.dtype.itemsize}")


def bind_copy(
    spec: CopySpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    calls = []
    if spec.fill and spec.n < spec.total:
        value = words(np.array([spec.value], dtype=outputs[0].dtype))
        calls.append(Call(fill, blocks(spec.total), (value, words(outputs[0]))))
    x, y = words(inputs[0]), words(outputs[0])
    plain = spec._replace(fill=0, value=0.0)
    if spec.x4 == spec.y5 == 1 and spec.d5 in WOVEN and spec.y4 == spec.d5 and spec.d4 >= TILE:
        g = grid(spec.n // (spec.d4 * spec.d5), spec.d4, BLOCK // spec.d5)
        calls.append(Call(weave_kernel(spec.d5), g.tasks, (plain, g, x, y)))
    elif spec.y5 == 1 and spec.x4 == 1 and min(spec.d4, spec.d5) >= TILE:
        down = blocks(spec.d4, TILE)
        outer = spec.n // (spec.d4 * spec.d5)
        calls.append(Call(copy_tiled, outer * down, (plain, down, x, y)))
    else:
        g = grid(spec.n // max(spec.d5, 1), spec.d5)
        calls.append(Call(copy, g.tasks, (plain, g, x, y)))
    return calls


copy_impl = Impl("strided", always, bind_copy)
