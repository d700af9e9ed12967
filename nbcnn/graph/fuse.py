"""Fusions after differentiation: each row joins two nodes into one richer node.

Two conditions make a fusion legal and useful: the value in between has exactly one reader, and the
device has an implementation that accepts the joint spec. Since gradients are already nodes, the
first alone decides about
training: relu, sigmoid and tanh differentiate through their output, so they fuse; gelu through its
input, so it fuses in inference only.
"""

import dataclasses
from collections.abc import Callable, Sequence

from nbcnn.graph.graph import Graph, Rewriting, Rule, rewrite
from nbcnn.graph.rewrite import is_bias_add
from nbcnn.kernels.impl import Choice
from nbcnn.ops.conv import Conv2D, Conv2DKernelGradient
from nbcnn.ops.conv_spec import (
    MAX_POOL,
    MAX_POOL_INDEXED,
    MEAN_POOL,
    NO_POOL,
    TAIL_ACTIVATIONS,
)
from nbcnn.ops.dense import Matmul
from nbcnn.ops.elementwise import Unary, UnaryGradient, UnaryGradientSum
from nbcnn.ops.norm import BatchNorm, BatchNormGradient, ScaleShift
from nbcnn.ops.op import Op, apply_symbolic
from nbcnn.ops.pool import AvgPool2D, MaxPool2D, Pool2D
from nbcnn.ops.reduce import Reduce
from nbcnn.ops.shape import Reshape
from nbcnn.ops.tensor import Node, Tensor

Accepts = Callable[[Op, Sequence[Tensor]], Choice | None]


def fuse(graph: Graph, accepts: Accepts) -> Graph:
    """`accepts(op, inputs)`: the implementation that the device chooses for this node, or None."""
    rules = [row(accepts) for row in ROWS]
    rules.append(bias_gradient_into_kernel_gradient(graph, accepts))
    rules.append(bias_gradient_into_activation_gradient(graph, accepts))
    return rewrite(graph, rules)


def bias_into_product(accepts: Accepts) -> Rule:
    """conv2d or matmul, then + b  ->  one node with a bias."""

    def rule(node: Node, inputs: Sequence[Tensor], context: Rewriting):
        if not is_bias_add(node.op, inputs) or not context.only_reader(node.inputs[0]):
            return None
        product = inputs[0].node
        if product is None or not isinstance(product.op, (Conv2D, Matmul)):
            return None
        if product.op.bias or product.op.act or _pool_of(product.op):
            return None
        return _if_accepted(
            accepts, dataclasses.replace(product.op, bias=True), (*product.inputs, inputs[1])
        )

    return rule


def activation_into_tail(accepts: Accepts) -> Rule:
    """conv2d, matmul, batchnorm or scale_shift, then relu, sigmoid or tanh  ->  one node."""

    def rule(node: Node, inputs: Sequence[Tensor], context: Rewriting):
        if not isinstance(node.op, Unary) or not context.only_reader(node.inputs[0]):
            return None
        act = TAIL_ACTIVATIONS.get(node.op.function)
        producer = inputs[0].node
        if act is None or producer is None or inputs[0].index != 0:
            return None
        if not isinstance(producer.op, (Conv2D, Matmul, BatchNorm, ScaleShift)) or producer.op.act:
            return None
        if _pool_of(producer.op) == MEAN_POOL:  # a maximum commutes with the activation
            return None
        outputs = _if_accepted(accepts, dataclasses.replace(producer.op, act=act), producer.inputs)
        if outputs is None:
            return None
        # Batch statistics and the winners of a pool are read elsewhere.
        for old, new in zip(producer.outputs[1:], outputs[1:]):
            _redirect(context, old, new)
        return outputs[:1]

    return rule


def pool_into_convolution(accepts: Accepts) -> Rule:
    """conv2d, then a max or average pool whose windows lie side by side  ->  one node.

    Where the convolution alone has an implementation that comes before all that take the pool, it
    stays alone: it is faster by more than a pool takes.
    """

    def rule(node: Node, inputs: Sequence[Tensor], context: Rewriting):
        if not isinstance(node.op, (MaxPool2D, AvgPool2D)):
            return None
        if not context.only_reader(node.inputs[0]) or not _side_by_side(node.op, inputs[0]):
            return None
        convolution = inputs[0].node
        if convolution is None or not isinstance(convolution.op, Conv2D) or convolution.op.pool:
            return None
        pool = MEAN_POOL
        if isinstance(node.op, MaxPool2D):
            read = node.op.indices and context.readers[id(node.outputs[1])] > 0
            pool = MAX_POOL_INDEXED if read else MAX_POOL
        ph, pw = node.op.window
        op = dataclasses.replace(convolution.op, pool=pool, ph=ph, pw=pw)
        joint = accepts(op, convolution.inputs)
        alone = accepts(convolution.op, convolution.inputs)
        if joint is None or alone is None or len(joint.refused) > len(alone.refused):
            return None
        outputs = apply_symbolic(op, list(convolution.inputs))
        return outputs if isinstance(outputs, tuple) else (outputs,)

    return rule


def _side_by_side(op: Pool2D, x: Tensor) -> bool:
    """Whether windows touch, do not overlap and lie inside, and there is something to pool."""
    s = op.spec(x.spec)
    touching = (s.sh, s.sw) == (s.kh, s.kw) and s.kh * s.kw > 1
    return touching and s.pt == s.pl == 0 and (s.oh, s.ow) == (s.h // s.kh, s.w // s.kw)


def _pool_of(op: Op) -> int:
    return op.pool if isinstance(op, Conv2D) else NO_POOL


def activation_gradient_into_norm(accepts: Accepts) -> Rule:
    """batchnorm_dx of act_dx(y, dy)  ->  batchnorm_dx with the activation's derivative in its
    loads.
    """

    def rule(node: Node, inputs: Sequence[Tensor], context: Rewriting):
        if (
            not isinstance(node.op, BatchNormGradient)
            or node.op.act
            or not context.only_reader(node.inputs[1])
        ):
            return None
        x, g, gamma, mean, var, _ = inputs
        if g.node is None or not isinstance(g.node.op, UnaryGradient):
            return None
        act = TAIL_ACTIVATIONS.get(g.node.op.function)
        y, dy = g.node.inputs
        if (
            act is None
            or y.node is None
            or not isinstance(y.node.op, BatchNorm)
            or y.node.op.act != act
        ):
            return None
        if y.node.inputs[0] is not x:
            return None
        return _if_accepted(
            accepts, dataclasses.replace(node.op, act=act), (x, dy, gamma, mean, var, y)
        )

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
            outputs = _if_accepted(accepts, dataclasses.replace(node.op, bias=True), inputs)
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
            outputs = _if_accepted(accepts, op, inputs)
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


def _if_accepted(accepts: Accepts, op: Op, inputs: Sequence[Tensor]) -> tuple[Tensor, ...] | None:
    if not accepts(op, inputs):
        return None
    outputs = apply_symbolic(op, list(inputs))
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _redirect(context: Rewriting, old: Tensor, new: Tensor) -> None:
    """Make later readers of a tensor of the *new* graph read another one."""
    for key, value in context.new.items():
        if value is old:
            context.new[key] = new


ROWS = (
    bias_into_product,
    activation_into_tail,
    pool_into_convolution,
    activation_gradient_into_norm,
)
