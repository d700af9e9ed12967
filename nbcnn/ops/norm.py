"""Batch normalization over all axes but the last (Ioffe & Szegedy 2015), and channelwise scale and
shift.
"""

import dataclasses
from typing import NamedTuple

from nbcnn.ops.op import Op, apply
from nbcnn.ops.tensor import Node, Tensor, TensorSpec


class NormSpec(NamedTuple):
    """x is (rows, c). `act`: activation id applied to y (see conv_spec); its gradient reads y."""

    rows: int
    c: int
    epsilon: float
    act: int = 0


@dataclasses.dataclass(frozen=True)
class BatchNorm(Op):
    """y = act((x - mean) / sqrt(var + epsilon) * gamma + beta) with the batch's own statistics.

    Inputs x, gamma, beta; outputs y, mean, var (biased, that is divided by the number of rows).
    """

    name = "batchnorm"
    epsilon: float = 1e-3
    act: int = 0

    def infer(self, x: TensorSpec, gamma: TensorSpec, beta: TensorSpec) -> tuple[TensorSpec, ...]:
        c = TensorSpec(x.shape[-1:], x.dtype)
        return (x, c, c)

    def spec(self, x: TensorSpec, *others: TensorSpec) -> NormSpec:
        c = x.shape[-1]
        return NormSpec(x.size // max(c, 1), c, self.epsilon, self.act)

    def gradient(self, node: Node, *dys: Tensor | None):
        """The statistics are taken as results without gradient (they feed moving averages only)."""
        x, gamma, _ = node.inputs
        y, mean, var = node.outputs
        if dys[0] is None:
            return [None, None, None]
        seen = (
            y if self.act else x
        )  # y is kept alive only where its activation's derivative needs it
        op = BatchNormGradient(self.epsilon, self.act)
        dx, dgamma, dbeta = apply(op, x, dys[0], gamma, mean, var, seen)
        return [dx, dgamma, dbeta]

    def flops(self, x: TensorSpec, *others: TensorSpec) -> int:
        return 6 * x.size


@dataclasses.dataclass(frozen=True)
class BatchNormGradient(Op):
    """dx, dgamma, dbeta from x, dy, gamma, mean, var and y (read only where `act` is set; else any
    array).

    With g = dy * act'(y), s = 1 / sqrt(var + epsilon), h = (x - mean) * s:
    dbeta = sum g, dgamma = sum g h, dx = gamma s (g - dbeta / rows - h dgamma / rows).
    """

    name = "batchnorm_dx"
    epsilon: float = 1e-3
    act: int = 0

    def infer(self, x: TensorSpec, *others: TensorSpec) -> tuple[TensorSpec, ...]:
        c = TensorSpec(x.shape[-1:], x.dtype)
        return (x, c, c)

    def spec(self, x: TensorSpec, *others: TensorSpec) -> NormSpec:
        c = x.shape[-1]
        return NormSpec(x.size // max(c, 1), c, self.epsilon, self.act)

    def flops(self, x: TensorSpec, *others: TensorSpec) -> int:
        return 10 * x.size


@dataclasses.dataclass(frozen=True)
class ScaleShift(Op):
    """y = act(x * scale + shift), scale and shift per channel (last axis): normalization in
    inference.
    """

    name = "scale_shift"
    act: int = 0

    def infer(self, x: TensorSpec, scale: TensorSpec, shift: TensorSpec) -> tuple[TensorSpec]:
        return (x,)

    def spec(self, x: TensorSpec, *others: TensorSpec) -> NormSpec:
        c = x.shape[-1]
        return NormSpec(x.size // max(c, 1), c, 0.0, self.act)

    def gradient(self, node: Node, *dys: Tensor | None):
        from nbcnn.ops.elementwise import binary
        from nbcnn.ops.reduce import sum_to_shape

        x, scale, shift = node.inputs
        (dy,) = dys
        assert dy is not None
        dscale = sum_to_shape(binary("multiply", dy, x), scale.shape)
        return [binary("multiply", dy, scale), dscale, sum_to_shape(dy, shift.shape)]

    def flops(self, x: TensorSpec, *others: TensorSpec) -> int:
        return 2 * x.size
