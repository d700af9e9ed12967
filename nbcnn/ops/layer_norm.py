"""Layer normalization over the last axes (Ba, Kiros & Hinton 2016)."""

import dataclasses
import math
from typing import NamedTuple

from nbcnn.ops.op import Op, apply
from nbcnn.ops.tensor import Node, Tensor, TensorSpec


class LayerNormSpec(NamedTuple):
    """x is (rows, c); every row has a mean and a variance of its own."""

    rows: int
    c: int
    epsilon: float


@dataclasses.dataclass(frozen=True)
class LayerNormOp(Op):
    """`axes`: how many of the last axes a row of numbers spans."""

    axes: int = 1
    epsilon: float = 1e-3

    def rows(self, x: TensorSpec) -> TensorSpec:
        """A number for every row."""
        return TensorSpec(x.shape[: len(x.shape) - self.axes], x.dtype)

    def columns(self, x: TensorSpec) -> TensorSpec:
        """A number for every place in a row."""
        return TensorSpec(x.shape[len(x.shape) - self.axes :], x.dtype)

    def spec(self, x: TensorSpec, *others: TensorSpec) -> LayerNormSpec:
        rows, columns = self.rows(x).shape, self.columns(x).shape
        return LayerNormSpec(math.prod(rows), math.prod(columns), self.epsilon)


@dataclasses.dataclass(frozen=True)
class LayerNorm(LayerNormOp):
    """y = (x - mean) / sqrt(var + epsilon) * gamma + beta.

    Inputs x, gamma, beta; outputs y, mean and 1 / sqrt(var + epsilon), which the gradient reads.
    """

    name = "layernorm"

    def infer(self, x: TensorSpec, gamma: TensorSpec, beta: TensorSpec) -> tuple[TensorSpec, ...]:
        return (x, self.rows(x), self.rows(x))

    def gradient(self, node: Node, *dys: Tensor | None):
        x, gamma, _ = node.inputs
        _, mean, scale = node.outputs
        op = LayerNormGradient(self.axes, self.epsilon)
        return list(apply(op, x, dys[0], gamma, mean, scale))

    def flops(self, x: TensorSpec, *others: TensorSpec) -> int:
        return 7 * x.size


@dataclasses.dataclass(frozen=True)
class LayerNormGradient(LayerNormOp):
    """dx, dgamma, dbeta from x, dy, gamma, mean and s = 1 / sqrt(var + epsilon).

    With h = (x - mean) s and g = dy gamma, means over a row and sums over the rows:
    dx = s (g - mean g - h mean(g h)), dgamma = sum dy h, dbeta = sum dy.
    """

    name = "layernorm_dx"

    def infer(self, x: TensorSpec, *others: TensorSpec) -> tuple[TensorSpec, ...]:
        return (x, self.columns(x), self.columns(x))

    def flops(self, x: TensorSpec, *others: TensorSpec) -> int:
        return 14 * x.size
