"""Callbacks driven by a stand-in model, without training."""

import types

import numpy as np
import pytest

from nbcnn import callbacks, metrics, optimizers
from nbcnn.callback_base import HOOKS, overrides


class Model:
    """Enough of a model: weights that count epochs, an optimizer, and a record of what was
    saved.
    """

    def __init__(self):
        self.stop_training = False
        self.optimizer = optimizers.SGD(0.1)
        self.metrics = [
            metrics.SparseCategoricalAccuracy(name="accuracy"),
            metrics.MeanAbsoluteError(name="mae"),
            types.SimpleNamespace(name="odd"),
        ]
        self.epoch = -1
        self.saved = []
        self.restored = None

    def get_weights(self):
        return [self.epoch]

    def set_weights(self, weights):
        self.restored = weights[0]

    def save(self, path, overwrite):
        self.saved.append(path)

    def save_weights(self, path, overwrite):
        self.saved.append("weights " + path)


def train(callback, values, monitor="val_loss", batches=0):
    """One epoch for each value of the monitored result, until stopped; gives the model and the
    epochs run.
    """
    model = Model()
    calls = callbacks.CallbackList([callback], add_history=True, model=model, epochs=len(values))
    calls.on_train_begin()
    for epoch, value in enumerate(values):
        model.epoch = epoch
        calls.on_epoch_begin(epoch)
        for batch in range(batches):
            calls.on_train_batch_end(batch, {"loss": value})
        calls.on_epoch_end(epoch, {"loss": 1.0} if value is None else {"loss": 1.0, monitor: value})
        if model.stop_training:
            break
    calls.on_train_end()
    return model


FALL_AND_RISE = [5.0, 3.0, 2.0, 2.5, 2.4, 2.3, 2.2]


@pytest.mark.parametrize(
    "arguments, values, last, restored",
    [
        ({}, FALL_AND_RISE, 3, None),
        ({"patience": 2}, FALL_AND_RISE, 4, None),
        ({"patience": 2, "restore_best_weights": True}, FALL_AND_RISE, 4, 2),
        ({"restore_best_weights": True}, [3.0, 2.0, 1.0], 2, 2),
        ({"min_delta": 1.5}, FALL_AND_RISE, 2, None),
        ({"mode": "max"}, [1.0, 2.0, 1.5], 2, None),
        ({"start_from_epoch": 4, "patience": 1}, [1.0, 2.0, 3.0, 4.0, 3.0, 3.5], 5, None),
        ({"baseline": 1.0, "patience": 2}, [3.0, 2.5, 2.4, 2.6, 2.0], 3, None),
    ],
    ids=str,
)
def test_early_stopping(arguments, values, last, restored):
    stopping = callbacks.EarlyStopping(**arguments)
    model = train(stopping, values)
    assert model.epoch == last
    assert model.restored == restored


@pytest.mark.parametrize(
    "monitor, values, last",
    [
        ("val_accuracy", [0.5, 0.6, 0.5], 2),
        ("val_mae", [0.5, 0.4, 0.45], 2),
        ("out_accuracy", [0.5, 0.6, 0.5], 2),
        ("out_loss", [0.5, 0.4, 0.45], 2),
    ],
)
def test_direction_comes_from_the_metric(monitor, values, last):
    assert train(callbacks.EarlyStopping(monitor), values, monitor).epoch == last


def test_unknown_direction_asks_for_the_mode():
    with pytest.raises(ValueError, match="'odd' should rise or fall; pass mode='max' or"):
        train(callbacks.EarlyStopping("odd"), [1.0], "odd")


def test_missing_result_warns_and_names_what_there_is():
    with pytest.warns(
        UserWarning, match="EarlyStopping: 'val_loss' is not available; there is los"
    ):
        train(callbacks.EarlyStopping(), [None])


def test_unknown_mode_warns_and_becomes_auto():
    with pytest.warns(UserWarning, match="mode 'lowest' is unknown"):
        assert callbacks.EarlyStopping(mode="lowest").mode == "auto"


def test_reduce_on_plateau_waits_cools_down_and_keeps_a_floor():
    reduce = callbacks.ReduceLROnPlateau(factor=0.5, patience=2, cooldown=1, min_lr=0.03)
    model = train(reduce, [1.0] * 12)
    rates = model.history.history["learning_rate"]
    np.testing.assert_allclose(rates, [0.1] * 3 + [0.05] * 2 + [0.03] * 7)


def test_checkpoint_saves_each_epoch_under_a_formatted_name(tmp_path):
    path = tmp_path / "new" / "{epoch:02d}-{val_loss:.1f}.nbcnn"
    model = train(callbacks.ModelCheckpoint(path), [2.0, 1.0])
    assert model.saved == [
        str(tmp_path / "new" / name) for name in ("01-2.0.nbcnn", "02-1.0.nbcnn")
    ]
    assert (tmp_path / "new").is_dir()


def test_checkpoint_saves_only_the_best(tmp_path, capsys):
    checkpoint = callbacks.ModelCheckpoint(
        tmp_path / "{epoch}.weights.nbcnn", save_best_only=True, save_weights_only=True, verbose=1
    )
    model = train(checkpoint, [2.0, 3.0, float("nan"), 1.0])
    assert [path.rpartition("/")[2] for path in model.saved] == [
        "1.weights.nbcnn",
        "4.weights.nbcnn",
    ]
    assert model.saved[0].startswith("weights ")
    assert "Epoch 2: val_loss did not improve from 2.00000" in capsys.readouterr().out


def test_checkpoint_with_a_threshold_and_every_few_batches(tmp_path):
    checkpoint = callbacks.ModelCheckpoint(
        tmp_path / "m.nbcnn", save_best_only=True, initial_value_threshold=1.5
    )
    assert len(train(checkpoint, [2.0, 1.0]).saved) == 1
    every_three = callbacks.ModelCheckpoint(tmp_path / "{epoch}-{batch}.nbcnn", save_freq=3)
    saved = train(every_three, [1.0, 1.0], batches=4).saved
    assert [path.rpartition("/")[2] for path in saved] == ["1-3.nbcnn", "2-2.nbcnn"]


def test_checkpoint_errors(tmp_path):
    with pytest.raises(KeyError, match="names 'acc', which is unknown; there is epoch, loss"):
        train(callbacks.ModelCheckpoint("{acc}.nbcnn"), [1.0])
    (tmp_path / "m.nbcnn").mkdir()
    with pytest.raises(IsADirectoryError, match="filepath is a folder"):
        train(callbacks.ModelCheckpoint(tmp_path / "m.nbcnn"), [1.0])
    with pytest.raises(ValueError, match=r"filepath must end in \.weights\.h5 or \.weights\.nbcnn"):
        callbacks.ModelCheckpoint("m.nbcnn.h5", save_weights_only=True)
    with pytest.raises(ValueError, match="save_freq must be positive, got 0"):
        callbacks.ModelCheckpoint("m.nbcnn", save_freq=0)


@pytest.mark.parametrize(
    "schedule, rates",
    [
        (lambda epoch: 0.5**epoch, [1.0, 0.5, 0.25]),
        (lambda epoch, rate: rate / 2, [0.05, 0.025, 0.0125]),
        (np.float32, [0.0, 1.0, 2.0]),
    ],
)
def test_learning_rate_scheduler(schedule, rates):
    model = train(callbacks.LearningRateScheduler(schedule), [1.0] * 3)
    np.testing.assert_allclose(model.history.history["learning_rate"], rates)


def test_learning_rate_scheduler_refuses_other_values():
    with pytest.raises(ValueError, match="schedule must return a number, got None"):
        train(callbacks.LearningRateScheduler(lambda epoch: None), [1.0])


def test_lambda_callback():
    seen = []
    callback = callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append((epoch, logs["loss"])),
        on_test_end=lambda logs: None,
    )
    train(callback, [1.0, 1.0])
    assert seen == [(0, 1.0), (1, 1.0)]
    with pytest.raises(
        ValueError, match="unknown hook 'on_epoch_ends'; did you mean 'on_epoch_end'"
    ):
        callbacks.LambdaCallback(on_epoch_ends=print)


def test_terminate_on_nan(capsys):
    model = train(callbacks.TerminateOnNaN(), [1.0, float("nan"), 1.0], batches=1)
    assert model.epoch == 1
    assert "Batch 0: the loss is nan, training ends" in capsys.readouterr().out
    with pytest.raises(RuntimeError, match="the loss is inf at batch 0"):
        train(callbacks.TerminateOnNaN(raise_error=True), [float("inf")], batches=1)


def test_csv_logger_writes_and_appends(tmp_path):
    path = tmp_path / "log.csv"
    train(callbacks.CSVLogger(path), [2.0, 1.0], "acc")
    train(callbacks.CSVLogger(path, append=True), [3.0], "acc")
    assert path.read_text().splitlines() == [
        "epoch,acc,loss,val_acc,val_loss",
        "0,2.0,1.0,NA,NA",
        "1,1.0,1.0,NA,NA",
        "0,3.0,1.0,NA,NA",
    ]
    train(callbacks.CSVLogger(path, ";"), [3.0])
    assert path.read_text() == "epoch;loss;val_loss\n0;1.0;3.0\n"


def test_history_records_what_other_callbacks_add():
    class Adds(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["mine"] = epoch

    model = train(Adds(), [2.0, 1.0])
    assert model.history.epoch == [0, 1]
    assert model.history.history == {"loss": [1.0, 1.0], "val_loss": [2.0, 1.0], "mine": [0, 1]}


class PerBatch(callbacks.Callback):
    def __init__(self):  # as in Keras, a user's callback need not call super().__init__()
        self.seen = []

    def on_batch_end(self, batch, logs=None):
        self.seen.append(batch)


def test_list_calls_only_hooks_that_somebody_overrides():
    per_batch = PerBatch()
    calls = callbacks.CallbackList([[callbacks.History()], (per_batch,)], model=Model())
    assert calls.wants("on_train_batch_end")
    assert not calls.wants("on_train_batch_begin")
    assert not calls.wants("on_test_batch_end")
    calls.on_train_batch_end(3, {"loss": 1.0})
    assert per_batch.seen == [3]
    assert per_batch.model is calls.model
    assert not overrides(callbacks.ModelCheckpoint("m.nbcnn"), "on_train_batch_end")
    assert overrides(callbacks.ModelCheckpoint("m.nbcnn", save_freq=2), "on_train_batch_end")


def test_list_keeps_a_history_that_was_given():
    history = callbacks.History()
    assert callbacks.CallbackList(history, add_history=True, model=Model()).callbacks == [history]
    with pytest.raises(ValueError, match="expected instances of Callback, got 3"):
        callbacks.CallbackList([3])
    with pytest.raises(ValueError, match="expected instances of Callback, got <class"):
        callbacks.CallbackList([callbacks.EarlyStopping])


def test_hooks_are_those_of_keras():
    kinds = [
        f"on_{mode}{batch}_{when}"
        for mode in ("train", "test", "predict")
        for batch in ("", "_batch")
        for when in ("begin", "end")
    ]
    extra = [f"on_{what}_{when}" for what in ("epoch", "batch") for when in ("begin", "end")]
    assert sorted(HOOKS) == sorted(kinds + extra)
