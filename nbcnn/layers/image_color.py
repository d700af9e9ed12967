"""Colours and parts of images changed at random in training."""

from typing import Any

import numpy as np

from nbcnn import config, ops
from nbcnn.declare import KINDS, Expected, arg, fraction
from nbcnn.layers import fields
from nbcnn.layers.augmentation import Augmentation, any_seed, pixel_range, share
from nbcnn.layers.draws import Draws


class RandomContrast(Augmentation):
    """Pixels' distance from their channel's mean, times a factor per image, in training.

    Parameters
    ----------
    factor : (lower, upper), 0 to 1: the factors are drawn from 1 - lower to 1 + upper; one number f
        stands for (0, f).
    value_range : least and greatest value of the result, default (0, 255).
    seed, data_format : as in `RandomFlip`.
    """

    factor: Any = share(0, 1)
    value_range: Any = pixel_range()
    seed: int | None = any_seed()
    data_format: str = fields.data_format()

    def transform(self, x: Any, draws: Draws) -> Any:
        lower, upper = self.factor
        times = draws.uniform((x.shape[0], 1, 1, 1), 1.0 - lower, 1.0 + upper)
        mean = ops.mean(x, self.image_axes, keepdims=True)
        return ops.clip((x - mean) * times + mean, *map(float, self.value_range))


class RandomBrightness(Augmentation):
    """Adds a number per image to all pixels in training.

    Parameters
    ----------
    factor : least and greatest number as fractions of the value range, -1 to 1; one number f stands
        for -f..f.
    value_range : least and greatest value of the result, default (0, 255).
    seed, data_format : as in `RandomFlip`.
    """

    factor: Any = share(-1.0, 1.0)
    value_range: Any = pixel_range()
    seed: int | None = any_seed()
    data_format: str = fields.data_format()

    def transform(self, x: Any, draws: Draws) -> Any:
        low, high = map(float, self.value_range)
        more = draws.uniform((x.shape[0], 1, 1, 1), *self.factor) * (high - low)
        return ops.clip(x + more, low, high)


def _fill(value: Any) -> Any:
    three = isinstance(value, (list, tuple)) and len(value) == 3
    if value is None or KINDS["float"](value) or (three and all(map(KINDS["float"], value))):
        return value
    raise Expected("must be None, a number or three numbers")


class RandomErasing(Augmentation):
    """Fills a rectangle of images in training (Zhong et al. 2020).

    Parameters
    ----------
    factor : probability for an image, 1 by default; two numbers are the least and the greatest, one
        number f stands for 0..f.
    scale : least and greatest share of the area, default (0.02, 0.33).
    fill_value : a number, or one per channel; by default noise.
    value_range : least and greatest value of the filling, default (0, 255).
    seed, data_format : as in `RandomFlip`.
    """

    factor: Any = share(0, 1, 1.0)
    scale: Any = share(0, 1, (0.02, 0.33))
    fill_value: Any = arg(None, convert=_fill)
    value_range: Any = pixel_range()
    seed: int | None = any_seed()
    data_format: str = fields.data_format()

    def transform(self, x: Any, draws: Draws) -> Any:
        sides = ops.sqrt(draws.uniform((x.shape[0], 2), *self.scale))
        inside = None
        for number, axis, size in zip((1, 0), self.image_axes, self.image_size(x)):
            length = ops.slice_axis(sides, 1, number, number + 1) * float(size)
            start = draws.uniform((x.shape[0], 1)) * (float(size) - length)
            places = np.arange(size, dtype=x.dtype)
            here = ops.logical_and(places >= start, places < start + length)
            form = [-1, 1, 1, 1]
            form[axis] = size
            here = ops.reshape(here, form)
            inside = here if inside is None else ops.logical_and(inside, here)
        chance = draws.uniform((x.shape[0], 1, 1, 1), *self.factor)
        erased = ops.less(draws.uniform((x.shape[0], 1, 1, 1)), chance)
        return ops.where(ops.logical_and(inside, erased), self._filling(x, draws), x)

    def _filling(self, x: Any, draws: Draws) -> Any:
        low, high = map(float, self.value_range)
        if self.fill_value is None:
            return ops.clip(draws.normal(x.shape) * high, low, high)
        return np.clip(np.asarray(self.fill_value, x.dtype), low, high)


class RandomGrayscale(Augmentation):
    """Makes images gray in training, each with probability `factor` (default 0.5).

    Parameters
    ----------
    data_format, seed : as in `RandomFlip`.
    """

    factor: float = arg(0.5, check=fraction)
    data_format: str = fields.data_format()
    seed: int | None = any_seed()

    def transform(self, x: Any, draws: Draws) -> Any:
        chosen = ops.less(draws.uniform((x.shape[0], 1, 1, 1)), float(self.factor))
        return ops.where(chosen, ops.image.rgb_to_grayscale(x, self.data_format), x)


class RandomInvert(Augmentation):
    """Makes negatives of images in training: value_range[1] - x.

    Parameters
    ----------
    factor : probability for an image, 1 by default; one number f stands for 0..f, from which the
        probability is drawn.
    value_range : default (0, 255).
    seed, data_format : as in `RandomFlip`.
    """

    factor: Any = share(0, 1, 1.0)
    value_range: Any = pixel_range()
    seed: int | None = any_seed()
    data_format: str = fields.data_format()

    def transform(self, x: Any, draws: Draws) -> Any:
        chance = draws.uniform((x.shape[0], 1, 1, 1), *self.factor)
        chosen = ops.less(draws.uniform((x.shape[0], 1, 1, 1)), chance)
        return ops.where(chosen, float(self.value_range[1]) - x, x)


class RandomHue(Augmentation):
    """Turns the hue of RGB images in training.

    Parameters
    ----------
    factor : least and greatest turn, 0 to 1, of half the circle, in either direction; one number f
        stands for 0..f.
    value_range : of the pixels, default (0, 255).
    data_format, seed : as in `RandomFlip`.
    """

    factor: Any = share(0, 1)
    value_range: Any = pixel_range()
    data_format: str = fields.data_format()
    seed: int | None = any_seed()

    def transform(self, x: Any, draws: Draws) -> Any:
        low, high = map(float, self.value_range)
        form = (x.shape[0], 1, 1, 1)
        turn = ops.sign(0.5 - draws.uniform(form)) * draws.uniform(form, *self.factor) * 0.5
        channel = 3 if self.data_format == "channels_last" else 1
        hsv = ops.image.rgb_to_hsv((x - low) / (high - low), self.data_format)
        hue, saturation, value = ops.split(hsv, 3, channel)
        # Around the circle: `hsv_to_rgb` takes the fraction.
        hsv = ops.concatenate([hue + turn, saturation, value], channel)
        rgb = ops.clip(ops.image.hsv_to_rgb(hsv, self.data_format), 0.0, 1.0)
        return rgb * (high - low) + low


class RandomSaturation(Augmentation):
    """Multiplies the saturation of RGB images by f / (1 - f) in training.

    Parameters
    ----------
    factor : least and greatest f: 0 makes gray, 0.5 changes nothing, 1 gives pure colours; one
        number stands for -f..f.
    value_range : what the saturation is limited to, default (0, 255).
    data_format, seed : as in `RandomFlip`.
    """

    factor: Any = share(-1.0, 1.0)
    value_range: Any = pixel_range()
    data_format: str = fields.data_format()
    seed: int | None = any_seed()

    def transform(self, x: Any, draws: Draws) -> Any:
        drawn = draws.uniform((x.shape[0], 1, 1, 1), *self.factor)
        times = drawn / (1.0 - drawn + config.epsilon())
        channel = 3 if self.data_format == "channels_last" else 1
        hue, saturation, value = ops.split(ops.image.rgb_to_hsv(x, self.data_format), 3, channel)
        saturation = ops.clip(saturation * times, *map(float, self.value_range))
        hsv = ops.concatenate([hue, saturation, value], channel)
        return ops.image.hsv_to_rgb(hsv, self.data_format)


class Solarization(Augmentation):
    """Makes pixels brighter, then negatives of those at or above a threshold, in training.

    Parameters
    ----------
    addition_factor, threshold_factor : greatest addition and threshold as fractions of the range, 0
        to 1, default 0; two numbers are the least, in 255ths, and the greatest.
    value_range : of the pixels, default (0, 255).
    seed, data_format : as in `RandomFlip`.
    """

    addition_factor: Any = share(0, 1, 0.0)
    threshold_factor: Any = share(0, 1, 0.0)
    value_range: Any = pixel_range()
    seed: int | None = any_seed()
    data_format: str = fields.data_format()

    def transform(self, x: Any, draws: Draws) -> Any:
        low, high = map(float, self.value_range)
        form = (x.shape[0], 1, 1, 1)
        (least, most), (bottom, top) = self.addition_factor, self.threshold_factor
        more = draws.uniform(form, least, most * 255.0)
        threshold = draws.uniform(form, bottom, top * 255.0)
        y = ops.clip((x - low) / (high - low) * 255.0 + more, 0.0, 255.0)
        y = ops.where(y < threshold, y, 255.0 - y)
        return y / 255.0 * (high - low) + low


class RandomColorDegeneration(Augmentation):
    """Moves RGB images towards their gray ones in training: x + f (gray - x).

    Parameters
    ----------
    factor : least and greatest f, -1 to 1: 0 changes nothing, 1 makes gray; one number f stands for
        -f..f.
    value_range : least and greatest value of the result, default (0, 255).
    data_format, seed : as in `RandomFlip`.
    """

    factor: Any = share(-1.0, 1.0)
    value_range: Any = pixel_range()
    data_format: str = fields.data_format()
    seed: int | None = any_seed()

    def transform(self, x: Any, draws: Draws) -> Any:
        factor = draws.uniform((x.shape[0], 1, 1, 1), *self.factor)
        gray = ops.image.rgb_to_grayscale(x, self.data_format)
        return ops.clip(x + factor * (gray - x), *map(float, self.value_range))


def _of_part() -> Any:
    """A factor that the layer which takes it checks."""
    return arg(None, convert=lambda v: tuple(v) if isinstance(v, list) else v)


class RandomColorJitter(Augmentation):
    """`RandomBrightness`, `RandomContrast`, `RandomSaturation` and `RandomHue`, one after the
    other, in training.

    Parameters
    ----------
    value_range : of the pixels, default (0, 255).
    brightness_factor, contrast_factor, saturation_factor, hue_factor : `factor` of each; None, the
        default, leaves it out.
    seed, data_format : as in `RandomFlip`.
    """

    value_range: Any = pixel_range()
    brightness_factor: Any = _of_part()
    contrast_factor: Any = _of_part()
    saturation_factor: Any = _of_part()
    hue_factor: Any = _of_part()
    seed: int | None = any_seed()
    data_format: str = fields.data_format()

    def __post_init__(self) -> None:
        super().__post_init__()
        self._parts: list[Augmentation] = []
        for kind in (RandomBrightness, RandomContrast, RandomSaturation, RandomHue):
            name = f"{kind.__name__.removeprefix('Random').lower()}_factor"
            factor = getattr(self, name)
            if factor is None:
                continue
            try:
                part = kind(
                    factor,
                    value_range=self.value_range,
                    data_format=self.data_format,
                    dtype=self.dtype_policy,
                )
            except ValueError as error:
                reason = str(error).partition(": factor ")[2]
                raise ValueError(f"RandomColorJitter: {name} {reason}") from None
            self._parts.append(part)

    def transform(self, x: Any, draws: Draws) -> Any:
        for part in self._parts:
            x = part.transform(x, draws)
        return x
