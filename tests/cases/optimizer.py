"""Updates in place: optimizers, gradient clipping, assignment, running sums."""

import numpy as np
from cases.case import Case, normal, positive

from nbcnn.ops.optimizer import SGD, Accumulate, Adam, Assign, ClipGradients, RMSprop


def optimizers(n: int, tail: str, tiny: bool):
    w, g, m, v = normal(n), normal(n, seed=1), normal(n, seed=2), positive(n)
    hyper = np.array([0.01, 3.0, 0.0, 0.0])
    for name, op, *slots in (
        ("sgd", SGD()),
        ("sgd-decay", SGD(weight_decay=0.5)),
        ("sgd-momentum", SGD(0.9), m),
        ("sgd-nesterov", SGD(0.9, True, 0.1), m),
        ("rmsprop", RMSprop(), v),
        ("rmsprop-momentum", RMSprop(momentum=0.9), v, m),
        ("rmsprop-centered", RMSprop(centered=True), v + 9, m),
        ("rmsprop-all", RMSprop(0.8, 0.9, 1e-3, True, 0.1), v + 9, m, g),
        ("adam", Adam(), m, v),
        ("adam-all", Adam(0.8, 0.9, 1e-3, True, 0.1), m, v, v[::-1]),
    ):
        yield Case(name + tail, op, (w, g, hyper, *slots), wide=(2,), tiny=tiny)


def clips(n: int, tail: str, tiny: bool):
    g, bounds = normal(n), np.array([0, 5, 5, n // 2, n])
    for mode, value in (
        ("value", 0.5), ("norm", 1.5), ("norm", 1e3), ("global_norm", 1.5), ("global_norm", 1e3)
    ):  # fmt: skip
        name = f"clip-{mode}-{value}{tail}"
        yield Case(name, ClipGradients(mode, value), (g, bounds), tiny=tiny)


def sums(n: int, tail: str, tiny: bool):
    total, value, weight = np.array([10.0, 20.0]), normal(n), positive(n)
    yield Case(f"accumulate{tail}", Accumulate(), (total, value, weight), wide=(0,), tiny=tiny)
    yield Case(f"assign{tail}", Assign(), (value, value[::-1]), tiny=tiny)


def exceptions():
    nan = (np.array([1.0, np.nan, 2.0]), np.array([0, 3]))
    yield Case("clip-global_norm-nan", ClipGradients("global_norm", 1.0), nan)
    zeros = (np.zeros(9), np.array([0, 4, 9]))
    yield Case("clip-norm-zeros", ClipGradients("norm", 1.0), zeros)


CASES = [
    *optimizers(12, "", True), *optimizers(40_003, "-large", False),
    *clips(600, "", True), *clips(70_001, "-large", False),
    *sums(8, "", True), *sums(70_001, "-large", False), *exceptions(),
]  # fmt: skip
