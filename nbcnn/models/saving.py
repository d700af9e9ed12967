"""Models in files: `save_model`, `load_model`, and weights alone.

The file's ending says its format.

| ending | holds | written by |
|---|---|---|
| `.keras` | a model with its training | Keras 3 and this package |
| `.nbcnn` | likewise; also what Keras has no place for | this package |
| `.weights.h5` | weights and the optimizer's state | Keras 3 and this package |
| `.weights.json` | likewise, in several `.weights.h5` files | Keras 3.15 and this package |
| `.weights.nbcnn` | weights | this package |
| `.safetensors` | weights by path | this package, and others of equal names |
| `.npz` | weights by path | this package, and NumPy |
| `.h5` | weights by layer, only read | Keras 2 |
"""

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from nbcnn import random_state
from nbcnn.io import safetensors, zips
from nbcnn.io.files import FormatError, Window, as_path, as_target, refuse, replacing
from nbcnn.models import (
    keras_files,
    keras_shards,
    legacy_files,
    own_files,
    own_variables,
    rebuilding,
)
from nbcnn.registry import CustomObjectScope, deserialize, serialize, unsafe

FORMAT = "nbcnn"
MODEL, WEIGHTS = "model.json", "weights.json"
MODELS = (".keras", ".nbcnn")
WEIGHT_FILES = (".weights.h5", ".weights.nbcnn", ".safetensors", ".npz")
SHARDED = keras_shards.ENDING
OLDER = (".h5", ".hdf5")  # Keras 2's weights
NPZ, ORDER = ".npy", "order"


# -- models ---------------------------------------------------------------------------------------


def save_model(
    model: Any, filepath: Any, overwrite: bool = True, include_optimizer: bool = True
) -> None:
    """Write a model to a `.keras` or `.nbcnn` file.

    The file appears, or replaces an older one, only when it is complete.

    Parameters
    ----------
    model : functional, sequential, or of a class of one's own with `get_config`.
    filepath : ends in `.keras`, which Keras reads, too, or `.nbcnn`.
    overwrite : False raises FileExistsError where there is a file already.
    include_optimizer : also write the optimizer's state and the random generator's, so that
        training can go on exactly as it would have.

    Raises
    ------
    ValueError
        For another ending, a model without weights yet, or, in a `.keras` file, operations between
        layers that Keras does not have.
    """
    path = _target(filepath, "save", MODELS, overwrite)
    if not model.built and not model.weights:
        raise ValueError(f"save: {model.name!r} is not built yet; call build() or fit it first")
    with model._runners.lock:  # not in the middle of a step, where another thread trains
        _write_model(path, model, include_optimizer)


def _write_model(path: Path, model: Any, include_optimizer: bool) -> None:
    if path.suffix == ".keras":
        keras_files.write_model(path, model, include_optimizer)
        return
    weights, arrays = own_files.weights_of(model)
    entry, state = own_files.optimizer_of(model) if include_optimizer else (None, {})
    index = {
        "model": serialize(model),
        "inputs": rebuilding.inputs_of(model),
        "compile_config": model.get_compile_config(),
        "weights": weights,
        "optimizer": entry,
        "random_state": random_state.get_state() if include_optimizer else None,
        "seed": model._runners.seed,
    }
    own_files.write(path, MODEL, FORMAT, model, index, {"weights": arrays, "optimizer": state})


def load_model(
    filepath: Any,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
    restore_random_state: bool = False,
) -> Any:
    """The model that `save_model`, or Keras 3, wrote.

    Parameters
    ----------
    filepath : a `.keras` or `.nbcnn` file.
    custom_objects : names of classes and functions that are not part of this package.
    compile : also restore compile arguments and optimizer state.
    safe_mode : False lets the file name functions and classes of any module, which is imported, and
        contain functions as code. Such a file can do whatever you can: only for files of your own.
    restore_random_state : continue the global random generator from where it was, so that training
        goes on as if it had not been interrupted.

    Raises
    ------
    FormatError
        For a damaged file, naming the member.
    ValueError
        For classes or functions that are neither part of this package nor in `custom_objects`.
    """
    path = _existing(filepath, "load_model", MODELS)
    with CustomObjectScope(custom_objects or {}), unsafe(not safe_mode):
        if path.suffix == ".keras":
            model, own = keras_files.read_model(path, compile)
            state = own_files.checked_random_state(own.get("random_state"), str(path))
        else:
            model, state = _load_own(path, compile)
    if restore_random_state and state:
        random_state.set_state(state)
    return model


def _load_own(path: Path, compile: bool) -> tuple[Any, dict[str, Any] | None]:
    with zips.Reader(path) as reader:
        file = own_files.File(reader, MODEL, FORMAT)
        index = file.index
        with rebuilding.limited(reader.whole.size, file.refuse):
            model = rebuilding.rebuild(index.get("model"), index.get("inputs"), file.refuse)
        state = own_files.checked_random_state(index.get("random_state"), f"{path}: {MODEL}")
        weights, own = file.weights(model), own_variables.read_layers(file, model)
        _assign(model, weights, own)
        if compile and index.get("compile_config"):
            with rebuilding.limited(reader.whole.size, file.refuse):
                config = index["compile_config"]
                rebuilding.compile_model(model, config, file.refuse)
            own_files.restore_training(file, model)
    return model, state


# -- weights --------------------------------------------------------------------------------------


def save_weights(
    model: Any, filepath: Any, overwrite: bool = True, max_shard_size: float | None = None
) -> None:
    """Write all weights of a model.

    Parameters
    ----------
    model : with weights.
    filepath : ends in `.weights.h5`, which Keras reads, too, `.weights.nbcnn`, `.safetensors` or
        `.npz`.
    overwrite : False raises FileExistsError where there is a file already; default True.
    max_shard_size : by default, one file; otherwise `filepath` ends in `.weights.json`, and the
        weights go to `.weights.h5` files beside it of at most so many GiB.

    Raises
    ------
    ValueError
        For another ending, a model without weights yet, or a weight larger than `max_shard_size`.
    """
    if max_shard_size is not None and not max_shard_size > 0:
        raise ValueError(f"save_weights: max_shard_size must be positive, got {max_shard_size}")
    endings = WEIGHT_FILES if max_shard_size is None else (SHARDED,)
    path = _target(filepath, "save_weights", endings, overwrite)
    _require_weights(model, "save_weights")
    with model._runners.lock:
        _write_weights(path, model, max_shard_size)


def _write_weights(path: Path, model: Any, max_shard_size: float | None) -> None:
    if path.suffix in (".h5", ".json"):
        keras_files.write_weights(path, model, max_shard_size)
    elif path.suffix == ".npz":
        zips.write(path, {f"{n}{NPZ}": v.numpy() for n, v in _by_path(model).items()})
    elif path.suffix == ".safetensors":
        with replacing(path) as file:
            arrays = {name: variable.numpy() for name, variable in _by_path(model).items()}
            safetensors.write(file, arrays, {"format": FORMAT, ORDER: json.dumps(list(arrays))})
    else:
        entries, arrays = own_files.weights_of(model)
        own_files.write(path, WEIGHTS, FORMAT, model, {"weights": entries}, {"weights": arrays})


def load_weights(
    model: Any, filepath: Any, skip_mismatch: bool = False, by_name: bool | None = None
) -> None:
    """Set all weights of a model from a file; every shape is checked before the first changes.

    Takes what `save_weights` and `save_model`, and Keras 3's methods of these names, write;
    `.safetensors` files with the names of the model's weights; `.npz` files of as many arrays; and
    the weights of Keras 2's `.h5` files.

    Parameters
    ----------
    filepath : of `.weights.h5` and `.keras` files also the optimizer's state is taken, where it
        fits.
    skip_mismatch : leave weights as they are that the file has none for, or of another shape, with
        a warning.
    by_name : for Keras 2's files: True sets those of layers whose names the file has; by default,
        all in the order of the layers.

    Raises
    ------
    FormatError
        For a damaged file, or arrays whose number, names or shapes are not those of the model.
    """
    path = _existing(filepath, "load_weights", (*WEIGHT_FILES, SHARDED, *MODELS, *OLDER))
    is_older = path.suffix in OLDER and not path.name.endswith(WEIGHT_FILES)
    if by_name is not None and not is_older:
        raise ValueError(
            "load_weights: by_name is for Keras 2's files (.h5); in these places decide, or names "
            "(.safetensors)"
        )
    _require_weights(model, "load_weights")
    with model._runners.lock:
        if is_older:
            legacy_files.read_weights(path, model, skip_mismatch, bool(by_name))
        else:
            _read_weights(path, model, skip_mismatch)


def _read_weights(path: Path, model: Any, skip_mismatch: bool) -> None:
    if path.suffix in (".h5", ".json", ".keras"):
        keras_files.read_weights(path, model, skip_mismatch)
    elif path.suffix == ".safetensors":
        _load_safetensors(model, path, skip_mismatch)
    elif skip_mismatch:
        raise ValueError(f"load_weights: skip_mismatch is not for {path.suffix} files")
    else:
        _assign(model, *_read_listed(model, path))


def _read_listed(model: Any, path: Path) -> tuple[list[np.ndarray], list[tuple]]:
    """All arrays of a file that lists them in order, and what layers have saved of their own."""
    with zips.Reader(path) as reader:
        if path.suffix == ".nbcnn":
            member = WEIGHTS if WEIGHTS in reader.members else MODEL
            file = own_files.File(reader, member, FORMAT)
            return file.weights(model), own_variables.read_layers(file, model)
        names, variables = reader.members, model.weights
        if len(names) != len(variables):
            reader.refuse(None, f"holds {len(names)} arrays, the model has {len(variables)}")
        by_path = [f"{name}{NPZ}" for name in _by_path(model)]
        ordered = by_path if set(by_path) == set(names) else names
        pairs = zip(ordered, variables)
        return [reader.array(n, v.shape, compressed=True) for n, v in pairs], []


def _load_safetensors(model: Any, path: Path, skip_mismatch: bool) -> None:
    found, skipped = [], []
    with open(path, "rb") as file:
        reader = safetensors.Reader(Window.whole(file, str(path)))
        variables = _named_as(reader, _by_path(model))
        missing = [name for name in variables if name not in reader.entries]
        extra = [name for name in reader.entries if name not in variables]
        if (missing or extra) and not skip_mismatch:
            text = f"has no {', '.join(missing)}" if missing else f"also has {', '.join(extra)}"
            refuse(str(path), None, f"{text}; the model's weights are {', '.join(variables)}"[:900])
        for name, variable in variables.items():
            entry = reader.entries.get(name)
            if entry is not None and entry.shape == variable.shape:
                found.append((variable, reader.array(name)))
            elif skip_mismatch:
                skipped.append(name)
            else:
                shape = None if entry is None else entry.shape
                refuse(str(path), name, f"has shape {shape}, expected {variable.shape}")
    for variable, array in found:
        variable.assign(array)
    if skipped:
        warnings.warn(f"load_weights: left as they were: {', '.join(skipped)}", stacklevel=5)


def _named_as(reader: safetensors.Reader, variables: dict[str, Any]) -> dict[str, Any]:
    """The weights by the names of an equal model, where only the automatic numbers differ."""
    try:
        order = json.loads(reader.metadata.get(ORDER, "[]"))
    except (ValueError, RecursionError):
        return variables
    names = [n for n in order if isinstance(n, str)] if isinstance(order, list) else []
    plain = [re.sub(r"_\d+(?=/|$)", "", name) for name in names]
    same = plain == [re.sub(r"_\d+(?=/|$)", "", name) for name in variables]
    if set(variables) == set(reader.entries) or set(names) != set(reader.entries) or not same:
        return variables
    return dict(zip(names, variables.values()))


def _assign(model: Any, arrays: Sequence[np.ndarray], own: Sequence[tuple] = ()) -> None:
    for variable, array in zip(model.weights, arrays):
        variable.assign(array)
    for layer, store in own:
        layer.load_own_variables(store)


def _require_weights(model: Any, where: str) -> None:
    if not model.weights and not model.built:
        raise ValueError(f"{where}: {model.name!r} is not built yet; call build() or fit it first")


def _by_path(model: Any) -> dict[str, Any]:
    """The weights in order by their paths, made different by numbers."""
    found: dict[str, Any] = {}
    for variable in model.weights:
        name, number = variable.path, 0
        while name in found:
            number += 1
            name = f"{variable.path}_{number}"
        found[name] = variable
    return found


# -- architecture alone ---------------------------------------------------------------------------


def to_json(model: Any, **options: Any) -> str:
    """The architecture as JSON; `options` go to `json.dumps`."""
    return json.dumps(serialize(model), **options)


def model_from_json(json_string: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """A model with new weights from what `Model.to_json` returned.

    Parameters
    ----------
    json_string : the text.
    custom_objects : dictionary of classes and functions that are not part of this package, by name;
        default none.
    """
    return deserialize(json.loads(json_string), custom_objects)


# -- paths ----------------------------------------------------------------------------------------


def _refuse_ending(where: str, path: Path, suffixes: Sequence[str]) -> NoReturn:
    expected = " or ".join(suffixes)
    legacy = path.suffix in OLDER and not path.name.endswith(".weights.h5")
    note = "; of Keras's older .h5 files load_weights reads the weights" if legacy else ""
    raise ValueError(f"{where}: filepath must end in {expected}, got {str(path)!r}{note}")


def _path(filepath: Any, where: str, suffixes: Sequence[str]) -> Path:
    path = as_path(filepath, where)
    if not path.name.endswith(tuple(suffixes)):
        _refuse_ending(where, path, suffixes)
    return path


def _target(filepath: Any, where: str, suffixes: Sequence[str], overwrite: bool) -> Path:
    path = _path(filepath, where, suffixes)
    if not overwrite and path.exists():
        raise FileExistsError(f"{where}: {path} exists; overwrite=True replaces it")
    return as_target(path, where)


def _existing(filepath: Any, where: str, suffixes: Sequence[str]) -> Path:
    path = _path(filepath, where, suffixes)
    if not path.is_file():
        raise FileNotFoundError(f"{where}: no such file: {path}")
    return path


__all__ = [
    "FormatError", "load_model", "load_weights", "model_from_json", "save_model",
    "save_weights", "to_json",
]  # fmt: skip
