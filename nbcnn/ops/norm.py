"""Batch normalization over all axes but the last (Ioffe & Szegedy 2015), and channelwise scale and
shift.
"""

import dataclasses
from typing import NamedTuple

from nbcnn.ops.conv_spec import SIGMOID, TANH
from nbcnn.ops.op import Op, apply
from nbcnn.ops.tensor import Node, Tensor, TensorSpec


class NormSpec(NamedTuple):
    """x is (rows, c). `act`: activation id applied to y (see conv_spec); `residual`: 1 where a
    fourth input is added before it.
    """

    rows: int
    c: int
    epsilon: float
    act: int = 0
    residual: int = 0


class NormGradientSpec(NamedTuple):
    """Arrays are (rows, c); see `BatchNormGradient`."""

    rows: int
    c: int
    epsilon: float
    act: int = 0
    through_output: int = 0
    joined: int = 0
    shared: int = 0


@dataclasses.dataclass(frozen=True)
class BatchNorm(Op):
    """y = act((x - mean) / sqrt(var + epsilon) * gamma + beta) with the batch's own statistics.

    Inputs x, gamma, beta and, if `residual`, an array like x that is added before the activation.
    Outputs y, mean, var (biased, that is divided by the number of rows) and the line that was
    applied, three rows: y = act((x - line[0]) * line[1] + line[2]). From it the gradient tells
    where relu was open without reading y.
    """

    name = "batchnorm"
    epsilon: float = 1e-3
    act: int = 0
    residual: bool = False

    def infer(self, x: TensorSpec, *others: TensorSpec) -> tuple[TensorSpec, ...]:
        c = TensorSpec(x.shape[-1:], x.dtype)
        return (x, c, c, TensorSpec((3, *x.shape[-1:]), x.dtype))

    def spec(self, x: TensorSpec, *others: TensorSpec) -> NormSpec:
        return NormSpec(*_rows(x), self.epsilon, self.act, int(self.residual))

    def gradient(self, node: Node, *dys: Tensor | None):
        """The statistics are taken as results without gradient (they feed moving averages only)."""
        x, gamma, *_ = node.inputs
        y, mean, var, line = node.outputs
        if dys[0] is None:
            return [None] * len(node.inputs)
        through = self.residual or self.act in (SIGMOID, TANH)
        op = BatchNormGradient(self.epsilon, self.act, through_output=through, shared=self.residual)
        return list(apply(op, x, dys[0], gamma, mean, var, line, *([y] if through else [])))

    def flops(self, x: TensorSpec, *others: TensorSpec) -> int:
        return (7 if self.residual else 6) * x.size


@dataclasses.dataclass(frozen=True)
class BatchNormGradient(Op):
    """dx, dgamma, dbeta from x, dy, gamma, mean, var and the line that was applied.

    With g = dy * act'(y), s = 1 / sqrt(var + epsilon), h = (x - mean) * s:
    dbeta = sum g, dgamma = sum g h, dx = gamma s (g - dbeta / rows - h dgamma / rows).

    through_output: y follows as an input, and act' is taken from it. Otherwise `act` is linear or
    relu, whose slope follows from x and the line. joined: one more input, the last, is added to
    dy. shared: g is a further output, the gradient of what was added before the activation.
    """

    name = "batchnorm_dx"
    epsilon: float = 1e-3
    act: int = 0
    through_output: bool = False
    joined: bool = False
    shared: bool = False

    def infer(self, x: TensorSpec, *others: TensorSpec) -> tuple[TensorSpec, ...]:
        c = TensorSpec(x.shape[-1:], x.dtype)
        return (x, c, c, x) if self.shared else (x, c, c)

    def spec(self, x: TensorSpec, *others: TensorSpec) -> NormGradientSpec:
        flags = (int(f) for f in (self.through_output, self.joined, self.shared))
        return NormGradientSpec(*_rows(x), self.epsilon, self.act, *flags)

    def flops(self, x: TensorSpec, *others: TensorSpec) -> int:
        return 10 * x.size


def _rows(x: TensorSpec) -> tuple[int, int]:
    """(rows, channels) of an array."""
    c = x.shape[-1]
    return x.size // max(c, 1), c


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
        return NormSpec(*_rows(x), 0.0, self.act)

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
