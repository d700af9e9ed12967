"""How loops are shared among tasks, and arrays as kernels receive them.

A task is about 16 thousand elements: a few microseconds, long beside the 0.1 us that a task costs,
short enough to balance threads. The share depends on the shape alone.
"""

from typing import NamedTuple

import numpy as np

from nbcnn.kernels.cpu import jit

BLOCK = 1 << 14  # elements a task


def blocks(n: int, size: int = BLOCK) -> int:
    """Tasks for n elements in blocks of `size`."""
    return -(-n // size)


def task_size(n: int) -> int:
    """Elements of a task where elementwise work goes over n: more where there are many.

    Beyond L2, two threads that take turns in longer stretches disturb each other's streams less:
    relu of 16 MB took 0.35 ms in tasks of `BLOCK` elements, 0.31 ms in tasks four times as long.
    """
    return min(4 * BLOCK, max(BLOCK, n // 64 // BLOCK * BLOCK))


def flat(array: np.ndarray) -> np.ndarray:
    """One contiguous axis; booleans as bytes 0 and 1. Fewer kinds of arguments mean fewer
    compilations.
    """
    line = array.reshape(-1)
    return line.view(np.uint8) if line.dtype == np.bool_ else line


class Grid(NamedTuple):
    """A table of rows x columns cut into tasks: whole rows where they are short, parts of one row
    where long.
    """

    rows: int
    columns: int
    row_step: int
    column_step: int
    across: int  # tasks along a row

    @property
    def tasks(self) -> int:
        return blocks(self.rows, self.row_step) * self.across if self.columns else 0


def grid(rows: int, columns: int, block: int = BLOCK) -> Grid:
    across = max(1, blocks(columns, block))
    row_step = 1 if across > 1 else max(1, block // max(columns, 1))
    return Grid(rows, columns, row_step, block if across > 1 else columns, across)


@jit.always_inline
def grid_rows(g, task):
    """(first, stop) row of a task."""
    first = task // g.across * g.row_step
    return first, min(first + g.row_step, g.rows)


@jit.always_inline
def grid_columns(g, task):
    """(first, stop) column of a task."""
    first = task % g.across * g.column_step
    return first, min(first + g.column_step, g.columns)


@jit.always_inline
def run_end(row, d4, stop):
    """The row after those that follow each other at the last row axis' stride."""
    return stop if stop <= d4 else min(stop, row + d4 - row % d4)


@jit.always_inline
def place(row, d1, d2, d3, d4, s0, s1, s2, s3, s4):
    """Offset of row number `row` of a table whose row axes have sizes (.., d1, d2, d3, d4) and
    these strides.
    """
    if row < d4:  # one axis, the usual case: no division
        return row * s4
    at = row % d4 * s4
    row //= d4
    at += row % d3 * s3
    row //= d3
    at += row % d2 * s2
    row //= d2
    return at + row % d1 * s1 + row // d1 * s0
