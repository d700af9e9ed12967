"""Optimizers that give numbers to a rule at each step, in float64: the rules, which look at one
weight at a time, are `nbcnn.kernels.update_rules`. LAMB beside them looks at norms, too.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from nbcnn.declare import arg, fraction, non_negative
from nbcnn.ops.optimizer import Update
from nbcnn.optimizer_base import Optimizer, Part, rate_of


def _not_positive(value: Any) -> str | None:
    return None if value <= 0 else "must not be positive"


def _above_0_to_1(value: Any) -> str | None:
    return None if 0 < value <= 1 else "must be above 0 and at most 1"


def _over(number: float, beta: float, step: int) -> float:
    """number / (1 - beta^step): corrected for a mean's start at zero."""
    rest = 1.0 - beta**step
    return number / rest if rest else math.inf


class _Ruled(Optimizer):
    """Base of optimizers that are a rule of `nbcnn.kernels.update_rules`."""

    rule: ClassVar[str]

    def part(self, variable: Any) -> Part:
        decay = (self.weight_decay or 0.0) if self.decays(variable) else 0.0
        return Part(self, Update(self.rule, decay), decay, (*self.slots, *self.common_slots))


class Adadelta(_Ruled):
    """Steps of the size of the recent ones (Zeiler 2012):

        s = rho * s + (1 - rho) * g²
        step = sqrt(d + epsilon) / sqrt(s + epsilon) * g
        d = rho * d + (1 - rho) * step²
        w -= lr * step

    Parameters
    ----------
    learning_rate : default 0.001; 1 is the paper's.
    rho : default 0.95.
    epsilon : default 1e-7.
    """

    rule = "adadelta"

    learning_rate: Any = arg(0.001, convert=rate_of)
    rho: float = arg(0.95, check=fraction)
    epsilon: float = arg(1e-7, check=non_negative)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("accumulated_grad", "accumulated_delta_var")

    def numbers(self, rate: float, step: int) -> Sequence[float]:
        return self.rho, 1.0 - self.rho, self.epsilon


class Adagrad(_Ruled):
    """Gradients divided by the root of the sum of their squares (Duchi et al. 2011):

        s += g²
        w -= lr * g / sqrt(s + epsilon)

    Parameters
    ----------
    learning_rate : default 0.001.
    initial_accumulator_value : where s starts; default 0.1.
    epsilon : default 1e-7.
    """

    rule = "adagrad"

    learning_rate: Any = arg(0.001, convert=rate_of)
    initial_accumulator_value: float = arg(0.1, check=non_negative)
    epsilon: float = arg(1e-7, check=non_negative)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("accumulator",)

    def slot_start(self, slot: str) -> float | None:
        return self.initial_accumulator_value if slot == "accumulator" else 0.0

    def numbers(self, rate: float, step: int) -> Sequence[float]:
        return (self.epsilon,)


class Adamax(_Ruled):
    """Adam with the largest gradient in the place of the mean square (Kingma & Ba 2014); t counts
    from 1:

        m += (1 - beta_1) * (g - m)
        u = max(beta_2 * u, |g|)
        w -= lr / (1 - beta_1 ** t) * m / (u + epsilon)

    Parameters
    ----------
    learning_rate : default 0.001.
    beta_1, beta_2 : default 0.9 and 0.999.
    epsilon : default 1e-7.
    """

    rule = "adamax"

    learning_rate: Any = arg(0.001, convert=rate_of)
    beta_1: float = arg(0.9, check=fraction)
    beta_2: float = arg(0.999, check=fraction)
    epsilon: float = arg(1e-7, check=non_negative)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("momentum", "norm")

    def numbers(self, rate: float, step: int) -> Sequence[float]:
        return _over(rate, self.beta_1, step), 1.0 - self.beta_1, self.beta_2, self.epsilon


class Ftrl(_Ruled):
    """Follow the regularized leader (McMahan et al. 2013); p is -learning_rate_power and l2 is
    l2_regularization_strength + beta / (2 * lr):

        n = s + g²
        z += g + 2 * l2_shrinkage_regularization_strength * w - (n^p - s^p) / lr * w
        w = (clip(z, -l1, l1) - z) / (n^p / lr + 2 * l2)
        s = n

    Parameters
    ----------
    learning_rate : default 0.001.
    learning_rate_power : not positive; default -0.5.
    initial_accumulator_value : where s starts; default 0.1.
    l1_regularization_strength, l2_regularization_strength, l2_shrinkage_regularization_strength :
        not negative; default 0.
    beta : default 0.
    """

    rule = "ftrl"

    learning_rate: Any = arg(0.001, convert=rate_of)
    learning_rate_power: float = arg(-0.5, check=_not_positive)
    initial_accumulator_value: float = arg(0.1, check=non_negative)
    l1_regularization_strength: float = arg(0.0, check=non_negative)
    l2_regularization_strength: float = arg(0.0, check=non_negative)
    l2_shrinkage_regularization_strength: float = arg(0.0, check=non_negative)
    beta: float = 0.0

    @property
    def slots(self) -> tuple[str, ...]:
        return ("accumulator", "linear")

    def slot_start(self, slot: str) -> float | None:
        return self.initial_accumulator_value if slot == "accumulator" else 0.0

    def part(self, variable: Any) -> Part:
        part = super().part(variable)
        if self.learning_rate_power == -0.5:
            return part
        return part._replace(op=Update("ftrl_power", part.weight_decay))

    def numbers(self, rate: float, step: int) -> Sequence[float]:
        l2 = 2.0 * self.l2_regularization_strength
        if self.beta:
            l2 += self.beta / rate if rate else math.inf
        shrinkage = 2.0 * self.l2_shrinkage_regularization_strength
        return self.l1_regularization_strength, l2, shrinkage, -self.learning_rate_power


class Lion(_Ruled):
    """Steps of one length in the direction of a mean gradient's sign (Chen et al. 2023):

        w -= lr * sign(beta_1 * m + (1 - beta_1) * g)
        m = beta_2 * m + (1 - beta_2) * g

    Parameters
    ----------
    learning_rate : default 0.001.
    beta_1 : above 0, to 1; default 0.9.
    beta_2 : default 0.99.
    """

    rule = "lion"

    learning_rate: Any = arg(0.001, convert=rate_of)
    beta_1: float = arg(0.9, check=_above_0_to_1)
    beta_2: float = arg(0.99, check=fraction)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("momentum",)

    def numbers(self, rate: float, step: int) -> Sequence[float]:
        return self.beta_1, 1.0 - self.beta_1, self.beta_2, 1.0 - self.beta_2


class Nadam(_Ruled):
    """Adam with Nesterov momentum (Dozat 2015); t counts from 1, with
    u(t) = beta_1 * (1 - 0.96 ** t / 2) and U(t) = u(1) * ... * u(t):

        m += (1 - beta_1) * (g - m)
        v += (1 - beta_2) * (g² - v)
        d = u(t + 1) / (1 - U(t + 1)) * m + (1 - u(t)) / (1 - U(t)) * g
        w -= lr * d / (sqrt(v / (1 - beta_2 ** t)) + epsilon)

    Parameters
    ----------
    learning_rate : default 0.001.
    beta_1, beta_2 : default 0.9 and 0.999.
    epsilon : default 1e-7.
    """

    rule = "nadam"

    learning_rate: Any = arg(0.001, convert=rate_of)
    beta_1: float = arg(0.9, check=fraction)
    beta_2: float = arg(0.999, check=fraction)
    epsilon: float = arg(1e-7, check=non_negative)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._product = (0, 1.0)  # U of the latest step

    @property
    def slots(self) -> tuple[str, ...]:
        return ("momentum", "velocity")

    def numbers(self, rate: float, step: int) -> Sequence[float]:
        product, following = self._product_at(step), self._factor(step + 1)
        ahead = rate * following / (1.0 - product * following)
        now = rate * (1.0 - self._factor(step)) / (1.0 - product)
        rests = 1.0 - self.beta_1, 1.0 - self.beta_2
        return ahead, now, *rests, _over(1.0, self.beta_2, step), self.epsilon

    def _factor(self, step: int) -> float:
        return self.beta_1 * (1.0 - 0.5 * 0.96**step)

    def _product_at(self, step: int) -> float:
        done, product = self._product if self._product[0] <= step else (0, 1.0)
        for each in range(done + 1, step + 1):
            product *= self._factor(each)
        self._product = step, product
        return product


class ScheduleFreeAdamW(_Ruled):
    """Adam without a schedule of rates: weights lie between z, where steps are taken, and x, the
    mean of all z (Defazio et al. 2024); t counts from 1:

        v += (1 - beta_2) * (g² - v)
        z -= lr * min(1, t / warmup_steps) * g / (sqrt(v / (1 - beta_2 ** t)) + epsilon)
        x = (1 - 1 / t) * x + z / t
        w = (1 - beta_1) * z + beta_1 * x

    Parameters
    ----------
    learning_rate : default 0.0025.
    beta_1, beta_2 : default 0.9 and 0.999.
    epsilon : default 1e-8.
    warmup_steps : default 0.
    """

    rule = "schedule_free_adamw"

    learning_rate: Any = arg(0.0025, convert=rate_of)
    beta_1: float = arg(0.9, check=_above_0_to_1)
    beta_2: float = arg(0.999, check=fraction)
    epsilon: float = arg(1e-8, check=non_negative)
    warmup_steps: int = arg(0, check=non_negative)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("momentum", "velocity")

    def slot_start(self, slot: str) -> float | None:
        return None if slot == "momentum" else 0.0

    def numbers(self, rate: float, step: int) -> Sequence[float]:
        warm = rate * min(1.0, step / self.warmup_steps) if self.warmup_steps else rate
        correction = _over(1.0, self.beta_2, step)
        return warm, self.beta_1, 1.0 - self.beta_2, correction, self.epsilon, 1.0 / step


class Lamb(Optimizer):
    """Adam whose step for each variable is scaled to the size of the variable (You et al. 2019); t
    counts from 1:

        m += (1 - beta_1) * (g - m)
        v += (1 - beta_2) * (g² - v)
        u = m / (1 - beta_1 ** t) / (sqrt(v / (1 - beta_2 ** t)) + epsilon)
        w -= lr * |w| / |u| * u                 where |w| or |u| is 0, w -= lr * u

    Parameters
    ----------
    learning_rate : default 0.001.
    beta_1, beta_2 : default 0.9 and 0.999.
    epsilon : default 1e-7.
    """

    op = "lamb"

    learning_rate: Any = arg(0.001, convert=rate_of)
    beta_1: float = arg(0.9, check=fraction)
    beta_2: float = arg(0.999, check=fraction)
    epsilon: float = arg(1e-7, check=non_negative)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("momentum", "velocity")

    def numbers(self, rate: float, step: int) -> Sequence[float]:
        betas = self.beta_1, self.beta_2
        return *(1.0 - b for b in betas), *(_over(1.0, b, step) for b in betas), self.epsilon
