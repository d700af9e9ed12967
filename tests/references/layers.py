"""Layers that Keras does not have, in NumPy, as `reference` of a case takes them."""

import numpy as np


def global_response(x, gamma, beta, epsilon=1e-6, seen=1.0):
    """x (n, ..., c); `seen` are factors of x and the output."""
    x = x * seen
    norms = np.sqrt(np.sum(x**2, axis=tuple(range(1, x.ndim - 1)), keepdims=True))
    shares = norms / (norms.mean(-1, keepdims=True) + epsilon)
    return (gamma * (x * shares) + beta + x) * seen


def upscaled(mask, shape):
    """A mask of patches (n, ...) for a map of that shape (n, ..., c): (n, ..., 1)."""
    for axis in range(1, mask.ndim):
        mask = np.repeat(mask, shape[axis] // mask.shape[axis], axis)
    return mask[..., None]


def global_response_masked(x, mask, gamma, beta):
    return global_response(x, gamma, beta, seen=upscaled(mask, x.shape))
