"""State beside the weights in files: what layers save of their own, and users' optimizers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nbcnn.layers.layer_state import LayerState

LAYERS, OPTIMIZER = "own", "optimizer_own"  # groups of arrays


def layers_of(model: Any) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """What layers with a `save_own_variables` of their own put into their stores: a list of these,
    and the arrays by name.
    """
    entries, arrays = [], {}
    for place, layer in enumerate(model._flatten_layers()):
        if type(layer).save_own_variables is LayerState.save_own_variables:
            continue
        store: dict[str, Any] = {}
        layer.save_own_variables(store)
        members = {}
        for number, (key, value) in enumerate(store.items()):
            name = f"{place:05d}/{number:05d}"
            arrays[name] = np.asarray(value)
            members[str(key)] = {"member": name, "shape": list(arrays[name].shape)}
        entries.append({"layer": place, "name": layer.name, "store": members})
    return entries, arrays


def read_layers(file: Any, model: Any) -> list[tuple[Any, dict[str, np.ndarray]]]:
    """Layers and what they have saved: to be given to their `load_own_variables`."""
    layers, entries = list(model._flatten_layers()), file.index.get("own_variables") or ()
    arrays = file.group(LAYERS) if entries and file.version > 1 else None
    try:
        return [(layers[entry["layer"]], _found(file, entry["store"], arrays)) for entry in entries]
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        file.refuse(f"own_variables are damaged: {error!r}"[:300])
        raise


def optimizer_of(optimizer: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The variables that an optimizer of a user's has made: a list of these, and the arrays."""
    own = getattr(optimizer, "_own_variables", ())
    arrays = {f"{number:05d}": variable.numpy() for number, variable in enumerate(own)}
    members = {
        str(number): {"member": name, "shape": list(array.shape)}
        for number, (name, array) in enumerate(arrays.items())
    }
    return members, arrays


def read_optimizer(file: Any, members: Any, optimizer: Any, variables: list[Any]) -> list[tuple]:
    """Variables of such an optimizer, which is built on `variables` first, and their values."""
    if not members:
        return []
    try:
        arrays = file.group(OPTIMIZER) if file.version > 1 else None
        values = _found(file, members, arrays)
    except (KeyError, TypeError, AttributeError) as error:
        file.refuse(f"optimizer state is damaged: {error!r}"[:300])
        raise
    optimizer.build(variables)
    own = list(optimizer._own_variables)
    names = {str(i) for i in range(len(own))}
    if names != set(values) or any(v.shape != values[str(i)].shape for i, v in enumerate(own)):
        file.refuse("optimizer state does not fit")
    return [(variable, values[str(number)]) for number, variable in enumerate(own)]


def _found(
    file: Any, members: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None
) -> dict[str, np.ndarray]:
    if arrays is None:
        return {
            key: file.reader.array(entry["member"], tuple(entry["shape"]))
            for key, entry in members.items()
        }
    return {key: arrays[entry["member"]] for key, entry in members.items()}
