"""Metrics: what training reports beside the loss.

Most are means of a formula's value per sample. `values(y_true, y_pred)` is that value as a tensor
of shape (batch,), which training accumulates inside the graph; `update_state`, `result` and
`reset_state` do the same with arrays. The others have variables, to which training adds inside the
graph too; they are in the modules that `ELSEWHERE` names, loaded on first use.

Common parameters
-----------------
config : what `serialize` returned, or a name.
custom_objects : dictionary of classes and functions that are not part of this package, by name;
    default none.
identifier : name, class, configuration or object; see above.
y_true, y_pred : labels and predictions, symbolic tensors or arrays: (batch, ..., k), labels of
    class numbers (batch, ...).
from_logits : y_pred holds values before the sigmoid or softmax; default False.
label_smoothing : labels are moved towards the uniform distribution by this fraction; default 0.
ignore_class : samples with this label do not count; default None.
axis : the axis of classes; default the last.
from_sorted_ids : y_pred holds class numbers in falling order of score instead; default False.
"""

import importlib
from collections.abc import Mapping
from typing import Any

from nbcnn import loss_formulas, ops
from nbcnn.accuracy_formulas import accuracy as accuracy
from nbcnn.accuracy_formulas import binary_accuracy as binary_accuracy
from nbcnn.accuracy_formulas import categorical_accuracy as categorical_accuracy
from nbcnn.accuracy_formulas import sparse_categorical_accuracy as sparse_categorical_accuracy
from nbcnn.accuracy_formulas import (
    sparse_top_k_categorical_accuracy as sparse_top_k_categorical_accuracy,
)
from nbcnn.accuracy_formulas import top_k_categorical_accuracy as top_k_categorical_accuracy
from nbcnn.declare import arg, fraction, positive
from nbcnn.losses import Loss, label_kind
from nbcnn.metric_base import FormulaMetric, MeanOfFormula, family
from nbcnn.metric_base import Mean as Mean
from nbcnn.metric_base import MeanMetricWrapper as MeanMetricWrapper
from nbcnn.metric_base import Metric as Metric
from nbcnn.metric_base import Sum as Sum
from nbcnn.registry import serialize as serialize

ELSEWHERE = {
    **dict.fromkeys(
        ("TruePositives", "TrueNegatives", "FalsePositives", "FalseNegatives", "Precision",
         "Recall", "SensitivityAtSpecificity", "SpecificityAtSensitivity", "PrecisionAtRecall",
         "RecallAtPrecision"),
        "nbcnn.metric_confusion",
    ),
    "AUC": "nbcnn.metric_auc",
    **dict.fromkeys(
        ("IoU", "BinaryIoU", "MeanIoU", "OneHotIoU", "OneHotMeanIoU"), "nbcnn.metric_iou"
    ),
    **dict.fromkeys(("F1Score", "FBetaScore", "R2Score"), "nbcnn.metric_scores"),
    **dict.fromkeys(
        ("PearsonCorrelation", "ConcordanceCorrelation", "pearson_correlation",
         "concordance_correlation"),
        "nbcnn.metric_correlation",
    ),
}  # fmt: skip
__all__ = [
    "Accuracy", "BinaryAccuracy", "BinaryCrossentropy", "CategoricalAccuracy",
    "CategoricalCrossentropy", "CategoricalHinge", "CosineSimilarity", "Hinge", "KLDivergence",
    "LogCoshError", "Mean", "MeanAbsoluteError", "MeanAbsolutePercentageError",
    "MeanMetricWrapper", "MeanSquaredError", "MeanSquaredLogarithmicError", "Metric", "Poisson",
    "RootMeanSquaredError", "SparseCategoricalAccuracy", "SparseCategoricalCrossentropy",
    "SparseTopKCategoricalAccuracy", "SquaredHinge", "Sum", "TopKCategoricalAccuracy",
    "binary_accuracy", "binary_crossentropy", "binary_focal_crossentropy", "categorical_accuracy",
    "categorical_crossentropy", "categorical_focal_crossentropy", "categorical_hinge",
    "deserialize", "get", "hinge", "huber", "kl_divergence", "log_cosh", "mean_absolute_error",
    "mean_absolute_percentage_error", "mean_squared_error", "mean_squared_logarithmic_error",
    "poisson", "serialize", "sparse_categorical_accuracy", "sparse_categorical_crossentropy",
    "sparse_top_k_categorical_accuracy", "squared_hinge", "top_k_categorical_accuracy",
    *ELSEWHERE,
]  # fmt: skip
family.add_elsewhere(ELSEWHERE)


def __getattr__(name: str) -> Any:
    if name not in ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(ELSEWHERE[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *ELSEWHERE})


class Accuracy(FormulaMetric, formula=accuracy):
    """How often y_pred equals y_true exactly."""


class BinaryAccuracy(FormulaMetric, formula=binary_accuracy):
    """How often y_pred lies on the side of `threshold` (0.5) that the label 0 or 1 says."""

    threshold: float = arg(0.5, check=fraction, last=True)


class CategoricalAccuracy(FormulaMetric, formula=categorical_accuracy):
    """How often the largest prediction is that of the one-hot label."""


class SparseCategoricalAccuracy(FormulaMetric, formula=sparse_categorical_accuracy):
    """How often the largest prediction is that of the class number."""


class TopKCategoricalAccuracy(FormulaMetric, formula=top_k_categorical_accuracy):
    """How often the one-hot label is among the `k` (5) largest predictions."""

    k: int = arg(5, check=positive)


class SparseTopKCategoricalAccuracy(FormulaMetric, formula=sparse_top_k_categorical_accuracy):
    """How often the class number is among the `k` (5) largest predictions."""

    k: int = arg(5, check=positive)
    from_sorted_ids: bool = arg(False, last=True)


class MeanSquaredError(FormulaMetric, formula=loss_formulas.mean_squared_error):
    """Mean of (t - p)²."""


class MeanAbsoluteError(FormulaMetric, formula=loss_formulas.mean_absolute_error):
    """Mean of |t - p|."""


class MeanAbsolutePercentageError(
    FormulaMetric, formula=loss_formulas.mean_absolute_percentage_error
):
    """100 times the mean of |t - p| / |t|."""


class MeanSquaredLogarithmicError(
    FormulaMetric, formula=loss_formulas.mean_squared_logarithmic_error
):
    """Mean of (log(p + 1) - log(t + 1))²."""


class RootMeanSquaredError(MeanOfFormula):
    """The square root of the mean of (t - p)²."""

    name = "root_mean_squared_error"
    _direction = "down"

    def compute(self, y_true: Any, y_pred: Any) -> Any:
        y_true, y_pred = loss_formulas.aligned(y_true, y_pred)
        return ops.square(y_pred - y_true)

    def finish(self, mean: float) -> float:
        return mean**0.5


class CosineSimilarity(MeanOfFormula):
    """The cosine of the angle between t and p along `axis`: 1 for equal directions."""

    name = "cosine_similarity"
    _direction = "up"
    axis: int = arg(-1, last=True)

    def compute(self, y_true: Any, y_pred: Any) -> Any:
        return -loss_formulas.cosine_similarity(y_true, y_pred, self.axis)


class LogCoshError(FormulaMetric, formula=loss_formulas.log_cosh):
    """Mean of log(cosh(p - t))."""

    name = "logcosh"


class Hinge(FormulaMetric, formula=loss_formulas.hinge):
    """Mean of max(1 - t * p, 0), with labels -1 and 1 (or 0 and 1)."""


class SquaredHinge(FormulaMetric, formula=loss_formulas.squared_hinge):
    """Mean of max(1 - t * p, 0)², with labels -1 and 1 (or 0 and 1)."""


class CategoricalHinge(FormulaMetric, formula=loss_formulas.categorical_hinge):
    """max(max((1 - t) * p) - sum(t * p) + 1, 0), with one-hot labels."""


class KLDivergence(FormulaMetric, formula=loss_formulas.kl_divergence):
    """Sum of t * log(t / p)."""


class Poisson(FormulaMetric, formula=loss_formulas.poisson):
    """Mean of p - t * log(p)."""


class BinaryCrossentropy(FormulaMetric, formula=loss_formulas.binary_crossentropy):
    """Cross-entropy of labels 0 and 1; arguments as for the loss."""

    from_logits: bool = arg(False, last=True)
    label_smoothing: float = arg(0.0, check=fraction, last=True)


class CategoricalCrossentropy(FormulaMetric, formula=loss_formulas.categorical_crossentropy):
    """Cross-entropy of one-hot labels; arguments as for the loss."""

    from_logits: bool = arg(False, last=True)
    label_smoothing: float = arg(0.0, check=fraction, last=True)
    axis: int = arg(-1, last=True)


class SparseCategoricalCrossentropy(
    FormulaMetric, formula=loss_formulas.sparse_categorical_crossentropy
):
    """Cross-entropy of class numbers; arguments as for the loss."""

    from_logits: bool = arg(False, last=True)
    ignore_class: int | None = arg(None, last=True)
    axis: int = arg(-1, last=True)

    def valid(self, y_true: Any, y_pred: Any) -> Any:
        if self.ignore_class is None:
            return None
        labels = loss_formulas.class_numbers(y_true, y_pred, self.axis)
        return ops.not_equal(labels, self.ignore_class)


binary_crossentropy = loss_formulas.binary_crossentropy
binary_focal_crossentropy = loss_formulas.binary_focal_crossentropy
categorical_crossentropy = loss_formulas.categorical_crossentropy
categorical_focal_crossentropy = loss_formulas.categorical_focal_crossentropy
categorical_hinge = loss_formulas.categorical_hinge
hinge = loss_formulas.hinge
huber = loss_formulas.huber
kl_divergence = loss_formulas.kl_divergence
log_cosh = loss_formulas.log_cosh
mean_absolute_error = loss_formulas.mean_absolute_error
mean_absolute_percentage_error = loss_formulas.mean_absolute_percentage_error
mean_squared_error = loss_formulas.mean_squared_error
mean_squared_logarithmic_error = loss_formulas.mean_squared_logarithmic_error
poisson = loss_formulas.poisson
sparse_categorical_crossentropy = loss_formulas.sparse_categorical_crossentropy
squared_hinge = loss_formulas.squared_hinge

for _class, _names in {
    BinaryCrossentropy: ("bce", "BCE"),
    MeanSquaredError: ("mse", "MSE"),
    MeanAbsoluteError: ("mae", "MAE"),
    MeanAbsolutePercentageError: ("mape", "MAPE"),
    MeanSquaredLogarithmicError: ("msle", "MSLE"),
}.items():
    family.add(_class, *_names)


def get(identifier: Any) -> Any:
    """The metric that a name, class, configuration or callable means; None stays None."""
    return family.get(identifier)


def for_output(identifier: Any, y_true: Any, y_pred: Any) -> Metric:
    """The metric object for one output of a model, as `compile` takes it.

    "accuracy" (or "acc") is binary, sparse or categorical by the shapes of `y_true` and `y_pred`. A
    metric asked for by name bears that name; functions and losses are wrapped.
    """
    name = identifier if isinstance(identifier, str) else None
    if str(identifier).lower() in ("accuracy", "acc"):
        identifier = {
            "binary": BinaryAccuracy,
            "sparse": SparseCategoricalAccuracy,
            "categorical": CategoricalAccuracy,
        }[label_kind(y_true.shape, y_pred.shape)]
    metric = get(identifier)
    if metric is None:
        raise ValueError("expected a metric, its name or a function, got None")
    if isinstance(metric, Loss):
        metric = MeanMetricWrapper(metric.call, name=metric.name)
    elif not isinstance(metric, Metric):
        metric = MeanMetricWrapper(metric)
    if name is not None:
        metric.name = name
    return metric


def deserialize(config: Mapping | str, custom_objects: Mapping | None = None) -> Any:
    """The metric that `serialize` described."""
    return family.get(config, custom_objects)
