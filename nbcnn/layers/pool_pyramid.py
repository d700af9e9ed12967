"""Pooling to outputs of one length, whatever the size of the input."""

from typing import Any

from nbcnn import ops
from nbcnn.declare import KINDS, Expected, arg, positive
from nbcnn.layers import fields
from nbcnn.layers.spatial import Spatial


def levels(value: Any) -> tuple[int, ...]:
    if isinstance(value, (list, tuple)) and value and all(map(KINDS["int"], value)):
        return tuple(int(n) for n in value)
    raise Expected("must be a tuple of integers")


class SpatialPyramidPooling2D(Spatial):
    """Divides images into l × l parts for each level l, and takes one value of each part and
    channel: outputs of one length from images of any size (He et al. 2014).

    Parameters
    ----------
    levels : numbers of parts along each side, default (1, 2, 4): 21 parts in all, that divide the
        image as those of `AdaptiveMaxPooling2D`.
    pooling : "max" (default): the largest value of each part; "average": the mean.
    data_format : "channels_last" (default) or "channels_first".

    Shapes: (n, h, w, c), also with h and w unknown or other in each batch -> (n, c * sum of the
    squares of the levels): level by level the parts from the top left, the channels of each.
    """

    levels: tuple = arg((1, 2, 4), convert=levels, check=positive)
    pooling: str = arg("max", choices=("max", "average"))
    data_format: str = fields.data_format()
    _input_rank = 4
    needs_sizes = True
    _beyond_keras = True

    def call(self, inputs: Any) -> Any:
        x = self.channels_last(inputs)
        pool = ops.adaptive_max_pool if self.pooling == "max" else ops.adaptive_average_pool
        parts = [ops.reshape(pool(x, n), (-1, n * n * x.shape[-1])) for n in self.levels]
        return ops.concatenate(parts, -1)
