"""Images bent at random in training."""

from typing import TYPE_CHECKING, Any

import numpy as np

from nbcnn import ops
from nbcnn.declare import arg, fraction
from nbcnn.layers import fields
from nbcnn.layers.augmentation import Augmentation, any_seed, pixel_range, share
from nbcnn.layers.draws import Draws
from nbcnn.layers.image_motion import INTERPOLATIONS
from nbcnn.ops.sampling import ORDERS, grid, warped

FILL_MODES = ("constant", "nearest", "wrap", "mirror", "reflect")


class Warp(Augmentation):
    """Images each with probability `factor` read at other places."""

    if TYPE_CHECKING:  # an annotation here would make fields
        fill_mode: Any
        factor: Any
        interpolation: Any
        fill_value: Any

    def transform(self, x: Any, draws: Draws) -> Any:
        return self.bent(x, draws, self.interpolation)

    def transform_masks(self, masks: Any, draws: Draws) -> Any:
        return self.bent(ops.cast(masks, self.value_dtype), draws, "nearest")

    def bent(self, x: Any, draws: Draws, interpolation: str) -> Any:
        """The batch, of which some images are bent."""
        form = (x.shape[0], 1, 1, 1)
        chance = draws.uniform(form, *self.factor)
        chosen = ops.less(draws.uniform(form), chance)
        at = self.places(x, draws)
        order, what = ORDERS[interpolation], type(self).__name__
        fill = float(self.fill_value)
        y = warped(x, at, order, self.fill_mode, fill, self.data_format, what)
        return ops.where(chosen, y, x)

    def places(self, x: Any, draws: Draws) -> list[Any]:
        """Rows and columns, each (n, h * w), where the pixels are read."""
        raise NotImplementedError(f"{type(self).__name__} does not define places()")


class RandomPerspective(Warp):
    """Images seen from the side in training: three of their corners are moved away from the upper
    left one, or towards it.

    Parameters
    ----------
    factor : probability for an image, drawn from factor[0] to factor[1]; one number f stands for
        0..f, default 1.
    scale : corners move by up to so many halves of their distance, 0 to 1, default 1.
    interpolation : 'bilinear' (default) or 'nearest'.
    fill_value : of what lies beyond the edges, default 0.
    seed, data_format : as in `RandomFlip`.
    """

    factor: Any = share(0, 1, 1.0)
    scale: float = arg(1.0, check=fraction)
    interpolation: str = arg("bilinear", choices=INTERPOLATIONS)
    fill_value: float = 0.0
    seed: int | None = any_seed()
    data_format: str = fields.data_format()
    fill_mode = "constant"

    def places(self, x: Any, draws: Draws) -> list[Any]:
        height, width = (max(size - 1.0, 1.0) for size in self.image_size(x))
        half = 0.5 * float(self.scale)
        # How many times as far away the corners are: the right one and the lower one along their
        # edges, the opposite one along both axes.
        drawn = draws.uniform((x.shape[0], 4), 1.0 - half, 1.0 + half)
        right, lower, across, down = (ops.slice_axis(drawn, 1, i, i + 1) for i in range(4))
        # The projective map that takes them back.
        g = (down / lower - 1.0) / (across * width)
        h = (across / right - 1.0) / (down * height)
        rows, columns = grid(x, self.data_format, type(self).__name__)
        depth = g * columns + h * rows + 1.0
        a, e = g * width + 1.0 / right, h * height + 1.0 / lower
        return [e * rows / depth, a * columns / depth]


class RandomElasticTransform(Warp):
    """Distorts images in training: pixels move by smoothed noise (Simard et al. 2003).

    Parameters
    ----------
    factor : probability for an image, drawn from factor[0] to factor[1]; one number f stands for
        0..f, default 1.
    scale : strength, 0 to 1, drawn for the batch from scale[0] to scale[1]; one number s stands for
        0..s, default 1. Noise is smoothed over 0.05 s times the smaller side and moves pixels by
        0.1 s times the larger side.
    interpolation : 'bilinear' (default) or 'nearest'.
    fill_mode : how pixels beyond the edges are read: 'reflect' (default), 'wrap', 'nearest',
        'mirror' or 'constant' (`fill_value`, 0).
    value_range : least and greatest value of the result, default (0, 255).
    seed, data_format : as in `RandomFlip`.
    """

    factor: Any = share(0, 1, 1.0)
    scale: Any = share(0, 1, 1.0)
    interpolation: str = arg("bilinear", choices=INTERPOLATIONS)
    fill_mode: str = arg("reflect", choices=FILL_MODES)
    fill_value: float = 0.0
    value_range: Any = pixel_range()
    seed: int | None = any_seed()
    data_format: str = fields.data_format()

    def bent(self, x: Any, draws: Draws, interpolation: str) -> Any:
        if not self.scale[1] or not self.factor[1]:
            return x
        y = super().bent(x, draws, interpolation)
        return ops.clip(y, *map(float, self.value_range))

    def places(self, x: Any, draws: Draws) -> list[Any]:
        height, width = self.image_size(x)
        strength = draws.uniform((1, 1), *self.scale)
        sigma = strength * (0.05 * min(height, width))
        noise = draws.normal((x.shape[0], height, width, 2)) * ops.reshape(sigma, (1, 1, 1, 1))
        reach = 3 * int(0.05 * min(height, width) * self.scale[1])
        if reach:
            bell = _bell(reach, sigma)
            for form in ((2 * reach + 1, 1, 1, 1), (1, 2 * reach + 1, 1, 1)):
                filters = ops.reshape(bell, form) * np.ones((1, 1, 2, 1), x.dtype)
                noise = ops.depthwise_conv(
                    noise, filters, padding="same", data_format="channels_last"
                )
        shifts = noise * ops.reshape(strength * (0.1 * max(height, width)), (1, 1, 1, 1))
        shifts = ops.reshape(shifts, (-1, height * width, 2))
        start = grid(x, self.data_format, type(self).__name__)
        return [
            ops.squeeze(ops.slice_axis(shifts, 2, axis, axis + 1), 2) + places
            for axis, places in enumerate(start)
        ]


def _bell(reach: int, sigma: Any) -> Any:
    """(1, 2 reach + 1): values of a normal distribution that add up to 1, up to three times its
    width, cut to a whole number, from the middle.
    """
    places = np.arange(-reach, reach + 1).astype(sigma.dtype)[None]
    values = ops.exp(-0.5 * ops.square(places / ops.maximum(sigma, 1e-3)))
    values = ops.where(np.abs(places) <= 3.0 * ops.floor(sigma), values, 0.0)
    return values / ops.sum(values)
