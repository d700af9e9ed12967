"""Rules of optimizers that look at one weight at a time, as every device compiles them.

    rule(w, g, a, b, rate, p, q, r, s, t, u) -> (w, a, b)

w: the weight after its decay. g: its gradient. a, b: the rule's state; a rule with one state leaves
b, one without leaves both. rate: the learning rate. p to u: numbers of the step, which the
optimizer computes in float64 from its settings and the step's number; each rule says which. What
`scalar.py` says about constants and functions holds here, too.
"""

from collections.abc import Callable
from math import exp, log, sqrt


def adadelta(w, g, a, b, rate, rho, rest, epsilon, s, t, u):
    """a, b: mean squares of gradients and of steps. rest: 1 - rho."""
    a = rho * a + rest * g * g
    step = sqrt(b + epsilon) * g / sqrt(a + epsilon)
    b = rho * b + rest * step * step
    return w - rate * step, a, b


def adagrad(w, g, a, b, rate, epsilon, q, r, s, t, u):
    """a: sum of squares."""
    a = a + g * g
    return w - rate * g / sqrt(a + epsilon), a, b


def adam(w, g, a, b, rate, scale, rest_1, rest_2, epsilon, t, u):
    """a, b: mean and mean square. scale: rate * sqrt(1 - beta_2^step) / (1 - beta_1^step), where
    the rate may be another than that of the decay.
    """
    a = a + rest_1 * (g - a)
    b = b + rest_2 * (g * g - b)
    return w - scale * a / (sqrt(b) + epsilon), a, b


def adamax(w, g, a, b, rate, scale, rest, beta, epsilon, t, u):
    """a: mean gradient, b: largest one, which fades. scale: rate / (1 - beta_1^step)."""
    a = a + rest * (g - a)
    size, faded = abs(g), beta * b
    b = size if size > faded else faded
    return w - scale * a / (b + epsilon), a, b


def ftrl(w, g, a, b, rate, l1, l2, shrinkage, s, t, u):
    """a: sum of squares, b: linear term. l2 and shrinkage: twice their strengths."""
    before, a = sqrt(a), a + g * g
    after = sqrt(a)
    b = b + g + shrinkage * w - (after - before) / rate * w
    kept = -l1 if b < -l1 else b
    kept = l1 if kept > l1 else kept
    return (kept - b) / (after / rate + l2), a, b


def ftrl_power(w, g, a, b, rate, l1, l2, shrinkage, power, t, u):
    """As `ftrl`, with a^power in place of the root. 0^0 is 1."""
    before = exp(power * log(a)) if power > 0.0 else 1.0 + 0.0 * a
    a = a + g * g
    after = exp(power * log(a)) if power > 0.0 else 1.0 + 0.0 * a
    b = b + g + shrinkage * w - (after - before) / rate * w
    kept = -l1 if b < -l1 else b
    kept = l1 if kept > l1 else kept
    return (kept - b) / (after / rate + l2), a, b


def lion(w, g, a, b, rate, beta_1, rest_1, beta_2, rest_2, t, u):
    """a: mean gradient. The step is as long for every weight; none where the direction is 0."""
    along = beta_1 * a + rest_1 * g
    forward = rate if along > 0.0 else 0.0 * along
    step = -rate if along < 0.0 else forward
    return w - step, beta_2 * a + rest_2 * g, b


def nadam(w, g, a, b, rate, ahead, now, rest_1, rest_2, correction, epsilon):
    """a, b: mean and mean square. ahead, now: the rate, weighted and corrected, of the mean and of
    the gradient. correction: 1 / (1 - beta_2^step).
    """
    a = a + rest_1 * (g - a)
    b = b + rest_2 * (g * g - b)
    return w - (ahead * a + now * g) / (sqrt(b * correction) + epsilon), a, b


def schedule_free_adamw(w, g, a, b, rate, warm, beta, rest_2, correction, epsilon, weight):
    """w lies between a, where steps are taken, and the mean x of all a; b: mean square. warm: the
    rate; weight: 1 / step, of the newest a in x. Defazio et al. 2024.
    """
    b = b + rest_2 * (g * g - b)
    mean = (w - (1.0 - beta) * a) / beta
    a = a - warm * g / (sqrt(b * correction) + epsilon)
    mean = (1.0 - weight) * mean + weight * a
    return (1.0 - beta) * a + beta * mean, a, b


# The rule, and how many states it has.
RULES: dict[str, tuple[Callable, int]] = {
    "adadelta": (adadelta, 2),
    "adagrad": (adagrad, 1),
    "adam": (adam, 2),
    "adamax": (adamax, 2),
    "ftrl": (ftrl, 2),
    "ftrl_power": (ftrl_power, 2),
    "lion": (lion, 1),
    "nadam": (nadam, 2),
    "schedule_free_adamw": (schedule_free_adamw, 2),
}
