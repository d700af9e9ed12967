"""Resizing images: a matrix for the rows and one for the columns.

Each pixel of the result is a sum of pixels weighted by their distance from where it lies in the
image (pixels are squares, points are their centres); weights are made to add up to 1.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nbcnn.ops import numpy_api as N
from nbcnn.ops.image import axes_of
from nbcnn.ops.numpy_shape import known, ndim, one_axis, pad, picked
from nbcnn.ops.windows import along, several


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(0.0, 1.0 - x)


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys 1981, with a = -1/2."""
    near = ((1.5 * x - 2.5) * x) * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x >= 2, 0.0, np.where(x >= 1, far, near))


def _lanczos(radius: float) -> Callable[[np.ndarray], np.ndarray]:
    def kernel(x: np.ndarray) -> np.ndarray:
        return np.where(x > radius, 0.0, np.sinc(x) * np.sinc(x / radius))

    return kernel


KERNELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "bilinear": _triangle, "bicubic": _cubic, "lanczos3": _lanczos(3), "lanczos5": _lanczos(5),
}  # fmt: skip
# Other names that `scale_and_translate` takes.
SAME_KERNELS = {
    "linear": "bilinear", "trilinear": "bilinear", "cubic": "bicubic", "tricubic": "bicubic",
}  # fmt: skip


def weights(
    size: int, output: int, scale: float, shift: float, method: str, antialias: bool
) -> np.ndarray:
    """(output, size): weights of an axis enlarged by `scale` and then moved by `shift`."""
    kernel, step = KERNELS[method], 1.0 / scale
    width = max(step, 1.0) if antialias else 1.0
    places = (np.arange(output) + 0.5) * step - shift * step - 0.5
    found = kernel(np.abs(places[:, None] - np.arange(size)) / width)
    total = found.sum(1, keepdims=True)
    counts = np.abs(total) > 1000 * float(np.finfo(np.float32).eps)
    found = np.where(counts, found / np.where(total != 0, total, 1), 0)
    inside = (places >= -0.5) & (places <= size - 0.5)
    return np.where(inside[:, None], found, 0)


def resize(
    images: Any,
    size: Sequence[int],
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: str | None = None,
) -> Any:
    """Images with `size` (height, width) pixels.

    interpolation: 'nearest', 'bilinear', 'bicubic', 'lanczos3' or 'lanczos5'. antialias: smooth
    where images become smaller. crop_to_aspect_ratio, pad_to_aspect_ratio: cut the image, or put
    `fill_value` around it, rather than change its proportions.

    Parameters
    ----------
    fill_mode : only 'constant'.
    """
    if interpolation != "nearest" and interpolation not in KERNELS:
        raise ValueError(
            f"resize: interpolation must be 'nearest' or one of {tuple(KERNELS)}, "
            f"got {interpolation!r}"
        )
    if fill_mode != "constant":
        raise ValueError(f"resize: fill_mode must be 'constant', got {fill_mode!r}")
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError("resize: crop_to_aspect_ratio and pad_to_aspect_ratio exclude each other")
    height, width = several(size, 2, "resize: size")
    rows, columns, _ = axes_of(images, data_format, "resize")
    x = N.convert_to_tensor(images)
    if crop_to_aspect_ratio or pad_to_aspect_ratio:
        fit = _cropped if crop_to_aspect_ratio else _padded
        x = fit(x, rows, columns, height, width, fill_value)
    if interpolation != "nearest" and np.dtype(N.dtype_of(x)).kind != "f":
        x = N.cast(x, "float32")
    for axis, output in ((columns, width), (rows, height)):  # rows last: they are long then
        length = known(x, axis, "resize")
        if interpolation == "nearest":
            # In float32, as whoever trains with such images elsewhere.
            places = (np.arange(output, dtype="float32") + 0.5) * np.float32(length / output)
            x = picked(x, np.minimum(np.floor(places).astype("int32"), length - 1), axis)
        elif output != length:
            found = weights(length, output, output / length, 0.0, interpolation, antialias)
            x = along(x, found, axis)
    return x


def _cropped(x: Any, rows: int, columns: int, height: int, width: int, fill: float) -> Any:
    h, w = (known(x, a, "resize") for a in (rows, columns))
    keep_h = max(min(h, int(float(w * height) / width)), 1)
    keep_w = max(min(w, int(float(h * width) / height)), 1)
    top, left = int((h - keep_h) / 2), int((w - keep_w) / 2)
    x = N.slice_axis(x, rows, top, top + keep_h)
    return N.slice_axis(x, columns, left, left + keep_w)


def _padded(x: Any, rows: int, columns: int, height: int, width: int, fill: float) -> Any:
    h, w = (known(x, a, "resize") for a in (rows, columns))
    more_h = int((max(h, int(float(w * height) / width)) - h) / 2)
    more_w = int((max(w, int(float(h * width) / height)) - w) / 2)
    widths = [(0, 0)] * ndim(x)
    widths[rows], widths[columns] = (more_h, more_h), (more_w, more_w)
    return pad(x, widths, constant_values=fill)


def scale_and_translate(
    images: Any,
    output_shape: Sequence[int],
    scale: Any,
    translation: Any,
    spatial_dims: Sequence[int],
    method: str,
    antialias: bool = True,
) -> Any:
    """An array with axes `spatial_dims` enlarged by `scale`, then moved by `translation`, which
    must be numbers; beyond the edges are zeros.

    method: 'linear', 'cubic', 'lanczos3', 'lanczos5' and their names with 'bi' and 'tri'.

    Parameters
    ----------
    images : array of any number of axes.
    output_shape : sizes of the result, of all axes.
    antialias : smooth where the array becomes smaller; default True.
    """
    method = SAME_KERNELS.get(method, method)
    if method not in KERNELS:
        raise ValueError(
            f"scale_and_translate: method must be one of {(*KERNELS, *SAME_KERNELS)}, "
            f"got {method!r}"
        )
    from nbcnn.ops.host import host

    x = N.convert_to_tensor(images)
    factors, shifts = (host(v, "scale_and_translate").ravel() for v in (scale, translation))
    for place, factor, shift in zip(spatial_dims, factors, shifts, strict=True):
        axis = one_axis(int(place), ndim(x), "scale_and_translate")
        length = known(x, axis, "scale_and_translate")
        found = weights(length, output_shape[axis], float(factor), float(shift), method, antialias)
        x = along(x, found, axis)
    return x


__all__ = ["resize", "scale_and_translate", "weights"]
