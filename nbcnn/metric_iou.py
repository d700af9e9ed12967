"""Intersection over union of predicted and true classes, as in segmentation.

From c[i, j], how often class i was taken for class j, the value of a class is

    c[i, i] / (sum over j of c[i, j] + c[j, i]  -  c[i, i]).
"""

import warnings
from typing import Any

import numpy as np

from nbcnn import config, ops
from nbcnn.declare import KINDS, Expected, arg, positive
from nbcnn.dtype_policies import value_name
from nbcnn.metric_base import Metric, shown
from nbcnn.ops.loss import EPSILON
from nbcnn.threshold_counts import in_pieces, tensor, transposed_product, weights_like

EXACT = 2**24  # up to here float32 counts without gaps


SEVERAL = (list, tuple, range, np.ndarray)


def _class_ids(value: Any) -> list[int]:
    items: list[Any] = list(value) if isinstance(value, SEVERAL) else []
    if not items or not all(KINDS["int"](i) and i >= 0 for i in items):
        raise Expected("must be a list of class numbers")
    return [int(i) for i in items]


def _counting_type(value: Any) -> str | None:
    return value if value in (None, "int") else value_name(value)


class _Confusion(Metric):
    """The confusion matrix over all batches.

    Parameters
    ----------
    dtype : of the matrix; int32 by default, for which weights are cut to whole numbers.
    """

    _direction = "up"
    dtype: str | None = arg(None, convert=_counting_type, last=True)
    # Classes below make arguments of some of these.
    num_classes = 2
    target_class_ids = None  # type: Any
    ignore_class = None  # type: Any
    sparse_y_true = True
    sparse_y_pred = True
    axis = -1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.target_class_ids is None:
            self.target_class_ids = list(range(self.num_classes))
        outside = [i for i in self.target_class_ids if i >= self.num_classes]
        if outside:
            raise ValueError(
                f"{type(self).__name__}: target_class_ids must be below num_classes="
                f"{self.num_classes}, got {outside[0]}"
            )
        shape = (self.num_classes, self.num_classes)
        self.total_cm = self.add_variable(shape, name="total_confusion_matrix")

    @property
    def value_dtype(self) -> str:
        return "int32" if self.dtype in (None, "int") else self.dtype

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch of classes; those outside 0 to num_classes - 1 do not count.

        `sample_weight` has shape (batch,) or more axes, up to one weight for each pair of classes.
        """
        classes = self._classes(y_true, self.sparse_y_true, "y_true")
        predicted = self._classes(y_pred, self.sparse_y_pred, "y_pred")
        size = int(np.prod(classes.shape))
        if size != int(np.prod(predicted.shape)):
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: y_true and y_pred must hold as many "
                f"classes, got shapes {tuple(classes.shape)} and {tuple(predicted.shape)}"
            )
        weights = None if sample_weight is None else self._weights(sample_weight, classes)
        arrays = [v for v in (classes, predicted, weights) if v is not None]
        counting = "float32" if size < EXACT and self.value_dtype != "float64" else "float64"
        matrix = self._matrix([ops.reshape(v, (-1,)) for v in arrays], counting)
        self.total_cm.assign_add(ops.cast(matrix, self.value_dtype))

    def _classes(self, y: Any, sparse: bool, what: str) -> Any:
        y = y if hasattr(y, "shape") else np.asarray(y)
        if not sparse and not -len(y.shape) <= self.axis < len(y.shape):
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: {what} has no axis {self.axis} of classes, "
                f"its shape is {tuple(y.shape)}"
            )
        return ops.cast(y if sparse else ops.argmax(y, axis=self.axis), "int32")

    def _weights(self, sample_weight: Any, classes: Any) -> Any:
        given = sample_weight if hasattr(sample_weight, "shape") else np.asarray(sample_weight)
        if self.value_dtype == "int32" and "float" in str(given.dtype):
            warnings.warn(
                f"{type(self).__name__} {self.name!r}: with dtype int weights are cut to whole "
                "numbers; pass dtype='float32'",
                stacklevel=3,
            )
        return weights_like(tensor(given, self.value_dtype), classes)

    def _matrix(self, arrays: list[Any], dtype: str) -> Any:
        def counted(classes: Any, predicted: Any, weights: Any = None) -> tuple[Any]:
            rows = ops.one_hot(classes, self.num_classes, dtype=dtype)
            columns = ops.one_hot(predicted, self.num_classes, dtype=dtype)
            if self.ignore_class is not None:
                counts = ops.cast(ops.not_equal(classes, self.ignore_class), dtype)
                rows = rows * ops.expand_dims(counts, -1)
            if weights is not None:
                columns = columns * ops.expand_dims(ops.cast(weights, dtype), -1)
            return (transposed_product(rows, columns),)

        return in_pieces(counted, arrays, 2 * self.num_classes)[0]

    def result(self) -> Any:
        """The mean over the target classes that have been seen, 0 where none has."""
        matrix = self.total_cm.numpy().astype("float64")
        both = np.diag(matrix)
        either = matrix.sum(axis=0) + matrix.sum(axis=1) - both
        both, either = both[self.target_class_ids], either[self.target_class_ids]
        seen = either > 1e-9
        values = both[seen] / (either[seen] + EPSILON)
        return shown(values.sum() / (seen.sum() + EPSILON))


ORDER = ("num_classes", "target_class_ids", "name", "dtype", "ignore_class")


class IoU(_Confusion, first=(*ORDER, "sparse_y_true", "sparse_y_pred", "axis")):
    """The mean intersection over union of some classes.

    Parameters
    ----------
    num_classes : how many classes there are.
    target_class_ids : list of the classes to take the mean over.
    dtype : of the counts; by default int32, for which weights are cut to whole numbers.
    ignore_class : a label that does not count; default None.
    sparse_y_true, sparse_y_pred : labels and predictions are class numbers (default); else they
        have an axis of classes, and the class is that of the largest value.
    axis : of classes; default the last.
    """

    num_classes: int = arg(check=positive)
    target_class_ids: Any = arg(convert=_class_ids)
    ignore_class: int | None = None
    sparse_y_true: bool = True
    sparse_y_pred: bool = True
    axis: int = -1


class MeanIoU(_Confusion, first=("num_classes", *ORDER[2:], "sparse_y_true", "sparse_y_pred")):
    """The mean intersection over union of all classes that have been seen.

    Arguments as for `IoU`, without `target_class_ids`.
    """

    num_classes: int = arg(check=positive)
    ignore_class: int | None = None
    sparse_y_true: bool = True
    sparse_y_pred: bool = True
    axis: int = arg(-1, last=True)


class OneHotIoU(_Confusion, first=(*ORDER, "sparse_y_pred", "axis")):
    """`IoU` of one-hot labels and, unless `sparse_y_pred`, of predictions with an axis of classes.

    Arguments as for `IoU`, without `sparse_y_true`.
    """

    sparse_y_true = False
    num_classes: int = arg(check=positive)
    target_class_ids: Any = arg(convert=_class_ids)
    ignore_class: int | None = None
    sparse_y_pred: bool = False
    axis: int = -1


class OneHotMeanIoU(_Confusion, first=("num_classes", *ORDER[2:], "sparse_y_pred")):
    """`MeanIoU` of one-hot labels and, unless `sparse_y_pred`, of predictions with an axis of
    classes.

    Arguments as for `MeanIoU`, without `sparse_y_true`.
    """

    sparse_y_true = False
    num_classes: int = arg(check=positive)
    ignore_class: int | None = None
    sparse_y_pred: bool = False
    axis: int = arg(-1, last=True)


class BinaryIoU(_Confusion, first=("target_class_ids", "threshold")):
    """The mean intersection over union of the classes no, 0, and yes, 1.

    Parameters
    ----------
    target_class_ids : which of the two; default (0, 1).
    threshold : predictions from here on say yes; default 0.5.
    """

    target_class_ids: Any = arg((0, 1), convert=_class_ids)
    threshold: float = 0.5

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch; predictions have the shape of the labels."""
        said_yes = ops.greater_equal(tensor(y_pred, config.floatx()), self.threshold)
        super().update_state(y_true, said_yes, sample_weight)
