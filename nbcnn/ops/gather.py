"""Elements that are picked, or collected, by numbers in an array."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from nbcnn.ops.elementwise import Cast, Where, binary
from nbcnn.ops.op import Op, apply
from nbcnn.ops.tensor import Node, Tensor, TensorSpec

# How values that go to the same place are joined.
JOINS = {"sum": "add", "max": "maximum", "min": "minimum", "prod": "multiply"}


class GatherSpec(NamedTuple):
    """y[o,j,i] = x[o, k, i] of x (outer, length, inner) and y (outer, picks, inner), where k is
    indices[j], or, where `along` is 1, indices[o,j,i].

    A scatter goes the other way, from y to x, and starts from `start`.
    """

    outer: int
    length: int
    inner: int
    picks: int
    along: int = 0
    start: float = 0.0


@dataclasses.dataclass(frozen=True)
class Indexed(Op):
    """What picking and collecting along an axis share."""

    axis: int
    along: bool = False  # indices have the shape of what is picked; else they replace the axis

    def _count(self, indices: TensorSpec, rank: int) -> int:
        return indices.shape[self.axis] if self.along else indices.size

    def _spec(self, x: tuple[int, ...], indices: TensorSpec, start: float = 0.0) -> GatherSpec:
        outer, inner = (
            int(np.prod(part, dtype=np.int64)) for part in (x[: self.axis], x[self.axis + 1 :])
        )
        count = self._count(indices, len(x))
        return GatherSpec(outer, x[self.axis], inner, count, int(self.along), start)

    def _picked(self, x: tuple[int, ...], indices: TensorSpec) -> tuple[int, ...]:
        """The shape of what these indices pick."""
        if np.dtype(indices.dtype).kind not in "iu":
            raise TypeError(f"{self.name}: indices must be integers, got {indices.dtype}")
        if not self.along:
            return (*x[: self.axis], *indices.shape, *x[self.axis + 1 :])
        others = [s[: self.axis] + s[self.axis + 1 :] for s in (x, indices.shape)]
        if others[0] != others[1]:
            raise ValueError(
                f"{self.name}: indices of shape {indices.shape} do not fit {x} along {self.axis}"
            )
        return indices.shape


@dataclasses.dataclass(frozen=True)
class Gather(Indexed):
    """y: the elements of x along `axis` that have the numbers in `indices`. Inputs x, indices.

    Numbers below 0 read the first element, those beyond the end the last.
    """

    name = "gather"

    def infer(self, x: TensorSpec, indices: TensorSpec) -> tuple[TensorSpec]:
        shape = self._picked(x.shape, indices)
        if x.shape[self.axis] == 0 and indices.size:
            raise ValueError(f"gather: axis {self.axis} of {x.shape} has no elements")
        return (TensorSpec(shape, x.dtype),)

    def spec(self, x: TensorSpec, indices: TensorSpec) -> GatherSpec:
        return self._spec(x.shape, indices)

    def gradient(self, node: Node, *dys: Tensor | None):
        x, indices = node.inputs
        size = x.spec.shape[self.axis]
        inside = binary("minimum", binary("maximum", indices, 0), size - 1)
        return [apply(Scatter(self.axis, self.along, "sum", size), dys[0], inside), None]


@dataclasses.dataclass(frozen=True)
class Scatter(Indexed):
    """y[.., k, ..] joins the values whose index is k, for k < `size`. Inputs values, indices.

    Functions: sum, max, min, prod. Where there are no values: 0, -inf, inf, 1; of integers the
    least or the largest. Values with other indices are left out.
    """

    name = "scatter"
    function: str = "sum"
    size: int = 0

    def infer(self, values: TensorSpec, indices: TensorSpec) -> tuple[TensorSpec]:
        shape = self._shape(values, indices)
        if self._picked(shape, indices) != values.shape:
            raise ValueError(
                f"scatter: values of shape {values.shape} do not fit indices of {indices.shape} "
                f"along {self.axis}"
            )
        return (TensorSpec(shape, values.dtype),)

    def _shape(self, values: TensorSpec, indices: TensorSpec) -> tuple[int, ...]:
        width = 1 if self.along else len(indices.shape)
        rest = values.shape[self.axis + width :]
        return (*values.shape[: self.axis], self.size, *rest)

    def spec(self, values: TensorSpec, indices: TensorSpec) -> GatherSpec:
        start = start_of(self.function, values.dtype)
        return self._spec(self._shape(values, indices), indices, start)

    def gradient(self, node: Node, *dys: Tensor | None):
        (dy,), (y,), (values, indices) = dys, node.outputs, node.inputs
        assert dy is not None
        own = self._back(dy, indices)
        if self.function in ("max", "min"):
            # Shared equally, as by other maxima.
            hit = apply(Cast(dy.dtype), binary("equal", values, self._back(y, indices)))
            hits = self._back(self._join("sum", hit, indices), indices)
            own = binary("divide", binary("multiply", own, hit), hits)
        elif self.function == "prod":
            own = binary("multiply", own, self._product_of_others(values, indices, y))
        inside = self._inside(indices, values)
        return [apply(Where(), inside, own, 0.0), None]

    def _back(self, y: Tensor, indices: Tensor) -> Tensor:
        return apply(Gather(self.axis, self.along), y, indices)

    def _join(self, function: str, values: Tensor, indices: Tensor) -> Tensor:
        return apply(Scatter(self.axis, self.along, function, self.size), values, indices)

    def _inside(self, indices: Tensor, values: Tensor) -> Tensor:
        """Where values count, in a shape that broadcasts to theirs."""
        from nbcnn.ops.shape import reshape

        inside = binary(
            "logical_and", binary("greater_equal", indices, 0), binary("less", indices, self.size)
        )
        if self.along:
            return inside
        rest = len(values.shape) - self.axis - len(indices.shape)
        return reshape(inside, (*indices.spec.shape, *(1,) * rest))

    def _product_of_others(self, values: Tensor, indices: Tensor, y: Tensor) -> Tensor:
        """As in `Reduce`: where there are zeros, that is 0, or for a single zero what is left."""
        zero = binary("equal", values, 0.0)
        filled = apply(Where(), zero, 1.0, values)
        zeros = self._join("sum", apply(Cast(values.dtype), zero), indices)
        left = self._join("prod", filled, indices)
        single = apply(Where(), binary("equal", zeros, 1.0), left, 0.0)
        return apply(
            Where(),
            zero,
            self._back(single, indices),
            binary("divide", self._back(y, indices), filled),
        )


def start_of(function: str, dtype: str) -> float:
    """What a scatter gives where there are no values."""
    kind = np.dtype(dtype)
    if function in ("sum", "prod"):
        return 0.0 if function == "sum" else 1.0
    if kind.kind == "f":
        return float("-inf") if function == "max" else float("inf")
    if kind.kind == "b":
        return 0.0 if function == "max" else 1.0
    limits = np.iinfo(kind)
    # The largest int64 is no float; this is the last one below.
    return float(limits.min if function == "max" else min(limits.max, 2**63 - 1024))


def gather(x: Any, indices: Any, axis: int, along: bool = False) -> Any:
    return apply(Gather(axis, along), x, indices)
