"""Formulas of losses: functions of (y_true, y_pred) that give a value per sample.

They take symbolic tensors or arrays of shape (batch, ..., k) and return (batch, ...) unless they
say otherwise. In the formulas t is y_true, p is y_pred, and sums and means run over the last axis.
"""

import math
import warnings
from typing import Any

import numpy as np

from nbcnn import ops
from nbcnn.ops.loss import EPSILON


def floating(x: Any) -> Any:
    """`x` as a tensor or array of floats; what is neither becomes a float32 array."""
    if not hasattr(x, "dtype"):
        return np.asarray(x, "float32")
    x = ops.convert_to_tensor(x)
    return x if "float" in str(x.dtype) else ops.cast(x, "float32")


def like(x: Any, other: Any) -> Any:
    """`x` in the data type of `other`."""
    x = x if hasattr(x, "dtype") else np.asarray(x)
    return x if str(x.dtype) == str(other.dtype) else ops.cast(x, str(other.dtype))


def with_classes(y_pred: Any) -> Any:
    """Predictions, which have an axis of classes. Raises ValueError where they have none."""
    if not y_pred.shape:
        raise ValueError("y_pred must have an axis of classes, got a number")
    return y_pred


def same_rank(a: Any, b: Any) -> tuple[Any, Any]:
    """Both with the same number of axes where they differ by a last axis of size 1.

    (n,) against (n, 1) becomes (n, 1) twice; with more axes the last one of size 1 is dropped.
    """
    if len(a.shape) == len(b.shape) + 1 and a.shape[-1] == 1:
        return (a, ops.expand_dims(b, -1)) if len(b.shape) == 1 else (ops.squeeze(a, -1), b)
    if len(b.shape) == len(a.shape) + 1 and b.shape[-1] == 1:
        return (ops.expand_dims(a, -1), b) if len(a.shape) == 1 else (a, ops.squeeze(b, -1))
    return a, b


def aligned(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """Both as floats of y_pred's type and of the same rank."""
    y_pred = floating(y_pred)
    return same_rank(like(y_true, y_pred), y_pred)


def mean_squared_error(y_true: Any, y_pred: Any) -> Any:
    """mean((t - p)²)."""
    t, p = aligned(y_true, y_pred)
    return ops.mean(ops.square(t - p), axis=-1)


def mean_absolute_error(y_true: Any, y_pred: Any) -> Any:
    """mean(|t - p|)."""
    t, p = aligned(y_true, y_pred)
    return ops.mean(ops.abs(t - p), axis=-1)


def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Any:
    """100 * mean(|t - p| / max(|t|, 1e-7))."""
    t, p = aligned(y_true, y_pred)
    return 100.0 * ops.mean(ops.abs((t - p) / ops.maximum(ops.abs(t), EPSILON)), axis=-1)


def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Any:
    """mean((log(p + 1) - log(t + 1))²), where t and p are at least 1e-7."""
    t, p = aligned(y_true, y_pred)
    difference = ops.log(ops.maximum(p, EPSILON) + 1.0) - ops.log(ops.maximum(t, EPSILON) + 1.0)
    return ops.mean(ops.square(difference), axis=-1)


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """-sum(t * p) / (|t| |p|) over `axis`: -1 for equal directions."""
    t, p = aligned(y_true, y_pred)
    return -ops.sum(unit_length(t, axis) * unit_length(p, axis), axis=axis)


def unit_length(x: Any, axis: int = -1) -> Any:
    """x divided by its Euclidean norm over `axis`, which counts as at least 1e-7."""
    squares = ops.sum(ops.square(x), axis=axis, keepdims=True)
    return x / ops.sqrt(ops.maximum(squares, EPSILON**2))


def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Any:
    """mean of e² / 2 where |e| <= delta, else delta * |e| - delta² / 2, with e = p - t."""
    t, p = aligned(y_true, y_pred)
    error = ops.abs(p - t)
    quadratic, straight = 0.5 * ops.square(error), delta * error - 0.5 * delta**2
    return ops.mean(ops.where(ops.less_equal(error, delta), quadratic, straight), axis=-1)


def log_cosh(y_true: Any, y_pred: Any) -> Any:
    """mean(log(cosh(p - t)))."""
    t, p = aligned(y_true, y_pred)
    error = p - t
    return ops.mean(error + ops.softplus(-2.0 * error) - math.log(2.0), axis=-1)


def _signs(t: Any) -> Any:
    """Labels -1 and 1: those given as 0 and 1 are converted, any others stay."""
    farthest_from_binary = ops.max(ops.abs(t * (t - 1.0)))
    return ops.where(ops.equal(farthest_from_binary, 0.0), 2.0 * t - 1.0, t)


def hinge(y_true: Any, y_pred: Any) -> Any:
    """mean(max(1 - t * p, 0)), with labels -1 and 1 (or 0 and 1)."""
    p = floating(y_pred)
    return ops.mean(ops.maximum(1.0 - _signs(like(y_true, p)) * p, 0.0), axis=-1)


def squared_hinge(y_true: Any, y_pred: Any) -> Any:
    """mean(max(1 - t * p, 0)²), with labels -1 and 1 (or 0 and 1)."""
    p = floating(y_pred)
    return ops.mean(ops.square(ops.maximum(1.0 - _signs(like(y_true, p)) * p, 0.0)), axis=-1)


def categorical_hinge(y_true: Any, y_pred: Any) -> Any:
    """max(max((1 - t) * p) - sum(t * p) + 1, 0), with one-hot labels."""
    p = floating(y_pred)
    t = like(y_true, p)
    wrong, right = ops.max((1.0 - t) * p, axis=-1), ops.sum(t * p, axis=-1)
    return ops.maximum(wrong - right + 1.0, 0.0)


def kl_divergence(y_true: Any, y_pred: Any) -> Any:
    """sum(t * log(t / p)), with t and p clipped to [1e-7, 1]."""
    p = floating(y_pred)
    t, p = ops.clip(like(y_true, p), EPSILON, 1.0), ops.clip(p, EPSILON, 1.0)
    return ops.sum(t * ops.log(t / p), axis=-1)


def poisson(y_true: Any, y_pred: Any) -> Any:
    """mean(p - t * log(p + 1e-7))."""
    p = floating(y_pred)
    return ops.mean(p - like(y_true, p) * ops.log(p + EPSILON), axis=-1)


def binary_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """-mean(t * log(p) + (1 - t) * log(1 - p)) over `axis`; p = sigmoid(y_pred) if `from_logits`.

    `label_smoothing` s moves labels to t * (1 - s) + s / 2.
    """
    t, p = aligned(y_true, y_pred)
    t = _smoothed(t, label_smoothing, 2)
    return ops.mean(ops.binary_crossentropy(t, p, from_logits=from_logits), axis=axis)


def _smoothed(t: Any, smoothing: float, classes: int) -> Any:
    return t * (1.0 - smoothing) + smoothing / max(classes, 1) if smoothing else t


def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """Binary cross-entropy of each element times (1 - q)^gamma, its mean over `axis`.

    q = t * p + (1 - t) * (1 - p) is the probability given to the label, so what is already right
    counts less. With `apply_class_balancing` elements are also weighted by alpha * t + (1 - alpha)
    * (1 - t).
    """
    p = floating(y_pred)
    t = _smoothed(like(y_true, p), label_smoothing, 2)
    p = ops.sigmoid(p) if from_logits else p
    q = t * p + (1.0 - t) * (1.0 - p)
    loss = ops.power(1.0 - q, gamma) * ops.binary_crossentropy(t, p)
    if apply_class_balancing:
        loss = (t * alpha + (1.0 - t) * (1.0 - alpha)) * loss
    return ops.mean(loss, axis=axis)


def categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """-sum(t * log(p)) over `axis`, the classes; p is scaled to sum 1, or softmax(y_pred) if
    `from_logits`.

    `label_smoothing` s moves labels to t * (1 - s) + s / classes.
    """
    p = with_classes(floating(y_pred))
    _warn_of_single_class(p, "categorical_crossentropy")
    t = _smoothed(like(y_true, p), label_smoothing, p.shape[-1])
    return ops.categorical_crossentropy(t, p, from_logits=from_logits, axis=axis)


def _warn_of_single_class(p: Any, loss: str) -> None:
    if p.shape[-1] == 1:
        warnings.warn(
            f"{loss}: y_pred must have two classes or more, got shape {tuple(p.shape)}; "
            "for two classes 'binary_crossentropy' takes one output",
            SyntaxWarning,
            stacklevel=3,
        )


def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """-alpha * sum((1 - p)^gamma * t * log(p)) over `axis`, the classes."""
    p = with_classes(floating(y_pred))
    _warn_of_single_class(p, "categorical_focal_crossentropy")
    t = _smoothed(like(y_true, p), label_smoothing, p.shape[-1])
    p = ops.softmax(p, axis=axis) if from_logits else p
    p = ops.clip(p / ops.sum(p, axis=axis, keepdims=True), EPSILON, 1.0 - EPSILON)
    return -alpha * ops.sum(ops.power(1.0 - p, gamma) * t * ops.log(p), axis=axis)


def sparse_categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
) -> Any:
    """-log(p[t]): categorical cross-entropy with class numbers t, of shape (batch, ...) or (batch,
    ..., 1).

    Samples whose label is `ignore_class` get 0.
    """
    p = with_classes(floating(y_pred))
    t = class_numbers(y_true, p, axis)
    if ignore_class is None:
        return ops.sparse_categorical_crossentropy(t, p, from_logits=from_logits, axis=axis)
    valid = ops.not_equal(t, ignore_class)
    t = ops.where(valid, t, 0)
    p = ops.where(ops.expand_dims(valid, axis), p, 0.0)
    loss = ops.sparse_categorical_crossentropy(t, p, from_logits=from_logits, axis=axis)
    return ops.where(valid, loss, 0.0)


def class_numbers(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """Labels without the axis of size 1 that they may have in place of the axis of classes."""
    with_classes(y_pred)
    t = y_true if hasattr(y_true, "dtype") else np.asarray(y_true)
    return ops.squeeze(t, axis) if len(t.shape) == len(y_pred.shape) and t.shape[axis] == 1 else t


def categorical_generalized_cross_entropy(y_true: Any, y_pred: Any, q: float) -> Any:
    """(1 - p[t]^q) / q for class numbers t: between absolute error (q = 1) and cross-entropy (q ->
    0).
    """
    p = with_classes(floating(y_pred))
    chosen = ops.cast(ops.one_hot(ops.cast(y_true, "int32"), p.shape[-1]), str(p.dtype))
    return (1.0 - ops.power(ops.sum(p * chosen, axis=-1), q)) / q


def dice(y_true: Any, y_pred: Any, axis: Any = None) -> Any:
    """1 - 2 * sum(t * p) / (sum(t) + sum(p)) over `axis`; over everything, a scalar, by default."""
    p = floating(y_pred)
    t = like(y_true, p)
    total = ops.sum(t, axis=axis) + ops.sum(p, axis=axis) + EPSILON
    return 1.0 - 2.0 * ops.sum(t * p, axis=axis) / total


def tversky(
    y_true: Any, y_pred: Any, alpha: float = 0.5, beta: float = 0.5, axis: Any = None
) -> Any:
    """1 - s / (s + alpha * sum((1 - p) * t) + beta * sum(p * (1 - t))) with s = sum(t * p) over
    `axis`.

    Over everything, a scalar, by default.
    """
    p = floating(y_pred)
    t = like(y_true, p)
    both = ops.sum(t * p, axis=axis)
    missed = ops.sum((1.0 - p) * t, axis=axis)
    wrong = ops.sum(p * (1.0 - t), axis=axis)
    return 1.0 - both / (both + missed * alpha + wrong * beta + EPSILON)


NEVER = -1e30  # in the place of a logarithm of 0: large, but with gradients


def circle(
    y_true: Any,
    y_pred: Any,
    ref_labels: Any = None,
    ref_embeddings: Any = None,
    remove_diagonal: bool = True,
    gamma: float = 80,
    margin: float = 0.4,
) -> Any:
    """Circle loss (Sun et al. 2020, arXiv:2002.10857) of embeddings of length 1, by class numbers.

    With distances d = max(1 - y_pred @ ref_embeddings.T, 0), m the margin, sums over references of
    the same class (but the sample itself, with `remove_diagonal`) and of other classes:
    log(1 + sum_same(exp(gamma (m + d) (d - m))) * sum_other(exp(gamma (1 + m - d) (1 - m - d)))),
    where 1 + m - d counts as 0 where it is negative. 0 where one of the sums is empty.

    Parameters
    ----------
    ref_labels, ref_embeddings : what samples are compared with; default y_true and y_pred.
    """
    p = floating(y_pred)
    t = ops.reshape(ops.cast(y_true, "int32"), (-1, 1))
    others = p if ref_embeddings is None else like(ref_embeddings, p)
    labels = t if ref_labels is None else ops.reshape(ops.cast(ref_labels, "int32"), (-1, 1))
    d = ops.maximum(1.0 - ops.matmul(p, ops.transpose(others)), 0.0)
    same = ops.equal(t, ops.transpose(labels))
    other = ops.logical_not(same)
    if remove_diagonal:
        itself = np.eye(t.shape[0], labels.shape[0], dtype=bool)
        same = ops.logical_and(same, np.logical_not(itself))
    near = gamma * (margin + d) * (d - margin)
    far = gamma * ops.maximum(1.0 + margin - d, 0.0) * (1.0 - margin - d)
    exponents = [
        ops.logsumexp(ops.where(which, values, NEVER), axis=1)
        for which, values in ((same, near), (other, far))
    ]
    return ops.softplus(exponents[0] + exponents[1])
