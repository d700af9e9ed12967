"""Operations over windows and neighbours by their definitions, in float64: locally connected maps,
unpooling, response normalization, borders.
"""

import numpy as np
from references.pool import _input, _output, _windows

from nbcnn.ops.borders import FILL, MODES


def _weights(spec, w):
    shape = (spec.oh * spec.ow, spec.kh, spec.kw, spec.c, spec.f)
    return np.asarray(w, np.float64).reshape(shape)


def _places(spec):
    """(place, rows and columns of the image, those of the window), of each window's part inside."""
    for i, j, rows, columns, u, v in _windows(spec):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        yield i, j, rows, columns, slice(u, u + height), slice(v, v + width)


def local2d(spec, x, w):
    x, w = _input(spec, x), _weights(spec, w)
    y = np.zeros((spec.n, spec.oh, spec.ow, spec.f))
    for i, j, rows, columns, us, vs in _places(spec):
        own = w[i * spec.ow + j, us, vs]
        y[:, i, j] = np.einsum("nuvc,uvcf->nf", x[:, rows, columns], own)
    return y


def local2d_dx(spec, dy, w):
    dy, w = np.asarray(dy, np.float64).reshape(spec.n, spec.oh, spec.ow, spec.f), _weights(spec, w)
    dx = np.zeros((spec.n, spec.h, spec.w, spec.c))
    for i, j, rows, columns, us, vs in _places(spec):
        own = w[i * spec.ow + j, us, vs]
        dx[:, rows, columns] += np.einsum("nf,uvcf->nuvc", dy[:, i, j], own)
    return dx


def local2d_dw(spec, x, dy):
    x = _input(spec, x)
    dy = np.asarray(dy, np.float64).reshape(spec.n, spec.oh, spec.ow, spec.f)
    dw = np.zeros((spec.oh * spec.ow, spec.kh, spec.kw, spec.c, spec.f))
    for i, j, rows, columns, us, vs in _places(spec):
        found = np.einsum("nuvc,nf->uvcf", x[:, rows, columns], dy[:, i, j])
        dw[i * spec.ow + j, us, vs] = found
    return dw


def pool_places(spec, winners):
    winners = _output(spec, winners, np.int64)
    i, j = (a[None, :, :, None] for a in np.indices((spec.oh, spec.ow)))
    rows, columns = i * spec.sh - spec.pt + winners // spec.kw, winners % spec.kw
    return rows * spec.w + j * spec.sw - spec.pl + columns


def _targets(spec, places):
    """Places as numbers in all of y, and which of them are pixels."""
    places = _output(spec, places, np.int64)
    n, _, _, c = np.indices(places.shape)
    inside = (places >= 0) & (places < spec.h * spec.w)
    return (n * spec.h * spec.w + np.where(inside, places, 0)) * spec.c + c, inside


def max_unpool2d(spec, x, places):
    targets, inside = _targets(spec, places)
    y = np.zeros(spec.n * spec.h * spec.w * spec.c)
    np.add.at(y, targets[inside], _output(spec, x)[inside])
    return y


def max_unpool2d_dx(spec, dy, places):
    targets, inside = _targets(spec, places)
    dy = np.asarray(dy, np.float64).reshape(-1)
    return np.where(inside, dy[np.where(inside, targets, 0)] if dy.size else 0.0, 0.0)


def _rows(spec, x):
    return np.asarray(x, np.float64).reshape(spec.rows, spec.c)


def _over_neighbours(spec, x):
    """Sums of a row's numbers over the window of each."""
    near = np.abs(np.subtract.outer(np.arange(spec.c), np.arange(spec.c))) <= spec.size // 2
    return x @ near


def response_norm(spec, x):
    x = _rows(spec, x)
    return x * (spec.k + spec.alpha * _over_neighbours(spec, x**2)) ** -spec.beta


def response_norm_dx(spec, x, dy):
    x, dy = _rows(spec, x), _rows(spec, dy)
    d = spec.k + spec.alpha * _over_neighbours(spec, x**2)
    shares = _over_neighbours(spec, dy * x * d ** (-spec.beta - 1))
    return dy * d**-spec.beta - 2 * spec.alpha * spec.beta * x * shares


def _widths(spec):
    sizes = zip((spec.d, spec.h, spec.w), (spec.od, spec.oh, spec.ow))
    starts = (spec.front, spec.top, spec.left)
    inner = [(start, padded - size - start) for (size, padded), start in zip(sizes, starts)]
    return [(0, 0), *inner, (0, 0)]


def pad_border(spec, x, fill=None):
    x = x.reshape(spec.outer, spec.d, spec.h, spec.w, spec.inner)
    if spec.mode != FILL:
        name = next(name for name, number in MODES.items() if number == spec.mode)
        return np.pad(x, _widths(spec), name)
    shape = (spec.outer, spec.od, spec.oh, spec.ow, spec.inner)
    y = np.broadcast_to(fill.reshape(spec.outer, 1, 1, 1, spec.inner), shape).copy()
    inside = (slice(a, a + n) for (a, _), n in zip(_widths(spec)[1:], (spec.d, spec.h, spec.w)))
    y[(slice(None), *inside)] = x
    return y


def pad_border_dx(spec, dy):
    shown = np.arange(spec.outer * spec.d * spec.h * spec.w * spec.inner)
    dx = np.zeros(shown.size)
    np.add.at(dx, pad_border(spec, shown).reshape(-1), np.asarray(dy, np.float64).reshape(-1))
    return dx
