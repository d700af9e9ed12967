"""Layers of images in training, with everything that they would draw given: for values of real
Keras. See `tests/golden/record_image_layers.py`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Row(NamedTuple):
    """`make(layers)` gives the layer; `drawn`, where anything is: what it draws in our order, and
    `given(x)` the same as Keras's layer takes it.
    """

    name: str
    make: Callable[[Any], Any]
    shape: tuple[int, ...] = (3, 12, 10, 3)
    top: int = 255  # pixels are whole numbers up to this, divided by it where it is 1
    first: bool = False  # channels first
    dtype: str = "float32"
    drawn: tuple = ()
    given: Callable[[Any], dict] | None = None
    labels: bool = False

    def images(self) -> np.ndarray:
        x = np.random.default_rng(len(self.name)).integers(0, 190, self.shape)
        x[0, ..., 0] = 7  # a channel of one value
        x = np.moveaxis(x, -1, 1) if self.first else x
        x = x / 255 if self.top == 1 else x
        return np.ascontiguousarray(x, self.dtype)

    def classes(self) -> np.ndarray:
        return np.eye(self.shape[0], 4, dtype="float32")


FIRST = {"data_format": "channels_first"}


def clahe(L: Any, *args: Any, **kwargs: Any) -> Any:
    return L.ContrastLimitedAdaptiveHistogramEqualization(*args, **kwargs)


TONES = [
    Row("contrast", lambda L: L.AutoContrast()),
    Row("contrast to 1", lambda L: L.AutoContrast((0, 1)), top=1),
    Row("contrast first", lambda L: L.AutoContrast(**FIRST), first=True),
    Row("equal", lambda L: L.Equalization()),
    Row("equal to 1", lambda L: L.Equalization((0, 1)), top=1),
    Row("equal in 50 bins", lambda L: L.Equalization(bins=50)),
    Row("equal first", lambda L: L.Equalization(**FIRST), first=True),
    Row("clahe", clahe, (2, 20, 18, 3)),
    Row("clahe of few", lambda L: clahe(L, (0, 255), 1.5, (2, 3))),
    Row("clahe without a limit", lambda L: clahe(L, (0, 1), 0.0, (3, 2)), top=1),
    Row("clahe first", lambda L: clahe(L, tile_grid_size=(2, 2), **FIRST), first=True),
    Row("clahe of bytes", lambda L: clahe(L, tile_grid_size=(3, 5)), dtype="uint8"),
    Row("five bits", lambda L: L.RandomPosterization((5, 5))),
    Row("two bits", lambda L: L.RandomPosterization((2, 2), (0, 1)), top=1),
]

FILTERS = [
    Row("blurred", lambda L: L.RandomSharpness((0.1, 0.1))),
    Row("sharp", lambda L: L.RandomSharpness((0.9, 0.9), (0, 1), **FIRST), top=1, first=True),
    Row("dull", lambda L: L.RandomColorDegeneration((0.4, 0.4))),
    Row(
        "dull first",
        lambda L: L.RandomColorDegeneration((-0.7, -0.7), (0, 1), **FIRST),
        top=1,
        first=True,
    ),
    Row(
        "jitter",
        lambda L: L.RandomColorJitter((0, 1), (0.2, 0.2), None, (0.6, 0.6), (0, 0)),
        top=1,
    ),
]

CHOSEN = np.array([True, False, True])
NEVER, ALWAYS = np.float32(0.9), np.float32(0.1)


def chances(form: tuple = (3, 1, 1, 1)) -> tuple:
    """What makes a layer choose the images that are chosen."""
    return np.full(form, 0.5, "float32"), np.where(CHOSEN, ALWAYS, NEVER).reshape(form)


def blur(width: float, height: float) -> dict:
    return {
        "drawn": (*chances(), np.float32([[width], [height]])),
        "given": lambda x: {
            "should_apply_blur": CHOSEN,
            "blur_factor": np.float32([width, height]) + np.float32(1e-6),
        },
    }


# Of the corners' coordinates but 0.
CORNERS = np.float32([[1.1, 0.8, 1.3, 0.9], [1, 1, 1, 1], [0.7, 1.2, 0.75, 1.4]])


def corners(x: Any) -> dict:
    height, width = 12, 10
    ends = np.float32([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]])
    starts = np.repeat(ends[None], 3, 0)
    moved = starts.copy()
    for i, (right, lower, across, down) in enumerate(CORNERS):
        moved[i] *= np.float32([[1, 1], [right, 1], [1, lower], [across, down]])
    return {"apply_perspective": CHOSEN, "start_points": starts, "end_points": moved}


ORDER = np.int32([2, 0, 1])
SHARES = np.float32([[0.3], [1.0], [0.55]])
HALF = np.float32([0.2, 0.6, 0.0])  # where rectangles begin, as a part of what is left


def rectangles(x: Any) -> dict:
    """Areas of a quarter, nothing, and nearly half of the image."""
    first = x.shape[1] == 3
    inside: Any = True
    for axis, size in enumerate(x.shape[2:] if first else x.shape[1:3]):
        length = np.sqrt(1.0 - SHARES) * np.float32(size)
        start = HALF[:, None] * (np.float32(size) - length)
        places = np.arange(size, dtype="float32")
        here = (places >= start) & (places < start + length)
        inside = inside & np.expand_dims(here, 2 - axis)
    return {
        "permutation_order": ORDER,
        "batch_masks": np.repeat(np.expand_dims(inside, 1 if first else 3), 3, 1 if first else 3),
        "mix_weight": SHARES.reshape(3, 1, 1, 1),
    }


MIXED = {
    "drawn": (ORDER, SHARES),
    "given": lambda x: {"mix_weight": SHARES[:, 0], "permutation_order": ORDER},
    "labels": True,
}
CUT = {
    "drawn": (np.float32([0.5]), SHARES, HALF[:, None], HALF[:, None], ORDER),
    "given": rectangles,
    "labels": True,
}

DRAWN = [
    Row("soft", lambda L: L.RandomGaussianBlur(kernel_size=5), **blur(0.9, 0.4)),
    Row("soft first", lambda L: L.RandomGaussianBlur(**FIRST), first=True, **blur(0.7, 1.0)),
    Row("aslant", lambda L: L.RandomPerspective(), drawn=(*chances(), CORNERS), given=corners),
    Row(
        "aslant first",
        lambda L: L.RandomPerspective(fill_value=9.0, **FIRST),
        first=True,
        drawn=(*chances(), CORNERS),
        given=corners,
    ),
    Row("mixed", lambda L: L.MixUp(), **MIXED),
    Row("mixed first", lambda L: L.MixUp(**FIRST), first=True, **MIXED),
    Row("cut", lambda L: L.CutMix(), **CUT),
    Row("cut first", lambda L: L.CutMix(**FIRST), first=True, **CUT),
]

ROWS = [*TONES, *FILTERS, *DRAWN]


class Spectral(NamedTuple):
    """A wrapped layer, which is called in training twice, then otherwise."""

    name: str
    make: Callable[[Any], Any]
    shape: tuple[int, ...]
    power_iterations: int = 1


SPECTRAL = [
    Spectral("dense", lambda L: L.Dense(3), (4, 6)),
    Spectral("conv", lambda L: L.Conv2D(4, 3, activation="relu"), (2, 6, 5, 3), 3),
    Spectral("depthwise", lambda L: L.DepthwiseConv2D(3, depth_multiplier=2), (2, 6, 5, 3), 2),
    Spectral("zeros", lambda L: L.Dense(3, kernel_initializer="zeros"), (4, 6)),
]
