"""Picking, collecting, running sums and order in NumPy, element by element."""

import numpy as np

JOINS = {"sum": np.add, "max": np.maximum, "min": np.minimum, "prod": np.multiply}


def _places(spec, indices):
    """The index of every picked element, as (outer, count, inner)."""
    shape = spec.outer, spec.picks, spec.inner
    return np.broadcast_to(indices.reshape(shape if spec.along else (1, -1, 1)), shape)


def gather(spec, x, indices):
    places = np.clip(_places(spec, indices), 0, max(spec.length - 1, 0))
    return np.take_along_axis(x.reshape(spec.outer, spec.length, spec.inner), places, 1)


def scatter(spec, values, indices, function):
    y = np.full((spec.outer, spec.length, spec.inner), spec.start).astype(values.dtype)
    places, values = _places(spec, indices), values.reshape(spec.outer, spec.picks, spec.inner)
    for o, j, i in np.ndindex(values.shape):
        k = places[o, j, i]
        if 0 <= k < spec.length:
            y[o, k, i] = JOINS[function](y[o, k, i], values[o, j, i])
    return y


def cumulative(spec, x, function):
    x = x.reshape(spec.outer, spec.length, spec.inner)
    x = x[:, ::-1] if spec.reverse else x
    y = (np.cumsum if function == "sum" else np.cumprod)(x, 1)
    return y[:, ::-1] if spec.reverse else y


def argsort(spec, x):
    """NaN goes last in either order's mirror image: it is larger than all."""
    x = x.reshape(spec.rows, spec.length)
    if not spec.descending:
        return np.argsort(x, -1, kind="stable")
    mirrored = x[:, ::-1]
    return (spec.length - 1 - np.argsort(mirrored, -1, kind="stable"))[:, ::-1]
