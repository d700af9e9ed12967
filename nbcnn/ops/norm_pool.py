"""Batch normalization with the max pool that follows it. Only fusion makes these operations, after
differentiation.
"""

import dataclasses
from typing import NamedTuple

from nbcnn.ops.conv import window_index_dtype
from nbcnn.ops.op import Op
from nbcnn.ops.tensor import TensorSpec


class NormPoolSpec(NamedTuple):
    """x is (n, h, w, c), y (n, h // ph, w // pw, c); windows tile the map. `act`: activation id
    (see conv_spec), linear or relu.
    """

    n: int
    h: int
    w: int
    c: int
    epsilon: float
    act: int = 0
    ph: int = 2
    pw: int = 2


@dataclasses.dataclass(frozen=True)
class _BatchNormMaxPool(Op):
    epsilon: float = 1e-3
    act: int = 0
    window: tuple[int, int] = (2, 2)

    def spec(self, x: TensorSpec, *others: TensorSpec) -> NormPoolSpec:
        (n, h, w, c), (ph, pw) = x.shape, self.window
        return NormPoolSpec(n, h, w, c, self.epsilon, self.act, ph, pw)


@dataclasses.dataclass(frozen=True)
class BatchNormMaxPool(_BatchNormMaxPool):
    """y = act(max over windows of (x - mean) / sqrt(var + epsilon) * gamma + beta).

    Inputs x, gamma, beta. Outputs y, which pixel u * pw + v of the window won before `act` (the
    first of equal ones, NaN over all), and mean, var and line as `BatchNorm` has them.
    """

    name = "batchnorm_maxpool"

    def infer(self, x: TensorSpec, *others: TensorSpec) -> tuple[TensorSpec, ...]:
        (n, h, w, c), (ph, pw) = x.shape, self.window
        y, few = TensorSpec((n, h // ph, w // pw, c), x.dtype), TensorSpec((c,), x.dtype)
        winners = TensorSpec(y.shape, window_index_dtype(ph * pw))
        return y, winners, few, few, TensorSpec((3, c), x.dtype)

    def flops(self, x: TensorSpec, *others: TensorSpec) -> int:
        return 7 * x.size


@dataclasses.dataclass(frozen=True)
class BatchNormMaxPoolGradient(_BatchNormMaxPool):
    """dx, dgamma, dbeta from x, the pool's dy, winners, gamma, mean, var and the line.

    `BatchNormGradient` of a gradient that is dy at each window's winner, and zero elsewhere.
    """

    name = "batchnorm_maxpool_dx"

    def infer(self, x: TensorSpec, *others: TensorSpec) -> tuple[TensorSpec, ...]:
        few = TensorSpec(x.shape[-1:], x.dtype)
        return x, few, few

    def flops(self, x: TensorSpec, *others: TensorSpec) -> int:
        return 7 * x.size
