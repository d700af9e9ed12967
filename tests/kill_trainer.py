"""Kills a process that trains, again and again, and looks whether anything was lost.

    python tests/kill_trainer.py [--kills 100] [--report tests/reports/kills.md]

A trainer saves backups after every second batch and checkpoints after every epoch. It is ended by
SIGKILL at a random moment and started again, until it has come to its end; its weights then have to
be those of a training that nobody disturbed, bit for bit. After every kill the latest checkpoint
and the latest backup have to load. Half of the kills wait until a file is being written; one in
ten does not wait until training goes on.
"""

import argparse
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import nbcnn
from nbcnn import callbacks, layers
from nbcnn.io import files

EPOCHS, SAMPLES, BATCH = 6, 70, 8


def model_of():
    """Everything that has a state: dropout, batch statistics, momentum, averages, a schedule."""
    nbcnn.utils.set_random_seed(3)
    model = nbcnn.Sequential(
        [
            nbcnn.Input((6,)),
            layers.Dense(32, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(1),
        ]
    )
    schedule = nbcnn.optimizers.schedules.CosineDecay(0.05, 60)
    optimizer = nbcnn.optimizers.Adam(schedule, use_ema=True, gradient_accumulation_steps=2)
    metrics = ["mae", nbcnn.metrics.R2Score()]
    model.compile(optimizer, "mse", metrics=metrics)
    return model


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(SAMPLES, 6)).astype("float32")
    return x, (x[:, :1] - x[:, 1:2] ** 2).astype("float32")


class Pause(callbacks.Callback):
    """Makes room for a kill between batches, and says when there is the first."""

    def __init__(self, started):
        super().__init__()
        self.started = started

    def on_train_batch_end(self, batch, logs=None):
        self.started.touch()
        time.sleep(0.002)


class Losses(callbacks.Callback):
    def __init__(self, path):
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch, logs=None):
        with open(self.path, "a") as file:
            print(epoch, repr(float(logs["loss"])), repr(float(logs["r2_score"])), file=file)


def train(folder, pauses=True):
    """One trainer, from wherever the files are; leaves its weights at the end."""
    folder = Path(folder)
    model = model_of()
    backup = callbacks.BackupAndRestore(folder / "backup", save_freq=2, double_checkpoint=True)
    checkpoint = callbacks.ModelCheckpoint(folder / "last.nbcnn")
    pause = [Pause(folder / "started")] if pauses else []
    used = [Losses(folder / "losses"), checkpoint, *pause, backup]
    x, y = data()
    model.fit(x, y, BATCH, EPOCHS, verbose=0, callbacks=used)
    model.save(folder / "end.keras")
    with files.replacing(folder / "end.npz") as file:
        np.savez(file, *model.get_weights())


def last_losses(folder):
    """The results of each epoch, which may have come to its end more than once."""
    lines = (folder / "losses").read_text().splitlines()
    return {line.split()[0]: line for line in lines if len(line.split()) == 3}


def check(folder):
    """What there is loads; returns how many files that were."""
    checked = 0
    if (folder / "last.nbcnn").exists():
        nbcnn.saving.load_model(folder / "last.nbcnn")
        checked += 1
    backups = [folder / "backup" / name for name in ("latest.backup", "previous.backup")]
    there = [path for path in backups if path.exists()]
    if there:
        probe = model_of()
        probe.fit(*(a[:2] for a in data()), epochs=0, verbose=0)
        from nbcnn.models import backup

        backup.read(probe, there[0])
        checked += 1
    return checked


def killed(folder, rng, while_writing):
    """Start a trainer and kill it; whether it was killed before its end."""
    (folder / "started").unlink(missing_ok=True)
    process = subprocess.Popen([sys.executable, __file__, "--train", str(folder)])
    early = rng.random() < 0.1
    try:
        deadline = time.time() + 600
        while not early and not (folder / "started").exists() and process.poll() is None:
            if time.time() > deadline:
                raise TimeoutError("the trainer does not start")
            time.sleep(0.005)
        until = time.time() + rng.uniform(0.0, 0.5)
        while time.time() < until and process.poll() is None:
            time.sleep(0.0005)
        while while_writing and process.poll() is None and not any(folder.rglob("*.tmp")):
            time.sleep(0.0005)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
    finally:
        process.wait()
    return process.returncode == -signal.SIGKILL


def campaign(kills, seed, folder):
    """Kill so often; returns what was seen. AssertionError where something was lost."""
    rng = random.Random(seed)
    folder = Path(folder)
    whole = folder / "undisturbed"
    whole.mkdir()
    train(whole, pauses=False)
    seen = {"kills": 0, "files loaded": 0, "trainings finished": 0, "with a file half written": 0}
    number = 0
    while seen["kills"] < kills:
        number += 1
        place = folder / str(number)
        place.mkdir()
        while not (place / "end.npz").exists():
            if seen["kills"] >= kills:
                train(place, pauses=False)
            elif killed(place, rng, while_writing=rng.random() < 0.5):
                seen["kills"] += 1
                seen["with a file half written"] += any(place.rglob("*.tmp"))
            seen["files loaded"] += check(place)
        seen["trainings finished"] += 1
        with np.load(whole / "end.npz") as wanted, np.load(place / "end.npz") as found:
            for name in wanted.files:
                np.testing.assert_array_equal(found[name], wanted[name])
        assert last_losses(place) == last_losses(whole)
    return seen


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report")
    parser.add_argument("--train", help=argparse.SUPPRESS)
    options = parser.parse_args()
    nbcnn.set_device("cpu")
    if options.train:
        train(options.train)
        return
    start = time.time()
    with tempfile.TemporaryDirectory() as folder:
        seen = campaign(options.kills, options.seed, folder)
    lines = [
        "# Trainers killed by SIGKILL",
        "",
        f"`python tests/kill_trainer.py --kills {options.kills} --seed {options.seed}`, "
        f"nbcnn {nbcnn.__version__}, Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"{time.time() - start:.0f} s.",
        "",
        "Every training came to the weights, and to the loss and R² of every epoch, of the one "
        "that was not disturbed, bit for bit; every file that a kill left under its name loaded.",
        "",
        *(f"- {name}: {count}" for name, count in seen.items()),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.report:
        Path(options.report).write_text(text)


if __name__ == "__main__":
    main()
