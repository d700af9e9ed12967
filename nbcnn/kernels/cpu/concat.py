"""Concatenation.

    y[i, start of piece + j] = piece[i, j]

Along the last axes, where every piece has many short rows, a task writes whole rows of y, up to
four pieces side by side: y is written once from front to back, where a pass per piece would come
back to the same pages (8 x 35 x 35 pixels of 64, 64, 96 and 32 channels: 0.20 to 0.17 ms). Other
pieces, and those of 1 or 2 bytes, are strided copies; those of another type are converted.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

from nbcnn.kernels.cpu import jit, simd, types
from nbcnn.kernels.cpu import pool_micro as micro
from nbcnn.kernels.cpu.blocking import Tile, register_tile
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.cpu.copy import bind_copy, words
from nbcnn.kernels.cpu.shares import BLOCK, blocks
from nbcnn.kernels.cpu.simd_streams import fetch, put
from nbcnn.kernels.impl import Impl, always
from nbcnn.ops.shape import ConcatSpec, CopySpec

TOGETHER = 4  # pieces
FLOATS = {4: "float32", 8: "float64"}  # types as wide as those to be moved


@cache
def copy_row(tile: Tile):
    """copy_row(x, y, count): `count` numbers from one address to another."""

    def build(builder, args):
        x, y, count = args

        def body(lanes, k):
            offset = builder.mul(k, simd.integer(tile.item))
            lanes.store(lanes.load(builder.add(x, offset)), builder.add(y, offset))

        micro.over_channels(builder, tile, 0, count, body)

    return simd.emit(types.void, (types.intp,) * 3, build)


@cache
def rows_kernel(tile: Tile) -> jit.Kernel:
    item, move = tile.item, copy_row(tile)

    @jit.kernel(constants=(tile,))
    def concat_rows(task, thread, rows, per, width, begin, c0, c1, c2, c3, x0, x1, x2, x3, y):
        for row in range(task * per, min((task + 1) * per, rows)):
            to = simd.address(y) + (row * width + begin) * item
            move(simd.address(x0) + row * c0 * item, to, c0)
            to += c0 * item
            move(simd.address(x1) + row * c1 * item, to, c1)
            to += c1 * item
            move(simd.address(x2) + row * c2 * item, to, c2)
            to += c2 * item
            move(simd.address(x3) + row * c3 * item, to, c3)

    return concat_rows


def rows_call(specs: Sequence[ConcatSpec], caps, inputs: Sequence, y: np.ndarray) -> Call:
    """Of up to `TOGETHER` pieces that lie side by side in y."""
    first, item = specs[0], y.itemsize
    counts = [s.length * s.inner for s in specs]
    more = TOGETHER - len(specs)
    counts, arrays = counts + [0] * more, [*inputs, *[inputs[0]] * more]
    per = max(1, BLOCK // max(1, sum(counts)))
    place = first.total * first.inner, first.start * first.inner
    args = (first.outer, per, *place, *counts, *map(words, arrays), words(y))
    kernel = rows_kernel(register_tile(caps, FLOATS[item]))
    return Call(kernel, blocks(first.outer, per), args)


def strided_call(spec: ConcatSpec, caps, x: np.ndarray, outputs: Sequence) -> list[Call]:
    row = spec.length * spec.inner
    piece = CopySpec(
        spec.outer * row, outputs[0].size, 1, 1, 1, 1, spec.outer, row,
        0, 0, 0, 0, 0, row, 1, spec.start * spec.inner, 0, 0, 0, 0, spec.total * spec.inner, 1,
    )  # fmt: skip
    return bind_copy(piece, caps, [x], outputs, {})


@jit.kernel
def concat_cast(task, thread, spec, x, y):
    """A piece of another type than the result: one task per outer block."""
    row = spec.length * spec.inner
    to = (task * spec.total + spec.start) * spec.inner
    for i in range(row):
        put(y, to + i, fetch(x, task * row + i), 0)


def bind(
    specs: Sequence[ConcatSpec], caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    (y,) = outputs
    calls: list[Call] = []
    if all(x.dtype == y.dtype for x in inputs) and y.itemsize in FLOATS and in_rows(specs):
        for i in range(0, len(specs), TOGETHER):
            pieces = slice(i, i + TOGETHER)
            calls.append(rows_call(specs[pieces], caps, inputs[pieces], y))
        return calls
    for spec, x in zip(specs, inputs):
        if x.dtype != y.dtype:
            calls.append(Call(concat_cast, spec.outer, (spec, x.reshape(-1), y.reshape(-1))))
        else:
            calls += strided_call(spec, caps, x, outputs)
    return calls


def in_rows(specs: Sequence[ConcatSpec]) -> bool:
    """Whether rows of y are short enough for a task to take whole ones."""
    return specs[0].total * specs[0].inner <= BLOCK


concat_impl = Impl("rows", always, bind)
