"""Gradients as graph nodes (reverse accumulation, Speelpenning 1980)."""

from collections.abc import Sequence

import numpy as np

from nbcnn.graph.graph import Graph
from nbcnn.ops.elementwise import binary
from nbcnn.ops.op import tracing
from nbcnn.ops.tensor import Constant, Node, Tensor, made_for


def gradients(
    loss: Tensor, wrt: Sequence[Tensor], seed: Tensor | None = None
) -> list[Tensor | None]:
    """d loss / d t for each t; None where the loss does not depend on it in a differentiable way.

    `seed` is the gradient of the loss itself, by default ones.
    """
    if np.dtype(loss.dtype).kind != "f":
        raise TypeError(f"gradients: the loss must have a float dtype, got {loss.dtype}")
    nodes = Graph([loss]).nodes
    needed = _depends_on(nodes, wrt)
    if seed is None:
        seed = Constant(np.ones(loss.spec.shape, loss.dtype))
    found: dict[int, Tensor] = {id(loss): seed}
    with tracing():
        for node in reversed(nodes):
            if id(node) in needed:
                with made_for(tuple(origin._replace(backward=True) for origin in node.origins)):
                    _propagate(node, found, needed, wrt)
    return [found.get(id(t)) for t in wrt]


def _depends_on(nodes: Sequence[Node], wrt: Sequence[Tensor]) -> set[int]:
    """Ids of the nodes and tensors through which the wanted tensors are reached."""
    needed = {id(t) for t in wrt}
    for node in nodes:
        if any(id(t) in needed for t in node.inputs) and node.op.name != "stop_gradient":
            needed.add(id(node))
            needed.update(id(t) for t in node.outputs)
    return needed


def _propagate(
    node: Node, found: dict[int, Tensor], needed: set[int], wrt: Sequence[Tensor]
) -> None:
    dys = [found.get(id(y)) for y in node.outputs]
    if all(dy is None for dy in dys):
        return
    for x, dx in zip(node.inputs, node.op.gradient(node, *dys)):
        if dx is None or id(x) not in needed:
            continue
        found[id(x)] = binary("add", found[id(x)], dx) if id(x) in found else dx
