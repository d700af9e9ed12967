"""Areas under curves of yes-or-no predictions: `AUC`."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from nbcnn import ops
from nbcnn.declare import Expected, arg, positive
from nbcnn.metric_base import shown
from nbcnn.metric_confusion import Counting, ratio
from nbcnn.ops.loss import EPSILON
from nbcnn.threshold_counts import check_thresholds, evenly_spaced, tensor


def _several(value: Any) -> str | None:
    return None if value > 1 else "must be at least 2"


def _list(value: Any) -> list[float] | None:
    if value is None:
        return None
    if isinstance(value, Mapping) and "config" in value:  # an array, as Keras's files have it
        value = value["config"]["value"]
    try:
        return [float(v) for v in value]
    except (TypeError, ValueError):
        raise Expected("must be a list of numbers") from None


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


class AUC(
    Counting, first=("num_thresholds", "curve", "summation_method", "name", "dtype", "thresholds")
):
    """The area under a curve through one point for each threshold.

    With labels (batch, ..., labels) of 0 and 1 and predictions between 0 and 1; in counts of true
    and false positives and negatives the curves are

        ROC     recall, tp / (tp + fn), over the share of false alarms, fp / (fp + tn);
        PR      precision, tp / (tp + fp), over recall;
        PRGAIN  precision gain over recall gain (Flach & Kull 2015).

    Parameters
    ----------
    num_thresholds : how many, from just below 0 to just above 1; default 200.
    curve : "ROC" (default), "PR" or "PRGAIN".
    summation_method : between points "interpolation" (default; for PR of true and false positives,
        Davis & Goadrich 2006), or the lower ("minoring") or higher ("majoring") of two.
    thresholds : the inner thresholds, in place of `num_thresholds`.
    multi_label : the mean of an area for each label; default False, all labels together.
    num_labels : how many; with `multi_label` only, where by default the first data tells.
    label_weights : factors of the labels; default 1.
    from_logits : predictions are values before the sigmoid; default False.
    """

    _direction = "up"

    num_thresholds: int = arg(200, check=_several)
    curve: str = arg("ROC", convert=_upper, choices=("ROC", "PR", "PRGAIN"))
    summation_method: str = arg("interpolation", choices=("interpolation", "minoring", "majoring"))
    thresholds: Any = arg(None, convert=_list, check=check_thresholds)
    multi_label: bool = arg(False, last=True)
    num_labels: int | None = arg(None, check=positive, last=True)
    label_weights: Any = arg(None, convert=_list, last=True)
    from_logits: bool = arg(False, last=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.init_thresholds = self.thresholds
        if self.thresholds is not None:
            self.num_thresholds = len(self.thresholds) + 2
            inner = sorted(self.thresholds)
        else:
            inner = evenly_spaced(self.num_thresholds)[1:-1]
        # A little outside, so that 0 counts as above the first and 1 as up to the last.
        self.thresholds = [-EPSILON, *inner, 1.0 + EPSILON]
        if not self.multi_label:
            if self.num_labels is not None:
                raise ValueError(
                    f"AUC: num_labels needs multi_label=True, got num_labels={self.num_labels}"
                )
            self.add_counts((self.num_thresholds,))
        elif self.num_labels is not None:
            self.add_counts((self.num_thresholds, self.num_labels))

    def _argument(self, name: str) -> Any:
        return self.init_thresholds if name == "thresholds" else super()._argument(name)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch; `sample_weight` has shape (batch,) or more axes."""
        y_pred = tensor(y_pred, self.value_dtype)
        if self.from_logits:
            y_pred = ops.sigmoid(y_pred)
        shape = tuple(y_pred.shape)
        if self.multi_label:
            self._check_labels(shape)
            if not self.variables:
                self.add_counts((self.num_thresholds, shape[1]))
            self.count(y_true, y_pred, sample_weight=sample_weight, by_label=True)
        else:
            weights = self.label_weights
            self.count(y_true, y_pred, sample_weight=sample_weight, label_weights=weights)

    def _check_labels(self, shape: tuple[int, ...]) -> None:
        known = self.variables[0].shape[1] if self.variables else None
        if len(shape) != 2 or known not in (None, shape[1]):
            wanted = f"(batch, {known or 'labels'})"
            raise ValueError(
                f"AUC {self.name!r}: with multi_label predictions have shape {wanted}, got {shape}"
            )

    def result(self) -> Any:
        """The area, 0 where nothing has been counted."""
        if not self.variables:
            return shown(0.0, self.value_dtype)
        counts = self.counts()
        if (self.curve, self.summation_method) == ("PR", "interpolation"):
            areas = _interpolated_precision(*counts).sum(axis=0)
        else:
            x, y = CURVES[self.curve](*counts)
            heights = HEIGHTS[self.summation_method](y[:-1], y[1:])
            areas = ((x[:-1] - x[1:]) * heights).sum(axis=0)
        if self.multi_label:
            weights = np.ones(len(areas)) if self.label_weights is None else self.label_weights
            areas = ratio((areas * weights).sum(), np.asarray(weights).sum())
        return shown(areas, self.value_dtype)


HEIGHTS: dict[str, Callable] = {
    "interpolation": lambda a, b: (a + b) / 2,
    "minoring": np.minimum,
    "majoring": np.maximum,
}


def _gains(tp: np.ndarray, fp: np.ndarray, tn: np.ndarray, fn: np.ndarray) -> tuple:
    """Recall gain and precision gain, 0 and 1 without true positives; recall gain at least 0."""
    odds = ratio(tp + fn, tn + fp)
    recall = np.where(tp == 0, 0.0, 1.0 - odds * ratio(fn, tp))
    precision = np.where(tp == 0, 1.0, 1.0 - odds * ratio(fp, tp))
    return np.maximum(recall, 0.0), precision


# Points (x, y) from true and false positives, true and false negatives.
CURVES = {
    "ROC": lambda tp, fp, tn, fn: (ratio(fp, fp + tn), ratio(tp, tp + fn)),
    "PR": lambda tp, fp, tn, fn: (ratio(tp, tp + fn), ratio(tp, tp + fp)),
    "PRGAIN": _gains,
}


def _interpolated_precision(
    tp: np.ndarray, fp: np.ndarray, tn: np.ndarray, fn: np.ndarray
) -> np.ndarray:
    """The integral of precision over recall between neighbouring thresholds a and b.

    tp and the positive predictions p = tp + fp change linearly, tp = slope * p + c, so that

        integral of (tp / p) dp = slope * (p_a - p_b) + c * log(p_a / p_b),

    and recall changes by slope / (tp + fn) for each p.
    """
    p = tp + fp
    rise = tp[:-1] - tp[1:]
    slope = ratio(rise, np.maximum(p[:-1] - p[1:], 0))
    c = tp[1:] - slope * p[1:]
    quotient = np.where((p[:-1] > 0) & (p[1:] > 0), ratio(p[:-1], p[1:]), 1.0)
    area = slope * (rise + c * np.log(quotient))
    return ratio(area, np.maximum(tp[1:] + fn[1:], 0))
