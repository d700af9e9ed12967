"""Images brought to a size."""

from typing import Any

import numpy as np

from nbcnn import ops
from nbcnn.declare import arg, positive
from nbcnn.layers import fields
from nbcnn.layers.base import Layer
from nbcnn.ops.tensor import Tensor

INTERPOLATIONS = ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5")


def _unknown(shape: tuple, data_format: str) -> bool:
    """Whether images have sizes that only the data tell."""
    return None in (shape[-3:-1] if data_format == "channels_last" else shape[-2:])


def _of_size(images: Any, height: int, width: int, data_format: str, dtype: str) -> Tensor:
    """What stands for resized images while a model is put together; the images' own sizes are
    known when it runs.
    """
    shape = images.shape
    if data_format == "channels_last":
        return Tensor((*shape[:-3], height, width, shape[-1]), dtype)
    return Tensor((*shape[:-2], height, width), dtype)


class Resizing(Layer):
    """Images (n, h, w, c), or one, with `height` x `width` pixels; whole numbers stay such.

    Parameters
    ----------
    height, width : sizes of the result.
    interpolation : 'bilinear' (default), 'nearest', 'bicubic', 'lanczos3' or 'lanczos5'.
    crop_to_aspect_ratio, pad_to_aspect_ratio : cut the image, or put `fill_value` (0) around it,
        rather than change its proportions; default False.
    antialias : smooth where images become smaller, default False.
    data_format : 'channels_last' or 'channels_first', default `config.image_data_format()`.
    fill_mode : only 'constant'.
    """

    height: int = arg(check=positive)
    width: int = arg(check=positive)
    interpolation: str = arg("bilinear", choices=INTERPOLATIONS)
    crop_to_aspect_ratio: bool = False
    pad_to_aspect_ratio: bool = False
    fill_mode: str = arg("constant", choices=("constant",))
    fill_value: float = 0.0
    antialias: bool = False
    data_format: str = fields.data_format()
    _least_rank = 3

    def call(self, inputs: Any) -> Any:
        if _unknown(inputs.shape, self.data_format):
            return _of_size(inputs, self.height, self.width, self.data_format, inputs.dtype)
        y = ops.image.resize(
            inputs,
            (self.height, self.width),
            self.interpolation,
            self.antialias,
            self.crop_to_aspect_ratio,
            self.pad_to_aspect_ratio,
            self.fill_mode,
            float(self.fill_value),
            self.data_format,
        )
        if y.dtype == inputs.dtype:
            return y
        return ops.saturate_cast(
            ops.round(y) if np.dtype(inputs.dtype).kind in "iu" else y, inputs.dtype
        )


class CenterCrop(Layer):
    """The middle `height` x `width` pixels of images, as floats; smaller images are resized to
    that, cut to its proportions.

    Parameters
    ----------
    data_format : 'channels_last' or 'channels_first', default `config.image_data_format()`.
    """

    height: int = arg(check=positive)
    width: int = arg(check=positive)
    data_format: str = fields.data_format()
    _least_rank = 3

    def call(self, inputs: Any) -> Any:
        x = ops.cast(inputs, self.value_dtype)
        columns = x.ndim - 1 if self.data_format == "channels_first" else x.ndim - 2
        h, w = x.shape[columns - 1], x.shape[columns]
        if h is None or w is None:
            return _of_size(x, self.height, self.width, self.data_format, x.dtype)
        top, left = (h - self.height) // 2, (w - self.width) // 2
        if top < 0 or left < 0:
            size = (self.height, self.width)
            return ops.image.resize(
                x, size, crop_to_aspect_ratio=True, data_format=self.data_format
            )
        x = ops.slice_axis(x, columns - 1, top, top + self.height)
        return ops.slice_axis(x, columns, left, left + self.width)
