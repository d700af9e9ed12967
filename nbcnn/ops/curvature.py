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


def _softsign(x: Tensor) -> Tensor:
    return _times(-2.0, unary("sign", x), _power(binary("add", 1.0, unary("abs", x)), -3.0))


def _elu(x: Tensor, alpha: float) -> Tensor:
    return apply(Where(), binary("less", x, 0.0), _times(alpha, unary("exp", x)), 0.0)


# d/dv of what `UnaryGradient` multiplies by; v is x, or y for functions derived through it.
BENDS: dict[str, Callable[[Tensor], Any]] = {
    "sigmoid": lambda y: binary("subtract", 1.0, _times(2.0, y)),
    "tanh": lambda y: _times(-2.0, y),
    "exp": lambda y: 1.0,
    "exp2": lambda y: math.log(2.0),
    "sqrt": lambda y: _times(-0.5, _power(y, -2.0)),
    "rsqrt": lambda y: _times(-1.5, unary("square", y)),
    "reciprocal": lambda y: _times(-2.0, y),
    "square": lambda x: 2.0,
    "log": lambda x: unary("negative", _power(x, -2.0)),
    "log1p": lambda x: unary("negative", _power(binary("add", 1.0, x), -2.0)),
    "expm1": lambda x: unary("exp", x),
    "sin": lambda x: unary("negative", unary("sin", x)),
    "cos": lambda x: unary("negative", unary("cos", x)),
    "softplus": _softplus,
    "softsign": _softsign,
    "silu": _silu,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
}


def curvature(op: UnaryGradient, v: Tensor) -> Any:
    """The derivative of `op`'s factor by v: a tensor, a number, or None where it is zero.

    Raises NotImplementedError for functions whose second derivative is not known.
    """
    if op.function in STRAIGHT:
        return None
    if op.function == "elu":
        return _elu(v, op.alpha)
    if op.function not in BENDS:
        raise NotImplementedError(f"{op.function}: its second derivative is not known here")
    return BENDS[op.function](v)
