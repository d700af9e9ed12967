"""Losses and metrics: cases with float64 references, written from the formulas."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

EPSILON = 1e-7


class Case(NamedTuple):
    """`name` is a class of `losses` or `metrics`; `reference(t, p)` gives the value of each
    sample.
    """

    name: str
    kwargs: dict[str, Any]
    y_true: np.ndarray
    y_pred: np.ndarray
    reference: Callable[[np.ndarray, np.ndarray], np.ndarray]

    @property
    def id(self) -> str:
        settings = "-".join(f"{k}={v}" for k, v in self.kwargs.items())
        return "-".join(filter(None, (self.name, settings, "x".join(map(str, self.y_pred.shape)))))


rng = np.random.default_rng(5)
T, P = rng.normal(size=(2, 7, 5))
T3, P3 = rng.normal(size=(2, 3, 4, 5))
POSITIVE_T, POSITIVE_P = rng.uniform(0.1, 3, size=(2, 7, 5))
BITS = rng.integers(0, 2, (7, 5)).astype("float64")
SIGNS = 2 * BITS - 1
LABELS = rng.integers(0, 5, 7)
ONE_HOT = np.eye(5)[LABELS]
LOGITS = rng.normal(size=(7, 5))
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
SCALED = PROBABILITIES * 0.5  # not of sum 1
SOFT = rng.dirichlet(np.ones(5), 7)
BIT_LOGITS = rng.normal(size=(7, 5))
BIT_PROBABILITIES = 1 / (1 + np.exp(-BIT_LOGITS))
LABELS3 = rng.integers(0, 5, (3, 4))
PROBABILITIES3 = rng.dirichlet(np.ones(5), (3, 4))


def mean(values):
    return values.mean(-1)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def clipped(p):
    return np.clip(p, EPSILON, 1 - EPSILON)


def crossentropy(t, p, from_logits=False, smoothing=0.0):
    t = t * (1 - smoothing) + smoothing / t.shape[-1]
    p = softmax(p) if from_logits else clipped(p / p.sum(-1, keepdims=True))
    return -(t * np.log(p)).sum(-1)


def sparse(t, p, from_logits=False):
    t = t[..., 0] if t.ndim == p.ndim else t
    return crossentropy(np.eye(p.shape[-1])[t], p, from_logits)


def binary(t, p, from_logits=False, smoothing=0.0):
    t = t * (1 - smoothing) + smoothing / 2
    p = clipped(1 / (1 + np.exp(-p)) if from_logits else p)
    return -t * np.log(p) - (1 - t) * np.log(1 - p)


def focal(t, p, gamma=2.0):
    q = t * p + (1 - t) * (1 - p)
    return (1 - q) ** gamma * binary(t, p)


def categorical_focal(t, p, gamma=2.0, alpha=0.25):
    p = clipped(p / p.sum(-1, keepdims=True))
    return -(alpha * (1 - p) ** gamma * t * np.log(p)).sum(-1)


def huber(e, delta):
    e = np.abs(e)
    return np.where(e <= delta, e**2 / 2, delta * e - delta**2 / 2)


def cosine(t, p):
    return (t * p).sum(-1) / np.linalg.norm(t, axis=-1) / np.linalg.norm(p, axis=-1)


def divergence(t, p):
    t, p = np.clip(t, EPSILON, 1), np.clip(p, EPSILON, 1)
    return (t * np.log(t / p)).sum(-1)


def categorical_hinge(t, p):
    return np.maximum(((1 - t) * p).max(-1) - (t * p).sum(-1) + 1, 0)


def dice(t, p):
    return 1 - 2 * (t * p).sum() / (t.sum() + p.sum() + EPSILON)


def tversky(t, p, a, b):
    s = (t * p).sum()
    return 1 - s / (s + a * (t * (1 - p)).sum() + b * ((1 - t) * p).sum() + EPSILON)


def squared_logarithm(t, p):
    t, p = np.maximum(t, EPSILON), np.maximum(p, EPSILON)
    return mean((np.log(p + 1) - np.log(t + 1)) ** 2)


def percentage(t, p):
    return 100 * mean(np.abs(t - p) / np.maximum(np.abs(t), EPSILON))


def generalized(t, p, q):
    return (1 - p[np.arange(len(t)), t] ** q) / q


def ignoring(t, p):
    return np.where(t == 2, 0, sparse(t, p))


# These have the same values as losses and as metrics.
COMMON = [
    Case("MeanSquaredError", {}, T, P, lambda t, p: mean((t - p) ** 2)),
    Case("MeanSquaredError", {}, T3, P3, lambda t, p: mean((t - p) ** 2)),
    Case("MeanSquaredError", {}, T[:, 0], P[:, :1], lambda t, p: (t - p[:, 0]) ** 2),
    Case("MeanAbsoluteError", {}, T, P, lambda t, p: mean(np.abs(t - p))),
    Case("MeanAbsolutePercentageError", {}, T, P, percentage),
    Case("MeanSquaredLogarithmicError", {}, POSITIVE_T, P, squared_logarithm),
    Case("Hinge", {}, SIGNS, P, lambda t, p: mean(np.maximum(1 - t * p, 0))),
    Case("Hinge", {}, BITS, P, lambda t, p: mean(np.maximum(1 - (2 * t - 1) * p, 0))),
    Case("SquaredHinge", {}, BITS, P, lambda t, p: mean(np.maximum(1 - (2 * t - 1) * p, 0) ** 2)),
    Case("CategoricalHinge", {}, ONE_HOT, P, categorical_hinge),
    Case("KLDivergence", {}, SOFT, PROBABILITIES, divergence),
    Case("Poisson", {}, POSITIVE_T, POSITIVE_P, lambda t, p: mean(p - t * np.log(p + EPSILON))),
    Case("BinaryCrossentropy", {}, BITS, BIT_PROBABILITIES, lambda t, p: mean(binary(t, p))),
    Case(
        "BinaryCrossentropy",
        {"from_logits": True, "label_smoothing": 0.1},
        BITS,
        BIT_LOGITS,
        lambda t, p: mean(binary(t, p, True, 0.1)),
    ),
    Case("CategoricalCrossentropy", {}, ONE_HOT, SCALED, crossentropy),
    Case(
        "CategoricalCrossentropy",
        {"from_logits": True, "label_smoothing": 0.2},
        SOFT,
        LOGITS,
        lambda t, p: crossentropy(t, p, True, 0.2),
    ),
    Case("SparseCategoricalCrossentropy", {}, LABELS, SCALED, sparse),
    Case("SparseCategoricalCrossentropy", {}, LABELS[:, None], PROBABILITIES, sparse),
    Case("SparseCategoricalCrossentropy", {}, LABELS3, PROBABILITIES3, sparse),
    Case(
        "SparseCategoricalCrossentropy", {"from_logits": True}, LABELS, LOGITS,
        lambda t, p: sparse(t, p, True),
    ),
]  # fmt: skip

LOSSES = [
    *COMMON,
    Case(
        "BinaryCrossentropy", {}, BITS[:, 0], BIT_PROBABILITIES[:, :1],
        lambda t, p: binary(t, p[:, 0]),
    ),
    Case("CosineSimilarity", {}, T, P, lambda t, p: -cosine(t, p)),
    Case("LogCosh", {}, T, P, lambda t, p: mean(np.log(np.cosh(p - t)))),
    Case("Huber", {}, T, P, lambda t, p: mean(huber(p - t, 1.0))),
    Case("Huber", {"delta": 0.5}, T3, P3, lambda t, p: mean(huber(p - t, 0.5))),
    Case("BinaryFocalCrossentropy", {}, BITS, BIT_PROBABILITIES, lambda t, p: mean(focal(t, p))),
    Case(
        "BinaryFocalCrossentropy",
        {"apply_class_balancing": True, "alpha": 0.3, "gamma": 1.5},
        BITS,
        BIT_PROBABILITIES,
        lambda t, p: mean((t * 0.3 + (1 - t) * 0.7) * focal(t, p, 1.5)),
    ),
    Case("CategoricalFocalCrossentropy", {}, ONE_HOT, SCALED, categorical_focal),
    Case("SparseCategoricalCrossentropy", {"ignore_class": 2}, LABELS, PROBABILITIES, ignoring),
    Case("CategoricalGeneralizedCrossEntropy", {}, LABELS, PROBABILITIES,
         lambda t, p: generalized(t, p, 0.5)),
    Case("Dice", {}, BITS, BIT_PROBABILITIES, dice),
    Case("Tversky", {"alpha": 0.3, "beta": 0.8}, BITS, BIT_PROBABILITIES,
         lambda t, p: tversky(t, p, 0.3, 0.8)),
]  # fmt: skip


def top_k(t, p, k):
    score = np.take_along_axis(p, t[..., None], -1)
    return ((p > score).sum(-1) < k).astype("float64")


def same_largest(t, p):
    return (t.argmax(-1) == p.argmax(-1)).astype("float64")


def right_class(t, p):
    return (t.reshape(p.shape[:-1]) == p.argmax(-1)).astype("float64")


ROUNDED = np.round(P)
METRICS = [
    *COMMON,
    Case("CosineSimilarity", {}, T, P, cosine),
    Case("LogCoshError", {}, T, P, lambda t, p: mean(np.log(np.cosh(p - t)))),
    Case("Accuracy", {}, np.round(T), ROUNDED, lambda t, p: mean(t == p)),
    Case("BinaryAccuracy", {}, BITS, BIT_PROBABILITIES, lambda t, p: mean(t == (p > 0.5))),
    Case("BinaryAccuracy", {"threshold": 0.7}, BITS[:, 0], BIT_PROBABILITIES[:, :1],
         lambda t, p: 1.0 * (t == (p[:, 0] > 0.7))),
    Case("CategoricalAccuracy", {}, ONE_HOT, LOGITS, same_largest),
    Case("SparseCategoricalAccuracy", {}, LABELS, LOGITS, right_class),
    Case("SparseCategoricalAccuracy", {}, LABELS[:, None], LOGITS, right_class),
    Case("SparseCategoricalAccuracy", {}, LABELS3, PROBABILITIES3, lambda t, p: right_class(t, p)),
    Case("TopKCategoricalAccuracy", {"k": 2}, ONE_HOT, LOGITS,
         lambda t, p: top_k(t.argmax(-1), p, 2)),
    Case("SparseTopKCategoricalAccuracy", {"k": 3}, LABELS, LOGITS, lambda t, p: top_k(t, p, 3)),
    Case("SparseTopKCategoricalAccuracy", {"k": 2}, LABELS3, PROBABILITIES3,
         lambda t, p: top_k(t, p, 2)),
]  # fmt: skip

WEIGHTS = rng.uniform(0.5, 2, 7)
