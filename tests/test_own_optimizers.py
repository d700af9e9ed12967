"""Optimizers used directly, and with a rule of one's own; gradients of functions."""

import copy

import numpy as np
import pytest
from small_models import X, Y, linear

import nbcnn
from nbcnn import layers, ops


@pytest.fixture(autouse=True)
def on_the_cpu():
    nbcnn.utils.set_random_seed(0)
    with nbcnn.device("cpu"):
        yield


class Slowing(nbcnn.optimizers.Optimizer):
    """Momentum, and steps that become smaller."""

    def __init__(self, learning_rate=0.1, beta=0.9, name="slowing", **kwargs):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.beta = beta

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.m = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient, variable, learning_rate):
        m = self.m[self._get_variable_index(variable)]
        step = ops.cast(self.iterations + 1, variable.dtype)
        self.assign(m, m * self.beta + gradient)
        self.assign_sub(variable, learning_rate * m / step)

    def get_config(self):
        return {**super().get_config(), "beta": self.beta}


def by_hand(steps, rate=0.1, beta=0.9, decay=0.0):
    """Weights of `linear` after some steps of `Slowing` on all of X."""
    kernel, bias = (w.astype("float64") for w in linear().get_weights())
    m, b = np.zeros_like(kernel), np.zeros_like(bias)
    for step in range(1, steps + 1):
        error = X @ kernel + bias - Y
        m = beta * m + 2 * (X.T @ error) / len(X)
        b = beta * b + 2 * error.mean(0)
        kernel = kernel - rate * decay * kernel - rate * m / step
        bias = bias - rate * decay * bias - rate * b / step
    return kernel, bias


def start():
    nbcnn.utils.set_random_seed(0)
    return linear()


@pytest.mark.parametrize("decay", [None, 0.1])
def test_a_rule_of_ones_own(decay):
    nbcnn.utils.set_random_seed(0)
    expected = by_hand(3, decay=decay or 0.0)
    model = start()
    model.compile(Slowing(0.1, weight_decay=decay), "mse")
    model.fit(X, Y, batch_size=30, epochs=3, verbose=0)
    for found, want in zip(model.get_weights(), expected):
        np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)
    assert model.optimizer.iterations == 3
    assert [v.shape for v in model.optimizer.variables] == [(), (), (3, 1), (1,)]


def test_its_state_is_saved(tmp_path):
    models = []
    for _ in range(2):
        model = start()
        model.compile(Slowing(0.1), "mse")
        model.fit(X, Y, batch_size=30, epochs=2, verbose=0, shuffle=False)
        models.append(model)
    models[0].save(tmp_path / "model.nbcnn")
    options = {"custom_objects": {"Slowing": Slowing}}
    again = nbcnn.models.load_model(tmp_path / "model.nbcnn", **options)
    assert again.optimizer.beta == 0.9
    for model in (again, models[1]):
        model.fit(X, Y, batch_size=30, epochs=2, verbose=0, shuffle=False)
    np.testing.assert_array_equal(again.get_weights()[0], models[1].get_weights()[0])


def loss_of(model):
    return nbcnn.value_and_grad(
        lambda x, y: ops.mean((model(x) - y) ** 2), model.trainable_variables
    )


def test_a_loop_of_ones_own_does_what_fit_does():
    model, plain = start(), start()
    plain.compile(nbcnn.optimizers.Adam(0.1), "mse")
    optimizer, step = nbcnn.optimizers.Adam(0.1), loss_of(model)
    plain.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    for _ in range(2):
        for first in range(0, len(X), 8):
            loss, slopes = step(X[first : first + 8], Y[first : first + 8])
            optimizer.apply_gradients(zip(slopes, model.trainable_variables))
    assert loss.shape == ()
    for a, b in zip(model.get_weights(), plain.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    assert optimizer.iterations == 6


def test_apply_on_some_of_the_weights():
    model, optimizer = start(), nbcnn.optimizers.Adam(0.1)
    kernel, bias = model.trainable_variables
    optimizer.build([kernel, bias])
    before = kernel.numpy()
    for _ in range(2):
        optimizer.apply([np.ones((1,), "float32")], [bias])
    np.testing.assert_array_equal(kernel.numpy(), before)
    assert bias.numpy() == pytest.approx(-0.2, rel=1e-4)  # equal gradients make steps of the rate
    optimizer.apply([np.ones((3, 1), "float32"), np.ones((1,), "float32")])
    assert (kernel.numpy() < before - 0.05).all()  # the momentum is young, the step number is not
    assert bias.numpy() == pytest.approx(-0.3, rel=1e-4)


def test_what_apply_refuses():
    model, optimizer = start(), nbcnn.optimizers.SGD(0.1)
    kernel, bias = model.trainable_variables
    slopes = [np.ones((3, 1)), np.ones(1)]
    with pytest.raises(ValueError, match="must be built first"):
        optimizer.apply(slopes)
    with pytest.raises(ValueError, match="1 gradients for 2 variables"):
        optimizer.apply(slopes[:1], [kernel, bias])
    with pytest.raises(ValueError, match=r"must have shape \(3, 1\), got \(1,\)"):
        optimizer.apply(slopes[::-1], [kernel, bias])
    with pytest.raises(ValueError, match="no gradients"):
        optimizer.apply([None, None], [kernel, bias])
    with pytest.raises(ValueError, match="is not among the variables"):
        optimizer.apply([np.ones((3, 1))], [start().trainable_variables[0]])
    with pytest.warns(UserWarning, match="no gradients for dense.*/bias"):
        optimizer.apply([slopes[0], None], [kernel, bias])
    optimizer.apply([])
    assert optimizer.iterations == 1


def test_stateless_apply():
    model, optimizer = start(), nbcnn.optimizers.SGD(0.5, momentum=0.5)
    known = model.trainable_variables
    before = copy.deepcopy(model.get_weights())
    with pytest.raises(ValueError, match="build"):
        optimizer.stateless_apply([], [], [])
    optimizer.build(known)
    values = [v.numpy() for v in optimizer.variables]
    zeros, slopes = [np.zeros(v.shape) for v in known], [np.ones(v.shape) for v in known]
    with pytest.raises(ValueError, match="grads must have 2 entries, got 1"):
        optimizer.stateless_apply(values, slopes[:1], zeros)
    weights, state = optimizer.stateless_apply(values, slopes, zeros)
    weights, state = optimizer.stateless_apply(state, slopes, weights)
    np.testing.assert_allclose(weights[0], np.full((3, 1), -0.5 - 0.75))
    assert int(state[0]) == 2
    assert optimizer.iterations == 0
    for a, b in zip(model.get_weights(), before):
        np.testing.assert_array_equal(a, b)


def test_gradients_of_functions():
    w = nbcnn.Variable(np.array([1.0, 2.0], "float32"), name="w")
    unused = nbcnn.Variable(np.zeros(3, "float32"), name="unused")
    function = nbcnn.value_and_grad(lambda x: (w * w * x, {"x": x, "n": 3}), [w, unused], True)
    for _ in range(2):
        (loss, aux), (slope, nothing) = function(np.array([3.0, 4.0], "float32"))
        np.testing.assert_allclose(loss, w.numpy() ** 2 * [3, 4])  # as it is, not its sum
        np.testing.assert_allclose(slope, 2 * w.numpy() * [3, 4])
        assert nothing is None
        assert (aux["n"], aux["x"].tolist()) == (3, [3, 4])
        w.assign([-1.0, 0.5])


def test_gradients_by_variables_that_are_written():
    w = nbcnn.Variable(np.array(2.0, "float32"), name="w")

    def function():
        first = w * w
        w.assign(w * 3.0)
        return first + 5.0 * w

    loss, slopes = nbcnn.value_and_grad(function, [w])()
    assert (float(loss), float(slopes[0]), float(w.numpy())) == (34.0, 9.0, 6.0)


def test_what_value_and_grad_refuses():
    with pytest.raises(TypeError, match="function must be callable"):
        nbcnn.value_and_grad(3, [])
    with pytest.raises(TypeError, match="must be Variables or places of arguments, got float"):
        nbcnn.value_and_grad(lambda: 0, [3.0])
    with pytest.raises(TypeError, match="the loss must be of a float type, got int32"):
        nbcnn.value_and_grad(lambda: 3, [])()


class Penalty(layers.Layer):
    def build(self, input_shape):
        self.factor = self.add_weight((), "ones", name="factor")
        self.count = self.add_weight((), "zeros", trainable=False, name="count")

    def call(self, inputs):
        self.add_loss(ops.mean(inputs))
        self.count.assign_add(1.0)
        return inputs * self.factor


def test_losses_of_a_layer():
    inputs = nbcnn.Input((3,))
    outputs = layers.Dense(1, kernel_regularizer="l2")(Penalty()(inputs))
    model = nbcnn.Model(inputs, outputs)
    kernel = model.layers[-1].kernel.numpy()
    assert [float(loss) for loss in model.losses] == pytest.approx([0.01 * (kernel**2).sum()])
    for data in (X, 2 * X):
        model(data)
        found = [float(loss) for loss in model.losses]
        assert found == pytest.approx([data.mean(), 0.01 * (kernel**2).sum()], rel=1e-4)
    assert len(model.layers[1].losses) == 1


def test_calls_without_a_trace():
    layer = Penalty()
    with pytest.raises(ValueError, match="not built yet"):
        layer.stateless_call([], [], X)
    layer(X)
    with pytest.raises(ValueError, match="trainable_variables must have 1 entries, got 0"):
        layer.stateless_call([], [], X)
    outputs, state, losses = layer.stateless_call([3.0], [7.0], X, return_losses=True)
    np.testing.assert_allclose(outputs, 3 * X, rtol=1e-6)
    assert [float(value) for value in state] == [8.0]
    assert float(losses[0]) == pytest.approx(X.mean(), rel=1e-4)
    assert (float(layer.factor.numpy()), float(layer.count.numpy())) == (1.0, 1.0)


def test_variables_in_stores(tmp_path):
    layer = Penalty()
    layer(X)
    store = {}
    layer.save_own_variables(store)
    assert {key: float(value) for key, value in store.items()} == {"0": 1.0, "1": 1.0}
    layer.load_own_variables({"0": 4.0, "1": 5.0})
    assert [float(v.numpy()) for v in layer.weights] == [4.0, 5.0]
    with pytest.raises(ValueError, match=r"has 2 variables .factor, count., the store has 1"):
        layer.load_own_variables({"0": 4.0})
    with pytest.raises(ValueError, match=r"shape \(\), got \(2,\)"):
        layer.load_own_variables({"0": [4.0, 4.0], "1": 5.0})

    class Table(layers.Layer):
        table = None

        def call(self, inputs):
            return inputs

        def save_own_variables(self, store):
            store["table"] = self.table

        def load_own_variables(self, store):
            self.table = store["table"]

    def model():
        return nbcnn.Sequential([nbcnn.Input((3,)), Table(), layers.Dense(1)])

    saved, other = model(), model()
    saved.layers[0].table = np.arange(5)
    saved.save(tmp_path / "model.nbcnn")
    saved.save_weights(tmp_path / "model.weights.nbcnn")
    options = {"custom_objects": {"Table": Table}}
    again = nbcnn.models.load_model(tmp_path / "model.nbcnn", **options)
    other.load_weights(tmp_path / "model.weights.nbcnn")
    assert again.layers[0].table.tolist() == other.layers[0].table.tolist() == [0, 1, 2, 3, 4]


def test_what_a_layer_says_of_itself():
    layer = layers.Dense(2)
    layer.counter = nbcnn.metrics.Mean()
    assert layer.path is None
    spec = layer.compute_output_spec(nbcnn.KerasTensor((None, 3)))
    assert (spec.shape, spec.dtype, layer.path) == ((None, 2), "float32", layer.name)
    assert layer.metrics == nbcnn.Sequential([layer]).layers[0].metrics == [layer.counter]
    assert layer.metrics_variables == []
    assert layer.supports_masking


def test_metrics_of_layers_are_in_the_logs():
    class Watched(layers.Layer):
        def __init__(self):
            super().__init__()
            self.largest = nbcnn.metrics.Mean(name="largest")

        def call(self, inputs):
            self.largest.update_state(ops.max(inputs))
            return inputs

    model = nbcnn.Sequential([nbcnn.Input((3,)), Watched(), layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    logs = model.evaluate(X, Y, batch_size=30, verbose=0, return_dict=True)
    assert list(logs) == ["largest", "loss", "mae"]
    assert logs["largest"] == pytest.approx(X.max(), rel=1e-6)
    assert list(model.fit(X, Y, verbose=0).history) == ["largest", "loss", "mae"]
