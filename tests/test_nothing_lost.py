"""Backups and checkpoints: what a crash, a full disk or a read-only folder leaves is whole."""

import errno
import os

import kill_trainer
import numpy as np
import pytest

import nbcnn
from nbcnn import callbacks
from nbcnn.io import files


@pytest.fixture(autouse=True)
def on_the_cpu():
    with nbcnn.device("cpu"):
        yield


class Interruption(callbacks.Callback):
    """Ends training after a batch, counted over all epochs."""

    def __init__(self, batch):
        super().__init__()
        self.left = batch

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


def fitted(folder, batch=None, frequency=1, **options):
    model = kill_trainer.model_of()
    x, y = kill_trainer.data()
    used = [callbacks.BackupAndRestore(folder, save_freq=frequency)]
    if batch is not None:
        used.append(Interruption(batch))
    arguments = {"batch_size": 8, "epochs": 3, "verbose": 0, **options}
    try:
        history = model.fit(x, y, callbacks=used, **arguments).history
    except KeyboardInterrupt:
        return None
    return history, model.get_weights(), model.optimizer.step_count


OPTIONS = {
    "samples shuffled": {},
    "batches shuffled": {"shuffle": "batch"},
    "passes longer than epochs": {"steps_per_epoch": 7},
    "validated by a part": {"validation_split": 0.3, "validation_steps": 2,
                            "validation_batch_size": 4},
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("batch", [0, 4, 6, 8, 15])
def test_an_interrupted_epoch_goes_on(name, batch, tmp_path):
    """At 0, in the middle, at an epoch's last batch and in the second epoch."""
    options = OPTIONS[name]
    history, weights, steps = fitted(tmp_path / "whole", **options)
    assert fitted(tmp_path / "parts", batch, **options) is None
    nbcnn.utils.set_random_seed(99)
    found, resumed, resumed_steps = fitted(tmp_path / "parts", **options)
    assert resumed_steps == steps
    for a, b in zip(resumed, weights, strict=True):
        np.testing.assert_array_equal(a, b)
    for key, values in found.items():
        assert values == history[key][-len(values) :], key


class OwnStep(nbcnn.Model):
    """Says itself what a step is."""

    def __init__(self):
        super().__init__()
        self.hidden, self.drop = nbcnn.layers.Dense(4), nbcnn.layers.Dropout(0.3)
        self.out, self.size = nbcnn.layers.Dense(1), nbcnn.metrics.Mean(name="size")

    def call(self, x, training=None):
        return self.out(self.drop(self.hidden(x), training=training))

    def train_step(self, data):
        logs = super().train_step(data)
        self.size.update_state(nbcnn.ops.abs(data[0]))
        return {**logs, "size": self.size.result()}


def test_an_interrupted_epoch_of_steps_of_ones_own_goes_on(tmp_path, monkeypatch):
    def model_of():
        nbcnn.utils.set_random_seed(3)
        model = OwnStep()
        model.compile(nbcnn.optimizers.Adam(0.01), "mse", metrics=["mae"])
        return model

    monkeypatch.setattr(kill_trainer, "model_of", model_of)
    history, weights, steps = fitted(tmp_path / "whole")
    assert fitted(tmp_path / "parts", 4) is None
    found, resumed, resumed_steps = fitted(tmp_path / "parts")
    assert resumed_steps == steps
    for a, b in zip(resumed, weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert found == history


def watched(folder, interruption=None, frequency=2):
    """Training with callbacks that count: what it ends with."""
    model, (x, y) = kill_trainer.model_of(), kill_trainer.data()
    optimizer = nbcnn.optimizers.SGD(0.05, use_ema=True, ema_momentum=0.5)
    model.compile(optimizer, model.loss)
    used = [
        callbacks.BackupAndRestore(folder / "backup", save_freq=frequency),
        callbacks.EarlyStopping("loss", 9.0, patience=4, restore_best_weights=True),
        callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=9.0, cooldown=1),
        callbacks.ModelCheckpoint(folder / "best.nbcnn", "loss", save_best_only=True),
        callbacks.CSVLogger(folder / "log.csv"),
        callbacks.SwapEMAWeights(swap_on_epoch=True),
    ]
    if interruption is not None:
        used.append(Interruption(interruption))
    try:
        model.fit(x, y, batch_size=8, epochs=7, verbose=0, callbacks=used)
    except KeyboardInterrupt:
        return None
    best = nbcnn.saving.load_model(folder / "best.nbcnn")
    lines = (folder / "log.csv").read_text().splitlines()
    return [*model.get_weights(), *best.get_weights()], lines, float(optimizer.learning_rate)


@pytest.mark.parametrize("frequency", [2, "epoch"])
def test_other_callbacks_go_on_too(frequency, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    weights, lines, rate = watched(whole)
    batches = len(kill_trainer.data()[0]) // 8
    for batch in (batches + 1, 2 * batches + 2):  # in the second epoch, and two later
        assert watched(parts, batch, frequency) is None
    found, found_lines, found_rate = watched(parts, None, frequency)
    assert found_rate == rate < 0.05
    assert found_lines == lines
    assert 3 < len(lines) < 8  # stopped early
    for a, b in zip(found, weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_killed_trainer_comes_to_the_same_weights(tmp_path):
    seen = kill_trainer.campaign(5, 1, tmp_path)
    assert seen["kills"] == 5
    assert seen["trainings finished"] >= 1


MODELS = ("keras", "nbcnn")
ENDINGS = (*MODELS, "weights.h5", "weights.json", "weights.nbcnn", "safetensors", "npz")


def saving(model, ending):
    """What saves a model to a file of that ending, and what reads it."""
    if ending in MODELS:
        return model.save, nbcnn.saving.load_model
    if ending == "weights.json":
        return lambda path: model.save_weights(path, max_shard_size=1e-6), model.load_weights
    return model.save_weights, model.load_weights


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_full_disk_leaves_the_old_file(ending, tmp_path, monkeypatch):
    """At every write of a save the disk is full once."""
    model = kill_trainer.model_of()
    path = tmp_path / f"m.{ending}"
    save, load = saving(model, ending)
    save(path)
    old = contents(tmp_path)
    model.set_weights([w + 1 for w in model.get_weights()])
    done = False
    room = 0
    while not done:
        with monkeypatch.context() as patch:
            patch.setattr(files, "open", lambda *a, room=room: Small(*a, room), raising=False)
            error = failure(save, path)
        done = error is None
        if not done:
            assert error.errno == errno.ENOSPC
            assert contents(tmp_path) == old
        room += 499
    assert room > 1000
    assert contents(tmp_path).keys() == old.keys()
    assert contents(tmp_path) != old
    load(path)


def failure(function, *arguments):
    """The OSError that a call ends with, or None."""
    try:
        function(*arguments)
    except OSError as error:
        return error
    return None


class Small:
    """A file on a disk with room for some bytes."""

    def __init__(self, path, mode, room):
        self.file, self.room = open(path, mode), room  # noqa: SIM115

    def write(self, data):
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(data)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_a_full_disk_during_a_backup_leaves_the_one_before(tmp_path, monkeypatch):
    whole = fitted(tmp_path / "whole")
    opened = files.replacing

    def failing(path):
        failing.count += 1
        if failing.count > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(path)

    failing.count = 0
    with monkeypatch.context() as patch:
        patch.setattr("nbcnn.io.zips.replacing", failing)
        with pytest.raises(OSError, match="No space"):
            fitted(tmp_path / "parts")
    _, weights, _ = fitted(tmp_path / "parts")
    for a, b in zip(weights, whole[1], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(os.name == "nt", reason="folders are not read-only there")
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_read_only_folder(ending, tmp_path, monkeypatch):
    model = kill_trainer.model_of()
    path = tmp_path / f"m.{ending}"
    save, load = saving(model, ending)
    save(path)
    old = contents(tmp_path)
    tmp_path.chmod(0o500)
    try:
        if os.geteuid() == 0:  # whom permissions do not stop: the system refuses instead

            def refuse(*arguments):
                raise PermissionError(errno.EROFS, "Read-only file system")

            monkeypatch.setattr(files, "open", refuse, raising=False)
        with pytest.raises(OSError, match=r"Permission denied|Read-only"):
            save(path)
        monkeypatch.undo()
        assert contents(tmp_path) == old
        load(path)
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("ending", ["keras", "weights.h5", "weights.nbcnn", "nbcnn"])
def test_checkpoints_of_the_best_epoch(ending, tmp_path):
    """What is saved is the model as it was then."""
    model = kill_trainer.model_of()
    x, y = kill_trainer.data()
    whole = ending in MODELS
    kept = callbacks.ModelCheckpoint(
        tmp_path / f"{{epoch}}-{{loss:.2f}}.{ending}",
        monitor="loss",
        save_best_only=True,
        save_weights_only=not whole,
    )
    seen = {}
    note = callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.update({epoch: model.get_weights()})
    )
    losses = model.fit(x, y, 8, 3, verbose=0, callbacks=[note, kept]).history["loss"]
    best = [i for i, loss in enumerate(losses) if loss == min(losses[: i + 1])]
    names = {f"{i + 1}-{losses[i]:.2f}.{ending}" for i in best}
    assert {path.name for path in tmp_path.iterdir()} == names
    for i in best:
        path = tmp_path / f"{i + 1}-{losses[i]:.2f}.{ending}"
        again = nbcnn.saving.load_model(path) if whole else kill_trainer.model_of()
        if not whole:
            again.load_weights(path)
        for a, b in zip(again.get_weights(), seen[i], strict=True):
            np.testing.assert_array_equal(a, b)


def test_names_reach_the_disk(tmp_path, monkeypatch):
    """The file first, then its name, then the folder."""
    seen = []
    replace, sync = os.replace, os.fsync
    monkeypatch.setattr(files.os, "replace", lambda *a: (seen.append("replace"), replace(*a)))
    monkeypatch.setattr(files.os, "fsync", lambda n: (seen.append("fsync"), sync(n)))
    kill_trainer.model_of().save(tmp_path / "m.nbcnn")
    assert seen in (["fsync", "replace", "fsync"], ["fsync", "replace"])
