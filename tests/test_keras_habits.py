"""What Keras scripts do out of habit, with the results they have there."""

import copy
import pickle

import numpy as np
import pytest
from small_models import LABELS, RNG, X, Y, compiled, compiled_classifier, linear

import nbcnn
from nbcnn import callbacks, layers, ops


@pytest.fixture(autouse=True)
def on_the_cpu():
    nbcnn.utils.set_random_seed(0)
    with nbcnn.device("cpu"):
        yield


def test_the_first_layer_says_the_shape_of_the_input():
    model = nbcnn.Sequential()
    model.add(layers.Conv2D(4, 3, input_shape=(8, 8, 1)))
    model.add(layers.Flatten())
    assert model.output_shape == (None, 144)
    assert nbcnn.Sequential([layers.Dense(2, input_dim=3)]).count_params() == 8
    assert layers.Dense(2, input_shape=(3,))(np.ones((1, 5))).shape == (1, 2)
    again = nbcnn.Sequential.from_config(model.get_config())
    assert again.input_shape == (None, 8, 8, 1)


def test_the_summary_of_a_model_without_weights():
    lines = []
    model = nbcnn.Sequential([layers.Flatten(), layers.Dense(3, name="last")])
    model.summary(print_fn=lines.append)
    assert "last (Dense)" in lines[0]
    assert "? (unbuilt)" in lines[0]


def test_hooks_get_logs_in_any_case():
    seen = []

    class Listening(callbacks.Callback):
        def on_train_begin(self, logs=None):
            seen.append(logs)

        def on_epoch_begin(self, epoch, logs=None):
            seen.append((epoch, logs))

        def on_train_batch_begin(self, batch, logs=None):
            seen.append((batch, logs))

    compiled(linear()).fit(X, Y, batch_size=12, verbose=0, callbacks=[Listening()])
    assert seen == [{}, (0, {}), (0, {}), (1, {})]


def test_a_frozen_model_only_reports():
    model = linear()
    model.trainable = False
    before = model.get_weights()
    with pytest.warns(UserWarning, match="no weight is trainable"):
        history = compiled(model).fit(X, Y, verbose=0).history
    assert history["loss"][0] == pytest.approx(model.evaluate(X, Y, verbose=0), rel=1e-5)
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_penalties_on_outputs_are_means_over_the_batch():
    penalized = linear(2, activity_regularizer=nbcnn.regularizers.L2(0.1))
    plain = linear(2)
    plain.set_weights(penalized.get_weights())
    targets = np.zeros((23, 2))
    penalty = 0.1 * np.sum(plain.predict(X, verbose=0) ** 2) / 23
    losses = [compiled(m).evaluate(X, targets, verbose=0) for m in (penalized, plain)]
    assert losses[0] == pytest.approx(losses[1] + penalty, rel=1e-5)


def test_layers_keep_the_type_they_were_made_with(tmp_path):
    nbcnn.config.set_floatx("float64")
    try:
        model = compiled(linear())
    finally:
        nbcnn.config.set_floatx("float32")
    assert model.layers[0].dtype == "float64"
    assert model.predict(X, verbose=0).dtype == np.float64
    model.save(tmp_path / "m.nbcnn")
    assert nbcnn.models.load_model(tmp_path / "m.nbcnn").get_weights()[0].dtype == np.float64
    assert layers.Dense(1).dtype == "float32"


TYPES = ["float32", "float64", "int32", "uint8"]


@pytest.mark.parametrize("left", TYPES[:3])
@pytest.mark.parametrize("right", TYPES[:3])
def test_operands_of_different_types(left, right):
    """They meet in the common one; kernels read both as one type."""
    x, w = (RNG.integers(0, 5, (40, 40)).astype(t) for t in (left, right))
    image, kernel = x.reshape(1, 40, 40, 1), w[:3, :3].reshape(3, 3, 1, 1)
    product, seen = ops.matmul(x, w), ops.conv(image, kernel)
    windows = np.lib.stride_tricks.sliding_window_view(x.astype("float64"), (3, 3))
    np.testing.assert_allclose(product, x.astype("float64") @ w, rtol=1e-5)
    np.testing.assert_allclose(seen[0, :, :, 0], (windows * w[:3, :3]).sum((2, 3)), rtol=1e-5)
    floats = [t for t in (left, right) if t.startswith("float")]
    if floats:
        assert product.dtype == seen.dtype == max(floats)


@pytest.mark.parametrize("kind", [layers.Conv2D, layers.Conv2DTranspose, layers.DepthwiseConv2D])
def test_convolutions_of_whole_numbers(kind):
    x = RNG.integers(0, 9, (2, 5, 6, 3))
    layer = kind(3, 2) if kind is not layers.DepthwiseConv2D else kind(2)
    np.testing.assert_allclose(layer(x.astype("int32")), layer(x.astype("float32")))


@pytest.mark.parametrize("kind", TYPES)
def test_parameters_and_images_of_other_types(kind):
    x, c = RNG.integers(0, 9, (2, 4, 6, 3)).astype(kind), np.array([1.5, 2.5, -3.0])
    wide = x.astype("float64")
    np.testing.assert_allclose(ops.scale_shift(x, c, c + 1), wide * c + c + 1)
    mean, deviation = wide.mean((0, 1, 2)), np.sqrt(wide.var((0, 1, 2)) + 1e-3)
    right = (wide - mean) / deviation * c
    np.testing.assert_allclose(ops.batch_normalize(x, c, 0 * c)[0], right, atol=1e-5)
    rows = (wide - wide.mean(3, keepdims=True)) / np.sqrt(wide.var(3, keepdims=True) + 1e-3)
    np.testing.assert_allclose(ops.layer_normalization(x, c, c), rows * c + c, atol=1e-4)
    means = wide.reshape(2, 2, 2, 3, 2, 3).mean((2, 4))
    np.testing.assert_allclose(ops.average_pool(x, 2), means, rtol=1e-6)
    powers = np.exp(wide - wide.max(3, keepdims=True))
    shares = powers / powers.sum(3, keepdims=True)
    np.testing.assert_allclose(ops.softmax(x), shares, atol=1e-6)


def test_sums_of_short_integers_do_not_wrap():
    pixels = np.full((4, 300), 200, np.uint8)
    assert np.asarray(ops.sum(pixels)) == 240_000
    assert np.asarray(ops.sum(pixels, axis=1)).dtype == np.int32
    assert np.asarray(ops.prod(np.full(3, 100, np.int8))) == 1_000_000


def test_several_new_axes():
    assert ops.expand_dims(np.ones((2, 3)), (0, -1)).shape == (1, 2, 3, 1)
    with pytest.raises(ValueError, match="out of range"):
        ops.expand_dims(np.ones(2), 2)


class Doubled(layers.Layer):
    def call(self, x):
        return x * 2.0


def cubic(y_true, y_pred):
    return ops.mean(ops.abs(y_true - y_pred) ** 3, axis=-1)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_train_on_apart(copied):
    model = nbcnn.Sequential([nbcnn.Input((3,)), Doubled(), layers.Dense(1)])
    compiled(model, optimizer="adam", loss=cubic).fit(X, Y, verbose=0)
    other = copied(model)
    before = model.get_weights()
    other.fit(X, Y, shuffle=False, verbose=0)
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)
    model.fit(X, Y, shuffle=False, verbose=0)
    for one, two in zip(model.get_weights(), other.get_weights()):
        np.testing.assert_array_equal(one, two)


def test_copies_of_models_without_weights():
    model = nbcnn.Sequential([layers.Dense(4, activation="softmax")])
    model.compile("sgd", loss="sparse_categorical_crossentropy")
    other = copy.deepcopy(model)
    assert other.fit(X, LABELS, verbose=0).history["loss"][0] > 0
    assert not model.weights
    assert compiled_classifier().name != other.name


class Scaled(layers.Layer):
    factor = 2.0

    def call(self, x):
        return self.factor * x


def test_calls_on_arrays_see_what_has_been_changed():
    layer = Scaled()
    np.testing.assert_allclose(layer(X), 2 * X, rtol=1e-6)
    layer.factor = 3.0
    np.testing.assert_allclose(layer(X), 3 * X, rtol=1e-6)
    leaky = layers.LeakyReLU(0.3)
    leaky(X)
    leaky.negative_slope = 0.5
    np.testing.assert_allclose(leaky(X), np.where(X > 0, X, X / 2), rtol=1e-6)
    norm = layers.BatchNormalization(momentum=0.0)
    model = nbcnn.Sequential([nbcnn.Input((3,)), norm])
    centred = model(X, training=True)
    np.testing.assert_allclose(centred.mean(axis=0), 0, atol=1e-5)
    before = norm.get_weights()
    norm.trainable = False
    shifted = model(X + 1, training=True)
    np.testing.assert_allclose(shifted, model(X + 1, training=False), rtol=1e-5)
    for old, new in zip(before, norm.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def times(factor):
    return lambda x: factor * x


def error(power):
    return lambda t, p: ops.mean(ops.abs(t - p) ** power)


def test_copies_keep_functions_of_equal_names_apart():
    parts = [layers.Dense(2, times(2)), layers.Dense(1, times(0.5))]
    model = nbcnn.Sequential([nbcnn.Input((3,)), *parts])
    model.compile("sgd", error(2), metrics=[error(1)])
    expected = model.evaluate(X, Y, verbose=0)
    assert expected[0] != expected[1]
    assert copy.deepcopy(model).evaluate(X, Y, verbose=0) == expected


class Blocks(nbcnn.Model):
    def __init__(self, count=2):
        super().__init__()
        self.blocks = []
        self.heads = {}
        self.rounds = [[]]
        for _ in range(count):
            self.blocks.append(layers.Dense(3, "tanh"))
            self.rounds[0].append(layers.Dense(3))
        self.heads["last"] = layers.Dense(1)
        self.blocks += [layers.Dropout(0.1)]

    def call(self, x):
        for layer in (*self.blocks, *self.rounds[0]):
            x = layer(x)
        return self.heads["last"](x)


def test_layers_that_are_put_into_lists_later_belong_to_the_model(tmp_path):
    model = Blocks()
    model.compile(nbcnn.optimizers.SGD(0.1), "mse")
    model.fit(X, Y, verbose=0)
    assert len(model.trainable_weights) == 10
    assert len(model.layers) == 6
    before = model.get_weights()
    model.fit(X, Y, verbose=0)
    assert all((a != b).any() for a, b in zip(model.get_weights(), before, strict=True))
    model.save_weights(tmp_path / "w.weights.h5")
    again = Blocks()
    again(X)
    again.load_weights(tmp_path / "w.weights.h5")
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))
    model.trainable = False
    assert not any(layer.trainable for layer in model.blocks)
    removed = model.blocks.pop(0)
    del model.rounds[0][1]
    model.heads.clear()
    assert len(model.weights) == 4
    assert removed not in model.layers
    model.blocks[:] = [removed]
    model.heads.update(last=model.rounds[0][0])
    assert len(model.weights) == 4
    assert type(copy.deepcopy(model.blocks)) is type(copy.copy(model.blocks)) is list


def test_products_have_gradients_where_they_are_zero():
    class Product(layers.Layer):
        def build(self, input_shape):
            self.w = self.add_weight(shape=input_shape[1:], initializer="zeros")

        def call(self, x):
            return ops.prod(x + self.w, axis=1, keepdims=True)

    x = np.array([[0.0, 2.0, 3.0], [0.0, 0.0, 5.0], [1.0, 2.0, 4.0]])
    others = np.array([[6.0, 0.0, 0.0], [0.0, 0.0, 0.0], [8.0, 4.0, 2.0]])
    model = nbcnn.Sequential([nbcnn.Input((3,)), Product()])
    compiled(model, optimizer=nbcnn.optimizers.SGD(1.0), loss=lambda t, p: -ops.sum(p))
    for row, expected in zip(x, others):
        model.set_weights([np.zeros(3)])
        model.train_on_batch(row[None], np.zeros((1, 1)))
        np.testing.assert_allclose(model.get_weights()[0], expected)


def test_types_that_layers_cannot_compute_in():
    with pytest.raises(ValueError, match="dtype must be an integer type or one of float32"):
        layers.Dense(1, dtype="float16")


@pytest.mark.parametrize("kind", [layers.Conv2D, layers.Conv2DTranspose])
def test_inputs_without_channels(kind):
    with pytest.raises(ValueError, match="has no channels"):
        kind(2, 3)(np.ones((1, 5, 5, 0)))


def test_metrics_without_a_name_of_their_own():
    model = linear()
    model.compile("sgd", "mse", metrics=["mae", lambda t, p: ops.mean(p, axis=-1)])
    assert model.loss == "mse"
    logs = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert list(logs) == ["lambda", "loss", "mae"]  # Keras sorts them
    assert model.evaluate(X, Y, verbose=0) == [logs[n] for n in ("loss", "mae", "lambda")]
    assert nbcnn.losses.LossFunctionWrapper(lambda t, p: p).name == "lambda"


def test_variables_by_the_name_of_an_initializer():
    np.testing.assert_array_equal(nbcnn.Variable("ones", (2, 3)).numpy(), np.ones((2, 3)))
    with pytest.raises(ValueError, match="shape must be given"):
        nbcnn.Variable("ones")


@pytest.mark.parametrize("wrong", [None, 5.0, "text", [[1.0, 2.0]]])
def test_layers_take_arrays(wrong):
    with pytest.raises(TypeError, match="Dense 'mine': expected arrays or symbolic tensors, got"):
        layers.Dense(2, name="mine")(wrong)


# What people write into `self` in classes of their own.


def test_a_list_of_one_output_is_that_output():
    x = nbcnn.Input((3,))
    model = nbcnn.Model([x], [layers.Dense(2)(x)])
    model.compile("sgd", ["mse"], metrics=["mae"])
    assert list(model.fit(X, RNG.normal(size=(23, 2)), verbose=0).history) == ["loss", "mae"]
    assert model.predict(X, verbose=0).shape == model(X).shape == (23, 2)
    again = nbcnn.Model.from_config(model.get_config())
    assert (again.output_shape, len(again.outputs)) == ((None, 2), 1)


def test_losses_are_reported_by_their_place_among_the_outputs():
    x = nbcnn.Input((3,))
    one, two, three = (layers.Dense(1, name=name)(x) for name in ("one", "two", "three"))
    model = nbcnn.Model(x, {"q": {"r": one, "s": [two]}, "t": three})
    y = {"q": {"r": Y, "s": [2 * Y]}, "t": Y}
    model.compile("sgd", "mse", metrics={"q": {"r": ["mae"], "s": [[]]}, "t": []})
    names = ["loss", "one_mae", "q/r_loss", "q/s/two_loss", "t_loss"]
    assert sorted(model.fit(X, y, verbose=0).history) == names
    flat = nbcnn.Model(x, {"b": one, "a": two})
    flat.compile("sgd", {"b": "mse", "a": "mae"})
    targets = {"a": Y, "b": Y}
    values = flat.evaluate(X, targets, verbose=0)  # in the order of the losses
    logs = flat.evaluate(X, targets, verbose=0, return_dict=True)
    assert values == [logs["loss"], logs["b_loss"], logs["a_loss"]]


def test_a_shared_layer_s_output_is_that_of_its_first_call():
    dense = layers.Dense(2)
    with pytest.raises(AttributeError, match="has not been called on symbolic inputs"):
        dense.output  # noqa: B018
    x = nbcnn.Input((3,))
    first = dense(x)
    dense(nbcnn.Input((3,)))
    assert dense.output is first
    assert dense.input is x


def test_arguments_of_keras_s_that_say_nothing_here():
    layers.BatchNormalization(synchronized=True, renorm=False)
    layers.Dense(2, lora_rank=None, quantization_config=None)
    for wrong in ({"renorm": True}, {"synchronized": "yes"}):
        with pytest.raises(ValueError, match="BatchNormalization: unknown argument"):
            layers.BatchNormalization(**wrong)


def test_weights_take_constraints_by_name():
    class Scale(layers.Layer):
        def build(self, input_shape):
            self.scale = self.add_weight((3,), "ones", constraint="non_neg", regularizer="l2")

        def call(self, x):
            return x * self.scale

    model = nbcnn.Sequential([nbcnn.Input((3,)), Scale()])
    model.compile(nbcnn.optimizers.SGD(10.0), "mse")
    model.fit(np.abs(X), -np.ones((23, 3)), verbose=0)
    assert (model.get_weights()[0] == 0).all()
    with pytest.raises(ValueError, match="unknown constraint 'non_negg'; did you mean 'non_neg'"):
        layers.Layer().add_weight((3,), constraint="non_negg")
