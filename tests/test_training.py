"""`fit`, `evaluate`, `predict` and their relatives, against NumPy and against each other."""

import signal
import warnings

import numpy as np
import pytest
from small_models import LABELS, RNG, X, Y, classifier, compiled, compiled_classifier, linear

import nbcnn
from nbcnn import layers


@pytest.fixture(autouse=True)
def on_the_cpu():
    nbcnn.utils.set_random_seed(0)
    with nbcnn.device("cpu"):
        yield


def sgd_step(w, b, x, y, weight=1.0, rate=0.1):
    """One step of gradient descent on the weighted mean squared error, in float64."""
    error = (x @ w + b - y) * 2 / len(x) * weight
    return w - rate * x.T @ error, b - rate * error.sum(axis=0)


def test_a_step_is_the_textbook_one():
    model = compiled(linear())
    w, b = (v.astype("float64") for v in model.get_weights())
    loss = model.train_on_batch(X, Y)
    assert loss == pytest.approx(np.mean((X @ w + b - Y) ** 2), rel=1e-5)
    for got, want in zip(model.get_weights(), sgd_step(w, b, X, Y)):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_an_epoch_is_its_steps_in_order():
    model = compiled(linear())
    w, b = (v.astype("float64") for v in model.get_weights())
    losses = []
    for start in range(0, 23, 8):
        x, y = X[start : start + 8], Y[start : start + 8]
        losses.append(len(x) * np.mean((x @ w + b - y) ** 2))
        w, b = sgd_step(w, b, x, y)
    history = model.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
    np.testing.assert_allclose(model.get_weights()[0], w, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.get_weights()[1], b, rtol=1e-5, atol=1e-6)
    assert history.history["loss"] == [pytest.approx(sum(losses) / 23, rel=1e-5)]
    assert model.optimizer.iterations == 3


def test_weights_of_samples_and_classes_scale_the_loss():
    weights = RNG.random(23)
    model = compiled(linear())
    w, b = (v.astype("float64") for v in model.get_weights())
    model.train_on_batch(X, Y, sample_weight=weights)
    np.testing.assert_allclose(
        model.get_weights()[0], sgd_step(w, b, X, Y, weights[:, None])[0], rtol=1e-5, atol=1e-6
    )
    by_sample, by_class = compiled_classifier(), compiled_classifier()
    by_class.set_weights(by_sample.get_weights())
    table = np.array([1.0, 3.0, 0.5, 0.0])
    by_sample.fit(X, LABELS, sample_weight=table[LABELS], shuffle=False, verbose=0)
    by_class.fit(X, LABELS, class_weight=dict(enumerate(table)), shuffle=False, verbose=0)
    np.testing.assert_array_equal(by_sample.get_weights()[0], by_class.get_weights()[0])


def test_evaluate_is_the_mean_over_all_samples():
    model = compiled_classifier()
    loss, accuracy = model.evaluate(X, LABELS, batch_size=7, verbose=0)
    p = model.predict(X, batch_size=9, verbose=0)
    assert p.shape == (23, 4)
    assert loss == pytest.approx(-np.log(p[np.arange(23), LABELS]).mean(), rel=1e-5)
    assert accuracy == pytest.approx((p.argmax(axis=1) == LABELS).mean())
    logs = model.evaluate(X, LABELS, batch_size=23, verbose=0, return_dict=True)
    assert list(logs) == ["accuracy", "loss"] == sorted(model.metrics_names)
    assert logs["loss"] == pytest.approx(loss, rel=1e-6)
    before = model.get_weights()
    model.evaluate(X, LABELS, verbose=0)
    np.testing.assert_array_equal(before[0], model.get_weights()[0])


def test_predict_does_not_depend_on_the_batch():
    model = classifier()
    whole = model.predict(X, batch_size=100, verbose=0)
    np.testing.assert_array_equal(whole, model.predict_on_batch(X))
    np.testing.assert_allclose(whole, model(X), rtol=1e-6)
    for size in (1, 5, 23):
        np.testing.assert_allclose(whole, model.predict(X, size, verbose=0), rtol=1e-6)
    batches = (X[i : i + 10] for i in range(0, 23, 10))
    np.testing.assert_allclose(whole, model.predict(batches, verbose=0), rtol=1e-6)
    assert len(model.predict((X for _ in range(9)), steps=2, verbose=0)) == 46


@pytest.mark.parametrize("dtype", ["float64", "int32", "uint8", "bool", "float16"])
def test_inputs_of_any_type_are_cast(dtype):
    x = (np.abs(X) * 3).astype(dtype)
    model = compiled(linear())
    twin = compiled(linear())
    twin.set_weights(model.get_weights())
    np.testing.assert_array_equal(
        model.predict(x, verbose=0), twin.predict(x.astype("float32"), verbose=0)
    )
    for m, data in ((model, x), (twin, x.astype("float32"))):
        nbcnn.utils.set_random_seed(3)
        m.fit(data, Y.astype("float64"), batch_size=5, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], twin.get_weights()[0])


def test_the_same_seed_gives_the_same_bits():
    def weights():
        nbcnn.utils.set_random_seed(11)
        model = nbcnn.Sequential(
            [nbcnn.Input((3,)), layers.Dense(8), layers.Dropout(0.5), layers.Dense(1)]
        )
        compiled(model).fit(X, Y, epochs=2, batch_size=4, verbose=0)
        return model.get_weights()

    for a, b in zip(weights(), weights()):
        np.testing.assert_array_equal(a, b)


def test_threads_do_not_change_bits():
    results = []
    before = nbcnn.config.get_num_threads()
    try:
        for threads in (1, 2):
            nbcnn.config.set_num_threads(threads)
            nbcnn.utils.set_random_seed(1)
            model = compiled_classifier()
            model.fit(X, LABELS, epochs=2, verbose=0)
            results.append(model.get_weights())
    finally:
        nbcnn.config.set_num_threads(before)
    for a, b in zip(*results):
        np.testing.assert_array_equal(a, b)


def test_validation_split_takes_the_last_samples_and_does_not_train_on_them():
    split, apart = compiled(linear()), compiled(linear())
    apart.set_weights(split.get_weights())
    nbcnn.utils.set_random_seed(2)
    first = split.fit(X, Y, validation_split=0.3, epochs=2, verbose=0).history
    nbcnn.utils.set_random_seed(2)
    data = (X[16:], Y[16:])
    second = apart.fit(X[:16], Y[:16], validation_data=data, epochs=2, verbose=0).history
    assert first == second
    assert set(first) == {"loss", "val_loss"}
    assert first["val_loss"][-1] == pytest.approx(split.evaluate(*data, verbose=0), rel=1e-6)


@pytest.mark.parametrize(("freq", "count"), [(1, 4), (2, 2), (3, 1), ([1, 4], 2)])
def test_validation_freq(freq, count):
    history = compiled(linear()).fit(
        X, Y, epochs=4, validation_data=(X, Y), validation_freq=freq, verbose=0
    )
    assert len(history.history["val_loss"]) == count
    assert len(history.history["loss"]) == 4


def test_validation_weights_and_steps():
    model = compiled(linear())
    weights = np.linspace(0, 1, 23)
    history = model.fit(X, Y, validation_data=(X, Y, weights), verbose=0).history
    assert history["val_loss"][0] == pytest.approx(
        model.evaluate(X, Y, sample_weight=weights, verbose=0), rel=1e-6
    )
    history = model.fit(
        X, Y, validation_data=(X, Y), validation_steps=1, validation_batch_size=4, verbose=0
    ).history
    assert history["val_loss"][0] == pytest.approx(model.evaluate(X[:4], Y[:4], verbose=0), 1e-6)


def test_every_validation_is_of_the_same_data():
    model = compiled(linear(), optimizer=nbcnn.optimizers.SGD(0.0))
    some = {"validation_steps": 2, "epochs": 3, "verbose": 0}
    expected = model.evaluate(X[:8], Y[:8], verbose=0)
    found = model.fit(X, Y, validation_data=(X, Y), validation_batch_size=4, **some).history
    assert found["val_loss"] == pytest.approx([expected] * 3, rel=1e-6)
    expected = model.evaluate(X[:12], Y[:12], verbose=0)
    found = model.fit(X, Y, validation_data=Numbered(), **some).history
    assert found["val_loss"] == pytest.approx([expected] * 3, rel=1e-6)
    with pytest.warns(UserWarning, match=r"the data ran out after [01] of 2"):
        found = model.fit(X, Y, validation_data=batches(3), **some).history
    assert len(found["val_loss"]) == 2  # in the third epoch there is nothing left
    assert np.isfinite(found["val_loss"]).all()


def test_more_steps_than_there_is_data():
    model = compiled(linear())
    with pytest.warns(UserWarning, match="predict: the data ran out after 3 of 5 batches"):
        assert model.predict(X, batch_size=8, steps=5, verbose=0).shape == (23, 1)
    with pytest.warns(UserWarning, match="evaluate: the data ran out after 3 of 5 batches"):
        loss = model.evaluate(X, Y, batch_size=8, steps=5, verbose=0)
    assert loss == model.evaluate(X, Y, batch_size=8, verbose=0)


def test_unknown_targets_can_be_nan_for_a_loss_of_ones_own():
    class Known(nbcnn.losses.MeanSquaredError):
        def call(self, y_true, y_pred):
            known = nbcnn.ops.logical_not(nbcnn.ops.isnan(y_true))
            return nbcnn.ops.square(nbcnn.ops.where(known, y_true - y_pred, 0.0))

    model, masked = compiled(linear()), compiled(linear(), loss=Known())
    masked.set_weights(model.get_weights())
    targets = Y.copy()
    targets[::3] = np.nan
    weights = np.isfinite(targets[:, 0])
    model.fit(X, Y, sample_weight=weights, shuffle=False, verbose=0)
    masked.fit(X, targets, shuffle=False, verbose=0)
    np.testing.assert_allclose(masked.get_weights()[0], model.get_weights()[0], rtol=1e-5)


def test_frozen_weights_leave_the_state_of_the_others():
    model = nbcnn.Sequential([nbcnn.Input((3,)), layers.Dense(2), layers.Dense(1)])
    optimizer = nbcnn.optimizers.SGD(0.1, momentum=0.9)
    compiled(model, optimizer=optimizer).fit(X, Y, verbose=0)
    model.layers[0].trainable = False
    with pytest.warns(UserWarning, match="trainable has changed; compile"):
        model.fit(X, Y, verbose=0)
    optimizer.learning_rate = 0.0  # from now on momentum shrinks by itself
    momentum = model._runners.store.slot_values()["momentum"]
    model.compile(optimizer, "mse")
    model.train_on_batch(X, Y)
    found = model._runners.store.slot_values()["momentum"]
    for now, then in zip(found, momentum[2:], strict=True):
        np.testing.assert_allclose(now, 0.9 * then, rtol=1e-5)


def test_averages_of_weights_that_are_no_longer_frozen_begin_with_these():
    model = nbcnn.Sequential([nbcnn.Input((3,)), layers.Dense(2), layers.Dense(1)])
    optimizer = nbcnn.optimizers.SGD(0.1, use_ema=True)
    model.layers[0].trainable = False
    compiled(model, optimizer=optimizer).fit(X, Y, verbose=0)
    optimizer.learning_rate = 0.0
    before = model.get_weights()
    model.layers[0].trainable = True
    compiled(model, optimizer=optimizer).fit(X, Y, verbose=0)
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_allclose(now, then, rtol=1e-5)


def test_initial_epoch_and_history():
    model = compiled(linear())
    history = model.fit(X, Y, epochs=5, initial_epoch=3, verbose=0)
    assert history.epoch == [3, 4]
    assert len(history.history["loss"]) == 2
    assert model.history is history
    assert model.fit(X, Y, epochs=0, verbose=0).history == {}


def test_steps_per_epoch_goes_through_the_data():
    model = compiled(linear())
    model.fit(X, Y, batch_size=8, steps_per_epoch=2, epochs=3, verbose=0)
    assert model.optimizer.iterations == 6


def batches(count=None, size=6):
    i = 0
    while count is None or i < count:
        rows = np.arange(i * size, (i + 1) * size) % 23
        yield X[rows], Y[rows]
        i += 1


class Numbered(nbcnn.utils.PyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return X[index * 6 : index * 6 + 6], Y[index * 6 : index * 6 + 6]


def test_batches_from_python_train_like_arrays():
    from_arrays, from_sequence, from_generator = (compiled(linear()) for _ in range(3))
    for model in (from_sequence, from_generator):
        model.set_weights(from_arrays.get_weights())
    from_arrays.fit(X, Y, batch_size=6, shuffle=False, epochs=2, verbose=0)
    from_sequence.fit(Numbered(), shuffle=False, epochs=2, verbose=0, validation_data=Numbered())
    several = (
        pair for _ in range(2) for pair in ((X[i : i + 6], Y[i : i + 6]) for i in range(0, 23, 6))
    )
    from_generator.fit(several, steps_per_epoch=4, epochs=2, verbose=0)
    for model in (from_sequence, from_generator):
        np.testing.assert_array_equal(model.get_weights()[0], from_arrays.get_weights()[0])
    assert from_sequence.evaluate(Numbered(), verbose=0) == pytest.approx(
        from_arrays.evaluate(X, Y, verbose=0), rel=1e-5
    )


def test_a_generator_that_ends_too_early_ends_training_with_a_warning():
    model = compiled(linear())
    with pytest.warns(UserWarning, match="ran out after 1 of 3 batches of epoch 2"):
        history = model.fit(batches(4), steps_per_epoch=3, epochs=5, verbose=0)
    assert len(history.history["loss"]) == 2
    assert model.optimizer.iterations == 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(batches(), steps_per_epoch=3, epochs=2, verbose=0)


class Stop(nbcnn.callbacks.Callback):
    def __init__(self, after, error=None):
        super().__init__()
        self.after, self.error, self.seen = after, error, 0

    def on_train_batch_end(self, batch, logs=None):
        self.seen += 1
        self.weights = self.model.get_weights()
        if self.seen == self.after:
            if self.error is not None:
                raise self.error
            self.model.stop_training = True


def test_stop_training_ends_after_the_batch():
    model, stop = compiled(linear()), Stop(3)
    history = model.fit(X, Y, batch_size=5, epochs=9, callbacks=[stop], verbose=0)
    assert model.optimizer.iterations == stop.seen == 3
    assert len(history.epoch) == 1
    model.fit(X, Y, batch_size=5, epochs=1, verbose=0)
    assert model.optimizer.iterations == 8


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("no")], ids=repr)
def test_an_interrupted_fit_leaves_the_last_whole_step(error):
    model, stop = compiled(linear()), Stop(2, error)
    with pytest.raises(type(error)):
        model.fit(X, Y, batch_size=5, callbacks=[stop], verbose=0)
    assert model.optimizer.iterations == 2
    np.testing.assert_array_equal(model.get_weights()[0], stop.weights[0])
    model.fit(X, Y, verbose=0)
    assert np.isfinite(model.evaluate(X, Y, verbose=0))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers of the system")
@pytest.mark.parametrize("seconds", [0.05, 0.081, 0.113])
def test_ctrl_c_at_any_moment_leaves_a_whole_step(seconds):
    model, twin = compiled(linear(), optimizer="adam"), compiled(linear(), optimizer="adam")
    twin.set_weights(model.get_weights())
    model.test_on_batch(X[:6], Y[:6])
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, Y, batch_size=6, shuffle=False, epochs=10**6, verbose=0)
    finally:
        signal.signal(signal.SIGALRM, before)
    reached = model.get_weights()
    steps = model.optimizer.iterations
    twin.fit(X, Y, batch_size=6, shuffle=False, steps_per_epoch=max(steps, 1), verbose=0)
    same = steps > 0 and all((a == b).all() for a, b in zip(reached, twin.get_weights()))
    if not same and steps > 0:  # the signal came after the step and before it was counted
        twin.train_on_batch(X[(steps % 4) * 6 :][:6], Y[(steps % 4) * 6 :][:6])
        same = all((a == b).all() for a, b in zip(reached, twin.get_weights()))
    assert same or steps == 0
    model.fit(X, Y, verbose=0)
    assert np.isfinite(model.evaluate(X, Y, verbose=0))


def test_bad_data_in_the_middle_leaves_the_last_whole_step():
    def breaking():
        yield X[:5], Y[:5]
        yield X[:5], Y[:4]

    model, twin = compiled(linear()), compiled(linear())
    twin.set_weights(model.get_weights())
    twin.train_on_batch(X[:5], Y[:5])
    with pytest.raises(ValueError, match="x has 5 samples, y has 4"):
        model.fit(breaking(), verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], twin.get_weights()[0])


def test_batch_logs_are_running_means():
    seen = []
    watcher = nbcnn.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append((batch, logs["loss"]))
    )
    history = compiled(linear()).fit(X, Y, batch_size=8, callbacks=watcher, verbose=0)
    assert [batch for batch, _ in seen] == [0, 1, 2]
    assert seen[-1][1] == history.history["loss"][0]


def test_on_batch_methods_report_their_batch():
    model = compiled_classifier()
    first = model.test_on_batch(X[:5], LABELS[:5], return_dict=True)
    model.test_on_batch(X[5:10], LABELS[5:10])
    again = model.test_on_batch(X[:5], LABELS[:5], return_dict=True)
    assert again == pytest.approx(first, rel=1e-6)
    whole = model.evaluate(X[:5], LABELS[:5], verbose=0, return_dict=True)
    assert first == pytest.approx(whole, rel=1e-5)
    assert isinstance(model.train_on_batch(X, LABELS), list)
