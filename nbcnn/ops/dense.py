"""Matrix products."""

import dataclasses
from typing import Any

import numpy as np

from nbcnn.ops import bfloat16
from nbcnn.ops.conv_spec import MatmulSpec
from nbcnn.ops.elementwise import _reduced_to, of_one_type
from nbcnn.ops.op import Op, apply, as_tensor, result_dtype
from nbcnn.ops.shape import broadcast_to, reshape, squeeze
from nbcnn.ops.tensor import Node, Tensor, TensorSpec


@dataclasses.dataclass(frozen=True)
class Matmul(Op):
    """y = act(x @ w + b) for stacks of matrices; `tx`, `tw` transpose an operand's last two axes
    first.

    Leading axes must be equal, or absent on one side (that matrix is shared). x of more than two
    axes against one shared untransposed w is a single product over all rows. Inputs x, w and, where
    `bias`, b.
    """

    name = "matmul"
    tx: bool = False
    tw: bool = False
    bias: bool = False
    act: int = 0
    bfloat16: bool = False  # operands may be rounded; see `nbcnn.ops.bfloat16`

    def infer(self, x: TensorSpec, w: TensorSpec, *b: TensorSpec) -> tuple[TensorSpec]:
        m, k = self._oriented(x.shape, self.tx)
        k2, n = self._oriented(w.shape, self.tw)
        lead = x.shape[:-2] or w.shape[:-2]
        if k != k2 or (x.shape[:-2] and w.shape[:-2] and x.shape[:-2] != w.shape[:-2]):
            raise ValueError(
                f"matmul: shapes {x.shape} and {w.shape} do not fit: {k} columns against {k2} rows"
            )
        return (TensorSpec((*lead, m, n), result_dtype(x.dtype, w.dtype)),)

    @staticmethod
    def _oriented(shape: tuple[int, ...], transposed: bool) -> tuple[int, int]:
        rows, columns = shape[-2:]
        return (columns, rows) if transposed else (rows, columns)

    def spec(self, x: TensorSpec, w: TensorSpec, *b: TensorSpec) -> MatmulSpec:
        m, k = self._oriented(x.shape, self.tx)
        n = self._oriented(w.shape, self.tw)[1]
        lead_x, lead_w = (int(np.prod(s.shape[:-2], dtype=np.int64)) for s in (x, w))
        xb, wb = int(len(x.shape) > 2), int(len(w.shape) > 2)
        batch = max(lead_x, lead_w) if (xb or wb) else 1
        if lead_x == 0 or lead_w == 0:
            batch = 0
        if xb and not wb and not self.tx:
            m, batch, xb = m * batch, 1, 0  # one tall matrix
        return MatmulSpec(
            m, n, k, int(self.tx), int(self.tw), batch, xb, wb, int(self.bias), self.act
        )

    def gradient(self, node: Node, *dys: Tensor | None):
        x, w = node.inputs
        (dy,) = dys
        assert dy is not None
        if len(x.shape) > 2 and len(w.shape) == 2 and not self.tx:
            return self._gradient_of_rows(x, w, dy)
        dx = self._of(w, dy, self.tw, True) if self.tx else self._of(dy, w, False, not self.tw)
        dw = self._of(dy, x, True, self.tx) if self.tw else self._of(x, dy, not self.tx, False)
        return [_reduced_to(dx, x), _reduced_to(dw, w)]

    def _gradient_of_rows(self, x: Tensor, w: Tensor, dy: Tensor) -> list[Tensor]:
        """Gradients of (..., k) @ (k, n) through its flat form (rows, k) @ (k, n)."""
        flat_x = reshape(x, (-1, x.shape[-1]))
        flat_dy = reshape(dy, (-1, dy.shape[-1]))
        dx = reshape(self._of(flat_dy, w, False, not self.tw), x.shape)
        a, b = (flat_dy, flat_x) if self.tw else (flat_x, flat_dy)
        return [dx, self._of(a, b, True, False)]

    def _of(self, a: Tensor, b: Tensor, ta: bool, tb: bool) -> Tensor:
        """Another product, of the same operands' precision."""
        return apply(Matmul(ta, tb, bfloat16=self.bfloat16), a, b)

    def flops(self, x: TensorSpec, w: TensorSpec, *b: TensorSpec) -> int:
        s = self.spec(x, w)
        return 2 * s.batch * s.m * s.n * s.k


def matmul(x1: Any, x2: Any) -> Any:
    """NumPy's matmul: vectors are promoted, leading axes broadcast."""
    a, b = as_tensor(x1), as_tensor(x2)
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(
            f"matmul: operands need at least one axis, got shapes {a.shape} and {b.shape}"
        )
    left, right = a.ndim == 1, b.ndim == 1
    x, w = of_one_type(x1, x2)
    if left:
        x = reshape(x, (1, *a.shape))
    if right:
        w = reshape(w, (*b.shape, 1))
    lead1, lead2 = a.shape[:-2], b.shape[:-2]
    if lead1 and lead2 and lead1 != lead2 and None not in lead1 + lead2:
        try:
            lead = np.broadcast_shapes(lead1, lead2)  # type: ignore[arg-type]
        except ValueError:
            raise ValueError(
                f"matmul: leading axes of {a.shape} and {b.shape} do not broadcast"
            ) from None
        x = broadcast_to(x, (*lead, *a.shape[-2:]))
        w = broadcast_to(w, (*lead, *b.shape[-2:]))
    y = apply(Matmul(bfloat16=bfloat16.allowed()), x, w)
    if right:
        y = squeeze(y, -1)
    return squeeze(y, -1 if right else -2) if left else y
