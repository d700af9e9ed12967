"""New arrays: the part of the public `nbcnn.ops` that makes them from sizes and numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn.ops import numpy_api as N
from nbcnn.ops.op import is_symbolic
from nbcnn.ops.shape import broadcast_to, reshape


def array(x: Any, dtype: str | None = None) -> Any:
    """An array of x, converted to `dtype` where one is given."""
    return N.convert_to_tensor(x, dtype)


def arange(
    start: float, stop: float | None = None, step: float | None = None, dtype: str | None = None
) -> np.ndarray:
    """Evenly spaced values in [start, stop).

    Parameters
    ----------
    start, stop : with one number that is `stop`, and `start` is 0.
    step : distance of neighbours, default 1.
    """
    step = 1 if step is None else step
    if any(np.ndim(v) or np.asarray(v).dtype.kind not in "biuf" for v in (start, stop or 0, step)):
        raise TypeError(f"arange: needs numbers, got start={start!r}, stop={stop!r}, step={step!r}")
    values = np.arange(start, stop, step) if stop is not None else np.arange(0, start, step)
    return values.astype(dtype or ("int32" if values.dtype.kind == "i" else "float32"))


def copy(x: Any) -> Any:
    """A copy of x."""
    value = N.convert_to_tensor(x)
    return np.array(value) if isinstance(value, np.ndarray) else N.unary("identity", x)


def empty(shape: Sequence[int], dtype: str | None = None) -> np.ndarray:
    """An array whose values do not matter: zeros."""
    return np.zeros(shape, dtype or "float32")


def empty_like(x: Any, dtype: str | None = None) -> Any:
    """As `zeros_like`."""
    return N.zeros_like(x, dtype)


def eye(N: int, M: int | None = None, k: int = 0, dtype: str | None = None) -> np.ndarray:
    """(N, M or N) ones on diagonal number k, else zeros."""
    return np.eye(N, M, k, dtype or "float32")


def identity(n: int, dtype: str | None = None) -> np.ndarray:
    """(n, n) ones on the diagonal, else zeros."""
    return np.eye(n, dtype=dtype or "float32")


def tri(N: int, M: int | None = None, k: int = 0, dtype: str | None = None) -> np.ndarray:
    """(N, M or N) ones on and below diagonal number k, else zeros."""
    return np.tri(N, M, k, dtype or "float32")


def full(shape: Sequence[int], fill_value: Any, dtype: str | None = None) -> Any:
    """`fill_value` everywhere."""
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    value = N.convert_to_tensor(fill_value, dtype)
    if not is_symbolic(fill_value):
        return np.full(sizes, N.convert_to_numpy(value), dtype or value.dtype)
    return broadcast_to(value, sizes)


def full_like(x: Any, fill_value: Any, dtype: str | None = None) -> Any:
    """`fill_value` in the shape and dtype of x."""
    value = N.cast(N.convert_to_tensor(fill_value), dtype or N.dtype_of(x))
    return N.add(N.zeros_like(x, dtype), value)


def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: str | None = None,
    axis: int = 0,
) -> Any:
    """`num` evenly spaced values from start to stop, along a new axis; with the step where
    `retstep`.
    """
    if isinstance(num, bool) or num < 0:
        raise ValueError(f"linspace: num must not be negative, got {num!r}")
    start, stop = (_float(v) for v in (start, stop))
    gaps = num - 1 if endpoint else num
    step = N.divide(N.subtract(stop, start), float(max(gaps, 1)))
    rank = len(N.shape(step)) + 1
    places = np.arange(num, dtype=N.dtype_of(step)).reshape(
        [num if a == axis % rank else 1 for a in range(rank)]
    )
    place = axis % rank
    y = N.add(N.expand_dims(start, place), N.multiply(N.expand_dims(step, place), places))
    if endpoint and num > 1:  # exactly
        last = places == num - 1
        y = N.where(last, N.expand_dims(stop, place), y)
    y = y if dtype is None else N.cast(y, dtype)
    return (y, step) if retstep else y


def _float(value: Any) -> Any:
    x = N.convert_to_tensor(value)
    return x if np.dtype(N.dtype_of(x)).kind == "f" else N.cast(x, "float32")


def logspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    base: float = 10,
    dtype: str | None = None,
    axis: int = 0,
) -> Any:
    """`base` to the powers that are evenly spaced from start to stop.

    Parameters
    ----------
    num : how many, default 50.
    base : default 10.
    """
    y = N.power(float(base), linspace(start, stop, num, endpoint, axis=axis))
    return y if dtype is None else N.cast(y, dtype)


def geomspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    dtype: str | None = None,
    axis: int = 0,
) -> Any:
    """`num` values from start to stop, each the same multiple of the one before. Of one sign."""
    start, stop = _float(start), _float(stop)
    first, last = (N.log(N.abs(v)) for v in (start, stop))
    y = N.exp(linspace(first, last, num, endpoint, axis=axis))
    rank = len(N.shape(y))
    y = N.multiply(y, N.expand_dims(N.add(N.sign(start), N.zeros_like(stop)), axis % rank))
    return y if dtype is None else N.cast(y, dtype)


def meshgrid(*x: Any, indexing: str = "xy") -> list[Any]:
    """Coordinates of all points of a grid: one array for each of the vectors x.

    indexing: 'xy', where the first axis of the results belongs to the second vector, or 'ij'.
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: indexing must be 'xy' or 'ij', got {indexing!r}")
    vectors = [N.ravel(N.convert_to_tensor(v)) for v in x]
    order = list(range(len(vectors)))
    if indexing == "xy" and len(vectors) > 1:
        order[:2] = [1, 0]
    sizes: list[Any] = [0] * len(vectors)
    for vector, place in zip(vectors, order):
        sizes[place] = N.shape(vector)[0]
    results = []
    for vector, place in zip(vectors, order):
        along = [-1 if a == place else 1 for a in range(len(vectors))]
        results.append(broadcast_to(reshape(vector, along), tuple(sizes)))
    return results


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """(len(x), N or len(x)): the powers of x from N - 1 down to 0, or up from 0.

    Parameters
    ----------
    increasing : powers from 0 up; default False.
    """
    from nbcnn.ops import numpy_api as api

    x = api.convert_to_tensor(x)
    if len(api.shape(x)) != 1 or api.shape(x)[0] is None:
        raise ValueError(f"vander: x must be a vector of known size, got {api.shape(x)}")
    count: Any = api.shape(x)[0] if N is None else N
    powers: list[Any] = [api.ones_like(x)]
    for _ in range(1, count):
        powers.append(api.multiply(powers[-1], x))
    return api.stack(powers[:count] if increasing else powers[:count][::-1], axis=1)


def _window(formula: Any, doc: str) -> Any:
    def window(x: int) -> np.ndarray:
        from nbcnn.ops.host import host

        size = int(host(x, formula.__name__))
        return formula(size).astype("float32")

    window.__name__ = window.__qualname__ = formula.__name__
    window.__doc__ = doc
    return window


bartlett = _window(np.bartlett, "Bartlett's window of x points: a triangle.")
blackman = _window(np.blackman, "Blackman's window of x points.")
hamming = _window(np.hamming, "Hamming's window of x points: a raised cosine.")
hanning = _window(np.hanning, "Hann's window of x points: a raised cosine.")


def kaiser(x: int, beta: float) -> np.ndarray:
    """Kaiser's window of x points with shape `beta`."""
    from nbcnn.ops.host import host

    return np.kaiser(int(host(x, "kaiser")), float(beta)).astype("float32")


__all__ = [
    "arange", "array", "bartlett", "blackman", "copy", "empty", "empty_like", "eye", "full",
    "full_like", "geomspace", "hamming", "hanning", "identity", "kaiser", "linspace", "logspace",
    "meshgrid", "tri", "vander",
]  # fmt: skip
