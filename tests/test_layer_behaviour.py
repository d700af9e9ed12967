"""What layers do beyond their formula: freezing, seeds, subclasses, policies, constraints."""

import json

import numpy as np
import pytest

import nbcnn
from nbcnn import constraints, layers, random_state
from nbcnn.graph.graph import Graph
from nbcnn.layers.context import Context
from nbcnn.ops.tensor import Tensor
from nbcnn.registry import deserialize, serialize


def test_other_image_sizes_fit_the_same_weights():
    layer = layers.Conv2D(3, 3)
    assert layer(layers.Input((28, 28, 1))).shape == (None, 26, 26, 3)
    assert layer(layers.Input((9, 8, 1))).shape == (None, 7, 6, 3)


@pytest.mark.parametrize(
    "make, shape",
    [
        (lambda: layers.Conv3D(3, 2), (None, None, None, None, 3)),
        (lambda: layers.Conv3DTranspose(3, 2, strides=2), (None, None, None, None, 3)),
        (lambda: layers.MaxPooling3D(2), (None, None, None, None, 2)),
        (lambda: layers.AdaptiveAveragePooling3D((1, 2, 3)), (None, 1, 2, 3, 2)),
    ],
)
def test_volumes_of_sizes_that_are_not_known(make, shape):
    """A model of them takes volumes of every size, as a layer made for this size does."""
    layer, inputs = make(), layers.Input((None, None, None, 2))
    model = nbcnn.Model(inputs, layer(inputs))
    assert model.output_shape == shape
    for size in (4, 6):
        x = np.random.default_rng(size).standard_normal((2, size, size, size, 2)).astype("float32")
        np.testing.assert_allclose(model.predict(x, verbose=0), layer(x), 1e-5, 1e-6)


@pytest.mark.parametrize("algorithm", ["direct", "im2col", "auto"])
def test_explicit_padding_is_zeros_around(algorithm):
    padding = ((1, 0), (2, 3))
    x = np.random.default_rng(0).standard_normal((2, 5, 6, 2)).astype("float32")
    around = layers.Conv2D(3, 3, padding=padding, conv_algorithm=algorithm)
    y = around(x)
    plain = layers.Conv2D(3, 3)
    padded = np.pad(x, ((0, 0), *padding, (0, 0)))
    plain(padded)
    plain.set_weights(around.get_weights())
    np.testing.assert_allclose(y, plain(padded), 0, 1e-5 * np.abs(y).max())


def test_the_algorithm_reaches_layers_over_other_axes():
    """An algorithm by name gives the same values, and is what the graph asks for."""
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5, 2)).astype("float32")
    for make, image in ((layers.Conv3D, x), (layers.Conv3DTranspose, x)):
        first = make(3, 2, conv_algorithm="direct")
        y = first(image)
        other = make(3, 2, conv_algorithm="im2col")
        graph, found = Graph([other(layers.Input(image.shape[1:], 2))]), set()
        for node in graph.nodes:
            found.add(getattr(node.op, "algorithm", None))
        assert found - {None} == {"im2col"}
        other.set_weights(first.get_weights())
        np.testing.assert_allclose(other(image), y, 0, 1e-5 * np.abs(y).max())


def test_a_model_over_volumes_trains_and_is_saved(tmp_path):
    model = nbcnn.Sequential(
        [
            layers.Input((4, 4, 2, 1)),
            layers.Conv3D(2, 2, padding="same", activation="relu"),
            layers.MaxPooling3D(),
            layers.Conv3DTranspose(2, 2, 2),
            layers.GlobalAveragePooling3D(),
            layers.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((6, 4, 4, 2, 1)), rng.standard_normal((6, 1))
    before = model.get_weights()
    losses = model.fit(x, y, batch_size=4, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert all((a != b).any() for a, b in zip(before, model.get_weights()))
    model.save(tmp_path / "volumes.nbcnn")
    again = nbcnn.models.load_model(tmp_path / "volumes.nbcnn")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


def test_freezing_takes_weights_out_of_training():
    layer = layers.BatchNormalization()
    layer.build((None, 4))
    assert [v.name for v in layer.trainable_weights] == ["gamma", "beta"]
    layer.trainable = False
    assert layer.trainable_weights == []
    x = np.random.default_rng(0).standard_normal((9, 4)).astype("float32") + 5
    before = layer.get_weights()
    np.testing.assert_array_equal(layer(x, training=True), layer(x))
    for a, b in zip(before, layer.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_dropout_keeps_the_mean_and_zeroes_the_rate():
    x = np.ones((40, 50), "float32")
    y = layers.Dropout(0.25, seed=3)(x, training=True)
    assert set(np.unique(y)) == {0, np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.04
    np.testing.assert_array_equal(y, layers.Dropout(0.25, seed=3)(x, training=True))
    assert (y != layers.Dropout(0.25, seed=4)(x, training=True)).any()


def test_spatial_dropout_drops_whole_channels():
    x = np.ones((8, 3, 4, 10), "float32")
    y = layers.SpatialDropout2D(0.5, seed=1)(x, training=True)
    assert set(np.unique(y)) == {0, 2}
    assert (y == y[:, :1, :1]).all()
    volumes = np.ones((6, 10, 2, 3, 2), "float32")
    y = layers.SpatialDropout3D(0.5, "channels_first", seed=1)(volumes, training=True)
    assert set(np.unique(y)) == {0, 2}
    assert (y == y[:, :, :1, :1, :1]).all()
    y = layers.Dropout(0.5, noise_shape=(None, 3, 1, 1), seed=1)(x, training=True)
    assert (y == y[:, :, :1, :1]).all()


def test_lambda_calls_the_function():
    x = np.float32([[1, 2], [3, 4]])
    layer = layers.Lambda(lambda x, factor: x * factor, arguments={"factor": 3})
    np.testing.assert_array_equal(layer(x), x * 3)
    flag = layers.Lambda(lambda x, training: x * (2 if training else 1))
    np.testing.assert_array_equal(flag(x, training=True), x * 2)
    np.testing.assert_array_equal(flag(x), x)
    with pytest.raises(ValueError, match="unknown"):
        deserialize(json.loads(json.dumps(serialize(layer))))


def test_functional_forms_are_the_layers():
    a, b = layers.Input((3,)), layers.Input((3,))
    for name in ("add", "subtract", "multiply", "average", "maximum", "minimum", "concatenate"):
        y = getattr(layers, name)([a, b], name=f"my_{name}")
        assert type(y.call.layer).__name__.lower() == name
        assert y.call.layer.name == f"my_{name}"


def test_input_layer():
    x = layers.Input((28, 28, 1), batch_size=4, dtype="int32", name="pixels")
    assert (x.shape, x.dtype, x.name) == ((4, 28, 28, 1), "int32", "pixels")
    layer = layers.InputLayer((5,))
    assert layer.output.shape == (None, 5)
    assert layers.InputLayer.from_config(layer.get_config()).batch_shape == (None, 5)


def test_a_subclass_with_its_own_init_and_build():
    class Scaled(layers.Layer):
        def __init__(self, factor, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor
            self.inner = layers.Dense(3, use_bias=False, kernel_initializer="ones")

        def build(self, input_shape):
            self.shift = self.add_weight((input_shape[-1],), "ones", name="shift")

        def call(self, x, training=None):
            return self.inner((x + self.shift) * (self.factor if training else 1.0))

    layer = Scaled(2.0, name="mine")
    x = np.ones((2, 4), "float32")
    np.testing.assert_allclose(layer(x), np.full((2, 3), 8))
    np.testing.assert_allclose(layer(x, training=True), np.full((2, 3), 16))
    assert [v.shape for v in layer.weights] == [(4,), (4, 3)]
    assert layer.get_config() == {"factor": 2.0, "name": "mine", "trainable": True}


def test_building_by_hand_happens_once():
    layer = layers.Dense(2)
    layer.build((None, 3))
    assert layer.built
    layer(layers.Input((3,)))
    assert len(layer.weights) == 2


def test_activity_regularizer_adds_to_the_losses():
    layer = layers.Dense(2, activity_regularizer="l2")
    layer(layers.Input((3,)))
    with Context(training=True) as context:
        layer(Tensor((4, 3)))
    assert [t.shape for t in context.losses] == [()]


def test_training_given_to_a_layer_holds_for_the_layers_inside():
    class Block(layers.Layer):
        def __init__(self):
            super().__init__()
            self.drop = layers.Dropout(0.5)

        def call(self, x, training=None):
            return self.drop(x)

    x = np.ones((20, 20), "float32")
    assert (Block()(x, training=True) == 0).any()
    with Context(training=True):
        frozen = Block()(layers.Input((3,)), training=False)
    assert frozen.node is None


class Counting(layers.Layer):
    """Adds how often it was called before."""

    def build(self, input_shape):
        self.times = self.add_weight((1,), initializer="zeros", trainable=False, name="times")

    def call(self, inputs):
        y = inputs + self.times
        self.times.assign(self.times + 1.0)
        return y


def test_what_a_layer_keeps_changes_with_every_batch_outside_of_training_too():
    x, layer = np.zeros((10, 1)), Counting()
    model = nbcnn.Sequential([nbcnn.Input((1,)), layer])
    model.compile(loss="mse")
    found = [model.predict(x, batch_size=4, verbose=0)]
    assert model.evaluate(x, x, batch_size=5, verbose=0) == pytest.approx((9 + 16) / 2)
    found += [model.predict(x, batch_size=4, verbose=0), model(x)]
    expected = [*np.repeat([0, 1, 2], [4, 4, 2]), *np.repeat([5, 6, 7], [4, 4, 2]), *[8] * 10]
    np.testing.assert_array_equal(np.concatenate(found)[:, 0], expected)
    assert layer.times.numpy() == 9


def test_what_draws_in_predictions_draws_anew_for_every_batch():
    class Uncertain(nbcnn.Model):
        def __init__(self):
            super().__init__()
            self.drop = layers.Dropout(0.5)

        def call(self, x):
            return self.drop(x, training=True)

    x, model = np.ones((8, 50)), Uncertain()
    once, again = (model.predict(x, batch_size=4, verbose=0) for _ in range(2))
    assert (once == 0).any()
    assert (once[:4] != once[4:]).any()
    assert (once != again).any()


def test_dtypes_by_any_name():
    assert layers.Dense(1, dtype=np.float64).dtype == "float64"
    policy = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}}
    assert layers.Dense.from_config({"units": 1, "dtype": policy}).dtype == "float32"
    with pytest.raises(ValueError, match="Dense: dtype must be the name of a data type"):
        layers.Dense(1, dtype="float33")


def test_constraints_project():
    w = np.random.default_rng(0).standard_normal((3, 4)).astype("float32")
    length = np.sqrt((w**2).sum(0))
    np.testing.assert_array_equal(constraints.NonNeg()(w), np.maximum(w, 0))
    np.testing.assert_allclose(constraints.UnitNorm()(w), w / length, rtol=1e-5)
    small = constraints.MaxNorm(0.5)(w)
    np.testing.assert_allclose(np.sqrt((small**2).sum(0)), np.minimum(length, 0.5), rtol=1e-5)
    inside = constraints.get("min_max_norm")(w)
    np.testing.assert_allclose(np.sqrt((inside**2).sum(0)), np.minimum(length, 1), rtol=1e-5)
    layer = layers.Dense(3, kernel_constraint="max_norm")
    layer.build((None, 2))
    assert layer.kernel.constraint is layer.kernel_constraint


def test_the_global_seed_decides_draws_and_weights():
    def results():
        random_state.set_seed(7)
        dense = layers.Dense(3)
        dense.build((None, 4))
        x = np.ones((30, 30), "float32")
        return [*dense.get_weights(), layers.Dropout(0.5)(x, training=True)]

    for a, b in zip(results(), results()):
        np.testing.assert_array_equal(a, b)
