"""All that training has come to, in one file for the same model: see `BackupAndRestore`."""

from pathlib import Path
from typing import Any

from nbcnn import random_state
from nbcnn.io import zips
from nbcnn.models import own_files, own_variables, rebuilding, resuming, saving

FORMAT, INDEX = "nbcnn backup", "backup.json"


def write(model: Any, path: Path, epoch: int, step: int) -> None:
    """Write weights and the states of optimizer, metrics, callbacks, data and random generators,
    after `step` batches of an epoch.
    """
    weights, arrays = own_files.weights_of(model)
    entry, state = own_files.optimizer_of(model)
    progress, metrics = resuming.progress_of(model, epoch, step)
    entries, counted = resuming.counted(model._fit_in_progress.callbacks)
    index = {
        "progress": progress,
        "callbacks": entries,
        "inputs": rebuilding.inputs_of(model),
        "weights": weights,
        "optimizer": entry,
        "random_state": random_state.get_state(),
        "seed": model._runners.seed,
    }
    groups = {"weights": arrays, "optimizer": state, "metrics": metrics, "callbacks": counted}
    own_files.write(path, INDEX, FORMAT, model, index, groups)


def read(model: Any, path: Path) -> int:
    """Continue from a file that `write` made of an equal model; returns the epoch to go on with.

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
        if not isinstance(progress, dict) or not resuming.is_progress(progress):
            raise file.refuse("does not say how far training was")
        states = [file.index.get("random_state")]
        states += [(progress.get(k) or {}).get("random_state") for k in ("source", "validation")]
        for state in states:
            own_files.checked_random_state(state, f"{path}: {INDEX}")
        if not model.weights and isinstance(file.index.get("inputs"), dict):
            with rebuilding.limited(reader.whole.size, file.refuse):
                rebuilding.trace(model, file.index["inputs"])
        metrics = {} if file.version == 1 else file.group("metrics")
        counts = _counts(file, model)
        weights, own = file.weights(model), own_variables.read_layers(file, model)
        own_files.restore_training(file, model)
        saving._assign(model, weights, own)
    if states[0] is not None:
        random_state.set_state(states[0])
    model._runners.drawn["train"] = progress.get("drawn", 0)
    if model._fit_in_progress is not None:
        model._fit_in_progress.resumed, model._fit_in_progress.metrics = progress, metrics
        model._fit_in_progress.counts = counts
    return progress["epoch"]


def _counts(file: own_files.File, model: Any) -> list[tuple[Any, str, Any]]:
    """What callbacks had counted, for those of the `fit` that runs."""
    entries = file.index.get("callbacks")
    if model._fit_in_progress is None or not entries:
        return []
    try:
        arrays = file.group("callbacks")
        return resuming.counts_of(model, model._fit_in_progress.callbacks, entries, arrays)
    except (KeyError, TypeError, AttributeError) as error:
        raise file.refuse(f"does not say what callbacks had counted: {error!r}"[:300]) from None
