"""Running a functional model's layers again on other tensors."""

from collections.abc import Callable, Sequence
from typing import Any

from nbcnn.layers.base import map_structure
from nbcnn.layers.layer_call import LayerCall
from nbcnn.ops.op import apply_symbolic
from nbcnn.ops.tensor import Node, Tensor


def trace_back(outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> list[LayerCall | Node]:
    """The layer calls and bare operations between inputs and outputs, in order of creation.

    Raises ValueError where an output needs a tensor that is no input.
    """
    known = {id(t) for t in inputs}
    found: dict[int, LayerCall | Node] = {}
    pending = list(outputs)
    while pending:
        tensor = pending.pop()
        if id(tensor) in known:
            continue
        maker = tensor.call or tensor.node
        if maker is None:
            if type(tensor) is Tensor:
                raise ValueError(
                    f"graph disconnected: {tensor!r} is needed for the outputs "
                    "but is not among the inputs"
                )
            continue
        if maker.order not in found:
            found[maker.order] = maker
            pending += maker.inputs
    return [found[order] for order in sorted(found)]


def within_tracing(layer: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """A layer gets `training` from the tracing, also where the functional call gave it, as in
    Keras.
    """
    return layer(*args, **{k: v for k, v in kwargs.items() if k != "training"})


def replay(
    makers: Sequence[LayerCall | Node],
    feed: dict[int, Tensor],
    outputs: Any,
    call: Callable[[Any, tuple, dict[str, Any]], Any] = within_tracing,
) -> Any:
    """Call every layer again. `feed` maps ids of the model's inputs to new tensors; returns new
    outputs.
    """
    values: dict[int, Any] = dict(feed)

    def now(value: Any) -> Any:
        return values.get(id(value), value) if isinstance(value, Tensor) else value

    for maker in makers:
        if isinstance(maker, LayerCall):
            args, kwargs = map_structure(now, (maker.args, maker.kwargs))
            result = call(maker.layer, args, kwargs)
            _remember(maker.outputs, result, values)
        else:
            result = apply_symbolic(maker.op, [now(t) for t in maker.inputs])
            results = result if isinstance(result, tuple) else (result,)
            values.update((id(old), new) for old, new in zip(maker.outputs, results))
    return map_structure(now, outputs)


def _remember(old: Any, new: Any, values: dict[int, Any]) -> None:
    if isinstance(old, (list, tuple)):
        for a, b in zip(old, new):
            _remember(a, b, values)
    elif isinstance(old, dict):
        for key in old:
            _remember(old[key], new[key], values)
    else:
        values[id(old)] = new
