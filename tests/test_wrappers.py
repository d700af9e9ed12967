"""Layers around layers, statistics of data, expectations of inputs."""

import numpy as np
import pytest

import nbcnn
from nbcnn import layers
from nbcnn.registry import deserialize, serialize

X = np.random.default_rng(0).standard_normal((12, 4, 5)).astype("float32") * [1, 2, 3, 4, 5] + 7
X = X.astype("float32")


def test_adapt_takes_mean_and_variance_of_the_data():
    layer = layers.Normalization()
    assert layer.mean is None
    layer.adapt(X)
    np.testing.assert_allclose(layer.mean, X.mean((0, 1), keepdims=True), 1e-6)
    np.testing.assert_allclose(layer.variance, X.var((0, 1), keepdims=True), 1e-5)
    y = layer(X)
    expected = (X - X.mean((0, 1))) / X.std((0, 1))
    np.testing.assert_allclose(y, expected, 0, 1e-5)
    back = layers.Normalization(invert=True)
    back.adapt(X)
    np.testing.assert_allclose(back(y), X, 0, 1e-4)
    layer.adapt(2 * X)  # again, for other data
    np.testing.assert_allclose(layer(2 * X), expected, 0, 1e-5)


def test_adapt_to_batches_is_adapt_to_all():
    whole, parts = layers.Normalization(axis=(1, 2)), layers.Normalization(axis=(1, 2))
    whole.adapt(X)
    parts.adapt([X[:3], (X[3:4], "label"), X[4:]])
    assert [v.shape for v in parts.weights] == [(4, 5), (4, 5), ()]
    for a, b in zip(whole.get_weights(), parts.get_weights()):
        np.testing.assert_allclose(a, b, 1e-4)


def test_one_mean_for_everything():
    layer = layers.Normalization(axis=None)
    layer.adapt(X)
    np.testing.assert_allclose(layer(X), (X - X.mean()) / X.std(), 0, 1e-4)


def test_an_adapted_layer_survives_a_file(tmp_path):
    layer = layers.Normalization()
    layer.adapt(X)
    model = nbcnn.Sequential([layers.Input((4, 5)), layer, layers.Flatten(), layers.Dense(2)])
    expected = model.predict(X, verbose=0)
    model.save(tmp_path / "model.nbcnn")
    again = nbcnn.models.load_model(tmp_path / "model.nbcnn")
    np.testing.assert_array_equal(again.predict(X, verbose=0), expected)


def test_time_distributed_is_the_layer_on_each_step():
    images = np.random.default_rng(1).random((2, 3, 6, 5, 2)).astype("float32")
    inner = layers.AveragePooling2D(2)
    layer = layers.TimeDistributed(inner)
    y = layer(images)
    np.testing.assert_array_equal(y, np.stack([inner(images[:, t]) for t in range(3)], 1))
    assert layer(layers.Input((3, 6, 5, 2))).shape == (None, 3, 3, 2, 2)
    assert layer(layers.Input((None, 6, 5, 2), batch_size=4)).shape[:1] == (4,)


def test_wrapped_layers_are_part_of_the_wrapper(tmp_path):
    layer = layers.TimeDistributed(layers.Dense(3, name="inner"), name="outer")
    model = nbcnn.Sequential([layers.Input((4, 5)), layer])
    assert [v.shape for v in layer.trainable_weights] == [(5, 3), (3,)]
    again = deserialize(serialize(layer))
    assert again.get_config() == layer.get_config()
    assert layers.deserialize(layers.serialize(layer)).layer.units == 3
    model.save(tmp_path / "model.nbcnn")
    loaded = nbcnn.models.load_model(tmp_path / "model.nbcnn")
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))


def test_configurations_of_keras_name_what_it_does_not_use():
    config = layers.Dense(3).get_config() | {"quantization_config": None}
    assert layers.Dense.from_config(config).units == 3
    with pytest.raises(ValueError, match="quantization_config"):
        layers.Dense(3, quantization_config="int8")


def test_input_specifications_are_kept_to():
    class Picky(layers.Layer):
        def __init__(self, spec):
            super().__init__()
            self.input_spec = spec

        def call(self, x):
            return x

    fits = layers.InputSpec(min_ndim=2, max_ndim=3, axes={-1: 5}, dtype="float32")
    assert layers.InputSpec.from_config(fits.get_config()).get_config() == fits.get_config()
    np.testing.assert_array_equal(Picky(fits)(X), X)
    np.testing.assert_array_equal(Picky(layers.InputSpec(shape=(None, 4, 5)))(X), X)
    refused = {
        "expected ndim=2": layers.InputSpec(ndim=2),
        "expected max_ndim=2": layers.InputSpec(max_ndim=2),
        "expected min_ndim=4": layers.InputSpec(min_ndim=4),
        "expected dtype=int32": layers.InputSpec("int32"),
        "expected size 6 along axis -1": layers.InputSpec(axes={-1: 6}),
        "expected shape (None, 3, 5)": layers.InputSpec(shape=(None, 3, 5)),
        "expected 2 inputs, got 1": [fits, fits],
    }
    for text, spec in refused.items():
        with pytest.raises(ValueError) as error:
            Picky(spec)(X)
        assert text in str(error.value)
    with pytest.raises(ValueError, match="axes must be below 2"):
        layers.InputSpec(ndim=2, axes={2: 1})
    with pytest.raises(TypeError, match="integer keys"):
        layers.InputSpec(axes={"last": 1})


ERRORS = [
    (lambda: layers.Normalization(mean=1.0), "mean and variance must be given both"),
    (lambda: layers.Normalization(mean=[1, 2], variance=[1]), "must have one shape"),
    (lambda: layers.Normalization(axis=None, mean=[1], variance=[1]), "of at most 0 axes"),
    (lambda: layers.Normalization(axis="last"), "axis must be an axis"),
    (lambda: layers.Normalization(axis=3).adapt(X), "axis (3,) is out of range"),
    (lambda: layers.Normalization().adapt([]), "adapt() got no data"),
    (lambda: layers.Normalization(mean=1.0, variance=1.0).adapt(X), "without mean and variance"),
    (lambda: layers.Normalization()(layers.Input((None,))), "must be known"),
    (lambda: layers.RMSNormalization(axis=3)(X), "axis 3 is out of range"),
    (lambda: layers.TimeDistributed("dense"), "TimeDistributed: layer must be a layer"),
    (lambda: layers.TimeDistributed(layers.Dense(2))(X[0]), "at least 3 axes"),
]


@pytest.mark.parametrize(("wrong", "text"), ERRORS, ids=[t for _, t in ERRORS])
def test_errors_say_what_came_and_what_was_expected(wrong, text):
    with pytest.raises(ValueError) as error:
        wrong()
    assert text in str(error.value)


def test_data_of_another_size_changes_nothing():
    layer = layers.Normalization()
    layer.adapt(X)
    before = layer.get_weights()
    with pytest.raises(ValueError, match="expected input of shape"):
        layer.adapt([X, X[..., :3]])
    with pytest.raises(TypeError, match="takes an array or batches, got int"):
        layer.adapt(3)
    for a, b in zip(before, layer.get_weights()):
        np.testing.assert_array_equal(a, b)
