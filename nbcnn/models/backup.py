"""All that training has come to, in one file for the same model: see `BackupAndRestore`."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from nbcnn import random_state
from nbcnn.models import archive, saving
from nbcnn.version import __version__

FORMAT, INDEX = "nbcnn backup", "backup.json"


def write(model: Any, path: Path, epoch: int) -> None:
    """Write weights and the states of optimizer and random generators, with the next epoch."""
    arrays: dict[str, np.ndarray] = {}
    index = {
        "format": FORMAT,
        "format_version": saving.FORMAT_VERSION,
        "nbcnn_version": __version__,
        "epoch": epoch,
        "weights": saving.index_weights(model, arrays),
        "optimizer": saving.index_optimizer(model, arrays),
        "random_state": random_state.get_state(),
        "seed": model._runners.seed,
    }
    archive.write(path, {INDEX: json.dumps(index), **arrays})


def read(model: Any, path: Path) -> int:
    """Continue from a file that `write` made of an equal model; returns the next epoch.

    Raises
    ------
    ValueError
        For a damaged file, or one of another model; weights and states are then as before.
    """
    with archive.Reader(path) as reader:
        index = saving.read_index(reader, INDEX, FORMAT)
        weights = saving.read_weights(reader, index, model)
        saving.restore_optimizer(reader, index, model)
        saving.assign(model, weights)
    random_state.set_state(index["random_state"])
    return int(index["epoch"])
