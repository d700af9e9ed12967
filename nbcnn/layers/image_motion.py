"""Images moved, turned and zoomed at random in training."""

import math
from typing import TYPE_CHECKING, Any

from nbcnn import ops
from nbcnn.declare import arg
from nbcnn.layers import fields
from nbcnn.layers.augmentation import Augmentation, any_seed, bounds, change, share
from nbcnn.layers.draws import Draws

FILL_MODES = ("reflect", "wrap", "constant", "nearest")
INTERPOLATIONS = ("nearest", "bilinear")


class Motion(Augmentation):
    """Images moved by an affine map each, drawn by `maps`."""

    if TYPE_CHECKING:  # an annotation here would make fields
        fill_mode: Any
        interpolation: Any
        fill_value: Any

    def maps(self, n: int | None, height: int, width: int, draws: Draws) -> list[Any]:
        """a0, a1, a2, b0, b1, b2 of the maps as `ops.image.affine_transform` takes them: numbers
        or (n, 1).
        """
        raise NotImplementedError(f"{type(self).__name__} does not define maps()")

    def transform(self, x: Any, draws: Draws) -> Any:
        return self._moved(x, draws, self.interpolation)

    def transform_masks(self, masks: Any, draws: Draws) -> Any:
        return self._moved(masks, draws, "nearest")

    def _moved(self, x: Any, draws: Draws, interpolation: str) -> Any:
        height, width = self.image_size(x)
        entries = self.maps(x.shape[0], height, width, draws)
        zero = next(e for e in entries if not isinstance(e, float)) * 0.0
        table = ops.concatenate([zero + e for e in (*entries, 0.0, 0.0)], 1)
        return ops.image.affine_transform(
            x, table, interpolation, self.fill_mode, self.fill_value, self.data_format
        )


class RandomTranslation(Motion):
    """Moves images down and to the right in training.

    Parameters
    ----------
    height_factor, width_factor : how far, as fractions of the height and the width, -1 to 1: two
        numbers are the least and the greatest, one number f stands for -f..f.
    fill_mode : how pixels beyond the edges are read: 'reflect' (default), 'wrap', 'nearest' or
        'constant' (`fill_value`, 0).
    interpolation : 'bilinear' (default) or 'nearest'.
    seed, data_format : as in `RandomFlip`.
    """

    height_factor: Any = change("[-1", lambda v: -1 <= v <= 1)
    width_factor: Any = change("[-1", lambda v: -1 <= v <= 1)
    fill_mode: str = arg("reflect", choices=FILL_MODES)
    interpolation: str = arg("bilinear", choices=INTERPOLATIONS)
    seed: int | None = any_seed()
    fill_value: float = 0.0
    data_format: str = fields.data_format()

    def maps(self, n: int | None, height: int, width: int, draws: Draws) -> list[Any]:
        down = draws.uniform((n, 1), *bounds(self.height_factor)) * float(height)
        right = draws.uniform((n, 1), *bounds(self.width_factor)) * float(width)
        return [1.0, 0.0, -right, 0.0, 1.0, -down]


class RandomRotation(Motion):
    """Turns images about their centre in training.

    Parameters
    ----------
    factor : least and greatest angle, as fractions of a full turn counterclockwise; one number f
        stands for -f..f.
    fill_mode, interpolation, fill_value : as in `RandomTranslation`.
    seed, data_format : as in `RandomFlip`.
    """

    factor: Any = share(-1.0, 1.0)
    fill_mode: str = arg("reflect", choices=FILL_MODES)
    interpolation: str = arg("bilinear", choices=INTERPOLATIONS)
    seed: int | None = any_seed()
    fill_value: float = 0.0
    data_format: str = fields.data_format()

    def maps(self, n: int | None, height: int, width: int, draws: Draws) -> list[Any]:
        lower, upper = self.factor
        angle = draws.uniform((n, 1), lower * 2 * math.pi, upper * 2 * math.pi)
        cos, sin = ops.cos(angle), ops.sin(angle)
        cx, cy = 0.5 * (width - 1), 0.5 * (height - 1)
        return [cos, -sin, cx - cx * cos + cy * sin, sin, cos, cy - cx * sin - cy * cos]


class RandomZoom(Motion):
    """Shrinks (positive factors) or enlarges images about their centre in training.

    Parameters
    ----------
    height_factor : least and greatest change of the height, above -1 to 1: 0.2 shows 20 % more
        rows. One number f stands for -f..f.
    width_factor : that of the width; by default the proportions stay.
    fill_mode, interpolation, fill_value : as in `RandomTranslation`.
    seed, data_format : as in `RandomFlip`.
    """

    height_factor: Any = change("(-1", lambda v: -1 < v <= 1)
    width_factor: Any = change("(-1", lambda v: -1 < v <= 1, None)
    fill_mode: str = arg("reflect", choices=FILL_MODES)
    interpolation: str = arg("bilinear", choices=INTERPOLATIONS)
    seed: int | None = any_seed()
    fill_value: float = 0.0
    data_format: str = fields.data_format()

    def maps(self, n: int | None, height: int, width: int, draws: Draws) -> list[Any]:
        lower, upper = bounds(self.height_factor)
        rows = columns = draws.uniform((n, 1), 1.0 + lower, 1.0 + upper)
        if self.width_factor is not None:
            lower, upper = bounds(self.width_factor)
            columns = draws.uniform((n, 1), 1.0 + lower, 1.0 + upper)
        cx, cy = (width - 1) / 2, (height - 1) / 2
        return [columns, 0.0, cx * (1.0 - columns), 0.0, rows, cy * (1.0 - rows)]


class RandomShear(Motion):
    """Slants images in training.

    Parameters
    ----------
    x_factor, y_factor : how far a row moves per row, and a column per column, at most; one number f
        stands for -f..f, default 0.
    interpolation, fill_mode, fill_value : as in `RandomTranslation`.
    data_format, seed : as in `RandomFlip`.
    """

    x_factor: Any = share(-1.0, 1.0, 0.0)
    y_factor: Any = share(-1.0, 1.0, 0.0)
    interpolation: str = arg("bilinear", choices=INTERPOLATIONS)
    fill_mode: str = arg("reflect", choices=FILL_MODES)
    fill_value: float = 0.0
    data_format: str = fields.data_format()
    seed: int | None = any_seed()

    def maps(self, n: int | None, height: int, width: int, draws: Draws) -> list[Any]:
        sign = ops.sign(0.5 - draws.uniform((n, 1)))
        y = draws.uniform((n, 1), *self.y_factor) * sign
        x = draws.uniform((n, 1), *self.x_factor) * sign
        return [1.0, x, 0.0, y, 1.0, 0.0]
