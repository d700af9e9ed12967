"""Layers and models called on arrays: traced once per input shape, then run as a plan."""

from collections import OrderedDict
from typing import Any

import numpy as np

from nbcnn import config, random_state
from nbcnn.graph.aliases import WITHOUT_GRADIENTS
from nbcnn.graph.eager import lock
from nbcnn.graph.fuse import fuse
from nbcnn.graph.graph import Graph, rewrite
from nbcnn.graph.plan import Plan
from nbcnn.graph.rewrite import INFERENCE
from nbcnn.layers.base import Layer, flatten, map_structure
from nbcnn.layers.context import Context
from nbcnn.layers.variable import Clock, Variable
from nbcnn.models.steps import accepted_by
from nbcnn.ops.tensor import Constant, Tensor, VariableTensor
from nbcnn.runtime.device import current_device

CAPACITY = 16  # plans kept per layer


def call_layer(layer: Layer, args: tuple, kwargs: dict[str, Any]) -> Any:
    """The result of a layer on arrays, as arrays in the structure that `call` returns.

    Without `training` every layer inside goes by its own default. With training=True assignments
    (moving averages) take effect.
    """
    given = kwargs.get("training")
    training = None if given is None else bool(given)
    device = current_device()
    arrays = [_host(v, layer) for v in flatten(args) if _is_data(v)]
    options = {k: v for k, v in kwargs.items() if k != "training"}
    arrays += [_host(v, layer) for v in flatten(options) if _is_data(v)]
    if not arrays:
        raise TypeError(
            f"{type(layer).__name__} {layer.name!r}: expected arrays or symbolic tensors, "
            f"got {', '.join(map(repr, args or options.values())) or 'nothing'}"
        )
    key = (
        training,
        device.name,
        device.caps,
        config.choice_of_kernels(),
        *((a.shape, a.dtype.name) for a in arrays),
        _static(args, options),
    )
    with lock():
        plans = layer.__dict__.setdefault("_eager_plans", OrderedDict())
        found = plans.get(key)
        if found is None or not found.valid():
            found = plans[key] = _Eager(layer, args, options, training, device)
            if len(plans) > CAPACITY:
                plans.popitem(last=False)
        plans.move_to_end(key)
        step = layer.__dict__.get("_drawn", 0)
        if found.seeded:
            layer.__dict__["_drawn"] = step + 1
        return found.run(arrays, step)


def _is_data(value: Any) -> bool:
    return isinstance(value, (np.ndarray, np.generic, Variable, Constant)) or hasattr(
        value, "__array__"
    )


def _static(args: tuple, options: dict[str, Any]) -> str:
    """The arguments that are no arrays: they are part of what is traced."""
    return repr(map_structure(lambda v: "array" if _is_data(v) else v, (args, options)))


def _host(value: Any, layer: Layer) -> np.ndarray:
    array = value.value if isinstance(value, Constant) else np.asarray(value)
    if array.dtype.kind == "f" and array.dtype.name != layer.value_dtype:
        array = array.astype(layer.value_dtype)
    if array.dtype == object or array.dtype.kind in "USO":
        raise TypeError(
            f"{type(layer).__name__}: expected numbers, got an array of dtype {array.dtype}"
        )
    return np.ascontiguousarray(array)


class _Eager:
    """A traced call with its plan."""

    def __init__(
        self, layer: Layer, args: tuple, options: dict[str, Any], training: bool | None, device: Any
    ):
        self.device = device
        self.leaves: list[Tensor] = []

        def leaf(value: Any) -> Any:
            if not _is_data(value):
                return value
            array = _host(value, layer)
            self.leaves.append(Tensor(array.shape, array.dtype.name))
            return self.leaves[-1]

        with Context(training) as context:
            outputs = layer(*map_structure(leaf, args), **map_structure(leaf, options))
        self.structure = outputs
        flat = [t for t in flatten(outputs) if isinstance(t, Tensor)]
        graph = Graph(flat, context.updates)
        if not training:
            graph = rewrite(rewrite(graph, WITHOUT_GRADIENTS), INFERENCE)
        if config.fuse():
            graph = fuse(graph, accepted_by(device))
        self.outputs = graph.outputs
        self.changes = bool(context.updates)
        self.plan = Plan(graph, device, weights_change=bool(training))
        self.seed = context.seed
        used = [t for node in graph.nodes for t in node.inputs] + list(graph.outputs)
        self.random = any(t is context.seed for t in used)
        # Layers with a seed of their own draw by the step: another for each call, as in training.
        seeds = (getattr(inner, "seed", None) for inner in layer.sublayers())
        self.seeded = self.random and any(seed is not None for seed in seeds)
        self.bound = [(t.variable, t.variable.array) for t in used if isinstance(t, VariableTensor)]
        self.values = -1

    def valid(self) -> bool:
        return all(variable.array is array for variable, array in self.bound)

    def run(self, arrays: list[np.ndarray], step: int) -> Any:
        for leaf, array in zip(self.leaves, arrays):
            self.device.upload(self.plan.array(leaf), array)
        if self.random:
            drawn = np.array([random_state.next_seed(), step], dtype=np.int64)
            self.device.upload(self.plan.array(self.seed), drawn)
        if self.values != Clock.values:
            self.plan.prepare()
            self.values = Clock.values
        self.plan.run()
        if self.changes:
            Clock.values += 1
        results = iter([self.device.download(self.plan.array(t)) for t in self.outputs])
        return map_structure(
            lambda t: next(results) if isinstance(t, Tensor) else t, self.structure
        )
