"""Metrics of yes-or-no predictions at thresholds: counts, precision, recall, and each where the
other has a wanted value.

Labels are 0 and 1, of the shape of the predictions, (batch, ..., labels); see
`nbcnn.threshold_counts`.
"""

from typing import Any, ClassVar

import numpy as np

from nbcnn.declare import arg, fraction, non_negative, positive
from nbcnn.metric_base import Metric, shown
from nbcnn.threshold_counts import (
    LOWEST,
    OUTCOMES,
    check_thresholds,
    evenly_spaced,
    outcomes,
    thresholds_or,
)


def ratio(a: Any, b: Any) -> np.ndarray:
    """a / b, and 0 where b is 0."""
    a, b = np.asarray(a), np.asarray(b)
    return np.divide(a, b, out=np.zeros(np.broadcast_shapes(a.shape, b.shape)), where=b != 0)


class Counting(Metric):
    """Base of metrics that count `counted` outcomes at `thresholds`, in variables of these names.

    `options`: the fields that `outcomes` gets.
    """

    counted: ClassVar[tuple[str, ...]] = OUTCOMES
    options: ClassVar[tuple[str, ...]] = ()
    thresholds = None  # type: Any

    def add_counts(self, shape: tuple[int, ...]) -> None:
        """Makes the variables."""
        for name in self.counted:
            setattr(self, name, self.add_variable(shape, name=name))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch; `sample_weight` has shape (batch,) or more axes."""
        given = {name: getattr(self, name) for name in self.options}
        self.count(y_true, y_pred, sample_weight=sample_weight, **given)

    def count(self, y_true: Any, y_pred: Any, **options: Any) -> None:
        """Adds to the variables what `outcomes` finds."""
        try:
            found = outcomes(
                self.counted, y_true, y_pred, self.thresholds, self.value_dtype, **options
            )
        except ValueError as error:
            raise ValueError(f"{type(self).__name__} {self.name!r}: {error}") from None
        for variable, value in zip(self.variables, found):
            variable.assign_add(value)

    def counts(self) -> list[np.ndarray]:
        """What has been counted, in the order of `counted`, in float64."""
        return [variable.numpy().astype("float64") for variable in self.variables]


class _AtThresholds(Counting):
    """One result for each threshold."""

    thresholds: Any = arg(None, check=check_thresholds)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.init_thresholds = self.thresholds
        self.thresholds = thresholds_or(self.default_threshold(), self.init_thresholds)
        self.add_counts((len(self.thresholds),))

    def default_threshold(self) -> float:
        return 0.5

    def _argument(self, name: str) -> Any:
        return self.init_thresholds if name == "thresholds" else super()._argument(name)

    def at_thresholds(self, values: np.ndarray) -> Any:
        """One number for one threshold, else an array."""
        return shown(values[0] if len(self.thresholds) == 1 else values, self.value_dtype)


class _Count(_AtThresholds):
    def add_counts(self, shape: tuple[int, ...]) -> None:
        self.accumulator = self.add_variable(shape, name="accumulator")

    def result(self) -> Any:
        """The weighted number, or an array with one for each threshold."""
        return self.at_thresholds(self.accumulator.numpy())


class TruePositives(_Count):
    """How many labels 1 have predictions above the threshold.

    Parameters
    ----------
    thresholds : number between 0 and 1, or a list of these, which gives as many counts; default
        0.5.
    """

    counted = ("true_positives",)


class TrueNegatives(_Count):
    """How many labels 0 have predictions up to the threshold; arguments as for `TruePositives`."""

    counted = ("true_negatives",)


class FalsePositives(_Count):
    """How many labels 0 have predictions above the threshold; arguments as for `TruePositives`."""

    counted = ("false_positives",)


class FalseNegatives(_Count):
    """How many labels 1 have predictions up to the threshold; arguments as for
    `TruePositives`.
    """

    counted = ("false_negatives",)


class _Share(_AtThresholds):
    _direction = "up"
    options = ("top_k", "class_id")

    top_k: int | None = arg(None, check=positive)
    class_id: int | None = arg(None, check=non_negative)

    def default_threshold(self) -> float:
        return 0.5 if self.top_k is None else LOWEST

    def result(self) -> Any:
        """The share, 0 where there is nothing; an array where there are several thresholds."""
        right, wrong = self.counts()
        return self.at_thresholds(ratio(right, right + wrong))


class Precision(_Share):
    """Of the predictions above the threshold, the share whose label is 1: tp / (tp + fp).

    Parameters
    ----------
    thresholds : number between 0 and 1, or a list of these, which gives as many results; default
        0.5, with `top_k` none.
    top_k : only the so many largest predictions of a sample count as above; default None.
    class_id : only this label counts; default None, all labels together.
    """

    counted = ("true_positives", "false_positives")


class Recall(_Share):
    """Of the labels 1, the share with predictions above the threshold: tp / (tp + fn).

    Arguments as for `Precision`.
    """

    counted = ("true_positives", "false_negatives")


SHARES = {
    "precision": lambda tp, fp, tn, fn: ratio(tp, tp + fp),
    "recall": lambda tp, fp, tn, fn: ratio(tp, tp + fn),
    "sensitivity": lambda tp, fp, tn, fn: ratio(tp, tp + fn),
    "specificity": lambda tp, fp, tn, fn: ratio(tn, tn + fp),
}


class _Best(Counting):
    """The best `best` at any threshold where the share `wanted`, an argument, has that value."""

    _direction = "up"
    options = ("class_id",)
    best: ClassVar[str] = ""
    wanted: ClassVar[str] = ""

    num_thresholds: int = arg(200, check=positive)
    class_id: int | None = arg(None, check=non_negative)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(first=(cls.wanted,) if cls.wanted else (), **kwargs)

    def __post_init__(self) -> None:
        super().__post_init__()
        count = self.num_thresholds
        self.thresholds = evenly_spaced(count) if count > 1 else [0.5]
        self.add_counts((count,))

    def result(self) -> Any:
        """The best value, 0 where no threshold fulfils the condition."""
        counts = self.counts()
        feasible = SHARES[self.wanted](*counts) >= getattr(self, self.wanted)
        values = np.where(feasible, SHARES[self.best](*counts), 0.0)
        return shown(values.max(), self.value_dtype)


class SensitivityAtSpecificity(_Best):
    """The best sensitivity, tp / (tp + fn), where tn / (tn + fp) is at least `specificity`.

    Parameters
    ----------
    specificity : number between 0 and 1.
    num_thresholds : how many thresholds are tried, from 0 to 1 in equal steps; default 200.
    class_id : only this label counts; default None, all labels together.
    """

    best, wanted = "sensitivity", "specificity"
    specificity: float = arg(check=fraction)


class SpecificityAtSensitivity(_Best):
    """The best specificity, tn / (tn + fp), where tp / (tp + fn) is at least `sensitivity`.

    Arguments as for `SensitivityAtSpecificity`.
    """

    best, wanted = "specificity", "sensitivity"
    sensitivity: float = arg(check=fraction)


class PrecisionAtRecall(_Best):
    """The best precision, tp / (tp + fp), where tp / (tp + fn) is at least `recall`.

    Arguments as for `SensitivityAtSpecificity`.
    """

    best, wanted = "precision", "recall"
    recall: float = arg(check=fraction)


class RecallAtPrecision(_Best):
    """The best recall, tp / (tp + fn), where tp / (tp + fp) is at least `precision`.

    Arguments as for `SensitivityAtSpecificity`.
    """

    best, wanted = "recall", "precision"
    precision: float = arg(check=fraction)
