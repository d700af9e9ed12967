"""Images blurred or sharpened at random in training."""

from typing import Any

import numpy as np

from nbcnn import ops
from nbcnn.declare import KINDS, Expected, arg
from nbcnn.layers import fields
from nbcnn.layers.augmentation import Augmentation, any_seed, pixel_range, share
from nbcnn.layers.draws import Draws


class Filter(Augmentation):
    """Every channel convolved with one kernel; outside of images are zeros."""

    def filtered(self, x: Any, kernel: Any) -> Any:
        """x by a kernel (rows, columns), an array or a tensor."""
        first = self.data_format == "channels_first"
        x = ops.moveaxis(x, 1, -1) if first else x
        if x.shape[-1] is None:
            raise ValueError(f"{self._who()}: channels must be known, got shape {x.shape}")
        ones = np.ones((1, 1, x.shape[-1], 1), x.dtype)
        filters = ops.expand_dims(ops.expand_dims(kernel, -1), -1) * ones
        y = ops.depthwise_conv(x, filters, padding="same", data_format="channels_last")
        return ops.moveaxis(y, -1, 1) if first else y


class RandomSharpness(Filter):
    """Blurs images or makes them sharper in training: x + (1 - 2 f) (blurred - x).

    Parameters
    ----------
    factor : least and greatest f, 0 to 1: 0 blurs, 0.5 changes nothing, 1 sharpens; one number f
        stands for 0..f.
    value_range : least and greatest value of the result, default (0, 255).
    data_format, seed : as in `RandomFlip`.
    """

    factor: Any = share(0, 1)
    value_range: Any = pixel_range()
    data_format: str = fields.data_format()
    seed: int | None = any_seed()

    def transform(self, x: Any, draws: Draws) -> Any:
        kernel = np.ones((3, 3), x.dtype)
        kernel[1, 1] = 5.0
        blur = 1.0 - 2.0 * draws.uniform((x.shape[0], 1, 1, 1), *self.factor)
        y = x + blur * (self.filtered(x, kernel / kernel.sum()) - x)
        return ops.clip(y, *map(float, self.value_range))


def _odd(value: Any) -> tuple[int, int]:
    two = value if isinstance(value, (list, tuple)) else (value, value)
    if len(two) == 2 and all(KINDS["int"](v) and v > 0 and v % 2 for v in two):
        return int(two[0]), int(two[1])
    raise Expected("must be a positive odd integer or two of them")


class RandomGaussianBlur(Filter):
    """Smooths images by a normal distribution in training; its widths are those of the batch.

    Parameters
    ----------
    factor : probability for an image, drawn from factor[0] to factor[1]; one number f stands for
        0..f, default 1.
    kernel_size : columns and rows of the window, odd; one number serves for both, default 3.
    sigma : the standard deviations along both axes are drawn from sigma[0] to sigma[1], 0 to 1; one
        number s stands for 0..s, default 1.
    value_range : least and greatest value of the result, default (0, 255).
    data_format, seed : as in `RandomFlip`.
    """

    factor: Any = share(0, 1, 1.0)
    kernel_size: Any = arg(3, convert=_odd)
    sigma: Any = share(0, 1, 1.0)
    value_range: Any = pixel_range()
    data_format: str = fields.data_format()
    seed: int | None = any_seed()

    def transform(self, x: Any, draws: Draws) -> Any:
        chance = draws.uniform((x.shape[0], 1, 1, 1), *self.factor)
        chosen = ops.less(draws.uniform((x.shape[0], 1, 1, 1)), chance)
        widths = draws.uniform((2, 1), *self.sigma) + 1e-6
        across, down = (
            _bell(size, ops.slice_axis(widths, 0, i, i + 1))
            for i, size in enumerate(self.kernel_size)
        )
        blurred = self.filtered(x, ops.transpose(down) * across)
        return ops.clip(ops.where(chosen, blurred, x), *map(float, self.value_range))


def _bell(size: int, sigma: Any) -> Any:
    """(1, size): values of a normal distribution, which add up to 1."""
    places = (np.arange(size) - (size - 1) / 2).astype(sigma.dtype)[None]
    values = ops.exp(-0.5 * ops.square(places / sigma))
    return values / ops.sum(values)
