"""`train_step`, `test_step`, `predict_step`, `compute_loss` and `compute_metrics` of one's own."""

import numpy as np
import pytest
from small_models import LABELS, RNG, X, Y

import nbcnn
from nbcnn import layers, ops

FIT = {"epochs": 2, "batch_size": 8, "shuffle": False, "verbose": 0}


@pytest.fixture(autouse=True)
def on_the_cpu():
    nbcnn.utils.set_random_seed(0)
    with nbcnn.device("cpu"):
        yield


def network(cls, seed=3, **kwargs):
    """A model of a class on the inputs X, always with the same weights."""
    nbcnn.utils.set_random_seed(seed)
    inputs = nbcnn.Input((3,))
    x = layers.Dense(4, activation="tanh", **kwargs)(inputs)
    return cls(inputs, layers.Dense(1)(x))


class ByHand(nbcnn.Model):
    """Does what `fit` does by itself."""

    times = 0

    def train_step(self, data):
        self.times += 1
        x, y, weight = nbcnn.utils.unpack_x_y_sample_weight(data)

        def objective():
            y_pred = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=y_pred, sample_weight=weight)
            return self.optimizer.scale_loss(loss), (loss, y_pred)

        (_, (loss, y_pred)), slopes = nbcnn.value_and_grad(
            objective, self.trainable_variables, has_aux=True
        )()
        self.optimizer.apply(slopes, self.trainable_variables)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss, sample_weight=x.shape[0])
            else:
                metric.update_state(y, y_pred, sample_weight=weight)
        return {metric.name: metric.result() for metric in self.metrics}


def trained(cls, optimizer, eagerly=False, **fit):
    model = network(cls, kernel_regularizer="l2")
    options = {"run_eagerly": eagerly, "metrics": ["mae"], "weighted_metrics": ["mse"]}
    model.compile(optimizer, "mse", **options)
    history = model.fit(X, Y, validation_data=(X, Y), **FIT, **fit).history
    return model, history


OPTIMIZERS = {
    "adam": lambda: nbcnn.optimizers.Adam(0.01, weight_decay=0.01, global_clipnorm=0.1),
    "average": lambda: nbcnn.optimizers.SGD(0.1, use_ema=True, ema_overwrite_frequency=2),
    "accumulation": lambda: nbcnn.optimizers.SGD(0.1, momentum=0.9, gradient_accumulation_steps=2),
    "scale": lambda: nbcnn.optimizers.LossScaleOptimizer(nbcnn.optimizers.SGD(0.1)),
}


@pytest.mark.parametrize("eagerly", [False, True], ids=["traced", "eager"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_written_out_does_what_fit_does(name, eagerly):
    weights = np.linspace(0, 2, len(X))
    model, found = trained(ByHand, OPTIMIZERS[name](), eagerly, sample_weight=weights)
    plain, expected = trained(nbcnn.Model, OPTIMIZERS[name](), sample_weight=weights)
    assert set(found) == set(expected)
    for key in expected:
        np.testing.assert_allclose(found[key], expected[key], rtol=1e-5, err_msg=key)
    for a, b in zip(model.get_weights(), plain.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    assert model.optimizer.iterations == plain.optimizer.iterations
    assert model.times == (6 if eagerly else 2)  # once for each size of batches


class Gan(nbcnn.Model):
    def __init__(self, critic, maker, rounds=2):
        super().__init__()
        self.critic, self.maker, self.rounds = critic, maker, rounds
        self.of_critic = nbcnn.metrics.Mean(name="d_loss")
        self.of_maker = nbcnn.metrics.Mean(name="g_loss")

    def compile(self, d_optimizer, g_optimizer, loss_fn, **options):
        super().compile(**options)
        self.d_optimizer, self.g_optimizer, self.loss_fn = d_optimizer, g_optimizer, loss_fn

    def train_step(self, data):
        real, noise = data
        size = ops.shape(real)[0]
        both = ops.concatenate([self.maker(noise), real])
        labels = ops.concatenate([ops.ones((size, 1)), ops.zeros((size, 1))])

        def critics_loss():
            return self.loss_fn(labels, self.critic(both))

        def makers_loss():
            return self.loss_fn(ops.zeros((size, 1)), self.critic(self.maker(noise)))

        for _ in range(self.rounds):
            d_loss, slopes = nbcnn.value_and_grad(critics_loss, self.critic.trainable_weights)()
            self.d_optimizer.apply(slopes, self.critic.trainable_weights)
        g_loss, slopes = nbcnn.value_and_grad(makers_loss, self.maker.trainable_weights)()
        self.g_optimizer.apply(slopes, self.maker.trainable_weights)
        self.of_critic.update_state(d_loss)
        self.of_maker.update_state(g_loss)
        return {"d": self.of_critic.result(), "g": self.of_maker.result(), "latest": g_loss}


def gan(**options):
    nbcnn.utils.set_random_seed(1)
    critic = nbcnn.Sequential([nbcnn.Input((3,)), layers.Dense(5, "relu"), layers.Dense(1)])
    maker = nbcnn.Sequential([nbcnn.Input((2,)), layers.Dense(3)])
    model = Gan(critic, maker)
    loss = nbcnn.losses.BinaryCrossentropy(from_logits=True)
    model.compile(nbcnn.optimizers.SGD(0.5), nbcnn.optimizers.Adam(0.1), loss, **options)
    return model


def test_two_networks_with_an_optimizer_each():
    noise = RNG.normal(size=(23, 2)).astype("float32")
    model, eager = gan(), gan(run_eagerly=True)
    history, expected = (m.fit(X, noise, **FIT).history for m in (model, eager))
    assert list(history) == ["d", "g", "latest"]
    for key in expected:
        np.testing.assert_allclose(history[key], expected[key], rtol=1e-5)
    for a, b in zip(model.get_weights(), eager.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert (model.d_optimizer.iterations, model.g_optimizer.iterations) == (12, 6)
    assert model.metrics_names == ["loss", "d_loss", "g_loss"]
    assert history["g"][1] != history["g"][0]
    # The mean is over three batches that count alike.
    logs = []
    watch = nbcnn.callbacks.LambdaCallback(on_train_batch_end=lambda _, log: logs.append(log))
    epoch = model.fit(X, noise, **{**FIT, "epochs": 1}, callbacks=[watch]).history
    assert epoch["g"][0] == pytest.approx(np.mean([log["latest"] for log in logs]), rel=1e-5)
    assert epoch["latest"][0] == logs[-1]["latest"]


class Extended(nbcnn.Model):
    """Overrides all but `train_step`."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seen = nbcnn.metrics.Sum(name="seen")

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        own = super().compute_loss(x, y, y_pred, sample_weight)
        self.seen.update_state(ops.ones((x.shape[0],)))
        return own + (0.5 * ops.mean(ops.square(y_pred)) if training else 0.0)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        logs = super().compute_metrics(x, y, y_pred, sample_weight)
        return {**logs, "bias": ops.mean(y_pred - y), "twice": 2 * logs["mae"]}


def test_losses_and_metrics_of_ones_own():
    model = network(Extended)
    model.compile("sgd", "mse", metrics=["mae"])
    y_pred = model.predict(X, verbose=0)
    logs = model.evaluate(X, Y, batch_size=30, verbose=0, return_dict=True)
    assert list(logs) == ["bias", "loss", "mae", "seen", "twice"]
    assert logs["loss"] == pytest.approx(np.mean((y_pred - Y) ** 2), rel=1e-5)
    assert logs["mae"] == pytest.approx(np.abs(y_pred - Y).mean(), rel=1e-5)
    assert logs["bias"] == pytest.approx((y_pred - Y).mean(), rel=1e-4)
    assert logs["twice"] == pytest.approx(2 * logs["mae"])
    expected = np.mean((y_pred - Y) ** 2) + 0.5 * np.mean(y_pred**2)
    trained = model.train_on_batch(X, Y, return_dict=True)
    assert trained["loss"] == pytest.approx(expected, rel=1e-5)
    history = model.fit(X, Y, validation_split=0.3, **FIT).history
    assert (history["seen"], history["val_seen"]) == ([16, 16], [7, 7])
    in_order = model.evaluate(X, Y, batch_size=30, verbose=0)
    names = ["loss", "mae", "seen", "bias", "twice"]
    logs = model.evaluate(X, Y, batch_size=30, verbose=0, return_dict=True)
    assert in_order == pytest.approx([logs[name] for name in names])


def test_a_loss_without_the_argument_training():
    class Old(nbcnn.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, inputs):
            return self.dense(inputs)

        def compute_loss(self, x, y, y_pred, sample_weight):
            return ops.mean(ops.abs(y - y_pred))

    model = Old()  # which has no weights before it sees data
    model.compile("sgd")
    first, second = model.fit(X, Y, **FIT).history["loss"]
    assert second < first
    expected = np.abs(model.predict(X, verbose=0) - Y).mean()
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_fit_goes_on_where_a_loop_of_ones_own_ended():
    model, plain = (network(nbcnn.Model) for _ in range(2))
    for each in (model, plain):
        each.compile(nbcnn.optimizers.SGD(0.1, momentum=0.9), "mse")

    def loss_of():
        return ops.mean(ops.square(model(X, training=True) - Y))

    _, slopes = nbcnn.value_and_grad(loss_of, model.trainable_variables)()
    model.optimizer.apply(slopes, model.trainable_variables)
    model.train_on_batch(X, Y)
    model.optimizer.apply(slopes, model.trainable_variables)
    for _ in range(2):
        plain.train_on_batch(X, Y)
    plain.optimizer.apply(slopes, plain.trainable_variables)
    for a, b in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert model.optimizer.iterations == 3


class Counting(nbcnn.Model):
    def test_step(self, data):
        return {"samples": ops.sum(ops.ones_like(data[1]))}


def test_a_test_step_alone_is_taken_for_a_part_of_the_data_too():
    model = network(Counting)
    model.compile("sgd", "mse")
    found = model.fit(X, Y, validation_split=0.3, validation_batch_size=30, **FIT).history
    assert found["val_samples"] == [7, 7]
    assert set(found) == {"loss", "val_samples"}


@pytest.mark.parametrize("ending", ["keras", "nbcnn"])
def test_files_keep_the_optimizers_state(ending, tmp_path):
    model = network(ByHand)
    model.compile(nbcnn.optimizers.Adam(0.01), "mse")
    model.fit(X, Y, **FIT)
    path = tmp_path / f"m.{ending}"
    model.save(path)
    again = nbcnn.saving.load_model(path, custom_objects={"ByHand": ByHand})
    for each in (model, again):
        each.fit(X, Y, **FIT)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


class Wrapped(nbcnn.Model):
    def train_step(self, data):
        logs = super().train_step(data)
        return {**logs, "twice": 2 * logs["loss"]}

    def test_step(self, data):
        return super().test_step(data)

    def predict_step(self, data):
        return {"doubled": 2 * super().predict_step(data)}


def test_super_does_what_was_overridden():
    inputs = nbcnn.Input((3,))
    outputs = [layers.Dense(4, "softmax", name="c")(inputs), layers.Dense(1, name="s")(inputs)]
    model = Wrapped(inputs, outputs)
    plain = nbcnn.Model(inputs, outputs)
    options = {"loss": ["sparse_categorical_crossentropy", "mse"], "loss_weights": [1.0, 0.5]}
    start = model.get_weights()
    logs = []
    for each in (model, plain):
        each.set_weights(start)
        each.compile(nbcnn.optimizers.SGD(0.1), metrics=[["accuracy"], ["mae"]], **options)
        each.fit(X, [LABELS, Y], **FIT)
        logs.append(each.evaluate(X, [LABELS, Y], verbose=0, return_dict=True))
    assert logs[0] == pytest.approx(logs[1], rel=1e-5)
    assert model.history.history["twice"] == pytest.approx(
        [2 * loss for loss in model.history.history["loss"]]
    )


def test_predictions_of_ones_own():
    model = network(Wrapped)
    expected = 2 * network(nbcnn.Model).predict(X, verbose=0)
    np.testing.assert_allclose(model.predict(X, batch_size=8, verbose=0)["doubled"], expected)
    np.testing.assert_allclose(model.predict_on_batch(X)["doubled"], expected, rtol=1e-6)
    batches = model.predict(iter([X[:5], (X[5:],)]), verbose=0)
    np.testing.assert_allclose(batches["doubled"], expected, rtol=1e-6)


def test_data_of_any_nesting():
    class Pairs(nbcnn.Model):
        def train_step(self, data):
            (a, b), names = data["pair"], sorted(data)
            assert names == ["extra", "pair"]
            return {"sum": ops.sum(a) + ops.sum(b), "whole": ops.max(data["extra"])}

    model = Pairs()
    model.compile()
    batch = {"pair": (X, 2 * X), "extra": np.arange(23)}
    logs = model.fit(iter([batch]), verbose=0, steps_per_epoch=1).history
    assert logs["sum"][0] == pytest.approx(3 * X.sum(), rel=1e-4)
    assert logs["whole"] == [22]
    with pytest.raises(ValueError, match="samples"):
        model.fit(iter([{**batch, "extra": np.arange(4)}]), verbose=0)


def test_values_are_those_of_their_place_in_the_step():
    """What is computed before an update and used after it is of the old weights."""

    class Peek(nbcnn.Model):
        def train_step(self, data):
            x, y = data
            kernel = self.layers[-1].kernel
            before, flat = ops.sum(self(x)), ops.reshape(kernel, (-1,))
            _, slopes = nbcnn.value_and_grad(
                lambda: ops.mean((self(x) - y) ** 2), self.trainable_variables
            )()
            self.optimizer.apply(slopes, self.trainable_variables)
            return {
                "before": before,
                "after": ops.sum(self(x)),
                "old": flat[0],
                "new": kernel[0, 0],
            }

    model = network(Peek)
    model.compile(nbcnn.optimizers.SGD(0.1))
    old, before = model.layers[-1].kernel.numpy()[0, 0], model.predict(X, verbose=0).sum()
    logs = model.train_on_batch(X, Y, return_dict=True)
    new, after = model.layers[-1].kernel.numpy()[0, 0], model.predict(X, verbose=0).sum()
    assert old != new
    found = [logs[name] for name in ("old", "new", "before", "after")]
    assert found == pytest.approx([old, new, before, after], rel=1e-4)


def test_random_numbers_are_drawn_anew_at_each_step():
    class Noisy(nbcnn.Model):
        def __init__(self):
            super().__init__()
            self.generator = nbcnn.random.SeedGenerator(7)

        def train_step(self, data):
            shape = (len(X), 50)
            normal = nbcnn.random.normal(shape, mean=1.0, stddev=2.0, seed=self.generator)
            other = nbcnn.random.normal(shape, seed=self.generator)
            near = nbcnn.random.truncated_normal(shape)
            whole = nbcnn.random.randint(shape, 2, 5)
            kept = nbcnn.random.dropout(ops.ones(shape), 0.25)
            return {
                "mean": ops.mean(normal), "deviation": ops.std(normal), "other": ops.mean(other),
                "near": ops.max(ops.abs(near)), "low": ops.min(whole), "high": ops.max(whole),
                "uniform": ops.mean(nbcnn.random.uniform(shape, 2, 4)), "kept": ops.max(kept),
                "fixed": ops.mean(nbcnn.random.normal(shape, seed=3)),
            }  # fmt: skip

    model = Noisy()
    model.compile()
    first, second = (model.train_on_batch(X, return_dict=True) for _ in range(2))
    assert first["mean"] != second["mean"]
    assert first["mean"] != 1 + 2 * first["other"]
    assert first["fixed"] == second["fixed"]
    assert first["mean"] == pytest.approx(1, abs=0.3)
    assert first["deviation"] == pytest.approx(2, abs=0.3)
    assert first["uniform"] == pytest.approx(3, abs=0.1)
    assert 1.5 < first["near"] <= 2
    assert (first["low"], first["high"]) == (2, 4)
    assert first["kept"] == pytest.approx(1 / 0.75)


def test_what_a_step_must_not_do():
    class Wrong(nbcnn.Model):
        def train_step(self, data):
            return self.what(data)

    model = network(Wrong)
    with pytest.raises(ValueError, match="compile"):
        model.fit(X, Y, verbose=0)
    model.compile("sgd", "mse")
    model.what = lambda data: 3.0
    with pytest.raises(ValueError, match="expected a dictionary of logs, got float"):
        model.fit(X, Y, verbose=0)
    model.what = lambda data: {"x": 1.0 if ops.sum(data[0]) > 0 else 0.0}
    with pytest.raises(TypeError, match="run_eagerly"):
        model.fit(X, Y, verbose=0)
    model.run_eagerly = True
    assert model.fit(X, Y, verbose=0).history["x"][0] in (0.0, 1.0)
    with pytest.raises(ValueError, match="plan: "):
        model.plan()


def test_options_of_compile_can_be_read_and_set():
    model = network(nbcnn.Model)
    assert (model.run_eagerly, model.jit_compile) == (False, True)
    model.compile("sgd", "mse", run_eagerly=True, steps_per_execution=2, auto_scale_loss=False)
    assert (model.run_eagerly, model.jit_compile) == (True, False)
    model.run_eagerly, model.jit_compile = False, True
    assert (model.run_eagerly, model.jit_compile) == (False, True)
