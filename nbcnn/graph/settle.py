"""Readings of a variable's old value after it was written, as gradients have them."""

from collections.abc import Sequence

from nbcnn.graph.graph import Graph
from nbcnn.ops.elementwise import binary
from nbcnn.ops.op import apply_symbolic, tracing
from nbcnn.ops.tensor import Node, Tensor, VariableTensor, made_for


def settle(graph: Graph) -> Graph:
    """The graph in which nodes that come after an assignment, and read the symbol that the variable
    had before it, read a copy made in time.
    """
    nodes = graph.nodes
    written = {id(n.inputs[0]): n.order for n in graph.effects if _is_assignment(n)}
    late = {id(t) for n in nodes for t in n.inputs if n.order > written.get(id(t), n.order)}
    return _again(graph, nodes, late) if late else graph


def _is_assignment(node: Node) -> bool:
    return node.op.name == "assign" and isinstance(node.inputs[0], VariableTensor)


def _again(graph: Graph, nodes: Sequence[Node], late: set[int]) -> Graph:
    new: dict[int, Tensor] = {}
    effects: dict[int, Node] = {}
    for node in nodes:
        with made_for(node.origins):
            _make(node, late, new, effects)
    return Graph(
        [new.get(id(t), t) for t in graph.outputs], [effects[id(n)] for n in graph.effects]
    )


def _make(node: Node, late: set[int], new: dict[int, Tensor], effects: dict[int, Node]) -> None:
    """The node again; of an assignment whose target is read later also a copy made before."""
    target = node.inputs[0] if node.op.stateful else None
    if target is not None and _is_assignment(node) and id(target) in late:
        value = new.get(id(node.inputs[1]), node.inputs[1])
        with tracing():
            new[id(target)] = binary("add", target, 0)
        effects[id(node)] = Node(node.op, [target, value])
        return
    inputs = [new.get(id(t), t) for t in node.inputs]
    if node.op.stateful:
        effects[id(node)] = Node(node.op, inputs)
        return
    again = apply_symbolic(node.op, inputs)
    results = again if isinstance(again, tuple) else (again,)
    new.update((id(old), fresh) for old, fresh in zip(node.outputs, results))
