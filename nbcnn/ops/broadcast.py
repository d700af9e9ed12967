"""Loops over elements, as kernels receive them: flat ones, and those of broadcast operands."""

from typing import NamedTuple

import numpy as np

MAX_RANK = 6


class FlatSpec(NamedTuple):
    """A loop over n contiguous elements."""

    n: int


class BroadcastSpec(NamedTuple):
    """y[i0..i5] = f(a[sum i_k * a_k], b[sum i_k * b_k]); y is contiguous with sizes d0..d5, last
    fastest.

    Axes are merged where possible and leading sizes are 1; a stride of 0 repeats the operand.
    """

    n: int
    d0: int
    d1: int
    d2: int
    d3: int
    d4: int
    d5: int
    a0: int
    a1: int
    a2: int
    a3: int
    a4: int
    a5: int
    b0: int
    b1: int
    b2: int
    b3: int
    b4: int
    b5: int


class RowSumSpec(NamedTuple):
    """Arrays are (rows, c)."""

    rows: int
    c: int


class WhereSpec(NamedTuple):
    """As `BroadcastSpec`, with strides of condition (c), a and b. Axes are not merged."""

    n: int
    d0: int
    d1: int
    d2: int
    d3: int
    d4: int
    d5: int
    c0: int
    c1: int
    c2: int
    c3: int
    c4: int
    c5: int
    a0: int
    a1: int
    a2: int
    a3: int
    a4: int
    a5: int
    b0: int
    b1: int
    b2: int
    b3: int
    b4: int
    b5: int


def where_spec(*operands: tuple[int, ...]) -> WhereSpec:
    """Sizes of the result, and strides of condition, a and b."""
    shape = np.broadcast_shapes(*operands)
    sizes = (1,) * (MAX_RANK - len(shape)) + shape
    strides = [step for x in operands for step in broadcast_strides(x, shape)]
    return WhereSpec(int(np.prod(shape, dtype=np.int64)), *sizes, *strides)


def merged_where(spec: WhereSpec) -> WhereSpec:
    """The same selection with neighbouring axes merged where all three operands allow."""
    axes: list[list[int]] = []
    for size, *steps in zip(spec[1:7], spec[7:13], spec[13:19], spec[19:25]):
        if size == 1:
            continue
        if axes and axes[-1][1:] == [size * step for step in steps]:
            axes[-1] = [axes[-1][0] * size, *steps]
        else:
            axes.append([size, *steps])
    axes = [[1, 0, 0, 0]] * (MAX_RANK - len(axes)) + axes
    return WhereSpec(spec.n, *(axis[k] for k in range(4) for axis in axes))


def broadcast_strides(shape: tuple[int, ...], target: tuple[int, ...]) -> tuple[int, ...]:
    """Element strides of a contiguous array of `shape` read as `target`, padded in front to
    MAX_RANK axes.
    """
    strides = []
    step = 1
    for size in reversed(shape):
        strides.append(0 if size == 1 else step)
        step *= size
    return tuple(reversed(strides + [0] * (MAX_RANK - len(shape))))


def broadcast_spec(a: tuple[int, ...], b: tuple[int, ...]) -> BroadcastSpec:
    """Sizes and strides of a broadcast pair with neighbouring axes merged wherever both operands
    allow.
    """
    shape = np.broadcast_shapes(a, b)
    sizes = (1,) * (MAX_RANK - len(shape)) + shape
    merged: list[list[int]] = []  # size, stride a, stride b; outermost first
    for size, sa, sb in zip(sizes, broadcast_strides(a, shape), broadcast_strides(b, shape)):
        if size == 1:
            continue
        if merged and merged[-1][1] == sa * size and merged[-1][2] == sb * size:
            merged[-1] = [merged[-1][0] * size, sa, sb]
        else:
            merged.append([size, sa, sb])
    axes = [[1, 0, 0]] * (MAX_RANK - len(merged)) + merged
    return BroadcastSpec(
        int(np.prod(shape, dtype=np.int64)), *(axis[k] for k in range(3) for axis in axes)
    )
