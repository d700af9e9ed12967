"""Callbacks that draw, log for TensorBoard, exchange weights with their averages, back up."""

import json
import struct

import numpy as np
import pytest
from small_models import LABELS, X, Y, compiled, compiled_classifier, linear

import nbcnn
from nbcnn import callbacks, event_file, layers, utils


def averaging(**options):
    return nbcnn.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5, **options)


class Recorder(callbacks.Callback):
    def __init__(self, read):
        super().__init__()
        self.read, self.seen = read, []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(self.read())


# -- moving averages ------------------------------------------------------------------------------


def test_fit_ends_with_the_averages():
    model = compiled(linear(), optimizer=averaging())
    model.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    store = model._runners.store
    np.testing.assert_array_equal(store.slot_values()["average"][0], model.get_weights()[0])


def test_evaluation_is_of_the_averages():
    model = compiled(linear(), optimizer=averaging())
    model.train_on_batch(X, Y)
    model.train_on_batch(X, Y)
    weights = model.get_weights()
    averages = model._runners.store.slot_values()["average"]
    loss = model.evaluate(X, Y, verbose=0, callbacks=[callbacks.SwapEMAWeights()])
    for now, before in zip(model.get_weights(), weights):
        np.testing.assert_array_equal(now, before)
    prediction = model.predict(X, verbose=0, callbacks=[callbacks.SwapEMAWeights()])
    np.testing.assert_allclose(prediction, X @ averages[0] + averages[1], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(model.get_weights()[0], weights[0])
    assert loss == pytest.approx(float(((prediction - Y) ** 2).mean()), rel=1e-5)
    assert loss != pytest.approx(model.evaluate(X, Y, verbose=0), rel=1e-3)


def test_averages_are_in_place_between_epochs():
    model = compiled(linear(), optimizer=averaging())
    swap = callbacks.SwapEMAWeights(swap_on_epoch=True)
    averages = Recorder(lambda: model._runners.store.slot_values()["average"][0])
    weights = Recorder(lambda: model.get_weights()[0])
    twin = compiled(linear(), optimizer=averaging())
    twin.set_weights(model.get_weights())
    twin_average = Recorder(lambda: twin._runners.store.slot_values()["average"][0])
    options = {"batch_size": 8, "epochs": 3, "verbose": 0, "shuffle": False}
    model.fit(X, Y, callbacks=[averages, swap, weights], **options)
    twin.fit(X, Y, callbacks=[twin_average], **options)
    for own, shown, other in zip(averages.seen, weights.seen, twin_average.seen, strict=True):
        np.testing.assert_array_equal(own, other)
        np.testing.assert_array_equal(shown, other)
    np.testing.assert_array_equal(model.get_weights()[0], twin.get_weights()[0])


def test_without_averages_there_is_an_error():
    model = compiled(linear())
    model.train_on_batch(X, Y)
    with pytest.raises(ValueError, match="SwapEMAWeights: there are no moving averages"):
        model.evaluate(X, Y, verbose=0, callbacks=[callbacks.SwapEMAWeights()])


# -- backups --------------------------------------------------------------------------------------


class Interruption(callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


def dropping():
    utils.set_random_seed(3)
    model = nbcnn.Sequential(
        [nbcnn.Input((3,)), layers.Dense(5), layers.Dropout(0.5), layers.Dense(1)]
    )
    return compiled(model, optimizer=nbcnn.optimizers.Adam(0.05))


@pytest.mark.parametrize("damaged", [False, True])
def test_interrupted_training_goes_on_as_if_it_had_not_been(tmp_path, damaged):
    whole = dropping()
    wanted = whole.fit(X, Y, batch_size=8, epochs=5, verbose=0).history["loss"]
    folder = tmp_path / "backup"
    backup = callbacks.BackupAndRestore(folder, double_checkpoint=True)
    model = dropping()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, batch_size=8, epochs=5, verbose=0, callbacks=[backup, Interruption(3)])
    first = 3
    if damaged:
        (folder / "latest.backup").write_bytes(b"half")
        first = 2
    again = dropping()
    utils.set_random_seed(99)
    backup = callbacks.BackupAndRestore(folder, double_checkpoint=True)
    history = again.fit(X, Y, batch_size=8, epochs=5, verbose=0, callbacks=[backup])
    assert history.epoch == list(range(first, 5))
    assert history.history["loss"] == wanted[first:]
    for a, b in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not folder.exists()


def test_backups_after_batches_and_kept_ones(tmp_path):
    options = {"batch_size": 8, "epochs": 2, "verbose": 0}
    keep = callbacks.BackupAndRestore(tmp_path, save_freq=2, delete_checkpoint=False)
    model = compiled(linear())
    model.fit(X, Y, callbacks=[keep], **options)  # steps 2, 4, 6 of 3 an epoch
    history = compiled(linear()).fit(X, Y, callbacks=[keep], **options)
    assert history.epoch == [1]
    with pytest.raises(ValueError, match="the model has 4"):
        dropping().fit(X, Y, callbacks=[keep], **options)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"backup_dir": ""}, "backup_dir must be a folder"),
        ({"backup_dir": "a", "save_freq": 0}, "save_freq must be 'epoch', False or a positive"),
    ],
)
def test_wrong_arguments_of_backups(arguments, message):
    with pytest.raises(ValueError, match=message):
        callbacks.BackupAndRestore(**arguments)


# -- TensorBoard ----------------------------------------------------------------------------------


def records(path):
    """The events of a file, as bytes, with their checksums verified."""
    data, found = path.read_bytes(), []
    while data:
        length, mark = struct.unpack("<QI", data[:12])
        assert mark == event_file.checksum(data[:8])
        event, (end,) = data[12 : 12 + length], struct.unpack("<I", data[12 + length : 16 + length])
        assert end == event_file.checksum(event)
        found.append(event)
        data = data[16 + length :]
    return found


def fields(data):
    """Pairs of a number and a value of a protocol buffer."""

    def varint(at):
        value = shift = 0
        while True:
            value |= (data[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if data[at - 1] < 0x80:
                return value, at

    at = 0
    while at < len(data):
        key, at = varint(at)
        if key & 7 == 0:
            value, at = varint(at)
        elif key & 7 == 2:
            length, at = varint(at)
            value, at = data[at : at + length], at + length
        else:
            size = 8 if key & 7 == 1 else 4
            value, at = (
                struct.unpack("<d" if size == 8 else "<f", data[at : at + size])[0],
                at + size,
            )
        yield key >> 3, value


def logged(folder):
    """Scalars by name: [(step, value)], and histograms by name: their fields."""
    scalars, histograms = {}, {}
    (path,) = folder.glob("events.out.tfevents.*")
    first, *events = records(path)
    assert dict(fields(first))[3] == b"brain.Event:2"
    for event in map(dict, map(fields, events)):
        value = dict(fields(dict(fields(event[5]))[1]))
        if 2 in value:
            scalars.setdefault(value[1].decode(), []).append((event[2], value[2]))
        else:
            histograms[value[1].decode()] = dict(fields(value[5]))
    return scalars, histograms


def test_checksum():
    assert (
        event_file.checksum(b"123456789")
        == ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) % 2**32
    )


def test_results_of_epochs_and_batches_are_logged(tmp_path):
    model = compiled_classifier()
    board = callbacks.TensorBoard(tmp_path, 1, update_freq=2, write_steps_per_second=True)
    history = model.fit(
        X, LABELS, batch_size=8, epochs=2, verbose=0, validation_data=(X, LABELS), callbacks=[board]
    ).history
    train, weights = logged(tmp_path / "train")
    for name in ("loss", "accuracy"):
        assert train[f"epoch_{name}"] == [
            (i, pytest.approx(v)) for i, v in enumerate(history[name])
        ]
        validation, _ = logged(tmp_path / "validation")
        wanted = [(i, pytest.approx(v)) for i, v in enumerate(history[f"val_{name}"])]
        assert validation[f"epoch_{name}"] == wanted
        steps = [step for step, _ in validation[f"evaluation_{name}_vs_iterations"]]
        assert steps == [3, 6]
    assert [step for step, _ in train["batch_loss"]] == [2, 4, 6]
    assert train["epoch_learning_rate"] == [(i, pytest.approx(0.1)) for i in (0, 1)]
    assert len(train["batch_steps_per_second"]) == 6
    kernel = model.get_weights()[0]
    found = weights[f"{model.weights[0].path}/histogram"]
    assert (found[3], found[1], found[2]) == (kernel.size, kernel.min(), kernel.max())
    assert np.frombuffer(found[7]).sum() == kernel.size
    assert len(np.frombuffer(found[6])) == len(np.frombuffer(found[7]))


def test_the_reader_of_tensorboard_reads_it(tmp_path):
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    file = event_file.EventFile(tmp_path)
    file.add(event_file.scalar("loss", 0.5), 7)
    file.add(event_file.histogram("w", np.arange(10.0)), 300)
    file.close()
    _, scalar, histogram = loader.LegacyEventFileLoader(str(file.path)).Load()
    assert (scalar.step, scalar.summary.value[0].tag, scalar.summary.value[0].simple_value) == (
        7, "loss", 0.5,
    )  # fmt: skip
    assert (histogram.step, histogram.summary.value[0].histo.num) == (300, 10)


def test_batches_cost_nothing_where_only_epochs_are_logged(tmp_path):
    each = callbacks.CallbackList([callbacks.TensorBoard(tmp_path)])
    assert not each.wants("on_train_batch_end")
    each = callbacks.CallbackList([callbacks.TensorBoard(tmp_path, update_freq="batch")])
    assert each.wants("on_train_batch_end")


def test_what_tensorboard_cannot_do_is_refused():
    with pytest.raises(ValueError, match="profile_batch must be 0 or False: it is not supported"):
        callbacks.TensorBoard(profile_batch=2)
    with pytest.raises(ValueError, match="update_freq must be 'epoch', 'batch' or a positive"):
        callbacks.TensorBoard(update_freq="step")


# -- bars -----------------------------------------------------------------------------------------


def test_progbar_logger_draws_in_the_place_of_fit(capsys):
    model = compiled(linear())
    bar = callbacks.ProgbarLogger()
    history = model.fit(X, Y, batch_size=8, epochs=2, callbacks=[bar]).history
    lines = capsys.readouterr().out.splitlines()
    assert [lines[0], lines[2]] == ["Epoch 1/2", "Epoch 2/2"]
    assert len(lines) == 4
    assert lines[1].startswith("3/3 [====================] ")
    assert lines[3].endswith(f"loss: {history['loss'][1]:.4f}")
    model.fit(X, Y, callbacks=[bar], verbose=0)
    assert capsys.readouterr().out == ""
    model.predict(X, batch_size=8, callbacks=[bar])
    assert capsys.readouterr().out.startswith("3/3 ")


def test_progbar_averages(capsys):
    bar = utils.Progbar(4, width=4, stateful_metrics=["lr"], unit_name="file")
    bar.add(1, [("loss", 1.0), ("lr", 1.0)])
    bar.add(3, [("loss", 2.0), ("lr", 0.5)])
    text = capsys.readouterr().out
    assert text.startswith("4/4 [====] 0s ")
    assert text.endswith("/file - loss: 1.7500 - lr: 0.5000\n")
    bar = utils.Progbar(None, verbose=2)
    bar.update(7, [("loss", 1.0)])
    assert capsys.readouterr().out == ""
    bar.update(8, [("loss", 1.0)], finalize=True)
    assert capsys.readouterr().out.startswith("8 ")
    with pytest.raises(ValueError, match="not both"):
        utils.Progbar(4, stateful_metrics=[], stateless_metrics=[])


def test_state_of_callbacks_is_plain(tmp_path):
    for callback in (callbacks.TensorBoard(tmp_path), callbacks.BackupAndRestore(tmp_path)):
        json.dumps(callback.get_config())
