"""Layers over windows and neighbours in NumPy, as `reference` of a case takes them."""

import numpy as np

MODES = {"circular": "wrap", "replicate": "edge"}


def padded(x, pairs, mode="constant", value=0.0):
    """x (n, sizes..., c) within a border."""
    widths = [(0, 0), *pairs, (0, 0)]
    if mode == "constant":
        return np.pad(x, widths, constant_values=value)
    if mode != "mean":
        return np.pad(x, widths, MODES.get(mode, mode))
    axes = tuple(range(1, x.ndim - 1))
    y = np.broadcast_to(x.mean(axes, keepdims=True), np.pad(x, widths).shape).copy()
    inside = (slice(a, a + n) for (a, _), n in zip(pairs, x.shape[1:-1]))
    y[(slice(None), *inside)] = x
    return y


def seen(x, window, strides):
    """(n, places..., c, window...): what a window sees at each place."""
    axes = tuple(range(1, x.ndim - 1))
    found = np.lib.stride_tricks.sliding_window_view(x, window, axes)
    return found[(slice(None), *(slice(None, None, s) for s in strides))]


def correlation(x, kernel, bias=0.0, strides=None, flip=False):
    """x (n, sizes..., c) with its padding, kernel (sizes..., c, filters)."""
    axes = tuple(range(kernel.ndim - 2))
    kernel = np.flip(kernel, axes) if flip else kernel
    windows = seen(x, kernel.shape[:-2], strides or (1,) * len(axes))
    summed = tuple(range(x.ndim - 1, windows.ndim))
    return np.tensordot(windows, np.moveaxis(kernel, -2, 0), (summed, range(len(summed)))) + bias


def depthwise(x, kernel, bias=0.0):
    """kernel (kh, kw, c, m)."""
    y = np.einsum("nijcuv,uvcm->nijcm", seen(x, kernel.shape[:2], (1, 1)), kernel)
    return y.reshape(*y.shape[:3], -1) + bias


def local(x, kernel, bias=0.0, window=(1,), strides=(1,)):
    """x with its padding; kernel (places, window * c, filters)."""
    windows = np.moveaxis(seen(x, window, strides), x.ndim - 1, -1)
    rank = len(window)
    places = windows.shape[1 : 1 + rank]
    flat = windows.reshape(len(x), int(np.prod(places)), -1)
    return np.einsum("npk,pkf->npf", flat, kernel).reshape(len(x), *places, -1) + bias


def local_response(x, size, alpha, beta, k):
    """x (..., c)."""
    near = np.abs(np.subtract.outer(np.arange(x.shape[-1]), np.arange(x.shape[-1]))) <= size // 2
    return x / (k + alpha / size * (x**2 @ near)) ** beta


def first(function):
    """A reference for channels first."""

    def turned(x, **weights):
        return np.moveaxis(function(np.moveaxis(x, 1, -1), **weights), -1, 1)

    return turned
