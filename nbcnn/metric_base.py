"""The base of metrics: state over batches, and means of a value per sample."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from nbcnn import accuracy_formulas, config, initializers, loss_formulas, losses, ops
from nbcnn.declare import Declared, arg
from nbcnn.dtype_policies import float_name
from nbcnn.layers.variable import Variable
from nbcnn.loss_formulas import floating, like, same_rank
from nbcnn.losses import Loss
from nbcnn.metric_results import read_after_the_step
from nbcnn.ops.host_array import Array
from nbcnn.ops.loss import EPSILON
from nbcnn.ops.op import is_symbolic
from nbcnn.registry import Family, deserialize

family = Family("metric", "keras.metrics")


class Result(float):
    """A float that also has the `numpy()` of a Keras tensor."""

    def numpy(self) -> np.float32:
        return np.float32(self)


def shown(value: Any, dtype: str = "float32") -> Any:
    """What `result` returns: a `Result` for one number, else an `Array`."""
    array = np.asarray(value, dtype)
    return array.view(Array) if array.ndim else Result(array)


class Metric(Declared, family=family):
    """Base of metrics: override `update_state(y_true, y_pred, sample_weight=None)` and `result()`.

    Parameters
    ----------
    name : automatic by default; the key in logs and `History`.
    dtype : float type of the variables; that of `config.floatx()`, float32, by default.
    """

    _direction: ClassVar[str | None] = None  # "up" or "down": where better values lie

    name: str | None = arg(None, last=True)
    dtype: str | None = arg(None, convert=float_name, last=True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "result" in cls.__dict__:
            cls.result = read_after_the_step(cls.result)  # type: ignore[method-assign]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.variables: list[Variable] = []

    @property
    def value_dtype(self) -> str:
        """The float type to compute in."""
        return self.dtype or config.floatx()

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

        Parameters
        ----------
        shape : sizes, default a number.
        initializer : default "zeros".
        dtype : default that of the metric.
        name : default "variable".
        """
        start = initializers.get(initializer or "zeros")
        variable = Variable(start, shape, dtype or self.value_dtype, False, name)
        self.variables.append(variable)
        return variable

    def add_weight(
        self,
        shape: tuple[int, ...] = (),
        initializer: Any = "zeros",
        dtype: str | None = None,
        name: str = "variable",
    ) -> Variable:
        """The same as `add_variable`, under its other name."""
        return self.add_variable(shape, initializer, dtype, name=name)

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Counts a batch, (y_true, y_pred, sample_weight=None); defined by metrics of one's own."""
        raise NotImplementedError(f"{type(self).__name__} must define update_state")

    def result(self) -> Any:
        """The value over all that was counted: a number or an array; defined likewise."""
        raise NotImplementedError(f"{type(self).__name__} must define result")

    def reset_state(self) -> None:
        """Forgets everything seen so far."""
        for variable in self.variables:
            variable.assign(np.zeros(variable.shape, variable.dtype))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """`update_state`, then `result`."""
        self.update_state(*args, **kwargs)
        return self.result()


class _Totals(Metric):
    """A weighted sum and the sum of its weights.

    Those of arrays are numbers; values inside a step are added to variables, made when the first
    such come.
    """

    reduce: ClassVar[str] = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.total = self.count = 0.0

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Adds values of shape (batch, ...), weighted by `sample_weight` of shape (batch,) or more
        axes.
        """
        totals = weighted_totals(values, sample_weight, self.reduce)
        if not is_symbolic(values):
            self.add(*totals)
            return
        if not self.variables:
            for name in ("total", "count"):
                self.add_variable((), name=name, dtype="float64")
        for variable, value in zip(self.variables, totals):
            variable.assign_add(ops.cast(value, "float64"))

    def add(self, total: float, count: float) -> None:
        """Adds an already summed part: the weighted sum and the sum of the weights."""
        self.total += total
        self.count += count

    def totals(self) -> tuple[float, float]:
        """Both sums so far."""
        inside = [float(v.numpy()) for v in self.variables] or [0.0, 0.0]
        return self.total + inside[0], self.count + inside[1]

    def reset_state(self) -> None:
        self.total = self.count = 0.0
        super().reset_state()


class Sum(_Totals):
    """The sum of all values, each times its weight."""

    name = "sum"
    reduce = "sum"

    def result(self) -> Result:
        return Result(self.totals()[0])


class Mean(_Totals):
    """The weighted mean of all values; 0 before the first."""

    name = "mean"

    def result(self) -> Result:
        total, count = self.totals()
        return Result(self.finish(total / count if count else 0.0))

    def finish(self, mean: float) -> float:
        """The result from the mean of all values."""
        return mean


def weighted_totals(values: Any, sample_weight: Any = None, reduce: str = "mean") -> tuple:
    """(sum over samples of value * weight, sum of weights); axes after the first are averaged, or
    summed.

    Floats of arrays, tensors of tensors.
    """
    symbolic = is_symbolic(values)
    xp = ops if symbolic else np
    values = floating(values) if symbolic else np.asarray(values, "float64")

    def by_sample(x: Any, first: int = 1) -> Any:
        return getattr(xp, reduce)(x, axis=tuple(range(first, len(x.shape))))

    if sample_weight is None:
        count: Any = float(values.shape[0] if len(values.shape) else 1)
        total = xp.sum(by_sample(values))
    else:
        weights = like(sample_weight, values) if symbolic else np.asarray(sample_weight, "float64")
        values, weights = same_rank(values, weights)
        values = by_sample(values, len(weights.shape))
        weights = xp.broadcast_to(weights, values.shape)
        total, count = (xp.sum(by_sample(x)) for x in (values * weights, weights))
    return (total, count) if symbolic else (float(total), float(count))


class MeanOfFormula(Mean):
    """Base of metrics that are the mean of `compute(y_true, y_pred)` over the samples."""

    def compute(self, y_true: Any, y_pred: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define compute(y_true, y_pred)")

    def values(self, y_true: Any, y_pred: Any) -> Any:
        """The value of each sample, shape (batch,)."""
        values = self.compute(y_true, y_pred)
        axes = tuple(range(1, len(values.shape)))
        return ops.mean(values, axis=axes) if axes else values

    def valid(self, y_true: Any, y_pred: Any) -> Any:
        """None, or which of the values count where samples are weighted, in their shape.

        Without weights all do, as in Keras.
        """
        return None

    def weighted_values(self, y_true: Any, y_pred: Any, weight: Any) -> tuple[Any, Any]:
        """`values`, and the weights of their mean: those of the samples, shape (batch,), times the
        share of a sample's values that count.
        """
        values, valid = self.values(y_true, y_pred), self.valid(y_true, y_pred)
        if valid is None:
            return values, weight
        share = ops.cast(valid, str(values.dtype))
        axes = tuple(range(1, len(share.shape)))
        if axes:  # what does not count is 0, but is part of the mean over the axes
            share = ops.mean(share, axis=axes)
            values = values / ops.maximum(share, EPSILON)
        return values, ops.cast(weight, str(share.dtype)) * share

    def update_state(  # type: ignore[override]
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Adds a batch."""
        if not is_symbolic(y_pred):
            y_pred, y_true = np.asarray(y_pred), np.asarray(y_true)
        values, valid = self.compute(y_true, y_pred), None
        if sample_weight is not None:
            valid = self.valid(y_true, y_pred)
        if valid is not None:
            valid = like(valid, floating(values))
            weights = like(sample_weight, valid)
            missing = len(valid.shape) - len(weights.shape)
            sample_weight = ops.reshape(weights, (*weights.shape, *(1,) * missing)) * valid
        super().update_state(values, sample_weight)


def is_mean_of_values(metric: Any) -> bool:
    """Whether training may take the mean of `values` in place of what `update_state` does."""
    update = type(metric).update_state
    own = (MeanOfFormula.update_state, Metric.update_state)
    return hasattr(metric, "values") and update in own


class MeanMetricWrapper(MeanOfFormula):
    """The mean of a function of (y_true, y_pred); `kwargs` are its further arguments.

    Parameters
    ----------
    fn : gives a value per sample.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        name: str | None = None,
        dtype: str | None = None,
        **kwargs: Any,
    ) -> None:
        fn = _formula(fn)
        name = name or getattr(fn, "__name__", "").strip("<>") or getattr(fn, "name", None)
        super().__init__(name=name, dtype=dtype)
        self.fn = fn
        self.kwargs = kwargs
        is_loss = isinstance(getattr(fn, "__self__", fn), Loss)
        if is_loss or getattr(fn, "__module__", None) == loss_formulas.__name__:
            self._direction = "down"  # type: ignore[misc]

    def compute(self, y_true: Any, y_pred: Any) -> Any:
        return self.fn(y_true, y_pred, **self.kwargs)


def _formula(fn: Any) -> Any:
    """A function from what `serialize` made of it; anything else as it is."""
    if isinstance(fn, Mapping):
        return deserialize(fn)
    if isinstance(fn, str):
        return getattr(accuracy_formulas, fn, None) or losses.get(fn)
    return fn


class FormulaMetric(MeanOfFormula):
    """A metric whose fields beyond those of `Metric` are further arguments of its formula."""

    formula: ClassVar[Callable[..., Any]]
    of_formula: ClassVar[tuple[str, ...]]  # names of its arguments

    def __init_subclass__(cls, formula: Callable[..., Any] | None = None, **kwargs: Any) -> None:
        """`formula`: of this metric; that of the base by default."""
        if formula is not None:
            cls.formula = staticmethod(formula)
            if "_direction" not in cls.__dict__:
                cls._direction = "up" if formula.__name__.endswith("accuracy") else "down"
            if "name" not in cls.__dict__:
                cls.name = formula.__name__
        super().__init_subclass__(**kwargs)
        if formula is not None:
            cls.of_formula = tuple(name for name in cls.fields if name not in Metric.fields)

    def compute(self, y_true: Any, y_pred: Any) -> Any:
        own = {name: getattr(self, name) for name in self.of_formula}
        return self.formula(y_true, y_pred, **own)
