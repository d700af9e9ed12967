"""Elementwise operations with broadcasting, and their derivatives.

One op per arity; `function` names a scalar formula in `kernels/scalar.py`, which both devices
compile.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from nbcnn.ops.broadcast import (
    MAX_RANK,
    BroadcastSpec,
    FlatSpec,
    RowSumSpec,
    WhereSpec,
    broadcast_spec,
    where_spec,
)
from nbcnn.ops.op import Op, apply, as_tensor, result_dtype
from nbcnn.ops.tensor import Node, Tensor, TensorSpec

COMPARISONS = {
    "equal",
    "not_equal",
    "greater",
    "greater_equal",
    "less",
    "less_equal",
    "logical_and",
    "logical_or",
}
PREDICATES = {"isnan", "isinf", "isfinite", "logical_not", "signbit"}
INTEGERS = {"bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift", "gcd"}
FLOATS = {"divide", "arctan2", "hypot", "logaddexp"}  # these give floats for integers, too
# Functions of integers that stay integers; the others give floats.
INTEGER_UNARY = {"negative", "abs", "sign", "square", "relu", "identity", "bitwise_not"}


@dataclasses.dataclass(frozen=True)
class Unary(Op):
    """y[i] = f(x[i])."""

    name = "unary"
    function: str
    alpha: float = 0.0  # parameter of functions that have one (leaky_relu, elu, ...)
    beta: float = 0.0

    def infer(self, x: TensorSpec) -> tuple[TensorSpec]:
        if self.function in PREDICATES:
            return (TensorSpec(x.shape, "bool"),)
        integral = np.dtype(x.dtype).kind != "f" and self.function not in INTEGER_UNARY
        return (TensorSpec(x.shape, "float32" if integral else x.dtype),)

    def spec(self, x: TensorSpec) -> FlatSpec:
        return FlatSpec(x.size)

    def gradient(self, node: Node, *dys: Tensor | None):
        (dy,) = dys
        if dy is None or self.function not in DERIVATIVES:
            return [None]
        return [DERIVATIVES[self.function](node.inputs[0], node.outputs[0], dy, self)]

    def flops(self, x: TensorSpec) -> int:
        return x.size


@dataclasses.dataclass(frozen=True)
class UnaryGradient(Op):
    """dx[i] = dy[i] * f'(v[i]), where v is x, or y for functions that differentiate through their
    output.
    """

    name = "unary_dx"
    function: str
    alpha: float = 0.0
    beta: float = 0.0

    def infer(self, v: TensorSpec, dy: TensorSpec) -> tuple[TensorSpec]:
        return (dy,)

    def spec(self, v: TensorSpec, dy: TensorSpec) -> FlatSpec:
        return FlatSpec(dy.size)

    def gradient(self, node: Node, *dys: Tensor | None):
        from nbcnn.ops.curvature import curvature

        (v, dy), (g,) = node.inputs, dys
        bend = curvature(self, v)
        by_v = None if bend is None else binary("multiply", binary("multiply", g, dy), bend)
        return [by_v, apply(self, v, g)]

    def flops(self, v: TensorSpec, dy: TensorSpec) -> int:
        return 2 * dy.size


@dataclasses.dataclass(frozen=True)
class UnaryGradientSum(UnaryGradient):
    """`UnaryGradient`, and the sum of dx over all axes but the last: a layer's bias gradient in the
    same pass.

    Inputs v, dy; outputs dx, db. Fusion puts it where gradients have been taken.
    """

    name = "unary_dx_sum"
    gradient = Op.gradient

    def infer(self, v: TensorSpec, dy: TensorSpec) -> tuple[TensorSpec, ...]:
        return (dy, TensorSpec(dy.shape[-1:], dy.dtype))

    def spec(self, v: TensorSpec, dy: TensorSpec) -> RowSumSpec:
        return RowSumSpec(dy.size // max(dy.shape[-1], 1), dy.shape[-1])

    def flops(self, v: TensorSpec, dy: TensorSpec) -> int:
        return 3 * dy.size


def _through_output(x: Tensor, y: Tensor, dy: Tensor, op: Unary) -> Tensor:
    return apply(UnaryGradient(op.function, op.alpha, op.beta), y, dy)


def _through_input(x: Tensor, y: Tensor, dy: Tensor, op: Unary) -> Tensor:
    return apply(UnaryGradient(op.function, op.alpha, op.beta), x, dy)


# How each function differentiates. Those through the output let the input's memory go.
DERIVATIVES: dict[str, Callable[[Tensor, Tensor, Tensor, Unary], Tensor]] = {
    "identity": lambda x, y, dy, op: dy,
    "round_bfloat16": lambda x, y, dy, op: dy,
    "negative": lambda x, y, dy, op: apply(Unary("negative"), dy),
    **dict.fromkeys(
        (
            "relu", "sigmoid", "tanh", "exp", "sqrt", "rsqrt", "reciprocal", "tan", "cbrt",
            "erfinv", "exp2", "relu6",
        ),
        _through_output,
    ),
    **dict.fromkeys(
        (
            "abs", "square", "log", "log1p", "expm1", "sin", "cos", "softplus", "softsign", "silu",
            "gelu", "gelu_tanh", "erf", "elu", "selu", "leaky_relu", "hard_sigmoid",
            "hard_silu", "mish", "clip", "arccos", "arccosh", "arcsin", "arcsinh", "arctan",
            "arctanh", "cosh", "sinh", "erfc", "log2", "log10", "celu", "hard_shrink",
            "soft_shrink", "sparse_plus", "squareplus", "tanh_shrink",
        ),
        _through_input,
    ),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Binary(Op):
    """y = act(f(a, b)) with NumPy's broadcasting.

    `act`: a function of `Unary`, with its parameters, that a fusion has put here; floats only.
    """

    name = "binary"
    function: str
    act: str = ""
    alpha: float = 0.0
    beta: float = 0.0

    def infer(self, a: TensorSpec, b: TensorSpec) -> tuple[TensorSpec]:
        try:
            shape = np.broadcast_shapes(a.shape, b.shape)
        except ValueError:
            raise ValueError(
                f"{self.function}: shapes {a.shape} and {b.shape} do not broadcast"
            ) from None
        if len(shape) > MAX_RANK:
            raise ValueError(
                f"{self.function}: at most {MAX_RANK} axes, got shapes {a.shape} and {b.shape}"
            )
        if self.function in COMPARISONS:
            return (TensorSpec(shape, "bool"),)
        dtype = result_dtype(a.dtype, b.dtype)
        if self.function in INTEGERS and np.dtype(dtype).kind not in "iub":
            raise TypeError(
                f"{self.function}: operands must be integers or booleans, "
                f"got {a.dtype} and {b.dtype}"
            )
        if self.function in FLOATS and np.dtype(dtype).kind != "f":
            dtype = "float32"
        return (TensorSpec(shape, dtype),)

    def spec(self, a: TensorSpec, b: TensorSpec) -> FlatSpec | BroadcastSpec:
        if a.shape == b.shape:
            return FlatSpec(a.size)
        return broadcast_spec(a.shape, b.shape)

    def gradient(self, node: Node, *dys: Tensor | None):
        (dy,) = dys
        a, b = node.inputs
        assert not self.act  # fusions follow differentiation
        if self.function not in BINARY_DERIVATIVES:
            return [None, None]
        da, db = BINARY_DERIVATIVES[self.function](a, b, node.outputs[0], dy)
        return [_reduced_to(da, a), _reduced_to(db, b)]

    def flops(self, a: TensorSpec, b: TensorSpec) -> int:
        return int(np.prod(np.broadcast_shapes(a.shape, b.shape), dtype=np.int64))


def binary(function: str, a: Any, b: Any) -> Any:
    return apply(Binary(function), a, b)


def unary(function: str, x: Any, alpha: float = 0.0, beta: float = 0.0) -> Any:
    return apply(Unary(function, float(alpha), float(beta)), x)


def _masked(condition: Tensor, dy: Tensor) -> Tensor:
    return apply(Where(), condition, dy, 0.0)


def _arctan2_gradient(a: Tensor, b: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
    scaled = binary("divide", dy, binary("add", unary("square", a), unary("square", b)))
    return binary("multiply", scaled, b), unary("negative", binary("multiply", scaled, a))


BINARY_DERIVATIVES: dict[str, Callable] = {
    "add": lambda a, b, y, dy: (dy, dy),
    "subtract": lambda a, b, y, dy: (dy, unary("negative", dy)),
    "multiply": lambda a, b, y, dy: (binary("multiply", dy, b), binary("multiply", dy, a)),
    "divide": lambda a, b, y, dy: (
        binary("divide", dy, b),
        unary("negative", binary("divide", binary("multiply", dy, y), b)),
    ),
    "maximum": lambda a, b, y, dy: (
        _masked(binary("greater_equal", a, b), dy),
        _masked(binary("less", a, b), dy),
    ),
    "minimum": lambda a, b, y, dy: (
        _masked(binary("less_equal", a, b), dy),
        _masked(binary("greater", a, b), dy),
    ),
    "power": lambda a, b, y, dy: (
        binary(
            "multiply", dy, binary("multiply", b, binary("power", a, binary("subtract", b, 1.0)))
        ),
        binary("multiply", dy, binary("multiply", y, unary("log", a))),
    ),
    "mod": lambda a, b, y, dy: (
        dy,
        unary("negative", binary("multiply", dy, unary("floor", binary("divide", a, b)))),
    ),
    "fmod": lambda a, b, y, dy: (
        dy,
        unary("negative", binary("multiply", dy, unary("trunc", binary("divide", a, b)))),
    ),
    "arctan2": lambda a, b, y, dy: _arctan2_gradient(a, b, dy),
    "hypot": lambda a, b, y, dy: (
        binary("multiply", dy, binary("divide", a, y)),
        binary("multiply", dy, binary("divide", b, y)),
    ),
    "logaddexp": lambda a, b, y, dy: (
        binary("multiply", dy, unary("exp", binary("subtract", a, y))),
        binary("multiply", dy, unary("exp", binary("subtract", b, y))),
    ),
    "squared_difference": lambda a, b, y, dy: (
        binary("multiply", dy, binary("multiply", 2.0, binary("subtract", a, b))),
        binary("multiply", dy, binary("multiply", 2.0, binary("subtract", b, a))),
    ),
}


@dataclasses.dataclass(frozen=True)
class Where(Op):
    """y = a where the condition holds, else b; all three broadcast against each other."""

    name = "where"

    def infer(self, condition: TensorSpec, a: TensorSpec, b: TensorSpec) -> tuple[TensorSpec]:
        try:
            shape = np.broadcast_shapes(condition.shape, a.shape, b.shape)
        except ValueError:
            raise ValueError(
                f"where: shapes {condition.shape}, {a.shape} and {b.shape} do not broadcast"
            ) from None
        return (TensorSpec(shape, result_dtype(a.dtype, b.dtype)),)

    def spec(self, condition: TensorSpec, a: TensorSpec, b: TensorSpec) -> WhereSpec:
        return where_spec(condition.shape, a.shape, b.shape)

    def gradient(self, node: Node, *dys: Tensor | None):
        (dy,) = dys
        condition, a, b = node.inputs
        da = apply(Where(), condition, dy, 0.0)
        db = apply(Where(), condition, 0.0, dy)
        return [None, _reduced_to(da, a), _reduced_to(db, b)]


@dataclasses.dataclass(frozen=True)
class Cast(Op):
    """y[i] = x[i] converted to another data type."""

    name = "cast"
    dtype: str

    def infer(self, x: TensorSpec) -> tuple[TensorSpec]:
        return (TensorSpec(x.shape, self.dtype),)

    def spec(self, x: TensorSpec) -> FlatSpec:
        return FlatSpec(x.size)

    def gradient(self, node: Node, *dys: Tensor | None):
        (dy,) = dys
        x = node.inputs[0]
        if dy is None or np.dtype(x.dtype).kind != "f":
            return [None]
        return [dy if dy.dtype == x.dtype else apply(Cast(x.dtype), dy)]


def of_one_type(*values: Any, floats: bool = False) -> list[Any]:
    """The values in their common type, for operations whose kernels read all of them as one;
    `floats`: not in an integer type.
    """
    types = [as_tensor(value).dtype for value in values]
    dtype = result_dtype(*types)
    if floats and np.dtype(dtype).kind != "f":
        dtype = "float32"
    return [v if t == dtype else apply(Cast(dtype), v) for v, t in zip(values, types)]


@dataclasses.dataclass(frozen=True)
class StopGradient(Op):
    """y = x, through which no gradient flows. An alias: it costs nothing."""

    name = "stop_gradient"

    def infer(self, x: TensorSpec) -> tuple[TensorSpec]:
        return (x,)

    def spec(self, x: TensorSpec) -> FlatSpec:
        return FlatSpec(x.size)


def _reduced_to(gradient: Tensor | None, like: Tensor) -> Tensor | None:
    """Sum a gradient over the axes along which `like` was broadcast, and give it the dtype of
    `like`.
    """
    from nbcnn.ops.reduce import sum_to_shape

    if gradient is None or np.dtype(like.dtype).kind != "f":
        return None
    gradient = sum_to_shape(gradient, like.shape)
    return gradient if gradient.dtype == like.dtype else apply(Cast(like.dtype), gradient)
