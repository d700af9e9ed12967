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
