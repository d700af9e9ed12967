"""Fusions of batch normalization with what follows it: an addition, an activation, their gradients.

A residual block ends in relu(BN(x) + shortcut). Forward, normalizing, adding and the activation
become one pass. Backward, the gradient g of the sum is needed by the normalization and by the
shortcut: the pass that takes the normalization's sums writes g on its way, and where g begins as
the sum of two gradients, it adds them as well.

A max pool is joined last, when the gradients of activations no longer read the map behind the
normalization.
"""

import dataclasses
from collections.abc import Sequence

from nbcnn.graph.fuse_pool import side_by_side
from nbcnn.graph.fusion import Accepts, if_accepted, redirect
from nbcnn.graph.graph import Graph, Rewriting, Rule
from nbcnn.ops.conv_spec import LINEAR, RELU, TAIL_ACTIVATIONS
from nbcnn.ops.elementwise import Binary, UnaryGradient
from nbcnn.ops.norm import BatchNorm, BatchNormGradient
from nbcnn.ops.norm_pool import BatchNormMaxPool, BatchNormMaxPoolGradient
from nbcnn.ops.pool import MaxPool2D, MaxPool2DGradient, Pool2DSpec
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


def pool_rules(accepts: Accepts) -> list[Rule]:
    return [max_pool_into_norm(accepts), max_pool_gradient_into_norm(accepts)]


def max_pool_into_norm(accepts: Accepts) -> Rule:
    """maxpool2d(batchnorm(x))  ->  batchnorm_maxpool(x), where only the pool reads between."""

    def rule(node: Node, inputs: Sequence[Tensor], context: Rewriting):
        if not isinstance(node.op, MaxPool2D) or not node.op.indices or node.op.recorded:
            return None
        norm, op = inputs[0].node, node.op
        if norm is None or not isinstance(norm.op, BatchNorm) or inputs[0].index:
            return None
        if norm.op.residual or norm.op.act not in (LINEAR, RELU):
            return None
        if not context.only_reader(node.inputs[0]) or not _tiled(op.spec(inputs[0].spec)):
            return None
        joint = BatchNormMaxPool(norm.op.epsilon, norm.op.act, op.window)
        outputs = if_accepted(accepts, joint, norm.inputs)
        if outputs is None:
            return None
        for statistic, again in zip(norm.outputs[1:], outputs[2:]):
            redirect(context, statistic, again)
        return outputs[:2]

    return rule


def max_pool_gradient_into_norm(accepts: Accepts) -> Rule:
    """batchnorm_dx(x, maxpool2d_dx(dy, winners))  ->  batchnorm_maxpool_dx(x, dy, winners)."""

    def rule(node: Node, inputs: Sequence[Tensor], context: Rewriting):
        op = node.op
        if not isinstance(op, BatchNormGradient) or op.through_output or op.shared:
            return None
        pool = inputs[1].node
        if pool is None or not isinstance(pool.op, MaxPool2DGradient):
            return None
        if not context.only_reader(node.inputs[1]) or not _tiled(pool.op.spec(inputs[1].spec)):
            return None
        joint = BatchNormMaxPoolGradient(op.epsilon, op.act, pool.op.window)
        return if_accepted(accepts, joint, (inputs[0], *pool.inputs, *inputs[2:]))

    return rule


def _tiled(s: Pool2DSpec) -> bool:
    return side_by_side(s) and (s.oh * s.kh, s.ow * s.kw) == (s.h, s.w)
