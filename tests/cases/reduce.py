"""Reductions over neighbouring axes, and the gradient of an extreme."""

import numpy as np
from cases.case import Case, Draw, large, normal

from nbcnn.ops.reduce import Reduce, ReduceExtremeGradient

FOLDS = ("sum", "mean", "max", "min", "prod")
FUNCTIONS = (*FOLDS, "argmax", "argmin")
TIES = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
NAN = np.array([[1.0, np.nan, 3.0, np.nan]])
WHOLE = np.arange(6, dtype="int32").reshape(2, 3) - 3
FLAGS = normal(3, 4) > 0


def small():
    x = normal(3, 4, 5)
    for name in FUNCTIONS:
        for first, last in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2)):
            yield Case(f"reduce-{name}-{first}{last}", Reduce(name, first, last), (x,))
    for name in ("sum", "max", "argmin"):
        yield Case(f"reduce-{name}-int", Reduce(name, 1, 1), (WHOLE,))
    for name, op, x in (
        ("sum-bool", Reduce("sum", 0, 1), FLAGS),
        ("max-bool", Reduce("max", 0, 0), FLAGS),
        ("min-bool", Reduce("min", 1, 1), FLAGS),
        ("mean-int", Reduce("mean", 0, 0), WHOLE),
        ("mean-bool", Reduce("mean", 0, 1), FLAGS),
        ("sum-empty", Reduce("sum", 0, 0), normal(0, 3)),
        ("prod-empty", Reduce("prod", 0, 0), normal(0, 3)),
        ("max-nothing", Reduce("max", 0, 0), normal(3, 0)),
        ("argmax-ties", Reduce("argmax", 1, 1), TIES),
        ("argmin-ties", Reduce("argmin", 0, 0), TIES[:, :1] * 0),
        ("argmin-nan", Reduce("argmin", 1, 1), NAN),
        ("max-nan", Reduce("max", 1, 1), NAN),
        ("min-nan", Reduce("min", 1, 1), NAN),
        ("max-infinite", Reduce("max", 0, 0), np.array([-np.inf, -np.inf])),
    ):
        yield Case(f"reduce-{name}", op, (x,))


def big():
    for name, shape, first, last in (
        ("long", (70_001,), 0, 0),
        ("rows", (301, 7), 0, 0),
        ("columns", (301, 7), 1, 1),
        ("many_rows", (60_007, 3), 0, 0),
        ("images", (3, 28, 28, 6), 1, 2),
        ("batch", (3, 28, 28, 17), 0, 2),
        ("wide", (5, 3, 20_003), 1, 1),
        ("inner", (3, 20_003, 5), 1, 1),
        ("outer", (9001, 3, 2), 1, 1),
        ("single", (9, 1, 40), 1, 1),
    ):
        for function in ("sum", "mean", "max", "argmax"):
            yield large(f"reduce-{function}-{name}", Reduce(function, first, last), Draw(shape))
    for name, shape, axis in (
        ("pixels", (33, 49, 200), 1),
        ("many_pixels", (2, 700, 77), 1),
        ("long", (70_001, 64), 0),
        ("one_row", (5, 1, 130), 1),
        ("wide_tiles", (3, 300, 1100), 1),
    ):
        for function in ("sum", "mean"):
            yield large(
                f"reduce-{function}-columns-{name}", Reduce(function, axis, axis), Draw(shape)
            )
    yield large("reduce-mean-columns-holed", Reduce("mean", 0, 0), columns_with_holes())
    holed = normal(3, 90)
    holed[0, 77], holed[1, 5], holed[2, ::9] = -np.nan, np.nan, np.inf
    for function in FOLDS:
        yield large(f"reduce-{function}-holed", Reduce(function, 1, 1), holed)
    yield large("reduce-min-long", Reduce("min", 1, 1), Draw((2, 70_001)))
    factors = 1.0 + normal(9001, 2) / 1024
    yield large("reduce-prod-many", Reduce("prod", 0, 0), factors)
    yield large("reduce-sum-int-many", Reduce("sum", 0, 0), np.arange(70_001, dtype="int32") % 9)


def columns_with_holes():
    x = normal(40, 70)
    x[3, 5], x[7, 6], x[8, 69] = np.nan, np.inf, -np.inf
    return x


def extremes():
    inputs = (TIES, TIES.max(1, keepdims=True), np.array([[2.0], [3.0]]))
    yield Case("reduce_extreme_dx-ties", ReduceExtremeGradient(1, 1), inputs)
    x = np.round(normal(70, 33, 5) * 4)
    for name, first, last in (("first", 0, 0), ("middle", 1, 1), ("all", 0, 2)):
        y = x.min(axis=tuple(range(first, last + 1)), keepdims=True)
        op = ReduceExtremeGradient(first, last)
        yield large(f"reduce_extreme_dx-{name}", op, x, y, normal(*y.shape, seed=1))


CASES = [*small(), *big(), *extremes()]
