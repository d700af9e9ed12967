"""Second derivatives of elementwise functions, for gradients of gradients."""

import math
from collections.abc import Callable
from typing import Any

from nbcnn.ops.elementwise import UnaryGradient, Where, binary, unary
from nbcnn.ops.op import apply
from nbcnn.ops.tensor import Tensor

# Made of straight pieces.
STRAIGHT = frozenset(
    ["relu", "leaky_relu", "relu6", "abs", "clip", "hard_sigmoid", "hard_shrink", "soft_shrink"]
)


def _times(*factors: Any) -> Any:
    product = factors[0]
    for factor in factors[1:]:
        product = binary("multiply", product, factor)
    return product


def _power(x: Tensor, exponent: float) -> Tensor:
    return binary("power", x, exponent)


def _softplus(x: Tensor) -> Tensor:
    s = unary("sigmoid", x)
    return _times(s, binary("subtract", 1.0, s))


def _silu(x: Tensor) -> Tensor:
    s = unary("sigmoid", x)
    inner = binary("add", 2.0, _times(x, binary("subtract", 1.0, _times(2.0, s))))
    return _times(s, binary("subtract", 1.0, s), inner)


def _gelu(x: Tensor) -> Tensor:
    bell = _times(unary("exp", _times(-0.5, unary("square", x))), 1 / math.sqrt(2 * math.pi))
    return _times(bell, binary("subtract", 2.0, unary("square", x)))


def _gelu_tanh(x: Tensor) -> Tensor:
    """Of x (1 + tanh u) / 2 with u = c (x + a x^3)."""
    c, a = math.sqrt(2 / math.pi), 0.044715
    squared = unary("square", x)
    t = unary("tanh", _times(c, x, binary("add", 1.0, _times(a, squared))))
    slope = _times(c, binary("add", 1.0, _times(3 * a, squared)))
    bend = _times(3 * a * c, squared)  # x / 2 times the second derivative of u
    inner = binary("subtract", bend, _times(x, t, unary("square", slope)))
    return _times(binary("subtract", 1.0, unary("square", t)), binary("add", slope, inner))


def _mish(x: Tensor) -> Tensor:
    """Of x tanh(softplus(x))."""
    s, t = unary("sigmoid", x), unary("tanh", unary("softplus", x))
    inner = binary("subtract", binary("subtract", 1.0, s), _times(2.0, t, s))
    bracket = binary("add", 2.0, _times(x, inner))
    return _times(binary("subtract", 1.0, unary("square", t)), s, bracket)


def _softsign(x: Tensor) -> Tensor:
    return _times(-2.0, unary("sign", x), _power(binary("add", 1.0, unary("abs", x)), -3.0))


def _below_zero(x: Tensor, scale: float, width: float = 1.0) -> Tensor:
    """scale exp(x / width) where x is negative, else 0."""
    value = _times(scale, unary("exp", _times(1 / width, x)))
    return apply(Where(), binary("less", x, 0.0), value, 0.0)


def _within(x: Tensor, limit: float, value: float) -> Tensor:
    return apply(Where(), binary("less", unary("abs", x), limit), value, 0.0)


def _root(x: Tensor, sign: float, shift: float) -> Tensor:
    """(sign x^2 + shift)^-1.5"""
    return _power(binary("add", _times(sign, unary("square", x)), shift), -1.5)


def _bell(x: Tensor, scale: float) -> Tensor:
    return _times(scale, x, unary("exp", unary("negative", unary("square", x))))


def _of_tanh(x: Tensor) -> Tensor:
    t = unary("tanh", x)
    return _times(2.0, t, binary("subtract", 1.0, unary("square", t)))


SELU = 1.0507009873554805 * 1.6732632423543772

# d/dv of what `UnaryGradient` multiplies by; v is x, or y for functions derived through it, and a
# the function's parameter.
BENDS: dict[str, Callable[[Tensor, float], Any]] = {
    "sigmoid": lambda y, a: binary("subtract", 1.0, _times(2.0, y)),
    "tanh": lambda y, a: _times(-2.0, y),
    "exp": lambda y, a: 1.0,
    "exp2": lambda y, a: math.log(2.0),
    "sqrt": lambda y, a: _times(-0.5, _power(y, -2.0)),
    "rsqrt": lambda y, a: _times(-1.5, unary("square", y)),
    "reciprocal": lambda y, a: _times(-2.0, y),
    "tan": lambda y, a: _times(2.0, y),
    "cbrt": lambda y, a: _times(-2 / 3, unary("reciprocal", _times(y, y, y))),
    "erfinv": lambda y, a: _times(math.sqrt(math.pi), y, unary("exp", unary("square", y))),
    "square": lambda x, a: 2.0,
    "log": lambda x, a: unary("negative", _power(x, -2.0)),
    "log2": lambda x, a: _times(-1 / math.log(2.0), _power(x, -2.0)),
    "log10": lambda x, a: _times(-1 / math.log(10.0), _power(x, -2.0)),
    "log1p": lambda x, a: unary("negative", _power(binary("add", 1.0, x), -2.0)),
    "expm1": lambda x, a: unary("exp", x),
    "sin": lambda x, a: unary("negative", unary("sin", x)),
    "cos": lambda x, a: unary("negative", unary("cos", x)),
    "sinh": lambda x, a: unary("sinh", x),
    "cosh": lambda x, a: unary("cosh", x),
    "arcsin": lambda x, a: _times(x, _root(x, -1.0, 1.0)),
    "arccos": lambda x, a: _times(-1.0, x, _root(x, -1.0, 1.0)),
    "arcsinh": lambda x, a: _times(-1.0, x, _root(x, 1.0, 1.0)),
    "arccosh": lambda x, a: _times(-1.0, x, _root(x, 1.0, -1.0)),
    "arctan": lambda x, a: _times(-2.0, x, _power(binary("add", 1.0, unary("square", x)), -2.0)),
    "arctanh": lambda x, a: _times(
        2.0, x, _power(binary("subtract", 1.0, unary("square", x)), -2.0)
    ),
    "erf": lambda x, a: _bell(x, -4 / math.sqrt(math.pi)),
    "erfc": lambda x, a: _bell(x, 4 / math.sqrt(math.pi)),
    "softplus": lambda x, a: _softplus(x),
    "softsign": lambda x, a: _softsign(x),
    "silu": lambda x, a: _silu(x),
    "gelu": lambda x, a: _gelu(x),
    "gelu_tanh": lambda x, a: _gelu_tanh(x),
    "mish": lambda x, a: _mish(x),
    "elu": _below_zero,
    "selu": lambda x, a: _below_zero(x, SELU),
    "celu": lambda x, a: _below_zero(x, 1 / a, a),
    "hard_silu": lambda x, a: _within(x, 3.0, 1 / 3),
    "sparse_plus": lambda x, a: _within(x, 1.0, 0.5),
    "squareplus": lambda x, a: _times(a / 2, _root(x, 1.0, a)),
    "tanh_shrink": lambda x, a: _of_tanh(x),
}


def curvature(op: UnaryGradient, v: Tensor) -> Any:
    """The derivative of `op`'s factor by v: a tensor, a number, or None where it is zero."""
    return None if op.function in STRAIGHT else BENDS[op.function](v, op.alpha)
