"""How far training is, as plain values, and going on from there.

An epoch is resumed in its middle: the data's order is drawn again from the random state that the
pass began with, the batches that are done are passed over, and the running sums of loss and metrics
continue.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nbcnn import random_state
from nbcnn.metric_base import is_mean_of_values


def progress_of(model: Any, epoch: int, step: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Where training is, after `step` batches of an epoch: plain values, and arrays by name."""
    training = model._fit_in_progress
    source, validation = training.source, training.validation
    continued = step > 0 or training.limit is not None
    progress = {
        "epoch": epoch,
        "step": step,
        "source": source.state() if continued else None,
        "validation": validation.state() if validation is not None else None,
        "totals": None,
        "drawn": model._runners.draws("train"),
    }
    if not step:
        return progress, {}
    totals = model._runners.totals("train")
    progress["totals"] = None if totals is None else totals.tolist()
    return progress, {
        f"{i}/{j}": variable.numpy()
        for i, metric in enumerate(_counting(model))
        for j, variable in enumerate(metric.variables)
    }


def _counting(model: Any) -> list[Any]:
    """Metrics that keep a state of their own: all, in a model whose steps are overridden."""
    if model._has_own_step("train"):
        return list(model.metrics)
    return [m for m in model._compiled.all_metrics if not is_mean_of_values(m)]


def is_progress(value: Any) -> bool:
    """Whether a file's contents are what `progress_of` returned."""
    if not isinstance(value, dict):
        return False
    counts = [value.get("epoch"), value.get("step", 0), value.get("drawn", 0)]
    states = [value.get(name) or {} for name in ("source", "validation")]
    counts += [state.get("given", 0) for state in states if isinstance(state, dict)]
    whole = all(type(n) is int and 0 <= n < 2**62 for n in counts)
    return whole and all(isinstance(state, dict) for state in states)


# -- what callbacks have counted ------------------------------------------------------------------


def counted(callbacks: Sequence[Any]) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """What callbacks name in `kept_in_backups`: plain values, and arrays by name."""
    entries: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    for callback in callbacks:
        values: dict[str, Any] = {}
        for name in _kept(callback):
            value = getattr(callback, name)
            if isinstance(value, list):  # of weights
                members = [f"{len(entries)}/{name}/{i:05d}" for i in range(len(value))]
                arrays.update(zip(members, map(np.asarray, value)))
                value = members
            elif isinstance(value, np.generic):
                value = value.item()
            elif not _is_plain(value):
                kind = type(callback).__name__
                raise TypeError(f"backup: {kind}.{name} must be a number or text, got {value!r}")
            values[name] = value
        if values:
            entries.append({"callback": type(callback).__name__, "counted": values})
    return entries, arrays


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def _kept(callback: Any) -> tuple[str, ...]:
    return getattr(type(callback), "kept_in_backups", ())


def counts_of(
    model: Any, callbacks: Sequence[Any], entries: Any, arrays: Mapping[str, np.ndarray]
) -> list[tuple[Any, str, Any]]:
    """Callback, attribute and value of all that `counted` has listed; of several callbacks of a
    class in order. ValueError where that makes no sense.
    """
    shapes = [tuple(v.shape) for v in model.weights]
    waiting, found = list(callbacks), []
    for entry in entries:
        kind, values = entry["callback"], entry["counted"]
        place = next((i for i, c in enumerate(waiting) if type(c).__name__ == kind), None)
        if place is None:
            continue
        callback = waiting.pop(place)
        for name in set(values) & set(_kept(callback)):
            value = values[name]
            if isinstance(value, list):
                value = [arrays[member] for member in value]
                if [array.shape for array in value] != shapes:
                    raise ValueError(f"{kind}: {name} does not fit the model")
            elif not _is_plain(value):
                raise ValueError(f"{kind}: {name} is neither a number nor a text")
            found.append((callback, name, value))
    return found


class Training:
    """A `fit` that runs: its sources and callbacks, and where it is to go on, if it is resumed.

    limit : batches of an epoch, where that is given. resumed : what `progress_of` returned.
    metrics : arrays of that. counts : what callbacks had counted.
    """

    def __init__(
        self, source: Any, validation: Any, limit: int | None, callbacks: Sequence[Any]
    ) -> None:
        self.source, self.validation, self.limit = source, validation, limit
        self.callbacks = callbacks
        self.counts: Sequence[tuple[Any, str, Any]] = ()
        self.resumed: Mapping[str, Any] = {}
        self.metrics: Mapping[str, np.ndarray] = {}
        self._latest: Any = None  # the last batch that was passed over

    def go_on(self) -> None:
        """Bring sources and callbacks to where they were."""
        for callback, name, value in self.counts:
            setattr(callback, name, value)
        now = random_state.get_state()
        if self.resumed.get("validation") and self.validation is not None:
            self.validation.resume(self.resumed["validation"])
        if self.resumed.get("source"):
            self._latest = self.source.resume(self.resumed["source"])
        random_state.set_state(now)

    @property
    def is_resumed(self) -> bool:
        """Whether it goes on from a backup, and has not yet."""
        return bool(self.resumed)

    @property
    def done(self) -> int:
        """How many batches of the first epoch are behind."""
        return self.resumed.get("step", 0)

    def restore_sums(self, model: Any) -> int:
        """Running sums of loss and metrics continue; once, in the epoch that is resumed. Returns
        how many batches are behind.
        """
        done = self.done
        if done and self._latest is not None:
            model._runners.get("train", self._latest.specs)  # which makes what holds them
            if self.resumed["totals"] is not None:
                model._runners.set_totals("train", np.array(self.resumed["totals"], np.float64))
            for i, metric in enumerate(_counting(model)):
                for j, variable in enumerate(metric.variables):
                    variable.assign(self.metrics[f"{i}/{j}"])
        self.resumed = {}
        return done
