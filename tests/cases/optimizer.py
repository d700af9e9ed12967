"""Updates in place: optimizers, gradient clipping, assignment, running sums."""

import numpy as np
from cases.case import Case, normal, positive

from nbcnn.ops.optimizer import (
    SGD,
    Accumulate,
    Adam,
    Assign,
    ClipGradients,
    Lamb,
    Mix,
    RMSprop,
    Update,
)


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


def hyper(*numbers):
    return np.array([0.01, 3.0, *numbers, *[0.0] * (6 - len(numbers))])


def rules(n: int, tail: str, tiny: bool):
    """Numbers and states of each rule as they are after a few steps."""
    w, g, m, v = normal(n), normal(n, seed=1), normal(n, seed=2), positive(n)
    g[::5] = 0.0
    for rule, numbers, *states in (
        ("adadelta", (0.95, 0.05, 1e-2), v, v[::-1]),
        ("adagrad", (1e-3,), v),
        ("adam", (0.03, 0.1, 0.01, 1e-3), m, v),
        ("adamax", (0.02, 0.1, 0.99, 1e-3), m, v),
        ("ftrl", (0.3, 0.02, 0.1), v, m),
        ("ftrl_power", (0.3, 0.02, 0.1, 0.7), v, m),
        ("ftrl_power", (0.3, 0.02, 0.1, 0.0), v, m),
        ("lion", (0.9, 0.1, 0.99, 0.01), m),
        ("nadam", (0.01, 0.02, 0.1, 0.01, 30.0, 1e-3), m, v),
        ("schedule_free_adamw", (0.02, 0.9, 0.01, 30.0, 1e-3, 0.25), m, v),
    ):
        name = f"update-{rule}-{numbers[-1]}{tail}"
        inputs = (w, g, hyper(*numbers), *states)
        yield Case(name, Update(rule, 0.5), inputs, wide=(2,), tiny=tiny)


def lambs(n: int, tail: str, tiny: bool):
    """A gap between variables, a variable of zeros, one whose gradients are."""
    w, g, m, v = normal(n), normal(n, seed=1), normal(n, seed=2), positive(n)
    third = n // 3
    segments = np.array([[0, 5], [8, 10], [10, third], [third, n - 3], [n - 3, n]])
    w[8:10] = 0.0
    g[10:third] = m[10:third] = 0.0
    numbers = hyper(0.1, 0.01, 3.7, 30.0, 1e-3)
    yield Case(f"lamb{tail}", Lamb(0.5), (w, g, numbers, m, v, segments), wide=(2,), tiny=tiny)


def mixtures(n: int, tail: str, tiny: bool):
    a, b, broken = normal(n), normal(n, seed=1), np.full(n, np.inf)
    for name, factors, target, value in (
        ("average", (0.9, 0.1), a, b), ("scaled", (0.0, 0.25), broken, b),
        ("zeros", (0.0, 0.0), broken, broken), ("sum", (1.0, 1.0), a, b),
        ("kept", (0.5, 0.0), a, broken),
    ):  # fmt: skip
        yield Case(f"mix-{name}{tail}", Mix(*factors), (target, value), tiny=tiny)


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
    *rules(12, "", True), *rules(40_003, "-large", False),
    *lambs(60, "", True), *lambs(70_001, "-large", False),
    *mixtures(12, "", True), *mixtures(40_003, "-large", False),
    *clips(600, "", True), *clips(70_001, "-large", False),
    *sums(8, "", True), *sums(70_001, "-large", False), *exceptions(),
]  # fmt: skip
