"""Images of other sizes, on the host: each side is a matrix product, as in the interpolation of
`tf.image.resize` without smoothing.

Pixels are squares; the middle of new pixel i lies at (i + 0.5) * old / new in the old image. What
would lie outside has no weight, and weights add up to 1.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(0.0, 1.0 - x)


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys 1981, a = -0.5."""
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _mitchell(x: np.ndarray) -> np.ndarray:
    """Mitchell & Netravali 1988, both parameters 1/3."""
    near = (7.0 * x - 12.0) * x * x + 16.0 / 3.0
    far = ((-7.0 / 3.0 * x + 12.0) * x - 20.0) * x + 32.0 / 3.0
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0)) / 6.0


def _gaussian(x: np.ndarray) -> np.ndarray:
    return np.where(x < 1.5, np.exp(-2.0 * x * x), 0.0)


def _lanczos(radius: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.where(x < radius, np.sinc(x) * np.sinc(x / radius), 0.0)


KERNELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "bilinear": _triangle,
    "bicubic": _cubic,
    "mitchellcubic": _mitchell,
    "gaussian": _gaussian,
    "lanczos3": _lanczos(3),
    "lanczos5": _lanczos(5),
}
METHODS = ("bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5", "gaussian",
           "mitchellcubic")  # fmt: skip


@lru_cache(maxsize=64)
def weights(old: int, new: int, method: str) -> np.ndarray:
    """The matrix (new, old) of one side."""
    edges = np.arange(new + 1) * (old / new)
    middles = (np.arange(new) + 0.5) * (old / new)
    if method == "nearest":
        found = np.zeros((new, old))
        found[np.arange(new), np.minimum(middles.astype(int), old - 1)] = 1.0
    elif method == "area":
        pixel = np.arange(old)
        found = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
        found = np.maximum(found, 0.0)
    else:
        found = KERNELS[method](np.abs(middles[:, None] - (np.arange(old) + 0.5)))
    return found / found.sum(1, keepdims=True)


def check_method(where: str, method: Any) -> str:
    """The name in lower case, or ValueError."""
    name = method.lower() if isinstance(method, str) else method
    if name not in METHODS:
        raise ValueError(f"{where}: interpolation must be one of {METHODS}, got {method!r}")
    return name


def resized(images: np.ndarray, size: tuple[int, int], method: str) -> np.ndarray:
    """Images (..., h, w, c) with sides `size`, float32."""
    if images.shape[-3:-1] == tuple(size):
        return images.astype(np.float32)
    rows = weights(images.shape[-3], size[0], method)
    columns = weights(images.shape[-2], size[1], method)
    tall = np.tensordot(rows, images.astype(np.float64), (1, images.ndim - 3))
    tall = np.moveaxis(tall, 0, -3)
    both = np.moveaxis(np.tensordot(columns, tall, (1, tall.ndim - 2)), 0, -2)
    return both.astype(np.float32)


def cropped(images: np.ndarray, size: tuple[int, int], method: str) -> np.ndarray:
    """The largest part in the middle that has the proportions of `size`, resized to it."""
    height, width = images.shape[-3:-1]
    tall = max(min(height, int(float(width * size[0]) / size[1])), 1)
    wide = max(min(width, int(float(height * size[1]) / size[0])), 1)
    top, left = int(float(height - tall) / 2), int(float(width - wide) / 2)
    return resized(images[..., top : top + tall, left : left + wide, :], size, method)


def padded(images: np.ndarray, size: tuple[int, int], method: str) -> np.ndarray:
    """Resized as far as both sides fit into `size`, in the middle of zeros: as
    `tf.image.resize_with_pad` rounds it.
    """
    height, width = images.shape[-3:-1]
    ratio = max(height / size[0], width / size[1])
    inner = max(int(height / ratio), 1), max(int(width / ratio), 1)
    found = np.zeros((*images.shape[:-3], *size, images.shape[-1]), np.float32)
    top, left = int((size[0] - height / ratio) / 2), int((size[1] - width / ratio) / 2)
    found[..., top : top + inner[0], left : left + inner[1], :] = resized(images, inner, method)
    return found
