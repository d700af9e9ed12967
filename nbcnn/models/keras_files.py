"""Keras 3's files: `.keras` (a zip archive of metadata, configuration and weights) and
`.weights.h5`, which Keras and this package read of each other, with the optimizer's state.
"""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from nbcnn import random_state
from nbcnn.io import hdf5, hdf5_write, zips
from nbcnn.io.files import Window, digest, refuse, replacing
from nbcnn.layers.base import Layer
from nbcnn.models import keras_optimizer, keras_shards, rebuilding
from nbcnn.models.keras_config import from_keras, to_keras
from nbcnn.models.keras_shards import DIGEST
from nbcnn.models.keras_tree import Place, places
from nbcnn.registry import is_own, serialize
from nbcnn.version import __version__

METADATA, CONFIG, WEIGHTS = "metadata.json", "config.json", "model.weights.h5"
KERAS_VERSION = "3.15.1"  # whose files these are like


# -- writing --------------------------------------------------------------------------------------


def write_model(path: Path, model: Any, include_optimizer: bool) -> None:
    """Write a `.keras` file."""
    inputs = rebuilding.inputs_of(model)
    config = to_keras(serialize(model))
    config["build_config"] = {"input_shape": inputs["shapes"][0] if inputs else None}
    compiling = model.get_compile_config()
    config["compile_config"] = to_keras(compiling) if compiling else {}
    own = {
        "version": __version__,
        "inputs": inputs,
        "random_state": random_state.get_state() if include_optimizer else None,
        "seed": model._runners.seed,
    }
    arrays, attributes = _contents(model, include_optimizer)
    members: dict[str, zips.Content] = {
        METADATA: json.dumps({"keras_version": KERAS_VERSION, "nbcnn": own}),
        CONFIG: json.dumps(config),
        WEIGHTS: lambda file: hdf5_write.write(file, arrays, attributes),
    }
    zips.write(path, members)


def write_weights(path: Path, model: Any, max_shard_size: float | None = None) -> None:
    """Write a `.weights.h5` file, which, as Keras's, has the optimizer's state, too; or
    `.weights.json` and several of at most so many GiB.
    """
    arrays, attributes = _contents(model, True)
    if max_shard_size is not None:
        keras_shards.write(path, arrays, attributes, max_shard_size)
        return
    with replacing(path) as file:
        hdf5_write.write(file, arrays, attributes)


def _contents(
    model: Any, include_optimizer: bool
) -> tuple[dict[str, np.ndarray], dict[str, dict[str, str]]]:
    """Arrays by path, and the texts of groups."""
    arrays: dict[str, np.ndarray] = {}
    attributes = {}
    for place in places(model):
        attributes[place.group] = {"name": place.layer.name}
        for key, array in _own_arrays(place).items():
            arrays[f"{place.group}/{key}"] = array
    optimizer = model.optimizer if include_optimizer else None
    store = model._runners.filled_store
    if optimizer is not None and store is not None:
        if keras_optimizer.is_known(optimizer):
            listed = keras_optimizer.arrays(optimizer, store)
            places_of = [(keras_optimizer.GROUP, None, optimizer)]
            # What is inside is there twice; Keras reads the first.
            for group, owner, each in [*places_of, *keras_optimizer.copies(optimizer)]:
                attributes[group] = {"name": each.name}
                own = [a for item, a in listed if owner is None or item.owner == owner]
                arrays.update((f"{group}/{i}", a) for i, a in enumerate(own))
        else:
            warnings.warn(
                f"save: Keras's files have no place for the state of {type(optimizer).__name__} "
                f"with {type(optimizer.inner_optimizer).__name__}; a .nbcnn file has",
                stacklevel=6,
            )
    return arrays, {"": {DIGEST: digest(arrays.items())}, **attributes}


def _own_arrays(place: Place) -> dict[str, np.ndarray]:
    if not _has_own(place.layer, "save_own_variables"):
        return {str(i): variable.numpy() for i, variable in enumerate(place.variables)}
    store: dict[str, Any] = {}
    place.layer.save_own_variables(store)
    return {str(key): np.asarray(value) for key, value in store.items()}


def _has_own(layer: Any, method: str) -> bool:
    """Whether the layer's class is a user's and says itself how its variables are kept."""
    own = getattr(type(layer), method, None)
    return own is not None and own is not getattr(Layer, method, None)


# -- reading --------------------------------------------------------------------------------------


class Found(NamedTuple):
    """What a file has for a layer: for each variable its array's path, or a store."""

    place: Place
    paths: list[str]


def read_model(path: Path, compile: bool) -> tuple[Any, dict[str, Any]]:
    """The model of a `.keras` file, and what this package wrote beside it."""
    with zips.Reader(path) as reader:
        config, own = reader.json(CONFIG), _own(reader)
        weights = hdf5.Reader(reader.window(WEIGHTS))

        def refuse_config(text: str) -> NoReturn:
            refuse(str(path), CONFIG, text)

        with rebuilding.limited(_stored(weights), refuse_config):
            model = rebuilding.rebuild(from_keras(config), _inputs(config, own), refuse_config)
            _build_chain(model, config)
        arrays = _Arrays(weights)
        found = _match(weights, model)
        for entry in found:
            _set(entry, arrays)
        if compile and config.get("compile_config"):
            compiling = from_keras(config["compile_config"])
            with rebuilding.limited(_stored(weights), refuse_config):
                rebuilding.compile_model(model, compiling, refuse_config)
            _optimizer_state(weights, model, arrays)()
            seed = own.get("seed")
            if type(seed) is int and 0 <= seed < 2**63:
                model._runners.seed = seed
        return model, own


def read_weights(path: Path, model: Any, skip_mismatch: bool) -> None:
    """Set a model's weights, and the state of its optimizer where that fits, from a `.weights.h5`,
    `.weights.json` or `.keras` file.
    """
    with opened(path) as weights:
        found = _match(weights, model, skip_mismatch)
        arrays = _Arrays(weights)
        for entry in found:  # all is read before anything changes
            for name in entry.paths:
                _ = arrays[name]
        set_optimizer = _optimizer_state(weights, model, arrays, strict=False)
        for entry in found:
            _set(entry, arrays)
        set_optimizer()


@contextmanager
def opened(path: Path) -> Iterator[hdf5.Reader]:
    """The arrays of a file of weights, or of a `.keras` file."""
    if path.suffix == ".keras":
        with zips.Reader(path) as reader:
            yield hdf5.Reader(reader.window(WEIGHTS))
    elif path.suffix == ".json":
        with keras_shards.opened(path) as shards:
            yield shards
    else:
        with open(path, "rb") as file:
            yield hdf5.Reader(Window.whole(file, str(path)))


def _own(reader: zips.Reader) -> dict[str, Any]:
    found = reader.json(METADATA).get("nbcnn", {})
    if not isinstance(found, dict):
        reader.refuse(METADATA, "has damaged parts of this package")
    return found


def _stored(weights: hdf5.Reader) -> int:
    return weights.window.size


def _inputs(config: Mapping[str, Any], own: Mapping[str, Any]) -> Any:
    """What a model without a graph is built on: as noted here, or as Keras notes it."""
    if isinstance(own.get("inputs"), dict):
        return own["inputs"]
    building = config.get("build_config")
    shape = building.get("input_shape") if isinstance(building, dict) else None
    if not isinstance(shape, list) or not shape:
        return None
    many = isinstance(shape[0], list)
    shapes = shape if many else [shape]
    numbers = range(len(shapes))
    return {
        "nesting": list(numbers) if many else 0,
        "names": [f"input_{i + 1}" for i in numbers],
        "shapes": [[None, *sizes[1:]] for sizes in shapes],
        "dtypes": ["float32"] * len(shapes),
    }


def _build_chain(model: Any, config: Mapping[str, Any]) -> None:
    """A `Sequential` that was not given an input says elsewhere what it was built for."""
    inner = config.get("config")
    shape = inner.get("build_input_shape") if isinstance(inner, dict) else None
    if shape and not model.weights and hasattr(model, "_parts") and model._functional is None:
        model.build(tuple(shape))


class _Arrays:
    """All arrays of a file, read and compared with its checksum before any is used."""

    def __init__(self, weights: hdf5.Reader) -> None:
        self.weights = weights
        self._read: dict[str, np.ndarray] = {}
        wanted = weights.attributes[""].get(DIGEST)
        if wanted is not None:
            self._read = {path: weights.array(path) for path in weights.arrays}
            if [digest(self._read.items())] != wanted:
                weights.window.refuse("is damaged: its checksum is another")

    def __getitem__(self, path: str) -> np.ndarray:
        if path not in self._read:
            self._read[path] = self.weights.array(path)
        return self._read[path]


def _match(weights: hdf5.Reader, model: Any, skip_mismatch: bool = False) -> list[Found]:
    """Where each layer's arrays are; FormatError before anything changes where they do not fit."""
    found, skipped, used = [], [], {keras_optimizer.GROUP}
    for place in places(model):
        held = weights.below(place.group)
        used.add(place.group)
        if _has_own(place.layer, "load_own_variables"):
            found.append(Found(place, [f"{place.group}/{name}" for name in held]))
            continue
        problem = _problem(place, held)
        if problem is None:
            paths = [f"{place.group}/{i}" for i in range(len(place.variables))]
            found.append(Found(place, paths))
        elif skip_mismatch:
            skipped.append(f"{place.layer.name} ({place.path}: {problem})")
        else:
            weights.window.inside(0, 0, _member(weights, place.group)).refuse(problem)
    for path in weights.arrays:
        group = path.rpartition("/")[0]
        if group not in used and path.startswith("layers/") and "seed_generator" not in path:
            if not skip_mismatch:
                text = "holds an array that the model has no place for"
                weights.window.inside(0, 0, _member(weights, path)).refuse(text)
            skipped.append(path)
    if skipped:
        text = ", ".join(skipped)
        warnings.warn(f"load_weights: left as they were: {text}", stacklevel=6)
    return found


def _member(weights: hdf5.Reader, path: str) -> str:
    inside = weights.window.member
    return path if inside is None else f"{inside}: {path}"


def _problem(place: Place, held: Mapping[str, hdf5.Entry]) -> str | None:
    wanted = {str(i): variable.shape for i, variable in enumerate(place.variables)}
    if set(held) != set(wanted):
        return f"holds {len(held)} arrays, layer {place.layer.name!r} has {len(wanted)} weights"
    for name, shape in wanted.items():
        if held[name].shape != shape:
            return f"{name} has shape {held[name].shape}, expected {shape}"
    return None


def _set(found: Found, arrays: _Arrays) -> None:
    if _has_own(found.place.layer, "load_own_variables"):
        found.place.layer.load_own_variables(
            {path.rpartition("/")[2]: arrays[path] for path in found.paths}
        )
        return
    for variable, path in zip(found.place.variables, found.paths):
        variable.assign(arrays[path])


def _optimizer_state(
    weights: hdf5.Reader, model: Any, arrays: _Arrays, strict: bool = True
) -> Callable[[], None]:
    """What sets the optimizer's state, where the file has one; `strict`: it has to fit."""
    held, optimizer = weights.below(keras_optimizer.GROUP), model.optimizer
    unchanged: Callable[[], None] = lambda: None  # noqa: E731
    if not held or optimizer is None or not keras_optimizer.is_known(optimizer):
        return unchanged
    store = model._runners.renew_store(model._runners.device)
    if not is_own(type(optimizer)):  # a user's makes its variables when it is built
        optimizer.build(store.variables)
    items = keras_optimizer.items(optimizer, store.variables)
    names = [str(i) for i in range(len(items))]
    shapes = {name: item.shape for name, item in zip(names, items)}
    if {name: entry.shape for name, entry in held.items()} == shapes:
        found = [arrays[f"{keras_optimizer.GROUP}/{name}"] for name in names]
        problem = keras_optimizer.problem(items, found)
        if problem is not None:
            weights.window.inside(0, 0, _member(weights, keras_optimizer.GROUP)).refuse(problem)
        return lambda: keras_optimizer.restore(optimizer, store, found)
    numbers = sum(item.weight is None for item in items)
    if strict and len(held) > numbers:  # fewer: of one that has not made a step
        text = f"does not fit {type(optimizer).__name__}"
        weights.window.inside(0, 0, _member(weights, keras_optimizer.GROUP)).refuse(text)
    return unchanged
