"""Products of operands rounded to bfloat16, by kernels that round what they read."""

import dataclasses
from collections.abc import Sequence

from nbcnn.graph.fusion import Accepts, if_accepted
from nbcnn.graph.graph import Graph, Rewriting, Rule, rewrite
from nbcnn.graph.rewrite import without_rounding_of_gradients
from nbcnn.ops.bfloat16 import ROUND
from nbcnn.ops.conv import Conv2DOp
from nbcnn.ops.dense import Matmul
from nbcnn.ops.tensor import Node, Tensor


def products(graph: Graph, accepts: Accepts) -> Graph:
    """The graph with such products; as it was where it rounds nothing."""
    if not any(node.op == ROUND for node in graph.nodes):
        return graph
    graph = rewrite(graph, [without_rounding_of_gradients])
    return rewrite(graph, [rounding_into_product(accepts)])


def rounding_into_product(accepts: Accepts) -> Rule:
    """conv2d, matmul or one of their gradients, of rounded operands  ->  one node."""

    def rule(node: Node, inputs: Sequence[Tensor], context: Rewriting):
        if not isinstance(node.op, (Conv2DOp, Matmul)) or len(inputs) != 2:
            return None
        if any(t.node is None or t.node.op != ROUND for t in inputs):
            return None
        sources = [t.node.inputs[0] for t in inputs if t.node is not None]
        return if_accepted(accepts, dataclasses.replace(node.op, rounded=True), sources)

    return rule
