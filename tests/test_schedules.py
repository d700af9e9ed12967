"""Schedules against their formulas, evaluated on arrays of steps."""

import json

import numpy as np
import pytest

from nbcnn import schedules
from nbcnn.registry import deserialize, serialize

STEPS = np.arange(0, 260, 3)
S = STEPS.astype("float64")


def cosine(done):
    return (1 + np.cos(np.pi * done)) / 2


TABLE = [
    (schedules.ExponentialDecay(0.1, 50, 0.5), 0.1 * 0.5 ** (S / 50)),
    (schedules.ExponentialDecay(0.1, 50, 0.5, staircase=True), 0.1 * 0.5 ** (S // 50)),
    (schedules.InverseTimeDecay(0.1, 50, 0.5), 0.1 / (1 + 0.5 * S / 50)),
    (schedules.InverseTimeDecay(0.1, 50, 0.5, True), 0.1 / (1 + 0.5 * (S // 50))),
    (
        schedules.PiecewiseConstantDecay([30, 90], [1.0, 0.5, 0.1]),
        np.select([S <= 30, S <= 90], [1.0, 0.5], 0.1),
    ),
    (schedules.PolynomialDecay(0.1, 100), 0.0999 * (1 - np.minimum(S, 100) / 100) + 0.0001),
    (
        schedules.PolynomialDecay(0.1, 100, 0.01, 2.0, cycle=True),
        0.09 * (1 - S / (100 * np.maximum(np.ceil(S / 100), 1))) ** 2 + 0.01,
    ),
    (
        schedules.CosineDecay(0.1, 100, alpha=0.2),
        0.1 * (0.8 * cosine(np.minimum(S, 100) / 100) + 0.2),
    ),
    (
        schedules.CosineDecay(0.1, 100, warmup_target=0.4, warmup_steps=20),
        np.where(S < 20, 0.1 + 0.3 * S / 20, 0.4 * cosine(np.clip((S - 20) / 100, 0, 1))),
    ),
    (
        schedules.CosineDecayRestarts(0.1, 100, t_mul=1.0, m_mul=0.5),
        0.1 * 0.5 ** (S // 100) * cosine((S % 100) / 100),
    ),
    (
        schedules.CosineDecayRestarts(0.1, 100),
        0.1 * np.where(S < 100, cosine(S / 100), cosine((S - 100) / 200)),
    ),
]


@pytest.mark.parametrize("schedule, expected", TABLE, ids=lambda v: type(v).__name__)
def test_values(schedule, expected):
    got = [schedule(int(step)) for step in STEPS]
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-15)
    assert all(type(value) is float for value in got)


@pytest.mark.parametrize("schedule, expected", TABLE, ids=lambda v: type(v).__name__)
def test_config_round_trip(schedule, expected):
    again = deserialize(json.loads(json.dumps(serialize(schedule))))
    assert type(again) is type(schedule)
    assert again(77) == schedule(77)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: schedules.ExponentialDecay(0.1, 0, 0.5), "decay_steps must be positive, got 0"),
        (lambda: schedules.PiecewiseConstantDecay([1], [1]), "got 1 values and 1 boundaries"),
        (lambda: schedules.CosineDecay(0.1), "argument 'decay_steps' is missing"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
