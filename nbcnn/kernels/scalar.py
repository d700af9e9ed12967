"""Scalar formulas that every device compiles: activations, arithmetic, derivatives, random bits.

Plain Python on numbers. A device makes its own version of each with `compiled`: float constants
take the type of the array, so that `0.5 * x` stays in float32, and the elementary functions
imported below are replaced by the device's. Write constants as floats (`2.0 * x`), also where the
formula serves integers.
"""

import types
from collections.abc import Callable
from math import (
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    copysign,
    cos,
    cosh,
    erf,
    erfc,
    exp,
    expm1,
    floor,
    hypot,
    isfinite,
    isinf,
    log,
    log1p,
    sin,
    sinh,
    sqrt,
    tan,
    tanh,
)  # fmt: skip
from typing import Any

import numpy as np

from nbcnn.kernels.inverse_erf import erfinv
from nbcnn.kernels.random_bits import dropout_words as dropout_words
from nbcnn.kernels.random_bits import keep_limit as keep_limit
from nbcnn.kernels.random_bits import philox as philox

# Modules of formulas.
FORMULAS = (__name__, erfinv.__module__, philox.__module__)

ELEMENTARY = {
    f.__name__: f
    for f in (
        acos, acosh, asin, asinh, atan, atan2, atanh, copysign, cos, cosh, erf, erfc, exp, expm1,
        floor, hypot, isfinite, isinf, log, log1p, sin, sinh, sqrt, tan, tanh,
    )
}  # fmt: skip

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772  # Klambauer et al. 2017
ROOT_2_OVER_PI = 0.7978845608028654
ROOT_HALF = 0.7071067811865476
THIRD = 0.3333333333333333
LN_2, LN_10 = 0.6931471805599453, 2.302585092994046
HUGE = 1e37


def compiled(
    function: Callable, dtype: str, elementary: dict[str, Callable], compile: Callable
) -> Any:
    """`function` for arguments of one type, made by `compile` (a device's decorator).

    `elementary` replaces functions of `math`, or formulas of this module, by name; other formulas
    of this module that `function` calls are compiled too.
    """
    number = np.dtype(dtype).type
    code = function.__code__
    names = dict(elementary)
    for name in code.co_names:
        value = None if name in elementary else function.__globals__.get(name)
        if isinstance(value, float):
            names[name] = number(value)
        elif isinstance(value, types.FunctionType) and value.__module__ in FORMULAS:
            names[name] = compiled(value, dtype, elementary, compile)
    constants = tuple(number(c) if isinstance(c, float) else c for c in code.co_consts)
    scope = {**function.__globals__, **names}
    return compile(types.FunctionType(code.replace(co_consts=constants), scope, function.__name__))


# Functions of one number x and up to two parameters.


def sigmoid(x):
    return 1.0 / (1.0 + exp(-x))


def softplus(x):
    return log1p(exp(-abs(x))) + (0.0 if x < 0.0 else x)


def normal_cdf(x):
    return 0.5 * (1.0 + erf(x * ROOT_HALF))


def bell(x):
    return exp(-0.5 * x * x)


def _gelu_inner(x):
    return tanh(ROOT_2_OVER_PI * (x + 0.044715 * x * x * x))


def _clip(x, low, high):
    """NaN stays NaN."""
    x = low if x < low else x
    return high if x > high else x


def _round_half_even(x):
    down = floor(x)
    rest = x - down
    odd = down - 2.0 * floor(0.5 * down)
    if rest > 0.5:
        return down + 1.0
    return down + odd if rest == 0.5 else down


def _sign(x):
    positive = 1.0 if x > 0.0 else 0.0 * x
    return -1.0 if x < 0.0 else positive


def _elu(x, a):
    return x if x > 0.0 else a * expm1(x)


def _round_bfloat16(x):
    """The nearest float32 whose lower 16 bits are zeros, ties to even; NaN stays NaN."""
    bits = np.float32(x).view(np.int32)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & -0x10000
    return np.int32(bits).view(np.float32) if x == x else x


def _trunc(x):
    return -floor(-x) if x < 0.0 else floor(x)


def _celu(x, a):
    return x if x > 0.0 else a * expm1(x / a)


def _soft_shrink(x, a):
    down = x - a if x > a else 0.0 * x
    return x + a if x < -a else down


def _sparse_plus(x):
    inside = 0.25 * (x + 1.0) * (x + 1.0) if x > -1.0 else 0.0 * x
    return x if x >= 1.0 else inside


def _cbrt(x):
    """A power, and one of Newton's steps, which repairs its last digits."""
    size = abs(x)
    y = size**THIRD
    if size > 0.0 and size < HUGE:
        y = y - (y - size / (y * y)) / 3.0
    return copysign(y, x)


UNARY: dict[str, Callable] = {
    "identity": lambda x, a, b: x,
    "negative": lambda x, a, b: -x,
    "abs": lambda x, a, b: abs(x),
    "sign": lambda x, a, b: _sign(x),
    "square": lambda x, a, b: x * x,
    "sqrt": lambda x, a, b: sqrt(x),
    "rsqrt": lambda x, a, b: 1.0 / sqrt(x),
    "reciprocal": lambda x, a, b: 1.0 / x,
    "exp": lambda x, a, b: exp(x),
    "expm1": lambda x, a, b: expm1(x),
    "log": lambda x, a, b: log(x),
    "log1p": lambda x, a, b: log1p(x),
    "sin": lambda x, a, b: sin(x),
    "cos": lambda x, a, b: cos(x),
    "tanh": lambda x, a, b: tanh(x),
    "erf": lambda x, a, b: erf(x),
    "floor": lambda x, a, b: floor(x),
    "ceil": lambda x, a, b: -floor(-x),
    "round": lambda x, a, b: _round_half_even(x),
    "round_bfloat16": lambda x, a, b: _round_bfloat16(x),
    "sigmoid": lambda x, a, b: sigmoid(x),
    "relu": lambda x, a, b: 0.0 if x < 0.0 else x,
    "relu6": lambda x, a, b: _clip(x, 0.0, 6.0),
    "leaky_relu": lambda x, a, b: a * x if x < 0.0 else x,
    "elu": lambda x, a, b: _elu(x, a),
    "selu": lambda x, a, b: SELU_SCALE * _elu(x, SELU_ALPHA),
    "softplus": lambda x, a, b: softplus(x),
    "softsign": lambda x, a, b: x / (1.0 + abs(x)),
    "silu": lambda x, a, b: x * sigmoid(x),
    "mish": lambda x, a, b: x * tanh(softplus(x)),
    "gelu": lambda x, a, b: x * normal_cdf(x),
    "gelu_tanh": lambda x, a, b: 0.5 * x * (1.0 + _gelu_inner(x)),
    "hard_sigmoid": lambda x, a, b: _clip(x / 6.0 + 0.5, 0.0, 1.0),
    "hard_silu": lambda x, a, b: x * _clip(x / 6.0 + 0.5, 0.0, 1.0),
    "clip": lambda x, a, b: _clip(x, a, b),
    "isnan": lambda x, a, b: x != x,
    "isinf": lambda x, a, b: isinf(x),
    "isfinite": lambda x, a, b: isfinite(x),
    "logical_not": lambda x, a, b: x == 0.0,
    "signbit": lambda x, a, b: copysign(1.0, x) < 0.0,
    "arccos": lambda x, a, b: acos(x),
    "arccosh": lambda x, a, b: acosh(x),
    "arcsin": lambda x, a, b: asin(x),
    "arcsinh": lambda x, a, b: asinh(x),
    "arctan": lambda x, a, b: atan(x),
    "arctanh": lambda x, a, b: atanh(x),
    "cosh": lambda x, a, b: cosh(x),
    "sinh": lambda x, a, b: sinh(x),
    "tan": lambda x, a, b: tan(x),
    "cbrt": lambda x, a, b: _cbrt(x),
    "erfc": lambda x, a, b: erfc(x),
    "erfinv": lambda x, a, b: erfinv(x),
    "exp2": lambda x, a, b: 2.0**x,
    "log2": lambda x, a, b: log(x) / LN_2,
    "log10": lambda x, a, b: log(x) / LN_10,
    "trunc": lambda x, a, b: _trunc(x),
    "bitwise_not": lambda x, a, b: -x - 1.0,  # of integers
    "celu": lambda x, a, b: _celu(x, a),
    "hard_shrink": lambda x, a, b: 0.0 * x if x <= a and x >= -a else x,
    "soft_shrink": lambda x, a, b: _soft_shrink(x, a),
    "sparse_plus": lambda x, a, b: _sparse_plus(x),
    "squareplus": lambda x, a, b: 0.5 * (x + sqrt(x * x + a)),
    "tanh_shrink": lambda x, a, b: x - tanh(x),
}


# Their derivatives: dx from v, which is x, or y for those that differentiate through their output.


def _gelu_slope(x):
    return normal_cdf(x) + x * 0.3989422804014327 * bell(x)


def _gelu_tanh_slope(x):
    t = _gelu_inner(x)
    return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * ROOT_2_OVER_PI * (1.0 + 0.134145 * x * x)


def _silu_slope(x):
    s = sigmoid(x)
    return s * (1.0 + x * (1.0 - s))


def _mish_slope(x):
    t = tanh(softplus(x))
    return t + x * (1.0 - t * t) * sigmoid(x)


def _hard_silu_slope(x):
    inside = x / 3.0 + 0.5 if x > -3.0 else 0.0
    return 1.0 if x >= 3.0 else inside


def _softsign_slope(x):
    r = 1.0 / (1.0 + abs(x))
    return r * r


def _sparse_plus_slope(x):
    inside = 0.5 * (x + 1.0) if x > -1.0 else 0.0 * x
    return 1.0 if x >= 1.0 else inside


def _tanh_square(x):
    t = tanh(x)
    return t * t


# At a kink: relu and its kin take the slope of the left side (as Keras does), abs takes 0, clip's
# ends count as inside.
UNARY_GRADIENT: dict[str, Callable] = {
    "relu": lambda y, dy, a, b: dy if y > 0.0 else 0.0,
    "sigmoid": lambda y, dy, a, b: dy * y * (1.0 - y),
    "tanh": lambda y, dy, a, b: dy * (1.0 - y * y),
    "exp": lambda y, dy, a, b: dy * y,
    "sqrt": lambda y, dy, a, b: 0.5 * dy / y,
    "rsqrt": lambda y, dy, a, b: -0.5 * dy * y * y * y,
    "reciprocal": lambda y, dy, a, b: -dy * y * y,
    "abs": lambda x, dy, a, b: dy * _sign(x),
    "square": lambda x, dy, a, b: 2.0 * x * dy,
    "log": lambda x, dy, a, b: dy / x,
    "log1p": lambda x, dy, a, b: dy / (1.0 + x),
    "expm1": lambda x, dy, a, b: dy * exp(x),
    "sin": lambda x, dy, a, b: dy * cos(x),
    "cos": lambda x, dy, a, b: -dy * sin(x),
    "softplus": lambda x, dy, a, b: dy * sigmoid(x),
    "softsign": lambda x, dy, a, b: dy * _softsign_slope(x),
    "silu": lambda x, dy, a, b: dy * _silu_slope(x),
    "gelu": lambda x, dy, a, b: dy * _gelu_slope(x),
    "gelu_tanh": lambda x, dy, a, b: dy * _gelu_tanh_slope(x),
    "erf": lambda x, dy, a, b: dy * 1.1283791670955126 * exp(-x * x),
    "elu": lambda x, dy, a, b: dy if x > 0.0 else dy * a * exp(x),
    "selu": lambda x, dy, a, b: dy * SELU_SCALE * (1.0 if x > 0.0 else SELU_ALPHA * exp(x)),
    "leaky_relu": lambda x, dy, a, b: dy if x > 0.0 else a * dy,
    "relu6": lambda x, dy, a, b: dy if x > 0.0 and x < 6.0 else 0.0,
    "hard_sigmoid": lambda x, dy, a, b: dy / 6.0 if x > -3.0 and x < 3.0 else 0.0,
    "hard_silu": lambda x, dy, a, b: dy * _hard_silu_slope(x),
    "mish": lambda x, dy, a, b: dy * _mish_slope(x),
    "clip": lambda x, dy, a, b: dy if x >= a and x <= b else 0.0,
    "arccos": lambda x, dy, a, b: -dy / sqrt((1.0 - x) * (1.0 + x)),
    "arccosh": lambda x, dy, a, b: dy / (sqrt(x - 1.0) * sqrt(x + 1.0)),
    "arcsin": lambda x, dy, a, b: dy / sqrt((1.0 - x) * (1.0 + x)),
    "arcsinh": lambda x, dy, a, b: dy / sqrt(x * x + 1.0),
    "arctan": lambda x, dy, a, b: dy / (x * x + 1.0),
    "arctanh": lambda x, dy, a, b: dy / ((1.0 - x) * (1.0 + x)),
    "cosh": lambda x, dy, a, b: dy * sinh(x),
    "sinh": lambda x, dy, a, b: dy * cosh(x),
    "tan": lambda y, dy, a, b: dy * (1.0 + y * y),
    "cbrt": lambda y, dy, a, b: dy / (3.0 * y * y),
    "erfc": lambda x, dy, a, b: dy * -1.1283791670955126 * exp(-x * x),
    "erfinv": lambda y, dy, a, b: dy * 0.8862269254527580 * exp(y * y),
    "exp2": lambda y, dy, a, b: dy * LN_2 * y,
    "log2": lambda x, dy, a, b: dy / (x * LN_2),
    "log10": lambda x, dy, a, b: dy / (x * LN_10),
    "celu": lambda x, dy, a, b: dy if x > 0.0 else dy * exp(x / a),
    "hard_shrink": lambda x, dy, a, b: 0.0 * dy if x <= a and x >= -a else dy,
    "soft_shrink": lambda x, dy, a, b: 0.0 * dy if x <= a and x >= -a else dy,
    "sparse_plus": lambda x, dy, a, b: dy * _sparse_plus_slope(x),
    "squareplus": lambda x, dy, a, b: 0.5 * dy * (1.0 + x / sqrt(x * x + a)),
    "tanh_shrink": lambda x, dy, a, b: dy * _tanh_square(x),
}


# Functions of two numbers of one type.


def _squared_difference(a, b):
    d = a - b
    return d * d


def _logaddexp(a, b):
    """Without overflow; equal infinities stay."""
    larger, apart = (a if a > b else b), abs(a - b)
    return a + LN_2 if a == b else larger + log1p(exp(-apart))


def _fmod(a, b):
    rest = abs(a) % abs(b)
    return -rest if a < 0.0 else rest


def _gcd(a, b):
    a, b = abs(a), abs(b)
    while b != 0.0:
        a, b = b, a % b
    return a


# Of integers and booleans only.
INTEGER_BINARY: dict[str, Callable] = {
    "bitwise_and": lambda a, b: a & b,
    "bitwise_or": lambda a, b: a | b,
    "bitwise_xor": lambda a, b: a ^ b,
    "left_shift": lambda a, b: a << b,
    "right_shift": lambda a, b: a >> b,
    "gcd": lambda a, b: _gcd(a, b),
}

BINARY: dict[str, Callable] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "maximum": lambda a, b: a if a >= b or a != a else b,  # NaN wins
    "minimum": lambda a, b: a if a <= b or a != a else b,
    "power": lambda a, b: a**b,
    "squared_difference": lambda a, b: _squared_difference(a, b),
    "floor_divide": lambda a, b: a // b,
    "mod": lambda a, b: a % b,
    "equal": lambda a, b: a == b,
    "not_equal": lambda a, b: a != b,
    "greater": lambda a, b: a > b,
    "greater_equal": lambda a, b: a >= b,
    "less": lambda a, b: a < b,
    "less_equal": lambda a, b: a <= b,
    "logical_and": lambda a, b: a != 0.0 and b != 0.0,
    "logical_or": lambda a, b: a != 0.0 or b != 0.0,
    "arctan2": lambda a, b: atan2(a, b),
    "fmod": lambda a, b: _fmod(a, b),
    "hypot": lambda a, b: hypot(a, b),
    "logaddexp": lambda a, b: _logaddexp(a, b),
    **INTEGER_BINARY,
}


# Activations in the tail of other kernels, by their id in `ops.conv_spec`.

_TAIL = ("identity", "relu", "sigmoid", "tanh", "relu6", "hard_silu", "silu", "gelu")
TAIL: tuple[Callable, ...] = tuple(UNARY[name] for name in _TAIL)
# From the output, of those that normalizations take.
TAIL_GRADIENT: tuple[Callable, ...] = (
    lambda y, dy, a, b: dy,
    *(UNARY_GRADIENT[name] for name in _TAIL[1:4]),
)
