"""Elementary functions of the CPU's kernels against float64: errors in units of the last place."""

import numpy as np
import pytest
from scipy import special

from nbcnn.kernels import scalar
from nbcnn.kernels.cpu.lists import impls
from nbcnn.kernels.cpu.vector_math import functions
from nbcnn.ops.broadcast import FlatSpec
from nbcnn.ops.elementwise import Unary, UnaryGradient
from nbcnn.runtime.cpu import CpuDevice

DEVICE = CpuDevice(1)
# name: reference, interval, units in the last place
FUNCTIONS = {
    "exp": (np.exp, (-87, 88), 2),
    "expm1": (np.expm1, (-20, 88), 3),
    "tanh": (np.tanh, (-12, 12), 3),
    "sigmoid": (special.expit, (-80, 40), 3),
    "log": (np.log, (1e-37, 1e37), 2),
    "log1p": (np.log1p, (-0.999, 1e3), 3),
    "erf": (special.erf, (-5, 5), 3),
}


def applied(op, *arrays):
    y = np.empty_like(arrays[0])
    spec = FlatSpec(y.size)
    calls = impls(op)[0].bind(spec, DEVICE.caps, arrays, [y], {})
    DEVICE.program(calls).run()
    return y


def points(low, high, dtype):
    """Spread evenly, and densely about zero."""
    rng = np.random.default_rng(0)
    if low > 0:
        return np.exp(rng.uniform(np.log(low), np.log(high), 40_000)).astype(dtype)
    small = np.exp(rng.uniform(np.log(1e-6), 0, 10_000)) * rng.choice([-1, 1], 10_000)
    return np.concatenate([rng.uniform(low, high, 40_000), np.clip(small, low, high)]).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_are_a_few_units_in_the_last_place(name, dtype):
    reference, interval, units = FUNCTIONS[name]
    x = points(*interval, dtype)
    wide = x.astype(np.longdouble if dtype == "float64" and name in ("exp", "log") else np.float64)
    wanted = reference(wide)
    error = np.abs(applied(Unary(name), x) - wanted) / np.abs(wanted)
    assert error.max() <= units * np.finfo(dtype).eps


def test_gelu_and_its_slope_keep_their_digits():
    x = points(-9, 9, "float32")
    wide = x.astype(np.float64)
    wanted = wide * special.ndtr(wide)
    error = np.abs(applied(Unary("gelu"), x) - wanted)
    assert (error <= 2.0**-23 * np.maximum(np.abs(x), 0.05)).all()
    slope = special.ndtr(wide) + wide * np.exp(-(wide**2) / 2) / np.sqrt(2 * np.pi)
    found = applied(UnaryGradient("gelu"), x, np.ones_like(x))
    assert np.abs(found - slope).max() <= 3 * 2.0**-23
    near = (x > -3) & (x < 0)  # where 1 + erf would have lost most digits
    assert (error[near] <= 3e-5 * np.abs(wanted[near])).all()


@pytest.mark.parametrize("name", ["gelu", "silu"])
def test_far_from_zero_gates_are_closed_or_open(name):
    x = np.array([-3e38, -1e30, -200, 200, 1e30, 3e38, np.inf], "float32")
    np.testing.assert_array_equal(applied(Unary(name), x), [0, 0, 0, *x[3:]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_functions_replace_those_that_formulas_name(dtype):
    assert set(functions(dtype)) <= set(vars(scalar))
