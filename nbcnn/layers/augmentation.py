"""Random changes of images in training: the base, flips, crops."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nbcnn import ops
from nbcnn.declare import KINDS, Expected, arg, non_negative, positive
from nbcnn.layers import fields
from nbcnn.layers.base import Layer
from nbcnn.layers.draws import Draws


class Augmentation(Layer):
    """Images (n, h, w, c), or one (h, w, c), changed at random in training, else only made floats.

    Instead of images a dictionary may come, with 'images' and, as far as they are there, 'labels'
    and 'segmentation_masks' (n, h, w, classes or 1), which follow the images; other keys stay as
    they are, but 'bounding_boxes' are refused. A new dictionary is returned.

    `training` defaults to True, also inside a model that is called on arrays without saying. A
    subclass defines `transform` on a batch and has the fields `seed` and `data_format`.
    """

    _least_rank = 3
    always = False  # whether it works outside training, too
    if TYPE_CHECKING:  # an annotation here would make fields
        seed: Any
        data_format: Any
    else:
        seed = None

    def call(self, inputs: Any, training: bool | None = True) -> Any:
        alone = not isinstance(inputs, Mapping)
        x = self._images(inputs if alone else self._checked(inputs)["images"])
        found = {} if alone else {**inputs, "images": x}
        if not (training or self.always):
            return x if alone else found
        draws = Draws(self.seed, x.dtype)
        draws.size = tuple(x.shape[a - 4] for a in self.image_axes)
        if alone:
            return self._batched(self.transform, x, draws)
        found["images"] = self._batched(self.transform, x, draws)
        parts = {"labels": self.transform_labels, "segmentation_masks": self.transform_masks}
        for name, transform in parts.items():
            if name in inputs:
                found[name] = self._batched(transform, inputs[name], draws.again(), x.ndim)
        return found

    def _images(self, inputs: Any) -> Any:
        x = ops.cast(inputs, self.value_dtype)
        if x.ndim not in (3, 4):
            raise ValueError(f"{self._who()}: images must have 3 or 4 axes, got shape {x.shape}")
        return x

    def _checked(self, data: Mapping) -> Mapping:
        if "images" not in data:
            raise ValueError(f"{self._who()}: the dictionary must have 'images', got {[*data]}")
        if "bounding_boxes" in data:
            raise ValueError(
                f"{self._who()}: 'bounding_boxes' are not moved here; expected 'images', 'labels' "
                "and 'segmentation_masks'"
            )
        return data

    def _who(self) -> str:
        return f"{type(self).__name__} {self.name!r}"

    def _batched(self, transform: Any, x: Any, draws: Draws, rank: int | None = None) -> Any:
        """What a transform of batches makes of x, which is one sample where images have 3 axes."""
        if (rank or x.ndim) == 4:
            return transform(x, draws)
        return ops.squeeze(transform(ops.expand_dims(x, 0), draws), 0)

    def transform(self, x: Any, draws: Draws) -> Any:
        """The batch, changed."""
        raise NotImplementedError(f"{type(self).__name__} does not define transform()")

    def transform_labels(self, labels: Any, draws: Draws) -> Any:
        """The labels of a batch, by the draws that its images got."""
        return labels

    def transform_masks(self, masks: Any, draws: Draws) -> Any:
        """The masks of a batch, by the draws that its images got."""
        return masks

    @property
    def image_axes(self) -> tuple[int, int]:
        """Axes of the rows and the columns of a batch."""
        return (1, 2) if self.data_format == "channels_last" else (2, 3)

    def image_size(self, x: Any) -> tuple[int, int]:
        """Numbers of rows and columns, which must be known."""
        height, width = (x.shape[a] for a in self.image_axes)
        if height is None or width is None:
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: height and width must be known, "
                f"got shape {x.shape}"
            )
        return height, width


# Fields that many of these layers have.


def any_seed() -> Any:
    return arg(None, check=non_negative)


def share(low: float, high: float, default: Any = ...) -> Any:
    """A range (lower, upper); a number f stands for (-f, f), cut off at `low`."""

    def convert(value: Any) -> tuple[float, float]:
        if _are_two(value) and value[0] <= high and value[1] >= low:
            lower, upper = sorted(value)
            return lower, upper
        if KINDS["float"](value) and low <= value <= high:
            return max(-abs(value), low), abs(value)
        raise Expected(f"must be a number or two numbers in {low}..{high}")

    return arg(convert=convert) if default is ... else arg(default, convert=convert)


def change(name_low: str, allowed: Callable[[float], bool], default: Any = ...) -> Any:
    """A number f, which stands for -f..f, or two numbers; kept as given."""

    def check(value: Any) -> str | None:
        numbers = value if _are_two(value) else (value,)
        if all(KINDS["float"](v) and allowed(v) for v in numbers):
            return None
        return f"must be a number or two numbers in {name_low}, 1]"

    def convert(value: Any) -> Any:
        return tuple(value) if isinstance(value, (list, tuple)) else value

    if default is ...:
        return arg(check=check, convert=convert)
    return arg(default, check=check, convert=convert)


def bounds(value: Any) -> tuple[float, float]:
    """Least and greatest value of a `change`."""
    if isinstance(value, tuple):
        return min(value), max(value)
    return -abs(value), abs(value)


def pixel_range() -> Any:
    """Least and greatest value of a pixel."""

    def convert(value: Any) -> tuple[float, float]:
        if not _are_two(value):
            raise Expected("must be two numbers")
        return tuple(sorted(value))

    return arg((0, 255), convert=convert)


def _are_two(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(KINDS["float"](v) for v in value)
    )


FLIPS = ("horizontal", "vertical", "horizontal_and_vertical")


class RandomFlip(Augmentation):
    """Mirrors half of the images in training.

    Parameters
    ----------
    mode : 'horizontal' (left and right change places), 'vertical' or 'horizontal_and_vertical'
        (default: both at once, or neither).
    seed : a number makes the layer draw the same values in every run; by default the draws follow
        `utils.set_random_seed`.
    data_format : 'channels_last' or 'channels_first', default `config.image_data_format()`.
    """

    mode: str = arg("horizontal_and_vertical", choices=FLIPS)
    seed: int | None = any_seed()
    data_format: str = fields.data_format()

    def transform(self, x: Any, draws: Draws) -> Any:
        flips = ops.less_equal(draws.uniform((x.shape[0], 1, 1, 1)), 0.5)
        rows, columns = self.image_axes
        axes = [rows] * (self.mode != "horizontal") + [columns] * (self.mode != "vertical")
        return ops.where(flips, ops.flip(x, tuple(axes)), x)

    def transform_masks(self, masks: Any, draws: Draws) -> Any:
        return self.transform(masks, draws)


class RandomCrop(Augmentation):
    """A window of `height` x `width` pixels in training, at one random place for the whole batch;
    of smaller images the largest window of these proportions, resized. Otherwise the images stay
    as they are.

    Parameters: `height`, `width`, `seed` and `data_format` as in `RandomFlip`.
    """

    height: int = arg(check=positive)
    width: int = arg(check=positive)
    seed: int | None = any_seed()
    data_format: str = fields.data_format()

    def transform(self, x: Any, draws: Draws) -> Any:
        rows, columns = self.image_axes
        h, w = self.image_size(x)
        if h > self.height and w > self.width:
            for axis, size, target in ((rows, h, self.height), (columns, w, self.width)):
                places = draws.uniform((1,)) * float(size - target + 1)
                start = ops.minimum(ops.cast(ops.floor(places), "int32"), size - target)
                x = ops.take(x, start + np.arange(target, dtype="int32"), axis)
            return x
        top = (h - max(min(h, int(w * self.height / self.width)), 1)) // 2
        left = (w - max(min(w, int(h * self.width / self.height)), 1)) // 2
        x = ops.slice_axis(x, rows, top, min(top + self.height, h))
        x = ops.slice_axis(x, columns, left, min(left + self.width, w))
        return ops.image.resize(x, (self.height, self.width), data_format=self.data_format)

    def transform_masks(self, masks: Any, draws: Draws) -> Any:
        return self.transform(masks, draws)
