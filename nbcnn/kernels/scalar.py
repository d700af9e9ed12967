"""Scalar formulas that every device compiles: activations, arithmetic, derivatives, random bits.

Plain Python on numbers. A device makes its own version of each with `compiled`: float constants
take the type of the array, so that `0.5 * x` stays in float32, and the elementary functions
imported below are replaced by the device's. Write constants as floats (`2.0 * x`), also where the
formula serves integers.
"""

import types
from collections.abc import Callable
from math import cos, erf, exp, expm1, floor, isfinite, isinf, log, log1p, sin, sqrt, tanh
from typing import Any

import numpy as np

ELEMENTARY = {
    f.__name__: f
    for f in (cos, erf, exp, expm1, floor, isfinite, isinf, log, log1p, sin, sqrt, tanh)
}

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772  # Klambauer et al. 2017
ROOT_2_OVER_PI = 0.7978845608028654
ROOT_HALF = 0.7071067811865476


def compiled(
    function: Callable, dtype: str, elementary: dict[str, Callable], compile: Callable
) -> Any:
    """`function` for arguments of one type, made by `compile` (a device's decorator).

    `elementary` replaces functions of `math` by name; formulas of this module that `function` calls
    are compiled too.
    """
    number = np.dtype(dtype).type
    code = function.__code__
    names = dict(elementary)
    for name in code.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, float):
            names[name] = number(value)
        elif isinstance(value, types.FunctionType) and value.__module__ == __name__:
            names[name] = compiled(value, dtype, elementary, compile)
    constants = tuple(number(c) if isinstance(c, float) else c for c in code.co_consts)
    scope = {**function.__globals__, **names}
    return compile(types.FunctionType(code.replace(co_consts=constants), scope, function.__name__))


# Functions of one number x and up to two parameters.


def sigmoid(x):
    return 1.0 / (1.0 + exp(-x))


def softplus(x):
    return log1p(exp(-abs(x))) + (0.0 if x < 0.0 else x)


def _normal_cdf(x):
    return 0.5 * (1.0 + erf(x * ROOT_HALF))


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
    "gelu": lambda x, a, b: x * _normal_cdf(x),
    "gelu_tanh": lambda x, a, b: 0.5 * x * (1.0 + _gelu_inner(x)),
    "hard_sigmoid": lambda x, a, b: _clip(x / 6.0 + 0.5, 0.0, 1.0),
    "hard_silu": lambda x, a, b: x * _clip(x / 6.0 + 0.5, 0.0, 1.0),
    "clip": lambda x, a, b: _clip(x, a, b),
    "isnan": lambda x, a, b: x != x,
    "isinf": lambda x, a, b: isinf(x),
    "isfinite": lambda x, a, b: isfinite(x),
    "logical_not": lambda x, a, b: x == 0.0,
}


# Their derivatives: dx from v, which is x, or y for those that differentiate through their output.


def _gelu_slope(x):
    return _normal_cdf(x) + x * 0.3989422804014327 * exp(-0.5 * x * x)


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
}


# Functions of two numbers of one type.


def _squared_difference(a, b):
    d = a - b
    return d * d


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
}


# Activations in the tail of other kernels, by their id in `ops.conv_spec`.

TAIL: tuple[Callable, ...] = tuple(UNARY[name] for name in ("identity", "relu", "sigmoid", "tanh"))
TAIL_GRADIENT: tuple[Callable, ...] = (
    lambda y, dy, a, b: dy,
    *(UNARY_GRADIENT[name] for name in ("relu", "sigmoid", "tanh")),
)


# Random bits: Philox4x32-10 (Salmon et al. 2011).

WORD = 0xFFFFFFFF
MULTIPLY_0, MULTIPLY_1 = 0xD2511F53, 0xCD9E8D57
WEYL_0, WEYL_1 = 0x9E3779B9, 0xBB67AE85


def philox(c0, c1, c2, c3, k0, k1):
    """Four random 32-bit words from a 128-bit counter and a 64-bit key, all as int64 holding 32
    bits each.

    The high half of a 32 x 32 bit product survives the wrap-around of int64: it is masked after the
    shift.
    """
    for _ in range(10):
        p0, p1 = MULTIPLY_0 * c0, MULTIPLY_1 * c2
        c0 = ((p1 >> 32) & WORD) ^ c1 ^ k0
        c1 = p1 & WORD
        c2 = ((p0 >> 32) & WORD) ^ c3 ^ k1
        c3 = p0 & WORD
        k0, k1 = (k0 + WEYL_0) & WORD, (k1 + WEYL_1) & WORD
    return c0, c1, c2, c3


def dropout_words(group, step, seed, stream):
    """The words that decide elements 4 group .. 4 group + 3 of a dropout layer: key (seed, stream),
    counter (group, step).

    The seed's upper half joins the counter's, so all its 64 bits count.
    """
    return philox(
        group & WORD,
        (group >> 32) & WORD,
        step & WORD,
        (seed >> 32) & WORD,
        seed & WORD,
        stream & WORD,
    )


def keep_limit(keep):
    """An element is kept where its word is at most this."""
    limit = int(keep * 4294967296.0) - 1
    return 0 if limit < 0 else limit
