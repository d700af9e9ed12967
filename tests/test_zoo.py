"""The models of `models/`: parameters and cost as published, training, files, ONNX.

    NBCNN_ZOO=all python -m pytest tests/test_zoo.py    # all of them train, some on a simulated GPU

Each row is in `tests/cases/zoo.py`.
"""

import importlib
import os
import re

import numpy as np
import pytest
from cases.zoo import CASES, MASKED

import nbcnn as keras
from nbcnn.analysis import operation_count
from nbcnn.layers.variable import shapes_only

EVERY = os.environ.get("NBCNN_ZOO") == "all"
QUICK = [name for name, case in CASES.items() if case.quick]
SIMULATED = [name for name, case in CASES.items() if case.simulated is not None]
slow = pytest.mark.skipif(not EVERY, reason="takes minutes; NBCNN_ZOO=all runs it")


@pytest.fixture(scope="module")
def published():
    """name -> the model of the paper, without memory for its weights; each is built once."""
    built = {}

    def model(name):
        if name not in built:
            with shapes_only():
                built[name] = CASES[name].build("published")
        return built[name]

    return model


def trained(model):
    return sum(variable.size for variable in model.trainable_weights)


@pytest.mark.parametrize("name", CASES)
def test_parameters_are_the_published_ones(name, published):
    assert trained(published(name)) == CASES[name].parameters


@pytest.mark.parametrize("name", [n for n, case in CASES.items() if case.multiply_adds])
def test_cost_is_the_published_one(name, published):
    count = operation_count(published(name)).multiply_adds / 1e6
    assert count == pytest.approx(CASES[name].multiply_adds, rel=0.01)


def test_readme_states_them(root, published):
    """Each number of parameters, and the multiply-adds in millions, in the row of its file."""
    text = (root / "models" / "README.md").read_text()
    for name, case in CASES.items():
        rows = [line for line in text.splitlines() if f"({case.module}.py)" in line]
        stated = [row for row in rows if f"| {case.parameters:,} |" in row]
        assert stated, f"no row of {case.module}.py with {case.parameters:,} parameters ({name})"
        cost = operation_count(published(name)).multiply_adds / 1e6
        cells = [re.findall(r"[\d,.]+", row.split("|")[4]) for row in stated]
        assert any(float(c[0].replace(",", "")) == pytest.approx(cost, rel=5e-3) for c in cells)


def losses(model, case):
    """Of each step of the epochs with 256 digits, or with the case's own samples."""
    if case.task is None:
        zoo_data = pytest.importorskip("zoo_data")
        x = zoo_data.load("digits", model.input_shape[1:], case.batch, limit=256).train
        given, loss = {"x": x}, "sparse_categorical_crossentropy"
    else:
        x, y, loss = case.task(model)
        given = {"x": x, "y": y, "batch_size": case.batch}
    model.compile(keras.optimizers.Adam(case.learning_rate), loss)
    means = []  # of an epoch so far, after each of its steps

    def note(step, logs):
        means.append(logs[case.watched])

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=note)
    model.fit(**given, epochs=case.epochs, verbose=0, callbacks=[callback])
    means = np.reshape(means, (case.epochs, -1))
    return np.diff(means * np.arange(1, means.shape[1] + 1), prepend=0).ravel()


def learn(name):
    """A small model that has been trained, in which its loss has fallen; that of a classifier below
    what guessing gives.
    """
    case = CASES[name]
    keras.utils.set_random_seed(1)
    model = case.build()
    found, start = losses(model, case), np.inf
    if case.task is None:
        start = np.log(model.output_shape[-1])
    quarter = max(1, len(found) // 4)
    assert np.isfinite(found).all()
    assert found[-quarter:].mean() < 0.97 * min(start, found[:quarter].mean()), found
    return model


def inputs(model, samples=2):
    """Random inputs as the model takes them."""
    rng, arrays = np.random.default_rng(5), []
    for tensor in model.inputs:
        shape, kind = (samples, *tensor.shape[1:]), str(tensor.dtype)
        whole = kind.startswith("int")
        arrays.append(
            (rng.integers(0, 50, shape) if whole else rng.normal(size=shape)).astype(kind)
        )
    return arrays[0] if len(arrays) == 1 else arrays


def flat(values):
    return list(values) if isinstance(values, (list, tuple)) else [values]


def is_saved_and_exported(model, folder):
    """Loaded again it predicts the same bits; ONNX Runtime predicts nearly the same."""
    x = inputs(model)
    wanted = flat(model.predict(x, verbose=0))
    model.save(folder / "model.keras")
    again = keras.models.load_model(folder / "model.keras")
    for found, right in zip(flat(again.predict(x, verbose=0)), wanted, strict=True):
        np.testing.assert_array_equal(found, right)
    runtime = pytest.importorskip("onnxruntime")
    model.export(folder / "model.onnx")
    session = runtime.InferenceSession(str(folder / "model.onnx"))
    feeds = {node.name: a for node, a in zip(session.get_inputs(), flat(x), strict=True)}
    for found, right in zip(session.run(None, feeds), wanted, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-3, atol=1e-4 * np.abs(right).max())


@pytest.mark.parametrize("name", QUICK)
def test_saved_and_exported(name, tmp_path):
    with keras.device("cpu"):
        is_saved_and_exported(CASES[name].build(), tmp_path)


@slow
@pytest.mark.parametrize("name", CASES)
def test_learns_and_is_saved_and_exported(name, tmp_path):
    with keras.device("cpu"):
        is_saved_and_exported(learn(name), tmp_path)


@slow
@pytest.mark.parametrize("name", SIMULATED)
def test_first_step_on_a_simulated_gpu(name, root, python):
    environment = {"NBCNN_DEVICE": "cuda", "NUMBA_ENABLE_CUDASIM": "1"}
    python(root / "tests" / "zoo_step.py", name, timeout=1200, **environment)


PARTS = [
    ("dcgan", "generator", {}, 3_576_704),  # PyTorch's tutorial
    ("dcgan", "discriminator", {}, 2_765_568),
    ("vae", "encoder", {}, 69_076),  # Keras's example
    ("vae", "decoder", {}, 65_089),
    ("unet", "build", {}, 31_030_658),  # the paper's two classes
    ("unet", "build", {"input_shape": (572, 572, 1), "padding": "valid"}, 31_030_658),
]


@pytest.mark.parametrize("module, function, arguments, parameters", PARTS)
def test_parts_and_variants_have_the_published_parameters(module, function, arguments, parameters):
    with shapes_only():
        model = getattr(importlib.import_module(module), function)(**arguments)
    assert trained(model) == parameters
    if arguments.get("padding") == "valid":
        assert model.output_shape == (None, 388, 388, 2)


def test_hidden_patches_do_not_reach_visible_ones():
    convnext_v2 = importlib.import_module("convnext_v2")
    keras.utils.set_random_seed(3)
    image, mask = keras.Input((16, 16, 1)), keras.Input((4, 4))
    encoder = keras.Model([image, mask], convnext_v2.trunk(image, mask=mask, **MASKED))
    rng = np.random.default_rng(4)
    x = rng.normal(size=(3, 16, 16, 1)).astype("float32")
    seen = (rng.random((3, 4, 4)) < 0.5).astype("float32")
    other = np.where(seen.repeat(4, 1).repeat(4, 2)[..., None] == 1, x, x + 1)
    with keras.device("cpu"):
        first, second = (encoder.predict([images, seen], verbose=0) for images in (x, other))
    np.testing.assert_allclose(first[seen == 1], second[seen == 1], rtol=1e-5, atol=1e-6)
    assert np.abs(first - second)[seen == 0].max() > 1e-3


def test_masked_training_learns_and_hands_over_its_weights():
    convnext_v2 = importlib.import_module("convnext_v2")
    keras.utils.set_random_seed(3)
    (x, _), _ = keras.datasets.digits.load_data(size=16)
    with keras.device("cpu"):
        model = convnext_v2.build_autoencoder((16, 16, 1), decoder=16, **MASKED)
        model.compile(keras.optimizers.AdamW(3e-3))
        found = model.fit(x[:512], batch_size=32, epochs=3, verbose=0).history["loss"]
        classifier = convnext_v2.build((16, 16, 1), 10, **MASKED)
        convnext_v2.transfer(model, classifier)
    assert found[-1] < 0.7 * found[0]
    shared = [layer for layer in classifier.layers if layer.name.startswith(("stem", "stage"))]
    assert len([layer for layer in shared if layer.weights]) == 14
    for layer in shared:
        for own, learned in zip(layer.get_weights(), model.get_layer(layer.name).get_weights()):
            np.testing.assert_array_equal(own, learned)
    with pytest.raises(ValueError, match="multiples of 4, got"):
        convnext_v2.build_autoencoder((18, 16, 1), **MASKED)
