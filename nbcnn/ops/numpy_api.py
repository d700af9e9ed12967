"""The NumPy-like part of the public `nbcnn.ops`, with Keras's names and arguments.

Every function takes symbolic tensors, variables, arrays or numbers. With only arrays it computes
now and returns an array; with any symbolic tensor it returns a symbolic tensor.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn.ops.bfloat16 import rounded
from nbcnn.ops.dense import matmul
from nbcnn.ops.elementwise import Cast, StopGradient, Where, binary, unary
from nbcnn.ops.op import apply, as_tensor
from nbcnn.ops.reduce import argreduce, normalize_axes, reduce
from nbcnn.ops.shape import (
    Concat,
    ExpandDims,
    Pad,
    Slice,
    Transpose,
    broadcast_to,
    reshape,
    squeeze,
)
from nbcnn.ops.tensor import Constant, Tensor

Axis = int | Sequence[int] | None


def _unary(function: str, doc: str):
    def op(x: Any) -> Any:
        return unary(function, x)

    op.__name__ = op.__qualname__ = function
    op.__doc__ = doc
    return op


def _binary(function: str, doc: str):
    def op(x1: Any, x2: Any) -> Any:
        return binary(function, x1, x2)

    op.__name__ = op.__qualname__ = function
    op.__doc__ = doc + " Shapes broadcast."
    return op


abs = absolute = _unary("abs", "|x|, elementwise.")
negative = _unary("negative", "-x, elementwise.")
sign = _unary("sign", "-1, 0 or 1, elementwise.")
square = _unary("square", "x * x, elementwise.")
sqrt = _unary("sqrt", "Square root, elementwise; NaN for negative x.")
rsqrt = _unary("rsqrt", "1 / sqrt(x), elementwise.")
reciprocal = _unary("reciprocal", "1 / x, elementwise.")
exp = _unary("exp", "e to the power x, elementwise.")
expm1 = _unary("expm1", "exp(x) - 1 without cancellation, elementwise.")
log = _unary("log", "Natural logarithm, elementwise.")
log1p = _unary("log1p", "log(1 + x) without cancellation, elementwise.")
sin = _unary("sin", "Sine of x in radians, elementwise.")
cos = _unary("cos", "Cosine of x in radians, elementwise.")
tanh = _unary("tanh", "Hyperbolic tangent, elementwise.")
erf = _unary("erf", "Error function, elementwise.")
floor = _unary("floor", "Largest integer not above x, elementwise.")
ceil = _unary("ceil", "Smallest integer not below x, elementwise.")
round = _unary("round", "Nearest integer, halves to even, elementwise.")
isnan = _unary("isnan", "Whether x is NaN, elementwise.")
isinf = _unary("isinf", "Whether x is infinite, elementwise.")
isfinite = _unary("isfinite", "Whether x is neither NaN nor infinite, elementwise.")
logical_not = _unary("logical_not", "Whether x is false, elementwise.")

add = _binary("add", "x1 + x2.")
subtract = _binary("subtract", "x1 - x2.")
multiply = _binary("multiply", "x1 * x2.")
divide = true_divide = _binary("divide", "x1 / x2.")
maximum = _binary("maximum", "The larger of x1 and x2; NaN wins.")
minimum = _binary("minimum", "The smaller of x1 and x2; NaN wins.")
power = _binary("power", "x1 to the power x2.")
floor_divide = _binary("floor_divide", "floor(x1 / x2).")
mod = _binary("mod", "Remainder with the sign of x2.")
equal = _binary("equal", "x1 == x2, as bool.")
not_equal = _binary("not_equal", "x1 != x2, as bool.")
greater = _binary("greater", "x1 > x2, as bool.")
greater_equal = _binary("greater_equal", "x1 >= x2, as bool.")
less = _binary("less", "x1 < x2, as bool.")
less_equal = _binary("less_equal", "x1 <= x2, as bool.")
logical_and = _binary("logical_and", "Whether both are true.")
logical_or = _binary("logical_or", "Whether either is true.")


def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Sum over `axis` (None: over all)."""
    return reduce("sum", x, axis, keepdims)


def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Arithmetic mean over `axis` (None: over all)."""
    return reduce("mean", x, axis, keepdims)


def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Largest value over `axis` (None: over all). Its gradient is shared among equal values."""
    return reduce("max", x, axis, keepdims)


def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Smallest value over `axis` (None: over all)."""
    return reduce("min", x, axis, keepdims)


def prod(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Product over `axis` (None: over all)."""
    return reduce("prod", x, axis, keepdims)


def var(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Variance over `axis`, divided by the number of values."""
    centered = subtract(x, mean(x, axis, keepdims=True))
    return mean(square(centered), axis, keepdims)


def std(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Standard deviation over `axis`: the root of `var`."""
    return sqrt(var(x, axis, keepdims))


def any(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Whether any value over `axis` is true."""
    return cast(max(cast(x, "int32"), axis, keepdims), "bool")


def all(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Whether all values over `axis` are true."""
    return cast(min(cast(cast(x, "bool"), "int32"), axis, keepdims), "bool")


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Index (int32) of the first largest value along `axis` (None: of the flattened array)."""
    return argreduce("argmax", x, axis, keepdims)


def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Index (int32) of the first smallest value along `axis` (None: of the flattened array)."""
    return argreduce("argmin", x, axis, keepdims)


def norm(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Euclidean norm over `axis`."""
    return sqrt(sum(square(x), axis, keepdims))


def clip(x: Any, x_min: float, x_max: float) -> Any:
    """x limited to [x_min, x_max]; no gradient outside. The limits are numbers."""
    if isinstance(x_min, Tensor) or isinstance(x_max, Tensor):
        return minimum(maximum(x, x_min), x_max)
    return unary("clip", x, float(x_min), float(x_max))


def where(condition: Any, x1: Any, x2: Any) -> Any:
    """x1 where the condition holds, else x2. Shapes broadcast."""
    return apply(Where(), cast(condition, "bool"), x1, x2)


def cast(x: Any, dtype: str) -> Any:
    """x converted to `dtype` ('float32', 'float64', 'int32', 'bool', ...).

    'bfloat16': rounded to the nearest number of that type, which is kept as a float32.
    """
    if dtype == "bfloat16":
        return rounded(cast(x, "float32"))
    name = np.dtype(dtype).name
    if not isinstance(x, Tensor) and not hasattr(x, "symbol"):
        return np.asarray(x).astype(name)
    return x if x.dtype == name else apply(Cast(name), x)


def stop_gradient(x: Any) -> Any:
    """x, through which no gradient flows."""
    return apply(StopGradient(), x)


def shape(x: Any) -> tuple[int | None, ...]:
    """The shape as a tuple; None where a size is not known yet."""
    return tuple(as_tensor(x).shape)


def transpose(x: Any, axes: Sequence[int] | None = None) -> Any:
    """Axes permuted to the order `axes` (None: reversed)."""
    rank = len(shape(x))
    order = tuple(reversed(range(rank))) if axes is None else tuple(int(a) % rank for a in axes)
    return apply(Transpose(order), x)


def moveaxis(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Any:
    """Axes `source` moved to positions `destination`, the others kept in order."""
    rank = len(shape(x))
    sources = [a % rank for a in ([source] if isinstance(source, int) else source)]
    targets = [a % rank for a in ([destination] if isinstance(destination, int) else destination)]
    order = [a for a in range(rank) if a not in sources]
    for target, origin in sorted(zip(targets, sources)):
        order.insert(target, origin)
    return transpose(x, order)


def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Two axes exchanged."""
    order = list(range(len(shape(x))))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return transpose(x, order)


def expand_dims(x: Any, axis: int | Sequence[int]) -> Any:
    """A new axis of size 1 at position `axis` of the result; or several."""
    axes = [axis] if isinstance(axis, (int, np.integer)) else list(axis)
    for place in normalize_axes(axes, len(shape(x)) + len(axes), "expand_dims"):
        x = apply(ExpandDims(place), x)
    return x


def ravel(x: Any) -> Any:
    """All values in one axis."""
    return reshape(x, (-1,))


def concatenate(xs: Sequence[Any], axis: int = -1) -> Any:
    """Arrays joined along `axis`; all other sizes must agree."""
    tensors = list(xs)
    if not tensors:
        raise ValueError("concatenate: needs at least one array")
    (normal,) = normalize_axes(axis, len(shape(tensors[0])), "concatenate")
    return apply(Concat(normal), *tensors)


def stack(x: Sequence[Any], axis: int = 0) -> Any:
    """Arrays of one shape joined along a new axis."""
    return concatenate([expand_dims(one, axis) for one in x], axis)


def split(x: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Any]:
    """Equal sections (an int), or parts between the given indices, along `axis`."""
    (normal,) = normalize_axes(axis, len(shape(x)), "split")
    size = shape(x)[normal]
    if size is None:
        raise ValueError("split: the size of the split axis must be known")
    if isinstance(indices_or_sections, int):
        if size % indices_or_sections:
            raise ValueError(
                f"split: {size} values along axis {axis} cannot be split "
                f"into {indices_or_sections} equal parts"
            )
        bounds = list(range(0, size + 1, size // indices_or_sections))
    else:
        bounds = [0, *indices_or_sections, size]
    return [slice_axis(x, normal, a, b) for a, b in itertools.pairwise(bounds)]


def slice_axis(
    x: Any, axis: int, start: int | None, stop: int | None, step: int | None = None
) -> Any:
    """x[..., start:stop:step, ...] along one axis."""
    rank = len(shape(x))
    whole: tuple[int | None, int | None, int | None] = (None, None, None)
    ranges = [whole] * rank
    ranges[axis % rank] = (start, stop, step)
    return apply(Slice(tuple(ranges)), x)


def flip(x: Any, axis: Axis = None) -> Any:
    """Order of values reversed along `axis` (None: all axes)."""
    rank = len(shape(x))
    axes = normalize_axes(axis, rank, "flip")
    ranges = tuple((None, None, -1) if a in axes else (None, None, None) for a in range(rank))
    return apply(Slice(ranges), x)


def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: float = 0.0) -> Any:
    """Padding before and after each axis: an int, a pair, or a pair per axis.

    Only mode 'constant'.
    """
    if mode != "constant":
        raise ValueError(f"pad: mode must be 'constant', got {mode!r}")
    widths = np.broadcast_to(np.asarray(pad_width, dtype=np.int64), (len(shape(x)), 2))
    if (widths < 0).any():
        raise ValueError(f"pad: pad_width must not be negative, got {pad_width}")
    return apply(Pad(tuple((int(a), int(b)) for a, b in widths), float(constant_values or 0.0)), x)


def one_hot(x: Any, num_classes: int, axis: int = -1, dtype: str = "float32") -> Any:
    """1 at the class number, 0 elsewhere, along a new axis; all 0 for numbers out of range."""
    labels = as_tensor(x)
    rank = labels.ndim + 1
    sizes = [1] * rank
    sizes[axis % rank] = num_classes
    classes = np.arange(num_classes, dtype=labels.dtype).reshape(sizes)
    return cast(equal(expand_dims(x, axis % rank), Constant(classes)), dtype)


def zeros(shape: Sequence[int], dtype: str = "float32") -> np.ndarray:
    """An array of zeros."""
    return np.zeros(shape, dtype)


def ones(shape: Sequence[int], dtype: str = "float32") -> np.ndarray:
    """An array of ones."""
    return np.ones(shape, dtype)


def zeros_like(x: Any) -> Any:
    """Zeros in the shape and dtype of x."""
    return multiply(x, 0.0) if isinstance(x, Tensor) else np.zeros_like(np.asarray(x))


def ones_like(x: Any) -> Any:
    """Ones in the shape and dtype of x."""
    return add(zeros_like(x), 1) if isinstance(x, Tensor) else np.ones_like(np.asarray(x))


def arange(
    start: float, stop: float | None = None, step: float = 1, dtype: str | None = None
) -> np.ndarray:
    """Evenly spaced values in [start, stop)."""
    values = np.arange(start, stop, step) if stop is not None else np.arange(0, start, step)
    return values.astype(dtype or ("int32" if values.dtype.kind == "i" else "float32"))


def convert_to_tensor(x: Any, dtype: str | None = None) -> Any:
    """An array of x (or x itself where it is symbolic), converted to `dtype` where one is given."""
    value = x if isinstance(x, Tensor) or hasattr(x, "symbol") else as_tensor(x).value  # type: ignore[attr-defined]
    return value if dtype is None else cast(value, dtype)


def convert_to_numpy(x: Any) -> np.ndarray:
    """A NumPy array of a variable or an array-like."""
    return x.numpy() if hasattr(x, "numpy") else np.asarray(x)


def is_tensor(x: Any) -> bool:
    """Whether x is a symbolic tensor or an array."""
    return isinstance(x, (Tensor, np.ndarray))


__all__ = [
    "abs", "absolute", "add", "all", "any", "arange", "argmax", "argmin", "broadcast_to", "cast",
    "ceil", "clip", "concatenate", "convert_to_numpy", "convert_to_tensor", "cos", "divide",
    "equal", "erf", "exp", "expand_dims", "expm1", "flip", "floor", "floor_divide", "greater",
    "greater_equal", "is_tensor", "isfinite", "isinf", "isnan", "less", "less_equal",
    "log", "log1p", "logical_and", "logical_not", "logical_or", "matmul", "max", "maximum", "mean",
    "min", "minimum", "mod", "moveaxis", "multiply", "negative", "norm", "not_equal", "one_hot",
    "ones", "ones_like", "pad", "power", "prod", "ravel", "reciprocal", "reshape", "round", "rsqrt",
    "shape", "sign", "sin", "slice_axis", "split", "sqrt", "square", "squeeze", "stack", "std",
    "stop_gradient", "subtract", "sum", "swapaxes", "tanh", "transpose", "true_divide", "var",
    "where", "zeros", "zeros_like",
]  # fmt: skip
