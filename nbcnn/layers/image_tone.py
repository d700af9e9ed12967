"""The distribution of pixels' values changed: stretched, evened out, made coarse."""

from typing import Any

import numpy as np

from nbcnn import ops
from nbcnn.declare import KINDS, Expected, arg, integers, positive
from nbcnn.layers import fields
from nbcnn.layers.augmentation import Augmentation, any_seed, pixel_range
from nbcnn.layers.draws import Draws
from nbcnn.ops.tensor import Tensor

LEVELS = 256


class Tone(Augmentation):
    """A layer with `value_range` that works on values 0..255."""

    value_range = (0, 255)

    def to_levels(self, x: Any) -> Any:
        low, high = map(float, self.value_range)
        return x if (low, high) == (0.0, 255.0) else (x - low) / (high - low) * 255.0

    def from_levels(self, x: Any) -> Any:
        low, high = map(float, self.value_range)
        return x if (low, high) == (0.0, 255.0) else x / 255.0 * (high - low) + low


class AutoContrast(Tone):
    """Stretches every channel of an image to the whole range of values, in training and
    otherwise; a channel of one value stays.

    Parameters
    ----------
    value_range : of the pixels, default (0, 255).
    data_format : as in `RandomFlip`; channels are taken to be last in any case, as Keras does.
    """

    value_range: Any = pixel_range()
    data_format: str = fields.data_format(kw_only=True)
    always = True

    def transform(self, x: Any, draws: Draws) -> Any:
        levels = self.to_levels(x)
        low = ops.min(levels, (1, 2), keepdims=True)
        spread = ops.max(levels, (1, 2), keepdims=True) - low
        flat = ops.equal(spread, 0.0)
        scale = 255.0 / ops.where(flat, 1.0, spread)
        stretched = self.from_levels(ops.clip(levels * scale - low * scale, 0.0, 255.0))
        return ops.where(ops.logical_or(flat, ops.isnan(stretched)), x, stretched)


class Equalization(Tone):
    """Makes values of every channel about equally frequent in training (histogram equalization);
    the histogram is that of the whole batch.

    Parameters
    ----------
    value_range : of the pixels, default (0, 255).
    bins : number of bins of the histogram, default 256.
    data_format : as in `RandomFlip`.
    """

    value_range: Any = pixel_range()
    bins: int = arg(LEVELS, check=positive)
    data_format: str = fields.data_format()

    def transform(self, x: Any, draws: Draws) -> Any:
        channel = 3 if self.data_format == "channels_last" else 1
        levels = ops.moveaxis(self.to_levels(x), channel, 0)
        c = levels.shape[0]
        if c is None:
            raise ValueError(f"{self._who()}: channels must be known, got shape {x.shape}")
        last = float(self.bins - 1)
        first = np.arange(c, dtype="int32").reshape(c, 1, 1, 1) * self.bins

        def numbers(scaled: Any) -> Any:
            return ops.cast(ops.clip(scaled, 0.0, last), "int32") + first

        counted = ops.reshape(numbers(levels * last / 255.0), (-1,))
        counts = ops.bincount(counted, minlength=c * self.bins)
        table = self._table(ops.cast(ops.reshape(counts, (c, self.bins)), x.dtype))
        # Rounded in another order than above, as in Keras: some values read the bin before.
        even = ops.take(ops.reshape(table, (-1,)), numbers(levels / 255.0 * last), 0)
        several = ops.sum(ops.reshape(counts, (c, self.bins, 1, 1)) > 0, 1, keepdims=True) > 1
        return self.from_levels(ops.moveaxis(ops.where(several, even, levels), 0, channel))

    @staticmethod
    def _table(counts: Any) -> Any:
        """What the values of each bin become."""
        total = ops.cumsum(counts, -1)
        least = ops.min(ops.where(total > 0.0, total, np.inf), -1, keepdims=True)
        span = ops.max(total, -1, keepdims=True) - least
        table = (total - least) * 255.0 / ops.where(ops.equal(span, 0.0), 1.0, span)
        return ops.clip(ops.round(table), 0.0, 255.0)


def _limit(value: Any) -> str | None:
    return None if np.isfinite(value) else "must be a finite number"


class ContrastLimitedAdaptiveHistogramEqualization(Tone):
    """Makes values about equally frequent around every pixel, without blowing up noise (CLAHE,
    Zuiderveld 1994), in training and otherwise; whole numbers stay such.

    An image is cut into tiles; the histogram of each gives a curve, and pixels follow the curves
    of the four nearest tiles.

    Parameters
    ----------
    value_range : of the pixels, default (0, 255).
    clip_limit : bins are cut off at so many times their mean, default 4; at 0 or below nothing is.
    tile_grid_size : numbers of rows and columns of tiles, default (8, 8).
    data_format : as in `RandomFlip`.
    """

    value_range: Any = pixel_range()
    clip_limit: float = arg(4.0, check=_limit)
    tile_grid_size: Any = arg((8, 8), convert=integers(2), check=positive)
    data_format: str = fields.data_format()
    always = True

    def _images(self, inputs: Any) -> Any:
        x = super()._images(inputs)
        return inputs if np.dtype(inputs.dtype).kind in "iu" else x

    def transform(self, x: Any, draws: Draws) -> Any:
        last = self.data_format == "channels_last"
        levels = self.to_levels(ops.cast(x, self.value_dtype))
        levels = levels if last else ops.moveaxis(levels, 1, -1)
        n, h, w, c = levels.shape
        if None in (h, w, c):
            raise ValueError(f"{self._who()}: sizes of images must be known, got shape {x.shape}")
        if n is None:  # while a model is put together; there are histograms for each image
            return Tensor(x.shape, x.dtype)
        sides = [-(-size // tiles) for size, tiles in zip((h, w), self.tile_grid_size)]
        more = [s * t - size for s, t, size in zip(sides, self.tile_grid_size, (h, w))]
        if any(more):
            widths = ((0, 0), (0, more[0]), (0, more[1]), (0, 0))
            levels = ops.pad(levels, widths, mode="symmetric")
        numbers = ops.cast(ops.clip(levels, 0.0, float(LEVELS - 1)), "int32")
        y = self._between(numbers, self._curves(numbers, sides), sides)
        y = self.from_levels(ops.slice_axis(ops.slice_axis(y, 1, 0, h), 2, 0, w))
        return ops.cast(y if last else ops.moveaxis(y, -1, 1), x.dtype)

    def _curves(self, numbers: Any, sides: list[int]) -> Any:
        """(n, rows, columns, c, levels): what every level becomes around a tile's centre."""
        (rows, columns), c = self.tile_grid_size, numbers.shape[-1]
        size = sides[0] * sides[1]
        tiles = ops.reshape(numbers, (-1, rows, sides[0], columns, sides[1], c))
        tiles = ops.reshape(ops.transpose(tiles, (0, 1, 3, 5, 2, 4)), (-1, size))
        count = tiles.shape[0]
        first = np.arange(count, dtype="int32")[:, None] * LEVELS
        counts = ops.bincount(ops.reshape(tiles + first, (-1,)), minlength=count * LEVELS)
        found = ops.cast(ops.reshape(counts, (count, LEVELS)), self.value_dtype)
        if self.clip_limit > 0:
            limited = ops.minimum(found, float(self.clip_limit * size / LEVELS))
            found = limited + ops.sum(found - limited, -1, keepdims=True) / float(LEVELS)
        total = ops.cumsum(found, -1)
        least = ops.min(total, -1, keepdims=True)
        rest = float(size) - least
        curve = (total - least) * 255.0 / ops.where(ops.equal(rest, 0.0), 1.0, rest)
        return ops.reshape(ops.clip(curve, 0.0, 255.0), (-1, rows, columns, c, LEVELS))

    def _between(self, numbers: Any, curves: Any, sides: list[int]) -> Any:
        """Every pixel by the curves of the tiles around it, weighted by distance."""
        n, height, width, c = numbers.shape
        rows, columns = self.tile_grid_size
        flat = ops.reshape(curves, (-1,))
        image = np.arange(n, dtype="int32").reshape(-1, 1, 1, 1) * rows
        total: Any = 0.0
        for row, row_share in _neighbours(height, sides[0], rows, 0, self.value_dtype):
            for column, share in _neighbours(width, sides[1], columns, 1, self.value_dtype):
                tile = (image + row) * columns + column
                place = (tile * c + np.arange(c, dtype="int32")) * LEVELS + numbers
                total = total + ops.take(flat, place, 0) * (row_share * share)
        return total


def _neighbours(length: int, side: int, count: int, axis: int, dtype: str) -> list[tuple]:
    """The tiles before and after every pixel's centre along an axis, and their weights, in the form
    (1, h, w, 1).
    """
    places = (np.arange(length) - side / 2.0) / side
    before = np.floor(places)
    share = places - before
    found = []
    for number, weight in ((before, 1.0 - share), (before + 1, share)):
        form = (1, -1, 1, 1) if axis == 0 else (1, 1, -1, 1)
        tile = np.clip(number, 0, count - 1).astype("int32")
        found.append((tile.reshape(form), weight.astype(dtype).reshape(form)))
    return found


def _bits(value: Any) -> tuple[int, int]:
    whole = KINDS["int"]
    if whole(value) and 1 <= value <= 8:
        return 1, int(value)
    two = isinstance(value, (list, tuple)) and len(value) == 2 and all(map(whole, value))
    if two and all(1 <= v <= 8 for v in value):
        lower, upper = sorted(map(int, value))
        return lower, upper
    raise Expected("must be an integer or two integers in 1..8")


class RandomPosterization(Tone):
    """Keeps only the highest bits of pixels, taken as bytes, in training.

    Parameters
    ----------
    factor : number of bits, 1 to 8: drawn from factor[0] to factor[1] - 1 for every image, or,
        where the two are equal, that; one number f stands for (1, f).
    value_range : of the pixels, default (0, 255).
    data_format, seed : as in `RandomFlip`.
    """

    factor: Any = arg(convert=_bits)
    value_range: Any = pixel_range()
    data_format: str = fields.data_format()
    seed: int | None = any_seed()

    def transform(self, x: Any, draws: Draws) -> Any:
        low, high = self.factor
        step: Any = 2.0 ** (8 - low)
        if low != high:
            step = 2.0 ** (8.0 - draws.integers((x.shape[0], 1, 1, 1), low, high))
        levels = ops.floor(ops.clip(self.to_levels(x), 0.0, float(LEVELS - 1)))
        return self.from_levels(ops.floor(levels / step) * step)
