"""Cases of losses, activations, regularizers and constraints: functions of arrays.

Their values and gradients in real Keras are in `golden/formulas.json`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

rng = np.random.default_rng(21)


class Case(NamedTuple):
    id: str
    make: Callable[[Any], Callable]  # from the package to a function of the arrays
    arrays: tuple
    by: int | None  # the array whose gradient is compared


def single(values):
    """The nearest numbers that float32 has."""
    return np.asarray(values, "float32").astype("float64")


def slopes(shape):
    """Factors of the sum over outputs whose gradients are compared."""
    return single(np.random.default_rng(int(np.prod(shape, dtype=int))).uniform(0.5, 1.5, shape))


def normal(*shape):
    return single(rng.standard_normal(shape))


def softmax(x, axis=-1):
    e = np.exp(x)
    return single(e / e.sum(axis, keepdims=True))


def name_of(function, args, kwargs, data):
    shown = ",".join([*map(str, args), *(f"{k}={v}" for k, v in kwargs.items())])
    return f"{function}({shown})-{data}".replace(" ", "")


# -- activations ----------------------------------------------------------------------------------

MATRIX = normal(3, 7)
WIDE = single(np.concatenate([rng.uniform(-8, 8, 20), [-30.0, 30.0, 6.5, -3.5, 0.7]])).reshape(5, 5)
CUBE = normal(2, 4, 3)
ACTIVATIONS = [
    *((name, {}) for name in (
        "linear", "relu", "leaky_relu", "relu6", "elu", "selu", "celu", "gelu", "silu", "swish",
        "hard_silu", "hard_swish", "mish", "sigmoid", "log_sigmoid", "hard_sigmoid",
        "sparse_sigmoid", "tanh", "hard_tanh", "tanh_shrink", "hard_shrink", "soft_shrink",
        "softplus", "sparse_plus", "squareplus", "softsign", "exponential", "softmax",
        "log_softmax", "sparsemax",
    )),
    ("relu", {"negative_slope": 0.1}), ("relu", {"max_value": 3.0}),
    ("relu", {"negative_slope": 0.3, "max_value": 2.0, "threshold": 0.5}),
    ("relu", {"threshold": 1.0}), ("leaky_relu", {"negative_slope": 0.3}), ("elu", {"alpha": 0.7}),
    ("celu", {"alpha": 1.7}), ("gelu", {"approximate": True}), ("hard_shrink", {"threshold": 1.1}),
    ("soft_shrink", {"threshold": 0.2}), ("squareplus", {"b": 1.5}),
    ("threshold", {"threshold": 0.3, "default_value": -0.5}),
]  # fmt: skip
ALONG = [
    ("softmax", {"axis": 1}), ("softmax", {"axis": 0}), ("log_softmax", {"axis": 1}),
    ("glu", {"axis": 1}), ("sparsemax", {}), ("sparsemax", {"axis": 1}), ("sparsemax", {"axis": 0}),
]  # fmt: skip


def activation(name, kwargs, x, data):
    def make(package):
        return lambda x: getattr(package.activations, name)(x, **kwargs)

    return Case(name_of(f"activation.{name}", (), kwargs, data), make, (x,), 0)


# -- losses ---------------------------------------------------------------------------------------

T, P = normal(5, 3), normal(5, 3)
T3, P3 = normal(3, 2, 4), normal(3, 2, 4)
T_COLUMN, P_COLUMN = normal(5), normal(5, 1)
BITS, BIT_P = (rng.random((5, 3)) < 0.5).astype("int32"), single(rng.uniform(0.05, 0.95, (5, 3)))
MASKS, MASK_P = (rng.random((2, 3, 4, 1)) < 0.5).astype("int32"), single(rng.random((2, 3, 4, 1)))
LABELS, PROBABILITIES = rng.integers(0, 4, 7).astype("int32"), softmax(normal(7, 4))
LABEL_MAP, MAP_P = rng.integers(0, 4, (2, 3)).astype("int32"), softmax(normal(2, 3, 4))
ONE_HOT = np.eye(4)[LABELS]
SOFT = softmax(normal(7, 4))
FIRST, FIRST_P = softmax(normal(2, 3, 5), 1), softmax(normal(2, 3, 5), 1)
LOGITS = normal(7, 4)
POSITIVE_T, POSITIVE_P = single(np.abs(T) + 0.1), single(np.abs(P) + 0.1)
SIGNS = np.where(BITS == 1, 1.0, -1.0)
PAIRED = np.array([0, 1, 2, 0, 2, 1, 2], "int32")
UNIT = single(LOGITS / np.linalg.norm(LOGITS, axis=1, keepdims=True))

LOSSES = [
    *((name, {}, T, P) for name in (
        "MeanSquaredError", "MeanAbsoluteError", "MeanAbsolutePercentageError", "CosineSimilarity",
        "Huber", "LogCosh",
    )),
    *((name, {}, T3, P3) for name in ("MeanSquaredError", "MeanAbsoluteError", "CosineSimilarity")),
    ("MeanSquaredError", {}, T_COLUMN, P_COLUMN), ("LogCosh", {}, T_COLUMN, P_COLUMN),
    ("MeanSquaredLogarithmicError", {}, POSITIVE_T, POSITIVE_P),
    ("Poisson", {}, POSITIVE_T, POSITIVE_P),
    ("CosineSimilarity", {"axis": 1}, T3, P3), ("CosineSimilarity", {"axis": 0}, T, P),
    ("Huber", {"delta": 0.4}, T3, P3),
    *((name, {}, t, P) for name in ("Hinge", "SquaredHinge") for t in (SIGNS, BITS)),
    ("CategoricalHinge", {}, ONE_HOT, LOGITS), ("KLDivergence", {}, SOFT, PROBABILITIES),
    ("BinaryCrossentropy", {}, BITS, BIT_P), ("BinaryCrossentropy", {}, MASKS, MASK_P),
    ("BinaryCrossentropy", {"from_logits": True}, BITS, P),
    ("BinaryCrossentropy", {"label_smoothing": 0.2, "axis": 0}, BITS, BIT_P),
    ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, BITS, P),
    ("BinaryFocalCrossentropy", {}, BITS, BIT_P),
    ("BinaryFocalCrossentropy", {"from_logits": True, "gamma": 1.5, "axis": 0}, BITS, P),
    ("BinaryFocalCrossentropy",
     {"apply_class_balancing": True, "alpha": 0.3, "label_smoothing": 0.1}, BITS, BIT_P),
    ("CategoricalCrossentropy", {}, ONE_HOT, PROBABILITIES),
    ("CategoricalCrossentropy", {}, SOFT, PROBABILITIES),
    ("CategoricalCrossentropy", {"from_logits": True}, SOFT, LOGITS),
    ("CategoricalCrossentropy", {"label_smoothing": 0.2}, ONE_HOT, PROBABILITIES),
    ("CategoricalCrossentropy", {"label_smoothing": 0.2, "axis": 1}, FIRST, FIRST_P),
    ("CategoricalCrossentropy", {"from_logits": True, "axis": 1}, FIRST,
     single(np.log(FIRST_P))),
    ("CategoricalFocalCrossentropy", {}, ONE_HOT, PROBABILITIES),
    ("CategoricalFocalCrossentropy", {"alpha": 0.6, "gamma": 1.3, "label_smoothing": 0.1}, SOFT,
     PROBABILITIES),
    ("CategoricalFocalCrossentropy", {"from_logits": True}, ONE_HOT, LOGITS),
    ("SparseCategoricalCrossentropy", {}, LABELS, PROBABILITIES),
    ("SparseCategoricalCrossentropy", {}, LABELS[:, None], PROBABILITIES),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, LABELS, LOGITS),
    ("SparseCategoricalCrossentropy", {"ignore_class": 2}, LABELS, PROBABILITIES),
    ("SparseCategoricalCrossentropy", {"ignore_class": 1, "from_logits": True}, LABELS, LOGITS),
    ("SparseCategoricalCrossentropy", {}, LABEL_MAP, MAP_P),
    ("SparseCategoricalCrossentropy", {"ignore_class": 0}, LABEL_MAP, MAP_P),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, LABEL_MAP, single(np.log(MAP_P))),
    ("Dice", {}, BITS, BIT_P), ("Dice", {"axis": (1, 2, 3)}, MASKS, MASK_P),
    ("Tversky", {}, BITS, BIT_P), ("Tversky", {"alpha": 0.3, "beta": 0.9}, MASKS, MASK_P),
    ("Tversky", {"axis": (1, 2, 3)}, MASKS, MASK_P),
    ("CategoricalGeneralizedCrossEntropy", {}, LABELS, PROBABILITIES),
    ("CategoricalGeneralizedCrossEntropy", {"q": 0.8}, LABELS, PROBABILITIES),
    ("Circle", {}, PAIRED, UNIT),
    ("Circle", {"gamma": 5.0, "margin": 0.3, "remove_diagonal": False}, LABELS, UNIT),
]  # fmt: skip
REDUCTIONS = ("sum_over_batch_size", "sum", "mean_with_sample_weight", "mean", "none")


def loss(number, name, kwargs, t, p):
    """Without weights and reduction, and with weights and one of the reductions."""

    def make(options):
        return lambda package: getattr(package.losses, name)(**kwargs, **options)

    def called(make):
        return lambda package: lambda t, p, *w: make(package)(t, p, *w)

    data = f"{number}"
    reduction = REDUCTIONS[number % len(REDUCTIONS)]
    plain, reduced = ({"reduction": r} for r in ("none", reduction))
    ident = name_of(f"loss.{name}", (), kwargs, data)
    yield Case(ident, called(make(plain)), (t, p), 1)
    if name not in ("Dice", "Tversky"):
        weights = single(rng.uniform(0.2, 2, len(t)))
        values = t if name.startswith(("Sparse", "CategoricalGen", "Circle")) else p[..., 0]
        weights = weights.reshape(-1, *(1,) * (values.ndim - 1))
        if kwargs.get("axis") in (0, 1):  # another axis is left
            return
        yield Case(f"{ident}-weighted-{reduction}", called(make(reduced)), (t, p, weights), 1)
    else:
        yield Case(f"{ident}-{reduction}", called(make(reduced)), (t, p), 1)


# -- regularizers and constraints -----------------------------------------------------------------

KERNEL = normal(3, 2, 4, 5)
REGULARIZERS = [
    ("L1", {}, KERNEL), ("L2", {"l2": 0.3}, KERNEL), ("L1L2", {"l1": 0.1, "l2": 0.2}, KERNEL),
    ("OrthogonalRegularizer", {}, MATRIX), ("OrthogonalRegularizer", {"factor": 0.3}, MATRIX.T),
    ("OrthogonalRegularizer", {"mode": "columns"}, MATRIX),
    ("OrthogonalRegularizer", {"mode": "columns", "factor": 2.0}, MATRIX.T),
]  # fmt: skip
CONSTRAINTS = [
    ("NonNeg", {}, KERNEL), ("UnitNorm", {}, MATRIX), ("UnitNorm", {"axis": [0, 1, 2]}, KERNEL),
    ("MaxNorm", {}, MATRIX), ("MaxNorm", {"max_value": 1.3, "axis": [0, 1, 2]}, KERNEL),
    ("MinMaxNorm", {"min_value": 1.2, "max_value": 1.9}, MATRIX),
    ("MinMaxNorm", {"min_value": 0.5, "max_value": 1.0, "rate": 0.3, "axis": 1}, MATRIX),
]  # fmt: skip


def penalty(kind, name, kwargs, x):
    def make(package):
        made = getattr(getattr(package, kind), name)(**kwargs)
        return lambda x: made(x)

    shape = "x".join(map(str, x.shape))
    by = 0 if kind == "regularizers" else None
    return Case(name_of(f"{kind}.{name}", (), kwargs, shape), make, (x,), by)


CASES = [
    *(activation(n, k, x, d) for n, k in ACTIVATIONS for x, d in ((MATRIX, "odd"), (WIDE, "wide"))),
    *(activation(n, k, CUBE, "cube") for n, k in ALONG),
    *(case for i, row in enumerate(LOSSES) for case in loss(i, *row)),
    *(penalty("regularizers", *row) for row in REGULARIZERS),
    *(penalty("constraints", *row) for row in CONSTRAINTS),
]
