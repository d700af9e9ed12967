"""Twenty steps of every optimizer against real Keras; see `golden/record_optimizers.py`.

A layer whose output is the sum of its weights times its inputs has the inputs as gradients.
"""

from pathlib import Path

import numpy as np
import pytest
from cases.optimizers import CASES, CONSTRAINED, LIMIT, SEEN, STEPS, WEIGHTS, gradient, start

import nbcnn
from nbcnn import layers, ops

GOLDEN = np.load(Path(__file__).parent / "golden" / "optimizers.npz")


class Part(layers.Layer):
    """The weights of `WEIGHTS` that begin with the layer's name."""

    def __init__(self, limited=False, **kwargs):
        super().__init__(**kwargs)
        self.limited = limited

    def build(self, shapes):
        for path, shape in WEIGHTS.items():
            layer, _, own = path.partition("/")
            if layer == self.name:
                limit = nbcnn.constraints.MaxNorm(LIMIT, axis=1)
                constraint = limit if self.limited and path == CONSTRAINED else None
                self.add_weight(shape=shape, name=own, constraint=constraint)

    def call(self, inputs):
        products = [ops.sum(x * w) for x, w in zip(inputs, self.weights)]
        return ops.reshape(products[0] + products[1], (1, 1))


def model(optimizer, limited):
    inputs = [nbcnn.Input(batch_shape=(1, *shape)) for shape in WEIGHTS.values()]
    outputs = layers.Add()(
        [Part(limited, name="first")(inputs[:2]), Part(limited, name="head")(inputs[2:])]
    )
    made = nbcnn.Model(inputs, outputs)
    made.compile(optimizer, loss=lambda y_true, y_pred: ops.mean(y_pred))
    made.set_weights([start(path) for path in WEIGHTS])
    return made


def apart(found, wanted):
    return np.abs(found - wanted).max() / np.abs(wanted).max()


def compare(made, name, step):
    for path, weight in zip(WEIGHTS, made.weights):
        assert weight.path == path
        key = f"{name}/{step}/{path}"
        if key in GOLDEN:
            assert apart(weight.numpy(), GOLDEN[key]) <= 1e-5, key


def train(made, name, step):
    made.train_on_batch([gradient(name, path, step)[None] for path in WEIGHTS], np.zeros((1, 1)))


@pytest.mark.parametrize("name", CASES)
def test_twenty_steps(name):
    made = model(CASES[name](nbcnn), "constrained" in name)
    with np.errstate(over="ignore"):
        for step in range(STEPS):
            train(made, name, step)
            if step in SEEN:
                compare(made, name, step)
    made.optimizer.finalize_variable_values(made.trainable_weights)
    compare(made, name, "end")


def test_all_is_recorded():
    wanted = {f"{name}/{step}/{path}" for name in CASES for step in SEEN for path in WEIGHTS}
    assert not wanted - set(GOLDEN.files)


@pytest.mark.parametrize("name", ["Adafactor all", "Muon accumulating", "Nadam", "MultiOptimizer",
                                  "LossScaleOptimizer overflow", "ScheduleFreeAdamW"])  # fmt: skip
def test_training_goes_on_from_a_file(name, tmp_path):
    first = nbcnn.Sequential([nbcnn.Input((3,)), layers.Dense(4, activation="tanh"),
                              layers.Dense(2)])  # fmt: skip
    first.compile(CASES[name](nbcnn), "mse")
    generator = np.random.default_rng(3)
    x, y = generator.normal(size=(8, 3)), generator.normal(size=(8, 2))
    for _ in range(4):
        first.train_on_batch(x, y)
    first.save(tmp_path / "model.nbcnn")
    again = nbcnn.models.load_model(tmp_path / "model.nbcnn")
    assert again.optimizer.get_state() == first.optimizer.get_state()
    for _ in range(3):
        first.train_on_batch(x, y)
        again.train_on_batch(x, y)
    for a, b in zip(first.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
