"""Losses, activations, regularizers, constraints, initializers and schedules against recorded
values and gradients of real Keras.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from cases.formulas import CASES, slopes
from cases.initializers import CASES as INITIALIZERS
from cases.initializers import TOLERANCE, spread
from cases.schedules import CASES as SCHEDULES
from cases.schedules import STEPS

import nbcnn
from nbcnn import activations, constraints, initializers, losses, ops, regularizers, schedules
from nbcnn.graph.autodiff import gradients
from nbcnn.graph.graph import Graph, rewrite
from nbcnn.graph.plan import Plan
from nbcnn.graph.rewrite import INDICES, TRAINING
from nbcnn.ops.op import tracing
from nbcnn.ops.tensor import Tensor
from nbcnn.runtime.device import current_device

RECORDED = json.loads((Path(__file__).parent / "golden" / "formulas.json").read_text())["cases"]
by_id = {"ids": lambda c: c.id}


def in_float32(case):
    return [a.astype("float32") if a.dtype == "float64" else a for a in case.arrays]


def close(value, expected):
    expected = np.asarray(expected)
    assert np.shape(value) == expected.shape
    # Where terms of order 1 cancel, what is left is their rounding.
    scale = max(np.abs(expected).max(initial=0.0), 0.1)
    np.testing.assert_allclose(value, expected, 1e-5, 1e-5 * scale)


@pytest.mark.parametrize("case", CASES, **by_id)
def test_values_and_gradients(case):
    """As training computes them: in one plan, after the rewrites."""
    arrays = in_float32(case)
    leaves = [Tensor(a.shape, a.dtype.name) for a in arrays]
    with tracing():
        value = case.make(nbcnn)(*leaves)
        total = ops.sum(ops.multiply(value, slopes(value.shape).astype("float32")))
    graph = rewrite(rewrite(Graph([value, total], []), TRAINING), INDICES)
    outputs = list(graph.outputs[:1])
    if case.by is not None:
        outputs += gradients(graph.outputs[1], [leaves[case.by]])
    device = current_device()
    plan = Plan(Graph(outputs, []), device)
    for leaf, array in zip(leaves, arrays):
        device.upload(plan.array(leaf), np.ascontiguousarray(array))
    plan.prepare()
    plan.run()
    found = [device.download(plan.array(t)) for t in plan.graph.outputs]
    assert found[0].dtype == "float32"
    for result, expected in zip(found, RECORDED[case.id].values(), strict=True):
        close(result, expected)


@pytest.mark.parametrize("case", CASES, **by_id)
def test_values_of_arrays(case):
    close(case.make(nbcnn)(*in_float32(case)), RECORDED[case.id]["value"])


def test_sparsemax_of_equal_values():
    """Keras sorts these: [3, 3, 1] has the support of both 3, with sums 3 and 6."""
    y = activations.sparsemax(np.array([[3.0, 3.0, 1.0], [0.0, 0.0, 0.0]], "float32"))
    np.testing.assert_allclose(y, [[0, 0, 0], [1 / 3, 1 / 3, 1 / 3]], rtol=1e-6)


@pytest.mark.parametrize("case", INITIALIZERS, **by_id)
def test_initializers(case):
    values = case.make(initializers)(case.shape, "float32")
    assert (values.shape, values.dtype) == (case.shape, "float32")
    if case.random:
        expected = RECORDED[case.id]["spread"]
        np.testing.assert_allclose(spread(values), expected, rtol=2 * TOLERANCE)
    else:
        close(values, RECORDED[case.id]["value"])


@pytest.mark.parametrize("case", SCHEDULES, **by_id)
def test_schedules(case):
    schedule = case.make(schedules)
    close([schedule(step) for step in STEPS], RECORDED[case.id]["value"])
    again = type(schedule).from_config(schedule.get_config())
    assert [again(step) for step in STEPS] == [schedule(step) for step in STEPS]


def test_every_function_has_a_case():
    cases = [*CASES, *INITIALIZERS, *SCHEDULES]
    assert {c.id for c in cases} == RECORDED.keys()
    covered = {c.id.split("(")[0].split(".")[1] for c in cases}
    modules = (losses, activations, regularizers, constraints, initializers, schedules)
    bases = {
        "Loss", "FormulaLoss", "LossFunctionWrapper", "Regularizer", "Constraint", "Initializer",
        "RandomInitializer", "FixedScaling", "LearningRateSchedule",
    }  # fmt: skip
    for module in modules:
        members = {m.__name__ for m in module.family.members.values()}
        wanted = (
            members - bases if module is activations else {m for m in members if m[0].isupper()}
        )
        assert wanted - bases <= covered
