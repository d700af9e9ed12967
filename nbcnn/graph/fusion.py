"""What the rows of fusions share."""

from collections.abc import Callable, Sequence

from nbcnn.graph.graph import Graph, Rewriting
from nbcnn.kernels.impl import Choice
from nbcnn.ops.op import Op, apply_symbolic
from nbcnn.ops.tensor import Node, Tensor, VariableTensor

# The implementation that the device chooses for an op on these inputs, or None.
Accepts = Callable[[Op, Sequence[Tensor]], Choice | None]


def if_accepted(accepts: Accepts, op: Op, inputs: Sequence[Tensor]) -> tuple[Tensor, ...] | None:
    if not accepts(op, inputs):
        return None
    outputs = apply_symbolic(op, list(inputs))
    return outputs if isinstance(outputs, tuple) else (outputs,)


def redirect(context: Rewriting, old: Tensor, new: Tensor) -> None:
    """Make later readers of a tensor of the *new* graph read another one."""
    for key, value in context.new.items():
        if value is old:
            context.new[key] = new


def updates_last(graph: Graph) -> list[Node]:
    """The nodes, with updates of variables and what only they need after all others.

    An update that reads a node's second output (a batch's statistics, say) would otherwise be in
    place before a row has seen what follows the first output, and keep the node that the row
    replaces. The order stays as it is where a variable is read after it was written.
    """
    nodes, wanted = graph.nodes, {n.order for n in Graph(graph.outputs).nodes}
    written: set[int] = set()
    for node in nodes:
        if any(_place(t) in written for t in node.inputs) and node.order in wanted:
            return nodes
        if node.op.stateful:
            written.update(_place(t) for t in node.inputs if t.node is None)
    return sorted(nodes, key=lambda node: node.order not in wanted)


def _place(tensor: Tensor) -> int:
    """What a tensor's memory is told by: a variable has a new symbol after each assignment."""
    return id(tensor.variable if isinstance(tensor, VariableTensor) else tensor)
