"""Sums and means over rows of many columns, with running results in registers: global pooling, and
gradients of what was broadcast over pixels.

    y[i, k] = sum over j of x[i, j, k]

A task takes one block i, some rows j and up to 512 columns k, and sums as an average pool does with
a single window (`pool_micro.window_mean`): eight vectors of columns at a time, from one row to the
next. Where rows are cut into slabs, the slabs' sums are rows again. No sum runs over more than 256
rows, so that float32's stays short.

Chosen from 64 columns on: with fewer, the chains of sums are too few, and `reduce.py`, which lays
several rows side by side, is faster.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from nbcnn.kernels.cpu import jit, simd
from nbcnn.kernels.cpu import pool_micro as micro
from nbcnn.kernels.cpu.blocking import ITEM, Tile, register_tile
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.shares import BLOCK, blocks, flat
from nbcnn.kernels.impl import Impl, Scratch
from nbcnn.ops.reduce import ReduceSpec

FUNCTIONS = ("sum", "mean")
FEWEST = 64  # columns
WIDEST = 512  # columns of a task
LONGEST = 256  # rows of one sum
ENOUGH = 32  # tasks: with so many without cutting rows, these are not cut for the sake of threads
ABREAST = 8  # vectors


class Slabs(NamedTuple):
    """A block is cut into `slabs` of at most `rows` rows and `tiles` of at most `columns`."""

    rows: int
    slabs: int
    columns: int
    tiles: int


def cut(spec: ReduceSpec) -> Slabs:
    columns = min(spec.inner, WIDEST)
    tiles = blocks(spec.inner, columns)
    most = LONGEST if spec.outer * tiles >= ENOUGH else min(LONGEST, max(64, BLOCK // columns))
    rows = blocks(spec.length, blocks(spec.length, most))  # slabs of equal size, but for the last
    return Slabs(rows, blocks(spec.length, rows), columns, tiles)


@cache
def columns_kernel(tile: Tile) -> jit.Kernel:
    sums = micro.window_mean(tile, ABREAST)

    @jit.kernel(constants=(tile,))
    def reduce_columns(task, thread, spec, g, part, x, y):
        row = spec.inner * x.itemsize
        piece, left = task // g.tiles, task % g.tiles * g.columns
        block, first = piece // g.slabs, piece % g.slabs * g.rows
        sums(
            1,
            0,
            simd.address(x) + (block * spec.length + first) * row + left * x.itemsize,
            0,
            row,
            1,
            min(g.rows, spec.length - first),
            y.dtype.type(part),
            simd.address(y) + piece * row + left * x.itemsize,
            min(g.columns, spec.inner - left),
        )

    return reduce_columns


def levels(spec: ReduceSpec) -> list[ReduceSpec]:
    """The sums that lead from `spec` to one row a block: of x, then of the slabs' sums."""
    found = [spec]
    while (slabs := cut(found[-1]).slabs) > 1:
        found.append(ReduceSpec(spec.outer, slabs, spec.inner))
    return found


def scratch(spec: ReduceSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    return {
        f"sums{i}": Scratch((level.outer * level.length * level.inner,), dtype)
        for i, level in enumerate(levels(spec)[1:])
    }


@cache
def impl(function: str) -> Impl:
    def accepts(spec: ReduceSpec, dtype: str, caps: Caps) -> str | None:
        if dtype not in ITEM:
            return f"not for {dtype}"
        if spec.inner < FEWEST:
            return "few columns"
        return "no rows" if spec.length == 0 else None

    def bind(spec: ReduceSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict) -> list:
        x, y, steps = flat(inputs[0]), flat(outputs[0]), levels(spec)
        kernel = columns_kernel(register_tile(caps, x.dtype.name))
        calls = []
        for i, level in enumerate(steps):
            last, g = i == len(steps) - 1, cut(level)
            target = y if last else scratch[f"sums{i}"]
            part = 1.0 / spec.length if last and function == "mean" else 1.0
            tasks = level.outer * g.slabs * g.tiles
            calls.append(Call(kernel, tasks, (level, g, part, x, target)))
            x = target
        return calls

    return Impl("columns", accepts, bind, scratch)
