"""A model run layer by layer, and the scores of its classes: what all maps are made of."""

import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nbcnn import ops
from nbcnn.graph.eager import lock
from nbcnn.layers.base import Layer
from nbcnn.layers.context import Context, current
from nbcnn.layers.layer_call import LayerCall
from nbcnn.models.functional import within_tracing
from nbcnn.models.model import Model
from nbcnn.models.network import Network
from nbcnn.models.sequential import replayed
from nbcnn.models.traced_call import TracedCall
from nbcnn.ops.elementwise import Unary
from nbcnn.ops.loss import Softmax
from nbcnn.ops.tensor import Tensor

# (layer, its output) -> what stands for the output from then on.
After = Callable[[Layer, Any], Any]

# -- what is asked for ------------------------------------------------------------------------


def check_model(where: str, model: Any) -> None:
    """Raise TypeError for what is no model, ValueError for one that is not built, or that does not
    take one batch of images.
    """
    if not isinstance(model, Model):
        raise TypeError(f"{where}: model must be a Model, got {type(model).__name__}")
    if not model.built:
        raise ValueError(
            f"{where}: model {model.name!r} is not built yet; call "
            "model.build((None, height, width, channels)) or the model on images first"
        )
    shape = model.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4:
        raise ValueError(
            f"{where}: model {model.name!r} must have one input (n, h, w, c), got shape {shape}"
        )


def check_channels_last(where: str, model: Any) -> None:
    """As `check_model`, and ValueError for a model of images with channels first."""
    check_model(where, model)
    ordered = (each for each in model._flatten_layers() if getattr(each, "data_format", None))
    layer = next(ordered, None)
    if layer is not None and layer.data_format == "channels_first":
        raise ValueError(
            f"{where}: images must have channels last, layer {layer.name!r} of model "
            f"{model.name!r} has data_format 'channels_first'"
        )


def image_batch(where: str, model: Any, image: Any) -> np.ndarray:
    """One image as a float32 batch (1, h, w, c) that fits the model.

    Raises ValueError where it does not, and for models of images with channels first.
    """
    check_channels_last(where, model)
    given = np.asarray(image, dtype=np.float32)
    expected = model.input_shape[1:]
    batch = given[..., None] if given.ndim == 2 else given
    batch = batch[None] if batch.ndim == 3 else batch
    fits = batch.ndim == 4 and len(batch) == 1
    if not fits or any(e not in (None, n) for e, n in zip(expected, batch.shape[1:])):
        raise ValueError(
            f"{where}: image must be one image of shape {expected}, got shape {given.shape}"
        )
    return np.ascontiguousarray(batch)


def class_number(where: str, scores: np.ndarray, label: Any) -> int:
    """The class that is meant, by default the one with the highest of `scores` (1, classes).

    Raises ValueError for a number that is no class, and for models that do not end in scores.
    """
    if scores.ndim != 2:
        raise ValueError(
            f"{where}: the model must end in scores of classes (n, classes), "
            f"got shape {scores.shape}"
        )
    if label is None:
        return int(scores[0].argmax())
    return in_range(where, "label", label, scores.shape[1], "classes")


def in_range(where: str, argument: str, value: Any, count: int, of_what: str) -> int:
    """A number from 0 to count - 1; raises TypeError or ValueError for any other."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{where}: {argument} must be an integer, got {value!r:.80}") from None
    if not 0 <= number < count:
        raise ValueError(
            f"{where}: {argument} must be from 0 to {count - 1}, there are {count} {of_what}, "
            f"got {number}"
        )
    return number


# -- layers -----------------------------------------------------------------------------------


def network_of(where: str, model: Any) -> Network:
    """The graph of layer calls; raises ValueError where there is none."""
    check_model(where, model)
    network = replayed(model)
    if network is None:
        raise ValueError(
            f"{where}: {type(model).__name__} {model.name!r} has a call() of its own, into which "
            "one cannot look; functional and sequential models show their layers"
        )
    return network


def calls_of(network: Network, prefix: str = "") -> Iterator[tuple[str, LayerCall]]:
    """All layer calls with the layers' paths, "model/layer" for nested ones, in order; a nested
    model comes after its layers.
    """
    for maker in network.makers:
        if isinstance(maker, LayerCall):
            path = f"{prefix}{maker.layer.name}"
            inner = replayed(maker.layer)
            if inner is not None:
                yield from calls_of(inner, f"{path}/")
            yield path, maker


def find_layer(where: str, model: Any, layer: Any) -> tuple[str, Any]:
    """Path and layer for a layer, its path or its name; raises ValueError where it is none of the
    model's, or one that is called several times.
    """
    calls = list(calls_of(network_of(where, model)))
    if isinstance(layer, str):
        exact = [c for c in calls if c[0] == layer]
        found = exact or [c for c in calls if c[1].layer.name == layer]
    else:
        found = [c for c in calls if c[1].layer is layer]
    if not found:
        name = layer if isinstance(layer, str) else getattr(layer, "name", layer)
        known = ", ".join(dict.fromkeys(path for path, _ in calls))
        raise ValueError(f"{where}: the model has no layer {name!r}; there are {known}")
    if len(found) > 1:
        raise ValueError(
            f"{where}: layer {found[0][0]!r} is called {len(found)} times in model "
            f"{model.name!r}; it must be called once"
        )
    return found[0][0], found[0][1].layer


# -- running ----------------------------------------------------------------------------------


def walk(model: Any, x: Tensor, after: After) -> Any:
    """The model's output for a tensor, in inference; what `after` returns takes the place of each
    layer's output.
    """

    def run(layer: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        inner = replayed(layer)
        y = within_tracing(layer, args, kwargs) if inner is None else inner.call(args[0], run)
        return after(layer, y)

    with current().as_training(False):
        return model._functional.call(x, run)


def outputs_at(model: Any, batch: np.ndarray, layers: list[Any]) -> list[np.ndarray]:
    """The outputs of layers for a batch."""
    found: dict[int, Tensor] = {}

    def remember(layer: Layer, y: Any) -> Any:
        found[id(layer)] = y
        return y

    def function(x: Tensor) -> list[Tensor]:
        walk(model, x, remember)
        return [found[id(layer)] for layer in layers]

    with lock():
        traced = TracedCall(function, (batch,), {}, Context(False), training=False)
        return [np.asarray(y) for y in traced.run([batch])]


def maps_at(
    where: str, model: Any, batch: np.ndarray, found: list[tuple[str, Any]]
) -> list[np.ndarray]:
    """The maps (n, oh, ow, channels) of layers, given with their paths; raises ValueError for a
    layer that has none.
    """
    arrays = outputs_at(model, batch, [layer for _, layer in found])
    for (path, layer), array in zip(found, arrays):
        if array.ndim != 4 or getattr(layer, "data_format", "") == "channels_first":
            order = " with channels first" if array.ndim == 4 else ""
            raise ValueError(
                f"{where}: layer {path!r} has no maps (n, h, w, c), its output is "
                f"{array.shape}{order}"
            )
    return arrays


def predicted(where: str, model: Any, batch: np.ndarray) -> np.ndarray:
    """The model's output for a batch, in inference; raises ValueError for several outputs."""
    return only_output(where, model, model(batch, training=False))


def only_output(where: str, model: Any, outputs: Any) -> np.ndarray:
    """What a model with one output gave as an array; raises ValueError for several."""
    if isinstance(outputs, (list, tuple, dict)):
        raise ValueError(
            f"{where}: model {model.name!r} must have one output, scores of classes (n, classes), "
            f"it has {len(outputs)}; Model(model.inputs, model.outputs[0]) is one of its first"
        )
    return np.asarray(outputs)


def class_score(y: Any, label: int) -> Tensor:
    """The sum over the batch of a class's score, before the softmax or sigmoid that ends the model.

    K. Simonyan, A. Vedaldi and A. Zisserman (2013), section 3, on why: the probability of a class
    also rises where the scores of others fall.
    """
    last = y.node
    if last is not None and (isinstance(last.op, Softmax) or last.op == Unary("sigmoid")):
        y = last.inputs[0]
    return ops.sum(y[:, label])
