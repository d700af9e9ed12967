"""Updates in float64. Each returns the new values of the arrays it writes, in their order."""

import itertools

import numpy as np


def _wide(*arrays):
    return [np.asarray(a, np.float64) for a in arrays]


def sgd(spec, w, g, hyper, v=None):
    """w, or (w, v) with momentum."""
    w, g, hyper = _wide(w, g, hyper)
    rate = hyper[0]
    w = w - rate * spec.weight_decay * w
    if v is None:
        return w - rate * g
    v = spec.momentum * np.asarray(v, np.float64) - rate * g
    return w + (spec.momentum * v - rate * g if spec.nesterov else v), v


def rmsprop(spec, w, g, hyper, s, *more):
    """(w, s), then m with momentum, then a where centered."""
    w, g, hyper, s, *more = _wide(w, g, hyper, s, *more)
    rate = hyper[0]
    w = w - rate * spec.weight_decay * w
    s = spec.rho * s + (1 - spec.rho) * g**2
    square = s + spec.epsilon
    changed = []
    if spec.centered:
        a = spec.rho * more[-1] + (1 - spec.rho) * g
        square = square - a**2
        changed = [a]
    step = rate * g / np.sqrt(square)
    if spec.momentum:
        step = spec.momentum * more[0] + step
        changed = [step, *changed]
    return (w - step, s, *changed)


def adam(spec, w, g, hyper, m, v, *largest):
    """(w, m, v), then the largest v where amsgrad."""
    w, g, hyper, m, v, *largest = _wide(w, g, hyper, m, v, *largest)
    rate, step = hyper[:2]
    w = w - rate * spec.weight_decay * w
    m = spec.beta_1 * m + (1 - spec.beta_1) * g
    v = spec.beta_2 * v + (1 - spec.beta_2) * g**2
    top = [np.maximum(v, largest[0])] if spec.amsgrad else []
    scale = rate * np.sqrt(1 - spec.beta_2**step) / (1 - spec.beta_1**step)
    return (w - scale * m / (np.sqrt(top[0] if top else v) + spec.epsilon), m, v, *top)


def update(spec, w, g, hyper, *states, rule):
    """w and the rule's states; see `rules` below."""
    w, g, hyper, *states = _wide(w, g, hyper, *states)
    w = w - hyper[0] * spec.weight_decay * w
    return RULES[rule](w, g, hyper[0], hyper[2:], *states)


def _adadelta(w, g, rate, numbers, squares, steps):
    rho, _, epsilon = numbers[:3]
    squares = rho * squares + (1 - rho) * g**2
    step = np.sqrt(steps + epsilon) / np.sqrt(squares + epsilon) * g
    return w - rate * step, squares, rho * steps + (1 - rho) * step**2


def _adagrad(w, g, rate, numbers, squares):
    squares = squares + g**2
    return w - rate * g / np.sqrt(squares + numbers[0]), squares


def _adam(w, g, rate, numbers, m, v):
    scale, rest_1, rest_2, epsilon = numbers[:4]
    m, v = (1 - rest_1) * m + rest_1 * g, (1 - rest_2) * v + rest_2 * g**2
    return w - scale * m / (np.sqrt(v) + epsilon), m, v


def _adamax(w, g, rate, numbers, m, u):
    scale, rest, beta, epsilon = numbers[:4]
    m = (1 - rest) * m + rest * g
    u = np.maximum(beta * u, np.abs(g))
    return w - scale * m / (u + epsilon), m, u


def _ftrl(w, g, rate, numbers, squares, linear, power=0.5):
    l1, l2, shrinkage = numbers[:3]
    after = squares + g**2
    slope = (after**power - squares**power) / rate
    linear = linear + g + shrinkage * w - slope * w
    return (np.clip(linear, -l1, l1) - linear) / (after**power / rate + l2), after, linear


def _lion(w, g, rate, numbers, m):
    beta_1, _, beta_2, _ = numbers[:4]
    step = np.sign(beta_1 * m + (1 - beta_1) * g)
    return w - rate * step, beta_2 * m + (1 - beta_2) * g


def _nadam(w, g, rate, numbers, m, v):
    ahead, now, rest_1, rest_2, correction, epsilon = numbers
    m, v = (1 - rest_1) * m + rest_1 * g, (1 - rest_2) * v + rest_2 * g**2
    return w - (ahead * m + now * g) / (np.sqrt(v * correction) + epsilon), m, v


def _schedule_free(w, g, rate, numbers, z, v):
    warm, beta, rest_2, correction, epsilon, weight = numbers
    v = (1 - rest_2) * v + rest_2 * g**2
    x = (w - (1 - beta) * z) / beta
    z = z - warm * g / (np.sqrt(v * correction) + epsilon)
    x = (1 - weight) * x + weight * z
    return (1 - beta) * z + beta * x, z, v


RULES = {
    "adadelta": _adadelta,
    "adagrad": _adagrad,
    "adam": _adam,
    "adamax": _adamax,
    "ftrl": _ftrl,
    "ftrl_power": lambda w, g, rate, numbers, *states: _ftrl(
        w, g, rate, numbers, *states, power=numbers[3]
    ),
    "lion": _lion,
    "nadam": _nadam,
    "schedule_free_adamw": _schedule_free,
}


def lamb(spec, w, g, hyper, m, v, segments):
    w, g, hyper, m, v = _wide(w, g, hyper, m, v)
    rest_1, rest_2, correction_1, correction_2, epsilon = hyper[2:7]
    new = w * (1 - hyper[0] * spec.weight_decay)
    m_new, v_new = m.copy(), v.copy()
    for first, stop in segments:
        at = slice(first, stop)
        m_new[at] = (1 - rest_1) * m[at] + rest_1 * g[at]
        v_new[at] = (1 - rest_2) * v[at] + rest_2 * g[at] ** 2
        step = m_new[at] * correction_1 / (np.sqrt(v_new[at] * correction_2) + epsilon)
        weights, steps = np.linalg.norm(new[at]), np.linalg.norm(step)
        new[at] -= hyper[0] * (weights / steps if weights and steps else 1.0) * step
    between = np.ones(len(w), bool)
    for first, stop in segments:
        between[first:stop] = False
    new[between] = w[between]
    return new, m_new, v_new


def mix(spec, target, value):
    target, value = _wide(target, value)
    kept = spec.keep * target if spec.keep else 0.0 * np.ones_like(target)
    return kept + spec.rest * value if spec.rest else kept


def clip_gradients_value(spec, g, bounds):
    return np.clip(np.asarray(g, np.float64), -spec.value, spec.value)


def _limited(g, value):
    return g * value / max(np.linalg.norm(g), value)


def clip_gradients_norm(spec, g, bounds):
    g = np.array(g, np.float64)
    for first, stop in itertools.pairwise(bounds):
        g[first:stop] = _limited(g[first:stop], spec.value)
    return g


def clip_gradients_global_norm(spec, g, bounds):
    return _limited(np.array(g, np.float64), spec.value)


def assign(spec, target, value):
    return np.asarray(value)


def accumulate(spec, total, value, weight):
    total, value, weight = _wide(total, value, weight)
    return total + np.array([(value.reshape(-1) * weight.reshape(-1)).sum(), weight.sum()])
