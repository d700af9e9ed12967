"""Classical filters of images: kernels with known effects, and layers that apply them.

Kernels are arrays (height, width), for cross-correlation, which is what `Conv2D` computes: they lie
on the image as they are written here, not flipped.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from nbcnn import ops
from nbcnn.layers import Conv2D, DepthwiseConv2D, Input
from nbcnn.models import Model

__all__ = [
    "box",
    "emboss",
    "gaussian",
    "kernel",
    "laplacian",
    "layer",
    "matched",
    "sharpen",
    "sobel_magnitude",
    "sobel_x",
    "sobel_y",
]


def box(size: int = 3) -> np.ndarray:
    """The mean of a square: blur with visible edges.

    Parameters
    ----------
    size : pixels a side; default 3.

    Returns
    -------
    float32 array (size, size) with sum 1.

    Raises
    ------
    ValueError
        For a size that is no positive integer.
    """
    size = _size("box", size)
    return np.full((size, size), 1 / size**2, np.float32)


def gaussian(size: int = 5, sigma: float = 1.0) -> np.ndarray:
    """exp(-(u² + v²) / (2 sigma²)), u and v counted from the middle: blur without directions.

    Parameters
    ----------
    size : pixels a side; default 5. With 6 sigma and more next to nothing is cut off.
    sigma : standard deviation in pixels; default 1.

    Returns
    -------
    float32 array (size, size) with sum 1.

    Raises
    ------
    ValueError
        For a size that is no positive integer, and a sigma that is not positive.
    """
    size = _size("gaussian", size)
    if not sigma > 0:
        raise ValueError(f"gaussian: sigma must be positive, got {sigma!r}")
    line = np.exp(-0.5 * ((np.arange(size) - (size - 1) / 2) / sigma) ** 2)
    return np.outer(line / line.sum(), line / line.sum()).astype(np.float32)


def sharpen(amount: float = 1.0) -> np.ndarray:
    """The image minus `amount` (default 1) times its Laplacian, 3×3, with sum 1."""
    return _array([[0, 0, 0], [0, 1, 0], [0, 0, 0]]) - np.float32(amount) * laplacian()


def emboss() -> np.ndarray:
    """The image as a relief that is lit from the upper left, 3×3, with sum 1."""
    return _array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])


def sobel_x() -> np.ndarray:
    """The slope to the right, smoothed downwards, 3×3: positive where it becomes brighter.

    I. Sobel and G. Feldman, "A 3×3 isotropic gradient operator for image processing" (1968).
    """
    return _array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])


def sobel_y() -> np.ndarray:
    """The slope downwards, smoothed to the right, 3×3; see `sobel_x`."""
    return np.ascontiguousarray(sobel_x().T)


def laplacian(diagonals: bool = False) -> np.ndarray:
    """The sum of the neighbours minus as often the pixel itself, 3×3: zero on even slopes.

    `diagonals`: eight neighbours in place of four.
    """
    corner = 1 if diagonals else 0
    middle = -8 if diagonals else -4
    return _array([[corner, 1, corner], [1, middle, 1], [corner, 1, corner]])


def matched(template: Any) -> np.ndarray:
    """A filter that responds most where an image looks like a template.

    The template with mean 0, so that even areas give 0, and norm 1. Of all filters of norm 1 it has
    the highest response to the template itself among white noise (D. North, 1943).

    Parameters
    ----------
    template : array (height, width), or (height, width, channels).

    Returns
    -------
    float32 array of its shape, with mean 0 in every channel and norm 1.

    Raises
    ------
    ValueError
        For other numbers of axes, and templates without contrast.
    """
    values = np.asarray(template, np.float64)
    if values.ndim not in (2, 3) or not values.size:
        raise ValueError(
            "matched: template must be an array (height, width) or (height, width, channels), "
            f"got shape {values.shape}"
        )
    values = values - values.mean((0, 1))
    norm = np.sqrt(np.sum(np.square(values)))
    if not norm > 1e-6:
        raise ValueError("matched: the template is even, there is nothing to find")
    return (values / norm).astype(np.float32)


NAMED: dict[str, Callable[[], np.ndarray]] = {
    "box": box,
    "emboss": emboss,
    "gaussian": gaussian,
    "laplacian": laplacian,
    "sharpen": sharpen,
    "sobel_x": sobel_x,
    "sobel_y": sobel_y,
}


def kernel(identifier: Any) -> np.ndarray:
    """The kernel of a name, with its defaults; an array stays what it is.

    Parameters
    ----------
    identifier : "box", "emboss", "gaussian", "laplacian", "sharpen", "sobel_x" or "sobel_y", or an
        array (height, width) or (height, width, channels).

    Raises
    ------
    ValueError
        For other names, and arrays of other numbers of axes.
    """
    if isinstance(identifier, str):
        if identifier not in NAMED:
            known = ", ".join(map(repr, NAMED))
            raise ValueError(f"filters: there is no kernel {identifier!r}; there are {known}")
        return NAMED[identifier]()
    values = np.asarray(identifier, np.float32)
    if values.ndim not in (2, 3):
        raise ValueError(
            "filters: a kernel must be (height, width) or (height, width, channels), "
            f"got shape {values.shape}"
        )
    return values


def layer(
    identifier: Any, channels: int = 1, padding: Any = "same", name: str | None = None
) -> Any:
    """A layer that applies a kernel, built, and frozen: its weights are not trained.

    A kernel (height, width) is applied to each channel alone: a `Conv2D` for one channel, a
    `DepthwiseConv2D` for more. One (height, width, channels) sums over them, as a `Conv2D` with one
    filter. The kernel is a weight, which files keep, but not part of the configuration.

    Parameters
    ----------
    identifier : as for `kernel`.
    channels : of the images, which come last; default 1.
    padding : as for `Conv2D`, but "same" by default.
    name : automatic by default.

    Raises
    ------
    ValueError
        As `kernel`, for a kernel of another number of channels, and numbers that are not positive.

    Examples
    --------
    >>> edges = filters.layer("sobel_x", channels=3)(photographs)
    """
    values = kernel(identifier)
    channels = _size("filters", channels, "channels")
    if values.ndim == 3 and values.shape[2] != channels:
        raise ValueError(
            f"filters: the kernel has {values.shape[2]} channels, the images have {channels}"
        )
    options: dict[str, Any] = {
        "padding": padding,
        "data_format": "channels_last",
        "use_bias": False,
        "trainable": False,
        "name": name,
    }
    if values.ndim == 3 or channels == 1:
        made: Any = Conv2D(1, values.shape[:2], **options)
        weight = values.reshape(*values.shape[:2], channels, 1)
    else:
        made = DepthwiseConv2D(values.shape[:2], **options)
        weight = np.repeat(values[:, :, None, None], channels, 2)
    made.build((None, None, None, channels))
    made.set_weights([weight])
    return made


def sobel_magnitude(channels: int = 1) -> Model:
    """A model that computes sqrt(gx² + gy²) of the two Sobel slopes of each channel: how strong an
    edge is, in whatever direction.

    Parameters
    ----------
    channels : of the images; default 1.

    Shapes: (n, h, w, channels) -> (n, h, w, channels).
    """
    images = Input((None, None, channels))
    squares = [ops.square(layer(name, channels)(images)) for name in ("sobel_x", "sobel_y")]
    return Model(images, ops.sqrt(ops.add(*squares)))


def _size(where: str, size: Any, name: str = "size") -> int:
    if not isinstance(size, (int, np.integer)) or isinstance(size, bool) or size < 1:
        raise ValueError(f"{where}: {name} must be a positive integer, got {size!r}")
    return int(size)


def _array(rows: list[list[int]]) -> np.ndarray:
    return np.array(rows, np.float32)
