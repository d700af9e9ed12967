"""Elementwise functions and their gradients, broadcasting, selection, conversion of types."""

import numpy as np
from cases.case import FLOATS, Case, Draw, large, normal, positive

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

ALPHA, BETA = -0.5, 0.75
POSITIVE = {"sqrt", "rsqrt", "log", "log1p", "log2", "log10"}
# Tested in one type: kernels differ by formula, formulas do not differ by type.
LATER = {
    "signbit", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctanh", "cosh", "sinh", "tan",
    "cbrt", "erfc", "exp2", "log2", "log10", "trunc", "celu", "hard_shrink", "soft_shrink",
    "sparse_plus", "squareplus", "tanh_shrink", "arctan2", "fmod", "hypot", "logaddexp",
}  # fmt: skip
DOMAINS = {
    **dict.fromkeys(("arccos", "arcsin", "arctanh", "erfinv"), lambda x: 0.7 * np.tanh(x)),
    "arccosh": lambda x: 1.125 + np.abs(x),
}
# Parameters that `ALPHA` is none of.
PARAMETERS = dict.fromkeys(("celu", "hard_shrink", "soft_shrink", "squareplus"), 0.75)
SPECIAL = np.array([0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, np.nan])
FAR = np.array([-1000.0, -80.0, -20.0, -1e-3, 0.0, 1e-3, 20.0, 80.0])
WHOLE = np.arange(6, dtype="int32").reshape(2, 3)
FLAGS = normal(3, 4) > 0
NAN = np.array([[1.0, np.nan, 3.0, np.nan]])
SEVERAL_TASKS = 33_007  # elements


def floats_of(name):
    return FLOATS[:1] if name in LATER else FLOATS


def arguments(name):
    return positive(3, 7) if name in POSITIVE else normal(3, 7)


def unary():
    for name in scalar.UNARY:
        if name == "bitwise_not":
            continue
        op, x = Unary(name, PARAMETERS.get(name, ALPHA), BETA), arguments(name) * 2
        x = DOMAINS[name](x) if name in DOMAINS else x
        x = SPECIAL[:-1] if name == "signbit" else SPECIAL if name in PREDICATES else x
        yield Case(f"unary-{name}", op, (x,), floats=floats_of(name))
    for name in scalar.UNARY_GRADIENT:
        inputs = (arguments(name), normal(3, 7, seed=1))
        through_input = name in DOMAINS and name != "erfinv"
        inputs = (DOMAINS[name](inputs[0]), inputs[1]) if through_input else inputs
        op = UnaryGradient(name, PARAMETERS.get(name, ALPHA), BETA)
        yield Case(f"unary_dx-{name}", op, inputs, floats=floats_of(name))
    ends = np.array([-1.0, 1.0, 0.0, 0.999999, -0.99999999, 1.5])
    yield large("unary-erfinv-ends", Unary("erfinv"), ends.astype("float32"))
    yield Case("unary-cbrt-special", Unary("cbrt"), (SPECIAL,), floats=FLOATS[:1])
    for name in ("bitwise_not", "trunc"):
        yield Case(f"unary-{name}-int", Unary(name), (WHOLE - 3,))
    yield Case("unary-square-int", Unary("square"), (WHOLE - 3,))
    yield Case("unary-exp-int", Unary("exp"), (WHOLE - 3,))
    yield Case("unary-negative-int", Unary("negative"), (WHOLE,))
    yield Case("unary-logical_not-bool", Unary("logical_not"), (FLAGS,))
    yield Case("unary-identity-empty", Unary("identity"), (normal(0, 3),))
    plain = ("identity", "round_bfloat16", "relu", "exp", "tanh", "sigmoid", "sign", "abs", "relu6")
    for name in plain:
        yield Case(f"unary-{name}-special", Unary(name), (SPECIAL,))
    for name in (
        "exp",
        "tanh",
        "sigmoid",
        "softplus",
        "expm1",
        "silu",
        "elu",
        "selu",
        "mish",
        "gelu",
    ):
        # Small results beside large ones would not count: each half has its own row.
        yield Case(f"unary-{name}-low", Unary(name, 1.0), (FAR[:4],))
        yield Case(f"unary-{name}-high", Unary(name, 1.0), (FAR[4:],))
    for name in ("relu", "exp", "tanh", "sigmoid"):
        yield large(f"unary-{name}-large", Unary(name), Draw((SEVERAL_TASKS,)))
        inputs = (Draw((SEVERAL_TASKS,)), Draw((SEVERAL_TASKS,), 1))
        yield large(f"unary_dx-{name}-large", UnaryGradient(name), *inputs)


def with_sums():
    for name in ("relu", "sigmoid", "tanh"):
        for tail, shape, tiny in (
            ("small", (2, 3, 4), True),
            ("odd", (5, 3), True),
            ("one_row", (1, 17), False),
            ("lenet", (3, 28, 28, 6), False),
            ("many_rows", (20_001, 3), False),
            ("wide", (5, 2, 601), False),
            ("one_channel", (9001, 1), False),
        ):
            inputs = (normal(*shape), normal(*shape, seed=1))
            yield Case(f"unary_dx_sum-{name}-{tail}", UnaryGradientSum(name), inputs, tiny=tiny)


SHAPES = [
    ((3, 4), (3, 4)), ((2, 3, 4), (4,)), ((2, 1, 4), (3, 1)), ((), (2, 3)), ((0, 3), (3,)),
    ((2, 1, 2, 1, 2, 1), (1, 2, 1, 2, 1, 3)), ((2, 3), ()), ((), ()), ((1,), (1, 1)),
]  # fmt: skip
LARGE_SHAPES = [
    ((4, 9, 9, 17), (17,)),  # bias
    ((3, 1, 1, 33), (3, 14, 15, 33)),  # a factor per image and channel
    ((3, 14, 15, 1), (3, 14, 15, 5)),  # a factor per pixel
    ((2, 50_001), (2, 1)),
    ((1, 40_003), (3, 1)),
    ((200, 1), (1, 201)),
    ((7, 1, 11, 1, 13), (5, 1, 9, 1)),
]


def binary():
    for name in scalar.INTEGER_BINARY:
        yield Case(f"binary-{name}", Binary(name), (WHOLE * 3, WHOLE[0] + 1))
    yield Case("binary-bitwise_xor-bool", Binary("bitwise_xor"), (FLAGS, ~FLAGS[0]))
    for name in scalar.BINARY:
        if name in scalar.INTEGER_BINARY:
            continue
        a, b = positive(2, 3) if name == "power" else normal(2, 3), normal(3, seed=1)
        floats = FLOATS if name in ("add", "multiply", "divide") else FLOATS[:1]
        yield Case(f"binary-{name}", Binary(name), (a, b), floats=floats)
        yield Case(f"binary-{name}-flat", Binary(name), (a, a[::-1]), floats=floats_of(name))
    for i, (left, right) in enumerate(SHAPES):
        yield Case(f"binary-shapes{i}", Binary("subtract"), (normal(*left), normal(*right, seed=1)))
    for i, (left, right) in enumerate(LARGE_SHAPES):
        for way, shapes in (("left", (left, right)), ("right", (right, left))):
            inputs = (Draw(shapes[0]), Draw(shapes[1], 1))
            yield large(f"binary-large{i}-{way}", Binary("subtract"), *inputs)
    sizes = (Draw((SEVERAL_TASKS,)), Draw((SEVERAL_TASKS,), 1))
    yield large("binary-subtract-large", Binary("subtract"), *sizes)
    mixed = (normal(2, 3), WHOLE[0])
    for name, function, inputs in (
        ("int", "add", (WHOLE, WHOLE * 2)),
        ("int-broadcast", "multiply", (WHOLE, WHOLE[0] + 5)),
        ("int-divide", "divide", (WHOLE, WHOLE + 1)),
        ("int-power", "power", (WHOLE + 1, WHOLE)),
        ("mixed", "multiply", mixed),
        ("less-mixed", "less", mixed),
        ("less-int", "less", (WHOLE, WHOLE[0])),
        ("bool", "equal", (FLAGS, ~FLAGS[0])),
        ("bool-and", "logical_and", (FLAGS, ~FLAGS[::-1])),
        ("arctan2-int", "arctan2", (WHOLE, WHOLE[0] - 1)),
        ("logaddexp-special", "logaddexp", (SPECIAL[:-1], SPECIAL[:-1])),
        ("maximum-nan", "maximum", (NAN, NAN[:, ::-1])),
        ("minimum-nan", "minimum", (NAN, np.array([2.0]))),
        ("equal-special", "equal", (SPECIAL, SPECIAL)),
        ("subtract-special", "subtract", (SPECIAL, SPECIAL[::-1])),
    ):
        yield Case(f"binary-{name}", Binary(function), inputs)


def activated():
    """Binary functions with an activation."""
    a, b = normal(2, 3) * 2, normal(3, seed=1)
    for function, *act in (
        ("add", "relu"), ("add", "leaky_relu", ALPHA), ("multiply", "sigmoid"),
        ("subtract", "gelu"), ("add", "clip", ALPHA, BETA), ("maximum", "tanh"),
        ("divide", "square"),
    ):  # fmt: skip
        op = Binary(function, *act)
        yield Case(f"binary-{function}-{act[0]}", op, (a, b))
        yield Case(f"binary-{function}-{act[0]}-flat", op, (a, a[::-1]), floats=FLOATS[:1])
    yield Case("binary-add-relu-special", Binary("add", "relu"), (SPECIAL, np.array([-0.5])))
    yield Case("binary-add-relu-empty", Binary("add", "relu"), (a[:0], a[:0]), floats=FLOATS[:1])
    sizes = (Draw((SEVERAL_TASKS,)), Draw((SEVERAL_TASKS,), 1))
    yield large("binary-add-relu-large", Binary("add", "relu"), *sizes)
    for i in (0, 1, 6):
        inputs = (Draw(LARGE_SHAPES[i][0]), Draw(LARGE_SHAPES[i][1], 1))
        yield large(f"binary-multiply-relu-large{i}", Binary("multiply", "relu"), *inputs)


def choices():
    a, b = normal(3, 4, seed=1), normal(3, 4, seed=2)
    yield Case("where-same", Where(), (FLAGS, a, b))
    yield Case("where-broadcast", Where(), (FLAGS[:, :1], a[0], b))
    yield Case("where-number", Where(), (FLAGS, np.array(2.0), b))
    yield Case("where-numbers", Where(), (FLAGS, np.array(2.0), np.array(-1.0)))
    yield Case("where-int", Where(), (WHOLE, a[:2, :3], WHOLE))
    yield Case("where-whole", Where(), (WHOLE > 2, WHOLE, -WHOLE))
    yield Case("where-nan", Where(), (np.isfinite(SPECIAL), SPECIAL, np.zeros(7)))
    yield Case("where-empty", Where(), (FLAGS[:0], a[:0], b[0]))
    condition = normal(5, 9, 9, 17) > 0
    yield large("where-large", Where(), condition, Draw((5, 9, 9, 17)), np.array(0.0))
    yield large("where-large-rows", Where(), condition[:, :1], Draw((17,)), Draw((9, 9, 1)))


def casts():
    for source in (SPECIAL[:4], np.arange(-2, 3), np.array([True, False])):
        for dtype in ("float32", "float64", "int32", "int64", "bool"):
            yield Case(f"cast-{source.dtype.kind}-{dtype}", Cast(dtype), (source,))
    yield Case("cast-bytes", Cast("float32"), (np.arange(256, dtype="uint8"),))
    yield large("cast-large", Cast("float32"), np.arange(SEVERAL_TASKS, dtype="uint8"))


CASES = [*unary(), *with_sums(), *binary(), *activated(), *choices(), *casts()]
