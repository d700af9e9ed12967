"""Global response normalization over the places of a map (Woo et al. 2023)."""

import dataclasses
import math
from typing import NamedTuple

from nbcnn.ops.op import Op, apply
from nbcnn.ops.tensor import Node, Tensor, TensorSpec


class GlobalResponseSpec(NamedTuple):
    """x is (n, rows, c): the rows of a sample are its places."""

    n: int
    rows: int
    c: int
    epsilon: float


@dataclasses.dataclass(frozen=True)
class GlobalResponseOp(Op):
    epsilon: float = 1e-6

    def spec(self, x: TensorSpec, *others: TensorSpec) -> GlobalResponseSpec:
        n, *places, c = x.shape
        return GlobalResponseSpec(n, math.prod(places), c, self.epsilon)


@dataclasses.dataclass(frozen=True)
class GlobalResponse(GlobalResponseOp):
    """y = x (gamma G / (mean over channels of G + epsilon) + 1) + beta, with G the Euclidean norm
    of each channel over the places of a sample.

    Inputs x (n, ..., c), gamma, beta (c,); outputs y and G (n, c), which the gradient reads.
    """

    name = "global_response"

    def infer(self, x: TensorSpec, gamma: TensorSpec, beta: TensorSpec) -> tuple[TensorSpec, ...]:
        return (x, TensorSpec((x.shape[0], x.shape[-1]), x.dtype))

    def gradient(self, node: Node, *dys: Tensor | None):
        x, gamma, _ = node.inputs
        return list(apply(GlobalResponseGradient(self.epsilon), x, dys[0], gamma, node.outputs[1]))

    def flops(self, x: TensorSpec, *others: TensorSpec) -> int:
        return 4 * x.size


@dataclasses.dataclass(frozen=True)
class GlobalResponseGradient(GlobalResponseOp):
    """dx, dgamma, dbeta from x, dy, gamma and the norms G.

    With D = 1 / (mean of G + epsilon), N = G D, P and B the sums over places of dy x and dy:
    dgamma = sum over samples of P N, dbeta = that of B, dG = D (gamma P - D mean(gamma P G)),
    dx = dy (gamma N + 1) + x dG / G, where G is not 0.
    """

    name = "global_response_dx"

    def infer(
        self, x: TensorSpec, dy: TensorSpec, gamma: TensorSpec, norms: TensorSpec
    ) -> tuple[TensorSpec, ...]:
        return (x, gamma, gamma)

    def flops(self, x: TensorSpec, *others: TensorSpec) -> int:
        return 8 * x.size
