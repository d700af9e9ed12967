"""Statistics, running sums and differences: a part of the public `nbcnn.ops`."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn.ops import numpy_api as N
from nbcnn.ops.dense import matmul
from nbcnn.ops.gather import gather
from nbcnn.ops.numpy_math import floating
from nbcnn.ops.numpy_pick import sort
from nbcnn.ops.numpy_shape import known, ndim, one_axis, sizes_for_reshape
from nbcnn.ops.op import apply
from nbcnn.ops.ordering import Cumulative
from nbcnn.ops.reduce import normalize_axes
from nbcnn.ops.shape import reshape

Axis = int | Sequence[int] | None


def amax(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """As `max`."""
    return N.max(x, axis, keepdims)


def amin(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """As `min`."""
    return N.min(x, axis, keepdims)


def ptp(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Largest less smallest value over `axis`."""
    return N.subtract(N.max(x, axis, keepdims), N.min(x, axis, keepdims))


def average(x: Any, axis: Axis = None, weights: Any = None) -> Any:
    """Mean over `axis`, weighted. Weights have the shape of x, or lie along the axis.

    Parameters
    ----------
    weights : None (default): all alike.
    """
    x = floating(N.convert_to_tensor(x))
    if weights is None:
        return N.mean(x, axis)
    weights = N.cast(N.convert_to_tensor(weights), N.dtype_of(x))
    if ndim(weights) != ndim(x):
        if axis is None or ndim(weights) != 1:
            raise ValueError(
                f"average: weights {N.shape(weights)} must have the shape of x, {N.shape(x)}, "
                "or lie along one axis"
            )
        (place,) = normalize_axes(axis, ndim(x), "average")
        weights = reshape(weights, [-1 if a == place else 1 for a in range(ndim(x))])
    total = N.sum(N.add(weights, N.zeros_like(x)), axis)
    return N.divide(N.sum(N.multiply(x, weights), axis), total)


def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """log(sum(exp(x))) over `axis`, without overflow."""
    x = floating(N.convert_to_tensor(x))
    largest = N.stop_gradient(N.max(x, axis, keepdims=True))
    largest = N.where(N.isfinite(largest), largest, 0.0)
    y = N.log(N.sum(N.exp(N.subtract(x, largest)), axis, keepdims))
    axes = normalize_axes(axis, ndim(x), "logsumexp")
    return N.add(y, largest if keepdims else N.squeeze(largest, tuple(axes)))


def _cumulative(function: str, x: Any, axis: int | None, dtype: str | None) -> Any:
    x = N.convert_to_tensor(x)
    if dtype is None and N.dtype_of(x) in ("bool", "int8", "uint8", "int16", "uint16"):
        dtype = "int32"
    x = x if dtype is None else N.cast(x, dtype)
    if axis is None:
        x, axis = N.ravel(x), 0
    return apply(Cumulative(function, one_axis(axis, ndim(x), f"cum{function}")), x)


def cumsum(x: Any, axis: int | None = None, dtype: str | None = None) -> Any:
    """Sums of all elements up to each one along `axis` (None: of the flattened array)."""
    return _cumulative("sum", x, axis, dtype)


def cumprod(x: Any, axis: int | None = None, dtype: str | None = None) -> Any:
    """Products of all elements up to each one along `axis` (None: of the flattened array)."""
    return _cumulative("prod", x, axis, dtype)


def diff(a: Any, n: int = 1, axis: int = -1) -> Any:
    """Differences of neighbours along `axis`, n times over."""
    if n < 0:
        raise ValueError(f"diff: n must not be negative, got {n}")
    place = one_axis(axis, ndim(a), "diff")
    subtract = N.not_equal if N.dtype_of(a) == "bool" else N.subtract
    for _ in range(n):
        a = subtract(N.slice_axis(a, place, 1, None), N.slice_axis(a, place, None, -1))
    return a


def trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    """The integral of y along `axis` by trapezoids, over points x or at distances dx."""
    y = floating(N.convert_to_tensor(y))
    place = one_axis(axis, ndim(y), "trapezoid")
    step: Any = dx
    if x is not None:
        x = N.convert_to_tensor(x)
        step = diff(x, axis=place if ndim(x) > 1 else 0)
        if ndim(x) == 1:
            step = reshape(step, [-1 if a == place else 1 for a in range(ndim(y))])
    pairs = N.add(N.slice_axis(y, place, 1, None), N.slice_axis(y, place, None, -1))
    return N.sum(N.multiply(N.multiply(pairs, 0.5), step), place)


METHODS = ("linear", "lower", "higher", "midpoint", "nearest")


def quantile(
    x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Any:
    """Values below which the parts `q` (0 to 1) of the elements over `axis` lie. Several q come as
    the first axis of the result. Between two elements: 'linear', 'lower', 'higher', 'midpoint' or
    'nearest'.

    Parameters
    ----------
    method : what lies between two elements, default 'linear'.
    q : a number, or several.
    """
    return _quantile(x, q, axis, method, keepdims, "quantile", skip=False)


def nanquantile(
    x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Any:
    """`quantile` of the elements that are not NaN."""
    return _quantile(x, q, axis, method, keepdims, "nanquantile", skip=True)


def _quantile(
    x: Any, q: Any, axis: Axis, method: str, keepdims: bool, what: str, skip: bool
) -> Any:
    if method not in METHODS:
        raise ValueError(f"{what}: method must be one of {METHODS}, got {method!r}")
    parts = np.asarray(N.convert_to_numpy(q), "float64")
    if parts.ndim > 1 or (parts < 0).any() or (parts > 1).any():
        raise ValueError(f"{what}: q must be a number or vector within 0..1, got {q}")
    x = floating(N.convert_to_tensor(x))
    rank, dtype = ndim(x), N.dtype_of(x)
    axes = normalize_axes(axis, rank, what)
    others = [a for a in range(rank) if a not in axes]
    moved = N.transpose(x, [*others, *axes])
    rest = sizes_for_reshape([N.shape(x)[a] for a in others])
    length = math.prod(known(x, a, what) for a in axes)
    flat = sort(reshape(moved, (*rest, length)), -1)
    missing = N.isnan(flat)
    results = []
    for part in parts.ravel():
        if skip:
            count = N.sum(N.cast(N.logical_not(missing), dtype), -1, keepdims=True)
            y = _between(flat, N.multiply(N.subtract(count, 1), float(part)), method)
        else:
            y = _at(flat, float(part) * (length - 1), method)
            y = N.where(N.any(missing, -1), math.nan, y)
        if keepdims:
            y = reshape(y, sizes_for_reshape([1 if a in axes else n for a, n in _sizes(x)]))
        results.append(y)
    return N.stack(results, 0) if parts.ndim else results[0]


def _sizes(x: Any) -> list[tuple[int, int | None]]:
    return list(enumerate(N.shape(x)))


def _at(flat: Any, place: float, method: str) -> Any:
    """The element at a place along the last axis."""
    low, high = math.floor(place), math.ceil(place)
    last = ndim(flat) - 1

    def element(i: int) -> Any:
        return N.squeeze(N.slice_axis(flat, last, i, i + 1), last)

    if method in ("lower", "higher", "nearest"):
        return element({"lower": low, "higher": high, "nearest": round(place)}[method])
    share = 0.5 if method == "midpoint" else place - low
    if low == high:
        return element(low)
    return N.add(N.multiply(element(low), 1 - share), N.multiply(element(high), share))


def _between(flat: Any, place: Any, method: str) -> Any:
    """The same, where the place depends on data; NaN where it is below 0."""
    low, last = N.floor(N.stop_gradient(place)), ndim(flat) - 1

    def element(number: Any) -> Any:
        inside = N.cast(N.maximum(number, 0.0), "int32")
        return gather(flat, inside, last, along=True)

    if method == "lower":
        y = element(low)
    elif method == "higher":
        y = element(N.ceil(place))
    elif method == "nearest":
        y = element(N.nearest(place))
    else:
        high = N.ceil(place)
        share: Any = N.subtract(place, low)
        if method == "midpoint":
            share = N.where(N.equal(low, high), 0.0, N.add(N.zeros_like(share), 0.5))
        a, b = element(low), element(high)
        y = N.add(N.multiply(a, N.subtract(1.0, share)), N.multiply(b, share))
    return N.squeeze(N.where(N.less(place, 0), math.nan, y), last)


def _hundredths(q: Any) -> np.ndarray:
    return np.asarray(N.convert_to_numpy(q), "float64") / 100


def percentile(
    x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Any:
    """`quantile` with q in hundredths.

    Parameters
    ----------
    q : 0 to 100.
    """
    return _quantile(x, _hundredths(q), axis, method, keepdims, "percentile", skip=False)


def nanpercentile(
    x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Any:
    """`percentile` of the elements that are not NaN."""
    return _quantile(x, _hundredths(q), axis, method, keepdims, "nanpercentile", skip=True)


def median(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The element in the middle over `axis`, or the mean of the two that are."""
    return _quantile(x, 0.5, axis, "linear", keepdims, "median", skip=False)


def nanmedian(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """`median` of the elements that are not NaN."""
    return _quantile(x, 0.5, axis, "linear", keepdims, "nanmedian", skip=True)


def corrcoef(x: Any) -> Any:
    """Correlations (Pearson) of the rows of x."""
    x = floating(N.convert_to_tensor(x))
    single = ndim(x) == 1
    if ndim(x) > 2:
        raise ValueError(f"corrcoef: x must have one or two axes, got shape {N.shape(x)}")
    rows = reshape(x, (1, -1)) if single else x
    centered = N.subtract(rows, N.mean(rows, 1, keepdims=True))
    products = matmul(centered, N.transpose(centered))
    sizes = N.sqrt(N.sum(N.square(centered), 1))
    scale = N.multiply(N.expand_dims(sizes, 1), N.expand_dims(sizes, 0))
    y = N.clip(N.divide(products, scale), -1.0, 1.0)
    return reshape(y, ()) if single else y


def correlate(x1: Any, x2: Any, mode: str = "valid") -> Any:
    """Sums of products of x1 with x2 moved along it: both vectors.

    mode: 'valid' where they overlap fully, 'same' (as long as the longer one), or 'full'.
    """
    if mode not in ("valid", "same", "full"):
        raise ValueError(f"correlate: mode must be 'valid', 'same' or 'full', got {mode!r}")
    x1, x2 = N.convert_to_tensor(x1), N.convert_to_tensor(x2)
    if ndim(x1) != 1 or ndim(x2) != 1:
        raise ValueError(f"correlate: needs vectors, got {N.shape(x1)} and {N.shape(x2)}")
    n, m = known(x1, 0, "correlate"), known(x2, 0, "correlate")
    if n < m:
        return N.flip(correlate(x2, x1, mode))
    before = {"valid": 0, "same": m // 2, "full": m - 1}[mode]
    after = {"valid": 0, "same": m - 1 - m // 2, "full": m - 1}[mode]
    from nbcnn.ops.numpy_shape import pad, picked

    padded = pad(x1, ((before, after),))
    count = n + before + after - m + 1
    windows = np.arange(count)[:, None] + np.arange(m)
    return N.sum(N.multiply(picked(padded, windows, 0), x2), 1)


__all__ = [
    "amax", "amin", "average", "corrcoef", "correlate", "cumprod", "cumsum", "diff", "logsumexp",
    "median", "nanmedian", "nanpercentile", "nanquantile", "percentile", "ptp", "quantile",
    "trapezoid",
]  # fmt: skip
