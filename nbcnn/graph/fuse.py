"""Fusions after differentiation: each row joins two nodes into one richer node.

Two conditions make a fusion legal and useful: the value in between has exactly one reader, and the
device has an implementation that accepts the joint spec. Since gradients are already nodes, the
first alone decides about
training: relu, sigmoid and tanh differentiate through their output, so they fuse; gelu through its
input, so it fuses in inference only.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from nbcnn.graph import fuse_norm, fuse_pool
from nbcnn.graph.aliases import differentiated
from nbcnn.graph.fusion import Accepts, if_accepted, redirect, updates_last
from nbcnn.graph.graph import Graph, Rewriting, Rule, rewrite
from nbcnn.graph.rewrite import is_bias_add
from nbcnn.ops.conv import Conv2D, Conv2DKernelGradient
from nbcnn.ops.conv_spec import GELU, MEAN_POOL, MONOTONIC, NORM_ACTIVATIONS, TAIL_ACTIVATIONS
from nbcnn.ops.dense import Matmul
from nbcnn.ops.elementwise import Binary, Unary, UnaryGradient, UnaryGradientSum
from nbcnn.ops.norm import BatchNorm, ScaleShift
from nbcnn.ops.op import apply_symbolic
from nbcnn.ops.reduce import Reduce
from nbcnn.ops.shape import Reshape
from nbcnn.ops.tensor import Node, Tensor


def fuse(graph: Graph, accepts: Accepts) -> Graph:
    """`accepts(op, inputs)`: the implementation that the device chooses for this node, or None."""
    graph = rewrite(graph, [differentiated])
    graph = rewrite(graph, [fuse_pool.max_pool_gradient_into_kernel_gradient(graph, accepts)])
    rules = [row(accepts) for row in ROWS]
    rules.append(bias_gradient_into_kernel_gradient(graph, accepts))
    rules.append(bias_gradient_into_activation_gradient(graph, accepts))
    rules[:0] = fuse_norm.rules(graph, accepts)
    graph = rewrite(graph, rules, updates_last(graph))
    return rewrite(graph, fuse_norm.pool_rules(accepts), updates_last(graph))


def bias_into_product(accepts: Accepts) -> Rule:
    """conv2d or matmul, then + b  ->  one node with a bias."""

    def rule(node: Node, inputs: Sequence[Tensor], context: Rewriting):
        if not is_bias_add(node.op, inputs) or not context.only_reader(node.inputs[0]):
            return None
        product = inputs[0].node
        if product is None or not isinstance(product.op, (Conv2D, Matmul)):
            return None
        if product.op.bias or product.op.act or fuse_pool.pool_of(product.op):
            return None
        return if_accepted(
            accepts, dataclasses.replace(product.op, bias=True), (*product.inputs, inputs[1])
        )

    return rule


def activation_into_tail(accepts: Accepts) -> Rule:
    """conv2d, matmul, batchnorm or scale_shift, then an activation that its kernels know  ->  one
    node. Not where the product alone has an implementation before all that take the activation.
    """

    def rule(node: Node, inputs: Sequence[Tensor], context: Rewriting):
        if not isinstance(node.op, Unary) or not context.only_reader(node.inputs[0]):
            return None
        producer = inputs[0].node
        if producer is None or inputs[0].index != 0:
            return None
        if not isinstance(producer.op, (Conv2D, Matmul, BatchNorm, ScaleShift)) or producer.op.act:
            return None
        product = isinstance(producer.op, (Conv2D, Matmul))
        known = TAIL_ACTIVATIONS if product else NORM_ACTIVATIONS
        act, pool = known.get(node.op.function), fuse_pool.pool_of(producer.op)
        if act is None or not _after_pool(act, pool):
            return None
        if act == GELU and inputs[0].dtype != "float32":  # kernels have single precision of it only
            return None
        op = dataclasses.replace(producer.op, act=act)
        joint, alone = accepts(op, producer.inputs), accepts(producer.op, producer.inputs)
        if not fuse_pool.not_behind(joint, alone):
            return None
        found = apply_symbolic(op, list(producer.inputs))
        outputs = found if isinstance(found, tuple) else (found,)
        # Batch statistics and the winners of a pool are read elsewhere.
        for old, new in zip(producer.outputs[1:], outputs[1:]):
            redirect(context, old, new)
        return outputs[:1]

    return rule


def _after_pool(act: int, pool: int) -> bool:
    """Whether the activation may come behind the pool of a convolution: a maximum commutes with it
    where it is monotonic.
    """
    return not pool or (pool != MEAN_POOL and act in MONOTONIC)


def activation_into_binary(accepts: Accepts) -> Rule:
    """f(a, b), then any function of one number  ->  one pass: a residual sum and its relu, say.

    What differentiates through its input is read by its gradient as well, so it fuses in inference
    only.
    """

    def rule(node: Node, inputs: Sequence[Tensor], context: Rewriting):
        if not isinstance(node.op, Unary) or not context.only_reader(node.inputs[0]):
            return None
        producer, y = inputs[0].node, node.outputs[0]
        if producer is None or not isinstance(producer.op, Binary) or producer.op.act:
            return None
        if np.dtype(y.dtype).kind != "f" or y.dtype != inputs[0].dtype:
            return None
        f, g = producer.op.function, node.op
        return if_accepted(accepts, Binary(f, g.function, g.alpha, g.beta), producer.inputs)

    return rule


def bias_gradient_into_kernel_gradient(graph: Graph, accepts: Accepts) -> Rule:
    """sum over pixels of dy beside conv2d_dw(x, dy)  ->  conv2d_dw that also sums its dy."""
    kernel_gradients = {
        id(n.inputs[1]): n for n in graph.nodes if isinstance(n.op, Conv2DKernelGradient)
    }
    joint: dict[int, tuple[Tensor, ...]] = {}  # id of the old kernel gradient node -> dw, db

    def joined(node: Node, context: Rewriting) -> tuple[Tensor, ...] | None:
        if id(node) not in joint:
            inputs = [context.lookup(t) for t in node.inputs]
            outputs = if_accepted(accepts, dataclasses.replace(node.op, bias=True), inputs)
            if outputs is None:
                return None
            joint[id(node)] = outputs
        return joint[id(node)]

    def rule(node: Node, inputs: Sequence[Tensor], context: Rewriting):
        if id(node) in joint:
            return joint[id(node)][:1]
        if not isinstance(node.op, Reduce) or node.op != Reduce("sum", 0, 2) or inputs[0].ndim != 4:
            return None
        kernel_gradient = kernel_gradients.get(id(node.inputs[0]))
        if kernel_gradient is None or kernel_gradient.op.bias:
            return None
        if any(t.node is not None and t.node.order > node.order for t in kernel_gradient.inputs):
            return None  # its x is not made yet where the sum stands
        outputs = joined(kernel_gradient, context)
        if outputs is None:
            return None
        return (apply_symbolic(Reshape(node.outputs[0].spec.shape), [outputs[1]]),)

    return rule


def bias_gradient_into_activation_gradient(graph: Graph, accepts: Accepts) -> Rule:
    """act_dx and the sum of its result over all axes but the last  ->  one pass with two outputs.

    For dense layers; a convolution's kernel gradient takes the sum along (above).
    """
    kernel_gradients = {
        id(n.inputs[1]) for n in graph.nodes if isinstance(n.op, Conv2DKernelGradient)
    }
    sums = {
        id(n.inputs[0])
        for n in graph.nodes
        if isinstance(n.op, Reduce) and n.op == Reduce("sum", 0, n.inputs[0].ndim - 2)
    }
    joint: dict[int, Tensor] = {}  # id of the old gradient -> its sum

    def rule(node: Node, inputs: Sequence[Tensor], context: Rewriting):
        if type(node.op) is UnaryGradient and node.outputs:
            dx = node.outputs[0]
            if id(dx) not in sums or id(dx) in kernel_gradients:
                return None
            op = UnaryGradientSum(node.op.function, node.op.alpha, node.op.beta)
            outputs = if_accepted(accepts, op, inputs)
            if outputs is None:
                return None
            joint[id(dx)] = outputs[1]
            return outputs[:1]
        if (
            isinstance(node.op, Reduce)
            and id(node.inputs[0]) in joint
            and id(node.inputs[0]) in sums
        ):
            if node.op == Reduce("sum", 0, node.inputs[0].ndim - 2):
                return (
                    apply_symbolic(
                        Reshape(node.outputs[0].spec.shape), [joint[id(node.inputs[0])]]
                    ),
                )
        return None

    return rule


ROWS = (
    bias_into_product,
    activation_into_tail,
    activation_into_binary,
    fuse_pool.pool_into_convolution,
)
