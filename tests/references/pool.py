"""Pooling by the definition, one window at a time, in float64."""

import numpy as np


def _windows(spec):
    """(i, j, rows, columns, first tap's row and column): each window's part inside the input."""
    for i in range(spec.oh):
        for j in range(spec.ow):
            top, left = i * spec.sh - spec.pt, j * spec.sw - spec.pl
            rows = slice(max(top, 0), min(top + spec.kh, spec.h))
            columns = slice(max(left, 0), min(left + spec.kw, spec.w))
            yield i, j, rows, columns, rows.start - top, columns.start - left


def _input(spec, x):
    return np.asarray(x, np.float64).reshape(spec.n, spec.h, spec.w, spec.c)


def _output(spec, y, dtype=np.float64):
    return np.asarray(y, dtype).reshape(spec.n, spec.oh, spec.ow, spec.c)


def maxpool2d(spec, x):
    """y and the winner's place u * kw + v in its window; the first of equal ones, and the first NaN
    before all.
    """
    x = _input(spec, x)
    y = np.empty((spec.n, spec.oh, spec.ow, spec.c))
    indices = np.empty(y.shape, np.int64)
    for i, j, rows, columns, u, v in _windows(spec):
        window = x[:, rows, columns]
        n, height, width, c = window.shape
        pixels = window.reshape(n, height * width, c)
        winner = pixels.argmax(axis=1)
        y[:, i, j] = np.take_along_axis(pixels, winner[:, None], axis=1)[:, 0]
        indices[:, i, j] = (u + winner // width) * spec.kw + v + winner % width
    return y, indices


def maxpool2d_dx(spec, dy, indices):
    dy, indices = _output(spec, dy), _output(spec, indices, np.int64)
    dx = np.zeros((spec.n, spec.h, spec.w, spec.c))
    for (n, i, j, c), index in np.ndenumerate(indices):
        u, v = divmod(int(index), spec.kw)
        dx[n, i * spec.sh - spec.pt + u, j * spec.sw - spec.pl + v, c] += dy[n, i, j, c]
    return dx


def avgpool2d(spec, x):
    x = _input(spec, x)
    y = np.empty((spec.n, spec.oh, spec.ow, spec.c))
    for i, j, rows, columns, _, _ in _windows(spec):
        y[:, i, j] = x[:, rows, columns].mean(axis=(1, 2))
    return y


def avgpool2d_dx(spec, dy):
    dy = _output(spec, dy)
    dx = np.zeros((spec.n, spec.h, spec.w, spec.c))
    for i, j, rows, columns, _, _ in _windows(spec):
        count = (rows.stop - rows.start) * (columns.stop - columns.start)
        dx[:, rows, columns] += dy[:, i, j][:, None, None] / count
    return dx


def upsample2d(spec, x):
    return np.repeat(np.repeat(_output(spec, x), spec.kh, axis=1), spec.kw, axis=2)


def upsample2d_dx(spec, dy):
    return _input(spec, dy).reshape(-1, spec.oh, spec.kh, spec.ow, spec.kw, spec.c).sum((2, 4))
