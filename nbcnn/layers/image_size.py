"""Images brought to a size."""

from typing import Any

import numpy as np

from nbcnn import ops
from nbcnn.declare import arg, positive
from nbcnn.layers import fields
from nbcnn.layers.base import Layer

INTERPOLATIONS = ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5")


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
    min_rank = 3

    def call(self, inputs: Any) -> Any:
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

    data_format : 'channels_last' or 'channels_first', default `config.image_data_format()`.
    """

    height: int = arg(check=positive)
    width: int = arg(check=positive)
    data_format: str = fields.data_format()
    min_rank = 3

    def call(self, inputs: Any) -> Any:
        x = ops.cast(inputs, self.value_dtype)
        columns = x.ndim - 1 if self.data_format == "channels_first" else x.ndim - 2
        h, w = x.shape[columns - 1], x.shape[columns]
        if h is None or w is None:
            raise ValueError(
                f"CenterCrop {self.name!r}: height and width must be known, got shape {x.shape}"
            )
        top, left = (h - self.height) // 2, (w - self.width) // 2
        if top < 0 or left < 0:
            size = (self.height, self.width)
            return ops.image.resize(
                x, size, crop_to_aspect_ratio=True, data_format=self.data_format
            )
        x = ops.slice_axis(x, columns - 1, top, top + self.height)
        return ops.slice_axis(x, columns, left, left + self.width)
