"""The graph of layer calls behind a functional model."""

from collections.abc import Callable, Mapping
from typing import Any

from nbcnn.layers.base import Layer, flatten, map_structure
from nbcnn.layers.core import InputLayer
from nbcnn.layers.structure import ordered_keys
from nbcnn.models.checks import rank_adjusted
from nbcnn.models.functional import replay, trace_back, within_tracing
from nbcnn.models.signature import Signature, Slot
from nbcnn.ops.elementwise import Cast
from nbcnn.ops.numpy_api import expand_dims
from nbcnn.ops.op import apply_symbolic
from nbcnn.ops.shape import squeeze
from nbcnn.ops.tensor import Tensor


class Network:
    """Layer calls between symbolic inputs and outputs. A list of one output gives that output, as
    in Keras.

    Raises TypeError where these are no symbolic tensors, ValueError where an output needs a tensor
    that is no input.
    """

    def __init__(self, inputs: Any, outputs: Any) -> None:
        self.inputs, self.outputs = inputs, outputs
        flat_inputs, flat_outputs = flatten(inputs), flatten(outputs)
        _refuse_others("inputs", flat_inputs)
        _refuse_others("outputs", flat_outputs)
        if len({id(t) for t in flat_inputs}) != len(flat_inputs):
            raise ValueError("Model: the same tensor is given twice as an input")
        self.makers = trace_back(flat_outputs, flat_inputs)
        self.input_layers = [_input_layer(t) for t in flat_inputs]
        names = _unique([layer.name or "input" for layer in self.input_layers])
        self.input_signature = _signature(inputs, names)
        listed = isinstance(outputs, (list, tuple)) and len(outputs) == 1
        self.results = outputs[0] if listed else outputs
        names = _keys(self.results) or _unique(_makers_names(flat_outputs))
        self.output_signature = _signature(self.results, names)

    @property
    def layers(self) -> list[Layer]:
        """Every layer once, in Keras's order, which is also that of the weights.

        Farthest from the outputs first, counted along the longest way; of equally far ones, the one
        met first on the way back from the outputs.
        """
        flat_inputs = flatten(self.inputs)
        standing_for = {id(t): layer for t, layer in zip(flat_inputs, self.input_layers)}
        depth = self._depths(set(standing_for))
        met: list[Any] = []
        seen: set[int] = set()
        pending = list(reversed(flatten(self.outputs)))
        while pending:
            tensor = pending.pop()
            maker = None if id(tensor) in standing_for else tensor.call or tensor.node
            key = id(tensor) if maker is None else id(maker)
            if key in seen:
                continue
            seen.add(key)
            if maker is not None:
                met.append((depth[key], getattr(maker, "layer", None)))
                pending += reversed(maker.inputs)
            elif key in standing_for:
                met.append((depth[key], standing_for[key]))
        met += [(0, layer) for layer in self.input_layers]  # inputs that no output needs
        far: dict[int, int] = {}
        for distance, layer in met:
            far[id(layer)] = max(far.get(id(layer), 0), distance)
        unique = {id(layer): layer for _, layer in met if layer is not None}
        return sorted(unique.values(), key=lambda layer: -far[id(layer)])

    def _depths(self, inputs: set[int]) -> dict[int, int]:
        """The longest way to an output, by id of layer call, bare operation or input tensor."""
        depth: dict[int, int] = {}
        for maker in reversed(self.makers):
            own = depth.setdefault(id(maker), 0)
            for tensor in maker.inputs:
                source = None if id(tensor) in inputs else tensor.call or tensor.node
                key = id(tensor) if source is None else id(source)
                depth[key] = max(depth.get(key, 0), own + 1)
        for tensor in flatten(self.outputs):
            depth.setdefault(id(tensor), 0)
        return depth

    def call(self, inputs: Any, run: Callable[..., Any] = within_tracing) -> Any:
        """The outputs for other inputs: tensors nested, listed or named as `Signature` takes.

        `run(layer, args, kwargs)` is what calls each layer.
        """
        values = self.input_signature.arrange(inputs, "call")
        slots = self.input_signature.slots
        values = [_as_expected(value, slot) for value, slot in zip(values, slots)]
        feed = {id(old): new for old, new in zip(flatten(self.inputs), values)}
        return replay(self.makers, feed, self.results, run)


def _as_expected(value: Tensor, slot: Slot) -> Tensor:
    """The value in the type of a slot, and with as many axes."""
    if value.dtype != slot.dtype:
        value = apply_symbolic(Cast(slot.dtype), [value])
    axes = len(rank_adjusted(value.shape, slot.shape)) - len(value.shape)
    if axes:
        value = expand_dims(value, -1) if axes > 0 else squeeze(value, -1)
    return value


def _refuse_others(what: str, tensors: list[Any]) -> None:
    if not tensors:
        raise ValueError(f"Model: {what} is empty")
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"Model: {what} must be made by Input() and layers, got {type(tensor).__name__}"
            )


def _input_layer(tensor: Tensor) -> InputLayer:
    """The layer that stands for an input in lists and files."""
    name = tensor.name or (tensor.call.layer.name if tensor.call is not None else None)
    layer = InputLayer(batch_shape=tensor.shape, dtype=tensor.dtype, name=name)
    layer._symbolic_calls[0].outputs = tensor
    return layer


def _signature(structure: Any, names: list[str]) -> Signature:
    tensors = flatten(structure)
    return Signature(
        map_structure(lambda _: 0, structure),
        [Slot(name, (None, *t.shape[1:]), t.dtype) for name, t in zip(names, tensors)],
    )


def _keys(structure: Any) -> list[str] | None:
    flat = isinstance(structure, Mapping) and len(flatten(structure)) == len(structure)
    return [str(key) for key in ordered_keys(structure)] if flat else None


def _makers_names(tensors: list[Tensor]) -> list[str]:
    """Names of the layers, or bare operations, that tensors come from."""
    names = []
    for tensor in tensors:
        if tensor.call is not None:
            names.append(tensor.call.layer.name)
        else:
            names.append(tensor.node.op.name if tensor.node is not None else tensor.name or "input")
    return names


def _unique(names: list[str]) -> list[str]:
    """The names with `_1`, `_2` appended to repeated ones."""
    found: dict[str, None] = {}
    numbers: dict[str, int] = {}
    for name in names:
        candidate = name
        while candidate in found:
            numbers[name] = numbers.get(name, 0) + 1
            candidate = f"{name}_{numbers[name]}"
        found[candidate] = None
    return list(found)
