"""Counts and arrays behind the charts: confusions, mistakes, filters."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nbcnn.layers.base import Layer
from nbcnn.layers.conv import Convolution
from nbcnn.layers.depthwise import Depthwise, Separable
from nbcnn.models.model import Model
from nbcnn.viz.walking import check_model, only_output


class Mistakes(NamedTuple):
    """Samples that a model gets wrong: their numbers, their labels, what was predicted instead, and
    with which score; the highest score first.
    """

    samples: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    scores: np.ndarray


def labels_of(where: str, argument: str, values: Any) -> np.ndarray:
    """Class numbers (samples,) for those, or for scores or one-hot rows (samples, classes).

    Raises ValueError for other shapes and for numbers that are not whole or negative.
    """
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] > 1:
        array = array.argmax(1)
    array = array[:, 0] if array.ndim == 2 else array
    if array.ndim != 1 or not np.array_equal(array, np.floor(array)) or (array < 0).any():
        raise ValueError(
            f"{where}: {argument} must hold class numbers (samples,) or scores (samples, classes), "
            f"got shape {np.shape(values)} of {array.dtype}"
        )
    return array.astype(np.int64)


def confusion_counts(y_true: Any, y_pred: Any, classes: int | None = None) -> np.ndarray:
    """How often class i was taken for class j, at [i, j].

    Parameters
    ----------
    y_true, y_pred : class numbers (samples,), or scores or one-hot rows (samples, classes).
    classes : how many there are; default as many as occur.

    Returns
    -------
    int64 array (classes, classes).

    Raises
    ------
    ValueError
        For different numbers of samples, and class numbers that are not below `classes`.
    """
    where = "confusion_counts"
    true, guessed = labels_of(where, "y_true", y_true), labels_of(where, "y_pred", y_pred)
    if len(true) != len(guessed):
        raise ValueError(
            f"{where}: y_true and y_pred must have as many samples, got {len(true)} and "
            f"{len(guessed)}"
        )
    there = int(max(true.max(initial=-1), guessed.max(initial=-1))) + 1
    count = there if classes is None else classes
    if there > count:
        raise ValueError(f"{where}: class {there - 1} is not below classes, which is {count}")
    return np.bincount(true * count + guessed, minlength=count * count).reshape(count, count)


def mistakes(model: Any, x: Any, y: Any) -> Mistakes:
    """Which of the images `x` (n, h, w, c) the model takes for another class than `y`, class
    numbers (n,) or one-hot rows (n, classes).

    Returns
    -------
    (samples, labels, predicted, scores), arrays with the most confident mistakes first.

    Raises
    ------
    ValueError
        For a model that is not built, and where x and y have not as many samples.
    """
    check_model("mistakes", model)
    labels = labels_of("mistakes", "y", y)
    if len(labels) != len(x):
        raise ValueError(
            f"mistakes: x and y must have as many samples, got {len(x)} and {len(labels)}"
        )
    scores = only_output("mistakes", model, model.predict(x, verbose=0))
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise ValueError(
            "mistakes: the model must end in scores of classes (n, classes), "
            f"got shape {scores.shape}"
        )
    guessed = scores.argmax(1)
    wrong = np.flatnonzero(guessed != labels)
    wrong = wrong[np.argsort(-scores[wrong, guessed[wrong]], kind="stable")]
    return Mistakes(wrong, labels[wrong], guessed[wrong], scores[wrong, guessed[wrong]])


def filter_images(model: Any) -> np.ndarray:
    """The filters of a convolution of images, as images.

    Parameters
    ----------
    model : a convolution layer, or a model whose first one is taken.

    Returns
    -------
    float array (filters, kh, kw, channels); one channel each for depthwise filters.

    Raises
    ------
    TypeError
        For what is no layer.
    ValueError
        For layers that are no convolution of images, models without one, and what is not built.
    """
    where = "filter_images"
    if not isinstance(model, Layer):
        raise TypeError(f"{where}: expected a model or a layer, got {type(model).__name__}")
    inner: Sequence[Any] = [model]
    if isinstance(model, Model):
        check_model(where, model)
        inner = list(model._flatten_layers())
    for layer in inner:
        kernel = _kernel(where, layer)
        if kernel is not None:
            return kernel
    raise ValueError(f"{where}: {type(model).__name__} {model.name!r} has no convolution of images")


def _kernel(where: str, layer: Any) -> np.ndarray | None:
    """(filters, kh, kw, channels), None where it is no convolution with two sizes."""
    kinds = (Convolution, Depthwise, Separable)
    if not isinstance(layer, kinds) or len(layer.kernel_size) != 2:
        return None
    if not layer.built:
        raise ValueError(f"{where}: layer {layer.name!r} is not built yet; call it on images first")
    if isinstance(layer, Convolution):
        return np.asarray(layer.kernel).transpose(3, 0, 1, 2)
    kernel = np.asarray(layer.weights[0])  # (kh, kw, channels, multiplier)
    return kernel.reshape(*kernel.shape[:2], -1).transpose(2, 0, 1)[..., None]
