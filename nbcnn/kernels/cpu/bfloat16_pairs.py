"""Operands of products as pairs of bfloat16, two neighbours of the sum in one 32-bit unit.

    pairs[l, j] = r(w[2l, j]) + 2^16 r(w[2l + 1, j]),    r: the upper 16 bits, rounded, ties to even

The dot-product instruction multiplies the pairs in 16 lanes of two registers and adds both
products of a lane to its float32 sum. So a matrix of pairs has half as many steps of the sum, each
of 32 bits like the float32 it stands for, and all that packs, blocks and walks float32 matrices
takes it as it is; only the micro-kernel's multiply-add differs (`Tile.pairs`). An odd last step is
paired with zeros.

`rows`: the steps of the sum are the rows of the stored matrix. `columns`: they lie side by side.
Memory bound: four bytes are read and two written per number.
"""

import numpy as np

from nbcnn.kernels.cpu import jit
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.cpu.shares import Grid, grid, grid_columns, grid_rows
from nbcnn.kernels.impl import Scratch


def pairs_of(steps: int) -> int:
    return -(-steps // 2)


def units(count: int, constant: bool = False) -> Scratch:
    """Memory of so many pairs; of type float32, as which kernels move them."""
    return Scratch((count,), "float32", constant)


def pair_rows(source: np.ndarray, matrices: int, steps: int, columns: int, target, **options):
    """The call that makes `target` (matrices, pairs_of(steps), columns) of `source` (matrices,
    steps, columns).
    """
    g = grid(matrices * pairs_of(steps), columns)
    return _call(pairs_down, g, steps, columns, source, target, **options)


def pair_columns(source: np.ndarray, rows: int, steps: int, target, **options):
    """The call that makes `target` (rows, pairs_of(steps)) of `source` (rows, steps)."""
    if steps % 2 == 0:  # all in one line
        rows, steps = 1, rows * steps
    g = grid(rows, pairs_of(steps))
    return _call(pairs_across, g, steps, 1, source, target, **options)


def _call(kernel, g: Grid, steps: int, columns: int, source, target, **options) -> Call:
    words = [array.reshape(-1).view(np.uint32) for array in (source, target)]
    return Call(kernel, g.tasks, (g, steps, columns, *words), **options)


@jit.always_inline
def upper(bits):
    """The bfloat16 nearest to the float32 of these bits. NaN stays one: it may have its only bits
    below, so the upper ones get the quiet bit.
    """
    nearest = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    nan = (bits >> np.uint32(16)) | np.uint32(0x40)
    return nan if (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000) else nearest


@jit.kernel
def pairs_down(task, thread, g, steps, columns, source, target):
    first, stop = grid_rows(g, task)
    begin, end = grid_columns(g, task)
    half = (steps + 1) // 2
    for row in range(first, stop):
        matrix, pair = row // half, row % half
        at = (matrix * steps + 2 * pair) * columns
        to = row * columns
        if 2 * pair + 1 < steps:
            for j in range(begin, end):
                low, high = upper(source[at + j]), upper(source[at + columns + j])
                target[to + j] = low | (high << np.uint32(16))
        else:
            for j in range(begin, end):
                target[to + j] = upper(source[at + j])


@jit.kernel
def pairs_across(task, thread, g, steps, columns, source, target):
    first, stop = grid_rows(g, task)
    begin, end = grid_columns(g, task)
    whole = min(end, steps // 2)
    for row in range(first, stop):
        at, to = row * steps, row * ((steps + 1) // 2)
        for k in range(begin, whole):
            low, high = upper(source[at + 2 * k]), upper(source[at + 2 * k + 1])
            target[to + k] = low | (high << np.uint32(16))
        for k in range(max(begin, whole), end):
            target[to + k] = upper(source[at + 2 * k])
