"""What must come out of an operation: the float64 references, called for each kind of operation as
it needs.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from references import conv, copy, elementwise, loss, norm, optimizer, pool, random, reduce

MODULES = (conv, copy, elementwise, loss, norm, optimizer, pool, random, reduce)


def _unary(op, spec, x):
    return elementwise.unary(spec, x, op.function, op.alpha, op.beta)


def _unary_dx(op, spec, v, dy):
    return elementwise.unary_dx(spec, v, dy, op.function, op.alpha, op.beta)


def _unary_dx_sum(op, spec, v, dy):
    dx = _unary_dx(op, spec, v, dy)
    return dx, dx.reshape(spec.rows, spec.c).sum(0)


def _maxpool2d(op, spec, x):
    y, indices = pool.maxpool2d(spec, x)
    return (y, indices) if op.indices else y


# Operations with attributes that are not in their spec; all others go by their name.
WITH_ATTRIBUTES: dict[str, Callable] = {
    "unary": _unary,
    "unary_dx": _unary_dx,
    "unary_dx_sum": _unary_dx_sum,
    "binary": lambda op, spec, a, b: elementwise.binary(spec, a, b, op.function),
    "cast": lambda op, spec, x: elementwise.cast(spec, x, op.dtype),
    "reduce": lambda op, spec, x: reduce.reduce(spec, x, op.function),
    "maxpool2d": _maxpool2d,
}


def expected(op: Any, spec: Any, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Outputs, in any shape; of an operation that writes to its inputs, all of these as they are
    afterwards.
    """
    name = op.impl_op
    if name in WITH_ATTRIBUTES:
        results = WITH_ATTRIBUTES[name](op, spec, *arrays)
    else:
        function = next(getattr(m, name) for m in MODULES if hasattr(m, name))
        results = function(spec, *arrays)
    results = list(results) if isinstance(results, tuple) else [results]
    if not op.stateful:
        return results
    after = list(arrays)
    # Written are the first input and an optimizer's slots, which come fourth and later.
    for place, result in zip((0, *range(3, len(after))), results):
        after[place] = result
    return after
