"""Whole models on a simulated GPU: the same training steps as on the CPU, and moving from one to
the other.
"""

import pytest

SIMULATED = {"NUMBA_ENABLE_CUDASIM": "1"}

MODELS = """
import sys
import numpy as np
import nbcnn
from nbcnn import layers

sys.setswitchinterval(5e-4)  # the simulator polls its threads, which wait for that


def small_lenet():
    return nbcnn.Sequential([
        nbcnn.Input((14, 14, 1)),
        layers.Conv2D(6, 5, padding="same", activation="sigmoid"), layers.AveragePooling2D(2),
        layers.Conv2D(16, 3, activation="sigmoid"), layers.AveragePooling2D(2),
        layers.Flatten(), layers.Dense(40, activation="sigmoid"),
        layers.Dense(24, activation="sigmoid"), layers.Dense(10, activation="softmax")])


def residual():
    x = nbcnn.Input((12, 12, 1))
    first = layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False)(x)
    first = layers.ReLU()(layers.BatchNormalization()(first))
    y = layers.Conv2D(4, 3, padding="same", use_bias=False)(first)
    y = layers.ReLU()(layers.Add()([layers.BatchNormalization()(y), first]))
    y = layers.Dropout(0.25)(layers.MaxPooling2D(2)(y))
    y = layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(y))
    return nbcnn.Model(x, y)


def made(make):
    nbcnn.utils.set_random_seed(3)
    model = make()
    model.compile(OPTIMIZER, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def images(model):
    shape = (2, *model.input_shape[1:])
    return np.random.default_rng(1).random(shape, dtype="float32"), np.array([1, 7], "int32")


def apart(a, b):
    return max(np.abs(u - v).max() for u, v in zip(a.get_weights(), b.get_weights()))
"""


@pytest.fixture
def simulate(python, tmp_path):
    """Run a script on the models above with CUDA simulated."""

    def run(body, optimizer="adam"):
        script = tmp_path / "train.py"
        script.write_text(MODELS.replace("OPTIMIZER", repr(optimizer)) + body)
        return python(script, **SIMULATED)

    return run


@pytest.mark.parametrize("model, optimizer", [("small_lenet", "adam"), ("residual", "sgd")])
def test_two_steps_equal_those_of_the_cpu(simulate, model, optimizer):
    simulate(
        f"""
results = []
for name in ("cpu", "cuda"):
    with nbcnn.device(name):
        model = made({model})
        x, y = images(model)
        losses = [model.train_on_batch(x, y)[0] for _ in range(2)]
        results.append((model, losses, model.predict_on_batch(x)))
(a, losses, p), (b, simulated_losses, q) = results
assert np.allclose(losses, simulated_losses, atol=1e-5), (losses, simulated_losses)
assert apart(a, b) < 1e-4, apart(a, b)
assert np.abs(p - q).max() < 1e-4
""",
        optimizer,
    )


def test_a_model_moves_with_its_state(simulate):
    simulate(
        """
models = []
for devices in (("cpu", "cpu", "cpu"), ("cpu", "cuda", "cpu")):
    model = made(residual)
    x, y = images(model)
    for name in devices:
        model.to(name).train_on_batch(x, y)
    models.append(model)
assert apart(*models) < 1e-4, apart(*models)
"""
    )


def test_arrays_with_new_axes_are_uploaded(simulate):
    simulate(
        """
from nbcnn.runtime.device import get_device
device = get_device("cuda")
target = device.view(device.empty(8), 0, (2, 1), "float32")
device.upload(target, np.array([3, 5], "float32")[:, None])
assert device.download(target).tolist() == [[3], [5]]
"""
    )
