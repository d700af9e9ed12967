"""`clone_model`: a model's graph on other layers, or on other inputs."""

from collections.abc import Callable
from typing import Any

from nbcnn.layers.base import Layer, flatten
from nbcnn.layers.core import Input, InputLayer
from nbcnn.models.copying import renewed
from nbcnn.models.functional import replay
from nbcnn.models.model import Model
from nbcnn.models.sequential import Sequential
from nbcnn.ops.tensor import Tensor
from nbcnn.registry import CustomObjectScope, collecting


def clone_model(
    model: Model,
    input_tensors: Any = None,
    clone_function: Callable[[Layer], Layer] | None = None,
    call_function: Callable[..., Any] | None = None,
    recursive: bool = False,
) -> Any:
    """A model of the same architecture with new layers and new weights, compiled alike.

    Parameters
    ----------
    model : functional or sequential; of a class of one's own with `get_config`, without the other
        arguments.
    input_tensors : symbolic tensors, in the order of `model.inputs`, to begin with; new inputs like
        the model's own by default.
    clone_function : called with each layer but inputs, returns the layer to take in its place,
        which may be the same; by default one made from the layer's configuration.
    call_function : called as (layer, *args, **kwargs) for each call of a layer of a functional
        model, returns the outputs; by default it only calls the layer.
    recursive : clone models inside in the same way, instead of giving them to `clone_function`.

    Raises
    ------
    ValueError
        For other models, and where `clone_function` returns no layer.
    """
    is_chain = isinstance(model, Sequential)
    changed = (input_tensors, clone_function, call_function) != (None, None, None)
    if not isinstance(model, Model):
        raise ValueError(f"clone_model: model must be a model, got {model!r:.80}")
    if not changed or (model._functional is None and not is_chain):
        if changed:
            raise ValueError(
                "clone_model: clone_function and the like need a functional or sequential model, "
                f"got a {type(model).__name__}"
            )
        return renewed(model)
    if is_chain and call_function is not None:
        raise ValueError("clone_model: call_function needs a functional model, got a Sequential")

    def clone(layer: Layer) -> Layer:
        if recursive and isinstance(layer, Model):
            deeper = None if isinstance(layer, Sequential) else call_function
            return clone_model(layer, None, clone_function, deeper, True)
        make = clone_function or (lambda each: type(each).from_config(each.get_config()))
        made = make(layer)
        if not isinstance(made, Layer):
            raise ValueError(f"clone_model: clone_function must return a layer, got {made!r:.80}")
        return made

    begin = None if input_tensors is None else flatten(input_tensors)
    made = _chain(model, clone, begin) if is_chain else _graph(model, clone, begin, call_function)
    with collecting() as parts:
        compiling = model.get_compile_config()
    with CustomObjectScope(parts):
        made.compile_from_config(compiling)
    return made


def _chain(model: Any, clone: Callable[[Layer], Layer], begin: list[Tensor] | None) -> Sequential:
    layers = [clone(layer) for layer in model.layers if not isinstance(layer, InputLayer)]
    like = begin or (model.inputs if model._functional is not None else [])
    start = [Input(batch_shape=tensor.shape, dtype=tensor.dtype) for tensor in like]
    return Sequential([*start, *layers], name=model.name, trainable=model.trainable)


def _graph(
    model: Any,
    clone: Callable[[Layer], Layer],
    begin: list[Tensor] | None,
    call_function: Callable[..., Any] | None,
) -> Model:
    network, clones = model._functional, {}
    if begin is not None and len(begin) != len(model.inputs):
        raise ValueError(
            f"clone_model: input_tensors must be {len(model.inputs)} tensors, got {len(begin)}"
        )
    fresh = begin or [
        Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=layer.name)
        for tensor, layer in zip(model.inputs, network.input_layers)
    ]

    def call(layer: Layer, args: tuple, kwargs: dict[str, Any]) -> Any:
        if id(layer) not in clones:
            clones[id(layer)] = clone(layer)
        own = clones[id(layer)]
        return (
            own(*args, **kwargs) if call_function is None else call_function(own, *args, **kwargs)
        )

    feed = {id(old): new for old, new in zip(model.inputs, fresh)}
    outputs = replay(network.makers, feed, network.outputs, call)
    inputs = network.input_signature.pack(fresh)
    cls = type(model) if type(model).__init__ is Model.__init__ else Model
    return cls(inputs, outputs, name=model.name, trainable=model.trainable)
