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
from nbcnn.ops.host_array import hosted
from nbcnn.ops.op import apply, as_tensor
from nbcnn.ops.reduce import argreduce, normalize_axes, ordered_axes, reduce
from nbcnn.ops.shape import (
    Concat,
    ExpandDims,
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
nearest = _unary("round", "Nearest integer, halves to even, elementwise.")
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


def round(x: Any, decimals: int = 0) -> Any:
    """x to so many decimals, halves to even, elementwise."""
    if decimals == 0:
        return nearest(x)
    scale = 10.0**decimals
    return divide(nearest(multiply(x, scale)), scale)


def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Sum over `axis` (None: over all)."""
    return reduce("sum", x, axis, keepdims)


def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Arithmetic mean over `axis` (None: over all)."""
    return reduce("mean", x, axis, keepdims)


def max(x: Any, axis: Axis = None, keepdims: bool = False, initial: Any = None) -> Any:
    """Largest value over `axis` (None: over all), and of `initial`. Its gradient is shared among
    equal values.
    """
    return _extreme("max", maximum, x, axis, keepdims, initial)


def min(x: Any, axis: Axis = None, keepdims: bool = False, initial: Any = None) -> Any:
    """Smallest value over `axis` (None: over all), and of `initial`."""
    return _extreme("min", minimum, x, axis, keepdims, initial)


def _extreme(function: str, join: Any, x: Any, axis: Axis, keepdims: bool, initial: Any) -> Any:
    if initial is None:
        return reduce(function, x, axis, keepdims)
    sizes = shape(x)
    axes = normalize_axes(axis, len(sizes), function)
    if 0 in [sizes[a] for a in axes]:  # nothing but the initial value
        kept = [1 if a in axes else n for a, n in enumerate(sizes) if keepdims or a not in axes]
        return broadcast_to(cast(initial, dtype_of(x)), tuple(kept))
    return join(reduce(function, x, axis, keepdims), cast(initial, dtype_of(x)))


def prod(x: Any, axis: Axis = None, keepdims: bool = False, dtype: str | None = None) -> Any:
    """Product over `axis` (None: over all), in `dtype` where one is given."""
    return reduce("prod", x if dtype is None else cast(x, dtype), axis, keepdims)


def var(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Variance over `axis`, divided by the number of values."""
    centered = subtract(x, mean(x, axis, keepdims=True))
    return mean(square(centered), axis, keepdims)


def std(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Standard deviation over `axis`: the root of `var`."""
    return sqrt(var(x, axis, keepdims))


def any(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Whether any value over `axis` is true."""
    return _truths(max, x, axis, keepdims, 0)


def all(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Whether all values over `axis` are true."""
    return _truths(min, x, axis, keepdims, 1)


def _truths(extreme: Any, x: Any, axis: Axis, keepdims: bool, of_none: int) -> Any:
    numbers = cast(cast(x, "bool"), "int32")  # 0.5 is true, and would be cut to 0
    initial = of_none if 0 in shape(numbers) else None
    return cast(extreme(numbers, axis, keepdims, initial), "bool")


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Index (int32) of the first largest value along `axis` (None: of the flattened array)."""
    return argreduce("argmax", x, axis, keepdims)


def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Index (int32) of the first smallest value along `axis` (None: of the flattened array)."""
    return argreduce("argmin", x, axis, keepdims)


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """Norms of vectors along `axis`, or of matrices along two axes; None: of all of x.

    ord: of vectors inf, -inf, 0 or p: (sum |x|^p)^(1/p); of matrices 'fro', inf, -inf, 1, -1, or,
    of arrays only and without gradient, 'nuc', 2, -2; None: the root of the sum of squares.
    """
    from nbcnn.ops import linear_api

    return linear_api.norm(x, ord, axis, keepdims)


def clip(x: Any, x_min: Any, x_max: Any) -> Any:
    """x limited to [x_min, x_max]; no gradient outside. Limits that are arrays broadcast; None: no
    limit.
    """
    numbers = (int, float, np.number)
    floats = np.dtype(dtype_of(x)).kind == "f"
    if floats and isinstance(x_min, numbers) and isinstance(x_max, numbers):
        return unary("clip", x, float(x_min), float(x_max))
    y = x if x_min is None else maximum(x, x_min)
    return y if x_max is None else minimum(y, x_max)


def where(condition: Any, x1: Any = None, x2: Any = None) -> Any:
    """x1 where the condition holds, else x2. Shapes broadcast.

    Without x1 and x2: the indices where an array is true, as `nonzero`.
    """
    if (x1 is None) != (x2 is None):
        raise ValueError("where: x1 and x2 must both be given, or neither")
    if x1 is None:
        from nbcnn.ops.host import nonzero

        return nonzero(condition)
    numbers = (bool, int, float)
    if isinstance(x1, numbers) != isinstance(x2, numbers):  # a number takes the other's type
        x1 = as_tensor(x1, as_tensor(x2)) if isinstance(x1, numbers) else x1
        x2 = as_tensor(x2, as_tensor(x1)) if isinstance(x2, numbers) else x2
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


def dtype_of(x: Any) -> str:
    """The name of the dtype of x."""
    return as_tensor(x).dtype


dtype = dtype_of


def shape(x: Any) -> tuple[int | None, ...]:
    """The shape as a tuple; None where a size is not known yet."""
    return tuple(as_tensor(x).shape)


def transpose(x: Any, axes: Sequence[int] | None = None) -> Any:
    """Axes permuted to the order `axes` (None: reversed)."""
    rank = len(shape(x))
    order = list(reversed(range(rank))) if axes is None else ordered_axes(axes, rank, "transpose")
    if len(order) != rank:
        raise ValueError(f"transpose: axes must name each of {rank} axes once, got {axes!r}")
    return apply(Transpose(tuple(order)), x)


def moveaxis(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Any:
    """Axes `source` moved to positions `destination`, the others kept in order."""
    rank = len(shape(x))
    sources = ordered_axes(source, rank, "moveaxis")
    targets = ordered_axes(destination, rank, "moveaxis")
    if len(sources) != len(targets):
        raise ValueError(
            f"moveaxis: source and destination must be equally many, got {source} and {destination}"
        )
    order = [a for a in range(rank) if a not in sources]
    for target, origin in sorted(zip(targets, sources)):
        order.insert(target, origin)
    return transpose(x, order)


def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Two axes exchanged."""
    order = list(range(len(shape(x))))
    (one,), (other,) = (ordered_axes([a], len(order), "swapaxes") for a in (axis1, axis2))
    order[one], order[other] = order[other], order[one]
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


def concatenate(xs: Sequence[Any], axis: int = 0) -> Any:
    """Arrays joined along `axis`; all other sizes must agree."""
    if not hasattr(xs, "__len__") or not len(xs):
        raise ValueError(f"concatenate: needs a list of at least one array, got {xs!r:.80}")
    tensors = list(xs)
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
        if indices_or_sections < 1 or size % indices_or_sections:
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


def one_hot(
    x: Any, num_classes: int, axis: int = -1, dtype: str | None = None, sparse: bool = False
) -> Any:
    """1 at the class number, 0 elsewhere, along a new axis; all 0 for numbers out of range."""
    if sparse:
        raise ValueError("one_hot: sparse=True: there are no sparse tensors here")
    labels = as_tensor(x)
    rank = labels.ndim + 1
    sizes = [1] * rank
    sizes[axis % rank] = num_classes
    classes = np.arange(num_classes, dtype=labels.dtype).reshape(sizes)
    return cast(equal(expand_dims(x, axis % rank), Constant(classes)), dtype or "float32")


def zeros(shape: Sequence[int], dtype: str | None = None) -> np.ndarray:
    """An array of zeros, float32 by default."""
    return np.zeros(shape, dtype or "float32")


def ones(shape: Sequence[int], dtype: str | None = None) -> np.ndarray:
    """An array of ones, float32 by default."""
    return np.ones(shape, dtype or "float32")


def zeros_like(x: Any, dtype: str | None = None) -> Any:
    """Zeros in the shape of x, and its dtype by default."""
    if not isinstance(x, Tensor):
        return np.zeros(shape(x), dtype or dtype_of(x))
    zero = np.zeros((), dtype or x.dtype)  # not x * 0, which keeps NaN and infinities
    return apply(Where(), cast(x, "bool"), zero, zero)


def ones_like(x: Any, dtype: str | None = None) -> Any:
    """Ones in the shape of x, and its dtype by default."""
    kind = dtype or dtype_of(x)
    if not isinstance(x, Tensor):
        return np.ones(shape(x), kind)
    one = np.ones((), kind)
    return apply(Where(), cast(x, "bool"), one, one)


def convert_to_tensor(
    x: Any, dtype: str | None = None, sparse: bool | None = None, ragged: bool | None = None
) -> Any:
    """An array of x (or x itself where it is symbolic), converted to `dtype` where one is given."""
    value = x if isinstance(x, Tensor) or hasattr(x, "symbol") else hosted(as_tensor(x).value)  # type: ignore[attr-defined]
    return value if dtype is None else cast(value, dtype)


def convert_to_numpy(x: Any) -> np.ndarray:
    """A NumPy array of a variable or an array-like."""
    return x.numpy() if hasattr(x, "numpy") else np.asarray(x)


def is_tensor(x: Any) -> bool:
    """Whether x is a symbolic tensor or an array."""
    return isinstance(x, (Tensor, np.ndarray))


__all__ = [
    "abs", "absolute", "add", "all", "any", "argmax", "argmin", "broadcast_to", "cast",
    "ceil", "clip", "concatenate", "convert_to_numpy", "convert_to_tensor", "cos", "divide",
    "dtype", "equal", "erf", "exp", "expand_dims", "expm1", "flip", "floor", "floor_divide",
    "greater",
    "greater_equal", "is_tensor", "isfinite", "isinf", "isnan", "less", "less_equal",
    "log", "log1p", "logical_and", "logical_not", "logical_or", "matmul", "max", "maximum", "mean",
    "min", "minimum", "mod", "moveaxis", "multiply", "negative", "norm", "not_equal", "one_hot",
    "ones", "ones_like", "power", "prod", "ravel", "reciprocal", "reshape", "round", "rsqrt",
    "shape", "sign", "sin", "slice_axis", "split", "sqrt", "square", "squeeze", "stack", "std",
    "stop_gradient", "subtract", "sum", "swapaxes", "tanh", "transpose", "true_divide", "var",
    "where", "zeros", "zeros_like",
]  # fmt: skip
