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
NATURAL = """
arguments batch_size buffer cache calls callbacks channels config context count data depth
device direction epoch family fields filters fixed_axes graph index input_shape inputs kernel
kind layers_list level memory min_rank mode nodes num_classes output_shape outputs params plan
rank rate rng sample_shape shape size state step steps strides sublayers tensors units valid
_cache _calls _config _count _data _graph _inputs _network _outputs _rank _reset _results _run
_source _state _step _track _training _validate
"""


def own(base):
    class Own(base):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            for number, name in enumerate(NATURAL.split()):
                setattr(self, name, number)
            self.dense = layers.Dense(1)

        def call(self, inputs):
            return self.dense(inputs) * (self.steps / self.steps)

    return Own()


@pytest.mark.parametrize("base", [layers.Layer, nbcnn.Model])
def test_attributes_of_any_name(base, tmp_path):
    part = own(base)
    model = part if base is nbcnn.Model else nbcnn.Sequential([nbcnn.Input((3,)), part])
    compiled(model, metrics=["mae"])
    model.fit(X, Y, validation_split=0.3, verbose=0)
    assert len(model.evaluate(X, Y, verbose=0)) == 2
    model.save_weights(tmp_path / "m.weights.h5")
    model.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_allclose(model.predict(X, verbose=0), part(X), rtol=1e-5, atol=1e-6)
    model.summary(print_fn=len)
    assert {name: getattr(part, name) for name in NATURAL.split()} == {
        n: i for i, n in enumerate(NATURAL.split())
    }


def test_attributes_of_losses_metrics_and_callbacks():
    class Loss(nbcnn.losses.Loss):
        def __init__(self):
            super().__init__()
            self.fields = self.family = self.count = self.weights = "mine"

        def call(self, y_true, y_pred):
            return ops.mean(ops.square(y_true - y_pred), axis=-1)

    class Metric(nbcnn.metrics.Metric):
        def __init__(self):
            super().__init__(name="seen")
            self.direction = self.fields = self.family = self.count = self.values = "mine"
            self.total = self.add_weight(name="total", initializer="zeros")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.total.assign_add(ops.sum(ops.ones_like(y_pred)))

        def result(self):
            return self.total

    class Callback(callbacks.Callback):
        def __init__(self):
            self.fields = self.family = self.state = self.steps = self.count = None

    model = compiled(linear(), loss=Loss(), metrics=[Metric()])
    stop = callbacks.EarlyStopping("seen", patience=3, mode="max")
    history = model.fit(X, Y, epochs=2, verbose=0, callbacks=[Callback(), stop]).history
    assert history["seen"] == [len(X)] * 2
    assert history["loss"][1] < history["loss"][0]


def test_an_axis_of_one_element_more_or_less():
    """Grey pictures without channels, numbers that are no columns: as with Keras."""
    model = nbcnn.Sequential([nbcnn.Input((4, 4, 1)), layers.Flatten(), layers.Dense(2)])
    compiled(model)
    x = RNG.normal(size=(5, 4, 4)).astype("float32")
    expected = model.predict(x[..., None], verbose=0)
    np.testing.assert_array_equal(model.predict(x, verbose=0), expected)
    np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-6)
    assert model(nbcnn.Input((4, 4))).shape == (None, 2)
    model.fit(x, np.zeros((5, 2)), verbose=0)
    with pytest.raises(ValueError, match="expected input of shape"):
        model.predict(x[:, :3], verbose=0)
    flat = linear()
    np.testing.assert_array_equal(flat.predict(X[..., None], verbose=0), flat.predict(X, verbose=0))


def test_results_have_a_method_numpy():
    """As tensors of TensorFlow and PyTorch have."""
    model = compiled(linear())
    for value in (model(X), ops.add(X, 1.0), ops.mean(X) + 1.0, -ops.convert_to_tensor(X)):
        assert type(value.numpy()) is np.ndarray
    loss, slopes = nbcnn.value_and_grad(lambda: ops.mean(model(X)), model.trainable_weights)()
    assert loss.numpy() == pytest.approx(float(loss))
    assert slopes[0].numpy().shape == (3, 1)
    assert type(model.predict(X, verbose=0)) is np.ndarray


def test_a_layer_loses_its_activation():
    """As in examples of Grad-CAM."""
    model = linear(2, activation="softmax")
    model.layers[-1].activation = None
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(model(X), X @ kernel + bias, rtol=1e-5, atol=1e-6)


def test_a_model_says_whether_it_is_compiled():
    model = linear()
    assert not model.compiled
    assert compiled(model).compiled


def test_clones_of_layers_and_calls():
    inputs = nbcnn.Input((3,), name="data")
    hidden = layers.Dense(4, name="hidden")
    once = hidden(inputs)
    model = nbcnn.Model(inputs, layers.Dense(1, name="last")(ops.relu(once)), name="mine")
    same = nbcnn.models.clone_model(model, clone_function=lambda layer: layer)
    assert (same.name, same.input_names) == ("mine", ["data"])
    assert same.get_layer("hidden") is hidden
    np.testing.assert_array_equal(same.predict(X, verbose=0), model.predict(X, verbose=0))

    def doubled(layer, *args, **kwargs):
        return 2.0 * layer(*args, **kwargs)

    options = {"clone_function": lambda layer: layer, "call_function": doubled}
    twice = nbcnn.models.clone_model(model, **options)
    kernel, bias, last, end = model.get_weights()
    expected = 2 * (2 * np.maximum(X @ kernel + bias, 0) @ last + end)
    np.testing.assert_allclose(twice.predict(X, verbose=0), expected, rtol=1e-4, atol=1e-5)
    start = nbcnn.Input((3,))
    other = nbcnn.models.clone_model(model, input_tensors=[ops.abs(start)])
    assert other.get_layer("hidden") is not hidden
    outer = nbcnn.Sequential([nbcnn.Input((3,)), model, layers.Dense(2)])
    seen = []

    def noted(layer):
        seen.append(layer.name)
        return type(layer).from_config(layer.get_config())

    nbcnn.models.clone_model(outer, clone_function=noted, recursive=True)
    assert seen[:2] == ["hidden", "last"]


def test_lists_of_tensors_are_tensors():
    a, b = nbcnn.Input((3,)), nbcnn.Input((3,))
    model = nbcnn.Model(
        [a, b], [ops.sum([a, b], axis=0), ops.stack([a, b], 1) + ops.max([a, a - 1.0], 0)[:, None]]
    )
    total, each = model.predict([X, 2 * X], verbose=0)
    np.testing.assert_allclose(total, 3 * X, rtol=1e-6)
    np.testing.assert_allclose(each, np.stack([2 * X, 3 * X], 1), rtol=1e-5)


def test_values_of_variables_have_gradients():
    class Scaled(layers.Layer):
        def build(self, input_shape):
            self.w = self.add_weight((input_shape[-1],), "ones")

        def call(self, inputs):
            positive = ops.cast(self.w > 0, "float32")
            return inputs * self.w.value * positive

    model = compiled(nbcnn.Sequential([nbcnn.Input((3,)), Scaled(), layers.Dense(1)]))
    model.fit(X, Y, verbose=0)
    w = model.layers[0].w
    assert (w.numpy() != 1).all()
    assert w.value.numpy().tolist() == w.numpy().tolist()
    step = nbcnn.Variable(2, dtype="int32")
    assert (float(step), int(step), abs(-step), step // 2) == (2.0, 2, 2, 1)


def test_equality_is_elementwise():
    """Also in traced code, where a comparison of objects would be False once and for all."""

    class Hits(nbcnn.metrics.Metric):
        def __init__(self):
            super().__init__(name="hits")
            self.hits = self.add_weight(shape=(), name="hits")

        def update_state(self, y_true, y_pred, sample_weight=None):
            hit = ops.cast(y_true, "int32") == ops.cast(ops.argmax(y_pred, axis=-1), "int32")
            miss = ops.argmax(y_pred, axis=-1) != y_true
            self.hits.assign_add(ops.sum(ops.cast(hit, "float32")))
            self.hits.assign_sub(0.0 * ops.sum(ops.cast(miss, "float32")))

        def result(self):
            return self.hits

    model = compiled_classifier(metrics=[Hits()])
    right = (model.predict(X, verbose=0).argmax(1) == LABELS).sum()
    assert model.evaluate(X, LABELS, batch_size=30, verbose=0)[1] == right
    tensor, variable = nbcnn.Input((3,)), nbcnn.Variable([1.0, 2.0])
    assert (tensor == 1.0).shape == (np.ones(3) != tensor).shape == (None, 3)
    assert (tensor == None, tensor != "a") == (False, True)  # noqa: E711
    assert (variable == 1.0).tolist() == [True, False]
    assert [variable] == [variable]
    assert variable in {variable}


def test_dictionaries_count_in_the_order_of_their_keys():
    """As with Keras, where weights, losses and files have this order."""
    a, b = nbcnn.Input((3,), name="a"), nbcnn.Input((3,), name="b")
    outputs = {"z": layers.Dense(2, name="of a")(a), "c": layers.Dense(2, name="of b")(b)}
    model = nbcnn.Model({"b": b, "a": a}, outputs)
    assert [layer.name for layer in model.layers] == ["b", "a", "of b", "of a"]
    assert (model.output_names, model.input_names) == (["c", "z"], ["a", "b"])
    model.compile("sgd", {"z": "mse", "c": "mae"}, loss_weights={"z": 2.0, "c": 3.0})
    found = model.predict({"a": X, "b": 2 * X}, verbose=0)
    kernel = model.get_layer("of a").kernel.numpy()
    np.testing.assert_allclose(found["z"], X @ kernel, rtol=1e-4, atol=1e-6)
    logs = model.evaluate({"a": X, "b": X}, {"z": Y * [1, 2], "c": Y * [3, 4]}, verbose=0)
    assert logs[0] == pytest.approx(3 * logs[1] + 2 * logs[2], rel=1e-5)
    z = model.predict({"a": X, "b": X}, verbose=0)["z"]
    assert logs[2] == pytest.approx(((z - Y * [1, 2]) ** 2).mean(), rel=1e-4)


def test_types_and_nests():
    kinds = (None, "float64", int, np.uint8, nbcnn.Variable([1.0]).dtype, "bfloat16")
    names = ["float32", "float64", "int32", "uint8", "float32", "bfloat16"]
    assert list(map(nbcnn.backend.standardize_dtype, kinds)) == names
    assert list(map(nbcnn.backend.is_float_dtype, names)) == [1, 1, 0, 0, 1, 1]
    assert list(map(nbcnn.backend.is_int_dtype, names)) == [0, 0, 1, 1, 0, 0]
    assert nbcnn.backend.result_type("int32", "float32", "uint8") == "float32"
    assert [nbcnn.backend.get_uid("habit") for _ in range(2)] == [1, 2]
    with pytest.raises(ValueError, match="no data type: 'flaot'"):
        nbcnn.backend.standardize_dtype("flaot")
    nest = {"b": [1, (2, 3)], "a": 4}
    assert nbcnn.tree.flatten(nest) == [4, 1, 2, 3]
    doubled = nbcnn.tree.map_structure(lambda x, y: x + y, nest, nest)
    assert doubled == {"b": [2, (4, 6)], "a": 8} == nbcnn.tree.pack_sequence_as(nest, [8, 2, 4, 6])
    assert (nbcnn.tree.is_nested(nest), nbcnn.tree.is_nested(1)) == (True, False)
    with pytest.raises(ValueError, match="equally many leaves, got 4, 1"):
        nbcnn.tree.map_structure(max, nest, [1])
    with pytest.raises(ValueError, match="4 values are needed, got 2"):
        nbcnn.tree.pack_sequence_as(nest, [1, 2])


def test_einsum_dense_over_axes_before_others():
    """Here Keras's backends disagree."""
    x = RNG.normal(size=(2, 3, 4, 5)).astype("float32")
    layer = layers.EinsumDense("ab...,bc->ac...", 6, activation="relu", bias_axes="c")
    found = layer(x)
    layer.set_weights([RNG.normal(size=(3, 6)), RNG.normal(size=(6, 1, 1))])
    kernel, bias = layer.get_weights()
    expected = np.maximum(np.einsum("abij,bc->acij", x, kernel) + bias, 0)
    assert found.shape == expected.shape == (2, 6, 4, 5)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-5)
    rows = layers.EinsumDense("bc,ca->ba", 50, kernel_initializer=nbcnn.initializers.HeNormal(1))
    rows(np.ones((1, 800), "float32"))  # the inputs are the kernel's first axis
    assert rows.kernel.numpy().std() == pytest.approx((2 / 800) ** 0.5, rel=0.05)
    for wrong in ("ab,bc", "...a...,ab->...b...", 3):
        with pytest.raises(ValueError, match="EinsumDense: equation must be like 'ab,bc->ac'"):
            layers.EinsumDense(wrong, 2)
    for arguments, message in {
        ("ab,bc->ac", (2, 3)): "does not fit an input of shape",
        ("abc,cd->abd", (7, 2)): "is 3 in the input and 7 in output_shape",
        ("ab,bc->ac", 2, None, "z"): "bias_axes must be letters of 'ac', got 'z'",
        ("ab,bd->ac", 2): "must be known",
    }.items():
        shape = (None, 3, 4) if arguments[0].startswith("abc") else (None, 4)
        with pytest.raises(ValueError, match=message):
            layers.EinsumDense(*arguments).build(shape)


def test_layers_of_categories():
    with pytest.raises(ValueError, match="mask_zero must be False"):
        layers.Embedding(3, 2, mask_zero=True)
    first = layers.Embedding(3, 2, weights=[np.arange(6).reshape(3, 2)], input_length=4)
    assert first(np.array([[2, 0]])).tolist() == [[[4, 5], [0, 1]]]
    again = layers.Embedding.from_config(first.get_config())
    assert (again(np.array([1])) != [[2, 3]]).any()
    assert again.count_params() == 6
    with pytest.raises(ValueError, match="count_weights are for output_mode='count'"):
        layers.CategoryEncoding(3)(np.array([[1]]), count_weights=np.ones((1, 1)))
    counts = layers.CategoryEncoding(3, "count")(np.array([[1, 1, 9]]), np.array([[0.5, 2, 1]]))
    assert counts.tolist() == [[0, 2.5, 0]]
    bins = layers.Discretization(num_bins=4)
    with pytest.raises(ValueError, match=r"call adapt\(\) first"):
        bins(np.ones((2, 1)))
    bins.adapt(np.arange(1000.0)[::-1])
    np.testing.assert_allclose(bins.bin_boundaries, KERAS_BINS, rtol=1e-6)
    again = layers.Discretization.from_config(bins.get_config())
    assert again(np.array([[0.0, 300.0], [749.0, 999.0]])).tolist() == [[0, 1], [3, 3]]
    bins.adapt([np.arange(0.0, 1000, 2), np.arange(1.0, 1000, 2)])
    np.testing.assert_allclose(bins.bin_boundaries, KERAS_BINS, rtol=1e-6)
    with pytest.raises(ValueError, match="give either bin_boundaries or num_bins"):
        layers.Discretization([1.0], num_bins=2)
    with pytest.raises(ValueError, match="bin_boundaries must be in ascending order"):
        layers.Discretization([1.0, 0.0])
    steps = np.array([[[0.0, 0], [1, 0]]], "float32")
    assert layers.Masking(mask_value=0.0)(steps).tolist() == steps.tolist()
    assert layers.Masking(1.0)(np.ones((1, 2, 2), "float32")).any() == False  # noqa: E712


KERAS_BINS = [248.999755859375, 498.99981689453125, 748.9999389648438]
