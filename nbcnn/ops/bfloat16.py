"""Products of numbers rounded to bfloat16: the upper 16 bits of a float32, 8 bits of mantissa.

    y = product(r(x), r(w)),   r(v) = v rounded to the nearest bfloat16, ties to even

Products and sums are of float32: a product of two bfloat16 is exact there. The gradient that
arrives at y is rounded too, since the products that it enters are dx = product(r(dy), r(w)) and
dw = product(r(x), r(dy)). The rounding itself passes gradients on as they are.

Inside `with operands_in("bfloat16"):` all products in float32 are made like this. Where the device
has kernels for them, fusion lets these round what they read (`graph/fuse_bfloat16.py`).
"""

import dataclasses
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from nbcnn.ops.elementwise import FlatSpec, Unary, unary
from nbcnn.ops.op import Op, apply, as_tensor
from nbcnn.ops.tensor import Node, Tensor, TensorSpec

ROUND = Unary("round_bfloat16")

_local = threading.local()


@dataclasses.dataclass(frozen=True)
class RoundGradient(Op):
    """y = x, through which gradients pass rounded to bfloat16. An alias: it costs nothing."""

    name = "round_gradient"

    def infer(self, x: TensorSpec) -> tuple[TensorSpec]:
        return (x,)

    def spec(self, x: TensorSpec) -> FlatSpec:
        return FlatSpec(x.size)

    def gradient(self, node: Node, *dys: Tensor | None):
        (dy,) = dys
        return [None if dy is None else rounded(dy)]


def rounded(x: Any) -> Any:
    """x, of float32, rounded to the nearest bfloat16; infinities and NaN stay."""
    return unary(ROUND.function, x)


@contextmanager
def operands_in(dtype: str) -> Iterator[None]:
    """Inside, products take operands rounded to `dtype`, if that is 'bfloat16', or as they are."""
    before = getattr(_local, "dtype", None)
    _local.dtype = dtype
    try:
        yield
    finally:
        _local.dtype = before


def product(make: Callable[[Any, Any], Any], x: Any, w: Any) -> Any:
    """`make(x, w)`, a product, of operands as `operands_in` says."""
    if getattr(_local, "dtype", None) != "bfloat16":
        return make(x, w)
    x, w = as_tensor(x), as_tensor(w)
    if (x.dtype, w.dtype) != ("float32", "float32"):
        return make(x, w)
    return apply(RoundGradient(), make(rounded(x), rounded(w)))
