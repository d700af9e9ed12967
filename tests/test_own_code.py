"""What scripts do with classes, tensors and layers of their own, with the results of Keras."""


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
    """As with Keras, where weights and files have this order, and losses that of theirs."""
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
    assert logs[0] == pytest.approx(2 * logs[1] + 3 * logs[2], rel=1e-5)
    z = model.predict({"a": X, "b": X}, verbose=0)["z"]
    assert logs[1] == pytest.approx(((z - Y * [1, 2]) ** 2).mean(), rel=1e-4)


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


@pytest.mark.parametrize("kind", ["conv", "wide conv", "depthwise", "transposed", "product"])
def test_fixed_kernels_in_training(kind):
    """What is packed of constants is packed before the first step."""
    channels = {"wide conv": 24}.get(kind, 2)
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(3, 3, channels, channels)).astype("float32")
    apply = {
        "depthwise": lambda x: ops.depthwise_conv(x, kernel[..., :1], padding="same"),
        "transposed": lambda x: ops.conv_transpose(x, kernel, 1, "same"),
        "product": lambda x: ops.matmul(x, kernel[0, 0]),
    }.get(kind, lambda x: ops.conv(x, kernel, padding="same"))

    def loss(y_true, y_pred):
        return ops.mean(ops.square(apply(y_true) - apply(y_pred)))

    x = rng.normal(size=(4, 6, 7, channels)).astype("float32")
    model = nbcnn.Sequential([nbcnn.Input((6, 7, channels)), layers.Conv2D(channels, 1)])
    model.compile(nbcnn.optimizers.SGD(1e-4), loss)
    before = model.evaluate(x, x, verbose=0)
    assert before == pytest.approx(float(loss(x, model(x))), rel=1e-5)
    first, second = model.fit(x, x, epochs=2, verbose=0).history["loss"]
    assert first == pytest.approx(before, rel=1e-5)
    assert second == pytest.approx(model.evaluate(x, x, verbose=0), rel=0.05)
    assert second < first
