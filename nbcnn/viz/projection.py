"""What in an image made a feature map respond, projected back as by a deconvnet."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn import ops
from nbcnn.graph.graph import Graph, Rewriting, rewrite
from nbcnn.models.gradients import value_and_grad
from nbcnn.ops.elementwise import Binary, Unary
from nbcnn.ops.op import apply, apply_symbolic
from nbcnn.ops.tensor import Constant, Node, Tensor
from nbcnn.viz.walking import find_layer, image_batch, in_range, maps_at, walk


@dataclasses.dataclass(frozen=True)
class RectifiedBackwards(Binary):
    """max(x, 0), whose backward signal is rectified itself, in place of masked by the forward one.

    As a maximum, and not as `Unary("relu")`, it stays apart from pooling: a fusion of the two
    looks for a window's winner before relu. That is the same for gradients, since those of windows
    without a positive value are masked, but here they are not.
    """

    def gradient(self, node: Node, *dys: Tensor | None) -> list[Tensor | None]:
        (dy,) = dys
        return [None if dy is None else apply(Unary("relu"), dy), None]


def deconvnet_projection(
    model: Any, image: Any, layer: Any, channel: int | None = None, whole: bool = False
) -> np.ndarray:
    """What in an image a feature map responds to, projected back to pixels by a deconvnet.

    The layer's output is set to zero but for one channel, and goes back: through convolutions by
    their transposed filters, through max pooling by *switches* to the pixels that had won, through
    relu by relu of the signal. That is the gradient by the image but for relu, and so it is
    computed; other layers (average pooling, normalization, sums of branches) pass the gradient.

    M. Zeiler and R. Fergus, "Visualizing and understanding convolutional networks" (2014),
    section 2.1.

    Parameters
    ----------
    channel : default the one with the strongest response.
    whole : project all responses of the channel; default only the strongest one, as in the paper.

    Returns
    -------
    float32 array (h, w, c).

    Raises
    ------
    ValueError
        For layers that are none of the model's or have no maps, and channels that they have not;
        for a model that is not built, and an image that does not fit.
    """
    where = "deconvnet_projection"
    batch = image_batch(where, model, image)
    path, target = find_layer(where, model, layer)
    (maps,) = maps_at(where, model, batch, [(path, target)])
    if channel is None:
        channel = int(maps.max((0, 1, 2)).argmax())
    channel = in_range(where, "channel", channel, maps.shape[3], f"in layer {path!r}")
    own = maps[..., channel]
    kept = own if whole else np.where(own == own.max(), own, 0)
    signal = np.zeros_like(maps)
    signal[..., channel] = kept
    found: list[Tensor] = []

    def keep(each: Any, y: Any) -> Any:
        if each is target:
            found.append(y)
        return y

    def response(x: Any, weights: Any) -> Any:
        walk(model, x, keep)
        return _rectified_backwards(ops.sum(found[-1] * weights), x)

    return value_and_grad(response, 0)(batch, signal)[1][0]


def _rectified_backwards(y: Tensor, x: Tensor) -> Tensor:
    """A tensor that follows from x, with another relu everywhere in between."""
    graph = Graph([y])
    # Nodes are made anew, all but the one that x comes from: gradients are taken by x.
    nodes = [node for node in graph.nodes if node is not x.node]
    return rewrite(graph, (_replaced,), nodes).outputs[0]


def _replaced(node: Node, inputs: Sequence[Tensor], context: Rewriting) -> Sequence[Tensor] | None:
    if node.op != Unary("relu"):
        return None
    zero = Constant(np.zeros((), inputs[0].dtype))
    return (apply_symbolic(RectifiedBackwards("maximum"), [inputs[0], zero]),)
