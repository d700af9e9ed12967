"""Reductions that leave NaN out: a part of the public `nbcnn.ops`."""

import math
from typing import Any

import numpy as np

from nbcnn.ops import numpy_api as N
from nbcnn.ops.numpy_math import floating
from nbcnn.ops.numpy_stat import Axis, cumprod, cumsum


def _filled(x: Any, value: float) -> Any:
    """x with a number in the place of NaN."""
    x = N.convert_to_tensor(x)
    return N.where(N.isnan(x), value, x) if np.dtype(N.dtype_of(x)).kind == "f" else x


def _count(x: Any, axis: Axis, keepdims: bool) -> Any:
    return N.sum(N.cast(N.logical_not(N.isnan(x)), N.dtype_of(x)), axis, keepdims)


def nansum(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Sum over `axis` of what is not NaN."""
    return N.sum(_filled(x, 0.0), axis, keepdims)


def nanprod(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Product over `axis` of what is not NaN."""
    return N.prod(_filled(x, 1.0), axis, keepdims)


def nancumsum(x: Any, axis: int | None = None, dtype: str | None = None) -> Any:
    """`cumsum` with NaN as 0."""
    return cumsum(_filled(x, 0.0), axis, dtype)


def nancumprod(x: Any, axis: int | None = None, dtype: str | None = None) -> Any:
    """`cumprod` with NaN as 1."""
    return cumprod(_filled(x, 1.0), axis, dtype)


def nanmean(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Mean over `axis` of what is not NaN; NaN where nothing is left."""
    x = floating(N.convert_to_tensor(x))
    return N.divide(nansum(x, axis, keepdims), _count(x, axis, keepdims))


def nanvar(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Variance over `axis` of what is not NaN."""
    x = floating(N.convert_to_tensor(x))
    centered = N.subtract(x, nanmean(x, axis, keepdims=True))
    squares = N.square(N.where(N.isnan(x), 0.0, centered))  # 0 before squaring: no slope of NaN
    return N.divide(N.sum(squares, axis, keepdims), _count(x, axis, keepdims))


def nanstd(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Standard deviation over `axis` of what is not NaN."""
    return N.sqrt(nanvar(x, axis, keepdims))


def _extreme(function: Any, x: Any, axis: Axis, keepdims: bool, worst: float) -> Any:
    x = N.convert_to_tensor(x)
    if np.dtype(N.dtype_of(x)).kind != "f":
        return function(x, axis, keepdims)
    nothing = N.all(N.isnan(x), axis, keepdims)
    return N.where(nothing, math.nan, function(_filled(x, worst), axis, keepdims))


def nanmax(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Largest value over `axis`, NaN left out."""
    return _extreme(N.max, x, axis, keepdims, -math.inf)


def nanmin(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Smallest value over `axis`, NaN left out."""
    return _extreme(N.min, x, axis, keepdims, math.inf)


def _place(function: Any, x: Any, axis: int | None, keepdims: bool, worst: float) -> Any:
    x = floating(N.convert_to_tensor(x))
    nothing = N.all(N.isnan(x), axis, keepdims)
    return N.where(nothing, -1, function(_filled(x, worst), axis, keepdims))


def nanargmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Index (int32) of the largest value along `axis`, NaN left out; -1 where nothing is left."""
    return _place(N.argmax, x, axis, keepdims, -math.inf)


def nanargmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Index (int32) of the smallest value along `axis`, NaN left out; -1 where nothing is left."""
    return _place(N.argmin, x, axis, keepdims, math.inf)


__all__ = [
    "nanargmax", "nanargmin", "nancumprod", "nancumsum", "nanmax", "nanmean", "nanmin", "nanprod",
    "nanstd", "nansum", "nanvar",
]  # fmt: skip
