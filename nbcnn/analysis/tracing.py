"""What a model computes on given shapes: its layers' calls and the operations they are made of."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from nbcnn.layers.base import flatten
from nbcnn.layers.context import Context
from nbcnn.models.functional import replay, within_tracing
from nbcnn.models.sequential import replayed
from nbcnn.ops.tensor import Tensor

# (layer, name, its call) -> what the call returns.
Wrapper = Callable[[Any, str, Callable[[], Any]], Any]


class Call(NamedTuple):
    """One use of a layer: its name (inside models `outer/inner`), and tensors of known shapes."""

    layer: Any
    name: str
    inputs: list[Tensor]
    outputs: list[Tensor]


class Trace(NamedTuple):
    """A model on symbolic inputs of known shapes, as it predicts."""

    inputs: list[Tensor]
    names: list[str]  # of the inputs
    calls: list[Call]
    outputs: list[Tensor]


def require_built(where: str, model: Any) -> None:
    """Raise TypeError for what is no model, ValueError for a model whose weights are not made."""
    if not hasattr(model, "_runners"):
        raise TypeError(f"{where}: expected a model, got {type(model).__name__}")
    if model._functional is None and not (model.built and model._built_for is not None):
        raise ValueError(
            f"{where}: {type(model).__name__} {model.name!r} is not built, so no shape in it is "
            f"known; call {model.name}.build((None, height, width, channels)), begin it with "
            "Input((height, width, channels)), or call it on data"
        )


def require_built_layer(where: str, layer: Any, shape: Sequence[int]) -> None:
    """Raise ValueError for a layer whose weights are not made."""
    if not layer.built:
        raise ValueError(
            f"{where}: {type(layer).__name__} {layer.name!r} is not built; "
            f"{layer.name}.build({(None, *shape)}) makes its weights"
        )


def sample_shape(where: str, input_shape: Any) -> tuple[int, ...]:
    """The shape of one sample, from one with or without None for the batch."""
    shape = tuple(input_shape) if isinstance(input_shape, (list, tuple)) else ()
    shape = shape[1:] if shape[:1] == (None,) else shape
    if not shape or not all(isinstance(n, int) and n > 0 for n in shape):
        raise ValueError(
            f"{where}: input_shape must be the sizes of one sample, as (28, 28, 1), "
            f"got {input_shape!r}"
        )
    return shape


def traced(where: str, model: Any, input_shape: Any = None, batch: int = 1) -> Trace:
    """The model on a batch; `input_shape`: of a sample of its only input, where that is not
    the one it was built for.
    """
    require_built(where, model)
    signature = model._input_signature_for(None)
    shapes = [tuple(shape[1:]) for shape in signature.example]
    if input_shape is not None:
        if len(shapes) != 1:
            raise ValueError(f"{where}: input_shape is for models of one input, not {len(shapes)}")
        shapes = [sample_shape(where, input_shape)]
    for slot, shape in zip(signature.slots, shapes):
        if None in shape:
            raise ValueError(
                f"{where}: input {slot.name!r} of {model.name!r} is {shape}; give the sizes of a "
                "sample as input_shape"
            )
    leaves = [Tensor((batch, *s), slot.dtype) for slot, s in zip(signature.slots, shapes)]
    calls: list[Call] = []
    with Context(training=False):
        outputs = record(model, signature.pack(leaves), calls)
    return Trace(leaves, signature.names, calls, flatten(outputs))


def _alone(layer: Any, name: str, call: Callable[[], Any]) -> Any:
    return call()


def record(
    model: Any, inputs: Any, calls: list[Call], prefix: str = "", wrapped: Wrapper = _alone
) -> Any:
    """The outputs of a model, within a tracing; what its layers take and return is appended to
    `calls`. Each layer is called through `wrapped(layer, name, call)`.
    """

    def call(layer: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        name = f"{prefix}{layer.name}"
        if replayed(layer) is not None and len(args) == 1:
            return record(layer, args[0], calls, f"{name}/", wrapped)
        outputs = wrapped(layer, name, lambda: within_tracing(layer, args, kwargs))
        taken = [t for t in flatten((args, kwargs)) if isinstance(t, Tensor)]
        given = [t for t in flatten(outputs) if isinstance(t, Tensor)]
        calls.append(Call(layer, name, taken, given))
        return outputs

    network = replayed(model)
    if network is None:
        return call(model, (inputs,), {})
    values = network.input_signature.arrange(inputs, model.name)
    feed = {id(old): new for old, new in zip(flatten(network.inputs), values)}
    return replay(network.makers, feed, network.outputs, call)
