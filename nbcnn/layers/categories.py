"""Layers that make features of classes and of ranges of numbers, and one that blanks steps."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nbcnn import ops
from nbcnn.declare import Expected, arg, positive
from nbcnn.layers.base import Layer

MODES = ("multi_hot", "one_hot", "count")


def _dense_only(value: Any) -> bool:
    if value:
        raise Expected("must be False (there are no sparse tensors here)")
    return False


def _mode(value: Any) -> Any:
    return "multi_hot" if value == "binary" else value  # the old name


def encoded(numbers: Any, mode: str, depth: int, dtype: str, weights: Any = None) -> Any:
    """Class numbers as rows of `depth`: one for each ('one_hot'; a last axis of one element goes),
    or one for all of a sample that says which are there, or how often ('multi_hot', 'count').
    """
    numbers = ops.cast(numbers, "int32")
    if mode == "one_hot":
        sizes = ops.shape(numbers)
        if len(sizes) > 1 and sizes[-1] == 1:
            numbers = ops.squeeze(numbers, -1)
        return ops.one_hot(numbers, depth, dtype=dtype)
    if mode == "multi_hot":
        return ops.multi_hot(numbers, depth, dtype=dtype)
    rows = ops.one_hot(numbers, depth, dtype=dtype)
    if weights is not None:
        rows = rows * ops.expand_dims(ops.cast(weights, dtype), -1)
    return ops.sum(rows, axis=1 if len(ops.shape(numbers)) > 1 else 0)


class CategoryEncoding(Layer):
    """Class numbers as rows of numbers.

    Parameters
    ----------
    num_tokens : how many classes there are; other numbers give zeros.
    output_mode : 'multi_hot' (default): 1 where a class is among those of a sample; 'count': how
        often, times `count_weights` of the call, in the inputs' shape; 'one_hot': a row for each
        number.
    sparse : only False.

    Shapes: (n, k) -> (n, num_tokens), of 'one_hot' (n, k, num_tokens), or (n, num_tokens) for k 1.
    """

    autocast = False

    num_tokens: int = arg(check=positive)
    output_mode: str = arg("multi_hot", convert=_mode, choices=MODES)
    sparse: bool = arg(False, convert=_dense_only)

    def call(self, inputs: Any, count_weights: Any = None) -> Any:
        if count_weights is not None and self.output_mode != "count":
            raise ValueError(
                f"CategoryEncoding {self.name!r}: count_weights are for output_mode='count', not "
                f"{self.output_mode!r}"
            )
        return encoded(inputs, self.output_mode, self.num_tokens, self.value_dtype, count_weights)


def _numbers(value: Any) -> Any:
    if value is None:
        return None
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or array.ndim != 1 or not array.size:
        raise Expected("must be a list of numbers")
    if (np.diff(array) < 0).any():
        raise Expected("must be in ascending order")
    return array.tolist()


class Discretization(Layer):
    """The number of the range that each input lies in.

    Parameters
    ----------
    bin_boundaries : where ranges end, in ascending order; the end belongs to the next range.
    num_bins : instead, how many ranges of about as many values each `adapt` is to find.
    epsilon : the precision of their shares, default 0.01.
    output_mode : 'int' (default), 'one_hot', 'multi_hot' or 'count': see `CategoryEncoding`.
    sparse : only False.
    """

    bin_boundaries: Any = arg(None, convert=_numbers)
    num_bins: int | None = arg(None, check=positive)
    epsilon: float = arg(0.01, check=positive)
    output_mode: str = arg("int", convert=_mode, choices=("int", *MODES))
    sparse: bool = arg(False, convert=_dense_only)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.bin_boundaries is None) == (self.num_bins is None):
            raise ValueError(
                "Discretization: give either bin_boundaries or num_bins, got "
                f"{self.bin_boundaries} and {self.num_bins}"
            )

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """Boundaries that were found by `adapt` come on top of `num_bins`."""
        if config.get("num_bins") is None:
            return super().from_config(dict(config))
        layer = super().from_config({**config, "bin_boundaries": None})
        layer.bin_boundaries = config.get("bin_boundaries")
        return layer

    def adapt(self, data: Any) -> None:
        """Finds boundaries from an array, or from an iterable of batches."""
        if self.num_bins is None:
            raise ValueError(
                f"Discretization {self.name!r}: adapt() is for layers without bin_boundaries"
            )
        whole = hasattr(data, "__array__") or hasattr(data, "dtype")
        summary = np.zeros((2, 0), "float32")
        for batch in [data] if whole else data:
            own = _summary(np.asarray(batch, "float32"), self.epsilon)
            both = np.concatenate([own, summary], axis=1)
            summary = _compressed(both[:, np.argsort(both[0])], self.epsilon)
        if not summary.size:
            raise ValueError(f"Discretization {self.name!r}: adapt() got no data")
        self.bin_boundaries = _compressed(summary, 1.0 / self.num_bins)[0, :-1].tolist()

    def call(self, inputs: Any) -> Any:
        if self.bin_boundaries is None:
            raise ValueError(f"Discretization {self.name!r}: call adapt() first")
        bins = np.asarray(self.bin_boundaries, self.value_dtype)
        numbers = ops.digitize(inputs, bins)
        if self.output_mode == "int":
            return ops.cast(numbers, "int32")
        return encoded(numbers, self.output_mode, len(bins) + 1, self.value_dtype)


def _summary(values: np.ndarray, epsilon: float) -> np.ndarray:
    """Some of the sorted values, evenly spaced, and how many each stands for: (2, k)."""
    values = np.sort(values.reshape(-1))
    step = max(values.size * epsilon, 1)
    chosen = values[int(step - 1) :: int(step)]
    return np.stack([chosen, np.full_like(chosen, step)])


def _compressed(summary: np.ndarray, epsilon: float) -> np.ndarray:
    """A summary with shares of `epsilon`, interpolated, as in Keras."""
    if summary.shape[1] * epsilon < 1:
        return summary
    shares = epsilon + np.arange(0.0, 1.0, epsilon)
    sums = summary[1].cumsum()
    values = np.interp(shares, sums / sums[-1], summary[0])
    counts = np.diff(np.interp(shares, sums / sums[-1], sums), prepend=0)
    return np.stack([values, counts]).astype("float32")


class Masking(Layer):
    """Zeros for steps of which every number is `mask_value`.

    The layers that follow see these zeros: no mask goes along with them, so means and losses count
    such steps.

    Parameters
    ----------
    mask_value : default 0.

    Shapes: (n, steps, features) -> the same.
    """

    mask_value: float = 0.0

    def call(self, inputs: Any) -> Any:
        kept = ops.any(ops.not_equal(inputs, self.mask_value), axis=-1, keepdims=True)
        return ops.where(kept, inputs, ops.zeros_like(inputs))
