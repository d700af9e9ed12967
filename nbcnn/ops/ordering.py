"""Running sums and products, and the order of values along an axis."""

import dataclasses
from typing import NamedTuple

import numpy as np

from nbcnn.ops.elementwise import Where, binary
from nbcnn.ops.op import Op, apply
from nbcnn.ops.tensor import Node, Tensor, TensorSpec


class CumulativeSpec(NamedTuple):
    """y[o,j,i] = f of x[o,0..j,i], or, where `reverse` is 1, of x[o,j..,i]."""

    outer: int
    length: int
    inner: int
    reverse: int


@dataclasses.dataclass(frozen=True)
class Cumulative(Op):
    """The sum or product ("sum", "prod") of all elements up to each one along `axis`; from the end
    where `reverse`.
    """

    name = "cumulative"
    function: str
    axis: int
    reverse: bool = False

    def infer(self, x: TensorSpec) -> tuple[TensorSpec]:
        return (x,)

    def spec(self, x: TensorSpec) -> CumulativeSpec:
        outer, inner = (
            int(np.prod(part, dtype=np.int64))
            for part in (x.shape[: self.axis], x.shape[self.axis + 1 :])
        )
        return CumulativeSpec(outer, x.shape[self.axis], inner, int(self.reverse))

    def gradient(self, node: Node, *dys: Tensor | None):
        (dy,), (x,), (y,) = dys, node.inputs, node.outputs
        if self.function == "sum":
            return [self._back(dy)]
        # Before the first zero: y / x. At it: what the products would be without it. After it: 0.
        zero = binary("equal", x, 0.0)
        first = binary(
            "logical_and",
            zero,
            binary("equal", self._of("sum", apply(Where(), zero, self._one(x), 0.0)), 1.0),
        )
        without = self._of("prod", apply(Where(), first, self._one(x), x))
        usual = binary(
            "divide",
            self._back(binary("multiply", dy, y)),
            apply(Where(), zero, self._one(x), x),
        )
        return [apply(Where(), first, self._back(binary("multiply", dy, without)), usual)]

    @staticmethod
    def _one(x: Tensor) -> np.ndarray:
        return np.ones((), x.dtype)

    def _of(self, function: str, x: Tensor) -> Tensor:
        return apply(Cumulative(function, self.axis, self.reverse), x)

    def _back(self, dy: Tensor | None) -> Tensor:
        return apply(Cumulative("sum", self.axis, not self.reverse), dy)

    def flops(self, x: TensorSpec) -> int:
        return x.size


class ArgsortSpec(NamedTuple):
    """x is (rows, length)."""

    rows: int
    length: int
    descending: int


@dataclasses.dataclass(frozen=True)
class Argsort(Op):
    """The numbers (int32) of the elements along the last axis, least first, or largest first where
    `descending`. Equal elements stay in order; NaN counts as larger than all numbers.
    """

    name = "argsort"
    descending: bool = False

    def infer(self, x: TensorSpec) -> tuple[TensorSpec]:
        return (TensorSpec(x.shape, "int32"),)

    def spec(self, x: TensorSpec) -> ArgsortSpec:
        length = x.shape[-1]
        return ArgsortSpec(x.size // max(length, 1), length, int(self.descending))
