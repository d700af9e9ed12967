"""How much is compared with real Keras: every public name has a recorded case, a
reference, or a reason.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from cases import formulas, functions, initializers, layers, losses, metrics, optimizers, schedules

import nbcnn
from nbcnn.layers import base

GOLDEN = Path(__file__).parent / "golden"
CASES = {
    "layers": layers.CASES,
    "functions of losses, activations, regularizers and constraints": formulas.CASES,
    "initializers": initializers.CASES,
    "schedules": schedules.CASES,
    "metrics": metrics.CASES,
    "reductions of losses": losses.LOSSES,
    "optimizers": list(optimizers.CASES),
    "operations": functions.CALLS,
}
# What is compared otherwise, and where; these have no values of their own.
WITHOUT = {
    nbcnn.layers: {
        "Input": "a tensor", "InputLayer": "passes on", "InputSpec": "checks shapes",
        "Lambda": "a user's function", "Layer": "a base", "Wrapper": "a base",
        "Pipeline": "other layers in order",
    },
    nbcnn.optimizers: {
        "Optimizer": "a base", "OptimizerMap": "a part of MultiOptimizer",
        "LearningRateSchedule": "see schedules",
    },
    nbcnn.metrics: {
        "Metric": "a base", "MeanMetricWrapper": "a user's function", "FormulaMetric": "a base",
        "MeanOfFormula": "a base",
    },
}  # fmt: skip


def test_there_are_enough():
    numbers = {kind: len(cases) for kind, cases in CASES.items()}
    assert sum(numbers.values()) - numbers["operations"] >= 800, numbers
    assert numbers["layers"] >= 280
    assert numbers["metrics"] >= 200
    assert numbers["optimizers"] >= 75
    assert numbers["operations"] >= 480


def test_all_layers_are_recorded():
    configs = [json.loads(f.read_text())["configs"] for f in GOLDEN.glob("keras_layers*.json")]
    recorded = [name for members in configs for name in members]
    assert sorted(recorded) == sorted(c.name for c in layers.CASES)
    arrays = {k for f in GOLDEN.glob("keras_layers*.npz") for k in np.load(f).files}
    for case in layers.CASES:
        assert f"{case.name}/y" in arrays
        assert case.integers or f"{case.name}/d input 0" in arrays, case.name


@pytest.mark.parametrize(
    ("module", "base", "made"),
    [
        (nbcnn.layers, base.Layer, [c.make(nbcnn.layers) for c in layers.EVERY_CASE]),
        (nbcnn.optimizers, nbcnn.Optimizer, [m(nbcnn) for m in optimizers.CASES.values()]),
        (nbcnn.metrics, nbcnn.Metric, [c.make(nbcnn.metrics) for c in metrics.CASES]),
    ],
    ids=["layers", "optimizers", "metrics"],
)
def test_every_class_has_a_case_or_a_reason(module, base, made):
    members = [getattr(module, name) for name in dir(module)]
    public = {m.__name__ for m in members if isinstance(m, type) and issubclass(m, base)}
    covered = {type(m).__name__ for m in made}
    assert public - covered <= WITHOUT[module].keys()
    assert covered <= public


@pytest.mark.parametrize(
    ("kind", "start", "base"),
    [
        ("losses", "loss", nbcnn.losses.Loss),
        ("regularizers", "regularizers", nbcnn.regularizers.Regularizer),
        ("constraints", "constraints", nbcnn.constraints.Constraint),
    ],
)
def test_every_formula_has_a_case(kind, start, base):
    module = getattr(nbcnn, kind)
    names = [case.id.split("(")[0].split(".") for case in formulas.CASES]
    covered = {getattr(module, name) for where, name in names if where == start}
    public = {c for c in vars(module).values() if isinstance(c, type) and issubclass(c, base)}
    bases = {"FormulaLoss", "LossFunctionWrapper", base.__name__}
    assert {c.__name__ for c in public - covered} <= bases


def test_every_activation_has_a_case():
    names = [case.id.split("(")[0].split(".") for case in formulas.CASES]
    covered = {name for where, name in names if where == "activation"}
    assert set(nbcnn.activations.__all__) - covered == {"get", "serialize", "deserialize"}


def test_every_optimizer_meets_every_option():
    """A rule beside each kind of clipping, averages, accumulation, scaling and decay."""
    seen: dict[str, set[str]] = {}
    for make in optimizers.CASES.values():
        optimizer = make(nbcnn)
        found = seen.setdefault(type(optimizer).__name__, set())
        config = optimizer.get_config()
        found |= {name for name in OPTIONS if config.get(name)}
    own = {"LossScaleOptimizer", "MultiOptimizer"}  # leave them to the optimizers inside
    assert {name: OPTIONS - found for name, found in seen.items() if name not in own} == {
        name: set() for name in seen if name not in own
    }


OPTIONS = {
    "weight_decay", "clipnorm", "clipvalue", "global_clipnorm", "use_ema",
    "ema_overwrite_frequency", "gradient_accumulation_steps", "loss_scale_factor",
}  # fmt: skip
