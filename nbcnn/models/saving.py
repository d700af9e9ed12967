"""Models in files: `save_model`, `load_model`, and weights alone.

A `.nbcnn` file is a zip archive of `model.json` (architecture, compile arguments, versions, an
index of the arrays) and one `.npy` member for each weight and each part of the optimizer's state.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nbcnn import random_state
from nbcnn.layers.base import Layer
from nbcnn.models import own_variables
from nbcnn.models.archive import FormatError, Reader, write
from nbcnn.models.signature import Signature, Slot
from nbcnn.registry import CustomObjectScope, deserialize, serialize
from nbcnn.version import __version__

FORMAT, FORMAT_VERSION = "nbcnn", 1
MODEL, WEIGHTS = "model.json", "weights.json"


# -- models ---------------------------------------------------------------------------------------


def save_model(
    model: Any, filepath: Any, overwrite: bool = True, include_optimizer: bool = True
) -> None:
    """Write a model to a `.nbcnn` file.

    The file appears, or replaces an older one, only when it is complete.

    Parameters
    ----------
    model : functional, sequential, or of a class of one's own with `get_config`.
    filepath : ends in `.nbcnn`.
    overwrite : False raises FileExistsError where there is a file already.
    include_optimizer : also write the optimizer's state and the random generator's, so that
        training can go on exactly as it would have.
    """
    path = _target(filepath, "save", (".nbcnn",), overwrite)
    if not model.built and not model.weights:
        raise ValueError(f"save: {model.name!r} is not built yet; call build() or fit it first")
    arrays: dict[str, np.ndarray] = {}
    index = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "nbcnn_version": __version__,
        "model": serialize(model),
        "inputs": _inputs(model),
        "compile_config": model.get_compile_config(),
        "weights": index_weights(model, arrays),
        "own_variables": own_variables.index_layers(model, arrays),
        "optimizer": index_optimizer(model, arrays) if include_optimizer else None,
        "random_state": random_state.get_state() if include_optimizer else None,
        "seed": model._runners.seed,
    }
    write(path, {MODEL: json.dumps(index), **arrays})


def load_model(
    filepath: Any,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
    restore_random_state: bool = False,
) -> Any:
    """The model that `save_model` wrote.

    Parameters
    ----------
    filepath : a `.nbcnn` file.
    custom_objects : names of classes and functions that are not part of this package.
    compile : also restore compile arguments and optimizer state.
    safe_mode : accepted for Keras's sake; a file never names code that is not registered here.
    restore_random_state : continue the global random generator from where it was, so that training
        goes on as if it had not been interrupted.

    Raises
    ------
    FormatError
        For a damaged file, naming the member.
    ValueError
        For classes or functions that are neither part of this package nor in `custom_objects`.
    """
    path = _existing(filepath, "load_model", (".nbcnn",))
    with Reader(path) as reader, CustomObjectScope(custom_objects or {}):
        index = read_index(reader, MODEL)
        before = random_state.get_state()
        try:
            model = _rebuild(reader, index)
        finally:
            random_state.set_state(before)
        assign(model, read_weights(reader, index, model))
        own_variables.read_layers(reader, index, model)
        if compile and index.get("compile_config"):
            _restore_training(reader, index, model)
    if restore_random_state and index.get("random_state"):
        random_state.set_state(index["random_state"])
    return model


def _rebuild(reader: Reader, index: Mapping[str, Any]) -> Any:
    """The model with new weights."""
    if not isinstance(index.get("model"), dict):
        raise reader.error(MODEL, "has no model")
    try:
        model = deserialize(index["model"])
        inputs = index.get("inputs")
        if inputs is not None and model._network is None:
            _trace(model, inputs)
    except (KeyError, AttributeError, IndexError, RecursionError, MemoryError) as error:
        raise reader.error(MODEL, f"describes no model: {error!r}") from error
    if not isinstance(model, Layer) or not hasattr(model, "fit"):
        raise reader.error(MODEL, f"describes a {type(model).__name__}, which is no model")
    return model


def _inputs(model: Any) -> dict[str, Any] | None:
    """What a model without a graph was built on."""
    signature = model._input_signature
    if model._network is not None:
        return None
    if signature is None:
        shape = model.input_shape
        if not isinstance(shape, tuple):
            raise ValueError(f"save: {model.name!r} has not seen data yet; call it or fit it first")
        signature = Signature(0, [Slot("input_1", shape, model.value_dtype)])
    return {
        "nesting": signature.template,
        "names": signature.names,
        "shapes": signature.example,
        "dtypes": [slot.dtype for slot in signature.slots],
    }


def _trace(model: Any, inputs: Mapping[str, Any]) -> None:
    """Make the weights of a model without a graph, as its first data once did."""
    shapes = [tuple(shape) for shape in inputs["shapes"]]
    slots = [
        Slot(name, (None,) * len(shape), dtype)
        for name, shape, dtype in zip(inputs["names"], shapes, inputs["dtypes"])
    ]
    model._input_signature = Signature(inputs["nesting"], slots, shapes)
    model.output_signature_for(None, None)


def _restore_training(reader: Reader, index: Mapping[str, Any], model: Any) -> None:
    try:
        model.compile_from_config(index["compile_config"])
    except ValueError as error:
        raise ValueError(
            f"load_model: {reader.path}: cannot restore compile(): {error}; "
            "compile=False loads the model without it"
        ) from error
    restore_optimizer(reader, index, model)


def restore_optimizer(reader: Reader, index: Mapping[str, Any], model: Any) -> None:
    """The optimizer's state, and where random layers start from."""
    model._runners.seed = int(index.get("seed") or 0)
    entry = index.get("optimizer")
    if entry is None:
        return
    if entry["slots"]:
        _read_slots(reader, entry["slots"], model._runners.renew_store(model._runners.device))
    own = entry.get("own") or {}
    own_variables.read_optimizer(reader, own, model.optimizer, model._runners.trained)
    model.optimizer.set_state(entry.get("state") or {"step_count": entry["iterations"]})


def _read_slots(reader: Reader, slots: Mapping[str, Any], store: Any) -> None:
    """The optimizer's arrays; files have null where a weight has none."""
    shapes = store.slot_shapes()
    try:
        values = {
            name: [
                None if member is None else reader.array(member, shape)
                for member, shape in zip(members, shapes.get(name, ()), strict=True)
            ]
            for name, members in slots.items()
        }
        store.set_slot_values(values)
    except FormatError:
        raise
    except ValueError as error:
        raise reader.error(MODEL, f"optimizer state does not fit: {error}") from error


def index_weights(model: Any, arrays: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Put all weights into `arrays` and list them."""
    entries = []
    for i, variable in enumerate(model.weights):
        member = f"weights/{i:05d}.npy"
        arrays[member] = variable.numpy()
        entries.append(
            {
                "path": variable.path,
                "shape": list(variable.shape),
                "dtype": variable.dtype,
                "member": member,
            }
        )
    return entries


def index_optimizer(model: Any, arrays: dict[str, np.ndarray]) -> dict[str, Any] | None:
    if model.optimizer is None:
        return None
    slots: dict[str, list[str | None]] = {}
    optimizer = model.optimizer
    store = None if optimizer.store is None else optimizer.store()
    if store is None or not store.serves(model._runners.trained, optimizer):
        store = model._runners.store
    if store is not None and store.optimizer is optimizer:
        for name, values in store.slot_values().items():
            members = {i: f"optimizer/{name}/{i:05d}.npy" for i in range(len(values))}
            there = {i: array for i, array in enumerate(values) if array is not None}
            slots[name] = [members[i] if i in there else None for i in members]
            arrays.update((members[i], array) for i, array in there.items())
    return {
        "iterations": optimizer.iterations,
        "state": optimizer.get_state(),
        "slots": slots,
        "own": own_variables.index_optimizer(optimizer, arrays),
    }


# -- weights --------------------------------------------------------------------------------------


def save_weights(model: Any, filepath: Any, overwrite: bool = True) -> None:
    """Write all weights of a model to a file that ends in `.weights.nbcnn` or `.npz`."""
    path = _target(filepath, "save_weights", (".weights.nbcnn", ".npz"), overwrite)
    _require_weights(model, "save_weights")
    if path.suffix == ".npz":
        names = _unique_paths(model.weights)
        write(path, {f"{n}.npy": v.numpy() for n, v in zip(names, model.weights)})
        return
    arrays: dict[str, np.ndarray] = {}
    index = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "nbcnn_version": __version__,
        "weights": index_weights(model, arrays),
        "own_variables": own_variables.index_layers(model, arrays),
    }
    write(path, {WEIGHTS: json.dumps(index), **arrays})


def load_weights(model: Any, filepath: Any) -> None:
    """Set all weights of a model from a file, in order.

    Takes what `save_weights` and `save_model` write, and `.npz` files of as many arrays. Every
    shape is checked before the first weight changes.

    Raises
    ------
    FormatError
        For a damaged file, or arrays whose number or shapes are not those of the model.
    """
    path = _existing(filepath, "load_weights", (".nbcnn", ".npz"))
    _require_weights(model, "load_weights")
    with Reader(path) as reader:
        if path.suffix == ".npz":
            shapes = [v.shape for v in model.weights]
            arrays = _read_arrays(reader, reader.members, shapes, compressed=True)
        else:
            index = read_index(reader, WEIGHTS if WEIGHTS in reader.members else MODEL)
            arrays = read_weights(reader, index, model)
            assign(model, arrays)
            own_variables.read_layers(reader, index, model)
            return
    assign(model, arrays)


def read_weights(reader: Reader, index: Mapping[str, Any], model: Any) -> list[np.ndarray]:
    entries = index.get("weights")
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise reader.error(None, "has no list of weights")
    members = [str(entry.get("member")) for entry in entries]
    return _read_arrays(reader, members, [v.shape for v in model.weights])


def _read_arrays(
    reader: Reader, members: Sequence[str], shapes: Sequence[tuple], compressed: bool = False
) -> list[np.ndarray]:
    if len(members) != len(shapes):
        raise reader.error(None, f"holds {len(members)} arrays, the model has {len(shapes)}")
    return [reader.array(member, shape, compressed) for member, shape in zip(members, shapes)]


def assign(model: Any, arrays: Sequence[np.ndarray]) -> None:
    for variable, array in zip(model.weights, arrays):
        variable.assign(array)


def _require_weights(model: Any, where: str) -> None:
    if not model.weights and not model.built:
        raise ValueError(f"{where}: {model.name!r} is not built yet; call build() or fit it first")


def _unique_paths(variables: Sequence[Any]) -> list[str]:
    names: list[str] = []
    for variable in variables:
        name, number = variable.path, 0
        while name in names:
            number += 1
            name = f"{variable.path}_{number}"
        names.append(name)
    return names


# -- architecture alone ---------------------------------------------------------------------------


def to_json(model: Any, **options: Any) -> str:
    """The architecture as JSON; `options` go to `json.dumps`."""
    return json.dumps(serialize(model), **options)


def model_from_json(json_string: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """A model with new weights from what `Model.to_json` returned."""
    return deserialize(json.loads(json_string), custom_objects)


def clone_model(model: Any, clone_function: Any = None) -> Any:
    """A model of the same architecture with new layers and new weights.

    Parameters
    ----------
    model : functional or sequential, or of a class of one's own with `get_config`.
    clone_function : called with each layer, returns the layer to take in its place.
    """
    if clone_function is None:
        return type(model).from_config(model.get_config())
    config = model.get_config()
    if "layers" not in config:
        raise ValueError("clone_model: clone_function needs a functional or sequential model")
    made = {layer.name: serialize_clone(clone_function(layer)) for layer in model.layers}
    for entry in config["layers"]:
        name = entry.get("name", entry["config"].get("name"))
        if name in made:
            entry.update(made[name])
    with CustomObjectScope({type(x).__name__: type(x) for x in model.layers}):
        return type(model).from_config(config)


def serialize_clone(layer: Any) -> dict[str, Any]:
    if not isinstance(layer, Layer):
        raise ValueError(f"clone_model: clone_function must return a layer, got {layer!r}")
    return serialize(layer)


# -- paths and indices ----------------------------------------------------------------------------


def _path(filepath: Any, where: str, suffixes: Sequence[str]) -> Path:
    try:
        path = Path(os.fspath(filepath))
    except TypeError:
        raise TypeError(f"{where}: filepath must be a path, got {filepath!r}") from None
    if not path.name.endswith(tuple(suffixes)):
        expected = " or ".join(suffixes)
        raise ValueError(f"{where}: filepath must end in {expected}, got {str(path)!r}")
    return path


def _target(filepath: Any, where: str, suffixes: Sequence[str], overwrite: bool) -> Path:
    path = _path(filepath, where, suffixes)
    if not overwrite and path.exists():
        raise FileExistsError(f"{where}: {path} exists; overwrite=True replaces it")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{where}: there is no folder {path.parent}")
    return path


def _existing(filepath: Any, where: str, suffixes: Sequence[str]) -> Path:
    path = _path(filepath, where, suffixes)
    if not path.is_file():
        raise FileNotFoundError(f"{where}: no such file: {path}")
    return path


def read_index(reader: Reader, member: str, kind: str = FORMAT) -> dict[str, Any]:
    index = reader.json(member)
    if index.get("format") != kind:
        raise reader.error(member, f"has format {index.get('format')!r}, expected {kind!r}")
    version = index.get("format_version")
    if version != FORMAT_VERSION:
        raise reader.error(member, f"has format version {version!r}, expected {FORMAT_VERSION}")
    return index


__all__ = [
    "FormatError", "clone_model", "load_model", "load_weights", "model_from_json", "save_model",
    "save_weights", "to_json",
]  # fmt: skip
