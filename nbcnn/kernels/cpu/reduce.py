"""Reductions of (outer, length, inner) over `length`: sum, mean, product, extremes, arg-max, arg-
min.

One scheme for every shape. A task folds a slab: some rows j of one outer block, up to 512 columns
k. It keeps one running result per column, and where columns are few, one per column of several rows
side by side, so that the innermost loop is always a few hundred contiguous elements:

    wide[p * inner + k] = f(wide[..], x[first + ..])       p < repeat

and LLVM vectorizes it whatever `inner` is (a bias gradient has 6 columns, a total has 1). At the
end the halves of `wide` are folded together until one row remains. If there is more than one slab,
its result is a partial one and the same kernel reduces the partials. Sums of float32 stay in
float32: a lane adds about 32 numbers, the rest is a tree, so the error is that of pairwise
summation. Slabs follow from the shape: same bits at any number of threads.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from nbcnn.kernels.cpu import jit, reduce_columns, reduce_rows
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.cpu.shares import BLOCK, blocks, flat
from nbcnn.kernels.cpu.simd_streams import fetch, put
from nbcnn.kernels.impl import Impl, Scratch, always
from nbcnn.ops.reduce import Reduce, ReduceSpec

WIDE = 512  # running results of a task


class Slabs(NamedTuple):
    """How a reduction is cut: `per` outer blocks a task, or else `slabs` x `tiles` tasks an outer
    block.
    """

    per: int
    rows: int  # j a slab
    slabs: int
    columns: int  # k a tile
    tiles: int
    repeat: int  # rows side by side


def cut(spec: ReduceSpec) -> Slabs:
    length, inner = spec.length, spec.inner
    columns = max(1, min(inner, WIDE))
    tiles = max(1, blocks(inner, columns))
    width = min(
        WIDE, max(64, length * inner // 512 * 64)
    )  # short rows would spend their time folding
    repeat = max(1, min(length, width // columns)) if tiles == 1 else 1
    rows = max(1, BLOCK // (columns * repeat)) * repeat
    slabs = max(1, blocks(length, rows))
    per = max(1, BLOCK // max(1, length * inner)) if slabs == tiles == 1 else 1
    return Slabs(per, rows, slabs, columns, tiles, repeat)


def _add(a, b):
    return a + b


def _multiply(a, b):
    return a * b


def _larger(a, b):
    return a if a >= b or a != a else b


def _smaller(a, b):
    return a if a <= b or a != a else b


COMBINE = {"sum": _add, "prod": _multiply, "max": _larger, "min": _smaller}


def identity(function: str, dtype: str) -> int | float:
    """What leaves the other operand as it is."""
    if function in ("sum", "prod"):
        return int(function == "prod")
    sign = -1 if function == "max" else 1
    if np.dtype(dtype).kind == "f":
        return sign * np.inf
    limits = np.iinfo(dtype)
    return int(limits.min if function == "max" else limits.max)


@cache
def fold_kernel(function: str, dtype: str) -> jit.Kernel:
    """`dtype`: type of the running results. Sums of floats are divided by `count`, which is 1 but
    for means.
    """
    combine, number = jit.always_inline(COMBINE[function]), np.dtype(dtype).type
    start, divided = number(identity(function, dtype)), function == "sum" and dtype[0] == "f"

    @jit.kernel(constants=(function, dtype))
    def fold(task, thread, spec, g, count, x, scratch, y):
        wide = scratch[thread]
        pieces = g.slabs * g.tiles
        first = task // pieces * g.per
        slab, tile = task % pieces // g.tiles, task % g.tiles
        j0, k0 = slab * g.rows, tile * g.columns
        rows, columns = min(g.rows, spec.length - j0), min(g.columns, spec.inner - k0)
        width = columns * g.repeat
        for block in range(first, min(first + g.per, spec.outer)):
            at = (block * spec.length + j0) * spec.inner + k0
            for k in range(width):
                wide[k] = start
            for j in range(0, rows, g.repeat):
                for k in range(min(width, (rows - j) * columns)):
                    put(wide, k, combine(wide[k], number(fetch(x, at + k))), 0)
                at += g.repeat * spec.inner
            left = g.repeat
            while left > 1:
                half = left // 2
                left -= half
                for k in range(half * columns):
                    wide[k] = combine(wide[k], wide[left * columns + k])
            out = (block * g.slabs + slab) * spec.inner + k0
            for k in range(columns):
                y[out + k] = wide[k] / number(count) if divided else wide[k]

    return fold


def running_type(function: str, dtype: str) -> str:
    """Of running results. Rounding adds up along a product, where no tree helps: it is taken in
    float64.
    """
    if function in ("max", "min"):
        return "uint8" if dtype == "bool" else dtype
    if np.dtype(dtype).kind == "f":
        return "float64" if function == "prod" else dtype
    return "float64" if function == "mean" else "int64"


def levels(spec: ReduceSpec) -> list[ReduceSpec]:
    """The reductions that lead from `spec` to one result: of x, then of partial results."""
    found = [spec]
    while (slabs := cut(found[-1]).slabs) > 1:
        found.append(ReduceSpec(spec.outer, slabs, spec.inner))
    return found


def partial_scratch(spec: ReduceSpec, dtype: str, caps) -> dict[str, Scratch]:
    """What `fold_calls` needs, for running results of this type."""
    parts = {
        f"parts{i}": Scratch((spec.outer * level.length * spec.inner,), dtype)
        for i, level in enumerate(levels(spec)[1:])
    }
    return {"wide": Scratch((caps.threads, WIDE), dtype), **parts}


def fold_calls(function: str, spec: ReduceSpec, x, y, scratch: dict) -> list[Call]:
    """The calls that reduce flat x to flat y."""
    calls, source, steps = [], x, levels(spec)
    dtype = scratch["wide"].dtype.name
    for i, level in enumerate(steps):
        last = i == len(steps) - 1
        target = y if last else scratch[f"parts{i}"]
        kernel = fold_kernel("sum" if function == "mean" else function, dtype)
        count = spec.length if last and function == "mean" else 1
        g = cut(level)
        tasks = blocks(level.outer, g.per) * g.slabs * g.tiles if level.inner else 0
        calls.append(Call(kernel, tasks, (level, g, count, source, scratch["wide"], target)))
        source = target
    return calls


@cache
def fold_impl(function: str) -> Impl:
    def scratch(spec: ReduceSpec, dtype: str, caps) -> dict[str, Scratch]:
        return partial_scratch(spec, running_type(function, dtype), caps)

    def bind(spec: ReduceSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict) -> list:
        return fold_calls(function, spec, flat(inputs[0]), flat(outputs[0]), scratch)

    return Impl("slabs", always, bind, scratch)


@cache
def arg_kernel(function: str) -> jit.Kernel:
    largest = function == "argmax"

    @jit.kernel(constants=(function,))
    def arg(task, thread, spec, per, x, y):
        length, inner = spec.length, spec.inner
        for out in range(task * per, min((task + 1) * per, spec.outer * inner)):
            first = out // inner * length * inner + out % inner
            best, found = x[first], 0
            for j in range(1, length):
                value = x[first + j * inner]
                ahead = value > best if largest else value < best
                if ahead or (value != value and best == best):  # NaN wins, the first one
                    best, found = value, j
            y[out] = found

    return arg


@cache
def arg_impl(function: str) -> Impl:
    def bind(
        spec: ReduceSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
    ) -> list[Call]:
        per = max(1, BLOCK // max(1, spec.length))
        tasks = blocks(spec.outer * spec.inner, per)
        args = (spec, per, flat(inputs[0]), flat(outputs[0]))
        return [Call(arg_kernel(function), tasks, args)]

    return Impl("scan", always, bind)


def reduce_impls(op: Reduce) -> tuple[Impl, ...]:
    if op.function in ("argmax", "argmin"):
        return (arg_impl(op.function),)
    slabs = fold_impl(op.function)
    found = [reduce_rows.impl(op.function)] if op.function in reduce_rows.ROW else []
    if op.function in reduce_columns.FUNCTIONS:
        found.append(reduce_columns.impl(op.function))
    return (*found, slabs)


@jit.kernel
def reduce_extreme_dx(task, thread, spec, per, x, y, dy, dx):
    """Two passes over each column: count the elements equal to the extreme, then share."""
    length, inner = spec.length, spec.inner
    number = dx.dtype.type
    for out in range(task * per, min((task + 1) * per, spec.outer * inner)):
        first = out // inner * length * inner + out % inner
        count = 0
        for j in range(length):
            count += x[first + j * inner] == y[out]
        share = dy[out] / number(count)
        for j in range(length):
            at = first + j * inner
            dx[at] = share if x[at] == y[out] else number(0)


def bind_reduce_extreme_dx(
    spec: ReduceSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    per = max(1, BLOCK // max(1, spec.length))
    args = (spec, per, *map(flat, inputs), flat(outputs[0]))
    return [Call(reduce_extreme_dx, blocks(spec.outer * spec.inner, per), args)]


extreme_dx_impl = Impl("scan", always, bind_reduce_extreme_dx)
