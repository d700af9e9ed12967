"""Noise in training."""

import math
from typing import Any

from nbcnn.declare import arg, fraction, non_negative
from nbcnn.layers import fields
from nbcnn.layers.base import Layer
from nbcnn.layers.draws import Draws
from nbcnn.layers.regularization import shape_of_draw


def _below_one(value: Any) -> str | None:
    return None if 0 <= value < 1 else "must be at least 0 and below 1"


class GaussianNoise(Layer):
    """In training, adds values of the normal distribution with mean 0.

    Parameters
    ----------
    stddev : their standard deviation, 0 to 1.
    seed : a number makes the layer draw the same values in every run; by default the draws follow
        `utils.set_random_seed`.
    """

    stddev: float = arg(check=fraction)
    seed: int | None = arg(None, check=non_negative)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if not training or self.stddev == 0:
            return inputs
        return inputs + Draws(self.seed, inputs.dtype).normal(inputs.shape) * float(self.stddev)


class GaussianDropout(Layer):
    """In training, multiplies by values of the normal distribution with mean 1 and the variance
    that dropout has, rate / (1 - rate) (Srivastava et al. 2014).

    Parameters
    ----------
    rate : 0 to below 1.
    seed : as in `GaussianNoise`.
    """

    rate: float = arg(check=_below_one)
    seed: int | None = arg(None, check=non_negative)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if not training or self.rate == 0:
            return inputs
        stddev = math.sqrt(self.rate / (1.0 - self.rate))
        return inputs * (Draws(self.seed, inputs.dtype).normal(inputs.shape) * stddev + 1.0)


# What large negative inputs of `selu` become.
LOW = -1.6732632423543772 * 1.0507009873554805


class AlphaDropout(Layer):
    """In training, dropout that keeps mean 0 and variance 1, for `selu` (Klambauer et al. 2017):
    dropped values become those of selu far below 0, then all are scaled and moved.

    Parameters
    ----------
    rate : 0 to below 1.
    noise_shape : shape of the draw, broadcast to the input's; None stands for the input's size.
    seed : as in `GaussianNoise`.
    """

    rate: float = arg(check=_below_one)
    noise_shape: Any = fields.noise_shape()
    seed: int | None = arg(None, check=non_negative)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if not training or self.rate == 0:
            return inputs
        rate = float(self.rate)
        scale = ((1 - rate) * (1 + rate * LOW**2)) ** -0.5
        shape = inputs.shape
        drawn = shape if self.noise_shape is None else shape_of_draw(self, shape)
        kept = Draws(self.seed, inputs.dtype).kept(drawn, rate)
        return (inputs * kept + (1.0 - kept) * LOW) * scale - scale * LOW * rate
