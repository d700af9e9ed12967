"""Fusions of batch normalization with what follows it: an addition, an activation, their gradients.

A residual block ends in relu(BN(x) + shortcut). Forward, normalizing, adding and the activation
become one pass. Backward, the gradient g of the sum is needed by the normalization and by the
shortcut: the pass that takes the normalization's sums writes g on its way, and where g begins as
the sum of two gradients, it adds them as well.
"""

import dataclasses
from collections.abc import Sequence

from nbcnn.graph.fusion import Accepts, if_accepted, redirect
from nbcnn.graph.graph import Graph, Rewriting, Rule
from nbcnn.ops.conv_spec import RELU, TAIL_ACTIVATIONS
from nbcnn.ops.elementwise import Binary, UnaryGradient
from nbcnn.ops.norm import BatchNorm, BatchNormGradient
from nbcnn.ops.tensor import Node, Tensor


def rules(graph: Graph, accepts: Accepts) -> list[Rule]:
    return [sum_into_norm(accepts), gradient_into_norm(graph, accepts)]


def sum_into_norm(accepts: Accepts) -> Rule:
    """batchnorm(x) + s  ->  batchnorm with a residual."""

    def rule(node: Node, inputs: Sequence[Tensor], context: Rewriting):
        if not node.outputs or not summands(node.outputs[0]):
            return None
        for old, y, other in zip(node.inputs, inputs, reversed(inputs)):
            norm = _unfused(y)
            if norm is None or other is y or not context.only_reader(old):
                continue
            op = dataclasses.replace(norm.op, residual=True)
            outputs = if_accepted(accepts, op, (*norm.inputs, other))
            if outputs is not None:
                for statistic, again in zip(norm.outputs[1:], outputs[1:]):
                    redirect(context, statistic, again)
                return outputs[:1]
        return None

    return rule


def _unfused(y: Tensor) -> Node | None:
    """The normalization that y comes out of, if nothing follows in it yet."""
    if y.node is None or y.index != 0 or not isinstance(y.node.op, BatchNorm):
        return None
    return None if y.node.op.act or y.node.op.residual else y.node


def summands(y: Tensor) -> tuple[Tensor, ...]:
    """The two arrays of one shape and type that y is the sum of; none where it is not."""
    if y.node is None or y.node.op != Binary("add"):
        return ()
    a, b = y.node.inputs
    return (a, b) if (a.shape, a.dtype) == (b.shape, b.dtype) and a.ndim > 1 else ()


def gradient_into_norm(graph: Graph, accepts: Accepts) -> Rule:
    """batchnorm_dx(x, act_dx(y, dy))  ->  batchnorm_dx that takes the slope itself.

    It takes the place of act_dx, and has g among its results where others read it or where dy is a
    sum that it can form itself.
    """
    after: dict[int, list[Node]] = {}  # id of g -> gradients of normalizations that read it
    for node in graph.nodes:
        if isinstance(node.op, BatchNormGradient) and not node.op.act:
            after.setdefault(id(node.inputs[1]), []).append(node)
    joint: dict[int, tuple[Tensor, ...]] = {}  # id of that gradient -> its results

    def rule(node: Node, inputs: Sequence[Tensor], context: Rewriting):
        if id(node) in joint:
            return joint[id(node)]
        if type(node.op) is not UnaryGradient:
            return None
        y, norm = inputs[0], inputs[0].node
        act = TAIL_ACTIVATIONS.get(node.op.function, -1)
        if norm is None or not isinstance(norm.op, BatchNorm) or y.index or norm.op.act != act:
            return None
        for last in after.get(id(node.outputs[0]), ()):
            if norm.outputs[3] is context.lookup(last.inputs[5]):
                break
        else:
            return None
        x, _, gamma, mean, var, line = map(context.lookup, last.inputs)
        through = act != RELU or norm.op.residual
        needed = not context.only_reader(node.outputs[0])
        parts = summands(inputs[1]) if context.only_reader(node.inputs[1]) else ()
        for joined in (True, False) if parts else (False,):
            dy, *more = parts if joined else inputs[1:]
            op = BatchNormGradient(last.op.epsilon, act, through, joined, joined or needed)
            seen = [y] if through else []
            outputs = if_accepted(accepts, op, (x, dy, gamma, mean, var, line, *seen, *more))
            if outputs is not None:
                joint[id(last)] = outputs[:3]
                return outputs[3:] if op.shared else outputs[:1]
        return None

    return rule
