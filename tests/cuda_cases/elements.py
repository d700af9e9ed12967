"""Elementwise functions and their gradients, conversion, reductions, copies.

Scalar formulas are taken as they stand in `kernels.scalar`, which has tests of its own.
"""

import numpy as np
from cuda_cases.case import Case, normal, positive

from nbcnn.kernels import scalar
from nbcnn.ops.elementwise import (
    COMPARISONS,
    DERIVATIVES,
    PREDICATES,
    Binary,
    Cast,
    Unary,
    UnaryGradient,
    UnaryGradientSum,
    Where,
)
from nbcnn.ops.reduce import Reduce, ReduceExtremeGradient
from nbcnn.ops.shape import BroadcastTo, Concat, Pad, Slice, SliceGradient, Transpose

ALPHA, BETA = -0.5, 0.75
POSITIVE = {"sqrt", "rsqrt", "log", "log1p"}
SPECIAL = np.array([0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, np.nan])


def each(function, *arrays):
    """A scalar formula applied to every element."""
    flat = [a.reshape(-1).tolist() for a in arrays]
    return np.array([function(*values) for values in zip(*flat)]).reshape(arrays[0].shape)


def unary():
    for name, f in scalar.UNARY.items():
        if name in PREDICATES:
            x = SPECIAL
        else:
            x = positive(3, 4) if name in POSITIVE else normal(3, 4) * 2
        yield Case(
            f"unary-{name}", Unary(name, ALPHA, BETA), (x,),
            lambda s, x, f=f: [each(lambda v: f(v, ALPHA, BETA), x)],
        )  # fmt: skip
    for name in sorted(set(DERIVATIVES) & set(scalar.UNARY_GRADIENT)):
        f, v = scalar.UNARY_GRADIENT[name], positive(3, 4) if name in POSITIVE else normal(3, 4)
        yield Case(
            f"unary_dx-{name}", UnaryGradient(name, ALPHA, BETA), (v, normal(3, 4, seed=1)),
            lambda s, v, dy, f=f: [each(lambda a, b: f(a, b, ALPHA, BETA), v, dy)],
        )  # fmt: skip
    for name in ("relu", "tanh"):
        f = scalar.UNARY_GRADIENT[name]
        yield Case(
            f"unary_dx_sum-{name}", UnaryGradientSum(name), (normal(3, 4), normal(3, 4, seed=1)),
            lambda s, v, dy, f=f: [dx := each(lambda a, b: f(a, b, 0.0, 0.0), v, dy), dx.sum(0)],
        )  # fmt: skip
    whole = np.arange(-3, 4, dtype="int32")
    yield Case("unary-square-int", Unary("square"), (whole,), lambda s, x: [x * x])
    yield Case("unary-exp-int", Unary("exp"), (whole,), lambda s, x: [np.exp(x)])


SHAPES = [((3, 4), (3, 4)), ((2, 3, 4), (4,)), ((2, 1, 4), (3, 1)), ((), (2, 3)), ((0, 3), (3,))]
WIDE_SHAPES = ((2, 1, 2, 1, 2, 1), (1, 2, 1, 2, 1, 3))


def binary():
    functions = {
        "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide,
        "maximum": np.maximum, "minimum": np.minimum, "power": np.power, "mod": np.mod,
        "floor_divide": np.floor_divide, "squared_difference": lambda a, b: (a - b) ** 2,
        **{name: getattr(np, name) for name in COMPARISONS},
    }  # fmt: skip
    for name, f in functions.items():
        a = positive(2, 3) if name == "power" else normal(2, 3)
        b = normal(3, seed=1)
        yield Case(f"binary-{name}", Binary(name), (a, b), lambda s, a, b, f=f: [f(a, b)])
        yield Case(
            f"binary-{name}-flat", Binary(name), (a, a[::-1]), lambda s, a, b, f=f: [f(a, b)]
        )
    for i, (left, right) in enumerate([*SHAPES, WIDE_SHAPES]):
        a, b = normal(*left), normal(*right, seed=1)
        yield Case(f"binary-shapes{i}", Binary("subtract"), (a, b), lambda s, a, b: [a - b])
    yield Case(
        "binary-int", Binary("add"), (np.arange(6), np.arange(6) * 2), lambda s, a, b: [a + b]
    )
    mixed = (normal(2, 3), np.arange(3, dtype="int32"))
    yield Case("binary-mixed", Binary("multiply"), mixed, lambda s, a, b: [a * b])
    yield Case("binary-less-mixed", Binary("less"), mixed, lambda s, a, b: [a < b])
    flags = (np.array([True, True, False]), np.array([True, False, False]))
    yield Case("binary-bool", Binary("equal"), flags, lambda s, a, b: [a == b])
    nan = (np.array([np.nan, 1.0, np.nan]), np.array([1.0, np.nan, np.nan]))
    yield Case("binary-maximum-nan", Binary("maximum"), nan, lambda s, a, b: [np.maximum(a, b)])


def choices():
    condition, a, b = normal(3, 4) > 0, normal(3, 4, seed=1), normal(3, 4, seed=2)
    for name, inputs in {
        "same": (condition, a, b),
        "broadcast": (condition[:, :1], a[0], b),
        "number": (condition, np.array(2.0), b),
        "int": (np.arange(3, dtype="int32"), a[0, :3], b[0, :3]),
    }.items():
        yield Case(f"where-{name}", Where(), inputs, lambda s, c, a, b: [np.where(c, a, b)])
    for source in (SPECIAL[:4], np.arange(-2, 3), np.array([True, False])):
        for dtype in ("float32", "float64", "int32", "int64", "uint8", "bool"):
            if source.dtype.kind == "b" or dtype != "uint8":
                name = f"cast-{source.dtype.kind}-{dtype}"
                yield Case(name, Cast(dtype), (source,), lambda s, x, d=dtype: [x.astype(d)])


def reductions():
    x = normal(3, 4, 5)
    for name in ("sum", "mean", "max", "min", "prod", "argmax", "argmin"):
        f = getattr(np, name)
        for first, last in ((0, 0), (1, 1), (2, 2)):
            yield Case(
                f"reduce-{name}-{first}", Reduce(name, first, last), (x,),
                lambda s, x, f=f, axis=first: [f(x, axis=axis, keepdims=True)],
            )  # fmt: skip
        if not name.startswith("arg"):
            yield Case(
                f"reduce-{name}-two", Reduce(name, 1, 2), (x,),
                lambda s, x, f=f: [f(x, axis=(1, 2), keepdims=True)],
            )  # fmt: skip
    flags, whole = normal(3, 4) > 0, np.arange(12, dtype="int32").reshape(3, 4)
    yield Case("reduce-sum-bool", Reduce("sum", 0, 1), (flags,), lambda s, x: [[[x.sum()]]])
    yield Case("reduce-max-bool", Reduce("max", 0, 0), (flags,), lambda s, x: [x.max(0)[None]])
    yield Case("reduce-mean-int", Reduce("mean", 0, 0), (whole,), lambda s, x: [x.mean(0)[None]])
    yield Case(
        "reduce-sum-empty", Reduce("sum", 0, 0), (normal(0, 3),), lambda s, x: [np.zeros((1, 3))]
    )
    ties = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
    yield Case("reduce-argmax-ties", Reduce("argmax", 1, 1), (ties,), lambda s, x: [[[1], [0]]])
    nan = np.array([[1.0, np.nan, 3.0, np.nan]])
    yield Case("reduce-argmin-nan", Reduce("argmin", 1, 1), (nan,), lambda s, x: [[[1]]])
    yield Case("reduce-max-nan", Reduce("max", 1, 1), (nan,), lambda s, x: [[[np.nan]]])

    def shared(s, x, y, dy):
        equal = x == y
        return [equal * dy / equal.sum(1, keepdims=True)]

    inputs = (ties, ties.max(1, keepdims=True), np.array([[2.0], [3.0]]))
    yield Case("reduce_extreme_dx", ReduceExtremeGradient(1, 1), inputs, shared)


def copies():
    x = normal(2, 3, 4, 5)
    for perm in ((0, 3, 1, 2), (3, 2, 1, 0), (1, 0, 2, 3)):
        name = "transpose-" + "".join(map(str, perm))
        yield Case(name, Transpose(perm), (x,), lambda s, x, p=perm: [x.transpose(p)])
    ranges = ((None, None, None), (2, None, -1), (1, 4, 2), (0, 4, 1))
    cut = tuple(slice(*r) for r in ranges)

    def into_slice(s, dy):
        y = np.zeros(x.shape)
        y[cut] = dy
        return [y]

    yield Case("slice", Slice(ranges), (x,), lambda s, x: [x[cut]])
    yield Case("slice_dx", SliceGradient(ranges, x.shape), (normal(*x[cut].shape),), into_slice)
    widths = ((0, 0), (1, 2), (0, 1), (3, 0))
    yield Case(
        "pad", Pad(widths, -1.5), (x,), lambda s, x: [np.pad(x, widths, constant_values=-1.5)]
    )
    whole = np.arange(6, dtype="int32").reshape(2, 3)
    yield Case(
        "pad-int", Pad(((1, 0), (0, 1)), 7.0), (whole,),
        lambda s, x: [np.pad(x, ((1, 0), (0, 1)), constant_values=7)],
    )  # fmt: skip
    row = normal(3, 1)
    yield Case(
        "broadcast_to", BroadcastTo((2, 3, 4)), (row,), lambda s, x: [np.broadcast_to(x, (2, 3, 4))]
    )
    flags = whole > 2
    yield Case("transpose-bool", Transpose((1, 0)), (flags,), lambda s, x: [x.T])
    for axis in range(3):
        shapes = [tuple(n + k * (i == axis) for i, n in enumerate((2, 3, 2))) for k in range(3)]
        pieces = tuple(normal(*shape, seed=i) for i, shape in enumerate(shapes))
        yield Case(
            f"concat-{axis}", Concat(axis), pieces, lambda s, *xs, a=axis: [np.concatenate(xs, a)]
        )
    yield Case("concat-mixed", Concat(0), (normal(2, 3), whole), lambda s, *x: [np.concatenate(x)])


CASES = [*unary(), *binary(), *choices(), *reductions(), *copies()]
