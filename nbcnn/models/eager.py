"""Layers and models called on arrays: traced once per input shape, then run as a plan."""

from collections import OrderedDict
from typing import Any

import numpy as np

from nbcnn.graph.eager import lock
from nbcnn.layers.base import Layer, flatten
from nbcnn.layers.context import Context
from nbcnn.models.traced_call import TracedCall, is_data, key_of
from nbcnn.ops.tensor import Constant

CAPACITY = 16  # plans kept per layer


def call_layer(layer: Layer, args: tuple, kwargs: dict[str, Any]) -> Any:
    """The result of a layer on arrays, as arrays in the structure that `call` returns.

    Without `training` every layer inside goes by its own default. With training=True assignments
    (moving averages) take effect.
    """
    given = kwargs.get("training")
    training = None if given is None else bool(given)
    options = {k: v for k, v in kwargs.items() if k != "training"}

    def host(value: Any) -> np.ndarray:
        return _host(value, layer)

    arrays = [host(v) for v in flatten((args, options)) if is_data(v)]
    if not arrays:
        raise TypeError(
            f"{type(layer).__name__} {layer.name!r}: expected arrays or symbolic tensors, "
            f"got {', '.join(map(repr, args or options.values())) or 'nothing'}"
        )
    key = (training, *key_of(args, options, host))
    with lock():
        plans = layer.__dict__.setdefault("_eager_plans", OrderedDict())
        found = plans.get(key)
        if found is None or not found.valid():
            found = plans[key] = _LayerCall(layer, args, options, training, host)
            if len(plans) > CAPACITY:
                plans.popitem(last=False)
        plans.move_to_end(key)
        step = layer.__dict__.get("_drawn", 0)
        if found.seeded:
            layer.__dict__["_drawn"] = step + 1
        results = found.run([host(v) for v in flatten((args, options)) if is_data(v)], step)
        for inner in layer._flatten_layers():
            inner.__dict__.pop("_latest_losses", None)
        for loser, loss in zip(found.losers, found.extra):
            loser.__dict__.setdefault("_latest_losses", []).append(loss)
        return results


def _host(value: Any, layer: Layer) -> np.ndarray:
    array = value.value if isinstance(value, Constant) else np.asarray(value)
    if array.dtype.kind == "f" and array.dtype.name != layer.value_dtype:
        array = array.astype(layer.value_dtype)
    if array.dtype == object or array.dtype.kind in "USO":
        raise TypeError(
            f"{type(layer).__name__}: expected numbers, got an array of dtype {array.dtype}"
        )
    return np.ascontiguousarray(array)


class _LayerCall(TracedCall):
    """Also computes the losses that layers add; `losers` are these layers."""

    def __init__(
        self, layer: Layer, args: tuple, options: dict[str, Any], training: bool | None, host: Any
    ) -> None:
        context = Context(training)
        super().__init__(
            layer, args, options, context, bool(training), host, lambda traced: traced.losses
        )
        self.losers = [owner for owner, _ in context.added]
        # Layers with a seed of their own draw by the step: another for each call, as in training.
        self.seeded = context.seeded
