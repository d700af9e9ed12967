"""Reductions over axes: sum, mean, max, min, product, arg-max, arg-min."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nbcnn.ops.elementwise import Cast, Where, binary, unary
from nbcnn.ops.op import Op, apply, as_tensor
from nbcnn.ops.shape import broadcast_to, reshape
from nbcnn.ops.tensor import Node, Tensor, TensorSpec


class ReduceSpec(NamedTuple):
    """y[i,k] = f over j of x[i,j,k]: x is (outer, length, inner), contiguous."""

    outer: int
    length: int
    inner: int


@dataclasses.dataclass(frozen=True)
class Reduce(Op):
    """Reduce neighbouring axes first..last (inclusive) of x; they are kept with size 1.

    Functions: sum, mean, max, min, prod (same type as x, sums and products of booleans and short
    integers in int32), argmax, argmin (int32; the first of equal values wins).
    """

    name = "reduce"
    function: str
    first: int
    last: int

    def infer(self, x: TensorSpec) -> tuple[TensorSpec]:
        shape = tuple(1 if self.first <= i <= self.last else n for i, n in enumerate(x.shape))
        if (
            self.function in ("max", "min", "argmax", "argmin")
            and 0 in x.shape[self.first : self.last + 1]
        ):
            raise ValueError(
                f"{self.function}: cannot reduce an axis of size 0, got shape {x.shape}"
            )
        dtype = x.dtype
        if self.function in ("argmax", "argmin"):
            dtype = "int32"
        elif self.function == "mean" and np.dtype(dtype).kind != "f":
            dtype = "float32"
        elif self.function in ("sum", "prod") and np.dtype(dtype).kind in "biu":
            dtype = np.promote_types(dtype, "int32").name
        return (TensorSpec(shape, dtype),)

    def spec(self, x: TensorSpec) -> ReduceSpec:
        sizes = [int(np.prod(part, dtype=np.int64)) for part in self._parts(x.shape)]
        return ReduceSpec(*sizes)

    def _parts(self, shape: tuple[int, ...]):
        return shape[: self.first], shape[self.first : self.last + 1], shape[self.last + 1 :]

    def gradient(self, node: Node, *dys: Tensor | None):
        (dy,) = dys
        (x,), (y,) = node.inputs, node.outputs
        if self.function == "sum":
            return [broadcast_to(dy, x.shape)]
        if self.function == "mean":
            count = int(np.prod(self._parts(x.spec.shape)[1], dtype=np.int64))
            return [broadcast_to(binary("multiply", dy, 1.0 / count), x.shape)]
        if self.function in ("max", "min"):
            return [apply(ReduceExtremeGradient(self.first, self.last), x, y, dy)]
        if self.function == "prod":
            return [binary("multiply", dy, self._product_of_others(x, y))]
        return [None]

    def _product_of_others(self, x: Tensor, y: Tensor) -> Tensor:
        """For each element the product of all others: y / x, but where there are zeros that is 0,
        or for a single zero what is left without it.
        """
        zero = binary("equal", x, 0.0)
        filled = apply(Where(), zero, 1.0, x)
        zeros = apply(Reduce("sum", self.first, self.last), apply(Cast(x.dtype), zero))
        left = apply(Reduce("prod", self.first, self.last), filled)
        at_zero = apply(Where(), binary("equal", zeros, 1.0), left, 0.0)
        return apply(Where(), zero, at_zero, binary("divide", y, filled))

    def flops(self, x: TensorSpec) -> int:
        return x.size


@dataclasses.dataclass(frozen=True)
class ReduceExtremeGradient(Op):
    """dx of a maximum or minimum y of x: dy shared equally among the elements equal to it."""

    name = "reduce_extreme_dx"
    first: int
    last: int

    def infer(self, x: TensorSpec, y: TensorSpec, dy: TensorSpec) -> tuple[TensorSpec]:
        return (x,)

    def spec(self, x: TensorSpec, y: TensorSpec, dy: TensorSpec) -> ReduceSpec:
        return Reduce("max", self.first, self.last).spec(x)

    def gradient(self, node: Node, *dys: Tensor | None):
        (x, y, _), (g,), total = node.inputs, dys, Reduce("sum", self.first, self.last)
        hit = apply(Cast(x.dtype), binary("equal", x, y))
        shared = binary("divide", apply(total, binary("multiply", g, hit)), apply(total, hit))
        return [None, None, shared]


def normalize_axes(axis: int | Sequence[int] | None, rank: int, what: str) -> list[int]:
    """Sorted non-negative axes; None means all."""
    return sorted(ordered_axes(axis, rank, what))


def ordered_axes(axis: int | Sequence[int] | None, rank: int, what: str) -> list[int]:
    """Non-negative axes in the order given; None means all."""
    if axis is None:
        return list(range(rank))
    several = isinstance(axis, (list, tuple, range, np.ndarray))
    axes: list[Any] = list(axis) if several else [axis]  # type: ignore[arg-type]
    for a in axes:
        if not isinstance(a, (int, np.integer)):
            raise TypeError(f"{what}: axis must be an integer or a list of them, got {axis!r}")
        if not -rank <= a < rank:
            raise ValueError(f"{what}: axis {a} is out of range for an array of {rank} axes")
    normal = [int(a) % rank for a in axes]
    if len(set(normal)) != len(normal):
        raise ValueError(f"{what}: axis {axis} names an axis twice")
    return normal


def reduce(
    function: str, x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False
) -> Any:
    """Reduce any set of axes: one node per run of neighbouring axes."""
    x = x if hasattr(x, "shape") else as_tensor(x)
    axes = normalize_axes(axis, len(x.shape), function)
    y = x
    if not axes and function in ("sum", "mean", "max", "min", "prod"):
        return unary("identity", y)
    runs = _runs(axes)
    if function in ("sum", "mean", "max", "min", "prod"):
        runs = [(a, b) for a, b in runs if any(n != 1 for n in x.shape[a : b + 1])] or runs[:1]
    for first, last in reversed(runs):
        y = apply(Reduce(function, first, last), y)
    if keepdims:
        return y
    kept = tuple(n for i, n in enumerate(y.shape) if i not in axes)
    return (
        reshape(y, tuple(-1 if n is None else n for n in kept))
        if _one_unknown(kept)
        else _squeeze(y, axes)
    )


def _one_unknown(shape: Sequence[int | None]) -> bool:
    return sum(n is None for n in shape) <= 1 and 0 not in shape


def _squeeze(y: Any, axes: list[int]) -> Any:
    from nbcnn.ops.shape import squeeze

    return squeeze(y, tuple(axes))


def _runs(axes: list[int]) -> list[tuple[int, int]]:
    """Sorted axes as (first, last) runs of neighbours."""
    runs: list[list[int]] = []
    for a in axes:
        if runs and runs[-1][1] == a - 1:
            runs[-1][1] = a
        else:
            runs.append([a, a])
    return [(a, b) for a, b in runs]


def argreduce(function: str, x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    if axis is None:
        x = x if hasattr(x, "shape") else as_tensor(x)
        rank = len(x.shape)
        flat = reshape(x, (-1,))
        y = apply(Reduce(function, 0, 0), flat)
        return reshape(y, (1,) * rank if keepdims else ())
    if not isinstance(axis, (int, np.integer)):
        raise TypeError(f"{function}: axis must be None or an integer, got {axis!r}")
    return reduce(function, x, axis, keepdims)


def sum_to_shape(x: Tensor, shape: tuple[int | None, ...]) -> Tensor:
    """Undo broadcasting: sum x over the axes that `shape` does not have or has with size 1."""
    if x.shape == shape:
        return x
    extra = len(x.shape) - len(shape)
    axes = [i for i, n in enumerate(x.shape) if i < extra or (shape[i - extra] == 1 and n != 1)]
    y = reduce("sum", x, axes, keepdims=True) if axes else x
    return reshape(y, shape) if extra else y


def size_of(x: Any) -> int:
    return int(np.prod(as_tensor(x).spec.shape, dtype=np.int64))
