"""Models of every kind: several inputs and outputs, classes of one's own, parts of others."""

import numpy as np
import pytest
from small_models import LABELS, RNG, X, Y, compiled, compiled_classifier, linear

import nbcnn
from nbcnn import layers, ops


@pytest.fixture(autouse=True)
def on_the_cpu():
    nbcnn.utils.set_random_seed(0)
    with nbcnn.device("cpu"):
        yield


def two_headed():
    a, b = nbcnn.Input((3,), name="a"), nbcnn.Input((2,), name="b")
    shared = layers.Dense(4, activation="relu")
    joined = layers.Concatenate()([shared(a), shared(layers.Dense(3)(b))])
    digit = layers.Dense(4, activation="softmax", name="digit")(joined)
    size = layers.Dense(1, name="size")(joined)
    return nbcnn.Model(inputs=[a, b], outputs=[digit, size])


LOSSES = {"digit": "sparse_categorical_crossentropy", "size": "mse"}


def test_several_inputs_and_outputs():
    model = two_headed()
    assert model.input_names == ["a", "b"]
    assert model.output_names == ["digit", "size"]
    model.compile("sgd", loss=LOSSES, loss_weights=[1.0, 0.25], metrics={"digit": ["accuracy"]})
    second = RNG.normal(size=(23, 2))
    for x in ([X, second], {"a": X, "b": second}):
        for y in ([LABELS, Y], {"size": Y, "digit": LABELS}):
            logs = model.fit(x, y, verbose=0, shuffle=False).history
    assert list(logs) == ["digit_accuracy", "digit_loss", "loss", "size_loss"]
    total, digit, size, accuracy = model.evaluate([X, second], [LABELS, Y], verbose=0)
    assert total == pytest.approx(digit + 0.25 * size, rel=1e-5)
    p, q = model.predict([X, second], verbose=0)
    assert (p.shape, q.shape) == ((23, 4), (23, 1))
    assert accuracy == pytest.approx((p.argmax(1) == LABELS).mean())
    assert size == pytest.approx(np.mean((q - Y) ** 2), rel=1e-4)


def test_outputs_keep_their_names_and_nesting():
    a = nbcnn.Input((3,))
    model = nbcnn.Model(a, {"one": layers.Dense(1)(a), "two": [layers.Dense(2)(a)]})
    found = model.predict(X, verbose=0)
    assert found["one"].shape == (23, 1)
    assert found["two"][0].shape == (23, 2)


def test_an_output_without_a_loss_needs_no_targets():
    model = two_headed()
    model.compile("sgd", loss={"size": "mse"})
    second = RNG.normal(size=(23, 2))
    before = model.get_layer("digit").get_weights()
    logs = model.fit([X, second], {"size": Y}, verbose=0).history
    np.testing.assert_array_equal(before[0], model.get_layer("digit").get_weights()[0])
    assert list(logs) == ["loss"]


class Net(nbcnn.Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(6, activation="relu")
        self.drop = layers.Dropout(0.5)
        self.out = layers.Dense(1)

    def call(self, inputs, training=None):
        return self.out(self.drop(self.hidden(inputs), training=training))


def test_models_of_ones_own():
    model = compiled(Net(), metrics=["mae"])
    history = model.fit(X, Y, epochs=3, verbose=0).history
    assert set(history) == {"loss", "mae"}
    assert [v.shape for v in model.get_weights()] == [(3, 6), (6,), (6, 1), (1,)]
    np.testing.assert_allclose(model.predict(X, verbose=0), model(X), rtol=1e-6)
    assert (model(X, training=True) != model(X)).any()


def test_models_of_ones_own_take_dictionaries():
    class Sum(nbcnn.Model):
        def __init__(self):
            super().__init__()
            self.first, self.second = layers.Dense(1), layers.Dense(1)

        def call(self, inputs):
            return {"total": self.first(inputs["a"]) + self.second(inputs["b"])}

    model = compiled(Sum(), loss={"total": "mse"})
    data = {"a": X, "b": X[:, :2]}
    model.fit(data, {"total": Y}, epochs=2, verbose=0)
    assert model.predict(data, verbose=0)["total"].shape == (23, 1)


def test_models_inside_a_model_of_ones_own():
    class Outer(nbcnn.Model):
        def __init__(self):
            super().__init__()
            self.body = nbcnn.Sequential([layers.Dense(4), layers.Dense(2)])
            self.head = Net()

        def call(self, inputs):
            return self.head(self.body(inputs))

    model = compiled(Outer())
    model.build((None, 3))
    lines = []
    model.summary(print_fn=lines.append, expand_nested=True)
    assert "(None, 2)" in lines[0]
    assert "?" not in lines[0]
    model.fit(X, Y, verbose=0)
    assert len(model.weights) == 8


def test_models_without_fixed_sizes_take_images_of_any():
    image = nbcnn.Input((None, None, 1))
    functional = nbcnn.Model(image, layers.GlobalAveragePooling2D()(layers.Conv2D(1, 3)(image)))

    class Own(nbcnn.Model):
        def __init__(self):
            super().__init__()
            self.conv, self.mean = layers.Conv2D(1, 3), layers.GlobalAveragePooling2D()

        def call(self, inputs):
            return self.mean(self.conv(inputs))

    for model in (functional, Own()):
        compiled(model)
        for size in (5, 7):
            model.fit(RNG.random((4, size, 6, 1)), np.zeros(4), verbose=0)
        assert model.predict(RNG.random((2, 3, 9, 1)), verbose=0).shape == (2, 1)


def test_float64_throughout():
    nbcnn.config.set_floatx("float64")
    try:
        model = compiled(linear(), optimizer="adam")
        model.fit(X, Y, verbose=0)
        assert {v.dtype for v in model.weights} == {"float64"}
        assert model.predict(X, verbose=0).dtype == "float64"
    finally:
        nbcnn.config.set_floatx("float32")


def test_losses_and_metrics_of_ones_own():
    def cubic(y_true, y_pred):
        return ops.mean(ops.abs(y_pred - y_true) ** 3, axis=-1)

    model = compiled(linear(), loss=cubic, metrics=[cubic, "mae"])
    loss, metric, mae = model.evaluate(X, Y, verbose=0)
    error = np.abs(model.predict(X, verbose=0) - Y)
    assert loss == pytest.approx((error**3).mean(), rel=1e-4)
    assert metric == pytest.approx(loss, rel=1e-5)
    assert mae == pytest.approx(error.mean(), rel=1e-4)
    assert model.metrics_names == ["loss", "cubic", "mae"]
    before = loss
    model.fit(X, Y, epochs=5, verbose=0)
    assert model.evaluate(X, Y, verbose=0)[0] < before


@pytest.mark.parametrize("as_class", [False, True])
def test_losses_of_ones_own_get_labels_as_floats(as_class):
    seen = []

    def halves(y_true, y_pred):
        seen.append(y_true.dtype)
        return ops.mean(ops.abs(y_true / 2 - y_pred), axis=-1)

    class Halves(nbcnn.losses.Loss):
        def call(self, y_true, y_pred):
            return halves(y_true, y_pred)

    model = compiled(linear(), loss=Halves() if as_class else halves)
    labels = LABELS[:, None].astype("int64")
    error = np.abs(labels / 2 - model.predict(X, verbose=0)).mean()
    assert model.evaluate(X, labels, verbose=0) == pytest.approx(error, rel=1e-5)
    assert set(seen) == {"float32"}


class Largest(nbcnn.metrics.Metric):
    """Keeps state of its own and no values per sample."""

    def __init__(self, name="largest", **kwargs):
        super().__init__(name=name, **kwargs)
        self.seen = self.add_variable((), "zeros", name="seen")
        self.batches = self.add_variable((), "zeros", name="batches")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.batches.assign_add(1.0)
        self.seen.assign(ops.maximum(self.seen, ops.max(ops.abs(y_pred))))

    def result(self):
        return self.seen


def test_metrics_with_state_of_their_own():
    model = compiled(linear(), metrics=[Largest()])
    largest = np.abs(model.predict(X, verbose=0)).max()
    _, found = model.evaluate(X, Y, batch_size=6, verbose=0)
    assert found == pytest.approx(largest, rel=1e-5)
    assert model.metrics[0].batches.numpy() == 4
    _, found = model.evaluate(X[:1], Y[:1], verbose=0)
    assert found < largest
    assert "largest" in model.fit(X, Y, verbose=0).history


def test_metrics_that_finish_their_mean():
    model = compiled(linear(), metrics=[nbcnn.metrics.RootMeanSquaredError(name="rmse")])
    loss, rmse = model.evaluate(X, Y, verbose=0)
    assert rmse == pytest.approx(np.sqrt(loss), rel=1e-5)


def test_weighted_metrics_count_by_weight():
    weights = (np.arange(23) < 10).astype("float32")
    model = compiled_classifier(weighted_metrics=["accuracy"])
    logs = model.evaluate(X, LABELS, sample_weight=weights, verbose=0, return_dict=True)
    right = model.predict(X, verbose=0).argmax(axis=1) == LABELS
    assert logs["accuracy"] == pytest.approx(right.mean())
    assert logs["weighted_accuracy"] == pytest.approx(right[:10].mean())


def test_one_metric_with_weights_and_without():
    metric = nbcnn.metrics.MeanAbsoluteError(name="error")
    model = compiled(linear(), metrics=[metric], weighted_metrics=[metric])
    weights = np.linspace(0, 1, 23)
    found = model.evaluate(X, Y, sample_weight=weights, verbose=0, return_dict=True)
    error = np.abs(model.predict(X, verbose=0) - Y)[:, 0]
    assert found["error"] == pytest.approx(error.mean(), rel=1e-5)
    assert found["weighted_error"] == pytest.approx(np.average(error, weights=weights), rel=1e-5)


def test_regularizers_and_added_losses_count():
    model = compiled(linear(kernel_regularizer=nbcnn.regularizers.L2(0.1)))
    kernel = model.get_weights()[0]
    error = np.mean((model.predict(X, verbose=0) - Y) ** 2)
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(error + 0.1 * (kernel**2).sum(), 1e-5)


def test_frozen_layers_stay():
    model = nbcnn.Sequential([nbcnn.Input((3,)), layers.Dense(4), layers.Dense(1)])
    model.layers[0].trainable = False
    before = model.get_weights()
    compiled(model).fit(X, Y, verbose=0)
    after = model.get_weights()
    np.testing.assert_array_equal(before[0], after[0])
    assert (before[2] != after[2]).any()


def test_compiling_again_with_the_same_optimizer_keeps_its_state():
    model = compiled(linear(), optimizer=nbcnn.optimizers.Adam(0.01))
    model.fit(X, Y, verbose=0)
    compiled(model, optimizer=model.optimizer, metrics=["mae"])
    model.fit(X, Y, verbose=0)
    assert model.optimizer.iterations == 2
    assert model._runners.store.slot_values()["momentum"][0].any()


def test_learning_rate_changes_and_schedules_take_effect():
    model = compiled(linear())
    model.optimizer.learning_rate = 0.0
    before = model.get_weights()
    model.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(before[0], model.get_weights()[0])
    schedule = nbcnn.optimizers.schedules.PiecewiseConstantDecay([1], [0.0, 0.1])
    compiled(model, optimizer=nbcnn.optimizers.SGD(schedule))
    model.train_on_batch(X, Y)
    np.testing.assert_array_equal(before[0], model.get_weights()[0])
    for _ in range(2):
        model.train_on_batch(X, Y)
    assert (before[0] != model.get_weights()[0]).any()


def test_a_part_of_a_model_shares_its_weights():
    model = compiled(
        nbcnn.Sequential([nbcnn.Input((3,)), layers.Dense(4, name="h"), layers.Dense(1)])
    )
    part = nbcnn.Model(model.inputs, model.get_layer("h").output)
    before = part.predict(X, verbose=0)
    model.fit(X, Y, verbose=0)
    after = part.predict(X, verbose=0)
    kernel, bias = model.get_weights()[:2]
    assert (before != after).any()
    np.testing.assert_allclose(after, X @ kernel + bias, rtol=1e-4, atol=1e-5)


def test_models_that_share_layers_are_trained_in_turn():
    inputs = nbcnn.Input((3,))
    head = layers.Dense(2, use_bias=False)
    shared = layers.Dense(2, use_bias=False)
    models = [
        nbcnn.Model(inputs, layers.Dense(1, use_bias=False)(layer(shared(inputs))))
        for layer in (head, layers.Dense(2, use_bias=False))
    ]
    expected = [[w.astype("float64") for w in model.get_weights()] for model in models]
    steps = []
    for turn in range(4):
        for number, model in enumerate(models):
            if turn == 0:
                compiled(model, optimizer=nbcnn.optimizers.SGD(0.05))
            model.train_on_batch(X, Y)
            steps.append(model._runners._latest["train"])
            first, second, third = expected[number]
            error = 2 * (X @ first @ second @ third - Y) / len(X)
            slopes = [
                X.T @ error @ (second @ third).T,
                (X @ first).T @ error @ third.T,
                (X @ first @ second).T @ error,
            ]
            expected[number] = [w - 0.05 * g for w, g in zip(expected[number], slopes)]
            expected[1 - number][0] = expected[number][0]
    for model, wanted in zip(models, expected):
        for weight, value in zip(model.get_weights(), wanted, strict=True):
            np.testing.assert_allclose(weight, value, rtol=1e-4, atol=1e-6)
    assert len(set(map(id, steps))) == 2  # nothing moves, so nothing is traced again
    models[0].compile(nbcnn.optimizers.SGD(0.05), "mse")
    del models[1]
    models[0].train_on_batch(X, Y)
    assert len(models[0]._runners.store.groups) == 1


def test_sequential_grows_and_shrinks():
    model = nbcnn.Sequential(name="chain")
    model.add(layers.Dense(4))
    model.add(layers.Dense(2))
    assert model(X).shape == (23, 2)
    model.pop()
    model.add(layers.Dense(5, name="last"))
    assert model.output_shape == (None, 5)
    assert model.predict(X, verbose=0).shape == (23, 5)
    assert [layer.name for layer in model.layers][-1] == "last"
    nested = nbcnn.Sequential([model, layers.Dense(1)])
    assert len(nested.weights) == 6
    assert compiled(nested).fit(X, Y, verbose=0).history["loss"]


def test_summary_shows_layers_sizes_and_totals():
    lines = []
    model = compiled(
        nbcnn.Sequential([nbcnn.Input((3,)), layers.Dense(4), layers.Dense(1)]), optimizer="adam"
    )
    model.summary(print_fn=lines.append)
    text = lines[0]
    assert "(None, 4)" in text
    assert "Total params: 21 (84.00 B)" in text
    assert "Optimizer" not in text
    assert max(map(len, text.splitlines())) <= 80
    model.fit(X, Y, verbose=0)
    model.summary(print_fn=lines.append, line_length=120)
    assert "Total params: 63" in lines[1]
    assert "Optimizer params: 42" in lines[1]
    assert "Activation memory" in lines[1]
    two_headed().summary(print_fn=lines.append)
    assert "Connected to" in lines[2]
    nbcnn.Sequential([model, layers.Dense(3)]).summary(print_fn=lines.append, expand_nested=True)
    assert lines[3].count("Dense") == 3


def test_plans_are_shown_before_and_after_training(capsys):
    model = compiled_classifier()
    assert "matmul" in model.plan(8).show()
    assert "matmul" in model.plan(8, training=False).show()
    before = model.get_weights()
    model.fit(X, LABELS, batch_size=8, verbose=0)
    assert (before[0] != model.get_weights()[0]).any()
    assert model.plan(8) is model.plan(8)
    assert "adam" not in model.plan(4).show()
    assert model.plan(8).regions == 1  # whatever the number of layers
    capsys.readouterr()


def test_the_bar_is_one_line_an_epoch_where_there_is_no_terminal(capsys):
    model = compiled_classifier()
    model.fit(X, LABELS, epochs=2, verbose=2, validation_split=0.2)
    printed = capsys.readouterr().out
    assert printed.count("\n") == 2
    assert "Epoch 2/2" in printed
    assert "val_accuracy" in printed
    model.evaluate(X, LABELS, verbose=0)
    model.predict(X, verbose=0)
    assert capsys.readouterr().out == ""


def test_moving_a_model_keeps_it_training():
    stays, moves = compiled(linear(), optimizer="adam"), compiled(linear(), optimizer="adam")
    moves.set_weights(stays.get_weights())
    for model in (stays, moves):
        model.fit(X, Y, shuffle=False, verbose=0)
        if model is moves:
            assert model.to("cpu") is model
        model.fit(X, Y, shuffle=False, verbose=0)
    np.testing.assert_array_equal(stays.get_weights()[0], moves.get_weights()[0])


def test_compile_names_its_parts():
    model = two_headed()
    model.compile("adam", loss=LOSSES, metrics=[["accuracy", "accuracy"], ["mae"]])
    second = RNG.normal(size=(23, 2))
    names = list(model.evaluate([X, second], [LABELS, Y], verbose=0, return_dict=True))
    assert names == [
        "digit_accuracy", "digit_accuracy_1", "digit_loss", "loss", "size_loss", "size_mae",
    ]  # fmt: skip


MOVE = """
import numpy as np, nbcnn
from nbcnn import layers

x = np.random.default_rng(0).random((6, 6, 6, 2))
y = np.arange(6) % 3

def fit(devices):
    nbcnn.utils.set_random_seed(0)
    model = nbcnn.Sequential([nbcnn.Input((6, 6, 2)), layers.Conv2D(2, 3, activation="relu"),
                              layers.Flatten(), layers.Dense(3, activation="softmax")])
    counted = nbcnn.metrics.MeanIoU(3, sparse_y_pred=False)
    model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy", counted])
    for device in devices:
        model.to(device).fit(x, y, batch_size=3, shuffle=False, verbose=0)
        assert model.weights[0].device.kind == device
    assert model.optimizer.iterations == 4
    return model

stayed, moved = fit(["cpu", "cpu"]), fit(["cpu", "cuda"])
for a, b in zip(stayed.get_weights(), moved.get_weights()):
    np.testing.assert_allclose(a, b, atol=1e-6)
expected = stayed.predict(x, verbose=0)
np.testing.assert_allclose(moved.predict(x, verbose=0), expected, rtol=1e-4)
np.testing.assert_allclose(moved.to("cpu").predict(x, verbose=0), expected, rtol=1e-4)
"""


def test_a_model_moves_to_a_simulated_gpu_and_trains_on(python, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(MOVE)
    python(script, NUMBA_ENABLE_CUDASIM="1")
