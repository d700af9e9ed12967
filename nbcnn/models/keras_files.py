"""Keras 3's files: `.keras` (a zip archive of metadata, configuration and weights) and
`.weights.h5`, which Keras and this package read of each other, with the optimizer's state.
"""

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from nbcnn import random_state
from nbcnn.io import hdf5, hdf5_write, zips
from nbcnn.io.files import Window, digest, refuse, replacing
from nbcnn.layers.base import Layer
from nbcnn.models import keras_optimizer, rebuilding
from nbcnn.models.keras_config import from_keras, to_keras
from nbcnn.models.keras_tree import Place, places
from nbcnn.registry import is_own, serialize
from nbcnn.version import __version__

METADATA, CONFIG, WEIGHTS = "metadata.json", "config.json", "model.weights.h5"
KERAS_VERSION = "3.15.1"  # whose files these are like
DIGEST = "nbcnn_sha256"


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


def write_weights(path: Path, model: Any) -> None:
    """Write a `.weights.h5` file, which, as Keras's, has the optimizer's state, too."""
    arrays, attributes = _contents(model, True)
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
            attributes[keras_optimizer.GROUP] = {"name": optimizer.name}
            found = keras_optimizer.arrays(optimizer, store)
            arrays.update((f"{keras_optimizer.GROUP}/{i}", a) for i, a in enumerate(found))
            inner = getattr(optimizer, "inner_optimizer", None)
            if inner is not None:  # Keras writes what is inside twice, and reads the first
                attributes[keras_optimizer.INNER] = {"name": inner.name}
                found = keras_optimizer.arrays(inner, store)
                arrays.update((f"{keras_optimizer.INNER}/{i}", a) for i, a in enumerate(found))
        else:
            warnings.warn(
                f"save: Keras's files have no place for the state of {type(optimizer).__name__}; "
                "a .nbcnn file has",
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
        weights = _opened(reader.window(WEIGHTS))

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
            _restore_optimizer(weights, model, arrays)
            seed = own.get("seed")
            if type(seed) is int and 0 <= seed < 2**63:
                model._runners.seed = seed
        return model, own


def read_weights(path: Path, model: Any, skip_mismatch: bool) -> None:
    """Set a model's weights, and the state of its optimizer where that fits, from a `.weights.h5`
    or `.keras` file.
    """
    with _weights_window(path) as window:
        weights = _opened(window)
        found = _match(weights, model, skip_mismatch)
        arrays = _Arrays(weights)
        for entry in found:  # all is read before anything changes
            for name in entry.paths:
                _ = arrays[name]
        for entry in found:
            _set(entry, arrays)
        if model.optimizer is not None:
            _restore_optimizer(weights, model, arrays, strict=False)


@contextmanager
def _weights_window(path: Path) -> Iterator[Window]:
    if path.suffix == ".keras":
        with zips.Reader(path) as reader:
            yield reader.window(WEIGHTS)
    else:
        with open(path, "rb") as file:
            yield Window.whole(file, str(path))


def _own(reader: zips.Reader) -> dict[str, Any]:
    found = reader.json(METADATA).get("nbcnn", {})
    if not isinstance(found, dict):
        reader.refuse(METADATA, "has damaged parts of this package")
    return found


def _opened(window: Window) -> hdf5.Reader:
    return hdf5.Reader(window)


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
        wanted = weights.attributes.get(DIGEST)
        if wanted is not None:
            self._read = {path: weights.array(path) for path in weights.arrays}
            if digest(self._read.items()) != wanted:
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


def _restore_optimizer(
    weights: hdf5.Reader, model: Any, arrays: _Arrays, strict: bool = True
) -> None:
    """The optimizer's state, where the file has one; `strict`: it has to fit."""
    held = weights.below(keras_optimizer.GROUP)
    if (len(held) < 3 and not strict) or not held or not keras_optimizer.is_known(model.optimizer):
        return
    store = model._runners.renew_store(model._runners.device)
    if not is_own(type(model.optimizer)):  # a user's makes its variables when it is built
        model.optimizer.build(store.variables)
    items = keras_optimizer.items(model.optimizer, store.variables)
    names = [str(i) for i in range(len(items))]
    fits = set(held) == set(names) and all(
        held[name].shape == item.shape for name, item in zip(names, items)
    )
    group = keras_optimizer.GROUP
    if fits:
        found = [arrays[f"{group}/{name}"] for name in names]
        keras_optimizer.restore(model.optimizer, store, found)
    elif strict and len(held) > 2:  # fewer: of one that has not made a step
        problem = f"does not fit {type(model.optimizer).__name__}"
        weights.window.inside(0, 0, _member(weights, group)).refuse(problem)
