"""ONNX files: networks from PyTorch, beside what onnxruntime makes of them and PyTorch's gradients
(`tests/onnx`); models written, read by ONNX's own evaluator. `test_onnx_graphs.py` has the rest.
"""

import numpy as np
import pytest
from cases import files
from cases.layer_runs import arrays as case_arrays
from cases.layer_runs import built
from cases.layers import EVERY_CASE

import nbcnn as keras
from nbcnn import layers

onnx = pytest.importorskip("onnx")

NETWORKS = [
    "resnet", "mobilenet", "unet", "inception", "shuffle", "convnext", "upsampling", "sequence",
    "decoder", "lenet", "volume", "sequential_dilated", "efficient", "segmentation", "attention",
    "detector", "frames",
]  # fmt: skip


@pytest.fixture(scope="module")
def expected(root):
    """name -> (input as `make.py` makes it, outputs, gradients)."""
    arrays = np.load(root / "tests" / "onnx" / "expected.npz")
    found = {}
    for name in NETWORKS:
        x = np.random.default_rng(0).normal(size=arrays[f"{name}/shape"]).astype("float32")
        outputs = [arrays[f"{name}/y{i}"] for i in range(2) if f"{name}/y{i}" in arrays]
        found[name] = x, outputs, arrays[f"{name}/slopes"]
    return found


@pytest.fixture
def network(root):
    return lambda name, **options: keras.onnx.load(
        root / "tests" / "onnx" / f"{name}.onnx", **options
    )


# "own" has layers that ONNX cannot know, "images" ones whose operations it has not.
WRITTEN = [case for case in files.CASES if case.name not in ("own", "images")]


@pytest.mark.parametrize("case", WRITTEN, ids=lambda case: case.name)
def test_models_predict_alike_in_onnxruntime(case, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    with keras.device("cpu"):
        model = files.made(case, keras)
        files.trained(model, case, 0 if case.name in files.UNTRAINED else 1)
        x, _ = files.data(case)
        wanted = files.flat(model.predict_on_batch(x))
        model.export(tmp_path / "model.onnx")
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"))
    arrays = files.flat(x)
    feeds = {node.name: a for node, a in zip(session.get_inputs(), arrays, strict=True)}
    for found, right in zip(session.run(None, feeds), wanted, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-4 * np.abs(right).max())


def outputs_of(model, x):
    found = model.predict(x, verbose=0)
    return found if isinstance(found, list) else [found]


@pytest.mark.parametrize("name", NETWORKS)
def test_predictions_are_those_of_onnxruntime(name, network, expected):
    x, wanted, _ = expected[name]
    model = network(name)
    assert [t.shape for t in model.outputs] == [(None, *y.shape[1:]) for y in wanted]
    for found, y in zip(outputs_of(model, x), wanted, strict=True):
        np.testing.assert_allclose(found, y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_those_of_pytorch(name, network, expected):
    """Of all weights. They all differ, and gradients are recorded in the order of their weights: so
    a weight that is missing, or that should not be trained, moves all others.
    """
    x, _, recorded = expected[name]
    model = network(name)
    variables = model.trainable_variables

    def loss(x):
        found = model(x)
        found = found if isinstance(found, list) else [found]
        return sum(keras.ops.mean(y**2) for y in found if y.dtype == "float32")

    _, slopes = keras.value_and_grad(loss, variables)(x)
    weights = np.concatenate([np.ravel(v.numpy()) for v in variables])
    assert len(set(weights.tolist())) == len(weights) == len(recorded)
    wanted = np.empty_like(recorded)
    wanted[weights.argsort()] = recorded
    parts = np.split(wanted, np.cumsum([np.size(slope) for slope in slopes])[:-1])
    for variable, found, part in zip(variables, slopes, parts, strict=True):
        # Where everything cancels, as in front of a normalization, rounding is left.
        scale = max(np.abs(part).max(), 1e-3 * np.abs(recorded).max())
        np.testing.assert_allclose(np.ravel(found), part, 1e-3, 1e-3 * scale, err_msg=variable.path)


def test_an_imported_network_trains_and_is_saved(network, expected, tmp_path):
    model = network("mobilenet")
    x, (y,), _ = expected["mobilenet"]
    y = np.zeros_like(y)
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse")
    losses = model.fit(x, y, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "model.nbcnn")
    again = keras.models.load_model(tmp_path / "model.nbcnn")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]


def test_channels_last(network, expected):
    x, (y,), _ = expected["unet"]
    found = network("unet", channels_last=True).predict(x.transpose(0, 2, 3, 1), verbose=0)
    np.testing.assert_allclose(found, y.transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-5)


# -- writing --------------------------------------------------------------------------------------


def evaluated(path, x):
    from onnx.reference import ReferenceEvaluator

    model = onnx.load(path)
    onnx.checker.check_model(model)
    evaluator = ReferenceEvaluator(model)
    return evaluator.run(None, {evaluator.input_names[0]: x})[0]


OWN = {
    "image": (
        (12, 11, 3),
        lambda: [
            layers.Conv2D(4, 3, 2, "same", activation="gelu"),
            layers.BatchNormalization(),
            layers.SeparableConv2D(6, 3, activation="silu"),
            layers.Conv2DTranspose(4, 3, 2, "same"),
            layers.MaxPooling2D(2),
            layers.LayerNormalization(),
            layers.UpSampling2D(2),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax"),
        ],
    ),
    "sequence": (
        (16, 2),
        lambda: [
            layers.Conv1D(4, 3, padding="causal", dilation_rate=2, activation="elu"),
            layers.AveragePooling1D(2),
            layers.GroupNormalization(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(2, activation="sigmoid"),
        ],
    ),
}


@pytest.mark.parametrize("name", OWN)
def test_written_models_compute_the_same(name, tmp_path):
    shape, made = OWN[name]
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(shape), *made()])
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    y = model.predict(x, verbose=0)
    model.export(tmp_path / "model.onnx")
    np.testing.assert_allclose(evaluated(tmp_path / "model.onnx", x), y, rtol=1e-4, atol=1e-5)
    again = keras.onnx.load(tmp_path / "model.onnx")
    np.testing.assert_allclose(again.predict(x, verbose=0), y, rtol=1e-4, atol=1e-5)
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("name", NETWORKS)
def test_imported_networks_are_written_again(name, network, expected, tmp_path):
    x, wanted, _ = expected[name]
    network(name).export(tmp_path / "again.onnx")
    again = keras.onnx.load(tmp_path / "again.onnx")
    for found, y in zip(outputs_of(again, x), wanted, strict=True):
        np.testing.assert_allclose(found, y, rtol=1e-4, atol=1e-5)


UNWRITABLE = {"clahe", "activation sparsemax"}  # ONNX has no cumulative counts, nor sorting alike
WRITABLE = [c for c in EVERY_CASE if not c.training and c.name not in UNWRITABLE]


@pytest.mark.parametrize("part", range(8))
def test_every_layer_is_written_and_read_again(part, tmp_path):
    """Many in one model, each with an input and an output of its own."""
    cases = WRITABLE[part::8]
    inputs, outputs, values = [], [], []
    for case in cases:
        arrays = case_arrays(case, "float32")
        own = [keras.Input(x.shape[1:], dtype=x.dtype.name) for x in arrays]
        layer = built(case, "float32")
        outputs.append(layer(own if len(own) > 1 else own[0]))
        inputs += own
        values += [np.resize(x, (2, *x.shape[1:])) for x in arrays]
    model = keras.Model(inputs, outputs)
    model.export(tmp_path / "model.onnx")
    again = keras.onnx.load(tmp_path / "model.onnx")
    wanted, found = (m.predict(values, verbose=0) for m in (model, again))
    for case, a, b in zip(cases, wanted, found, strict=True):
        np.testing.assert_allclose(b, a, 1e-5, 1e-5 * np.abs(a).max(), err_msg=case.name)


def test_what_cannot_be_written(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Lambda(keras.ops.cumsum)])
    with pytest.raises(ValueError, match="cannot hold: cumulative"):
        model.export(tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="format must be 'onnx', got 'tf'"):
        model.export(tmp_path / "model", format="tf")
    with pytest.raises(ValueError, match="not been built"):
        keras.Sequential([layers.Dense(2)]).export(tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install nbcnn\[onnx\]"):
        keras.onnx.load(b"anything")
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    with pytest.raises(ImportError, match=r"pip install nbcnn\[onnx\]"):
        model.export("nowhere.onnx")
