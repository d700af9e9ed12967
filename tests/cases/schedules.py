"""Cases of learning rate schedules; what real Keras gives at `STEPS` is in golden/formulas.json."""

from collections.abc import Callable
from typing import Any, NamedTuple

# Around the ends of warm-ups, decays and restarts of the cases, and long after.
STEPS = (
    0, 1, 2, 5, 9, 10, 11, 15, 19, 20, 21, 25, 30, 33, 39, 40, 41, 47, 50, 55, 59, 60, 61, 70, 79,
    80, 81, 90, 99, 100, 101, 119, 120, 121, 140, 150, 199, 200, 201, 260, 300, 1000,
)  # fmt: skip


class Case(NamedTuple):
    id: str
    make: Callable[[Any], Any]  # from the module of schedules


def case(name, *args, **kwargs):
    shown = ",".join([*map(str, args), *(f"{k}={v}" for k, v in kwargs.items())])
    ident = f"schedule.{name}({shown})".replace(" ", "")
    return Case(ident, lambda schedules: getattr(schedules, name)(*args, **kwargs))


CASES = [
    *(case(name, 0.1, 20, rate, staircase=s) for name in ("ExponentialDecay", "InverseTimeDecay")
      for rate in (0.5, 0.96) for s in (False, True)),
    case("PiecewiseConstantDecay", [20, 60], [1.0, 0.5, 0.1]),
    case("PiecewiseConstantDecay", [9, 10, 100, 200], [0.1, 0.2, 0.3, 0.2, 0.05]),
    case("PolynomialDecay", 0.1, 40),
    case("PolynomialDecay", 0.1, 40, cycle=True),
    case("PolynomialDecay", 0.5, 20, 0.01, 2.0),
    case("PolynomialDecay", 0.5, 20, 0.01, 0.5, True),
    case("CosineDecay", 0.1, 60),
    case("CosineDecay", 0.1, 60, 0.2),
    case("CosineDecay", 0.0, 60, warmup_target=0.1, warmup_steps=20),
    case("CosineDecay", 0.05, 40, 0.1, warmup_target=0.2, warmup_steps=10),
    case("CosineDecay", 0.1, 40, warmup_steps=10),
    case("CosineDecayRestarts", 0.1, 20),
    case("CosineDecayRestarts", 0.1, 20, 1.0, 0.7),
    case("CosineDecayRestarts", 0.1, 10, 3.0, 0.9, 0.1),
]  # fmt: skip
