"""Products in bfloat16, the upper 16 bits of a float32: 8 bits of mantissa.

    y = product(r(x), r(w)),   r(v) = v rounded to the nearest bfloat16, ties to even

The product of two bfloat16 is exact in float32, in which the sums are. Inside `with
products_in("bfloat16"):` products, and later their gradients, are *allowed* to round their operands
like this. A device does it where it gains by it, and is more exact where it does not.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nbcnn.ops.elementwise import unary

_local = threading.local()


def allowed() -> bool:
    """Whether products that are made now may round their operands."""
    return getattr(_local, "allowed", False)


@contextmanager
def products_in(dtype: str) -> Iterator[None]:
    """Inside, products may round their operands if `dtype` is 'bfloat16', and may not if it is
    another.
    """
    before = allowed()
    _local.allowed = dtype == "bfloat16"
    try:
        yield
    finally:
        _local.allowed = before


def rounded(x: Any) -> Any:
    """x, of float32, rounded to the nearest bfloat16; infinities and NaN stay."""
    return unary("round_bfloat16", x)
