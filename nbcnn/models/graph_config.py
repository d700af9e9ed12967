"""A functional model as plain values, in Keras 3's form: layers, each with its calls.

A call's arguments name tensors by (layer, number of its call, number of the output). Operations of
`nbcnn.ops` between layers are written like layers, with `"class_name": "__operation__"`.
"""

import dataclasses
import heapq
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from nbcnn.layers.base import Layer, flatten, map_structure
from nbcnn.layers.layer_call import LayerCall
from nbcnn.models import keras_ops
from nbcnn.models.network import Network
from nbcnn.ops.op import REGISTRY, apply_symbolic
from nbcnn.ops.tensor import Constant, Node, Tensor
from nbcnn.registry import deserialize, serialize

TENSOR, OPERATION, SLICE = "__keras_tensor__", "__operation__", "__slice__"
Address = tuple[str, int, int]


def is_graph(config: Mapping[str, Any]) -> bool:
    """Whether `config` is what `describe` returns."""
    return {"layers", "input_layers", "output_layers"} <= set(config)


# -- writing --------------------------------------------------------------------------------------


def describe(model: Any, network: Network) -> dict[str, Any]:
    """The configuration of a functional model. Raises ValueError for what a file cannot hold."""
    addresses: dict[int, Address] = {}
    entries: dict[str, dict[str, Any]] = {}
    for layer in network.input_layers:
        entries[layer.name] = {**_entry(layer), "inbound_nodes": []}  # type: ignore[index]
        addresses[id(layer.output)] = (layer.name or "", 0, 0)
    for maker in network.makers:
        if isinstance(maker, LayerCall):
            name, entry = maker.layer.name or "", _entry(maker.layer)
            node = {"args": maker.args, "kwargs": maker.kwargs}
            outputs = flatten(maker.outputs)
        else:
            name, entry = _operation_entry(maker, entries)
            node, outputs = {"args": maker.inputs, "kwargs": {}}, list(maker.outputs)
        nodes = entries.setdefault(name, {**entry, "inbound_nodes": []})["inbound_nodes"]
        addresses.update({id(t): (name, len(nodes), i) for i, t in enumerate(outputs)})
        nodes.append({key: _written(value, addresses) for key, value in node.items()})
    return {
        "name": model.name,
        "trainable": model.trainable,
        "layers": list(entries.values()),
        "input_layers": _places(network.inputs, addresses),
        "output_layers": _places(network.outputs, addresses),
    }


def _entry(layer: Layer) -> dict[str, Any]:
    return {**serialize(layer), "name": layer.name}


def _operation_entry(node: Node, entries: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    number = 0
    while (name := f"{node.op.name}_{number}" if number else node.op.name) in entries:
        number += 1
    settings = {field.name: getattr(node.op, field.name) for field in dataclasses.fields(node.op)}
    shape = list(node.outputs[0].shape)
    config = {"operation": node.op.name, "settings": settings, "shape": shape}
    return name, {"class_name": OPERATION, "config": serialize(config), "name": name}


def _written(value: Any, addresses: Mapping[int, Address]) -> Any:
    if isinstance(value, (list, tuple)):
        return [_written(item, addresses) for item in value]
    if isinstance(value, Mapping):
        return {key: _written(item, addresses) for key, item in value.items()}
    if isinstance(value, Constant):
        return serialize(value.value)
    if not isinstance(value, Tensor):
        return serialize(value)
    if id(value) not in addresses:
        raise ValueError(
            f"get_config: {value!r} is a weight used outside any layer; "
            "use it in the `call` of a layer of your own"
        )
    config = {
        "shape": list(value.shape),
        "dtype": value.dtype,
        "keras_history": list(addresses[id(value)]),
    }
    return {"class_name": TENSOR, "config": config}


def _places(structure: Any, addresses: Mapping[int, Address]) -> Any:
    return map_structure(lambda tensor: list(addresses[id(tensor)]), structure)


# -- reading --------------------------------------------------------------------------------------


def rebuild(
    config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
) -> tuple[Any, Any]:
    """Symbolic inputs and outputs. Raises ValueError for a configuration that makes no graph."""
    try:
        tensors: dict[Address, Tensor] = {}
        waiting: list[tuple[str, int, Mapping, Callable]] = []
        for entry in config["layers"]:
            name, call = entry["name"], _caller(entry, custom_objects)
            nodes = entry.get("inbound_nodes", [])
            if isinstance(call, Tensor):
                tensors[name, 0, 0] = call
            waiting += [(name, i, node, call) for i, node in enumerate(nodes)]
        _call_all(waiting, tensors)
        inputs = _tensors_at(config["input_layers"], tensors)
        return inputs, _tensors_at(config["output_layers"], tensors)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"the model's configuration is damaged: {error!r}") from error


def _caller(entry: Mapping[str, Any], custom_objects: Mapping[str, Any] | None) -> Any:
    """What a node calls: a layer or an operation; for an input layer its tensor."""
    if entry["class_name"] == OPERATION:
        config = entry["config"]
        cls = REGISTRY.get(config["operation"])
        if cls is None or cls.stateful:
            raise ValueError(f"unknown operation {config['operation']!r}")
        op = cls(**{key: _hashable(value) for key, value in config["settings"].items()})
        return lambda *inputs: apply_symbolic(op, [_as_tensor(x) for x in inputs])
    if keras_ops.is_operation(entry):
        return keras_ops.caller(entry)
    layer = deserialize(entry, custom_objects)
    if entry["class_name"] == "InputLayer":
        return layer.output
    if not isinstance(layer, Layer):
        raise ValueError(f"{entry['class_name']!r} is no layer")
    return layer


def _hashable(value: Any) -> Any:
    """JSON turned tuples into lists; operations hold tuples."""
    return tuple(_hashable(item) for item in value) if isinstance(value, list) else value


def _as_tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else Constant(np.array(value, order="C"))


def _call_all(waiting: list, tensors: dict[Address, Tensor]) -> None:
    """Make every call once its inputs are there, and each layer's calls in their order."""
    needs: list[int] = []  # of each call: how many tensors, and the call before, are not there
    readers: dict[Any, list[int]] = {}
    for number, (name, index, node, _) in enumerate(waiting):
        addresses = list(_addresses(node))
        if not addresses:  # a call of numbers would not describe something, but compute it
            raise ValueError(f"the call of layer {name!r} takes no tensors")
        wanted: set[Any] = {address for address in addresses if address not in tensors}
        wanted |= {(name, index - 1)} if index else set()
        needs.append(len(wanted))
        for address in wanted:
            readers.setdefault(address, []).append(number)
    ready = [number for number, count in enumerate(needs) if not count]  # the file's order first
    left = set(range(len(waiting)))
    while ready:
        number = heapq.heappop(ready)
        left.discard(number)
        name, index, node, call = waiting[number]
        args = _read(node.get("args", []), tensors)
        kwargs = _read(node.get("kwargs", {}), tensors)
        outputs = flatten(call(*args, **kwargs))
        made = {(name, index, i): t for i, t in enumerate(outputs)}
        tensors.update(made)
        for address in [*made, (name, index)]:
            for reader in readers.get(address, ()):
                needs[reader] -= 1
                if not needs[reader]:
                    heapq.heappush(ready, reader)
    if left:
        name = waiting[min(left)][0]
        raise ValueError(f"the calls of layer {name!r} need tensors that nothing makes")


def _addresses(value: Any) -> Iterator[Address]:
    if isinstance(value, Mapping):
        if value.get("class_name") == TENSOR:
            yield _address(value)
        else:
            for item in value.values():
                yield from _addresses(item)
    elif isinstance(value, list):
        for item in value:
            yield from _addresses(item)


def _address(value: Mapping[str, Any]) -> Address:
    name, call, output = value["config"]["keras_history"]
    if not isinstance(name, str) or type(call) is not int or type(output) is not int:
        raise ValueError(f"a tensor is named {[name, call, output]!r}"[:200])
    return name, call, output


def _read(value: Any, tensors: Mapping[Address, Tensor]) -> Any:
    if isinstance(value, list):
        return [_read(item, tensors) for item in value]
    if isinstance(value, Mapping):
        if value.get("class_name") == TENSOR:
            return tensors[_address(value)]
        if value.get("class_name") == SLICE:
            return slice(*(value["config"].get(k) for k in ("start", "stop", "step")))
        if "class_name" in value:
            return deserialize(value)
        return {key: _read(item, tensors) for key, item in value.items()}
    return value


def _tensors_at(places: Any, tensors: Mapping[Address, Tensor]) -> Any:
    """`places` is one address, or a list or dictionary of them."""
    if isinstance(places, Mapping):
        return {key: _tensors_at(value, tensors) for key, value in places.items()}
    if len(places) == 3 and isinstance(places[0], str):
        return tensors[places[0], places[1], places[2]]
    return [_tensors_at(place, tensors) for place in places]
