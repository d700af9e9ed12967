"""Windows over images: patches, folding, adaptive pools, products along an axis."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from nbcnn.ops import numpy_api as N
from nbcnn.ops.conv import window_output
from nbcnn.ops.dense import matmul as product
from nbcnn.ops.elementwise import of_one_type
from nbcnn.ops.gather import Scatter
from nbcnn.ops.nn_api import _channels_last, pair
from nbcnn.ops.numpy_shape import known, ndim, picked, sizes_for_reshape
from nbcnn.ops.op import apply
from nbcnn.ops.pool import avg_pool2d, max_pool2d
from nbcnn.ops.shape import reshape


def several(value: Any, count: int, what: str) -> tuple[int, ...]:
    """So many ints, from one or from a list."""
    values = (value,) * count if isinstance(value, (int, np.integer)) else value
    whole = isinstance(values, (list, tuple)) and all(
        isinstance(v, (int, np.integer)) for v in values
    )
    if not whole or len(values) != count:
        raise ValueError(f"{what} must be an int or {count} ints, got {value!r}")
    return tuple(int(v) for v in values)


def along(x: Any, matrix: np.ndarray, axis: int) -> Any:
    """A matrix (new size, size) applied along an axis of x."""
    sizes = list(N.shape(x))
    inner = math.prod(known(x, a, "resize") for a in range(axis + 1, len(sizes)))
    flat = reshape(x, (-1, sizes[axis], inner))
    y = product(matrix.astype(N.dtype_of(x)), flat)
    sizes[axis] = len(matrix)
    return reshape(y, sizes_for_reshape(sizes))


def window_table(size: int, window: int, stride: int, dilation: int) -> np.ndarray:
    """(positions, window): which elements of an axis lie in the window at each position."""
    count = (size - (window - 1) * dilation - 1) // stride + 1
    if count < 1:
        raise ValueError(f"a window of {window} does not fit an axis of size {size}")
    return np.arange(count)[:, None] * stride + np.arange(window) * dilation


def patches(
    x: Any,
    size: tuple[int, ...],
    strides: tuple[int, ...],
    dilation: tuple[int, ...],
    padding: str,
) -> Any:
    """Windows over the axes between the first and the last: (n, *positions, values of a window)."""
    rank, widths = len(size), [(0, 0)]
    for axis in range(rank):
        length = known(x, axis + 1, "extract_patches")
        _, before, after = window_output(length, size[axis], strides[axis], padding, dilation[axis])
        widths.append((before, max(after, 0)))
    from nbcnn.ops.numpy_shape import pad

    if any(a or b for a, b in widths):
        x = pad(x, [*widths, (0, 0)])
    for axis in range(rank):
        place = 1 + 2 * axis
        length = known(x, place, "extract_patches")
        table = window_table(length, size[axis], strides[axis], dilation[axis])
        x = picked(x, table, place)
    places = [1 + 2 * a for a in range(rank)]
    x = N.transpose(x, [0, *places, *(p + 1 for p in places), 1 + 2 * rank])
    sizes = N.shape(x)
    values = math.prod(known(x, a, "extract_patches") for a in range(1 + rank, ndim(x)))
    return reshape(x, (*sizes_for_reshape(sizes[: 1 + rank]), values))


def unfold(x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """Windows of images (n, c, h, w) as columns: (n, c * kh * kw, windows).

    Parameters
    ----------
    kernel_size : (kh, kw), or one number for both.
    dilation : distance of neighbouring entries of a window, default 1.
    padding : zeros on each side, default 0.
    stride : steps between windows, default 1.
    """
    from nbcnn.ops.numpy_shape import pad

    (kh, kw), (dh, dw) = pair(kernel_size, "kernel_size"), pair(dilation, "dilation")
    (ph, pw), (sh, sw) = pair(padding, "padding"), pair(stride, "stride")
    if ndim(x) != 4:
        raise ValueError(f"unfold: x must be (n, c, h, w), got shape {N.shape(x)}")
    if ph or pw:
        x = pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    x = picked(x, window_table(known(x, 2, "unfold"), kh, sh, dh), 2)
    x = picked(x, window_table(known(x, 4, "unfold"), kw, sw, dw), 4)
    x = N.transpose(x, (0, 1, 3, 5, 2, 4))
    n, c, _, _, oh, ow = sizes_for_reshape(N.shape(x))
    return reshape(x, (n, c * kh * kw, oh * ow))


def fold(
    x: Any,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Any:
    """Images (n, c, *output_size) to which the columns of `unfold` add up.

    Parameters
    ----------
    x : columns (n, c * kh * kw, windows).
    output_size : (h, w).
    kernel_size : (kh, kw), or one number for both.
    dilation : distance of neighbouring entries of a window, default 1.
    padding : zeros on each side, default 0.
    stride : steps between windows, default 1.
    """
    (kh, kw), (dh, dw) = pair(kernel_size, "kernel_size"), pair(dilation, "dilation")
    (ph, pw), (sh, sw) = pair(padding, "padding"), pair(stride, "stride")
    h, w = (n + 2 * p for n, p in zip(pair(output_size, "output_size"), (ph, pw)))
    rows, columns = window_table(h, kh, sh, dh), window_table(w, kw, sw, dw)
    n, values, count = sizes_for_reshape(N.shape(x))
    if values % (kh * kw) or count not in (-1, len(rows) * len(columns)):
        raise ValueError(
            f"fold: x {N.shape(x)} does not fit {len(rows)} x {len(columns)} windows of {kh} x {kw}"
        )
    c = values // (kh * kw)
    x = reshape(x, (n, c, kh, kw, len(rows), len(columns)))
    x = N.transpose(x, (0, 1, 4, 2, 5, 3))
    x = apply(Scatter(4, False, "sum", w), x, columns.astype("int32"))
    x = apply(Scatter(2, False, "sum", h), x, rows.astype("int32"))
    x = N.slice_axis(x, 2, ph, h - ph) if ph else x
    return N.slice_axis(x, 3, pw, w - pw) if pw else x


def _bins(size: int, count: int) -> list[tuple[int, int]]:
    """First and last (exclusive) element of each of so many bins over an axis."""
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def _even(bins: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """(window, stride) where the bins are those of a pool: of one length, at equal steps."""
    widths = {stop - first for first, stop in bins}
    steps = {b[0] - a[0] for a, b in itertools.pairwise(bins)} or widths
    window, step = max(widths), max(steps)
    return (window, step) if widths == {window} and steps == {step} and window and step else None


class _Way(NamedTuple):
    """How values of bins are found: all of an axis, windows of a pool, or bin by bin."""

    whole: Callable
    pool: Callable
    one: Callable


def _adaptive(inputs: Any, output_size: Any, data_format: str | None, what: str, way: _Way) -> Any:
    rank = ndim(inputs) - 2
    if rank not in (1, 2, 3):
        raise ValueError(f"{what}: inputs must have 3 to 5 axes, got shape {N.shape(inputs)}")
    counts = several(output_size, rank, f"{what}: output_size")
    if min(counts) < 1:
        raise ValueError(f"{what}: output_size must be positive, got {output_size!r}")
    first = 1 if _channels_last(data_format, what) else 2
    axes = range(first, first + rank)
    bins = [_bins(known(inputs, axis, what), count) for axis, count in zip(axes, counts)]
    if set(counts) == {1}:
        return way.whole(inputs, tuple(axes), keepdims=True)
    windows = [_even(parts) for parts in bins]
    if rank == 2 and first == 1 and None not in windows and N.dtype_of(inputs)[:5] == "float":
        sizes, strides = zip(*windows)
        return way.pool(inputs, sizes, strides, "valid")
    for axis, parts in zip(axes, bins):
        inputs = way.one(inputs, parts, axis)
    return inputs


def _mean_of_bins(x: Any, bins: Sequence[tuple[int, int]], axis: int) -> Any:
    matrix = np.zeros((len(bins), known(x, axis, "adaptive_average_pool")))
    for row, (first, stop) in zip(matrix, bins):
        row[first:stop] = 1 / (stop - first)
    return along(x, matrix, axis)


def _max_of_bins(x: Any, bins: Sequence[tuple[int, int]], axis: int) -> Any:
    """Bins that are shorter than others repeat their last element."""
    longest = max(stop - first for first, stop in bins)
    table = [[min(first + i, stop - 1) for i in range(longest)] for first, stop in bins]
    return N.max(picked(x, table, axis), axis + 1)


_MEAN = _Way(N.mean, avg_pool2d, _mean_of_bins)
_LARGEST = _Way(N.max, max_pool2d, _max_of_bins)


def adaptive_average_pool(inputs: Any, output_size: Any, data_format: str | None = None) -> Any:
    """Means over windows that divide the image evenly into `output_size` parts along each axis.

    inputs: (n, *sizes, c) with one to three sizes, or channels first.

    Parameters
    ----------
    output_size : a number, or one for each axis.
    """
    (x,) = of_one_type(inputs, floats=True)
    return _adaptive(x, output_size, data_format, "adaptive_average_pool", _MEAN)


def adaptive_max_pool(inputs: Any, output_size: Any, data_format: str | None = None) -> Any:
    """The largest values of the windows of `adaptive_average_pool`."""
    return _adaptive(inputs, output_size, data_format, "adaptive_max_pool", _LARGEST)


def _block(x: Any, block_size: int, data_format: str, what: str) -> tuple[bool, tuple]:
    if ndim(x) != 4:
        raise ValueError(f"{what}: x must have four axes, got shape {N.shape(x)}")
    if not isinstance(block_size, (int, np.integer)) or block_size < 1:
        raise ValueError(f"{what}: block_size must be a positive int, got {block_size!r}")
    return _channels_last(data_format, what), sizes_for_reshape(N.shape(x))


def depth_to_space(x: Any, block_size: int, data_format: str = "channels_last") -> Any:
    """Channels moved to blocks of pixels: (n, h, w, c) to (n, h * b, w * b, c / b^2).

    Parameters
    ----------
    block_size : b, sides of a block in pixels.
    data_format : "channels_last" (default) or "channels_first".
    """
    last, sizes = _block(x, block_size, data_format, "depth_to_space")
    b, c = block_size, sizes[3] if last else sizes[1]
    if c % (b * b):
        raise ValueError(f"depth_to_space: {c} channels do not make blocks of {b} x {b}")
    c //= b * b
    if last:
        n, h, w, _ = sizes
        x = N.transpose(reshape(x, (n, h, w, b, b, c)), (0, 1, 3, 2, 4, 5))
        return reshape(x, (n, h * b, w * b, c))
    n, _, h, w = sizes
    x = N.transpose(reshape(x, (n, c, b, b, h, w)), (0, 1, 4, 2, 5, 3))
    return reshape(x, (n, c, h * b, w * b))


def space_to_depth(x: Any, block_size: int, data_format: str = "channels_last") -> Any:
    """Blocks of pixels moved to channels: (n, h, w, c) to (n, h / b, w / b, c * b^2).

    Parameters
    ----------
    block_size : b, sides of a block in pixels.
    data_format : "channels_last" (default) or "channels_first".
    """
    last, sizes = _block(x, block_size, data_format, "space_to_depth")
    b = block_size
    h, w = sizes[1:3] if last else sizes[2:]
    if h % b or w % b:
        raise ValueError(f"space_to_depth: {h} x {w} pixels do not divide into blocks of {b} x {b}")
    h, w = h // b, w // b
    if last:
        n, c = sizes[0], sizes[3]
        x = N.transpose(reshape(x, (n, h, b, w, b, c)), (0, 1, 3, 2, 4, 5))
        return reshape(x, (n, h, w, c * b * b))
    n, c = sizes[:2]
    x = N.transpose(reshape(x, (n, c, h, b, w, b)), (0, 1, 3, 5, 2, 4))
    return reshape(x, (n, c * b * b, h, w))


def extract_sequences(x: Any, sequence_length: int, sequence_stride: int) -> Any:
    """Stretches along the last axis: (.., positions, sequence_length).

    Parameters
    ----------
    sequence_stride : steps between two stretches.
    """
    last = ndim(x) - 1
    size = known(x, last, "extract_sequences")
    return picked(x, window_table(size, sequence_length, sequence_stride, 1), last)


__all__ = [
    "adaptive_average_pool", "adaptive_max_pool", "depth_to_space", "extract_sequences", "fold",
    "space_to_depth", "unfold",
]  # fmt: skip
