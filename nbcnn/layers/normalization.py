"""Normalization by statistics of the data."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from nbcnn import config, ops
from nbcnn.declare import Expected, arg
from nbcnn.layers.base import Layer


def _axes(value: Any) -> tuple[int, ...]:
    items = () if value is None else value if isinstance(value, (list, tuple)) else (value,)
    if all(isinstance(a, (int, np.integer)) and not isinstance(a, bool) for a in items):
        return tuple(int(a) for a in items)
    raise Expected("must be an axis, a tuple of them or None")


def _numbers(value: Any) -> Any:
    """A number, or nested lists of numbers, as a file can hold them."""
    if value is None:
        return None
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise Expected("must be a number or an array of numbers")
    return array.astype("float64").tolist()


class Normalization(Layer):
    """(x - mean) / standard deviation, of numbers given or learned from data by `adapt`.

    Parameters
    ----------
    axis : the axis, or axes, that have a mean and a variance for each element, default -1; None for
        one of everything.
    mean, variance : numbers that broadcast along these axes; without them `adapt` is for the
        weights of the same names.
    invert : x * standard deviation + mean instead, default False.
    """

    axis: Any = arg(-1, convert=_axes)
    mean: Any = arg(None, convert=_numbers)
    variance: Any = arg(None, convert=_numbers)
    invert: bool = False
    if TYPE_CHECKING:  # what `mean` and `variance` were given; an annotation here would be a field
        input_mean: Any
        input_variance: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.input_mean, self.input_variance
        if (given[0] is None) != (given[1] is None):
            raise ValueError(
                f"Normalization: mean and variance must be given both, got mean={given[0]} and "
                f"variance={given[1]}"
            )
        if given[0] is None:
            return
        if np.shape(given[0]) != np.shape(given[1]) or np.ndim(given[0]) > len(self.axis):
            raise ValueError(
                f"Normalization: mean and variance must have one shape, of at most "
                f"{len(self.axis)} axes, got {np.shape(given[0])} and {np.shape(given[1])}"
            )

    def _argument(self, name: str) -> Any:
        return super()._argument(f"input_{name}" if name in ("mean", "variance") else name)

    def _kept(self, rank: int) -> tuple[int, ...]:
        return tuple(sorted(a % rank for a in self.axis))

    def _fixed_axes(self) -> tuple[int, ...]:
        return self._kept(len(self._built_for))

    def _form(self, shape: Any) -> tuple[int, ...]:
        """The shape in which statistics broadcast to inputs."""
        kept = self._kept(len(shape))
        return tuple(shape[a] if a in kept else 1 for a in range(len(shape)))

    def build(self, input_shape: Any) -> None:
        rank = len(input_shape)
        if any(not -rank <= a < rank for a in self.axis):
            raise ValueError(
                f"Normalization {self.name!r}: axis {self.axis} is out of range for input shape "
                f"{input_shape}"
            )
        if any(n is None for n in self._form(input_shape)):
            raise ValueError(
                f"Normalization {self.name!r}: the sizes along axis {self.axis} must be known, got "
                f"{input_shape}"
            )
        if self.input_mean is None:
            sizes = tuple(input_shape[a] for a in self._kept(rank))
            self.adapt_mean = self.add_weight(sizes, "zeros", trainable=False, name="mean")
            self.adapt_variance = self.add_weight(sizes, "ones", trainable=False, name="variance")
            # Nothing reads it; files of Keras have it.
            self.count = self.add_weight((), "zeros", "int32", trainable=False, name="count")

    def adapt(self, data: Any) -> None:
        """Takes mean and variance from `data`: an array, or an iterable of batches (of which the
        first element counts where they are tuples).
        """
        if self.input_mean is not None:
            raise ValueError(
                f"Normalization {self.name!r}: adapt() is for layers without mean and variance"
            )
        if hasattr(data, "__array__") or hasattr(data, "dtype"):
            data = [data]
        if not isinstance(data, Iterable) and not hasattr(data, "__getitem__"):
            raise TypeError(
                f"Normalization {self.name!r}: adapt() takes an array or batches, got "
                f"{type(data).__name__}"
            )
        count, mean, variance = 0, np.float64(0), np.float64(0)
        for batch in data:
            x = np.asarray(batch[0] if isinstance(batch, tuple) else batch, "float64")
            self._fit(x.shape)
            around = tuple(a for a in range(x.ndim) if a not in self._kept(x.ndim))
            more = math.prod(x.shape[a] for a in around)
            share = more / (count + more)
            own = x.mean(around)
            joint = mean * (1 - share) + own * share
            # Variances about means of their own, brought to the joint mean (Chan et al. 1983).
            variance = (variance + (mean - joint) ** 2) * (1 - share) + (
                x.var(around) + (own - joint) ** 2
            ) * share
            mean, count = joint, count + more
        if count == 0:
            raise ValueError(f"Normalization {self.name!r}: adapt() got no data")
        self.adapt_mean.assign(mean)
        self.adapt_variance.assign(variance)

    def _fit(self, shape: tuple) -> None:
        if not self.built:
            self.build((None, *shape[1:]) if 0 not in self._kept(len(shape)) else shape)
        self._check_input(shape)

    def _statistics(self) -> tuple[Any, Any]:
        """Mean and variance in a shape that broadcasts to inputs."""
        form = self._form(self._built_for)
        if self.input_mean is None:
            return ops.reshape(self.adapt_mean, form), ops.reshape(self.adapt_variance, form)
        sizes = [n for a, n in enumerate(form) if a in self._kept(len(form))]
        given = (np.asarray(v, self.value_dtype) for v in (self.input_mean, self.input_variance))
        mean, variance = (np.broadcast_to(v, sizes).reshape(form) for v in given)
        return mean, variance

    def call(self, inputs: Any) -> Any:
        x = ops.cast(inputs, self.value_dtype)
        mean, variance = self._statistics()
        deviation = ops.maximum(ops.sqrt(variance), config.epsilon())
        return x * deviation + mean if self.invert else (x - mean) / deviation


def _statistic(number: int, name: str) -> property:
    """What Keras's layer shows under the name of the argument: the numbers in use, once built."""

    def read(layer: Normalization) -> Any:
        if not layer.built:
            return None
        if layer.input_mean is None:
            form = layer._form(layer._built_for)
            return (layer.adapt_mean, layer.adapt_variance)[number].numpy().reshape(form)
        return layer._statistics()[number]

    def keep(layer: Normalization, value: Any) -> None:
        setattr(layer, f"input_{name}", value)

    return property(read, keep)


Normalization.mean = _statistic(0, "mean")
Normalization.variance = _statistic(1, "variance")
