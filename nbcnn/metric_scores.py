"""Scores that mix sums over the whole data: F-beta of labels, and R² of a regression."""

import warnings
from typing import Any, ClassVar

import numpy as np

from nbcnn import ops
from nbcnn.declare import arg, non_negative, positive
from nbcnn.loss_formulas import same_rank
from nbcnn.metric_base import Metric, shown
from nbcnn.ops.loss import EPSILON
from nbcnn.threshold_counts import tensor, weights_like


class _ByColumn(Metric):
    """Sums over the batch of (batch, columns); the variables are made for the first data."""

    _direction = "up"

    def prepared(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        """Both as tensors of one shape (batch, columns) that fits the variables."""
        t, p = tensor(y_true, self.value_dtype), tensor(y_pred, self.value_dtype)
        t, p = same_rank(t, p)
        shape = tuple(p.shape)
        if len(shape) != 2 or tuple(t.shape) != shape:
            self._refuse(f"expected shapes (batch, outputs), got {tuple(t.shape)} and {shape}")
        seen = self.__dict__.setdefault("_columns", shape[1])
        if seen != shape[1]:
            self._refuse(f"expected {seen} outputs as before, got shape {shape}")
        return t, p

    def _refuse(self, text: str) -> None:
        raise ValueError(f"{type(self).__name__} {self.name!r}: {text}")


def _above_0_up_to_1(value: Any) -> str | None:
    return None if 0 < value <= 1 else "must be above 0 and at most 1"


class _FScore(_ByColumn):
    average: str | None = arg(None, choices=(None, "micro", "macro", "weighted"))
    threshold: float | None = arg(None, check=_above_0_up_to_1)
    beta: ClassVar[float] = 1.0

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch of labels 0 and 1 and predictions, both of shape (batch, labels)."""
        t, p = self.prepared(y_true, y_pred)
        if not self.variables:
            shape = () if self.average == "micro" else (p.shape[1],)
            for name in NAMES:
                setattr(self, name, self.add_variable(shape, name=name))
        if self.threshold is None:
            largest = ops.greater_equal(p, ops.max(p, axis=-1, keepdims=True))
            said = ops.logical_and(largest, ops.greater(ops.abs(p), 1e-9))
        else:
            said = ops.greater(p, self.threshold)
        said = ops.cast(said, self.value_dtype)
        axis = None if self.average == "micro" else 0
        parts = (said * t, said * (1.0 - t), (1.0 - said) * t, t)
        for variable, values in zip(self.variables, parts):
            if sample_weight is not None:
                values = values * weights_like(tensor(sample_weight, self.value_dtype), values)
            variable.assign_add(ops.sum(values, axis=axis))

    def result(self) -> Any:
        """One number, or without an average an array with a score for each label."""
        if not self.variables:
            return shown(0.0, self.value_dtype)
        tp, fp, fn, of_label = (v.numpy().astype("float64") for v in self.variables)
        precision, recall = tp / (tp + fp + EPSILON), tp / (tp + fn + EPSILON)
        weight = self.beta**2
        score = (1 + weight) * precision * recall / (weight * precision + recall + EPSILON)
        if self.average == "weighted":
            score = np.sum(score * of_label / (of_label.sum() + EPSILON))
        elif self.average is not None:
            score = np.mean(score)
        return shown(score, self.value_dtype)


NAMES = ("true_positives", "false_positives", "false_negatives", "intermediate_weights")


class FBetaScore(_FScore, first=("average", "beta")):
    """(1 + beta²) * precision * recall / (beta² * precision + recall).

    Labels and predictions have shape (batch, labels).

    Parameters
    ----------
    average : None (default): a score for each label; "macro": their mean; "weighted": their mean,
        weighted by how often a label is 1; "micro": of all labels' counts together.
    beta : how many times as much recall counts; default 1.
    threshold : predictions above it say yes; by default a sample's largest prediction does.
    """

    name = "fbeta_score"
    beta: float = arg(1.0, check=positive)  # type: ignore[misc]


class F1Score(_FScore):
    """2 * precision * recall / (precision + recall); arguments as for `FBetaScore`."""

    name = "f1_score"


class R2Score(_ByColumn):
    """1 - sum (t - p)² / sum (t - mean of t)²: the share of the targets' variance that predictions
    explain.

    Targets t and predictions p have shape (batch, outputs).

    Parameters
    ----------
    class_aggregation : "uniform_average" (default): the mean over outputs;
        "variance_weighted_average": weighted by their variance; None: a score for each output.
    num_regressors : for the adjusted score, how many values predictions are made of; default 0, not
        adjusted.
    """

    name = "r2_score"
    class_aggregation: str | None = arg(
        "uniform_average", choices=("uniform_average", "variance_weighted_average", None)
    )
    num_regressors: int = arg(0, check=non_negative)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.num_samples = self.add_variable((), name="num_samples")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch; `sample_weight` has shape (batch,) or that of the targets."""
        dtype = self.value_dtype
        t, p = self.prepared(y_true, y_pred)
        if len(self.variables) == 1:
            shape = (p.shape[1],)
            self.squared_sum = self.add_variable(shape, name="squared_sum")
            self.sum = self.add_variable(shape, name="sum")
            self.total_mse = self.add_variable(shape, name="residual")
            self.count = self.add_variable(shape, name="count")
        weights = ops.ones(t.shape, dtype)
        if sample_weight is not None:
            weights = weights_like(tensor(sample_weight, dtype), t)
        self.sum.assign_add(ops.sum(t * weights, axis=0))
        self.squared_sum.assign_add(ops.sum(t * (t * weights), axis=0))
        self.total_mse.assign_add(ops.sum(ops.square(t - p) * weights, axis=0))
        self.count.assign_add(ops.sum(weights, axis=0))
        self.num_samples.assign_add(np.asarray(t.shape[0] * t.shape[1], dtype))

    def result(self) -> Any:
        """One number, or without an aggregation an array with a score for each output."""
        if len(self.variables) == 1:
            return shown(0.0, self.value_dtype)
        samples, squares, sums, residual, count = (v.numpy() for v in self.variables)
        with np.errstate(divide="ignore", invalid="ignore"):
            total = squares - sums * (sums / count)  # rounded like the squares: 0 for one sample
            scores = 1 - residual / total
            scores = np.where(np.isinf(scores), 0.0, scores)
            score: Any = scores
            if self.class_aggregation == "uniform_average":
                score = np.mean(scores)
            elif self.class_aggregation == "variance_weighted_average":
                score = np.sum(total * scores) / np.sum(total)
        return shown(self._adjusted(score, float(samples)), self.value_dtype)

    def _adjusted(self, score: Any, samples: float) -> Any:
        regressors = self.num_regressors
        if regressors == 0:
            return score
        if regressors >= samples - 1:
            warnings.warn(
                f"R2Score {self.name!r}: num_regressors={regressors} needs more than "
                f"{regressors + 1} samples, got {samples:.0f}; the score is not adjusted",
                stacklevel=3,
            )
            return score
        return 1 - (1 - score) * (samples - 1) / (samples - regressors - 1)
