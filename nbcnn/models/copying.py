"""Copies of models, for `copy.deepcopy` and `pickle`: through the contents of a saved file."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbcnn.models import saving
from nbcnn.models.compilation import leaves
from nbcnn.registry import CustomObjectScope, is_own

NAME = "model.nbcnn"


def reduced(model: Any) -> tuple:
    """What a model is made again from: a function and its arguments."""
    parts = _foreign_parts(model)
    if model.weights or model.built:
        return from_file, (_as_file(model), parts)
    return from_configs, (type(model), model.get_config(), model.get_compile_config(), parts)


def renewed(model: Any) -> Any:
    """A model of the same architecture with new weights, compiled alike."""
    parts = _foreign_parts(model)
    return from_configs(type(model), model.get_config(), model.get_compile_config(), parts)


def from_file(contents: bytes, parts: Mapping[str, Any]) -> Any:
    """The model whose file has these contents."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NAME
        path.write_bytes(contents)
        return saving.load_model(path, custom_objects=parts)


def from_configs(
    kind: type, config: dict[str, Any], compiling: dict[str, Any], parts: Mapping[str, Any]
) -> Any:
    """A model that has no weights yet."""
    with CustomObjectScope(parts):
        model = kind.from_config(config)  # type: ignore[attr-defined]
        model.compile_from_config(compiling)
    return model


def _as_file(model: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NAME
        saving.save_model(model, path)
        return path.read_bytes()


def _foreign_parts(model: Any) -> dict[str, Any]:
    """Classes and functions that are not of this package, by name."""
    found = [type(layer) for layer in model._flatten_layers()]
    arguments = model._compile_arguments
    if arguments is not None:
        for value in (arguments.loss, arguments.metrics, arguments.weighted_metrics):
            found += [f if hasattr(f, "__name__") else type(f) for f in leaves(value)]
        found.append(type(arguments.optimizer))
    return {f.__name__: f for f in found if not is_own(f) and f.__module__ != "builtins"}
