"""Elementwise functions and their gradients, conversion, reductions, copies."""

import numpy as np
from cuda_cases.case import Case, normal, positive

from nbcnn.kernels import scalar
from nbcnn.ops.elementwise import (
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
WHOLE = np.arange(6, dtype="int32").reshape(2, 3)
FLAGS = normal(3, 4) > 0
TIES = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
NAN = np.array([[1.0, np.nan, 3.0, np.nan]])


def unary():
    for name in scalar.UNARY:
        x = positive(3, 4) if name in POSITIVE else normal(3, 4) * 2
        yield Case(
            f"unary-{name}", Unary(name, ALPHA, BETA), (SPECIAL if name in PREDICATES else x,)
        )
    for name in scalar.UNARY_GRADIENT:
        inputs = (positive(3, 4) if name in POSITIVE else normal(3, 4), normal(3, 4, seed=1))
        yield Case(f"unary_dx-{name}", UnaryGradient(name, ALPHA, BETA), inputs)
    for name in ("relu", "tanh"):
        inputs = (normal(2, 3, 4), normal(2, 3, 4, seed=1))
        yield Case(f"unary_dx_sum-{name}", UnaryGradientSum(name), inputs)
    yield Case("unary-square-int", Unary("square"), (WHOLE - 3,))
    yield Case("unary-exp-int", Unary("exp"), (WHOLE - 3,))


SHAPES = [
    ((3, 4), (3, 4)), ((2, 3, 4), (4,)), ((2, 1, 4), (3, 1)), ((), (2, 3)), ((0, 3), (3,)),
    ((2, 1, 2, 1, 2, 1), (1, 2, 1, 2, 1, 3)),
]  # fmt: skip


def binary():
    for name in scalar.BINARY:
        a, b = positive(2, 3) if name == "power" else normal(2, 3), normal(3, seed=1)
        yield Case(f"binary-{name}", Binary(name), (a, b))
        yield Case(f"binary-{name}-flat", Binary(name), (a, a[::-1]))
    for i, (left, right) in enumerate(SHAPES):
        yield Case(f"binary-shapes{i}", Binary("subtract"), (normal(*left), normal(*right, seed=1)))
    mixed = (normal(2, 3), WHOLE[0])
    for name, function, inputs in (
        ("int", "add", (WHOLE, WHOLE * 2)),
        ("mixed", "multiply", mixed),
        ("less-mixed", "less", mixed),
        ("bool", "equal", (FLAGS, ~FLAGS[0])),
        ("maximum-nan", "maximum", (NAN, NAN[:, ::-1])),
    ):
        yield Case(f"binary-{name}", Binary(function), inputs)


def choices():
    a, b = normal(3, 4, seed=1), normal(3, 4, seed=2)
    yield Case("where-same", Where(), (FLAGS, a, b))
    yield Case("where-broadcast", Where(), (FLAGS[:, :1], a[0], b))
    yield Case("where-number", Where(), (FLAGS, np.array(2.0), b))
    yield Case("where-int", Where(), (WHOLE, a[:2, :3], WHOLE))
    for source in (SPECIAL[:4], np.arange(-2, 3), np.array([True, False])):
        for dtype in ("float32", "float64", "int32", "int64", "bool"):
            yield Case(f"cast-{source.dtype.kind}-{dtype}", Cast(dtype), (source,))


def reductions():
    x = normal(3, 4, 5)
    for name in ("sum", "mean", "max", "min", "prod", "argmax", "argmin"):
        for first, last in ((0, 0), (1, 1), (2, 2), (1, 2)):
            yield Case(f"reduce-{name}-{first}{last}", Reduce(name, first, last), (x,))
    for name, op, x in (
        ("sum-bool", Reduce("sum", 0, 1), FLAGS),
        ("max-bool", Reduce("max", 0, 0), FLAGS),
        ("mean-int", Reduce("mean", 0, 0), WHOLE),
        ("sum-empty", Reduce("sum", 0, 0), normal(0, 3)),
        ("argmax-ties", Reduce("argmax", 1, 1), TIES),
        ("argmin-nan", Reduce("argmin", 1, 1), NAN),
        ("max-nan", Reduce("max", 1, 1), NAN),
    ):
        yield Case(f"reduce-{name}", op, (x,))
    inputs = (TIES, TIES.max(1, keepdims=True), np.array([[2.0], [3.0]]))
    yield Case("reduce_extreme_dx", ReduceExtremeGradient(1, 1), inputs)


def copies():
    x = normal(2, 3, 4, 5)
    for perm in ((0, 3, 1, 2), (3, 2, 1, 0), (1, 0, 2, 3)):
        yield Case("transpose-" + "".join(map(str, perm)), Transpose(perm), (x,))
    yield Case("transpose-bool", Transpose((1, 0)), (FLAGS,))
    ranges = ((None, None, None), (2, None, -1), (1, 4, 2), (0, 4, 1))
    cut = x[tuple(slice(*r) for r in ranges)]
    yield Case("slice", Slice(ranges), (x,))
    yield Case("slice_dx", SliceGradient(ranges, x.shape), (cut,))
    yield Case("pad", Pad(((0, 0), (1, 2), (0, 1), (3, 0)), -1.5), (x,))
    yield Case("pad-int", Pad(((1, 0), (0, 1)), 7.0), (WHOLE,))
    yield Case("broadcast_to", BroadcastTo((2, 3, 4)), (normal(3, 1),))
    for axis in range(3):
        shapes = [tuple(n + k * (i == axis) for i, n in enumerate((2, 3, 2))) for k in range(3)]
        pieces = tuple(normal(*shape, seed=i) for i, shape in enumerate(shapes))
        yield Case(f"concat-{axis}", Concat(axis), pieces)
    yield Case("concat-mixed", Concat(0), (normal(2, 3), WHOLE))


CASES = [*unary(), *binary(), *choices(), *reductions(), *copies()]
