"""Copies of models, for `copy.deepcopy` and `pickle` through the contents of a saved file, and
models of the same architecture with new weights.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbcnn.models import saving
from nbcnn.registry import CustomObjectScope, collecting

NAME = "model.nbcnn"


def reduced(model: Any) -> tuple:
    """What a model is made again from: a function and its arguments."""
    if not model.weights and not model.built:
        return _parts_of(model)
    with collecting() as parts:
        return from_file, (_as_file(model), parts)


def renewed(model: Any) -> Any:
    """A model of the same architecture with new weights, compiled alike."""
    function, arguments = _parts_of(model)
    return function(*arguments)


def _parts_of(model: Any) -> tuple:
    """What makes it without weights."""
    with collecting() as parts:
        configs = model.get_config(), model.get_compile_config()
    return from_configs, (type(model), *configs, parts)


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
