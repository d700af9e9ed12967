"""Values of inputs and weights that depend on nothing but the case, for both libraries alike."""

import zlib

import numpy as np


def _generator(*names):
    return np.random.default_rng(zlib.crc32("/".join(map(str, names)).encode()))


def input_values(case, index):
    rng = _generator(case.name, "input", index)
    if case.integers:
        return rng.integers(0, 256, case.inputs[index]).astype("int32")
    return rng.standard_normal(case.inputs[index])


def weight_values(case, name, shape):
    values = _generator(case.name, name).standard_normal(tuple(shape))
    return 0.5 + np.abs(values) if name == "moving_variance" else values


def slopes(case, shape):
    """Factors of the sum over outputs whose gradients are compared."""
    return _generator(case.name, "slopes").standard_normal(tuple(shape))


def spectral_values(case):
    """Input, kernel (flat) and vector_u of a case of spectral normalization."""
    rng = _generator(case.name, "spectral")
    outputs = {"dense": 3, "conv": 4, "depthwise": 2, "zeros": 3}[case.name]
    size = {"dense": 18, "conv": 108, "depthwise": 54, "zeros": 18}[case.name]
    parts = case.shape, (size,), (1, outputs)
    return tuple(rng.standard_normal(shape).astype("float32") for shape in parts)
