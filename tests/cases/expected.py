"""What must come out of an operation: NumPy itself where it has the operation, else the float64
references; and how far a result is from that.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from cases.case import specs_of
from references import (
    conv,
    elementwise,
    global_response,
    indexed,
    layer_norm,
    loss,
    norm,
    optimizer,
    pool,
    random,
    windows,
)

from nbcnn.ops.conv_spec import LINEAR, SIGMOID, TANH

MODULES = (
    conv, elementwise, global_response, layer_norm, loss, norm, optimizer, pool, random, windows,
)  # fmt: skip
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}  # other types must agree exactly


def _unary(op, spec, x):
    return elementwise.unary(spec, x, op.function, op.alpha, op.beta)


def _unary_dx(op, spec, v, dy):
    return elementwise.unary_dx(spec, v, dy, op.function, op.alpha, op.beta)


def _unary_dx_sum(op, spec, v, dy):
    dx = _unary_dx(op, spec, v, dy)
    return dx, dx.reshape(-1, dx.shape[-1]).sum(0)


def _binary(op, spec, a, b):
    y = elementwise.binary(spec, a, b, op.function)
    return elementwise.unary(spec, y, op.act, op.alpha, op.beta) if op.act else y


def _maxpool2d(op, spec, x):
    y, indices = pool.maxpool2d(spec, x)
    return (y, indices) if op.indices else y


def _matmul(op, spec, x, w, *b):
    x, w = (a.swapaxes(-1, -2) if t else a for a, t in ((wide(x), op.tx), (wide(w), op.tw)))
    y = x @ w
    return conv.ACTIVATIONS[op.act](y + wide(b[0]) if b else y)


def _reduce(op, spec, x):
    axes = tuple(range(op.first, op.last + 1))
    if not op.function.startswith("arg"):
        return getattr(np, op.function)(wide(x), axis=axes)
    blocks = x.reshape(*x.shape[: op.first], -1, *x.shape[op.last + 1 :])
    return getattr(np, op.function)(blocks, axis=op.first)


def _reduce_extreme_dx(op, spec, x, y, dy):
    """Shared equally among the elements that equal the extreme."""
    hit = wide(x) == wide(y)
    axes = tuple(range(op.first, op.last + 1))
    return hit * wide(dy) / hit.sum(axis=axes, keepdims=True)


def _slice_dx(op, spec, dy):
    dx = np.zeros(op.shape)
    dx[tuple(slice(*r) for r in op.ranges)] = dy
    return dx


def _fold_planes(op, spec, x):
    n, _, h, w, c = x.shape
    order = reversed(range(op.taps)) if op.backwards else range(op.taps)
    planes = [
        x[:, k * op.dilation :: op.stride][:, : op.count].reshape(
            -1, h, w, op.groups, 1, c // op.groups
        )
        for k in order
    ]
    return np.concatenate(planes, 4).reshape(n * op.count, h, w, -1)


def _update(op, spec, *arrays):
    return optimizer.update(spec, *arrays, rule=op.rule)


# Operations with attributes that are not in their spec, and those that NumPy has.
BY_NAME: dict[str, Callable] = {
    "unary": _unary,
    "unary_dx": _unary_dx,
    "unary_dx_sum": _unary_dx_sum,
    "binary": _binary,
    "where": lambda op, spec, condition, a, b: np.where(condition, wide(a), wide(b)),
    "cast": lambda op, spec, x: elementwise.cast(spec, x, op.dtype),
    "matmul": _matmul,
    "update": _update,
    "maxpool2d": _maxpool2d,
    "reduce": _reduce,
    "reduce_extreme_dx": _reduce_extreme_dx,
    "transpose": lambda op, spec, x: x.transpose(op.perm),
    "slice": lambda op, spec, x: x[tuple(slice(*r) for r in op.ranges)],
    "slice_dx": _slice_dx,
    "fold_planes": _fold_planes,
    "pad": lambda op, spec, x: np.pad(x, op.widths, constant_values=x.dtype.type(op.value)),
    "broadcast_to": lambda op, spec, x: np.broadcast_to(x, op.shape),
    "gather": lambda op, spec, x, indices: indexed.gather(spec, x, indices),
    "scatter": lambda op, spec, u, indices: indexed.scatter(spec, wide(u), indices, op.function),
    "cumulative": lambda op, spec, x: indexed.cumulative(spec, wide(x), op.function),
    "argsort": lambda op, spec, x: indexed.argsort(spec, x),
    "concat": lambda op, spec, *xs: np.concatenate([wide(x) for x in xs], axis=op.axis),
}


def wide(x: np.ndarray) -> np.ndarray:
    """Floats in float64; integers and booleans as they are."""
    return x.astype(np.float64) if x.dtype.kind == "f" else x


def expected(op: Any, spec: Any, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Outputs, in any shape; of an operation that writes to its inputs, all of these as they are
    afterwards.
    """
    with np.errstate(all="ignore"):
        if op.name in BY_NAME:
            results = BY_NAME[op.name](op, spec, *arrays)
        else:
            function = next(getattr(m, op.impl_op) for m in MODULES if hasattr(m, op.impl_op))
            results = function(spec, *arrays)
    results = list(results) if isinstance(results, tuple) else [results]
    if not op.stateful:
        return results
    after = list(arrays)
    # Written are the first input and an optimizer's slots, which come fourth and later.
    for place, result in zip((0, *range(3, len(after))), results):
        after[place] = result
    return after


def difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference relative to the largest wanted number; NaN and infinities must
    agree.
    """
    wanted = np.asarray(wanted, "float64").reshape(found.shape)
    found = found.astype("float64")
    if not np.array_equal(np.isnan(found), np.isnan(wanted)):
        return float("inf")
    with np.errstate(invalid="ignore"):
        apart = np.where((found == wanted) | np.isnan(wanted), 0.0, np.abs(found - wanted))
    scale = np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0)
    return float(apart.max(initial=0.0) / (scale or 1.0))


def limit(
    op: Any, arrays: Sequence[np.ndarray], wanted: Sequence, dtype: str, rtol: float
) -> float:
    """The largest difference that a result of this type may have, where its implementation claims
    so many times the tolerance.

    An error of rounded factors is in proportion to their sums. Where a sigmoid or tanh makes small
    numbers of large sums, it is allowed for these: no slope of theirs is above 1.
    """
    found = TOLERANCE.get(dtype, 0.0) * rtol
    if rtol > 1 and getattr(op, "act", LINEAR) in (SIGMOID, TANH):
        linear = dataclasses.replace(op, act=LINEAR)
        sums = expected(linear, linear.spec(*specs_of(arrays)), arrays)
        found *= max(1.0, np.abs(sums[0]).max(initial=0.0) / np.abs(wanted[0]).max(initial=1e-30))
    return found
