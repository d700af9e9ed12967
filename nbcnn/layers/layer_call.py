"""Layers in functional models."""

import inspect
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from nbcnn.layers.structure import flatten
from nbcnn.ops.tensor import Node, Tensor

if TYPE_CHECKING:
    from nbcnn.layers.base import Layer


class LayerCall:
    """One use of a layer in a functional model: what it was called with and what it returned."""

    def __init__(self, layer: "Layer", args: tuple, kwargs: dict[str, Any], outputs: Any):
        self.layer, self.args, self.kwargs, self.outputs = layer, args, kwargs, outputs
        self.inputs = [t for t in flatten((args, kwargs)) if isinstance(t, Tensor)]
        self.order = next(Node._count)
        for tensor in flatten(outputs):
            if isinstance(tensor, Tensor):
                tensor.call = self


@cache
def default_training(function: Callable) -> bool | None:
    """What `training` is where nobody says: the default in the layer's `call`."""
    parameter = inspect.signature(function).parameters.get("training")
    return None if parameter is None or parameter.default is parameter.empty else parameter.default
