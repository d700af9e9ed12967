"""The references themselves: their gradients against central differences of their values, and the
gradients that a plan computes against those of the references. All in float64.

What an operation's gradient is comes from its `gradient`, as nodes of a graph; so this checks those
formulas too.
"""

import numpy as np
import pytest
from cases.case import Case, normal, specs_of
from cases.conv import TINY as GEOMETRIES
from cases.expected import difference, expected
from cases.interpreter import evaluate, slopes
from cases.table import CASES

from nbcnn.graph.autodiff import gradients
from nbcnn.graph.graph import Graph
from nbcnn.graph.plan import Plan
from nbcnn.ops.conv import Conv2D, Conv2DKernelGradient
from nbcnn.ops.conv_spec import NORM_ACTIVATIONS, TAIL_ACTIVATIONS
from nbcnn.ops.dense import Matmul
from nbcnn.ops.elementwise import Unary, UnaryGradient, UnaryGradientSum
from nbcnn.ops.norm import BatchNorm, ScaleShift
from nbcnn.ops.op import Op, apply_symbolic, tracing
from nbcnn.ops.tensor import Tensor
from nbcnn.runtime.device import get_device


def smooth(case: Case) -> list[np.ndarray]:
    """The inputs of a case moved a little, away from ties, kinks, poles and infinities."""

    def moved(x: np.ndarray) -> np.ndarray:
        x = np.where(np.isfinite(x), x, 0.5)
        return np.asarray(x + 0.2 * np.sign(x) + 0.01 * normal(*x.shape, seed=7))

    return [moved(x) if x.dtype.kind == "f" else x for x in case.arrays("float64")]


def fused(op) -> bool:
    """Whether an operation has a tail. Fusion comes after differentiation, so it has no gradient;
    batch normalization's belongs to it.
    """
    return bool(getattr(op, "bias", 0) or (getattr(op, "act", 0) and op.name != "batchnorm"))


def differentiable(case: Case) -> bool:
    op = case.op
    if not case.tiny or op.stateful or fused(op) or type(op).gradient is Op.gradient:
        return False
    if getattr(op, "function", "") == "round_bfloat16":
        return False  # a staircase, whose gradient is that of the line through it
    if op.name == "reduce_extreme_dx":
        return False  # of inputs that are moved none is the maximum; see test_second_derivatives
    if op.name == "maxpool2d" and not op.indices:
        return False  # the gradient needs them; a rewrite asks for them
    inputs = case.specs("float64")
    # Values that are cut to whole numbers or few digits have no slope that can be measured.
    return inputs[-1].dtype == op.infer(*inputs)[0].dtype == "float64"


class Traced:
    """An operation on leaves, and the gradients of one of its outputs."""

    def __init__(self, case: Case, output: int):
        self.arrays = smooth(case)
        self.leaves = [Tensor(a.shape, a.dtype.name) for a in self.arrays]
        with tracing():
            outputs = apply_symbolic(case.op, self.leaves)
        self.y = outputs[output] if isinstance(outputs, tuple) else outputs
        self.dy = Tensor(self.y.shape, self.y.dtype)
        self.seed = normal(*self.y.shape, seed=8)
        self.slopes = gradients(self.y, self.leaves, self.dy)
        self.places = [i for i, slope in enumerate(self.slopes) if slope is not None]

    @property
    def feeds(self):
        return {**dict(zip(self.leaves, self.arrays)), self.dy: self.seed}

    def value(self, arrays) -> np.ndarray:
        return evaluate([self.y], dict(zip(self.leaves, arrays)))[0]

    def gradients(self) -> list[np.ndarray]:
        return evaluate([self.slopes[i] for i in self.places], self.feeds)


# Outputs that have gradients: of several, the first, and probabilities.
OUTPUTS = {"softmax_crossentropy": (0, 1)}
CONSTANT = {("softmax_crossentropy", 0), ("crossentropy", 0)}  # targets get no gradient
TRACED = [
    pytest.param(case, output, id=f"{case.name}-{output}" if output else case.name)
    for case in CASES
    if differentiable(case)
    for output in OUTPUTS.get(case.op.name, (0,))
]


@pytest.mark.parametrize("case, output", TRACED)
def test_gradients_of_references(case, output):
    """An input without gradient must have the slope zero, unless it is no float."""
    traced = Traced(case, output)
    found = dict(zip(traced.places, traced.gradients()))
    for place, array in enumerate(traced.arrays):
        if array.dtype.kind == "f" and (case.op.name, place) not in CONSTANT:
            right = slopes(traced.value, traced.arrays, place, traced.seed)
            apart = np.abs(found.get(place, np.zeros_like(array)) - right)
            scale = max(1.0, np.abs(right).max(initial=0.0))
            assert apart.max(initial=0.0) <= 1e-7 * scale


@pytest.mark.parametrize("case, output", TRACED)
def test_gradients_of_plans(case, output):
    traced = Traced(case, output)
    wanted = [traced.slopes[i] for i in traced.places]
    plan = Plan(Graph([traced.y, *wanted]), get_device("cpu"))
    for leaf, value in traced.feeds.items():
        plan.array(leaf)[...] = value
    plan.prepare()
    plan.run()
    for tensor, right in zip(wanted, traced.gradients(), strict=True):
        assert difference(plan.array(tensor), right) <= 1e-10


def reference(op, *arrays):
    return expected(op, op.spec(*specs_of(arrays)), arrays)


@pytest.mark.parametrize("name, act", TAIL_ACTIVATIONS.items())
def test_tails_are_the_operations_that_they_replace(name, act):
    function = "identity" if name == "linear" else name

    def tail(y, b=0.0):
        return reference(Unary(function), y + b)[0]

    x, w, b = normal(2, 5, 5, 3), normal(3, 3, 3, 4, seed=1), normal(4, seed=2)
    (y,) = reference(Conv2D(), x, w)
    np.testing.assert_allclose(reference(Conv2D(bias=True, act=act), x, w, b)[0], tail(y, b))
    m, k = normal(6, 3), normal(3, 4, seed=1)
    (y,) = reference(Matmul(), m, k)
    np.testing.assert_allclose(reference(Matmul(bias=True, act=act), m, k, b)[0], tail(y, b))
    if name in NORM_ACTIVATIONS:
        y, *others = reference(BatchNorm(), m, b[:3], k[:, 0])
        results = reference(BatchNorm(act=act), m, b[:3], k[:, 0])
        for found, right in zip(results, (tail(y), *others), strict=True):
            np.testing.assert_allclose(found, right)
        (y,) = reference(ScaleShift(), m, b[:3], k[:, 0])
        np.testing.assert_allclose(reference(ScaleShift(act), m, b[:3], k[:, 0])[0], tail(y))
    if function == "identity":
        return
    (dx,) = reference(UnaryGradient(function), x, x[::-1])
    both = reference(UnaryGradientSum(function), x, x[::-1])
    np.testing.assert_allclose(both[0], dx)
    np.testing.assert_allclose(both[1], dx.sum((0, 1, 2)))


@pytest.mark.parametrize("g", GEOMETRIES, ids=[g.name for g in GEOMETRIES])
def test_the_bias_gradient_is_the_sum_of_dy(g):
    s = Conv2D(**g.attributes).geometry(g.x, g.w)
    x, dy = normal(*g.x), normal(s.n, s.oh, s.ow, s.f, seed=1)
    (dw,) = reference(Conv2DKernelGradient(**g.attributes, shape=g.w), x, dy)
    both = reference(Conv2DKernelGradient(**g.attributes, shape=g.w, bias=True), x, dy)
    np.testing.assert_array_equal(both[0], dw)
    np.testing.assert_allclose(both[1], dy.sum((0, 1, 2)), atol=1e-12)
