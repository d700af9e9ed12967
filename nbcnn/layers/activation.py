"""Activations with parameters, as layers."""

from typing import Any

from nbcnn import activations, ops
from nbcnn.converters import axes, optional
from nbcnn.declare import arg, non_negative
from nbcnn.layers import fields
from nbcnn.layers.base import Layer


class ReLU(Layer):
    """x above `threshold`, at most `max_value`; negative_slope * (x - threshold) below it.

    Parameters
    ----------
    max_value : None (default) for no bound.
    negative_slope, threshold : default 0.
    """

    max_value: float | None = arg(None, check=non_negative)
    negative_slope: float = arg(0.0, check=non_negative)
    threshold: float = arg(0.0, check=non_negative)

    def call(self, inputs: Any) -> Any:
        return activations.relu(inputs, self.negative_slope, self.max_value, self.threshold)


class LeakyReLU(Layer):
    """x where positive, negative_slope (0.3) * x elsewhere."""

    negative_slope: float = arg(0.3, check=non_negative)

    def call(self, inputs: Any) -> Any:
        return activations.leaky_relu(inputs, self.negative_slope)


class ELU(Layer):
    """x where positive, alpha (1) * (exp(x) - 1) elsewhere."""

    alpha: float = 1.0

    def call(self, inputs: Any) -> Any:
        return activations.elu(inputs, self.alpha)


class PReLU(Layer):
    """x where positive, alpha * x elsewhere, with one learned alpha per value of a sample.

    Parameters
    ----------
    shared_axes : axes along which alpha is the same; (1, 2) learns one per channel of an image.
    """

    alpha_initializer: Any = fields.initializer("Zeros")
    alpha_regularizer: Any = fields.regularizer()
    alpha_constraint: Any = fields.constraint()
    shared_axes: Any = arg(
        None, convert=optional(lambda v: [v] if isinstance(axes(v), int) else list(v))
    )
    _least_rank = 2

    def _fixed_axes(self) -> tuple[int, ...]:
        shared = self.shared_axes or ()
        return tuple(a for a in range(1, len(self._built_for)) if a not in shared)

    def build(self, input_shape: Any) -> None:
        sizes = list(input_shape[1:])
        for axis in self.shared_axes or ():
            if not 1 <= axis <= len(sizes):
                raise ValueError(
                    f"PReLU {self.name!r}: shared_axes must be in 1..{len(sizes)}, "
                    f"got {self.shared_axes}"
                )
            sizes[axis - 1] = 1
        self.alpha = self.add_weight(
            tuple(sizes),
            self.alpha_initializer,
            regularizer=self.alpha_regularizer,
            constraint=self.alpha_constraint,
            name="alpha",
        )

    def call(self, inputs: Any) -> Any:
        x = ops.cast(inputs, self.value_dtype)
        return ops.relu(x) - self.alpha * ops.relu(-x)


class Softmax(Layer):
    """exp(x) / sum exp(x) along `axis` (-1), one axis or a list of them.

    Call arguments: inputs; mask, a boolean tensor of values to take part (default all).
    """

    axis: Any = fields.axes(-1)

    def call(self, inputs: Any, mask: Any = None) -> Any:
        inputs = ops.cast(inputs, self.value_dtype)
        if mask is not None:
            inputs = ops.where(mask, inputs, -1e9)
        if not isinstance(self.axis, (list, tuple)):
            return activations.softmax(inputs, self.axis)
        top = ops.stop_gradient(ops.max(inputs, tuple(self.axis), keepdims=True))
        powers = ops.exp(inputs - top)
        return powers / ops.sum(powers, tuple(self.axis), keepdims=True)
