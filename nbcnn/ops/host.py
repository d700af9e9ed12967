"""Functions that NumPy computes at once on the host: of arrays only, without gradient."""

from typing import Any

import numpy as np

from nbcnn.ops.op import as_tensor, is_tracing
from nbcnn.ops.tensor import Constant, Tensor


def host(x: Any, what: str) -> np.ndarray:
    """The array of an argument. Raises TypeError for a symbolic tensor."""
    variable = hasattr(x, "symbol") and is_tracing()
    if variable or (isinstance(x, Tensor) and not isinstance(x, Constant)):
        raise TypeError(
            f"{what}: works on arrays, outside of models, and has no gradient; got {x!r}"
        )
    if hasattr(x, "numpy"):
        return x.numpy()
    value = as_tensor(x)
    assert isinstance(value, Constant)
    return value.value


def _floats(x: Any, what: str) -> np.ndarray:
    array = host(x, what)
    return array if array.dtype.kind == "f" else array.astype("float32")


def _matrices(x: Any, what: str) -> np.ndarray:
    array = _floats(x, what)
    if array.ndim < 2:
        raise ValueError(f"{what}: x needs at least two axes, got shape {array.shape}")
    return array


def _square(x: Any, what: str) -> np.ndarray:
    array = _matrices(x, what)
    if array.shape[-1] != array.shape[-2]:
        raise ValueError(f"{what}: the last two axes must be equal, got shape {array.shape}")
    return array


def cholesky(x: Any, upper: bool = False) -> np.ndarray:
    """The triangular factor of positive definite matrices: x = L L^T, or U^T U.

    Parameters
    ----------
    upper : give U instead of L; default False.
    """
    lower = np.linalg.cholesky(_square(x, "cholesky"))
    return np.ascontiguousarray(np.swapaxes(lower, -1, -2)) if upper else lower


def cholesky_inverse(x: Any, upper: bool = False) -> np.ndarray:
    """The inverse of the matrices whose Cholesky factor is x.

    Parameters
    ----------
    upper : whether the factor is U; default False.
    """
    factor = _square(x, "cholesky_inverse")
    lower = np.swapaxes(factor, -1, -2) if upper else factor
    inverse = np.linalg.inv(lower)
    return np.swapaxes(inverse, -1, -2) @ inverse


def det(x: Any) -> np.ndarray:
    """Determinants of square matrices."""
    return np.asarray(np.linalg.det(_square(x, "det")))


def slogdet(x: Any) -> tuple[np.ndarray, np.ndarray]:
    """Signs of the determinants of square matrices, and logarithms of their sizes."""
    sign, log = np.linalg.slogdet(_square(x, "slogdet"))
    return np.asarray(sign), np.asarray(log)


def logdet(x: Any) -> np.ndarray:
    """Logarithms of the determinants of positive definite matrices."""
    return slogdet(x)[1]


def eigh(x: Any) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, least first, and eigenvectors (columns) of symmetric matrices."""
    values, vectors = np.linalg.eigh(_square(x, "eigh"))
    return values, vectors


def inv(x: Any) -> np.ndarray:
    """Inverses of square matrices."""
    return np.linalg.inv(_square(x, "inv"))


def pinv(x: Any, rcond: float | None = None) -> np.ndarray:
    """Pseudo-inverses of matrices (Penrose 1955); singular values up to `rcond` times the largest
    count as 0.
    """
    array = _matrices(x, "pinv")
    if rcond is None:
        rcond = max(array.shape[-2:]) * float(np.finfo(array.dtype).eps)
    return np.linalg.pinv(array, rcond)


def lstsq(a: Any, b: Any, rcond: float | None = None) -> np.ndarray:
    """x with the least |a x - b|.

    Parameters
    ----------
    rcond : singular values up to this part of the largest count as 0; None (default): precision
        times size.
    """
    return np.linalg.lstsq(_matrices(a, "lstsq"), _floats(b, "lstsq"), rcond)[0]


def lu_factor(x: Any) -> tuple[np.ndarray, np.ndarray]:
    """Factors L and U of square matrices in one array, and the rows' exchanges."""
    factors = _square(x, "lu_factor").copy()
    pivots = np.zeros(factors.shape[:-1], "int32")
    for place in np.ndindex(factors.shape[:-2]):
        matrix = factors[place]
        for k in range(len(matrix)):
            row = k + int(np.abs(matrix[k:, k]).argmax())
            pivots[(*place, k)] = row
            matrix[[k, row]] = matrix[[row, k]]
            if matrix[k, k] != 0:
                matrix[k + 1 :, k] /= matrix[k, k]
            matrix[k + 1 :, k + 1 :] -= np.outer(matrix[k + 1 :, k], matrix[k, k + 1 :])
    return factors, pivots


def matrix_rank(x: Any, tol: float | None = None) -> np.ndarray:
    """How many singular values are above `tol`."""
    return np.asarray(np.linalg.matrix_rank(_matrices(x, "matrix_rank"), tol), "int32")


def qr(x: Any, mode: str = "reduced") -> tuple[np.ndarray, np.ndarray]:
    """x = Q R with orthonormal columns in Q and R upper triangular. mode: 'reduced' or
    'complete'.
    """
    if mode not in ("reduced", "complete"):
        raise ValueError(f"qr: mode must be 'reduced' or 'complete', got {mode!r}")
    decomposed: Any = np.linalg.qr
    q, r = decomposed(_matrices(x, "qr"), mode)
    return q, r


def solve(a: Any, b: Any) -> np.ndarray:
    """x with a x = b; b holds a vector or a matrix for each matrix of a."""
    left, right = _square(a, "solve"), _floats(b, "solve")
    if right.ndim == left.ndim - 1:
        return np.linalg.solve(left, right[..., None])[..., 0]
    return np.linalg.solve(left, right)


def solve_triangular(a: Any, b: Any, lower: bool = False) -> np.ndarray:
    """x with a x = b, where only the upper, or lower, triangle of a counts."""
    left = _square(a, "solve_triangular")
    return solve(np.tril(left) if lower else np.triu(left), b)


def svd(x: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """Singular values, with U and V^T before and after them where `compute_uv`.

    Parameters
    ----------
    full_matrices : U and V square, rather than cut to the number of singular values; default True.
    """
    decomposed: Any = np.linalg.svd
    found = decomposed(_matrices(x, "svd"), full_matrices, compute_uv)
    return tuple(found) if compute_uv else found


def _pair(x: Any, what: str) -> tuple[np.ndarray, np.dtype]:
    if not isinstance(x, (tuple, list)) or len(x) != 2:
        raise ValueError(f"{what}: x must be a pair (real, imaginary), got {type(x).__name__}")
    real, imaginary = (_floats(part, what) for part in x)
    if real.shape != imaginary.shape:
        raise ValueError(f"{what}: shapes of the parts differ: {real.shape}, {imaginary.shape}")
    least = 2 if what in ("fft2", "ifft2") else 1
    if real.ndim < least:
        raise ValueError(f"{what}: x must have {least} axes or more, got shape {real.shape}")
    return real + 1j * imaginary, real.dtype


def _parts(values: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    return values.real.astype(dtype), values.imag.astype(dtype)


def fft(x: tuple[Any, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Fourier transform along the last axis; complex numbers are pairs (real, imaginary)."""
    values, dtype = _pair(x, "fft")
    return _parts(np.fft.fft(values), dtype)


def fft2(x: tuple[Any, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Fourier transform along the last two axes; complex numbers are pairs."""
    values, dtype = _pair(x, "fft2")
    return _parts(np.fft.fft2(values), dtype)


def ifft2(x: tuple[Any, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of `fft2`."""
    values, dtype = _pair(x, "ifft2")
    return _parts(np.fft.ifft2(values), dtype)


def rfft(x: Any, fft_length: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The first half of the Fourier transform of real numbers along the last axis.

    Parameters
    ----------
    fft_length : x is cut or filled with zeros to this length; None (default): its own.
    """
    values = _floats(x, "rfft")
    if not values.ndim:
        raise ValueError("rfft: x must have one axis or more, got a number")
    return _parts(np.fft.rfft(values, fft_length), values.dtype)


def irfft(x: tuple[Any, Any], fft_length: int | None = None) -> np.ndarray:
    """The inverse of `rfft`.

    Parameters
    ----------
    x : (real, imaginary).
    fft_length : of the result; None (default): 2 * (length of x - 1).
    """
    values, dtype = _pair(x, "irfft")
    return np.fft.irfft(values, fft_length).astype(dtype)


def unique(
    x: Any,
    sorted: bool = True,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """The different values, least first; with their first places, the number of every element's
    value, and how often each occurs, where asked for.

    size: cut or filled (with `fill_value`, None: the least) to so many.

    Parameters
    ----------
    sorted : accepted for Keras's sake: values are always sorted.
    return_index, return_inverse, return_counts : what else is asked for; default False.
    axis : compare whole slices along it; None (default): single values.
    """
    distinct: Any = np.unique  # its types know no flags that are variables
    found = distinct(host(x, "unique"), return_index, return_inverse, return_counts, axis)
    parts = [*found] if isinstance(found, tuple) else [found]
    parts[1:] = [part.astype("int32") for part in parts[1:]]
    if size is not None:
        along = 0 if axis is None else axis
        missing = max(0, size - parts[0].shape[along])
        least = np.take(parts[0], [0], along)
        filling = least if fill_value is None else np.full_like(least, fill_value)
        values = np.concatenate([parts[0], *[filling] * missing], along)
        parts[0] = np.take(values, range(size), along)
        if return_index:
            parts[1] = np.concatenate([parts[1], np.full(missing, parts[1][0], "int32")])[:size]
        if return_counts:
            parts[-1] = np.concatenate([parts[-1], np.zeros(missing, "int32")])[:size]
    return parts[0] if len(parts) == 1 else tuple(parts)


def nonzero(x: Any) -> tuple[np.ndarray, ...]:
    """Where x is not zero: an array of indices (int32) per axis."""
    return tuple(part.astype("int32") for part in np.nonzero(host(x, "nonzero")))


def histogram(
    x: Any, bins: Any = 10, range: tuple[float, float] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """How many values lie in each bin (int32), and the edges of the bins.

    Parameters
    ----------
    bins : how many, default 10, or their edges.
    range : (least, largest) of the bins; default those of x.
    """
    values = host(x, "histogram")
    counts, edges = np.histogram(values, bins, range)
    return counts.astype("int32"), edges.astype(_floats(values, "histogram").dtype)


def unravel_index(indices: Any, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """The index along each axis of elements of an array of this shape, from their place when
    flat.

    Parameters
    ----------
    indices : places in the flat array.
    """
    places = host(indices, "unravel_index")
    return tuple(part.astype(places.dtype) for part in np.unravel_index(places, shape))


def vectorize(pyfunc: Any, *, excluded: Any = None, signature: str | None = None) -> Any:
    """A function that calls `pyfunc` for every element of its arguments, as `numpy.vectorize`.

    Parameters
    ----------
    excluded, signature : as `numpy.vectorize` takes them; default None.
    """
    return np.vectorize(pyfunc, excluded=excluded, signature=signature)


__all__ = [
    "cholesky", "cholesky_inverse", "det", "eigh", "fft", "fft2", "histogram", "ifft2", "inv",
    "irfft", "logdet", "lstsq", "lu_factor", "matrix_rank", "nonzero", "pinv", "qr", "rfft",
    "slogdet", "solve", "solve_triangular", "svd", "unique", "unravel_index", "vectorize",
]  # fmt: skip
