"""Normalization layers."""

from typing import Any

import numpy as np

from nbcnn import ops
from nbcnn.declare import arg, fraction, positive
from nbcnn.layers import fields
from nbcnn.layers.base import Layer


class Affine(Layer):
    """What normalizations share: the learned scale `gamma` and offset `beta`."""

    scale = center = True
    gamma_initializer = gamma_regularizer = gamma_constraint = None
    beta_initializer = beta_regularizer = beta_constraint = None

    def add_affine(self, shape: tuple) -> None:
        """The weights `gamma` and `beta`, where the layer has them."""
        self.gamma = self.beta = None
        if self.scale:
            self.gamma = self.add_weight(
                shape,
                self.gamma_initializer,
                regularizer=self.gamma_regularizer,
                constraint=self.gamma_constraint,
                name="gamma",
            )
        if self.center:
            self.beta = self.add_weight(
                shape,
                self.beta_initializer,
                regularizer=self.beta_regularizer,
                constraint=self.beta_constraint,
                name="beta",
            )


class BatchNormalization(Affine):
    """Gives every channel mean 0 and variance 1 over the batch, then scale gamma and offset beta.

    In training the batch's own mean and variance serve, and moving averages of them are kept;
    otherwise, and where the layer is frozen (`trainable = False`), the moving averages serve.

    Parameters
    ----------
    axis : the channels' axis, default -1.
    momentum : weight of the old moving average at each step, default 0.99.
    epsilon : added to the variance, default 0.001.
    center, scale : whether there is a beta and a gamma, default True.

    Shapes: (n, ..., c) -> the same. Weights: `gamma`, `beta`, `moving_mean`, `moving_variance`,
    each (c,); the last two are not trained.
    """

    axis: int = -1
    momentum: float = arg(0.99, check=fraction)
    epsilon: float = arg(1e-3, check=positive)
    center: bool = True
    scale: bool = True
    beta_initializer: Any = fields.initializer("zeros")
    gamma_initializer: Any = fields.initializer("ones")
    moving_mean_initializer: Any = fields.initializer("zeros")
    moving_variance_initializer: Any = fields.initializer("ones")
    beta_regularizer: Any = fields.regularizer()
    gamma_regularizer: Any = fields.regularizer()
    beta_constraint: Any = fields.constraint()
    gamma_constraint: Any = fields.constraint()
    _least_rank = 2

    def _fixed_axes(self) -> tuple[int, ...]:
        return (self.axis,)

    def build(self, input_shape: Any) -> None:
        shape = sizes_along(self, (self.axis,), input_shape)
        self.add_affine(shape)
        self.moving_mean = self.add_weight(
            shape, self.moving_mean_initializer, trainable=False, name="moving_mean"
        )
        self.moving_variance = self.add_weight(
            shape, self.moving_variance_initializer, trainable=False, name="moving_variance"
        )

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if training and self.trainable:
            return self._by_batch(inputs)
        return ops.batch_normalization(
            inputs,
            self.moving_mean,
            self.moving_variance,
            self.axis,
            self.beta,
            self.gamma,
            self.epsilon,
        )

    def _by_batch(self, x: Any) -> Any:
        last = self.axis in (-1, x.ndim - 1)
        shape, dtype = self.moving_mean.shape, x.dtype
        gamma = np.ones(shape, dtype) if self.gamma is None else self.gamma
        beta = np.zeros(shape, dtype) if self.beta is None else self.beta
        y, mean, variance = ops.batch_normalize(
            x if last else ops.moveaxis(x, self.axis, -1), gamma, beta, self.epsilon
        )
        self._follow(self.moving_mean, mean)
        self._follow(self.moving_variance, variance)
        return y if last else ops.moveaxis(y, -1, self.axis)

    def _follow(self, moving: Any, value: Any) -> None:
        moving.assign(moving * self.momentum + value * (1.0 - self.momentum))


class LayerNormalization(Affine):
    """Gives every sample mean 0 and variance 1 along `axis`, then scale gamma and offset beta.

    Parameters
    ----------
    axis : the axis, or a list of them, of the mean, the variance, gamma and beta; default -1.
    epsilon : added to the variance, default 0.001.
    center, scale : whether there is a beta and a gamma, default True.
    """

    axis: Any = fields.axes(-1)
    epsilon: float = arg(1e-3, check=positive)
    center: bool = True
    scale: bool = True
    beta_initializer: Any = fields.initializer("zeros")
    gamma_initializer: Any = fields.initializer("ones")
    beta_regularizer: Any = fields.regularizer()
    gamma_regularizer: Any = fields.regularizer()
    beta_constraint: Any = fields.constraint()
    gamma_constraint: Any = fields.constraint()
    _least_rank = 2

    def _fixed_axes(self) -> tuple[int, ...]:
        return self._axes(len(self._built_for))

    def _axes(self, rank: int) -> tuple[int, ...]:
        axes = self.axis if isinstance(self.axis, (list, tuple)) else [self.axis]
        return tuple(sorted(a % rank for a in axes))

    def build(self, input_shape: Any) -> None:
        axes = self._axes(len(input_shape))
        self.add_affine(sizes_along(self, axes, input_shape))

    def call(self, inputs: Any) -> Any:
        axes = self._axes(inputs.ndim)
        return ops.layer_normalization(inputs, self.gamma, self.beta, axes, self.epsilon)


class GroupNormalization(Affine):
    """Gives every group of channels of a sample mean 0 and variance 1, then gamma and beta.

    Parameters
    ----------
    groups : number of groups, default 32; -1 means one per channel.
    axis : the channels' axis, default -1.
    epsilon : added to the variance, default 0.001.
    center, scale : whether there is a beta and a gamma, default True.
    """

    groups: int = 32
    axis: int = -1
    epsilon: float = arg(1e-3, check=positive)
    center: bool = True
    scale: bool = True
    beta_initializer: Any = fields.initializer("zeros")
    gamma_initializer: Any = fields.initializer("ones")
    beta_regularizer: Any = fields.regularizer()
    gamma_regularizer: Any = fields.regularizer()
    beta_constraint: Any = fields.constraint()
    gamma_constraint: Any = fields.constraint()
    _least_rank = 2

    def _fixed_axes(self) -> tuple[int, ...]:
        return (self.axis,)

    def build(self, input_shape: Any) -> None:
        shape = sizes_along(self, (self.axis,), input_shape)
        groups = self.groups_of(shape[0])
        if groups < 1 or shape[0] % groups:
            raise ValueError(
                f"GroupNormalization {self.name!r}: groups must divide the channels, "
                f"got groups={self.groups}, input shape {input_shape}"
            )
        self.add_affine(shape)

    def groups_of(self, channels: int) -> int:
        return channels if self.groups == -1 else self.groups

    def call(self, inputs: Any) -> Any:
        x = ops.moveaxis(inputs, self.axis, -1)
        *around, c = x.shape[1:]
        inside = int(np.prod(around))
        groups = self.groups_of(c)
        parts = groups, c // groups
        grouped = ops.reshape(x, (-1, inside, *parts))
        mean, variance = ops.moments(grouped, (1, 3), keepdims=True)
        scale = ops.rsqrt(variance + self.epsilon)
        if self.gamma is not None:
            scale = scale * ops.reshape(self.gamma, parts)
        shift = -mean * scale  # small arrays: there are two passes over x
        shift = shift if self.beta is None else shift + ops.reshape(self.beta, parts)
        y = grouped * scale + shift
        return ops.moveaxis(ops.reshape(y, (-1, *around, c)), -1, self.axis)


class RMSNormalization(Layer):
    """Divides by the root of the mean square along `axis`, then times a learned scale (Zhang &
    Sennrich 2019).

    Parameters
    ----------
    axis : the axis, or a list of them, of the mean and the scale; default -1.
    epsilon : added to the mean square, default 1e-6.
    """

    axis: Any = fields.axes(-1)
    epsilon: float = arg(1e-6, check=positive)

    def _axes(self, rank: int) -> tuple[int, ...]:
        axes = self.axis if isinstance(self.axis, (list, tuple)) else [self.axis]
        return tuple(sorted(a % rank for a in axes))

    def _fixed_axes(self) -> tuple[int, ...]:
        return self._axes(len(self._built_for))

    def build(self, input_shape: Any) -> None:
        axes = self.axis if isinstance(self.axis, (list, tuple)) else [self.axis]
        sizes_along(self, tuple(axes), input_shape)
        sizes = sizes_along(self, self._axes(len(input_shape)), input_shape)
        self.scale = self.add_weight(sizes, "ones", name="scale")

    def call(self, inputs: Any) -> Any:
        axes = self._axes(inputs.ndim)
        form = [inputs.shape[a] if a in axes else 1 for a in range(inputs.ndim)]
        scale = self.scale if axes == (inputs.ndim - 1,) else ops.reshape(self.scale, form)
        return ops.rms_normalization(inputs, scale, axes, self.epsilon)


class UnitNormalization(Layer):
    """Scales values along `axis` (-1), one axis or a list of them, to Euclidean length 1."""

    axis: Any = fields.axes(-1)

    def call(self, inputs: Any) -> Any:
        axes = tuple(self.axis) if isinstance(self.axis, (list, tuple)) else self.axis
        inputs = ops.cast(inputs, self.value_dtype)
        squares = ops.sum(ops.square(inputs), axes, keepdims=True)
        return inputs * ops.rsqrt(ops.maximum(squares, 1e-12))


def sizes_along(layer: Layer, axes: tuple[int, ...], shape: Any) -> tuple[int, ...]:
    """Sizes of a shape along axes; they must exist and be known."""
    who = f"{type(layer).__name__} {layer.name!r}"
    for axis in axes:
        if not -len(shape) <= axis < len(shape):
            raise ValueError(f"{who}: axis {axis} is out of range for input shape {shape}")
        if shape[axis] is None:
            raise ValueError(f"{who}: the size along axis {axis} must be known, got {shape}")
    return tuple(int(shape[a]) for a in axes)
