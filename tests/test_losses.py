"""Losses and metrics against float64 formulas and against recorded values of real Keras."""

import json
from pathlib import Path

import numpy as np
import pytest
from cases.losses import LABELS, LOGITS, LOSSES, METRICS, PROBABILITIES, WEIGHTS, P, T

import nbcnn
from nbcnn import losses, metrics, ops
from nbcnn.ops.tensor import Tensor
from nbcnn.registry import deserialize, serialize

RECORDED = json.loads((Path(__file__).parent / "golden" / "losses.json").read_text())
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}


def check_per_sample(values, case, dtype):
    expected = case.reference(case.y_true, case.y_pred)
    # Probabilities next to 1 lose digits in float32 whoever computes with them.
    scale = np.abs(expected).max()
    np.testing.assert_allclose(values, expected, TOLERANCE[dtype], TOLERANCE[dtype] * scale)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", LOSSES, ids=lambda c: c.id)
def test_losses_per_sample(case, dtype):
    loss = getattr(losses, case.name)(reduction="none", **case.kwargs)
    values = loss(case.y_true, case.y_pred.astype(dtype))
    assert values.dtype == dtype
    check_per_sample(values, case, dtype)


@pytest.mark.parametrize("case", LOSSES, ids=lambda c: c.id)
def test_losses_are_those_of_keras(case):
    value = getattr(losses, case.name)(**case.kwargs)(case.y_true, case.y_pred.astype("float32"))
    assert float(value) == pytest.approx(RECORDED["losses"][case.id], rel=1e-5)


@pytest.mark.parametrize("case", METRICS, ids=lambda c: c.id)
def test_metrics_per_sample(case):
    metric = getattr(metrics, case.name)(**case.kwargs)
    expected = case.reference(case.y_true, case.y_pred)
    expected = expected.reshape(len(expected), -1).mean(-1)
    values = metric.values(case.y_true, case.y_pred)
    np.testing.assert_allclose(values, expected, 1e-10, 1e-10)


@pytest.mark.parametrize("case", METRICS, ids=lambda c: c.id)
def test_metrics_are_those_of_keras(case):
    metric = getattr(metrics, case.name)(**case.kwargs)
    half = len(case.y_true) // 2
    metric.update_state(case.y_true[:half], case.y_pred[:half])
    value = metric(case.y_true[half:], case.y_pred[half:])
    assert float(value) == pytest.approx(RECORDED["metrics"][case.id], rel=1e-5)
    metric.reset_state()
    assert metric.result() == 0


@pytest.mark.parametrize("case", LOSSES, ids=lambda c: c.id)
def test_losses_trace_with_an_unknown_batch(case):
    dtype = "int32" if case.y_true.dtype == "int64" else "float32"
    y_true = Tensor((None, *case.y_true.shape[1:]), dtype)
    y_pred = Tensor((None, *case.y_pred.shape[1:]))
    loss = getattr(losses, case.name)(**case.kwargs)(y_true, y_pred)
    assert (loss.shape, loss.dtype) == ((), "float32")


@pytest.mark.parametrize("case", METRICS, ids=lambda c: c.id)
def test_metrics_trace_to_a_value_per_sample(case):
    dtype = "int32" if case.y_true.dtype == "int64" else "float32"
    y_true = Tensor((8, *case.y_true.shape[1:]), dtype)
    y_pred = Tensor((8, *case.y_pred.shape[1:]))
    values = getattr(metrics, case.name)(**case.kwargs).values(y_true, y_pred)
    assert (values.shape, values.dtype) == ((8,), "float32")


@pytest.mark.parametrize(
    "reduction, expected",
    [
        ("sum_over_batch_size", lambda v, w: (v * w).mean()),
        ("mean", lambda v, w: (v * w).mean()),
        ("sum", lambda v, w: (v * w).sum()),
        ("mean_with_sample_weight", lambda v, w: (v * w).sum() / w.sum()),
        (None, lambda v, w: v * w),
    ],
)
@pytest.mark.parametrize("shape", [(7,), (7, 1)])
def test_reductions(reduction, expected, shape):
    values = ((T - P) ** 2).mean(-1)
    got = losses.MeanSquaredError(reduction)(T, P, WEIGHTS.reshape(shape))
    np.testing.assert_allclose(np.ravel(got), np.ravel(expected(values, WEIGHTS)), rtol=1e-12)


def test_ignored_class_does_not_count():
    loss = losses.SparseCategoricalCrossentropy(ignore_class=2)
    kept = LABELS != 2
    values = loss.call(LABELS, PROBABILITIES)
    mean_over_all = (values * WEIGHTS)[kept].sum() / kept.sum()
    np.testing.assert_allclose(loss(LABELS, PROBABILITIES, WEIGHTS), mean_over_all)


def test_loss_of_a_dtype():
    values = losses.MeanSquaredError("none", dtype="float32")(T, P)
    assert values.dtype == "float32"


@pytest.mark.parametrize("case", LOSSES, ids=lambda c: c.id)
def test_loss_config_round_trip(case):
    loss = getattr(losses, case.name)(**case.kwargs)
    again = deserialize(json.loads(json.dumps(serialize(loss))))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()


@pytest.mark.parametrize("case", METRICS, ids=lambda c: c.id)
def test_metric_config_round_trip(case):
    metric = getattr(metrics, case.name)(**case.kwargs)
    again = deserialize(json.loads(json.dumps(serialize(metric))))
    assert type(again) is type(metric)
    assert again.get_config() == metric.get_config()


def double_error(y_true, y_pred):
    return 2 * ops.mean(ops.abs(y_true - y_pred), axis=-1)


class Cubed(losses.Loss):
    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, y_true, y_pred):
        return self.factor * ops.mean(ops.abs(y_true - y_pred) ** 3, axis=-1)


class Largest(metrics.Metric):
    """Keras's idiom: own variables and `update_state`."""

    def __init__(self, name="largest", **kwargs):
        super().__init__(name=name, **kwargs)
        self.count = self.add_weight(name="count", initializer="zeros")
        self.total = self.add_variable((), "zeros", name="total")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.total.assign_add(np.abs(y_true - y_pred).sum())
        self.count.assign_add(len(y_true))

    def result(self):
        return self.total / self.count


def test_losses_of_ones_own():
    expected = np.abs(T - P)
    wrapped = losses.for_output(double_error, T, P)
    assert wrapped.name == "double_error"
    np.testing.assert_allclose(wrapped(T, P), 2 * expected.mean())
    cubed = Cubed(factor=2.0, name="mine")
    np.testing.assert_allclose(cubed(T, P, WEIGHTS), ((2 * expected**3).mean(-1) * WEIGHTS).mean())
    again = deserialize(serialize(cubed), {"Cubed": Cubed})
    assert (again.factor, again.name) == (2.0, "mine")


def test_metrics_of_ones_own():
    metric = metrics.for_output(double_error, T, P)
    assert (metric.name, metric._direction) == ("double_error", None)
    assert metric(T, P) == pytest.approx(2 * np.abs(T - P).mean())
    largest = Largest()
    for _ in range(2):
        assert largest(T, P) == pytest.approx(np.abs(T - P).sum() / 7)
    assert [v.name for v in largest.variables] == ["count", "total"]
    largest.reset_state()
    assert largest.count.numpy() == 0


@pytest.mark.parametrize("formula", [losses.huber, double_error])
def test_wrapped_functions_round_trip(formula):
    known = {"double_error": double_error}
    for wrapper in (losses.LossFunctionWrapper, metrics.MeanMetricWrapper):
        config = json.loads(json.dumps(serialize(wrapper(formula))))
        again = deserialize(config, known)
        assert again.fn is formula
        assert again.name == formula.__name__


def test_losses_as_metrics():
    metric = metrics.for_output(losses.Huber(delta=0.5), T, P)
    assert (metric.name, metric._direction) == ("huber_loss", "down")
    assert metric(T, P) == pytest.approx(float(losses.Huber(delta=0.5)(T, P)))
    assert metrics.for_output(losses.huber, T, P)._direction == "down"


@pytest.mark.parametrize(
    "true, predicted, loss, metric",
    [
        ((8, 1), (8, 1), "BinaryCrossentropy", "BinaryAccuracy"),
        ((8,), (8, 1), "BinaryCrossentropy", "BinaryAccuracy"),
        ((8,), (8, 10), "SparseCategoricalCrossentropy", "SparseCategoricalAccuracy"),
        ((8, 1), (8, 10), "SparseCategoricalCrossentropy", "SparseCategoricalAccuracy"),
        ((8, 10), (8, 10), "CategoricalCrossentropy", "CategoricalAccuracy"),
    ],
)
def test_accuracy_and_crossentropy_by_shape(true, predicted, loss, metric):
    y_true, y_pred = Tensor(true), Tensor(predicted)
    assert type(losses.for_output("crossentropy", y_true, y_pred)).__name__ == loss
    for name in ("accuracy", "acc"):
        chosen = metrics.for_output(name, y_true, y_pred)
        assert type(chosen).__name__ == metric
        assert chosen.name == name


def test_get():
    assert losses.get("mse") is losses.mean_squared_error
    assert losses.get("mean_squared_error") is losses.mean_squared_error
    assert isinstance(losses.get("MeanSquaredError"), losses.MeanSquaredError)
    assert serialize(losses.mean_squared_error) == "mean_squared_error"
    assert isinstance(metrics.get("mse"), metrics.MeanSquaredError)
    assert metrics.for_output("mse", T, P).name == "mse"
    assert losses.get(None) is None
    assert losses.for_output(None, T, P) is None


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: losses.get("sparse_categorical_crossentopy"),
            "did you mean 'sparse_categorical_c",
        ),
        (lambda: metrics.get("acuracy"), "unknown metric 'acuracy'; did you mean '.ccuracy'"),
        (lambda: losses.Huber(delta=0), "Huber: delta must be positive, got 0"),
        (lambda: losses.MeanSquaredError("avg"), "reduction must be 'sum_over_batch_size', 'sum'"),
        (lambda: metrics.TopKCategoricalAccuracy(0), "k must be positive, got 0"),
        (lambda: metrics.for_output(None, T, P), "expected a metric, its name or a function"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_mean_and_sum_with_weights():
    values, weights = np.array([[1.0, 3.0], [5.0, 7.0]]), np.array([1.0, 3.0])
    mean = metrics.Mean("loss")
    mean.update_state(values, weights)
    mean.update_state(10.0)
    assert mean.name == "loss"
    assert mean.result() == pytest.approx((2 * 1 + 6 * 3 + 10) / 5)
    mean.reset_state()
    mean.update_state(values, [[1, 0], [0, 1]])
    assert mean.result() == pytest.approx((0.5 + 3.5) / 1)
    assert metrics.Sum()(values, 2.0).numpy() == 32


def test_weighted_metric():
    metric = metrics.SparseCategoricalAccuracy()
    right = LOGITS.argmax(-1) == LABELS
    assert metric(LABELS, LOGITS, WEIGHTS) == pytest.approx((right * WEIGHTS).sum() / WEIGHTS.sum())


def test_root_mean_squared_error():
    metric = metrics.RootMeanSquaredError()
    for part in (slice(0, 3), slice(3, 7)):
        metric.update_state(T[part], P[part])
    assert metric.result() == pytest.approx(np.sqrt(((T - P) ** 2).mean()))
    assert metric.finish(4.0) == 2.0


def test_ids_in_sorted_order():
    ids = np.argsort(-PROBABILITIES, axis=-1)
    metric = metrics.SparseTopKCategoricalAccuracy(2, from_sorted_ids=True)
    plain = metrics.SparseTopKCategoricalAccuracy(2)
    assert metric(LABELS, ids) == plain(LABELS, PROBABILITIES)


def test_single_class_warns():
    with pytest.warns(SyntaxWarning, match=r"two classes or more, got shape \(7, 1\)"):
        losses.categorical_crossentropy(T[:, :1], P[:, :1])


class Sharper(losses.CategoricalCrossentropy):
    """A loss of the package with an `__init__` and a `call` of one's own."""

    def __init__(self, power=2.0, **kwargs):
        super().__init__(**kwargs)
        self.power = power

    def call(self, y_true, y_pred):
        return super().call(y_true, ops.power(y_pred, self.power))


class Declared(losses.Huber):
    """One with another argument, which the formula does not have."""

    factor: float = 3.0

    def call(self, y_true, y_pred):
        return self.factor * super().call(y_true, y_pred)


def test_losses_and_metrics_of_the_package_as_bases():
    loss = Sharper(label_smoothing=0.1)
    plain = losses.CategoricalCrossentropy(label_smoothing=0.1)
    labels = np.eye(PROBABILITIES.shape[-1])[LABELS]
    assert loss(labels, PROBABILITIES) == pytest.approx(plain(labels, PROBABILITIES**2))
    assert loss.name == "categorical_crossentropy"
    assert Declared(factor=2.0)(T, P) == pytest.approx(2 * losses.Huber()(T, P))

    class Own(metrics.SparseCategoricalAccuracy):
        pass

    assert (Own().name, Own._direction) == ("sparse_categorical_accuracy", "up")
    assert Own()(LABELS, LOGITS) == metrics.SparseCategoricalAccuracy()(LABELS, LOGITS)


def circles(labels, embeddings, gamma, margin):
    """Circle loss sample by sample, in float64."""
    found = []
    for i, x in enumerate(embeddings.astype("float64")):
        same = other = 0.0
        for j, y in enumerate(embeddings.astype("float64")):
            d = max(1 - x @ y, 0)
            if labels[i] != labels[j]:
                other += np.exp(gamma * max(1 + margin - d, 0) * (1 - margin - d))
            elif i != j:
                same += np.exp(gamma * (margin + d) * (d - margin))
        found.append(np.log1p(same * other))
    return np.array(found)


def test_circle_loss_of_samples_that_are_alone_in_their_class():
    x = np.random.default_rng(0).normal(size=(9, 4))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype("float32")
    labels = np.array([0, 1, 0, 2, 3, 1, 0, 4, 1])
    expected = circles(labels, x, 5.0, 0.3)
    values = losses.circle(labels, x, gamma=5.0, margin=0.3)
    np.testing.assert_allclose(values, expected, 1e-5)
    assert (expected[[3, 4, 7]] == 0).all()
    loss = losses.Circle(gamma=5.0, margin=0.3)
    assert loss(labels, x) == pytest.approx(expected[expected > 0].mean(), rel=1e-5)
    slopes = nbcnn.value_and_grad(lambda x: loss(labels, x), 0)(x)[1]
    step = 1e-3 * np.random.default_rng(1).normal(size=x.shape)
    near = [circles(labels, x + sign * step, 5.0, 0.3).sum() for sign in (1, -1)]
    assert (slopes * step).sum() == pytest.approx((near[0] - near[1]) / 2 / 6, rel=1e-3)
    references = losses.circle(labels[:2], x[:2], labels, x, False, 5.0, 0.3)
    assert references.shape == (2,)
    assert loss(labels[:1], x[:1]) == 0
