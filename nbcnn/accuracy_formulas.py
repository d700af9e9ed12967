"""Formulas of accuracies: 1.0 where a prediction is right, 0.0 where it is not, per sample.

They take symbolic tensors or arrays; y_pred holds scores, (batch, ..., classes) where classes are
told apart.
"""

from typing import Any

import numpy as np

from nbcnn import ops
from nbcnn.loss_formulas import class_numbers, like, same_rank


def _tensor(x: Any) -> Any:
    return ops.convert_to_tensor(x if hasattr(x, "dtype") else np.asarray(x))


def _ones_where(matches: Any, y_pred: Any) -> Any:
    dtype = str(y_pred.dtype)
    return ops.cast(matches, dtype if "float" in dtype else "float32")


def accuracy(y_true: Any, y_pred: Any) -> Any:
    """Where y_pred equals y_true exactly."""
    y_pred = _tensor(y_pred)
    y_true, y_pred = same_rank(like(y_true, y_pred), y_pred)
    return _ones_where(ops.equal(y_true, y_pred), y_pred)


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Any:
    """Where y_pred > threshold agrees with the label 0 or 1."""
    y_true, y_pred = same_rank(_tensor(y_true), _tensor(y_pred))
    said_one = ops.cast(ops.greater(y_pred, threshold), str(y_true.dtype))
    return _ones_where(ops.equal(y_true, said_one), y_pred)


def categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """Where the largest prediction is at the one of the one-hot label."""
    y_pred = _tensor(y_pred)
    matches = ops.equal(ops.argmax(_tensor(y_true), axis=-1), ops.argmax(y_pred, axis=-1))
    return _ones_where(matches, y_pred)


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """Where the largest prediction is that of the class number, (batch, ...) or (batch, ..., 1)."""
    y_pred = _tensor(y_pred)
    y_true = class_numbers(y_true, y_pred)
    return _ones_where(ops.equal(y_true, like(ops.argmax(y_pred, axis=-1), y_true)), y_pred)


def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Any:
    """Where the one-hot label is among the k largest predictions."""
    return sparse_top_k_categorical_accuracy(ops.argmax(_tensor(y_true), axis=-1), y_pred, k)


def sparse_top_k_categorical_accuracy(
    y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False
) -> Any:
    """Where fewer than k predictions are larger than that of the class number.

    With `from_sorted_ids`, y_pred holds class numbers in falling order of score instead.
    """
    y_pred = _tensor(y_pred)
    y_true = class_numbers(y_true, y_pred)
    if from_sorted_ids:
        hits = ops.equal(like(ops.expand_dims(y_true, -1), y_pred), y_pred[..., :k])
        return _ones_where(ops.max(ops.cast(hits, "int32"), axis=-1), y_pred)
    chosen = ops.cast(ops.one_hot(ops.cast(y_true, "int32"), y_pred.shape[-1]), str(y_pred.dtype))
    score = ops.sum(chosen * y_pred, axis=-1, keepdims=True)
    larger = ops.sum(ops.cast(ops.greater(y_pred, score), "int32"), axis=-1)
    return _ones_where(ops.less(larger, k), y_pred)
