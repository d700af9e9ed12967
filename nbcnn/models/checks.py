"""Checks of what users pass to fit, evaluate and predict, each once per array and vectorised."""

import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nbcnn import loss_formulas, losses
from nbcnn.models.signature import Slot, fits
from nbcnn.runtime.cuda_memory import is_on_a_gpu

INT32 = np.iinfo(np.int32)


def whole_number(where: str, name: str, value: Any, least: int) -> int:
    """`value` as an int of at least `least`; ValueError otherwise."""
    is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_whole or value < least:
        expected = "a positive whole number" if least == 1 else f"a whole number from {least}"
        raise ValueError(f"{where}: {name} must be {expected}, got {value!r}")
    return int(value)


def fraction(where: str, name: str, value: Any) -> float:
    """`value` as a float in [0, 1)."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not 0 <= value < 1:
        raise ValueError(f"{where}: {name} must be from 0 to below 1, got {value!r}")
    return float(value)


def numeric(where: str, name: str, value: Any) -> np.ndarray:
    """`value` as an array of numbers with a batch axis and at least one sample."""
    try:
        array = value if is_on_a_gpu(value) else np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{where}: {name} cannot be made an array: {error}") from None
    if array.dtype.kind not in "biuf":
        kind = type(value).__name__
        got = f"an array of dtype {array.dtype}" if kind == "ndarray" else f"{kind} ({value!r:.60})"
        raise TypeError(f"{where}: {name} must be an array of numbers, got {got}")
    if array.ndim == 0:
        raise ValueError(f"{where}: {name} must have a batch axis, got the number {array}")
    if array.size == 0:
        raise ValueError(f"{where}: {name} is empty, its shape is {array.shape}")
    return array


def inputs(where: str, arrays: Sequence[Any], slots: Sequence[Slot]) -> list[np.ndarray]:
    """The model's inputs as arrays of the expected shapes."""
    checked = []
    for array, slot in zip(arrays, slots):
        name = "x" if len(slots) == 1 else f"x[{slot.name!r}]"
        if array is None:
            raise ValueError(f"{where}: {name} is missing")
        array = numeric(where, name, array)
        if array.ndim != len(slot.shape):
            array = array.reshape(*rank_adjusted(array.shape, slot.shape))
        if not fits(array.shape, slot.shape):
            prefix = "" if len(slots) == 1 else f"{name}: "
            raise ValueError(
                f"{where}: {prefix}expected input of shape {shown(slot.shape)}, got {array.shape}"
            )
        if np.dtype(slot.dtype).kind in "iu":
            within_32_bits(where, name, array)
        checked.append(array)
    return checked


def rank_adjusted(shape: Sequence[int | None], expected: Sequence[int | None]) -> tuple:
    """`shape` with a last axis of one element more or less where `expected` has it so, as in Keras:
    grey pictures come without channels, numbers as columns.
    """
    if len(shape) == len(expected) - 1 and expected[-1] == 1:
        return (*shape, 1)
    if len(shape) == len(expected) + 1 and shape[-1] == 1:
        return tuple(shape[:-1])
    return tuple(shape)


def shown(shape: Sequence[int | None]) -> str:
    return str(tuple(shape))


def equal_lengths(where: str, groups: Mapping[str, Sequence[Any]]) -> int:
    """The number of samples, which all arrays must share. `groups`: what the user called them."""
    first: tuple[str, int] | None = None
    for name, arrays in groups.items():
        for i, array in enumerate(arrays):
            if array is None:
                continue
            label = name if len(arrays) == 1 else f"{name}[{i}]"
            if first is None:
                first = (label, len(array))
            elif len(array) != first[1]:
                raise ValueError(
                    f"{where}: {first[0]} has {first[1]} samples, {label} has {len(array)}"
                )
    assert first is not None
    return first[1]


def target(where: str, name: str, array: np.ndarray, loss: Any, predicted: Slot) -> np.ndarray:
    """Targets of one output, with the shape and values that its loss can take."""
    formula = formula_of(loss)
    # A loss of a user's may take NaN as "unknown", and leave it out.
    if formula is not None and array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{where}: {name} holds NaN or infinite values")
    if formula in SPARSE:
        return class_numbers(where, name, array, loss, predicted)
    if formula is not None:
        _target_shape(where, name, array, formula, predicted)
    within_32_bits(where, name, array)
    return array


def within_32_bits(where: str, name: str, array: Any) -> None:
    """Refuse whole numbers that are too large for what steps take."""
    wide = array.dtype.kind in "iu" and array.dtype.itemsize >= 4 and array.dtype != np.int32
    if not wide or is_on_a_gpu(array):
        return
    low, high = array.min(), array.max()
    if low < INT32.min or high > INT32.max:
        raise ValueError(
            f"{where}: {name} must fit 32-bit integers, got values from {low} to {high}"
        )


SPARSE = (
    loss_formulas.sparse_categorical_crossentropy,
    loss_formulas.categorical_generalized_cross_entropy,
    loss_formulas.circle,
)


def formula_of(loss: Any) -> Any:
    """The package's own formula that a loss computes, or None for a user's."""
    if isinstance(loss, losses.FormulaLoss):
        return type(loss).formula if type(loss).call is losses.FormulaLoss.call else None
    function = getattr(loss, "fn", None)
    own = getattr(function, "__module__", None) == loss_formulas.__name__
    return function if own else None


def class_numbers(
    where: str, name: str, labels: np.ndarray, loss: Any, predicted: Slot
) -> np.ndarray:
    """Labels from 0 to classes - 1, as whole numbers; `ignore_class` is allowed too, and beside
    embeddings, which do not say how many classes there are, any number.
    """
    options = getattr(loss, "kwargs", {})
    axis = getattr(loss, "axis", options.get("axis", -1))
    embedded = formula_of(loss) is loss_formulas.circle
    classes = None if embedded else predicted.shape[axis]
    without = [size for i, size in enumerate(predicted.shape) if i != axis % len(predicted.shape)]
    if not (fits(labels.shape, without) or fits(labels.shape, [*without, 1])):
        hint = ""
        if fits(labels.shape, predicted.shape) and not embedded:
            hint = "; for one-hot labels use categorical_crossentropy"
        raise ValueError(
            f"{where}: {name} must hold class numbers of shape {shown(without)}, "
            f"got {labels.shape}{hint}"
        )
    if labels.dtype.kind == "f":
        whole = labels.astype(np.int64)
        if (whole != labels).any():
            raise ValueError(f"{where}: {name} must hold whole class numbers, got {labels.dtype}")
        labels = whole
    ignored = getattr(loss, "ignore_class", options.get("ignore_class"))
    seen = labels if ignored is None else labels[labels != ignored]
    if classes is not None and seen.size:
        low, high = int(seen.min()), int(seen.max())
        if low < 0 or high >= classes:
            wrong = low if low < 0 else high
            raise ValueError(
                f"{where}: {name} must hold labels from 0 to {classes - 1}, got {wrong}"
            )
    return labels


def _target_shape(where: str, name: str, array: np.ndarray, formula: Any, predicted: Slot) -> None:
    """Equal shapes, up to a last axis of size 1."""
    shape = predicted.shape
    shorter = shape[:-1] if shape[-1] == 1 else None
    if fits(array.shape, shape) or (shorter is not None and fits(array.shape, shorter)):
        return
    if array.shape[-1] == 1 and fits(array.shape[:-1], shape):
        return
    hint = ""
    if formula is loss_formulas.categorical_crossentropy and array.ndim < len(shape) + 1:
        if array.ndim == len(shape) - 1 or array.shape[-1] == 1:
            hint = "; for class numbers use sparse_categorical_crossentropy"
    raise ValueError(f"{where}: {name} must have shape {shown(shape)}, got {array.shape}{hint}")


def sample_weights(where: str, name: str, value: Any, slot: Any) -> np.ndarray:
    """Finite weights: one for each sample, or for each place of an output (n, places..., c)."""
    weights = numeric(where, name, value)
    places = slot.shape[1:-1]
    if weights.ndim in (2, len(places) + 2) and weights.shape[-1] == 1:
        weights = weights[..., 0]
    sizes = weights.shape[1:]
    by_place = len(sizes) == len(places) and all(b in (None, a) for a, b in zip(sizes, places))
    if weights.ndim < 1 or (sizes and not by_place):
        whole = f", or (samples, {', '.join(map(str, places))})" if places else ""
        raise ValueError(f"{where}: {name} must have shape (samples,){whole}, got {weights.shape}")
    if weights.dtype.kind == "f" and not np.isfinite(weights).all():
        raise ValueError(f"{where}: {name} holds NaN or infinite values")
    return weights


def class_weights(where: str, value: Any) -> dict[int, float]:
    """A dictionary from class numbers to finite weights."""
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"{where}: class_weight must be a dictionary, got {value!r}")
    table = {}
    for key, weight in value.items():
        number = whole_number(where, "each class of class_weight", key, 0)
        if not isinstance(weight, numbers.Real) or not np.isfinite(float(weight)):
            raise ValueError(f"{where}: class_weight[{key}] must be a number, got {weight!r}")
        table[number] = float(weight)
    return table
