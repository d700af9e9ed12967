"""Correlation of targets and predictions along an axis, its mean over samples."""

from typing import Any

from nbcnn import ops
from nbcnn.declare import arg
from nbcnn.loss_formulas import aligned
from nbcnn.metric_base import FormulaMetric
from nbcnn.ops.loss import EPSILON


def pearson_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """cov(t, p) / (std(t) std(p)) over `axis`; NaN where either is constant."""
    t, p = (_centered(v, axis) for v in aligned(y_true, y_pred))
    t, p = (ops.divide(v, ops.std(v, axis=axis, keepdims=True)) for v in (t, p))
    return ops.mean(t * p, axis=axis)


def _centered(x: Any, axis: int) -> Any:
    return x - ops.mean(x, axis=axis, keepdims=True)


def concordance_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """2 cov(t, p) / (var(t) + var(p) + (mean(t) - mean(p))²) over `axis`: 1 only where p equals
    t.
    """
    t, p = aligned(y_true, y_pred)
    shift = ops.mean(t, axis=axis) - ops.mean(p, axis=axis)
    t, p = _centered(t, axis), _centered(p, axis)
    spread = ops.mean(ops.square(t), axis=axis) + ops.mean(ops.square(p), axis=axis)
    return 2.0 * ops.mean(t * p, axis=axis) / (spread + ops.square(shift) + EPSILON)


class PearsonCorrelation(FormulaMetric, formula=pearson_correlation):
    """Pearson's correlation of t and p along `axis`: 1 where one is a rising line of the other."""

    _direction = "up"
    axis: int = arg(-1, last=True)


class ConcordanceCorrelation(FormulaMetric, formula=concordance_correlation):
    """Lin's concordance of t and p along `axis`: 1 only where they are equal."""

    _direction = "up"
    axis: int = arg(-1, last=True)
