"""Metrics: what training reports beside the loss.

Most are means of a formula's value per sample. `values(y_true, y_pred)` is that value as a tensor
of shape (batch,), which training accumulates inside the graph; `update_state`, `result` and
`reset_state` do the same with arrays.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from nbcnn import loss_formulas, ops
from nbcnn.accuracy_formulas import accuracy as accuracy
from nbcnn.accuracy_formulas import binary_accuracy as binary_accuracy
from nbcnn.accuracy_formulas import categorical_accuracy as categorical_accuracy
from nbcnn.accuracy_formulas import sparse_categorical_accuracy as sparse_categorical_accuracy
from nbcnn.accuracy_formulas import (
    sparse_top_k_categorical_accuracy as sparse_top_k_categorical_accuracy,
)
from nbcnn.accuracy_formulas import top_k_categorical_accuracy as top_k_categorical_accuracy
from nbcnn.declare import Declared, arg, fraction, positive
from nbcnn.layers.variable import Variable
from nbcnn.losses import Loss, label_kind
from nbcnn.registry import Family
from nbcnn.registry import serialize as serialize

family = Family("metric", "keras.metrics")


class Result(float):
    """A float that also has the `numpy()` of a Keras tensor."""

    def numpy(self) -> np.float32:
        return np.float32(self)


class Metric(Declared, family=family):
    """Base of metrics: override `update_state(y_true, y_pred, sample_weight=None)` and `result()`.

    Parameters
    ----------
    name : automatic by default; the key in logs and `History`.
    dtype : float type of the variables; "float32" by default.
    """

    direction: ClassVar[str | None] = None  # "up" or "down": where better values lie

    name: str | None = arg(None, last=True)
    dtype: str | None = arg(None, last=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.variables: list[Variable] = []

    def add_variable(
        self,
        shape: tuple[int, ...] = (),
        initializer: Any = "zeros",
        dtype: str | None = None,
        aggregation: str = "sum",
        name: str = "variable",
    ) -> Variable:
        """A state variable, set to zero by `reset_state`. `aggregation` is accepted for Keras's
        sake.
        """
        from nbcnn import initializers

        start = initializers.get(initializer or "zeros")
        variable = Variable(start, shape, dtype or self.dtype or "float32", False, name)
        self.variables.append(variable)
        return variable

    def add_weight(
        self,
        shape: tuple[int, ...] = (),
        initializer: Any = "zeros",
        dtype: str | None = None,
        name: str = "variable",
    ) -> Variable:
        """`add_variable` under its other name."""
        return self.add_variable(shape, initializer, dtype, name=name)

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(f"{type(self).__name__} must define update_state")

    def result(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define result")

    def reset_state(self) -> None:
        """Forgets everything seen so far."""
        for variable in self.variables:
            variable.assign(np.zeros(variable.shape, variable.dtype))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """`update_state`, then `result`."""
        self.update_state(*args, **kwargs)
        return self.result()


class Sum(Metric):
    """The sum of all values, each times its weight."""

    name = "sum"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.total = 0.0

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        weights = 1.0 if sample_weight is None else np.asarray(sample_weight, "float64")
        self.total += float(np.sum(np.asarray(values, "float64") * weights))

    def result(self) -> Result:
        return Result(self.total)

    def reset_state(self) -> None:
        self.total = 0.0


class Mean(Metric):
    """The weighted mean of all values; 0 before the first."""

    name = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.total = self.count = 0.0

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Adds values of shape (batch, ...), weighted by `sample_weight` of shape (batch,) or more
        axes.
        """
        self.add(*weighted_totals(values, sample_weight))

    def add(self, total: float, count: float) -> None:
        """Adds an already summed part: the weighted sum and the sum of the weights."""
        self.total += total
        self.count += count

    def result(self) -> Result:
        return Result(self.finish(self.total / self.count if self.count else 0.0))

    def finish(self, mean: float) -> float:
        """The result from the mean of all values."""
        return mean

    def reset_state(self) -> None:
        self.total = self.count = 0.0


def weighted_totals(values: Any, sample_weight: Any = None) -> tuple[float, float]:
    """(sum over samples of value * weight, sum of weights); axes after the first are averaged."""
    values = np.asarray(values, "float64")
    if sample_weight is None:
        return float(_samplewise(values).sum()), float(values.shape[0] if values.ndim else 1)
    weights = np.asarray(sample_weight, "float64")
    if weights.ndim == values.ndim + 1 and weights.shape[-1] == 1:
        weights = weights[..., 0]
    values = values.mean(axis=tuple(range(weights.ndim, values.ndim)))
    weights = np.broadcast_to(weights, values.shape)
    return float(_samplewise(values * weights).sum()), float(_samplewise(weights).sum())


def _samplewise(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=tuple(range(1, values.ndim)))


class MeanOfFormula(Mean):
    """Base of metrics that are the mean of `compute(y_true, y_pred)` over the samples."""

    def compute(self, y_true: Any, y_pred: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define compute(y_true, y_pred)")

    def values(self, y_true: Any, y_pred: Any) -> Any:
        """The value of each sample, shape (batch,)."""
        values = self.compute(y_true, y_pred)
        axes = tuple(range(1, len(values.shape)))
        return ops.mean(values, axis=axes) if axes else values

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Adds a batch of arrays."""
        y_pred, y_true = np.asarray(y_pred), np.asarray(y_true)
        super().update_state(self.compute(y_true, y_pred), sample_weight)


class MeanMetricWrapper(MeanOfFormula):
    """The mean of a function of (y_true, y_pred); `kwargs` are its further arguments."""

    def __init__(
        self,
        fn: Callable[..., Any],
        name: str | None = None,
        dtype: str | None = None,
        **kwargs: Any,
    ) -> None:
        name = name or getattr(fn, "__name__", None) or getattr(fn, "name", None)
        super().__init__(name=name, dtype=dtype)
        self.fn = fn
        self.kwargs = kwargs
        is_loss = isinstance(getattr(fn, "__self__", fn), Loss)
        if is_loss or getattr(fn, "__module__", None) == loss_formulas.__name__:
            self.direction = "down"  # type: ignore[misc]

    def compute(self, y_true: Any, y_pred: Any) -> Any:
        return self.fn(y_true, y_pred, **self.kwargs)


class FormulaMetric(MeanOfFormula):
    """A metric whose fields beyond those of `Metric` are further arguments of its formula."""

    formula: ClassVar[Callable[..., Any]]

    def __init_subclass__(cls, formula: Callable[..., Any], **kwargs: Any) -> None:
        cls.formula = staticmethod(formula)
        cls.direction = "up" if formula.__name__.endswith("accuracy") else "down"
        if "name" not in cls.__dict__:
            cls.name = formula.__name__
        super().__init_subclass__(**kwargs)

    def compute(self, y_true: Any, y_pred: Any) -> Any:
        own = {name: getattr(self, name) for name in self.fields if name not in Metric.fields}
        return self.formula(y_true, y_pred, **own)


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
    direction = "down"

    def compute(self, y_true: Any, y_pred: Any) -> Any:
        y_true, y_pred = loss_formulas.aligned(y_true, y_pred)
        return ops.square(y_pred - y_true)

    def finish(self, mean: float) -> float:
        return mean**0.5


class CosineSimilarity(MeanOfFormula):
    """The cosine of the angle between t and p along `axis`: 1 for equal directions."""

    name = "cosine_similarity"
    direction = "up"
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
