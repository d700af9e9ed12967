"""Layers that act in training only."""

from typing import Any

import numpy as np

from nbcnn import ops, regularizers
from nbcnn.declare import arg, fraction, non_negative
from nbcnn.layers import context, fields
from nbcnn.layers.base import Layer
from nbcnn.ops.op import apply
from nbcnn.ops.random import Dropout as DropoutOp


def shape_of_draw(layer: Any, shape: tuple) -> tuple:
    """The layer's `noise_shape`, with the input's sizes where it has None; ValueError where it has
    another number of sizes.
    """
    if len(layer.noise_shape) != len(shape):
        raise ValueError(
            f"{type(layer).__name__} {layer.name!r}: noise_shape must have {len(shape)} sizes "
            f"for input shape {shape}, got {layer.noise_shape}"
        )
    return tuple(n if wanted is None else wanted for wanted, n in zip(layer.noise_shape, shape))


class Dropout(Layer):
    """In training, sets values to 0 with probability `rate` and scales the rest by 1 / (1 - rate).

    Parameters
    ----------
    rate : 0 to 1.
    noise_shape : shape of the draw, broadcast to the input's; None stands for the input's size.
        (None, 1, 1, None) drops whole channels of images. Default: every value by itself.
    seed : a number makes the layer draw the same values in every run; by default the draws follow
        `utils.set_random_seed`.
    """

    rate: float = arg(check=fraction)
    noise_shape: Any = fields.noise_shape()
    seed: int | None = arg(None, check=non_negative)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if not training or self.rate == 0:
            return inputs
        if self.rate == 1:
            return ops.zeros_like(inputs)
        shape = self.draw_shape(inputs.shape)
        if shape is None:
            return self._drop(inputs)
        ones = np.ones([n or 1 for n in shape], inputs.dtype)  # an unknown batch broadcasts
        return inputs * self._drop(ops.convert_to_tensor(ones))

    def draw_shape(self, shape: tuple) -> tuple | None:
        """Shape of the draw for an input's shape; None for one draw per value."""
        return None if self.noise_shape is None else shape_of_draw(self, shape)

    def _drop(self, x: Any) -> Any:
        tracing = context.current()
        if self.seed is None:
            return apply(DropoutOp(float(self.rate), tracing.next_stream()), x, tracing.seed)
        tracing.seeded = True
        step = ops.slice_axis(tracing.seed, 0, 1, 2)
        own = ops.concatenate([np.array([self.seed], dtype=np.int64), step], 0)
        return apply(DropoutOp(float(self.rate)), x, own)


class SpatialDropout(Dropout, first=("rate", "data_format")):
    """Base of layers that drop whole channels."""

    rate: float = arg(check=fraction)
    data_format: str = fields.data_format()
    noise_shape: Any = fields.noise_shape(kw_only=True)

    def draw_shape(self, shape: tuple) -> tuple | None:
        ones = (1,) * (len(shape) - 2)
        first = self.data_format == "channels_first"
        return (*shape[:2], *ones) if first else (shape[0], *ones, shape[-1])


class SpatialDropout2D(SpatialDropout):
    """Dropout of whole channels of images; arguments `rate`, `data_format` and `seed`."""

    _input_rank = 4


class SpatialDropout1D(Dropout):
    """Dropout of whole channels of sequences (n, length, c)."""

    noise_shape: Any = fields.noise_shape(kw_only=True)
    _input_rank = 3

    def draw_shape(self, shape: tuple) -> tuple | None:
        return (shape[0], 1, shape[2])


class SpatialDropout3D(SpatialDropout):
    """Dropout of whole channels of volumes (n, d, h, w, c); arguments as `SpatialDropout2D`."""

    _input_rank = 5


class ActivityRegularization(Layer):
    """x, adding l1 * sum(|x|) + l2 * sum(x²) to the training loss."""

    l1: float = arg(0.0, check=non_negative)
    l2: float = arg(0.0, check=non_negative)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.activity_regularizer: Any = regularizers.L1L2(l1=self.l1, l2=self.l2)

    def call(self, inputs: Any) -> Any:
        return inputs
