"""Learning rates that depend on the step: `schedule(step) -> float`, plain Python arithmetic.

`step` counts optimizer updates from 0. In the formulas, r is the initial rate, d `decay_steps` and
s the step.

Common parameters
-----------------
config : what `serialize` returned, or a name.
custom_objects : dictionary of classes and functions that are not part of this package, by name;
    default none.
initial_learning_rate : r.
decay_steps : d.
name : default the class's name (of `CosineDecayRestarts` "SGDRDecay").
end_learning_rate : end; default 0.0001.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from nbcnn.converters import numbers_of
from nbcnn.declare import Declared, Expected, arg, finite, non_negative, positive
from nbcnn.registry import Family
from nbcnn.registry import serialize as serialize

__all__ = [
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LearningRateSchedule",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "deserialize",
    "serialize",
]

family = Family("learning rate schedule", "keras.optimizers.schedules")


class LearningRateSchedule(Declared, family=family):
    """Base of schedules: override `__call__(step)`."""

    def __call__(self, step: int) -> float:
        raise NotImplementedError(f"{type(self).__name__} must define __call__(step)")


class ExponentialDecay(LearningRateSchedule):
    """r * decay_rate ** (s / d); with `staircase` the exponent is rounded down."""

    initial_learning_rate: float = arg(check=finite)
    decay_steps: float = arg(check=positive)
    decay_rate: float = arg(check=finite)
    staircase: bool = False
    name: str = "ExponentialDecay"

    def __call__(self, step: int) -> float:
        periods = _periods(step, self.decay_steps, self.staircase)
        return self.initial_learning_rate * self.decay_rate**periods


class InverseTimeDecay(LearningRateSchedule):
    """r / (1 + decay_rate * s / d); with `staircase` the ratio s / d is rounded down."""

    initial_learning_rate: float = arg(check=finite)
    decay_steps: float = arg(check=positive)
    decay_rate: float = arg(check=finite)
    staircase: bool = False
    name: str = "InverseTimeDecay"

    def __call__(self, step: int) -> float:
        periods = _periods(step, self.decay_steps, self.staircase)
        return self.initial_learning_rate / (1 + self.decay_rate * periods)


def _periods(step: int, decay_steps: float, staircase: bool) -> float:
    periods = step / decay_steps
    return math.floor(periods) if staircase else periods


def _sequence(value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        raise Expected("must be a list of numbers")
    return value if not value else numbers_of(value)


class PiecewiseConstantDecay(LearningRateSchedule):
    """`values[i]` for steps after `boundaries[i - 1]` and up to `boundaries[i]`, that one
    included.
    """

    boundaries: Sequence[float] = arg(convert=_sequence)
    values: Sequence[float] = arg(convert=_sequence)
    name: str = "PiecewiseConstant"

    def __post_init__(self) -> None:
        if len(self.boundaries) != len(self.values) - 1:
            raise ValueError(
                "PiecewiseConstantDecay: values must be one longer than boundaries, "
                f"got {len(self.values)} values and {len(self.boundaries)} boundaries"
            )

    def __call__(self, step: int) -> float:
        return self.values[sum(step > boundary for boundary in self.boundaries)]


class PolynomialDecay(LearningRateSchedule):
    """(r - end) * (1 - s / d) ** power + end, where s stops at d.

    With `cycle`, d is multiplied by the smallest integer that makes it at least s, so the rate
    rises again.
    """

    initial_learning_rate: float = arg(check=finite)
    decay_steps: float = arg(check=positive)
    end_learning_rate: float = arg(0.0001, check=finite)
    power: float = arg(1.0, check=finite)
    cycle: bool = False
    name: str = "PolynomialDecay"

    def __call__(self, step: int) -> float:
        steps = self.decay_steps
        if self.cycle:
            steps *= math.ceil(step / steps) if step else 1
        remaining = 1 - min(step, steps) / steps
        span = self.initial_learning_rate - self.end_learning_rate
        return span * remaining**self.power + self.end_learning_rate


class CosineDecay(LearningRateSchedule):
    """r * ((1 - alpha) * (1 + cos(pi * s / d)) / 2 + alpha), where s stops at d.

    With `warmup_target`, the rate first goes linearly from r to that target in `warmup_steps`, and
    the decay starts there and from the target.
    """

    initial_learning_rate: float = arg(check=finite)
    decay_steps: float = arg(check=positive)
    alpha: float = arg(0.0, check=finite)
    name: str = "CosineDecay"
    warmup_target: float | None = arg(None, check=finite)
    warmup_steps: int = arg(0, check=non_negative)

    def __call__(self, step: int) -> float:
        start, top = 0, self.initial_learning_rate
        if self.warmup_target is not None:
            start, top = self.warmup_steps, self.warmup_target
            if step < start:
                rise = self.warmup_target - self.initial_learning_rate
                return self.initial_learning_rate + rise * step / start
        done = min(step - start, self.decay_steps) / self.decay_steps
        return top * _cosine(done, self.alpha)


class CosineDecayRestarts(LearningRateSchedule):
    """Cosine decay that starts again after each period (SGDR).

    Parameters
    ----------
    first_decay_steps : length of the first period.
    t_mul : each period is so many times as long as the one before; default 2.
    m_mul : each period starts at so many times the rate of the one before; default 1.
    alpha : smallest rate as a fraction of the initial one; default 0.
    """

    initial_learning_rate: float = arg(check=finite)
    first_decay_steps: float = arg(check=positive)
    t_mul: float = arg(2.0, check=positive)
    m_mul: float = arg(1.0, check=positive)
    alpha: float = arg(0.0, check=finite)
    name: str = "SGDRDecay"

    def __call__(self, step: int) -> float:
        periods = step / self.first_decay_steps
        if self.t_mul == 1.0:
            restarts = math.floor(periods)
            done = periods - restarts
        else:
            growth = 1 - periods * (1 - self.t_mul)
            restarts = math.floor(math.log(growth) / math.log(self.t_mul))
            before = (1 - self.t_mul**restarts) / (1 - self.t_mul)
            done = (periods - before) / self.t_mul**restarts
        return self.initial_learning_rate * _cosine(done, self.alpha, self.m_mul**restarts)


def _cosine(done: float, alpha: float, height: float = 1.0) -> float:
    """From `height` to `alpha` along half a cosine while `done` goes from 0 to 1."""
    return (1 - alpha) * 0.5 * height * (1 + math.cos(math.pi * done)) + alpha


def deserialize(config: Mapping, custom_objects: Mapping | None = None) -> Any:
    """The schedule that `serialize` described."""
    return family.get(config, custom_objects)
