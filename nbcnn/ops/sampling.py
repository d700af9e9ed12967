"""Values between pixels: arrays read at coordinates, images turned, warped and distorted."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn.ops import numpy_api as N
from nbcnn.ops.gather import gather
from nbcnn.ops.host import host
from nbcnn.ops.image import as_batch, as_given, axes_of, filtered
from nbcnn.ops.numpy_shape import known, ndim
from nbcnn.ops.shape import reshape
from nbcnn.ops.tensor import Tensor

FILL_MODES = ("constant", "nearest", "wrap", "mirror", "reflect")
ORDERS = {"nearest": 0, "bilinear": 1}


def _mirrored(numbers: Any, size: int) -> Any:
    """Back and forth between the centres of the first and the last element."""
    if size == 1:
        return N.multiply(numbers, 0)
    last = size - 1
    return N.abs(N.subtract(N.mod(N.add(numbers, last), 2 * last), last))


def _inside(numbers: Any, size: int, mode: str) -> Any:
    """Numbers of elements as the mode reads those beyond the edges."""
    if mode == "wrap":
        return N.mod(numbers, size)
    if mode == "mirror":
        return _mirrored(numbers, size)
    if mode == "reflect":
        twice = N.add(N.multiply(numbers, 2), 1)
        return N.floor_divide(N.subtract(_mirrored(twice, 2 * size + 1), 1), 2)
    return N.minimum(N.maximum(numbers, 0), size - 1)


def _corners(coordinates: Any, order: int) -> list[tuple[Any, Any]]:
    """Numbers of the elements beside a coordinate, and their weights (None: 1)."""
    if order == 0:
        away = N.multiply(N.sign(coordinates), N.floor(N.add(N.abs(coordinates), 0.5)))
        return [(N.cast(away, "int32"), None)]
    below = N.floor(N.stop_gradient(coordinates))
    upper = N.subtract(coordinates, below)
    number = N.cast(below, "int32")
    return [(number, N.subtract(1.0, upper)), (N.add(number, 1), upper)]


def sampled(
    flat: Any, sizes: Sequence[int], parts: Sequence[Any], order: int, mode: str, fill: float
) -> Any:
    """Elements of arrays of these sizes, (n, elements, c), at coordinates, one (n, points) per
    axis: (n, points, c). n may be 1 for the coordinates.
    """
    total: Any = None
    channels = N.zeros_like(flat, "int32")
    for corner in itertools.product(*(_corners(p, order) for p in parts)):
        place: Any = None
        weight: Any = None
        valid: Any = None
        for (number, share), size in zip(corner, sizes):
            safe = _inside(number, size, mode)
            place = safe if place is None else N.add(N.multiply(place, size), safe)
            if share is not None:
                weight = share if weight is None else N.multiply(weight, share)
            if mode == "constant":
                here = N.logical_and(N.greater_equal(number, 0), N.less(number, size))
                valid = here if valid is None else N.logical_and(valid, here)
        value = gather(flat, _for_channels(place, channels), 1, along=True)
        if valid is not None:
            value = N.where(N.expand_dims(valid, -1), value, fill)
        if weight is not None:
            value = N.multiply(value, N.expand_dims(weight, -1))
        total = value if total is None else N.add(total, value)
    return total


def _for_channels(place: Any, channels: Any) -> Any:
    """Places (n or 1, points) repeated for all images and channels."""
    return N.add(N.expand_dims(place, -1), N.slice_axis(channels, 1, 0, 1))


def map_coordinates(
    inputs: Any, coordinates: Any, order: int, fill_mode: str = "constant", fill_value: float = 0
) -> Any:
    """inputs read at coordinates (axes of inputs, ...): order 0 takes the nearest element, 1
    interpolates.

    fill_mode: how elements beyond the edges are read: 'constant' (`fill_value`), 'nearest', 'wrap',
    'mirror' (about the centres of the last elements) or 'reflect' (about their edges).
    """
    if order not in (0, 1):
        raise ValueError(f"map_coordinates: order must be 0 or 1, got {order!r}")
    _check_mode(fill_mode, "map_coordinates")
    x = N.convert_to_tensor(inputs)
    if isinstance(coordinates, (list, tuple)):
        coordinates = N.stack(list(coordinates), 0)
    places = N.convert_to_tensor(coordinates)
    if ndim(places) < 2 or N.shape(places)[0] != ndim(x):
        raise ValueError(
            f"map_coordinates: coordinates {N.shape(places)} must have {ndim(x)} along axis 0, "
            "and another axis"
        )
    if np.dtype(N.dtype_of(places)).kind != "f":
        places = N.cast(places, "float32")
    dtype = N.dtype_of(x)
    kind = dtype if np.dtype(dtype).kind == "f" else N.dtype_of(places)
    shape = N.shape(places)[1:]
    parts = [reshape(N.slice_axis(places, 0, i, i + 1), (1, -1)) for i in range(ndim(x))]
    sizes = [known(x, a, "map_coordinates") for a in range(ndim(x))]
    flat = reshape(N.cast(x, kind), (1, -1, 1))
    y = reshape(sampled(flat, sizes, parts, order, fill_mode, float(fill_value)), shape)
    if kind == dtype:
        return y
    return N.cast(N.nearest(y) if np.dtype(dtype).kind in "iu" else y, dtype)


def _check_mode(fill_mode: str, what: str) -> None:
    if fill_mode not in FILL_MODES:
        raise ValueError(f"{what}: fill_mode must be one of {FILL_MODES}, got {fill_mode!r}")


def _order(interpolation: str, what: str) -> int:
    if interpolation not in ORDERS:
        raise ValueError(
            f"{what}: interpolation must be one of {tuple(ORDERS)}, got {interpolation!r}"
        )
    return ORDERS[interpolation]


def warped(
    images: Any, at: Any, order: int, mode: str, fill: float, data_format: str | None, what: str
) -> Any:
    """Images whose pixels are those at (rows, columns), each (n or 1, h * w)."""
    x = as_batch(images, data_format, what)
    sizes = known(x, 1, what), known(x, 2, what)
    c = known(x, 3, what)
    flat = reshape(x, (-1, sizes[0] * sizes[1], c))
    dtype = N.dtype_of(flat)
    whole = np.dtype(dtype).kind != "f"
    flat = N.cast(flat, "float32") if whole else flat
    y = sampled(flat, sizes, at, order, mode, float(fill))
    y = reshape(y, (-1, *sizes, c))
    y = N.cast(N.nearest(y), dtype) if whole else y
    return as_given(y, images, data_format)


def grid(images: Any, data_format: str | None, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of every pixel, flat."""
    rows, columns, _ = axes_of(images, data_format, what)
    sizes = known(images, rows, what), known(images, columns, what)
    kind = N.dtype_of(images)
    kind = kind if np.dtype(kind).kind == "f" else "float32"
    y, x = np.indices(sizes).reshape(2, -1).astype(kind)
    return y, x


def affine_transform(
    images: Any,
    transform: Any,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: float = 0,
    data_format: str | None = None,
) -> Any:
    """Images moved by maps (n, 8), or one (8,): pixel (x, y) of the result is what lies at
    (a0 x + a1 y + a2, b0 x + b1 y + b2), for [a0, a1, a2, b0, b1, b2, 0, 0].

    Interpolation and fill modes as `map_coordinates`.

    Parameters
    ----------
    transform : the maps.
    """
    order = _order(interpolation, "affine_transform")
    _check_mode(fill_mode, "affine_transform")
    y, x = grid(images, data_format, "affine_transform")
    table = N.convert_to_tensor(transform)
    if ndim(table) not in (1, 2) or N.shape(table)[-1] != 8:
        raise ValueError(
            f"affine_transform: transform must be (8,) or (n, 8), got {N.shape(transform)}"
        )
    table = N.cast(reshape(table, (-1, 8)), x.dtype.name)
    a0, a1, a2, b0, b1, b2, _, _ = N.split(table, 8, 1)
    at = [
        N.add(N.add(N.multiply(p, x), N.multiply(q, y)), r)
        for p, q, r in ((b0, b1, b2), (a0, a1, a2))
    ]
    return warped(images, at, order, fill_mode, fill_value, data_format, "affine_transform")


def perspective_transform(
    images: Any,
    start_points: Any,
    end_points: Any,
    interpolation: str = "bilinear",
    fill_value: float = 0,
    data_format: str | None = None,
) -> Any:
    """Images seen so that four points of theirs, (4, 2) or (n, 4, 2) as (x, y), come to lie at four
    others. The points must be arrays.

    Parameters
    ----------
    start_points, end_points : the four points before and after.
    """
    what = "perspective_transform"
    order = _order(interpolation, what)
    starts, ends = (host(p, what).astype("float64") for p in (start_points, end_points))
    if starts.shape != ends.shape or starts.shape[-2:] != (4, 2) or starts.ndim > 3:
        raise ValueError(
            f"{what}: points must be (4, 2) or (n, 4, 2), got {starts.shape} and {ends.shape}"
        )
    maps = _homographies(starts.reshape(-1, 4, 2), ends.reshape(-1, 4, 2))
    y, x = (v.astype("float64") for v in grid(images, data_format, what))
    a, b, c, d, e, f, g, h = (maps[:, i : i + 1] for i in range(8))
    depth = g * x + h * y + 1
    at = [(d * x + e * y + f) / depth, (a * x + b * y + c) / depth]
    kind = N.dtype_of(images) if np.dtype(N.dtype_of(images)).kind == "f" else "float32"
    places = [p.astype(kind) for p in at]
    return warped(images, places, order, "constant", fill_value, data_format, what)


def _homographies(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(n, 8): the maps from end to start points."""
    x, y = ends[..., 0], ends[..., 1]
    u, v = starts[..., 0], starts[..., 1]
    one, zero = np.ones_like(x), np.zeros_like(x)
    rows = [
        np.stack([x, y, one, zero, zero, zero, -u * x, -u * y], -1),
        np.stack([zero, zero, zero, x, y, one, -v * x, -v * y], -1),
    ]
    wanted = np.concatenate([u, v], -1)[..., None]
    return np.linalg.solve(np.concatenate(rows, 1), wanted)[..., 0]


def elastic_transform(
    images: Any,
    alpha: float = 20.0,
    sigma: float = 5.0,
    interpolation: str = "bilinear",
    fill_mode: str = "reflect",
    fill_value: float = 0.0,
    seed: Any = None,
    data_format: str | None = None,
) -> Any:
    """Images distorted by `alpha` times random shifts, smoothed over `sigma` pixels (Simard et al.
    2003). Of arrays only: a graph would keep one draw.

    Parameters
    ----------
    seed : number or `SeedGenerator`; None (default): other shifts at each call.
    """
    what = "elastic_transform"
    order = _order(interpolation, what)
    _check_mode(fill_mode, what)
    if isinstance(images, Tensor):
        images = host(images, what)
    y, x = grid(images, data_format, what)
    batch = as_batch(images, data_format, what)
    n, h, w = (known(batch, a, what) for a in range(3))
    generator = np.random.default_rng(seed.next() if hasattr(seed, "next") else seed)
    size = 6 * int(sigma) | 1
    distances = (np.arange(size) - (size - 1) / 2) / sigma
    bell = np.exp(-0.5 * distances**2)
    kernel = np.outer(bell, bell) / bell.sum() ** 2
    noise = (generator.standard_normal((n, h, w, 2)) * sigma).astype(x.dtype)
    shifts = N.multiply(filtered(noise, kernel, "same"), float(alpha)).reshape(n, -1, 2)
    at = [y + shifts[..., 1], x + shifts[..., 0]]
    return warped(images, at, order, fill_mode, fill_value, data_format, what)


__all__ = ["affine_transform", "elastic_transform", "map_coordinates", "perspective_transform"]
