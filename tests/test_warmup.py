"""`nbcnn.warmup` leaves nothing to compile."""

import numpy as np
import pytest

import nbcnn as keras
from nbcnn.kernels.cpu import images, linking, program


def small_model():
    layers = keras.layers
    model = keras.Sequential([keras.Input((5,)), layers.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


@pytest.fixture
def no_compiler(monkeypatch):
    """From when it is called on, compiling fails; so does loading what another process compiled."""
    program.compiled_follow()  # by a thread that may just be starting

    def forbid():
        monkeypatch.setattr(linking, "machine_code", None)
        monkeypatch.setattr(linking, "load", None)
        monkeypatch.setattr(images, "load", None)

    return forbid


def test_a_warm_model_trains_and_predicts_without_compiling(no_compiler):
    model = small_model()
    before = model.get_weights()
    keras.warmup(model, batch_size=4)
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)
    no_compiler()
    x = np.ones((8, 5), "float32")
    model.fit(x, np.zeros(8, int), batch_size=4, verbose=0)
    assert model.predict(x, batch_size=4, verbose=0).shape == (8, 3)


def test_prediction_alone_needs_no_compile(no_compiler):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    keras.warmup(model, training=False)
    no_compiler()
    assert model.predict(np.ones((32, 5)), verbose=0).shape == (32, 3)


@pytest.mark.parametrize("size", [0, -1, 2.5])
def test_batch_size_is_checked(size):
    with pytest.raises((ValueError, TypeError), match="warmup: batch_size"):
        keras.warmup(small_model(), batch_size=size)


def test_training_needs_a_compiled_model():
    with pytest.raises(ValueError, match="compile"):
        keras.warmup(keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)]))


def test_without_a_model_everyday_kernels_are_there(no_compiler):
    keras.warmup()
    no_compiler()
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((28, 28, 1)), layers.Conv2D(8, 3, activation="relu"), layers.MaxPooling2D(2)]
        + [layers.Flatten(), layers.Dense(10, activation="softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(np.ones((8, 28, 28, 1), "float32"), np.zeros(8, int), verbose=0)
