"""Arguments of recorded calls, nested, and factors of sums, for all libraries alike."""

import zlib

import numpy as np


def mapped(value, change):
    """A structure of arguments with every array changed."""
    if isinstance(value, np.ndarray):
        return change(value)
    if isinstance(value, dict):
        return {k: mapped(v, change) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(mapped(v, change) for v in value)
    return value


def arrays_of(call):
    """All arrays among the arguments, in order."""
    found = []
    mapped((call.args, call.kwargs), lambda x: found.append(x) or x)
    return found


def with_arrays(call, values):
    """The arguments with others in the place of the arrays."""
    values = iter(values)
    return mapped((call.args, call.kwargs), lambda x: next(values))


def results_of(value):
    """The arrays that a call gives."""
    if isinstance(value, dict):
        return [one for k in sorted(value) for one in results_of(value[k])]
    if isinstance(value, (list, tuple)):
        return [one for v in value for one in results_of(v)]
    return [value]


def slopes(call, place, shape):
    """Factors of the sum over result number `place` whose gradients are compared."""
    seed = zlib.crc32(f"{call.id}/{place}".encode())
    return np.random.default_rng(seed).standard_normal(tuple(shape))
