"""Cases of metrics: constructor, and batches of odd sizes, (y_true, y_pred, sample_weight or None).

Their results in real Keras are in `golden/metrics.json`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

rng = np.random.default_rng(20)
SIZES = (7, 5, 9)


class Case(NamedTuple):
    id: str
    make: Callable[[Any], Any]  # from the module of metrics
    batches: list[tuple]


def single(values):
    """The nearest numbers that float32 has."""
    return np.asarray(values, "float32").astype("float64")


def uniform(*shape):
    return single(rng.uniform(0.02, 0.98, shape))


def batches(t, p, weights=None):
    """One batch for each of `SIZES`; all but the first are weighted."""
    found = []
    for i, n in enumerate(SIZES):
        w = None if weights is None or i == 0 else single(weights(n))
        found.append((t(n), p(n), w))
    return found


def bits(*shape):
    return (rng.random(shape) < 0.4).astype("int32")


def by_sample(n):
    return rng.uniform(0.5, 2, n)


def labels(classes, *shape):
    return rng.integers(0, classes, shape).astype("int32")


def one_hot(classes, *shape):
    return np.eye(classes, dtype="float64")[labels(classes, *shape)]


def scores(*shape):
    return single(rng.standard_normal(shape))


def near(classes, n):
    """Probabilities of classes."""
    raw = np.exp(2 * rng.standard_normal((n, classes)))
    return single(raw / raw.sum(-1, keepdims=True))


YES_NO = batches(lambda n: bits(n), lambda n: uniform(n))
COLUMN = batches(lambda n: bits(n, 1), lambda n: uniform(n, 1), by_sample)
FLAT_LABELS = batches(lambda n: bits(n), lambda n: uniform(n, 1), by_sample)
MANY = batches(lambda n: bits(n, 5), lambda n: uniform(n, 5), by_sample)
EACH = batches(lambda n: bits(n, 5), lambda n: uniform(n, 5), lambda n: rng.uniform(0, 2, (n, 5)))
PLAIN = batches(lambda n: bits(n, 5), lambda n: uniform(n, 5))
LOGITS = batches(lambda n: bits(n, 3), lambda n: 3 * scores(n, 3), by_sample)
MAPS = batches(lambda n: bits(n, 3, 2, 1), lambda n: uniform(n, 3, 2, 1))
ROUND = batches(lambda n: bits(n), lambda n: np.round(4 * uniform(n)) / 4)
CLASSES = batches(lambda n: one_hot(5, n), lambda n: near(5, n), by_sample)
NUMBERS = batches(lambda n: labels(5, n), lambda n: near(5, n), by_sample)
PAIRS = batches(lambda n: labels(4, n), lambda n: labels(4, n))
# Whole weights for counts in integers, and labels out of range.
COUNTED = batches(lambda n: labels(4, n) - 1, lambda n: labels(4, n), lambda n: labels(3, n) + 1)
IMAGES = batches(lambda n: labels(4, n, 3, 5), lambda n: near(4, 15 * n).reshape(n, 3, 5, 4))
WEIGHTED_PAIRS = batches(lambda n: labels(4, n), lambda n: labels(4, n), by_sample)
ONE_HOT_IMAGES = batches(
    lambda n: one_hot(3, n, 2, 3), lambda n: near(3, 6 * n).reshape(n, 2, 3, 3)
)
FIRST_AXIS = batches(
    lambda n: np.moveaxis(one_hot(3, n, 4), -1, 1),
    lambda n: np.moveaxis(near(3, 4 * n).reshape(n, 4, 3), -1, 1),
)
TARGETS = batches(lambda n: scores(n, 5), lambda n: scores(n, 5), by_sample)
EXPLAINED = [(t, single(t + 0.3 * scores(*t.shape)), w) for t, _, w in TARGETS]
UNWEIGHTED = [(t, p, None) for t, p, _ in EXPLAINED]
ONE_TARGET = [(t[:, :1], p[:, :1], w) for t, p, w in EXPLAINED]
POSITIVE = [(single(np.abs(t)), single(np.abs(p) + 0.1), w) for t, p, w in TARGETS]
SIGNS = [(2.0 * (t > 0) - 1, p, w) for t, p, w in TARGETS]
SOFT = batches(lambda n: near(5, n), lambda n: near(5, n), by_sample)
SEQUENCES = batches(lambda n: labels(4, n, 3), lambda n: near(4, 3 * n).reshape(n, 3, 4), by_sample)
WHOLE = batches(lambda n: labels(3, n, 4), lambda n: labels(3, n, 4), by_sample)
VALUES = [(scores(n, 3), w) for n, w in ((4, None), (7, single(by_sample(7))))]
SHAPES = ((4, (4, 3, 2)), (7, (7, 3)), (5, (5, 1)), (3, (3, 3, 1)))
EACH_VALUE = [(scores(n, 3, 2), single(rng.uniform(0, 2, shape))) for n, shape in SHAPES]


def describe(value):
    if isinstance(value, dict):
        return ",".join(f"{k}={describe(v)}" for k, v in value.items())
    text = str(value).replace(" ", "")
    return text if len(text) < 25 else f"{len(value)}values"


def case(name, data, /, *args, **kwargs):
    data_name = next(k for k, v in globals().items() if v is data)
    shown = [describe(a) for a in args] + ([describe(kwargs)] if kwargs else [])
    ident = f"{name}({','.join(shown)})-{data_name.lower()}"
    return Case(ident, lambda metrics: getattr(metrics, name)(*args, **kwargs), data)


EVEN = [0.0, 0.25, 0.5, 0.75, 1.0]
COUNTS = ("TruePositives", "TrueNegatives", "FalsePositives", "FalseNegatives")
SHARES = ("Precision", "Recall")
AT = ("SensitivityAtSpecificity", "SpecificityAtSensitivity", "PrecisionAtRecall",
      "RecallAtPrecision")  # fmt: skip
CURVES = ("ROC", "PR", "PRGAIN")
SUMS = ("interpolation", "minoring", "majoring")

CASES = [
    *(case(name, data) for name in COUNTS for data in (YES_NO, COLUMN, MANY, MAPS, FLAT_LABELS)),
    *(case(name, MANY, [0.1, 0.45, 0.8]) for name in COUNTS),
    *(case(name, MANY, EVEN) for name in COUNTS),
    *(case(name, ROUND, EVEN) for name in COUNTS),
    *(case(name, EACH) for name in COUNTS),
    *(case(name, data) for name in SHARES for data in (YES_NO, COLUMN, MANY, EACH, MAPS)),
    *(case(name, MANY, thresholds=[0.2, 0.9]) for name in SHARES),
    *(case(name, MANY, thresholds=EVEN) for name in SHARES),
    *(case(name, MANY, thresholds=0.7, class_id=2) for name in SHARES),
    *(case(name, CLASSES, top_k=2) for name in SHARES),
    *(case(name, MANY, top_k=3, class_id=4) for name in SHARES),
    *(case(name, CLASSES, top_k=1, thresholds=[0.1, 0.6]) for name in SHARES),
    *(case(name, data, 0.6) for name in AT for data in (YES_NO, MANY)),
    *(case(name, MANY, 0.4, num_thresholds=33, class_id=1) for name in AT),
    *(case(name, MANY, 0.3, num_thresholds=1) for name in AT),
    *(case(name, MANY, 0.3, num_thresholds=2) for name in AT),
    *(case(name, PLAIN, 1.0) for name in AT),
    *(case("AUC", MANY, curve=c, summation_method=s) for c in CURVES for s in SUMS),
    *(case("AUC", YES_NO, curve=c) for c in CURVES),
    *(case("AUC", EACH, num_thresholds=17, curve=c) for c in CURVES),
    *(case("AUC", MANY, multi_label=True, curve=c) for c in CURVES),
    case("AUC", MANY, 2),
    case("AUC", ROUND, 5),
    case("AUC", MANY, thresholds=[0.7, 0.2, 0.5]),
    case("AUC", MANY, thresholds=[0.25, 0.5, 0.75]),
    case("AUC", PLAIN, thresholds=[0.3, 0.6], multi_label=True),
    case("AUC", MANY, multi_label=True, num_labels=5, label_weights=[1.0, 2.0, 0.5, 0.0, 3.0]),
    case("AUC", MANY, label_weights=[1.0, 2.0, 0.5, 0.0, 3.0]),
    case("AUC", PLAIN, label_weights=[1.0, 2.0, 0.5, 0.0, 3.0], curve="PR"),
    case("AUC", LOGITS, from_logits=True),
    case("IoU", PAIRS, 4, [0, 2]),
    case("IoU", PAIRS, num_classes=6, target_class_ids=[5, 1]),
    case("IoU", COUNTED, 4, [1, 2, 3]),
    case("IoU", COUNTED, 3, [1, 2], ignore_class=1),
    case("IoU", WEIGHTED_PAIRS, 4, [0, 3], dtype="float32"),
    case("IoU", IMAGES, 4, [0, 3], sparse_y_pred=False),
    case("MeanIoU", PAIRS, 4),
    case("MeanIoU", COUNTED, 4, ignore_class=0),
    case("MeanIoU", WEIGHTED_PAIRS, 4, dtype="float32"),
    case("MeanIoU", IMAGES, 4, sparse_y_pred=False),
    case("MeanIoU", IMAGES, 4, sparse_y_pred=False, ignore_class=3),
    case("OneHotIoU", ONE_HOT_IMAGES, 3, [0, 2]),
    case("OneHotIoU", CLASSES, 5, [1], dtype="float32"),
    case("OneHotMeanIoU", ONE_HOT_IMAGES, 3),
    case("OneHotMeanIoU", ONE_HOT_IMAGES, 3, ignore_class=1),
    case("OneHotMeanIoU", CLASSES, 5, dtype="float32"),
    case("BinaryIoU", YES_NO),
    case("BinaryIoU", MAPS, [1], 0.3),
    case("BinaryIoU", ROUND, [0], 0.5),
    case("BinaryIoU", COLUMN, dtype="float32"),
    *(case("F1Score", data, average=a) for a in (None, "micro", "macro", "weighted")
      for data in (CLASSES, PLAIN)),
    *(case("F1Score", MANY, average=a, threshold=0.4) for a in (None, "micro", "macro")),
    *(case("FBetaScore", MANY, average=a, beta=b, threshold=0.6)
      for a in (None, "micro", "weighted") for b in (0.5, 2.0)),
    case("FBetaScore", CLASSES, average="macro", beta=2.0),
    *(case("R2Score", data, a) for a in ("uniform_average", "variance_weighted_average", None)
      for data in (EXPLAINED, TARGETS)),
    case("R2Score", EXPLAINED, num_regressors=3),
    case("R2Score", ONE_TARGET),
    *(case(n, data) for n in ("PearsonCorrelation", "ConcordanceCorrelation", "CosineSimilarity")
      for data in (TARGETS, EXPLAINED)),
    *(case(n, UNWEIGHTED, axis=0) for n in ("PearsonCorrelation", "ConcordanceCorrelation")),
    *(case(n, TARGETS) for n in ("MeanSquaredError", "MeanAbsoluteError", "LogCoshError",
      "RootMeanSquaredError", "MeanAbsolutePercentageError", "Hinge", "SquaredHinge")),
    *(case(n, SIGNS) for n in ("Hinge", "SquaredHinge")),
    *(case(n, POSITIVE) for n in ("MeanSquaredLogarithmicError", "Poisson")),
    *(case(n, CLASSES) for n in ("CategoricalHinge", "KLDivergence", "CategoricalAccuracy",
      "CategoricalCrossentropy", "TopKCategoricalAccuracy")),
    case("KLDivergence", SOFT),
    case("CategoricalCrossentropy", SOFT, label_smoothing=0.1),
    case("CategoricalCrossentropy", TARGETS, from_logits=True),
    case("CategoricalCrossentropy", FIRST_AXIS, axis=1),
    *(case("TopKCategoricalAccuracy", CLASSES, k) for k in (1, 3)),
    *(case("SparseTopKCategoricalAccuracy", NUMBERS, k) for k in (1, 3)),
    case("SparseTopKCategoricalAccuracy", SEQUENCES, 2),
    *(case(n, data) for n in ("SparseCategoricalAccuracy", "SparseCategoricalCrossentropy")
      for data in (NUMBERS, SEQUENCES)),
    case("SparseCategoricalCrossentropy", NUMBERS, from_logits=True),
    case("SparseCategoricalCrossentropy", NUMBERS, ignore_class=1),
    *(case("BinaryCrossentropy", data) for data in (YES_NO, COLUMN, MANY)),
    case("BinaryCrossentropy", LOGITS, from_logits=True, label_smoothing=0.2),
    *(case("BinaryAccuracy", data) for data in (YES_NO, COLUMN, FLAT_LABELS, MANY)),
    case("BinaryAccuracy", MANY, threshold=0.7),
    case("Accuracy", WHOLE),
    *(case(n, data) for n in ("Mean", "Sum") for data in (VALUES, EACH_VALUE)),
]  # fmt: skip
