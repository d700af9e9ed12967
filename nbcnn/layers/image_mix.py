"""Images mixed with others of their batch in training, and their labels with them."""

from typing import Any

import numpy as np

from nbcnn import ops
from nbcnn.declare import arg, positive
from nbcnn.layers import fields
from nbcnn.layers.augmentation import Augmentation, any_seed, share
from nbcnn.layers.draws import Draws


class Mixing(Augmentation):
    """Every image with a partner from the batch."""

    def weighted(self, labels: Any, order: Any, own: Any) -> Any:
        """Labels (n, classes) and those of the partners; `own`: (n, 1), the share of the former."""
        if len(labels.shape) != 2:
            raise ValueError(
                f"{self._who()}: labels must be (n, classes), such as one-hot rows, "
                f"got shape {tuple(labels.shape)}"
            )
        y = ops.cast(labels, self.value_dtype)
        return own * y + (1.0 - own) * ops.take(y, order, 0)


class MixUp(Mixing):
    """Weighted means of two images each in training, and of their labels (Zhang et al. 2017).

    Takes images, or a dictionary with 'images' and 'labels' (n, classes).

    Parameters
    ----------
    alpha : both parameters of the beta distribution that the weights are drawn from, default 0.2:
        the smaller, the less images mix.
    data_format, seed : as in `RandomFlip`.
    """

    alpha: float = arg(0.2, check=positive)
    data_format: str = fields.data_format()
    seed: int | None = any_seed()

    def partners(self, n: int | None, draws: Draws) -> tuple[Any, Any]:
        """The partners, and the shares (n, 1) of the images themselves."""
        return draws.permutation(n), draws.beta((n, 1), float(self.alpha))

    def transform(self, x: Any, draws: Draws) -> Any:
        order, own = self.partners(x.shape[0], draws)
        own = ops.reshape(own, (-1, 1, 1, 1))
        return own * x + (1.0 - own) * ops.take(x, order, 0)

    def transform_labels(self, labels: Any, draws: Draws) -> Any:
        return self.weighted(labels, *self.partners(labels.shape[0], draws))

    def transform_masks(self, masks: Any, draws: Draws) -> Any:
        return self.transform(ops.cast(masks, self.value_dtype), draws)


class CutMix(Mixing):
    """A rectangle of another image of the batch in every image in training; labels are mixed by
    the areas (Yun et al. 2019). One image alone stays as it is.

    Takes images, or a dictionary with 'images' and 'labels' (n, classes).

    Parameters
    ----------
    factor : both parameters of the beta distribution that areas are drawn from are drawn from
        factor[0] to factor[1], 0 to 1; one number f stands for 0..f, default 1.
    seed, data_format : as in `RandomFlip`.
    """

    factor: Any = share(0, 1, 1.0)
    seed: int | None = any_seed()
    data_format: str = fields.data_format()

    def _batched(self, transform: Any, x: Any, draws: Draws, rank: int | None = None) -> Any:
        return x if (rank or x.ndim) == 3 else super()._batched(transform, x, draws, rank)

    def partners(self, n: int | None, draws: Draws) -> tuple[Any, list[tuple[Any, Any]], Any]:
        """The partners, first and last row and column (n, 1) of the rectangles, shares (n, 1) of
        the images themselves.
        """
        alpha = draws.uniform((1,), *self.factor) + 1e-6
        side = ops.sqrt(1.0 - draws.beta((n, 1), alpha))
        sides, area = [], 1.0
        for size in draws.size:
            length = side * float(size)
            start = draws.uniform((n, 1)) * (float(size) - length)
            sides.append((start, start + length))
            area = area * length / float(size)
        return draws.permutation(n), sides, 1.0 - area

    def transform(self, x: Any, draws: Draws) -> Any:
        self.image_size(x)  # raises where it is unknown
        order, sides, _ = self.partners(x.shape[0], draws)
        inside: Any = True
        for axis, size, (start, end) in zip(self.image_axes, draws.size, sides):
            form = [-1, 1, 1, 1]
            form[axis] = size
            places = np.arange(size, dtype=x.dtype)
            here = ops.logical_and(places >= start, places < end)
            inside = ops.logical_and(inside, ops.reshape(here, form))
        return ops.where(inside, ops.take(x, order, 0), x)

    def transform_labels(self, labels: Any, draws: Draws) -> Any:
        order, _, own = self.partners(labels.shape[0], draws)
        return self.weighted(labels, order, own)

    def transform_masks(self, masks: Any, draws: Draws) -> Any:
        return self.transform(masks, draws)
