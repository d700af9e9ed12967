"""Copies and concatenation, element by element of the spec."""

import numpy as np


def _places(sizes, offset, strides):
    return offset + sum(i * s for i, s in zip(np.indices(sizes), strides))


def copy(spec, x):
    """Flat y. Elements that are neither copied nor filled are zero here and do not count."""
    x = np.asarray(x).reshape(-1)
    y = np.full(spec.total, spec.value if spec.fill else 0).astype(x.dtype)
    sizes = spec[2:8]
    y[_places(sizes, spec.yo, spec[16:22])] = x[_places(sizes, spec.xo, spec[9:15])]
    return y


def concat(specs, *xs):
    """(outer, total, inner)."""
    pieces = [np.asarray(x).reshape(s.outer, s.length, s.inner) for s, x in zip(specs, xs)]
    return np.concatenate(pieces, axis=1)
