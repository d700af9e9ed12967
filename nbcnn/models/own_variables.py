"""State beside the weights in files: what layers save of their own, and users' optimizers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nbcnn.layers.layer_state import LayerState


def index_layers(model: Any, arrays: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """What layers with a `save_own_variables` of their own put into their stores, listed."""
    entries = []
    for place, layer in enumerate(model.sublayers()):
        if type(layer).save_own_variables is LayerState.save_own_variables:
            continue
        store: dict[str, Any] = {}
        layer.save_own_variables(store)
        members = {}
        for number, (key, value) in enumerate(store.items()):
            array = np.asarray(value)
            member = f"own/{place:05d}/{number:05d}.npy"
            arrays[member] = array
            members[str(key)] = {"member": member, "shape": list(array.shape)}
        entries.append({"layer": place, "name": layer.name, "store": members})
    return entries


def read_layers(reader: Any, index: Mapping[str, Any], model: Any) -> None:
    """Layers get back what they have saved."""
    layers = list(model.sublayers())
    try:
        stores = [
            (layers[entry["layer"]], _read(reader, entry["store"]))
            for entry in index.get("own_variables") or ()
        ]
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise reader.error(None, f"its own_variables are damaged: {error!r}") from error
    for layer, store in stores:
        layer.load_own_variables(store)


def index_optimizer(optimizer: Any, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The variables that an optimizer of a user's has made."""
    members = {}
    for number, variable in enumerate(optimizer._own_variables):
        member = f"optimizer/own/{number:05d}.npy"
        arrays[member] = variable.numpy()
        members[str(number)] = {"member": member, "shape": list(variable.shape)}
    return members


def read_optimizer(
    reader: Any, members: Mapping[str, Any], optimizer: Any, variables: list[Any]
) -> None:
    """Such an optimizer continues; it is built on `variables` first."""
    if not members:
        return
    try:
        values = _read(reader, members)
    except (KeyError, TypeError, AttributeError) as error:
        raise reader.error(None, f"its optimizer state is damaged: {error!r}") from error
    optimizer.build(variables)
    own = list(optimizer._own_variables)
    if len(own) != len(values) or any(v.shape != values[str(i)].shape for i, v in enumerate(own)):
        raise reader.error(None, "its optimizer state does not fit")
    for number, variable in enumerate(own):
        variable.assign(values[str(number)])


def _read(reader: Any, members: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {
        key: reader.array(entry["member"], tuple(entry["shape"])) for key, entry in members.items()
    }
