"""Elementwise functions of the public `nbcnn.ops` beyond those of `numpy_api`."""

import math
from typing import Any

import numpy as np

from nbcnn.ops import numpy_api as N
from nbcnn.ops.elementwise import binary, unary
from nbcnn.ops.tensor import Tensor

_unary, _binary = N._unary, N._binary

arccos = _unary("arccos", "Angle in [0, pi] whose cosine is x, elementwise.")
arccosh = _unary("arccosh", "Inverse of the hyperbolic cosine, elementwise; NaN below 1.")
arcsin = _unary("arcsin", "Angle in [-pi/2, pi/2] whose sine is x, elementwise.")
arcsinh = _unary("arcsinh", "Inverse of the hyperbolic sine, elementwise.")
arctan = _unary("arctan", "Angle in [-pi/2, pi/2] whose tangent is x, elementwise.")
arctanh = _unary("arctanh", "Inverse of the hyperbolic tangent, elementwise.")
cbrt = _unary("cbrt", "Cube root, elementwise.")
cosh = _unary("cosh", "Hyperbolic cosine, elementwise.")
erfc = _unary("erfc", "1 - erf(x) without cancellation, elementwise.")
erfinv = _unary("erfinv", "Inverse of the error function, elementwise.")
exp2 = _unary("exp2", "2 to the power x, elementwise.")
log10 = _unary("log10", "Logarithm to base 10, elementwise.")
log2 = _unary("log2", "Logarithm to base 2, elementwise.")
signbit = _unary("signbit", "Whether the sign bit is set, also that of -0, elementwise.")
sinh = _unary("sinh", "Hyperbolic sine, elementwise.")
tan = _unary("tan", "Tangent of x in radians, elementwise.")
trunc = _unary("trunc", "The integer part of x, elementwise.")

arctan2 = _binary("arctan2", "The angle of the point (x2, x1), in (-pi, pi].")
fmod = _binary("fmod", "Remainder with the sign of x1.")
gcd = _binary("gcd", "Greatest common divisor of integers.")
hypot = _binary("hypot", "sqrt(x1^2 + x2^2) without overflow.")
logaddexp = _binary("logaddexp", "log(exp(x1) + exp(x2)) without overflow.")


def _bits(function: str, doc: str):
    def op(x: Any, y: Any) -> Any:
        return binary(function, x, y)

    op.__name__ = op.__qualname__ = function
    op.__doc__ = doc + " Of integers or booleans; shapes broadcast."
    return op


bitwise_and = _bits("bitwise_and", "x & y.")
bitwise_or = _bits("bitwise_or", "x | y.")
bitwise_xor = _bits("bitwise_xor", "x ^ y.")
bitwise_left_shift = left_shift = _bits("left_shift", "x * 2^y.")
bitwise_right_shift = right_shift = _bits("right_shift", "x / 2^y, rounded down.")


def bitwise_not(x: Any) -> Any:
    """All bits turned over: -x - 1, elementwise; of booleans the opposite."""
    kind = N.dtype_of(x)
    if kind == "bool":
        return N.logical_not(x)
    if np.dtype(kind).kind not in "iu":
        raise TypeError(f"bitwise_not: x must hold integers or booleans, got {kind}")
    return unary("bitwise_not", x)


bitwise_invert = bitwise_not


def floating(x: Any) -> Any:
    """x, integers and booleans as float32."""
    return x if np.dtype(N.dtype_of(x)).kind == "f" else N.cast(x, "float32")


def angle(x: Any) -> Any:
    """The angle of real numbers in the complex plane: 0, or pi where x is negative."""
    x = floating(N.convert_to_tensor(x))
    return arctan2(N.zeros_like(x), x)


def conjugate(x: Any) -> Any:
    """x, which is real."""
    return unary("identity", x)


conj = real = conjugate


def imag(x: Any) -> Any:
    """Zeros: x is real."""
    return N.zeros_like(x)


def isreal(x: Any) -> Any:
    """True everywhere: there are no complex numbers here."""
    return N.cast(N.ones_like(x), "bool")


def deg2rad(x: Any) -> Any:
    """Degrees to radians."""
    return N.multiply(floating(N.convert_to_tensor(x)), math.pi / 180)


def rad2deg(x: Any) -> Any:
    """Radians to degrees."""
    return N.multiply(floating(N.convert_to_tensor(x)), 180 / math.pi)


def fabs(x: Any) -> Any:
    """|x| as a float."""
    return N.abs(floating(N.convert_to_tensor(x)))


def divide_no_nan(x1: Any, x2: Any) -> Any:
    """x1 / x2, and 0 where x2 is 0."""
    zero = N.equal(x2, 0)
    return N.where(zero, 0.0, N.divide(x1, N.where(zero, 1, x2)))


def fmax(x1: Any, x2: Any) -> Any:
    """The larger of x1 and x2; of a number and NaN the number."""
    larger = N.where(N.isnan(x2), x1, N.maximum(x1, x2))
    return N.where(N.isnan(x1), x2, larger)


def fmin(x1: Any, x2: Any) -> Any:
    """The smaller of x1 and x2; of a number and NaN the number."""
    smaller = N.where(N.isnan(x2), x1, N.minimum(x1, x2))
    return N.where(N.isnan(x1), x2, smaller)


def heaviside(x1: Any, x2: Any) -> Any:
    """0 for negative x1, 1 for positive x1, x2 where x1 is 0."""
    x1 = floating(N.convert_to_tensor(x1))
    sides = N.where(N.less(x1, 0), 0.0, N.where(N.greater(x1, 0), 1.0, x1))
    return N.where(N.equal(x1, 0), x2, sides)


def i0(x: Any) -> Any:
    """The modified Bessel function of order 0. Of arrays only, without gradient."""
    from nbcnn.ops.host import host

    values = host(x, "i0")
    return np.i0(values).astype(values.dtype if values.dtype.kind == "f" else "float32")


def nextafter(x1: Any, x2: Any) -> Any:
    """The float next to x1 in the direction of x2. Of arrays only, without gradient."""
    from nbcnn.ops.host import host

    return np.nextafter(host(x1, "nextafter"), host(x2, "nextafter"))


def isclose(
    x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Any:
    """Whether |x1 - x2| <= atol + rtol * |x2|, elementwise; infinities are close if equal.

    Parameters
    ----------
    rtol, atol : tolerances, relative to x2 and absolute; default 1e-5 and 1e-8.
    equal_nan : whether NaN is close to NaN; default False.
    """
    x1, x2 = floating(N.convert_to_tensor(x1)), floating(N.convert_to_tensor(x2))
    limit = N.add(N.multiply(N.abs(x2), float(rtol)), float(atol))
    near = N.logical_and(
        N.less_equal(N.abs(N.subtract(x1, x2)), limit),
        N.logical_and(N.isfinite(x1), N.isfinite(x2)),
    )
    close = N.logical_or(near, N.equal(x1, x2))
    if equal_nan:
        close = N.logical_or(close, N.logical_and(N.isnan(x1), N.isnan(x2)))
    return close


def allclose(
    x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Any:
    """Whether all elements are close; see `isclose`."""
    return N.all(isclose(x1, x2, rtol, atol, equal_nan))


def isneginf(x: Any) -> Any:
    """Whether x is -infinity, elementwise."""
    return N.equal(floating(N.convert_to_tensor(x)), -math.inf)


def isposinf(x: Any) -> Any:
    """Whether x is +infinity, elementwise."""
    return N.equal(floating(N.convert_to_tensor(x)), math.inf)


def lcm(x1: Any, x2: Any) -> Any:
    """Least common multiple of integers."""
    divisor = gcd(x1, x2)
    safe = N.where(N.equal(divisor, 0), 1, divisor)
    return N.abs(N.multiply(N.floor_divide(x1, safe), x2))


def ldexp(x1: Any, x2: Any) -> Any:
    """x1 * 2^x2."""
    x1 = floating(N.convert_to_tensor(x1))
    return N.multiply(x1, exp2(N.cast(x2, N.dtype_of(x1))))


def logaddexp2(x1: Any, x2: Any) -> Any:
    """log2(2^x1 + 2^x2) without overflow."""
    x1, x2 = floating(N.convert_to_tensor(x1)), floating(N.convert_to_tensor(x2))
    log_2 = math.log(2)
    return N.divide(logaddexp(N.multiply(x1, log_2), N.multiply(x2, log_2)), log_2)


def logical_xor(x1: Any, x2: Any) -> Any:
    """Whether exactly one is true."""
    return N.not_equal(N.cast(x1, "bool"), N.cast(x2, "bool"))


def nan_to_num(
    x: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Any:
    """NaN and infinities replaced by numbers; None: the largest and least of the type.

    Parameters
    ----------
    nan : in place of NaN, default 0.
    posinf, neginf : in place of the infinities; None (default): the largest and the least number of
        the type.
    """
    x = N.convert_to_tensor(x)
    kind = np.dtype(N.dtype_of(x))
    if kind.kind != "f":
        return unary("identity", x)
    limits = np.finfo(kind)
    posinf = float(limits.max) if posinf is None else posinf
    neginf = float(limits.min) if neginf is None else neginf
    y = N.where(N.equal(x, math.inf), posinf, x)
    y = N.where(N.equal(x, -math.inf), neginf, y)
    return N.where(N.isnan(x), nan, y)


def saturate_cast(x: Any, dtype: str) -> Any:
    """x limited to what `dtype` can hold, then converted to it."""
    source, target = np.dtype(N.dtype_of(x)), np.dtype(dtype)
    if target.kind == "b" or source.kind == "b":
        return N.cast(x, target.name)

    def limits(kind: np.dtype) -> tuple[Any, Any]:
        info: Any = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
        return info.min, info.max

    (low, high), (least, most) = limits(target), limits(source)
    low, high = max(low, least), min(high, most)
    if source.kind == "f" and target.kind in "iu" and source.type(high) > high:
        high = np.nextafter(source.type(high), source.type(0))  # the limit itself is no float
    low, high = np.asarray(low, source), np.asarray(high, source)
    return N.cast(N.minimum(N.maximum(x, low), high), target.name)


def sinc(x: Any) -> Any:
    """sin(pi x) / (pi x), and 1 at 0."""
    x = floating(N.convert_to_tensor(x))
    zero = N.equal(x, 0)
    turned = N.multiply(N.where(zero, 1.0, x), math.pi)
    return N.where(zero, 1.0, N.divide(N.sin(turned), turned))


def view(x: Any, dtype: str | None = None) -> Any:
    """The bits of x read as another type. Of arrays only, without gradient.

    Parameters
    ----------
    dtype : the other type; None (default): that of x.
    """
    from nbcnn.ops.host import host

    if isinstance(x, Tensor) and dtype in (None, x.dtype):
        return x
    return host(x, "view").view(dtype or N.dtype_of(x))


__all__ = [
    "allclose", "angle", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh",
    "bitwise_and", "bitwise_invert", "bitwise_left_shift", "bitwise_not", "bitwise_or",
    "bitwise_right_shift", "bitwise_xor", "cbrt", "conj", "conjugate", "cosh", "deg2rad",
    "divide_no_nan", "erfc", "erfinv", "exp2", "fabs", "fmax", "fmin", "fmod", "gcd", "heaviside",
    "hypot", "i0", "imag", "isclose", "isneginf", "isposinf", "isreal", "lcm", "ldexp",
    "left_shift", "log2", "log10", "logaddexp", "logaddexp2", "logical_xor", "nan_to_num",
    "nextafter", "rad2deg", "real", "right_shift", "saturate_cast", "signbit", "sinc", "sinh",
    "tan", "trunc", "view",
]  # fmt: skip
