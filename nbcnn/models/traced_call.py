"""Functions called on arrays: traced once for their shapes, then run as a plan."""

from collections.abc import Callable
from typing import Any

import numpy as np

from nbcnn import config, random_state
from nbcnn.graph.aliases import WITHOUT_GRADIENTS
from nbcnn.graph.fuse import fuse
from nbcnn.graph.graph import Graph, rewrite
from nbcnn.graph.plan import Plan
from nbcnn.graph.rewrite import INFERENCE
from nbcnn.graph.settle import settle
from nbcnn.layers.context import Context
from nbcnn.layers.structure import flatten, map_structure
from nbcnn.layers.variable import Clock, Variable
from nbcnn.models.steps import accepted_by
from nbcnn.ops.host_array import hosted
from nbcnn.ops.tensor import Constant, Tensor, VariableTensor
from nbcnn.runtime.device import current_device

Host = Callable[[Any], np.ndarray]


def is_data(value: Any) -> bool:
    """Whether a value is an array, and not part of what is traced."""
    return isinstance(value, (np.ndarray, np.generic, Variable, Constant)) or hasattr(
        value, "__array__"
    )


def key_of(args: tuple, kwargs: dict[str, Any], host: Host = np.asarray) -> tuple:
    """What decides whether a traced call fits: device, settings, shapes, what is no array."""
    device = current_device()
    arrays = [host(v) for v in flatten((args, kwargs)) if is_data(v)]
    rest = repr(map_structure(lambda v: "array" if is_data(v) else v, (args, kwargs)))
    shapes = ((a.shape, a.dtype.name) for a in arrays)
    return (device.name, device.caps, config.choice_of_kernels(), *shapes, rest)


class TracedCall:
    """A call of `function` with its plan.

    training: whether weights may change between runs, and nothing made of them is kept. extras:
    further tensors to compute, asked for after the tracing; `extra` has their values.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple,
        kwargs: dict[str, Any],
        context: Context,
        training: bool,
        host: Host = np.asarray,
        extras: Callable[[Context], list[Tensor]] | None = None,
    ) -> None:
        self.device = current_device()
        self.leaves: list[Tensor] = []

        def leaf(value: Any) -> Any:
            if not is_data(value):
                return value
            array = host(value)
            self.leaves.append(Tensor(array.shape, array.dtype.name))
            return self.leaves[-1]

        args, kwargs = map_structure(leaf, (args, kwargs))
        with context:
            outputs = function(*args, **kwargs)
            more = [] if extras is None else extras(context)
        self.layers = [
            (layer, _settings(layer)) for layer in {id(x): x for x in context.layers}.values()
        ]
        self.structure = outputs
        flat = [t for t in flatten(outputs) if isinstance(t, Tensor)]
        self.own = len(flat)
        graph = settle(Graph([*flat, *more], context.updates))
        if not training:
            graph = rewrite(rewrite(graph, WITHOUT_GRADIENTS), INFERENCE)
        if config.fuse():
            graph = fuse(graph, accepted_by(self.device))
        self.outputs = graph.outputs
        self.changes = bool(context.updates)
        self.plan = Plan(graph, self.device, weights_change=training)
        self.seed = context.seed
        used = [t for node in graph.nodes for t in node.inputs] + list(graph.outputs)
        self.random = any(t is context.seed for t in used)
        self.bound = [(t.variable, t.variable.array) for t in used if isinstance(t, VariableTensor)]
        self.values = -1
        self.extra: list[np.ndarray] = []

    def valid(self) -> bool:
        """Whether all variables are where the plan has found them, and layers as they were."""
        return all(variable.array is array for variable, array in self.bound) and all(
            _settings(layer) == settings for layer, settings in self.layers
        )

    def run(self, arrays: list[np.ndarray], step: int = 0) -> Any:
        """The results for other arrays of the same shapes, in the order of the arguments'."""
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
        arrays = [hosted(self.device.download(self.plan.array(t))) for t in self.outputs]
        results, self.extra = iter(arrays[: self.own]), arrays[self.own :]
        return map_structure(
            lambda t: next(results) if isinstance(t, Tensor) else t, self.structure
        )


def _settings(layer: Any) -> tuple[int, bool]:
    """What is another once a layer may compute something else."""
    return layer._changes, layer.trainable
