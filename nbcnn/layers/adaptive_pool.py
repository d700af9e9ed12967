"""Pooling to a given size: windows that divide each axis evenly."""

from typing import Any

from nbcnn import ops
from nbcnn.layers import fields
from nbcnn.layers.spatial import Spatial


class AdaptivePooling(Spatial):
    """Base of layers whose windows follow from `output_size`."""

    output_size: tuple = fields.sizes(2)
    data_format: str = fields.data_format()
    operation = "adaptive_average_pool"
    needs_sizes = True

    def call(self, inputs: Any) -> Any:
        return getattr(ops, self.operation)(inputs, self.output_size, self.data_format)


class AdaptiveAveragePooling2D(AdaptivePooling):
    """The means of windows that divide an image into `output_size` parts.

    Parameters
    ----------
    output_size : (rows, columns) of the output, or one number for both. Window i of m over s pixels
        reaches from floor(i s / m) to ceil((i + 1) s / m), so that windows may share a pixel.
    data_format : "channels_last" (default) or "channels_first".

    Shapes: (n, h, w, c) -> (n, rows, columns, c).
    """

    _input_rank = 4


class AdaptiveMaxPooling2D(AdaptivePooling):
    """The largest values of the windows of `AdaptiveAveragePooling2D`."""

    operation = "adaptive_max_pool"
    _input_rank = 4


class AdaptiveAveragePooling1D(AdaptivePooling):
    """As `AdaptiveAveragePooling2D`: (n, length, c) -> (n, output_size, c)."""

    output_size: tuple = fields.sizes(1)
    _input_rank = 3


class AdaptiveMaxPooling1D(AdaptivePooling):
    """The largest values of the windows of `AdaptiveAveragePooling1D`."""

    output_size: tuple = fields.sizes(1)
    operation = "adaptive_max_pool"
    _input_rank = 3


class AdaptiveAveragePooling3D(AdaptivePooling):
    """As `AdaptiveAveragePooling2D`: (n, d, h, w, c) -> (n, *output_size, c)."""

    output_size: tuple = fields.sizes(3)
    _input_rank = 5


class AdaptiveMaxPooling3D(AdaptivePooling):
    """The largest values of the windows of `AdaptiveAveragePooling3D`."""

    output_size: tuple = fields.sizes(3)
    operation = "adaptive_max_pool"
    _input_rank = 5
