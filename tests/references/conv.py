"""Convolution and matrix product in float64 NumPy, from the definitions."""

import math
from collections.abc import Callable

import numpy as np

from nbcnn.ops.conv_spec import (
    GELU,
    HARD_SILU,
    LINEAR,
    MAX_POOL_INDEXED,
    MEAN_POOL,
    RELU,
    RELU6,
    SIGMOID,
    SILU,
    TANH,
)

ACTIVATIONS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    LINEAR: lambda v: v,
    RELU: lambda v: np.where(v < 0, 0.0, v),
    SIGMOID: lambda v: 1 / (1 + np.exp(-v)),
    TANH: np.tanh,
    RELU6: lambda v: np.where(v < 0, 0.0, np.where(v > 6, 6.0, v)),
    HARD_SILU: lambda v: v * np.clip(v / 6 + 0.5, 0.0, 1.0),
    SILU: lambda v: v / (1 + np.exp(-v)),
    GELU: lambda v: v * np.vectorize(math.erfc, otypes=[float])(-v / math.sqrt(2)) / 2,
}


def _padded(spec, x):
    """`x` with all zeros around it that any tap can read, and where its (0, 0) sits in there."""
    top, left = max(spec.pt, 0), max(spec.pl, 0)
    bottom = max((spec.oh - 1) * spec.sh + (spec.kh - 1) * spec.dilh - spec.pt - spec.h + 1, 0)
    right = max((spec.ow - 1) * spec.sw + (spec.kw - 1) * spec.dilw - spec.pl - spec.w + 1, 0)
    around = ((0, 0), (top, bottom), (left, right), (0, 0))
    x = np.asarray(x, np.float64).reshape(spec.n, spec.h, spec.w, spec.c)
    return np.pad(x, around), top, left


def _taps(spec, top, left):
    """(u, v, rows, columns) a tap: the slices of the padded input that meet the output."""
    for u in range(spec.kh):
        for v in range(spec.kw):
            i, j = top - spec.pt + u * spec.dilh, left - spec.pl + v * spec.dilw
            rows = slice(i, i + (spec.oh - 1) * spec.sh + 1, spec.sh)
            yield u, v, rows, slice(j, j + (spec.ow - 1) * spec.sw + 1, spec.sw)


def _groups(spec):
    """(channels, filters) of each group, as slices."""
    cg, fg = spec.c // spec.groups, spec.f // spec.groups
    for g in range(spec.groups):
        yield slice(g * cg, (g + 1) * cg), slice(g * fg, (g + 1) * fg)


def conv2d(spec, x, w, b=None):
    """y (n, oh // ph, ow // pw, f) of x (n, h, w, c), w (kh, kw, c / groups, f) and b (f,); with
    the winners of windows where `spec.pool` is MAX_POOL_INDEXED.
    """
    padded, top, left = _padded(spec, x)
    w = np.asarray(w, np.float64).reshape(spec.kh, spec.kw, spec.c // spec.groups, spec.f)
    y = np.zeros((spec.n, spec.oh, spec.ow, spec.f))
    for u, v, rows, columns in _taps(spec, top, left):
        for channels, filters in _groups(spec):
            y[..., filters] += padded[:, rows, columns, channels] @ w[u, v, :, filters]
    if b is not None:
        y += np.asarray(b, np.float64)
    return _pooled(spec, y) if spec.pool else ACTIVATIONS[spec.act](y)


def _pooled(spec, y):
    """The windows of y, their maximum (by the values before the activation) or mean."""
    oh, ow = spec.oh // spec.ph, spec.ow // spec.pw
    y = y[:, : oh * spec.ph, : ow * spec.pw].reshape(spec.n, oh, spec.ph, ow, spec.pw, spec.f)
    windows = y.swapaxes(2, 3).reshape(spec.n, oh, ow, spec.ph * spec.pw, spec.f)
    act = ACTIVATIONS[spec.act]
    if spec.pool == MEAN_POOL:
        return act(windows).mean(axis=3)
    winners = windows.argmax(axis=3)  # the first NaN is the largest
    y = act(np.take_along_axis(windows, winners[:, :, :, None], axis=3)[:, :, :, 0])
    return (y, winners) if spec.pool == MAX_POOL_INDEXED else y


def conv2d_dx(spec, dy, w):
    """dx (n, h, w, c), the gradient of sum(y * dy)."""
    dy = np.asarray(dy, np.float64).reshape(spec.n, spec.oh, spec.ow, spec.f)
    w = np.asarray(w, np.float64).reshape(spec.kh, spec.kw, spec.c // spec.groups, spec.f)
    padded, top, left = _padded(spec, np.zeros((spec.n, spec.h, spec.w, spec.c)))
    for u, v, rows, columns in _taps(spec, top, left):
        for channels, filters in _groups(spec):
            padded[:, rows, columns, channels] += dy[..., filters] @ w[u, v, :, filters].T
    return padded[:, top : top + spec.h, left : left + spec.w]


def _unpooled(spec, dy, winners):
    """The gradient of the map whose windows were pooled: dy at their winners."""
    oh, ow = spec.oh // spec.ph, spec.ow // spec.pw
    winners = np.asarray(winners, np.int64).reshape(spec.n, oh, ow, 1, spec.f)
    windows = np.zeros((spec.n, oh, ow, spec.ph * spec.pw, spec.f))
    np.put_along_axis(windows, winners, np.asarray(dy).reshape(winners.shape), axis=3)
    windows = windows.reshape(spec.n, oh, ow, spec.ph, spec.pw, spec.f).swapaxes(2, 3)
    slopes = np.zeros((spec.n, spec.oh, spec.ow, spec.f))
    reached = slopes[:, : oh * spec.ph, : ow * spec.pw]
    reached[...] = windows.reshape(reached.shape)
    return slopes


def conv2d_dw(spec, x, dy, winners=None):
    """dw (kh, kw, c / groups, f), the gradient of sum(y * dy); with `spec.bias` (dw, db)."""
    padded, top, left = _padded(spec, x)
    dy = dy if winners is None else _unpooled(spec, dy, winners)
    dy = np.asarray(dy, np.float64).reshape(spec.n, spec.oh, spec.ow, spec.f)
    dw = np.zeros((spec.kh, spec.kw, spec.c // spec.groups, spec.f))
    for u, v, rows, columns in _taps(spec, top, left):
        for channels, filters in _groups(spec):
            seen = padded[:, rows, columns, channels]
            dw[u, v, :, filters] = np.einsum("nijc,nijf->cf", seen, dy[..., filters])
    return (dw, dy.sum((0, 1, 2))) if spec.bias else dw


def matmul(spec, x, w, bias=None):
    """y (batch, m, n); x and w stored as the spec says."""
    x = np.asarray(x, np.float64).reshape(-1, *((spec.k, spec.m) if spec.tx else (spec.m, spec.k)))
    w = np.asarray(w, np.float64).reshape(-1, *((spec.n, spec.k) if spec.tw else (spec.k, spec.n)))
    y = (x.swapaxes(1, 2) if spec.tx else x) @ (w.swapaxes(1, 2) if spec.tw else w)
    y = np.broadcast_to(y, (spec.batch, spec.m, spec.n))
    if bias is not None:
        y = y + np.asarray(bias, np.float64)
    return ACTIVATIONS[spec.act](y)
