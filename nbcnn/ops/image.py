"""`nbcnn.ops.image`: images (h, w, c), or batches of them (n, h, w, c), or channels first.

Common parameters
-----------------
images : (n, h, w, c), or one image (h, w, c); channels first where `data_format` says so.
interpolation : 'nearest' or 'bilinear' (default).
fill_mode : how pixels beyond the edges are read: 'constant' (`fill_value`), 'nearest', 'wrap',
    'mirror' (about the centres of the last pixels) or 'reflect' (about their edges).
fill_value : the number for fill mode 'constant'; default 0.
"""

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn.ops import numpy_api as N
from nbcnn.ops.nn_api import _channels_last
from nbcnn.ops.numpy_shape import known, ndim, pad
from nbcnn.ops.windows import patches, several

# Defined in other files.
ELSEWHERE = {
    **dict.fromkeys(("resize", "scale_and_translate"), "nbcnn.ops.resizing"),
    **dict.fromkeys(
        ("affine_transform", "elastic_transform", "map_coordinates", "perspective_transform"),
        "nbcnn.ops.sampling",
    ),
}

NAMES = (
    "affine_transform", "crop_images", "elastic_transform", "extract_patches",
    "extract_patches_3d", "gaussian_blur", "hsv_to_rgb", "map_coordinates", "pad_images",
    "perspective_transform", "resize", "rgb_to_grayscale", "rgb_to_hsv", "scale_and_translate",
    "sobel_edges", "ssim",
)  # fmt: skip
__all__ = [*NAMES]


def __getattr__(name: str) -> Any:
    if name not in ELSEWHERE:
        raise AttributeError(f"module 'nbcnn.ops.image' has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(ELSEWHERE[name]), name)
    return found


def axes_of(images: Any, data_format: str | None, what: str) -> tuple[int, int, int]:
    """The axes of height, width and channels. Raises ValueError for other than 3 or 4 axes."""
    rank = ndim(images)
    if rank not in (3, 4):
        raise ValueError(f"{what}: images must have 3 or 4 axes, got shape {N.shape(images)}")
    first = rank - 3
    if _channels_last(data_format, what):
        return first, first + 1, first + 2
    return first + 1, first + 2, first


def as_batch(images: Any, data_format: str | None, what: str) -> Any:
    """Images as (n, h, w, c)."""
    axes = axes_of(images, data_format, what)
    x = N.convert_to_tensor(images)
    if ndim(x) == 3:
        x = N.expand_dims(x, 0)
    return x if axes[2] == ndim(images) - 1 else N.moveaxis(x, 1, -1)


def as_given(y: Any, images: Any, data_format: str | None) -> Any:
    """(n, h, w, c) in the layout of the images."""
    y = y if _channels_last(data_format, "images") else N.moveaxis(y, -1, 1)
    return y if ndim(images) == 4 else N.squeeze(y, 0)


def rgb_to_grayscale(images: Any, data_format: str | None = None) -> Any:
    """0.2989 red + 0.5870 green + 0.1140 blue, as one channel; one channel stays."""
    channel = axes_of(images, data_format, "rgb_to_grayscale")[2]
    count = known(images, channel, "rgb_to_grayscale")
    if count == 1:
        return N.convert_to_tensor(images)
    if count != 3:
        raise ValueError(f"rgb_to_grayscale: images must have 1 or 3 channels, got {count}")
    dtype = N.dtype_of(images)
    x = images if np.dtype(dtype).kind == "f" else N.cast(images, "float32")
    form = [3 if a == channel else 1 for a in range(ndim(images))]
    weights = np.array([0.2989, 0.5870, 0.1140], N.dtype_of(x)).reshape(form)
    return N.cast(N.sum(N.multiply(x, weights), channel, keepdims=True), dtype)


def _planes(images: Any, data_format: str | None, what: str) -> tuple[list[Any], int]:
    channel = axes_of(images, data_format, what)[2]
    if N.shape(images)[channel] != 3:
        raise ValueError(f"{what}: images must have 3 channels, got shape {N.shape(images)}")
    if np.dtype(N.dtype_of(images)).kind != "f":
        raise ValueError(f"{what}: images must be floats, got {N.dtype_of(images)}")
    return N.split(images, 3, channel), channel


def rgb_to_hsv(images: Any, data_format: str | None = None) -> Any:
    """Red, green and blue in 0..1 to hue, saturation and value in 0..1."""
    planes, channel = _planes(images, data_format, "rgb_to_hsv")
    least = float(np.finfo(N.dtype_of(images)).eps)
    r, g, b = (N.where(N.less(N.abs(p), least), 0.0, p) for p in planes)
    value = N.maximum(N.maximum(r, g), b)
    spread = N.subtract(value, N.minimum(N.minimum(r, g), b))
    colourful = N.greater(spread, 0)
    lit = N.greater(value, 0)
    saturation = N.where(lit, N.divide(spread, N.where(lit, value, 1.0)), 0.0)
    sixth = N.divide(1 / 6, N.where(colourful, spread, 1.0))

    def sector(a: Any, b: Any, start: float) -> Any:
        return N.add(N.multiply(sixth, N.subtract(a, b)), start)

    hue = N.where(N.equal(value, g), sector(b, r, 2 / 6), sector(r, g, 4 / 6))
    hue = N.where(N.equal(value, r), sector(g, b, 0.0), hue)
    hue = N.where(colourful, hue, 0.0)
    hue = N.where(N.less(hue, 0), N.add(hue, 1.0), hue)
    return N.concatenate([hue, saturation, value], channel)


def hsv_to_rgb(images: Any, data_format: str | None = None) -> Any:
    """Hue, saturation and value in 0..1 to red, green and blue in 0..1."""
    (hue, saturation, value), channel = _planes(images, data_format, "hsv_to_rgb")
    turn = N.multiply(N.subtract(hue, N.floor(hue)), 6.0)

    def ramp(start: float, sign: float, offset: float) -> Any:
        size = N.abs(N.subtract(turn, start))
        return N.clip(N.add(N.multiply(size, sign), offset), 0.0, 1.0)

    rest = N.subtract(1.0, saturation)
    shares = (ramp(3.0, 1.0, -1.0), ramp(2.0, -1.0, 2.0), ramp(4.0, -1.0, 2.0))
    parts = [N.multiply(value, N.add(rest, N.multiply(saturation, s))) for s in shares]
    return N.concatenate(parts, channel)


def extract_patches(
    images: Any,
    size: Any,
    strides: Any = None,
    dilation_rate: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    """Windows of images as channels: (n, rows, columns, height * width * c).

    size: height and width, or one int, or three for volumes (`extract_patches_3d`). strides: those
    of the windows, by default their size.

    Parameters
    ----------
    size, strides : see above; strides default to the size.
    """
    if isinstance(size, (list, tuple)) and len(size) == 3:
        return extract_patches_3d(images, size, strides, dilation_rate, padding, data_format)
    what = "extract_patches"
    x = as_batch(images, data_format, what)
    window = several(size, 2, f"{what}: size")
    if min(window) < 1:
        raise ValueError(f"{what}: size must be positive, got {size}")
    step = window if not strides else several(strides, 2, f"{what}: strides")
    dilation = several(dilation_rate, 2, f"{what}: dilation_rate")
    return as_given(patches(x, window, step, dilation, _side(padding, what)), images, data_format)


def extract_patches_3d(
    volumes: Any,
    size: Any,
    strides: Any = None,
    dilation_rate: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    """Windows of volumes (n, d, h, w, c), or one volume, as channels.

    Parameters
    ----------
    size : (depth, height, width), or one number.
    strides : default the size.
    """
    what = "extract_patches_3d"
    if ndim(volumes) not in (4, 5):
        raise ValueError(f"{what}: volumes must have 4 or 5 axes, got shape {N.shape(volumes)}")
    last = _channels_last(data_format, what)
    x = N.expand_dims(volumes, 0) if ndim(volumes) == 4 else volumes
    x = x if last else N.moveaxis(x, 1, -1)
    window = several(size, 3, f"{what}: size")
    step = window if strides is None else several(strides, 3, f"{what}: strides")
    dilation = several(dilation_rate, 3, f"{what}: dilation_rate")
    y = patches(x, window, step, dilation, _side(padding, what))
    y = y if last else N.moveaxis(y, -1, 1)
    return N.squeeze(y, 0) if ndim(volumes) == 4 else y


def _side(padding: str, what: str) -> str:
    if padding not in ("valid", "same"):
        raise ValueError(f"{what}: padding must be 'valid' or 'same', got {padding!r}")
    return padding


def _sides(
    size: int, before: int | None, after: int | None, target: int | None, grow: int, names: tuple
) -> tuple[int, int]:
    """What to add (grow = 1), or cut (-1), on both sides: two of the three are given."""
    if [before, after, target].count(None) != 1:
        raise ValueError(
            f"exactly two of {', '.join(names)} must be given, got {before}, {after} and {target}"
        )
    if before is None:
        before = grow * (target - size) - after  # type: ignore[operator]
    elif after is None:
        after = grow * (target - size) - before  # type: ignore[operator]
    if before < 0 or after < 0:  # type: ignore[operator]
        raise ValueError(f"{names[2]}={target} does not fit {names[0]} and {names[1]}")
    return before, after  # type: ignore[return-value]


def pad_images(
    images: Any,
    top_padding: int | None = None,
    left_padding: int | None = None,
    bottom_padding: int | None = None,
    right_padding: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Any:
    """Zeros around images: of top, bottom and target height two must be given, so of left, right
    and target width.

    Parameters
    ----------
    top_padding, left_padding, bottom_padding, right_padding : rows and columns of zeros; default
        None.
    target_height, target_width : of the result; default None.
    """
    rows, columns, _ = axes_of(images, data_format, "pad_images")
    h, w = (known(images, a, "pad_images") for a in (rows, columns))
    names = ("top_padding", "bottom_padding", "target_height")
    widths = [(0, 0)] * ndim(images)
    widths[rows] = _sides(h, top_padding, bottom_padding, target_height, 1, names)
    names = ("left_padding", "right_padding", "target_width")
    widths[columns] = _sides(w, left_padding, right_padding, target_width, 1, names)
    return pad(images, widths)


def crop_images(
    images: Any,
    top_cropping: int | None = None,
    left_cropping: int | None = None,
    bottom_cropping: int | None = None,
    right_cropping: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Any:
    """Images without their edges: of top, bottom and target height two must be given, so of left,
    right and target width.

    Parameters
    ----------
    top_cropping, left_cropping, bottom_cropping, right_cropping : rows and columns to leave out;
        default None.
    target_height, target_width : of the result; default None.
    """
    rows, columns, _ = axes_of(images, data_format, "crop_images")
    h, w = (known(images, a, "crop_images") for a in (rows, columns))
    names = ("top_cropping", "bottom_cropping", "target_height")
    top, bottom = _sides(h, top_cropping, bottom_cropping, target_height, -1, names)
    names = ("left_cropping", "right_cropping", "target_width")
    left, right = _sides(w, left_cropping, right_cropping, target_width, -1, names)
    if top + bottom >= h or left + right >= w:
        raise ValueError(f"crop_images: nothing is left of {h} x {w} pixels")
    return N.slice_axis(N.slice_axis(images, rows, top, h - bottom), columns, left, w - right)


def _bell(size: int, sigma: float) -> np.ndarray:
    """A normal distribution's values at so many points, which add up to 1."""
    values = np.exp(-0.5 * ((np.arange(size) - (size - 1) / 2) / sigma) ** 2)
    return values / values.sum()


def filtered(x: Any, kernel: np.ndarray, padding: str) -> Any:
    """Every channel of (n, h, w, c) convolved with one kernel (kh, kw)."""
    from nbcnn.ops.nn_more import depthwise_conv

    c = known(x, 3, "images")
    filters = np.broadcast_to(kernel[:, :, None, None], (*kernel.shape, c, 1))
    return depthwise_conv(x, np.ascontiguousarray(filters, N.dtype_of(x)), 1, padding)


def gaussian_blur(
    images: Any,
    kernel_size: Sequence[int] = (3, 3),
    sigma: Sequence[float] = (1.0, 1.0),
    data_format: str | None = None,
) -> Any:
    """Images smoothed by a normal distribution over `kernel_size`; outside are zeros.

    Parameters
    ----------
    kernel_size : pixels (along the width, along the height); default (3, 3).
    sigma : standard deviations, likewise; default (1, 1).
    """
    x = as_batch(images, data_format, "gaussian_blur")
    sizes = several(kernel_size, 2, "gaussian_blur: kernel_size")
    first, second = (float(s) for s in sigma)
    kernel = np.outer(_bell(sizes[1], second), _bell(sizes[0], first))
    return as_given(filtered(x, kernel, "same"), images, data_format)


def sobel_edges(images: Any, data_format: str | None = None) -> Any:
    """Vertical and horizontal slopes of images (n, h, w, c), along a new last axis (Sobel)."""
    if ndim(images) != 4:
        raise ValueError(f"sobel_edges: images must have 4 axes, got shape {N.shape(images)}")
    x = as_batch(images, data_format, "sobel_edges")
    kernel = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    slopes = [as_given(filtered(x, k, "same"), images, data_format) for k in (kernel.T, kernel)]
    return N.stack(slopes, -1)


def ssim(
    image1: Any,
    image2: Any,
    max_val: float = 1.0,
    filter_size: int = 11,
    filter_sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    data_format: str | None = None,
) -> Any:
    """Structural similarity of two images, or of each pair of two batches (Wang et al. 2004).

    Parameters
    ----------
    image1, image2 : (n, h, w, c), or one image (h, w, c).
    max_val : distance between the least and the largest value that pixels may have; default 1.
    filter_size, filter_sigma : of the normal distribution that means are taken by; default 11
        pixels and 1.5.
    k1, k2 : what keeps quotients of small numbers finite; default 0.01 and 0.03.
    """
    a, b = (as_batch(x, data_format, "ssim") for x in (image1, image2))
    dtype = N.dtype_of(a)
    if np.dtype(dtype).kind != "f":
        a, b = N.cast(a, "float32"), N.cast(b, "float32")
    kernel = np.outer(_bell(filter_size, filter_sigma), _bell(filter_size, filter_sigma))

    def local_mean(x: Any) -> Any:
        return filtered(x, kernel, "valid")

    c1, c2 = (k1 * max_val) ** 2, (k2 * max_val) ** 2
    mean_a, mean_b = local_mean(a), local_mean(b)
    product = N.multiply(mean_a, mean_b)
    squares = N.add(N.square(mean_a), N.square(mean_b))
    covariance = N.subtract(local_mean(N.multiply(a, b)), product)
    variances = N.subtract(local_mean(N.add(N.square(a), N.square(b))), squares)
    top = N.multiply(N.add(N.multiply(product, 2.0), c1), N.add(N.multiply(covariance, 2.0), c2))
    y = N.divide(top, N.multiply(N.add(squares, c1), N.add(variances, c2)))
    y = N.cast(N.mean(y, (1, 2, 3)), dtype)
    return N.squeeze(y, 0) if ndim(image1) == 3 else y
