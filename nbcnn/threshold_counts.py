"""How often predictions above thresholds are right and wrong: what precision, recall and areas
under curves are made of.

For a threshold s a prediction p says yes where p > s. With labels t, taken as yes where not 0, and
weights w,

    true positives  = sum w [t] [p > s],     false positives = sum w [not t] [p > s],
    false negatives = sum w [t] [p <= s],    true negatives  = sum w [not t] [p <= s].

Where thresholds are i / (T - 1), a prediction belongs to the interval number ceil(p (T - 1)) - 1,
and the counts are sums of a histogram over the intervals above. A histogram is a product of
matrices: with number = 16 * high + low it is onehot(high)^T (w * onehot(low)), which needs memory
for T / 16 + 16 values a prediction instead of T.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nbcnn import ops
from nbcnn.declare import KINDS
from nbcnn.loss_formulas import same_rank
from nbcnn.ops.dense import Matmul
from nbcnn.ops.loss import EPSILON
from nbcnn.ops.op import apply

OUTCOMES = ("true_positives", "false_positives", "true_negatives", "false_negatives")
LOW = 16  # parts of a histogram that are told apart second; near the root of 200, the usual number
PIECE = 2**22  # values that are compared at once; more would only cost memory
LOWEST = -1e10  # a prediction that is not among the largest


def thresholds_or(default: float, given: Any) -> list[float]:
    """A list of thresholds from one, several, or None."""
    if given is None:
        return [default]
    return [float(t) for t in (given if np.ndim(given) else [given])]


def check_thresholds(value: Any) -> str | None:
    """What is wrong with thresholds, for `arg`."""
    values = value if isinstance(value, (list, tuple, np.ndarray)) else [value]
    fits = len(values) > 0 and all(KINDS["float"](t) and 0 <= t <= 1 for t in values)
    return None if fits else "must be a number between 0 and 1 or a list of such"


def evenly_spaced(count: int) -> list[float]:
    """0, ..., 1."""
    return [0.0, *((i + 1) / (count - 1) for i in range(count - 2)), 1.0]


def are_even(thresholds: Sequence[float]) -> bool:
    """Whether these are 0, ..., 1 in equal steps, or just outside at the ends."""
    count = len(thresholds)
    return count > 2 and np.allclose(thresholds, np.arange(count) / (count - 1), atol=2 * EPSILON)


def tensor(x: Any, dtype: str) -> Any:
    """A tensor or array of that type."""
    return ops.cast(x if hasattr(x, "shape") else np.asarray(x), dtype)


def weights_like(weights: Any, values: Any) -> Any:
    """Weights in the shape of the values; those by sample count for all of a sample's values."""
    shape = tuple(values.shape)
    missing = len(shape) - len(weights.shape)
    if missing < 0 and weights.shape[-1] == 1:
        weights, missing = ops.squeeze(weights, -1), missing + 1
    if missing > 0 and len(weights.shape):
        weights = ops.reshape(weights, (*weights.shape, *(1,) * missing))
    try:
        return ops.broadcast_to(weights, shape)
    except ValueError:
        raise ValueError(
            f"sample_weight of shape {tuple(weights.shape)} does not fit values of shape {shape}"
        ) from None


def outcomes(
    wanted: Sequence[str],
    y_true: Any,
    y_pred: Any,
    thresholds: Sequence[float],
    dtype: str,
    *,
    sample_weight: Any = None,
    label_weights: Any = None,
    top_k: int | None = None,
    class_id: int | None = None,
    by_label: bool = False,
) -> list[Any]:
    """The `wanted` of `OUTCOMES`, each of shape (thresholds,), or (thresholds, labels) where they
    are counted `by_label`.

    Parameters
    ----------
    y_true, y_pred : tensors or arrays of one shape (batch, ..., labels).
    sample_weight, label_weights : broadcast to that shape, from the left and from the right.
    top_k : predictions of a sample that are not among its so many largest say no.
    class_id : count this label only.
    """
    t, p = same_rank(tensor(y_true, dtype), tensor(y_pred, dtype))
    if tuple(t.shape) != tuple(p.shape):
        raise ValueError(
            f"y_true and y_pred must have one shape, got {tuple(t.shape)} and {tuple(p.shape)}"
        )
    weights = None if sample_weight is None else weights_like(tensor(sample_weight, dtype), p)
    if label_weights is not None:
        labels = ops.broadcast_to(tensor(label_weights, dtype), p.shape)
        weights = labels if weights is None else weights * labels
    if top_k is not None:
        p = largest_only(p, top_k)
    if class_id is not None:
        t, p, weights = (_of_label(v, class_id) for v in (t, p, weights))
    t = ops.cast(ops.not_equal(t, 0.0), dtype)
    yes, no = (t, 1.0 - t) if weights is None else (t * weights, (1.0 - t) * weights)
    above, below = (_by_label if by_label else _together)(p, yes, no, thresholds, dtype, wanted)
    found = {"true_positives": above[0], "false_positives": above[1]}
    if below is not None:
        found |= {"false_negatives": below[0], "true_negatives": below[1]}
    return [found[name] for name in wanted]


def _of_label(values: Any, class_id: int) -> Any:
    if values is None:
        return None
    shape = tuple(values.shape)
    if len(shape) < 2 or class_id >= shape[-1]:
        raise ValueError(
            f"class_id {class_id} needs predictions (batch, ..., classes) with more classes than "
            f"that, got shape {shape}"
        )
    return values[..., class_id : class_id + 1]


def largest_only(p: Any, k: int) -> Any:
    """The k largest along the last axis, `LOWEST` in place of the others; of equal values the first
    ones stay.
    """
    classes = p.shape[-1]
    if k > classes:
        raise ValueError(f"top_k must be at most the number of classes, {classes}, got {k}")
    dtype, rest, chosen = str(p.dtype), p, None
    for _ in range(k):
        largest = ops.one_hot(ops.argmax(rest, axis=-1), classes, dtype=dtype)
        rest = ops.where(largest, -np.inf, rest)
        chosen = largest if chosen is None else chosen + largest
    return ops.where(chosen, p, LOWEST)


def _together(p: Any, yes: Any, no: Any, thresholds: Sequence[float], dtype: str, wanted: Any):
    """Counts over all predictions: those above and, where wanted, those below."""
    p = ops.reshape(p, (-1,))
    sides = ops.stack([ops.reshape(yes, (-1,)), ops.reshape(no, (-1,))], axis=-1)
    both = any("negatives" in name for name in wanted)
    if are_even(thresholds):
        above = _from_histogram(p, sides, len(thresholds), thresholds[0] < 0, dtype)
        below = ops.sum(sides, axis=0, keepdims=True) - above if both else None
        return _columns(above), below if below is None else _columns(below)
    limits = np.asarray(thresholds, dtype).reshape(-1, 1)

    def over(p: Any, sides: Any) -> Any:
        says_yes = ops.cast(ops.greater(ops.expand_dims(p, 0), limits), dtype)
        above = ops.matmul(says_yes, sides)
        return (above, ops.matmul(1.0 - says_yes, sides)) if both else (above,)

    counted = in_pieces(over, (p, sides), len(thresholds))
    return _columns(counted[0]), _columns(counted[1]) if both else None


def _columns(pairs: Any) -> tuple[Any, Any]:
    return pairs[:, 0], pairs[:, 1]


def _intervals(p: Any, count: int, first_is_below: bool) -> Any:
    """The number of the last threshold below each prediction, as a float; -1 where there is none.

    first_is_below : the first threshold lies a little below 0 and not at it.
    """
    numbers = ops.ceil(ops.clip(p, 0.0, 1.0) * float(count - 1)) - 1.0
    return ops.maximum(numbers, 0.0) if first_is_below else numbers


def _from_histogram(p: Any, sides: Any, count: int, first_is_below: bool, dtype: str) -> Any:
    """(thresholds, 2): sums of both columns of `sides` over the predictions above."""
    high = -(-count // LOW)
    classes = np.arange(max(high, LOW), dtype=dtype)

    def histogram(p: Any, sides: Any) -> Any:
        numbers = _intervals(p, count, first_is_below)
        upper = ops.floor(numbers * (1.0 / LOW))
        lower = ops.expand_dims(numbers - upper * float(LOW), -1)
        of_upper = ops.cast(ops.equal(ops.expand_dims(upper, -1), classes[:high]), dtype)
        of_lower = ops.cast(ops.equal(lower, classes[:LOW]), dtype)
        parts = ops.expand_dims(of_lower, -1) * ops.expand_dims(sides, 1)
        return (transposed_product(of_upper, ops.reshape(parts, (-1, 2 * LOW))),)

    (sums,) = in_pieces(histogram, (p, sides), high + 3 * LOW)
    at_or_above = np.triu(np.ones((count, high * LOW), dtype))
    return ops.matmul(at_or_above, ops.reshape(sums, (high * LOW, 2)))


def transposed_product(a: Any, b: Any) -> Any:
    """a^T b: sums over the rows of two matrices."""
    return apply(Matmul(tx=True), a, b)


def in_pieces(function: Callable[..., tuple], arrays: Sequence[Any], width: int) -> Sequence[Any]:
    """The sums of what `function` gives for parts of the arrays' rows.

    width : values for each row that `function` needs memory for.
    """
    rows = int(arrays[0].shape[0])
    step = max(PIECE // width, 1)
    if rows <= step:
        return function(*arrays)
    total: Sequence[Any] | None = None
    for start in range(0, rows, step):
        part = function(*(a[start : start + step] for a in arrays))
        total = part if total is None else [x + y for x, y in zip(total, part)]
    assert total is not None
    return total


def _by_label(p: Any, yes: Any, no: Any, thresholds: Sequence[float], dtype: str, wanted: Any):
    """The same for (batch, labels), by label."""
    count = len(thresholds)
    if are_even(thresholds):
        limits = np.arange(count, dtype=dtype).reshape(-1, 1, 1) - 0.5
        p = _intervals(p, count, thresholds[0] < 0)
    else:
        limits = np.asarray(thresholds, dtype).reshape(-1, 1, 1)

    def over(p: Any, yes: Any, no: Any) -> Any:
        says_yes = ops.cast(ops.greater(ops.expand_dims(p, 0), limits), dtype)
        signs = (says_yes, 1.0 - says_yes)
        return tuple(ops.sum(sign * side, axis=1) for sign in signs for side in (yes, no))

    above_yes, above_no, below_yes, below_no = in_pieces(
        over, (p, yes, no), count * int(p.shape[-1])
    )
    return (above_yes, above_no), (below_yes, below_no)
