"""What `nbcnn.analysis` says of memory and time, and what shifts do."""

import json
import os
import sys

import numpy as np
import pytest

import nbcnn
from nbcnn import analysis, layers
from nbcnn.analysis.profiling import REST
from nbcnn.graph.graph import Graph, rewrite
from nbcnn.ops.elementwise import Unary
from nbcnn.ops.op import apply_symbolic
from nbcnn.ops.tensor import Origin, Tensor, made_for

linux = pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="reads /proc")


def lenet():
    return nbcnn.Sequential(
        [
            nbcnn.Input((28, 28, 1)),
            layers.Conv2D(6, 5, padding="same", activation="tanh"),
            layers.AveragePooling2D(2),
            layers.Conv2D(16, 5, activation="tanh"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(120, activation="tanh"),
            layers.Dense(84, activation="tanh"),
            layers.Dense(10, activation="softmax"),
        ],
        name="lenet",
    )


def vgg():
    parts = [nbcnn.Input((32, 32, 3))]
    for filters in (32, 64, 128):
        parts += [layers.Conv2D(filters, 3, padding="same", activation="relu") for _ in range(2)]
        parts.append(layers.MaxPooling2D(2))
    dense = [layers.Flatten(), layers.Dense(256, activation="relu"), layers.Dropout(0.5)]
    return nbcnn.Sequential([*parts, *dense, layers.Dense(10, activation="softmax")], name="vgg")


def resnet(blocks=3):
    def convolved(x, filters, strides=1):
        x = layers.Conv2D(filters, 3, strides, "same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    inputs = nbcnn.Input((32, 32, 3))
    x = layers.ReLU()(convolved(inputs, 16))
    for filters in (16, 32, 64):
        for block in range(blocks):
            strides = 2 if filters > 16 and block == 0 else 1
            y = convolved(layers.ReLU()(convolved(x, filters, strides)), filters)
            x = x if strides == 1 else layers.Conv2D(filters, 1, 2)(x)
            x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return nbcnn.Model(inputs, layers.Dense(10, activation="softmax")(x), name="resnet20")


def compiled(model, **options):
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], **options)
    return model


# -- memory ---------------------------------------------------------------------------------------


@linux
@pytest.mark.parametrize(
    ("build", "batch", "training"),
    [(lenet, 2048, True), (vgg, 96, True), (resnet, 96, True), (vgg, 96, False)],
    ids=lambda v: getattr(v, "__name__", str(v)),
)
def test_a_process_grows_by_what_is_planned(build, batch, training):
    report = analysis.memory_report(compiled(build()), batch, training, measure=True)
    assert report.planned == pytest.approx(report.measured, rel=0.05)
    assert "measured" in str(report)


def test_three_sources_of_memory():
    model = compiled(lenet())
    before = [w.numpy().copy() for w in model.weights]
    report = analysis.memory_report(model, 64)
    assert report.weights == 4 * model.count_params()
    assert report.parameters == report.weights + report.gradients + report.optimizer
    assert report.weights <= report.gradients <= report.weights + 64 * len(model.weights)
    assert report.optimizer == 2 * report.gradients  # both moments of Adam
    assert 0 <= report.data - 64 * (28 * 28 * 4 + 4) < 1024  # and constants
    total = report.activations + report.parameters + report.miscellaneous
    assert report.planned == total
    assert f"{total:,}" in str(report)
    plan = model.plan(64)
    assert report.activations + report.workspace == plan.arena_bytes
    assert report.data + report.kept - plan.input_bytes - plan.lasting_bytes in range(64)
    assert all((w.numpy() == old).all() for w, old in zip(model.weights, before))


def test_prediction_needs_no_optimizer():
    report = analysis.memory_report(lenet(), 16, training=False)
    assert (report.gradients, report.optimizer) == (0, 0)
    with pytest.raises(ValueError, match="memory_report: call compile"):
        analysis.memory_report(lenet())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("room", [1_700_000, 6_000_000, 33_333_333])
def test_the_largest_batch_fits_and_one_more_does_not(training, room):
    model = compiled(lenet())
    batch = analysis.max_batch(model, room, training)
    assert analysis.memory_report(model, batch, training).planned <= room
    assert analysis.memory_report(model, batch + 1, training).planned > room


def test_no_batch_is_larger_than_anyone_has():
    model = nbcnn.Sequential([nbcnn.Input((2,)), layers.Dense(1)])
    assert analysis.max_batch(model, 10**18, training=False) == 2**28


def test_where_not_even_one_sample_fits():
    with pytest.raises(ValueError, match=r"one sample needs [\d,]+ bytes, more than 100,000"):
        analysis.max_batch(compiled(lenet()), 100_000)


# -- time -----------------------------------------------------------------------------------------


def test_all_operations_of_a_prediction_belong_to_layers():
    model = lenet()
    report = analysis.profile(model, 8, repeats=1, limits=(1e11, 1e10))
    rows = {row.layer: row for row in report.layers}
    assert list(rows) == [layer.name for layer in model.layers]
    first, pool = (layer.name for layer in model.layers[:2])
    flops = 2 * 8 * 28 * 28 * 6 * 25
    assert flops <= rows[first].flops <= flops * 1.1
    assert rows[first].seconds > 0
    assert rows[pool].seconds > 0 or pool in rows[first].joined
    least = max(rows[first].flops / 1e11, rows[first].nbytes / 1e10)
    assert rows[first].share == pytest.approx(least / rows[first].seconds, rel=0.5)
    assert any(name.startswith("conv2d: ") for name in rows[first].algorithms)
    steps = len(model.plan(8, training=False).steps)
    assert 0 < sum(len(row.algorithms) for row in report.layers) <= steps
    assert "samples/s" in str(report)


def test_training_is_timed_on_a_copy():
    model = compiled(resnet(1))
    before = [w.numpy().copy() for w in model.weights]
    report = analysis.profile(model, 4, training=True, repeats=1, limits=(1e11, 1e10))
    assert all((w.numpy() == old).all() for w, old in zip(model.weights, before))
    rows = {row.layer: row for row in report.layers}
    assert any("adam" in name for name in rows[REST].algorithms)
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D):
            row = rows[layer.name]
            assert row.forward > 0
            assert row.backward > 0
            assert any(name.startswith("conv2d_dw") for name in row.algorithms)
        if isinstance(layer, layers.BatchNormalization):
            names = rows[layer.name].algorithms
            assert any(name.startswith("batchnorm: ") for name in names), names
            assert any(name.startswith("batchnorm_dx") for name in names), names
    assert "backward ms" in str(report)


def test_nodes_know_whose_work_they_do_after_rewriting():
    x = Tensor((2, 3))
    with made_for((Origin("a"),)):
        y = apply_symbolic(Unary("tanh"), [x])
    with made_for((Origin("b"),)):
        z = apply_symbolic(Unary("relu"), [y])

    def join(node, inputs, context):
        if node.op != Unary("relu"):
            return None
        return (apply_symbolic(Unary("exp"), [inputs[0].node.inputs[0]]),)

    same = rewrite(Graph([z]), [])
    assert [n.origins for n in same.nodes] == [(Origin("a"),), (Origin("b"),)]
    joined = rewrite(Graph([z]), [join])
    assert [n.origins for n in joined.nodes] == [(Origin("a"), Origin("b"))]


# -- shifts ---------------------------------------------------------------------------------------


def test_convolutions_follow_shifts_and_pools_multiples_of_their_stride():
    parts = [layers.Conv2D(4, 3, padding="same", activation="relu", name="conv"),
             layers.MaxPooling2D(2, name="pool"), layers.Conv2D(4, 3, name="last")]  # fmt: skip
    model = nbcnn.Sequential([nbcnn.Input((16, 14, 1)), *parts])
    report = analysis.equivariance(model, shifts=(1, 2, (2, -4), (1, 0)))
    for row in report.of("conv"):
        assert row.multiple
        assert row.inside < 1e-5 < row.difference
    for name in ("pool", "last"):
        found = {row.shift: row for row in report.of(name)}
        assert {s: r.multiple for s, r in found.items()} == {
            (0, 1): False, (0, 2): True, (2, -4): True, (1, 0): False,
        }  # fmt: skip
        for row in found.values():
            assert row.inside < 1e-5 if row.multiple else row.inside > 0.1
            assert row.stride == (2, 2)
    assert "multiple" in str(report)


def test_classifiers_are_asked_for_invariance():
    parts = [layers.Conv2D(4, 3, activation="relu"), layers.GlobalAveragePooling2D(name="mean"),
             layers.Dense(3, name="classes")]  # fmt: skip
    model = nbcnn.Sequential([nbcnn.Input((12, 12, 2)), *parts])
    x = np.zeros((3, 12, 12, 2), "float32")
    x[:, 5:7, 5:7] = np.random.default_rng(0).normal(size=(3, 2, 2, 2))
    report = analysis.equivariance(model, x, [2, (1, 1)])
    for row in (*report.of("mean"), *report.of("classes")):
        assert row.multiple is None
        assert row.difference < 1e-5  # far from the border, the mean is the same
    assert report.agreement == {(0, 2): 1.0, (1, 1): 1.0}


@pytest.mark.parametrize("limits", [1e11, (1e11,), (1e11, 0), ("fast", 1)])
def test_limits_that_cannot_be(limits):
    with pytest.raises(ValueError, match="profile: limits must be FLOP/s and bytes/s"):
        analysis.profile(lenet(), limits=limits)


def test_shifts_that_cannot_be():
    model = nbcnn.Sequential([nbcnn.Input((6, 6, 1)), layers.Conv2D(1, 3)])
    assert [row.shift for row in analysis.equivariance(model, shifts=-2).rows] == [(0, -2)]
    with pytest.raises(ValueError, match=r"less than the input's \(6, 6\), got 6"):
        analysis.equivariance(model, shifts=[6])
    with pytest.raises(ValueError, match="no layer 'a'; there are conv2d"):
        analysis.equivariance(model, layers=["a"])


def test_importing_is_lazy(python):
    code = "import sys, json, nbcnn; print(json.dumps([m for m in sys.modules if 'analysis' in m]))"
    assert json.loads(python("-c", code)) == []
    code = "import sys, nbcnn.analysis as a; dir(a); print('scipy' in sys.modules)"
    assert python("-c", code).strip() == "False"
    assert sys.modules["nbcnn.analysis"].__all__ == sorted(
        analysis.__all__, key=lambda n: (n[0].islower(), n)
    )
