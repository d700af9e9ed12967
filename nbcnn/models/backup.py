"""All that training has come to, in one file for the same model: see `BackupAndRestore`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbcnn import random_state
from nbcnn.io import zips
from nbcnn.models import own_files, saving

FORMAT, INDEX = "nbcnn backup", "backup.json"


def write(model: Any, path: Path, progress: Mapping[str, Any]) -> None:
    """Write weights and the states of optimizer and random generators, with how far training is."""
    weights, arrays = own_files.weights_of(model)
    entry, state = own_files.optimizer_of(model)
    index = {
        "progress": dict(progress),
        "weights": weights,
        "optimizer": entry,
        "random_state": random_state.get_state(),
        "seed": model._runners.seed,
    }
    own_files.write(path, INDEX, FORMAT, index, {"weights": arrays, "optimizer": state})


def read(model: Any, path: Path) -> dict[str, Any]:
    """Continue from a file that `write` made of an equal model; returns how far training was.

    Raises
    ------
    ValueError
        For a damaged file, or one of another model; weights and states are then as before.
    """
    with zips.Reader(path) as reader:
        file = own_files.File(reader, INDEX, FORMAT)
        progress = file.index.get("progress")
        if file.version == 1:
            progress = {"epoch": file.index.get("epoch")}
        if not isinstance(progress, dict) or type(progress.get("epoch")) is not int:
            file.refuse("does not say how far training was")
        state = own_files.checked_random_state(file.index.get("random_state"), str(path))
        weights = file.weights(model)
        own_files.restore_training(file, model)
        saving._assign(model, weights)
    if state is not None:
        random_state.set_state(state)
    return progress
