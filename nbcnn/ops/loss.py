"""Softmax and the cross-entropies, over the last axis."""

import dataclasses
from typing import NamedTuple

from nbcnn.ops.elementwise import binary, unary
from nbcnn.ops.op import Op, apply
from nbcnn.ops.reduce import reduce
from nbcnn.ops.shape import ExpandDims
from nbcnn.ops.tensor import Node, Tensor, TensorSpec

EPSILON = 1e-7  # probabilities are clipped to [EPSILON, 1 - EPSILON], as in Keras


class RowsSpec(NamedTuple):
    """x is (rows, classes)."""

    rows: int
    classes: int


def _rows(x: TensorSpec) -> RowsSpec:
    return RowsSpec(x.size // max(x.shape[-1], 1), x.shape[-1])


def _sums(x: Tensor) -> Tensor:
    """Over the last axis, which stays."""
    return reduce("sum", x, -1, True)


@dataclasses.dataclass(frozen=True)
class Softmax(Op):
    """y = exp(x - max) / sum exp(x - max)."""

    name = "softmax"

    def infer(self, x: TensorSpec) -> tuple[TensorSpec]:
        if not x.shape:
            raise ValueError("softmax: needs at least one axis, got a scalar")
        return (x,)

    def spec(self, x: TensorSpec) -> RowsSpec:
        return _rows(x)

    def gradient(self, node: Node, *dys: Tensor | None):
        return [apply(SoftmaxGradient(), node.outputs[0], dys[0])]

    def flops(self, x: TensorSpec) -> int:
        return 5 * x.size


@dataclasses.dataclass(frozen=True)
class SoftmaxGradient(Op):
    """dx = y * (dy - sum y dy)."""

    name = "softmax_dx"

    def infer(self, y: TensorSpec, dy: TensorSpec) -> tuple[TensorSpec]:
        return (y,)

    def spec(self, y: TensorSpec, dy: TensorSpec) -> RowsSpec:
        return _rows(y)

    def gradient(self, node: Node, *dys: Tensor | None):
        """It is symmetric as a matrix over dy."""
        (y, dy), (g,) = node.inputs, dys
        left = binary("multiply", g, binary("subtract", dy, _sums(binary("multiply", y, dy))))
        right = binary("multiply", dy, _sums(binary("multiply", y, g)))
        return [binary("subtract", left, right), apply(SoftmaxGradient(), y, g)]


@dataclasses.dataclass(frozen=True)
class LogSoftmax(Op):
    """y = x - max - log sum exp(x - max)."""

    name = "log_softmax"

    def infer(self, x: TensorSpec) -> tuple[TensorSpec]:
        return (x,)

    def spec(self, x: TensorSpec) -> RowsSpec:
        return _rows(x)

    def gradient(self, node: Node, *dys: Tensor | None):
        return [apply(LogSoftmaxGradient(), node.outputs[0], dys[0])]


@dataclasses.dataclass(frozen=True)
class LogSoftmaxGradient(Op):
    """dx = dy - exp(y) * sum dy."""

    name = "log_softmax_dx"

    def infer(self, y: TensorSpec, dy: TensorSpec) -> tuple[TensorSpec]:
        return (y,)

    def spec(self, y: TensorSpec, dy: TensorSpec) -> RowsSpec:
        return _rows(y)

    def gradient(self, node: Node, *dys: Tensor | None):
        (y, dy), (g,) = node.inputs, dys
        weighted = binary("multiply", g, unary("exp", y))
        by_y = unary("negative", binary("multiply", weighted, _sums(dy)))
        return [by_y, binary("subtract", g, _sums(weighted))]


@dataclasses.dataclass(frozen=True)
class SoftmaxCrossEntropy(Op):
    """loss[r] = -sum_k t[r,k] log p[r,k] with p = softmax(x). Inputs (t, x), outputs (loss, p).

    `sparse`: t (rows) holds class numbers (int32) in place of distributions; a row whose number is
    out of range has loss NaN.
    """

    name = "softmax_crossentropy"
    sparse: bool = True

    def infer(self, t: TensorSpec, x: TensorSpec) -> tuple[TensorSpec, ...]:
        expected = x.shape[:-1] if self.sparse else x.shape
        if t.shape != expected:
            raise ValueError(f"cross-entropy: expected targets of shape {expected}, got {t.shape}")
        return (TensorSpec(x.shape[:-1], x.dtype), x)

    def spec(self, t: TensorSpec, x: TensorSpec) -> RowsSpec:
        return _rows(x)

    @property
    def impl_op(self) -> str:
        return "softmax_crossentropy_sparse" if self.sparse else self.name

    def gradient(self, node: Node, *dys: Tensor | None):
        """The gradient through p joins that through the loss."""
        t, _ = node.inputs
        _, p = node.outputs
        dloss, dp = dys
        dx = None
        if dloss is not None:
            dx = apply(SoftmaxCrossEntropyGradient(self.sparse), t, p, dloss)
        if dp is not None:
            through = apply(SoftmaxGradient(), p, dp)
            dx = through if dx is None else binary("add", dx, through)
        return [None, dx]

    def flops(self, t: TensorSpec, x: TensorSpec) -> int:
        return 6 * x.size


@dataclasses.dataclass(frozen=True)
class SoftmaxCrossEntropyGradient(Op):
    """dx[r,k] = (p[r,k] sum_j t[r,j] - t[r,k]) * dloss[r]."""

    name = "softmax_crossentropy_dx"
    sparse: bool = True

    def infer(self, t: TensorSpec, p: TensorSpec, dloss: TensorSpec) -> tuple[TensorSpec]:
        return (p,)

    def spec(self, t: TensorSpec, p: TensorSpec, dloss: TensorSpec) -> RowsSpec:
        return _rows(p)

    @property
    def impl_op(self) -> str:
        return "softmax_crossentropy_sparse_dx" if self.sparse else self.name


@dataclasses.dataclass(frozen=True)
class CrossEntropy(Op):
    """loss[r] = -sum_k t[r,k] log clip(q[r,k] / sum_j q[r,j]) from probabilities q. Inputs (t, q).

    Where q comes straight from a softmax the graph replaces both by `SoftmaxCrossEntropy`.
    """

    name = "crossentropy"
    sparse: bool = True

    def infer(self, t: TensorSpec, q: TensorSpec) -> tuple[TensorSpec]:
        return (SoftmaxCrossEntropy(self.sparse).infer(t, q)[0],)

    def spec(self, t: TensorSpec, q: TensorSpec) -> RowsSpec:
        return _rows(q)

    @property
    def impl_op(self) -> str:
        return "crossentropy_sparse" if self.sparse else self.name

    def gradient(self, node: Node, *dys: Tensor | None):
        t, q = node.inputs
        return [None, apply(CrossEntropyGradient(self.sparse), t, q, dys[0])]


@dataclasses.dataclass(frozen=True)
class CrossEntropyGradient(Op):
    """dq of `CrossEntropy`; zero where the clip is active."""

    name = "crossentropy_dx"
    sparse: bool = True

    def infer(self, t: TensorSpec, q: TensorSpec, dloss: TensorSpec) -> tuple[TensorSpec]:
        return (q,)

    def spec(self, t: TensorSpec, q: TensorSpec, dloss: TensorSpec) -> RowsSpec:
        return _rows(q)

    @property
    def impl_op(self) -> str:
        return "crossentropy_sparse_dx" if self.sparse else self.name


def one_hot_compare(labels: Tensor, classes: Tensor) -> Tensor:
    """labels (...,) against class numbers (k,) -> bool (..., k)."""
    return binary("equal", apply(ExpandDims(len(labels.shape)), labels), classes)
