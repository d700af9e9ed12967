"""Weights in the `.h5` files of Keras 2, which Keras 3 writes for `model.save("x.h5")`, too.

Such a file has a group for each layer of the model, and lists the names of layers and of their
weights, in order, in attributes. What was saved as a whole model has all that in a group
`model_weights`; its configuration is of another form, and not read.
"""

import warnings
from pathlib import Path
from typing import Any

from nbcnn.io import hdf5
from nbcnn.io.files import Window

LAYERS, WEIGHTS, WHOLE = "layer_names", "weight_names", "model_weights"
TOP = "top_level_model_weights"


def read_weights(path: Path, model: Any, skip_mismatch: bool, by_name: bool) -> None:
    """Set a model's weights; FormatError before any changes where they do not fit.

    by_name : only those of layers whose names are in the file; otherwise, all in order.
    """
    with open(path, "rb") as file:
        reader = hdf5.Reader(Window.whole(file, str(path)))
        pairs: list[tuple[Any, str]] = []
        problems = []
        for group, owner, variables in _matched(reader, model, by_name):
            paths = [f"{group}/{name}" for name in _names(reader, group, WEIGHTS)]
            missing = [each for each in paths if each not in reader.arrays]
            if missing:
                _refuse(reader, missing[0], "is missing")
            problem = _problem(reader, paths, variables)
            if problem is None:
                pairs += zip(variables, paths)
            elif skip_mismatch:
                problems.append(f"{owner} ({problem})")
            else:
                _refuse(reader, group, f"{problem} of {owner}")
        values = [(variable, reader.array(each)) for variable, each in pairs]
    for variable, value in values:
        variable.assign(value)
    if problems:
        text = ", ".join(problems)
        warnings.warn(f"load_weights: left as they were: {text}", stacklevel=5)


def _matched(reader: hdf5.Reader, model: Any, by_name: bool) -> list[tuple[str, str, list[Any]]]:
    """Groups with the layers that they are for, and the weights of these in the files' order."""
    root = "" if LAYERS in reader.attributes[""] else WHOLE
    names = _names(reader, root, LAYERS)
    if not names:
        _refuse(reader, "/", "is no older file of weights of Keras")
    groups = {name: f"{root}/{name}".lstrip("/") for name in names}
    layers = [(layer.name, _ordered(layer)) for layer in model.layers]
    top = f"{root}/{TOP}".lstrip("/")
    own = sorted(model._variables, key=lambda variable: not variable.trainable)
    last = [(top, model.name, own)] if _names(reader, top, WEIGHTS) else []
    if by_name:
        return [(groups[name], name, held) for name, held in layers if name in groups] + last
    full = [group for group in groups.values() if _names(reader, group, WEIGHTS)]
    layers = [(name, held) for name, held in layers if held]
    if len(full) != len(layers):
        text = f"holds {len(full)} layers with weights, the model has {len(layers)}"
        _refuse(reader, root or "/", text)
    return [(group, name, held) for group, (name, held) in zip(full, layers)] + last


def _ordered(layer: Any) -> list[Any]:
    return [*layer.trainable_weights, *layer.non_trainable_weights]


def _names(reader: hdf5.Reader, group: str, name: str) -> list[str]:
    """A list of names, which is in parts `name0`, `name1` where it is long."""
    texts = reader.attributes.get(group, {})
    if name in texts:
        return texts[name]
    found: list[str] = []
    number = 0
    while f"{name}{number}" in texts:
        found += texts[f"{name}{number}"]
        number += 1
    return found


def _problem(reader: hdf5.Reader, paths: list[str], variables: list[Any]) -> str | None:
    if len(paths) != len(variables):
        return f"holds {len(paths)} arrays, expected the {len(variables)} weights"
    for path, variable in zip(paths, variables):
        shape = reader.arrays[path].shape
        if shape != variable.shape:
            return f"has shape {shape}, expected {variable.shape}, a weight"
    return None


def _refuse(reader: hdf5.Reader, member: str, text: str) -> None:
    reader.window.inside(0, 0, member).refuse(text)
