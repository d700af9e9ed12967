"""This package's own files: a zip archive of one JSON index and a `.safetensors` member for each
group of arrays (weights, optimizer). Files of version 1 have a `.npy` member for each array.

Nothing in such a file is code. Sizes are compared with those of the model before anything is
allocated, and contents with the checksums of the index before anything changes.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nbcnn import random_state
from nbcnn.io import safetensors, zips
from nbcnn.io.files import FormatError, digest, refuse
from nbcnn.models import own_variables
from nbcnn.version import __version__

VERSION = 2
READABLE = (1, 2)


# -- writing --------------------------------------------------------------------------------------


def write(
    path: Path,
    member: str,
    kind: str,
    model: Any,
    index: Mapping[str, Any],
    groups: Mapping[str, Mapping[str, np.ndarray]],
) -> None:
    """Write a file of an index, with what every index says, and groups of arrays by name; what
    layers and optimizers of a user's keep is added.
    """
    entries, own = own_variables.layers_of(model)
    index = {**index, "own_variables": entries}
    groups = {**groups, own_variables.LAYERS: own} if own else groups
    if index.get("optimizer") is not None:
        own = own_variables.optimizer_of(model.optimizer)[1]
        groups = {**groups, own_variables.OPTIMIZER: own} if own else groups
    head = {
        "format": kind,
        "format_version": VERSION,
        "nbcnn_version": __version__,
        "digests": {name: digest(arrays.items()) for name, arrays in groups.items()},
    }
    members: dict[str, zips.Content] = {member: json.dumps({**head, **index})}
    for name, arrays in groups.items():
        members[f"{name}.safetensors"] = _writer(arrays)
    zips.write(path, members)


def _writer(arrays: Mapping[str, np.ndarray]) -> Callable[[Any], None]:
    return lambda file: safetensors.write(file, arrays)


def weights_of(model: Any) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """What the index says of the weights, and these by name."""
    arrays = {f"{i:05d}/{v.path}": v.numpy() for i, v in enumerate(model.weights)}
    entries = [
        {"path": v.path, "shape": list(v.shape), "dtype": v.dtype, "member": name}
        for v, name in zip(model.weights, arrays)
    ]
    return entries, arrays


def optimizer_of(model: Any) -> tuple[dict[str, Any] | None, dict[str, np.ndarray]]:
    """What the index says of the optimizer, and its arrays by name."""
    if model.optimizer is None:
        return None, {}
    slots: dict[str, list[str | None]] = {}
    arrays: dict[str, np.ndarray] = {}
    optimizer = model.optimizer
    store = model._runners.filled_store
    if store is not None:
        for slot, values in store.slot_values().items():
            names = [None if a is None else f"{slot}/{i:05d}" for i, a in enumerate(values)]
            slots[slot] = names
            arrays.update((n, a) for n, a in zip(names, values) if n is not None and a is not None)
    state = model.optimizer.get_state()
    rate = _plain_rate(model.optimizer)
    if rate is not None:
        state["learning_rate"] = float(rate)  # a callback may have changed it
    entry = {"iterations": optimizer.iterations, "state": state, "slots": slots}
    return {**entry, "own": own_variables.optimizer_of(optimizer)[0]}, arrays


def _plain_rate(optimizer: Any) -> float | None:
    """The learning rate where it is a number of this optimizer."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    rate = getattr(optimizer, "_learning_rate", None)
    return None if callable(rate) else rate


# -- reading --------------------------------------------------------------------------------------


class File:
    """An own file that is open: `index`, and the arrays that it lists."""

    def __init__(self, reader: zips.Reader, member: str, kind: str) -> None:
        self.reader, self.member = reader, member
        self.index = index = reader.json(member)
        if index.get("format") != kind:
            self.refuse(f"has format {index.get('format')!r}, expected {kind!r}"[:200])
        self.version = index.get("format_version")
        if type(self.version) is not int or self.version not in READABLE:
            text = f"has format version {self.version!r}, expected {VERSION}"
            self.refuse(text[:200])

    def refuse(self, text: str) -> Any:
        return self.reader.refuse(self.member, text)

    def weights(self, model: Any) -> list[np.ndarray]:
        """The weights in the model's order; FormatError where they do not fit it."""
        shapes = [v.shape for v in model.weights]
        return self._arrays("weights", self.weight_names(), shapes)

    def weight_names(self) -> list[str]:
        """The names of the weights' arrays, in order."""
        entries = self.index.get("weights")
        if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            self.reader.refuse(None, "has no list of weights")
            raise AssertionError
        return [str(entry.get("member")) for entry in entries]

    def slots(self, listed: Any, shapes: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """The optimizer's arrays, None where a weight has none."""
        if not isinstance(listed, dict) or set(listed) != set(shapes):
            self.refuse(f"optimizer state: expected slots {sorted(shapes)}")
        names, wanted = [], []
        for slot, members in listed.items():
            if not isinstance(members, list) or len(members) != len(shapes[slot]):
                self.refuse(f"optimizer state: slot {slot!r} does not fit this model's weights")
            for name, shape in zip(members, shapes[slot]):
                if (name is None) != (shape is None):
                    self.refuse(f"optimizer state: slot {slot!r} does not fit this model's weights")
                if name is not None:
                    names.append(str(name))
                    wanted.append(shape)
        found = iter(self._arrays("optimizer", names, wanted))
        return {
            slot: [None if name is None else next(found) for name in members]
            for slot, members in listed.items()
        }

    def group(self, name: str) -> dict[str, np.ndarray]:
        """All arrays of a group, by name."""
        member = f"{name}.safetensors"
        held = safetensors.Reader(self.reader.window(member))
        arrays = {each: held.array(each) for each in held.entries}
        self._verify(name, arrays)
        return arrays

    def _verify(self, group: str, arrays: Mapping[str, np.ndarray]) -> None:
        digests = self.index.get("digests")
        wanted = digests.get(group) if isinstance(digests, dict) else None
        if digest(arrays.items()) != wanted:
            self.reader.refuse(f"{group}.safetensors", "is damaged: its checksum is another")

    def _arrays(self, group: str, names: list[str], shapes: Sequence[tuple]) -> list[np.ndarray]:
        if len(names) != len(shapes):
            self.reader.refuse(None, f"holds {len(names)} arrays, the model has {len(shapes)}")
        if self.version == 1:
            return [self.reader.array(name, shape) for name, shape in zip(names, shapes)]
        if not names:
            return []
        member = f"{group}.safetensors"
        held = safetensors.Reader(self.reader.window(member))
        if set(names) != set(held.entries) or len(set(names)) != len(names):
            self.reader.refuse(member, "holds other arrays than the index says")
        for name, shape in zip(names, shapes):
            if held.entries[name].shape != shape:
                found = held.entries[name].shape
                self.reader.refuse(f"{member}: {name}", f"has shape {found}, expected {shape}")
        arrays = {name: held.array(name) for name in names}
        self._verify(group, arrays)
        return [arrays[name] for name in names]


def restore_training(file: File, model: Any) -> None:
    """The optimizer's state, and where random layers start from; nothing changes where the file
    does not fit.
    """
    index, entry = file.index, file.index.get("optimizer")
    seed = index.get("seed")
    if seed is not None and (type(seed) is not int or not 0 <= seed < 2**63):
        file.refuse("has a damaged seed")
    if entry is None:
        model._runners.seed = int(seed or 0)
        return
    if not isinstance(entry, dict) or "slots" not in entry:
        file.refuse("has a damaged optimizer")
    state = entry.get("state") or {"step_count": entry.get("iterations")}
    try:
        state = dict(state)
        rate = state.pop("learning_rate", None)
        count = int(state["step_count"])
        if not 0 <= count < 2**62 or not (rate is None or 0 <= rate < float("inf")):
            raise ValueError("out of range")
        values = None
        trained = model._runners.trained
        own = own_variables.read_optimizer(file, entry.get("own"), model.optimizer, trained)
        if entry["slots"]:
            store = model._runners.renew_store(model._runners.device)
            values = file.slots(entry["slots"], store.slot_shapes())
        before = model.optimizer.get_state()
        try:
            model.optimizer.set_state(state)
        except Exception:
            model.optimizer.set_state(before)
            raise
    except FormatError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        file.refuse(f"optimizer state does not fit: {error!r}"[:300])
    if values is not None:
        store.set_slot_values(values)
    for variable, value in own:
        variable.assign(value)
    if rate is not None and _plain_rate(model.optimizer) is not None:
        model.optimizer.learning_rate = rate
    model._runners.seed = int(seed or 0)


def checked_random_state(state: Any, source: str) -> dict[str, Any] | None:
    """A state of the global random generator, tried on a generator of its own."""
    if state is None:
        return None
    try:
        np.random.default_rng(0).bit_generator.state = state
        if state["bit_generator"] != random_state.get_state()["bit_generator"]:
            raise ValueError("of another generator")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        refuse(source, None, f"has a damaged random state: {error!r}"[:300])
    return state
