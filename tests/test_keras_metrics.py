"""Metrics against recorded results of real Keras: on arrays, and inside a step's plan."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from cases.metrics import CASES

from nbcnn import metrics
from nbcnn.graph.graph import Graph
from nbcnn.graph.plan import Plan
from nbcnn.layers.context import Context
from nbcnn.metric_base import Metric
from nbcnn.ops.tensor import Tensor
from nbcnn.registry import deserialize, serialize
from nbcnn.runtime.device import current_device

RECORDED = json.loads((Path(__file__).parent / "golden" / "metrics.json").read_text())["cases"]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
with_variables = pytest.mark.parametrize(
    "case",
    [c for c in CASES if c.make(metrics).variables or "AUC" in c.id or "Score" in c.id],
    ids=lambda c: c.id,
)


@pytest.fixture(autouse=True)
def _whole_weights():
    """Weights of integer counts are cut with a warning, also where they are whole."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*weights are cut to whole numbers")
        yield


def check(result, case):
    expected = np.asarray(RECORDED[case.id]["result"])
    assert np.shape(result) == expected.shape
    # Where terms of order 1 cancel, what is left is their rounding.
    scale = max(np.abs(expected[np.isfinite(expected)]).max(initial=0.0), 0.1)
    np.testing.assert_allclose(result, expected, 1e-5, 1e-5 * scale)


def in_float32(batch):
    return [v.astype("float32") if getattr(v, "dtype", None) == "float64" else v for v in batch]


@every_case
def test_on_arrays(case):
    metric = case.make(metrics)
    for _ in range(2):  # the second time from the beginning
        for batch in case.batches:
            metric.update_state(*in_float32(batch))
        check(metric.result(), case)
        metric.reset_state()
        assert all(not v.numpy().any() for v in metric.variables)


@with_variables
def test_inside_a_step(case):
    """Batches of several shapes, each with a plan of its own, count into the same variables."""
    metric = case.make(metrics)
    device = current_device()
    for batch in case.batches:
        arrays = [v for v in in_float32(batch) if v is not None]
        leaves = [Tensor(v.shape, v.dtype.name) for v in arrays]
        with Context() as context:
            metric.update_state(*leaves)
        plan = Plan(Graph([], context.updates), device, weights_change=True)
        for leaf, array in zip(leaves, arrays):
            device.upload(plan.array(leaf), np.ascontiguousarray(array))
        plan.prepare()
        plan.run()
    check(metric.result(), case)


@every_case
def test_configuration_survives_a_file(case):
    metric = case.make(metrics)
    again = deserialize(json.loads(json.dumps(serialize(metric))))
    assert type(again) is type(metric)
    assert again.get_config() == metric.get_config()
    assert again.name == metric.name


def test_every_case_has_been_recorded_and_every_metric_has_a_case():
    assert {c.id for c in CASES} == RECORDED.keys()
    members = [getattr(metrics, name) for name in dir(metrics)]
    known = {m.__name__ for m in members if isinstance(m, type) and issubclass(m, Metric)}
    general = {"Metric", "MeanMetricWrapper", "FormulaMetric", "MeanOfFormula"}
    assert known - general == {type(c.make(metrics)).__name__ for c in CASES}
