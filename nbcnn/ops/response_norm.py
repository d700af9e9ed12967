"""Local response normalization over neighbouring channels (Krizhevsky, Sutskever & Hinton 2012)."""

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np

from nbcnn.ops.elementwise import of_one_type
from nbcnn.ops.op import Op, apply
from nbcnn.ops.tensor import Node, Tensor, TensorSpec


class ResponseNormSpec(NamedTuple):
    """y = x d^-beta with d[i] = k + alpha sum of x[j]^2 over |j - i| <= size // 2, in rows of c."""

    rows: int
    c: int
    size: int
    alpha: float
    beta: float
    k: float


@dataclasses.dataclass(frozen=True)
class ResponseNormOp(Op):
    """`alpha` is a factor of the sum of squares, not of their mean."""

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 2.0

    def spec(self, x: TensorSpec, *others: TensorSpec) -> ResponseNormSpec:
        *rows, c = x.shape
        size = max(1, min(self.size, 2 * c - 1))  # all channels are in the window of each
        return ResponseNormSpec(math.prod(rows), c, size, self.alpha, self.beta, self.k)


@dataclasses.dataclass(frozen=True)
class ResponseNorm(ResponseNormOp):
    """y from x; rows are along the last axis."""

    name = "response_norm"

    def infer(self, x: TensorSpec) -> tuple[TensorSpec]:
        if not x.shape:
            raise ValueError("local_response_normalization: x must have an axis, got a number")
        return (x,)

    def gradient(self, node: Node, *dys: Tensor | None):
        op = ResponseNormGradient(self.size, self.alpha, self.beta, self.k)
        return [apply(op, node.inputs[0], dys[0])]

    def flops(self, x: TensorSpec) -> int:
        return (self.size + 6) * x.size


@dataclasses.dataclass(frozen=True)
class ResponseNormGradient(ResponseNormOp):
    """dx[i] = dy[i] d[i]^-beta - 2 alpha beta x[i] sum over |j - i| <= size // 2 of
    dy[j] x[j] d[j]^(-beta - 1), from x and dy.

    d is computed again: that is less than reading it from memory.
    """

    name = "response_norm_dx"

    def infer(self, x: TensorSpec, dy: TensorSpec) -> tuple[TensorSpec]:
        return (x,)

    def flops(self, x: TensorSpec, dy: TensorSpec) -> int:
        return (2 * self.size + 12) * x.size


def local_response_normalization(
    x: Any, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0
) -> Any:
    """x / (k + alpha / size * sum)^beta, the sum being of squares over `size` channels around.

    Of the last axis. `size` is odd; channels beyond the ends count as 0.

    Parameters
    ----------
    size : channels of a window, default 5.
    alpha : factor of the mean of squares, default 0.0001.
    beta : exponent, default 0.75.
    k : what is added, positive; default 2.
    """
    if not isinstance(size, (int, np.integer)) or size < 1 or size % 2 == 0:
        raise ValueError(
            f"local_response_normalization: size must be odd and positive, got {size!r}"
        )
    if k <= 0 or alpha < 0:
        raise ValueError(
            "local_response_normalization: k must be positive and alpha not negative, "
            f"got k={k}, alpha={alpha}"
        )
    op = ResponseNorm(int(size), float(alpha) / size, float(beta), float(k))
    return apply(op, *of_one_type(x, floats=True))


__all__ = ["local_response_normalization"]
