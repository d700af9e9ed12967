"""Global response normalization in float64."""

import numpy as np


def _maps(spec, x):
    return np.asarray(x, np.float64).reshape(spec.n, spec.rows, spec.c)


def global_response(spec, x, gamma, beta):
    x = _maps(spec, x)
    norms = np.sqrt((x**2).sum(1, keepdims=True))
    shares = norms / (norms.mean(2, keepdims=True) + spec.epsilon)
    return x * (np.asarray(gamma, np.float64) * shares + 1) + np.asarray(beta, np.float64), norms


def global_response_dx(spec, x, dy, gamma, norms):
    """By the chain rule, one step after the other."""
    x, dy, gamma = _maps(spec, x), _maps(spec, dy), np.asarray(gamma, np.float64)
    norms = np.asarray(norms, np.float64).reshape(spec.n, 1, spec.c)
    below = norms.mean(2, keepdims=True) + spec.epsilon
    shares = norms / below
    dshares = gamma * (dy * x).sum(1, keepdims=True)
    dbelow = -(dshares * norms / below**2).sum(2, keepdims=True)
    dnorms = dshares / below + dbelow / max(spec.c, 1)
    dx = dy * (gamma * shares + 1) + dnorms * x / np.where(norms > 0, norms, np.inf)
    return dx, (dy * x * shares).sum((0, 1)), dy.sum((0, 1))
