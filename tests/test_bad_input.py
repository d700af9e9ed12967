"""What a user gets wrong is answered with what came and what was expected, before anything
changes.
"""

import re

import numpy as np
import pytest

import nbcnn
from nbcnn import layers

X = np.random.default_rng(0).random((10, 4, 4, 1)).astype("float32")
Y = np.arange(10) % 3


@pytest.fixture(autouse=True)
def on_the_cpu():
    with nbcnn.device("cpu"):
        yield


@pytest.fixture(scope="module")
def model():
    made = nbcnn.Sequential(
        [nbcnn.Input((4, 4, 1)), layers.Flatten(), layers.Dense(3, activation="softmax")]
    )
    made.compile("sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return made


def with_label(value, dtype="int64"):
    labels = Y.astype(dtype)
    labels[4] = value
    return labels


ONE_HOT = np.eye(3)[Y]

# What is passed to fit, the error, and its message.
FIT = {
    "different lengths": ({"y": Y[:9]}, ValueError, "fit: x has 10 samples, y has 9"),
    "two axes missing": (
        {"x": X[:, 0, :, 0]},
        ValueError,
        "fit: expected input of shape (None, 4, 4, 1), got (10, 4)",
    ),
    "another size": ({"x": X[:, :3]}, ValueError, "expected input of shape (None, 4, 4, 1), got"),
    "no targets": ({"y": None}, ValueError, "fit: y is missing, output 'dense"),
    "no inputs": ({"x": None}, ValueError, "fit: x is missing"),
    "empty": ({"x": X[:0], "y": Y[:0]}, ValueError, "fit: x is empty, its shape is (0, 4, 4, 1)"),
    "strings": ({"y": ["a"] * 10}, TypeError, "fit: y must be an array of numbers, got"),
    "objects": ({"x": np.full(10, None)}, TypeError, "fit: x must be an array of numbers"),
    "complex": ({"x": X + 1j}, TypeError, "an array of dtype complex"),
    "ragged": ({"x": [[1, 2], [3]]}, ValueError, "fit: x cannot be made an array"),
    "a number": ({"y": 3}, ValueError, "fit: y must have a batch axis, got the number 3"),
    "a label too large": (
        {"y": with_label(3)}, ValueError, "fit: y must hold labels from 0 to 2, got 3",
    ),
    "a negative label": (
        {"y": with_label(-1)}, ValueError, "fit: y must hold labels from 0 to 2, got -1",
    ),
    "a broken label": ({"y": with_label(0.5, "float64")}, ValueError, "whole class numbers"),
    "a label that is none": (
        {"y": with_label(np.nan, "float64")}, ValueError, "fit: y holds NaN or infinite values",
    ),
    "one-hot labels": (
        {"y": ONE_HOT},
        ValueError,
        "class numbers of shape (None,), got (10, 3); for one-hot labels use categorical_crosse",
    ),
    "batch_size": ({"batch_size": 0}, ValueError, "batch_size must be a positive whole number"),
    "batch_size of 2.5": ({"batch_size": 2.5}, ValueError, "got 2.5"),
    "epochs": ({"epochs": -1}, ValueError, "fit: epochs must be a whole number from 0, got -1"),
    "initial_epoch": ({"initial_epoch": -1}, ValueError, "initial_epoch must be"),
    "steps_per_epoch": ({"steps_per_epoch": 0}, ValueError, "steps_per_epoch must be a positive"),
    "validation_freq": ({"validation_freq": 0}, ValueError, "validation_freq must be a positive"),
    "validation_split of 1": (
        {"validation_split": 1.0},
        ValueError,
        "fit: validation_split must be from 0 to below 1, got 1.0",
    ),
    "validation_split below 0": ({"validation_split": -0.1}, ValueError, "got -0.1"),
    "nothing to train on": ({"validation_split": 0.95}, ValueError, "leaves one part empty"),
    "verbose": ({"verbose": 3}, ValueError, "verbose must be 'auto', 0, 1 or 2, got 3"),
    "shuffle": ({"shuffle": "yes"}, ValueError, "shuffle must be True, False or 'batch'"),
    "callbacks": ({"callbacks": [print]}, ValueError, "expected instances of Callback"),
    "validation_data": (
        {"validation_data": (X, Y[:3])},
        ValueError,
        "fit (validation_data): x has 10 samples, y has 3",
    ),
    "validation_data of 4": (
        {"validation_data": (X, Y, Y, Y)}, ValueError, "expected (x, y) or (x, y, sample_weight)",
    ),
    "weights of another length": (
        {"sample_weight": np.ones(9)}, ValueError, "fit: x has 10 samples, sample_weight has 9",
    ),
    "weights of another shape": (
        {"sample_weight": np.ones((10, 2))}, ValueError, "must have shape (samples,)",
    ),
    "weights that are none": (
        {"sample_weight": np.full(10, np.nan)}, ValueError, "sample_weight holds NaN",
    ),
    "class_weight as a list": ({"class_weight": [1, 2, 3]}, ValueError, "must be a dictionary"),
    "class_weight by name": ({"class_weight": {"a": 1}}, ValueError, "each class of class_weight"),
    "two arrays for one": ({"x": [X, X]}, ValueError, "fit: x: expected one array, got a list of"),
    "another name": ({"x": {"y": X, "z": X}}, ValueError, "fit: x: expected the names"),
}  # fmt: skip


@pytest.mark.parametrize("case", FIT)
def test_fit(case, model):
    changed, error, message = FIT[case]
    before = model.get_weights()
    with pytest.raises(error, match=re.escape(message)):
        model.fit(**{"x": X, "y": Y, "verbose": 0, **changed})
    np.testing.assert_array_equal(before[0], model.get_weights()[0])


def test_targets_beside_batches_are_refused(model):
    def batches():
        yield X, Y

    for name, value in {"y": Y, "sample_weight": Y, "validation_split": 0.5}.items():
        with pytest.raises(ValueError, match=f"fit: {name} cannot be given where x gives batches"):
            model.fit(batches(), **{name: value}, verbose=0)
    for empty in (iter(()), (x for x in ())):
        with pytest.raises(ValueError, match="yields no batches"):
            model.fit(empty, verbose=0)
    with pytest.raises(ValueError, match="4 parts"):
        model.fit(iter([(X, Y, Y, Y)]), verbose=0)


def test_evaluate_and_predict(model):
    with pytest.raises(ValueError, match="evaluate: x has 10 samples, y has 2"):
        model.evaluate(X, Y[:2], verbose=0)
    with pytest.raises(ValueError, match=r"predict: expected input of shape \(None, 4, 4, 1\)"):
        model.predict(X[0], verbose=0)
    with pytest.raises(ValueError, match="predict: batch_size must be"):
        model.predict(X, batch_size=-1)
    with pytest.raises(ValueError, match="predict: steps must be"):
        model.predict(X, steps=0)
    with pytest.raises(ValueError, match="predict: x is empty"):
        model.predict(X[:0])
    with pytest.raises(ValueError, match="predict: x yields no batches"):
        model.predict(iter(()), verbose=0)
    with pytest.raises(ValueError, match="train_on_batch: x has 10"):
        model.train_on_batch(X, Y[:1])
    with pytest.raises(ValueError, match="plan: batch must be"):
        model.plan(0)


def dense(**kwargs):
    return nbcnn.Sequential([nbcnn.Input((4, 4, 1)), layers.Flatten(), layers.Dense(3, **kwargs)])


def test_training_needs_compile():
    made = dense()
    for call in (made.fit, made.evaluate, made.train_on_batch, made.test_on_batch):
        with pytest.raises(ValueError, match=r"call compile\(\) first"):
            call(X, Y)
    with pytest.raises(ValueError, match=r"plan: call compile\(\) first"):
        made.plan(2)
    assert made.predict(X, verbose=0).shape == (10, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimizer": "adma"}, "compile: optimizer: unknown optimizer 'adma'; did you mean"),
        ({"optimizer": None}, "compile: optimizer must be an optimizer or its name, got None"),
        ({"optimizer": 3}, "compile: optimizer"),
        ({"loss": "squared_eror"}, "compile: loss: unknown loss 'squared_eror'"),
        ({"loss": {"a": "nothing"}}, "compile: loss: unknown loss 'nothing'"),
        ({"metrics": ["acuracy"]}, "compile: metrics: unknown metric 'acuracy'"),
        ({"metrics": [3]}, "compile: metrics"),
        ({"steps_per_execution": 0}, "compile: steps_per_execution must be a positive"),
    ],
)
def test_compile(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        dense().compile(**arguments)


def test_losses_that_do_not_fit_the_outputs():
    made = dense()
    made.compile("sgd", loss={"output": "mse"})
    with pytest.raises(ValueError, match="no output is named 'output'"):
        made.fit(X, ONE_HOT, verbose=0)
    made.compile("sgd", loss=["mse", "mse"])
    with pytest.raises(ValueError, match="expected 1 entries, one an output, got 2"):
        made.fit(X, ONE_HOT, verbose=0)
    made.compile("sgd")
    with pytest.raises(ValueError, match="without a loss there is nothing to minimise"):
        made.fit(X, ONE_HOT, verbose=0)


@pytest.mark.parametrize(
    ("loss", "y", "message"),
    [
        ("mse", np.zeros((10, 2)), "fit: y must have shape (None, 3), got (10, 2)"),
        ("categorical_crossentropy", Y, "for class numbers use sparse_categorical_crossentropy"),
        ("mae", np.full((10, 3), np.inf), "fit: y holds NaN or infinite values"),
        ("mse", np.full((10, 3), 2**40), "fit: y must fit 32-bit integers"),
    ],
)
def test_targets(loss, y, message):
    made = dense()
    made.compile("sgd", loss=loss)
    with pytest.raises(ValueError, match=re.escape(message)):
        made.fit(X, y, verbose=0)


def test_models_that_are_not_built():
    made = nbcnn.Sequential([layers.Flatten(), layers.Dense(3)])
    for call in (made.count_params, lambda: made.output_shape):
        with pytest.raises(ValueError, match=r"not built yet|has not seen data yet"):
            call()
    empty = nbcnn.Sequential()
    empty.compile("sgd", loss="mse")
    with pytest.raises(ValueError, match="has no layers"):
        empty.fit(X, Y, verbose=0)
    with pytest.raises(AttributeError, match="no symbolic inputs"):
        _ = nbcnn.Model().inputs
    with pytest.raises(NotImplementedError, match="does not define call"):
        nbcnn.Model()(X)


def test_graphs():
    a, b = nbcnn.Input((3,)), nbcnn.Input((3,))
    y = layers.Add()([a, b])
    with pytest.raises(ValueError, match="graph disconnected"):
        nbcnn.Model(a, y)
    with pytest.raises(TypeError, match="outputs must be made by Input"):
        nbcnn.Model(a, X)
    with pytest.raises(ValueError, match="outputs is missing"):
        nbcnn.Model(a)
    with pytest.raises(ValueError, match="given twice"):
        nbcnn.Model([a, a], y)
    twins = layers.Dense(1, name="d"), layers.Dense(1, name="d")
    with pytest.raises(ValueError, match="names must differ, 'd' occurs twice"):
        nbcnn.Model(a, twins[1](twins[0](a)))
    with pytest.raises(ValueError, match="names must differ"):
        nbcnn.Sequential(list(twins))
    two = nbcnn.Model([a, b], y)
    with pytest.raises(ValueError, match="predict: x: expected 2 arrays"):
        two.predict(np.zeros((2, 3)), verbose=0)
    with pytest.raises(ValueError, match=r"predict: x\[0\] has 2 samples, x\[1\] has 3"):
        two.predict([np.zeros((2, 3)), np.zeros((3, 3))], verbose=0)
    with pytest.raises(ValueError, match=r"x\['input_layer.*'\] is missing"):
        two.predict({two.input_names[0]: np.zeros((2, 3))}, verbose=0)


def test_sequential():
    with pytest.raises(TypeError, match="expected a layer, got 'dense'"):
        nbcnn.Sequential(["dense"])
    with pytest.raises(TypeError, match="layers must be a list"):
        nbcnn.Sequential(layers.Dense(1))
    with pytest.raises(ValueError, match="no layer left"):
        nbcnn.Sequential().pop()
    with pytest.raises(ValueError, match="input must come first"):
        nbcnn.Sequential([nbcnn.Input((3,)), layers.Dense(1), nbcnn.Input((3,))])
    made = dense(name="last")
    with pytest.raises(ValueError, match="no layer is named 'first'"):
        made.get_layer("first")
    with pytest.raises(ValueError, match="index must be below 2"):
        made.get_layer(index=2)
    assert made.get_layer("last") is made.get_layer(index=-1)
    with pytest.raises(ValueError, match=r"expected input of shape \(None, 4, 4, 1\), got"):
        made(X[:, 0, :, 0])
