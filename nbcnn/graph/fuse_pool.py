"""Fusions of pooling with convolution, forward and in the weight gradient."""

import dataclasses
from collections.abc import Sequence

from nbcnn.graph.fusion import Accepts
from nbcnn.graph.graph import Graph, Rewriting, Rule
from nbcnn.kernels.impl import Choice
from nbcnn.ops.conv import Conv2D, Conv2DKernelGradient
from nbcnn.ops.conv_spec import MAX_POOL, MAX_POOL_INDEXED, MEAN_POOL, MONOTONIC, NO_POOL
from nbcnn.ops.op import Op, apply_symbolic
from nbcnn.ops.pool import AvgPool2D, MaxPool2D, MaxPool2DGradient, Pool2DSpec
from nbcnn.ops.reduce import Reduce
from nbcnn.ops.tensor import Node, Tensor


def pool_into_convolution(accepts: Accepts) -> Rule:
    """conv2d, then a max or average pool whose windows lie side by side  ->  one node.

    Where the convolution alone has an implementation that comes before all that take the pool, it
    stays alone: it is faster by more than a pool takes.
    """

    def rule(node: Node, inputs: Sequence[Tensor], context: Rewriting):
        if not isinstance(node.op, (MaxPool2D, AvgPool2D)):
            return None
        if not context.only_reader(node.inputs[0]):
            return None
        if not side_by_side(node.op.spec(inputs[0].spec)):
            return None
        convolution = inputs[0].node
        if convolution is None or not isinstance(convolution.op, Conv2D) or convolution.op.pool:
            return None
        pool = MEAN_POOL
        if isinstance(node.op, MaxPool2D):
            if node.op.recorded:
                return None
            read = node.op.indices and context.readers[id(node.outputs[1])] > 0
            pool = MAX_POOL_INDEXED if read else MAX_POOL
            if convolution.op.act not in MONOTONIC:
                return None
        ph, pw = node.op.window
        op = dataclasses.replace(convolution.op, pool=pool, ph=ph, pw=pw)
        joint = accepts(op, convolution.inputs)
        if not not_behind(joint, accepts(convolution.op, convolution.inputs)):
            return None
        outputs = apply_symbolic(op, list(convolution.inputs))
        return outputs if isinstance(outputs, tuple) else (outputs,)

    return rule


def max_pool_gradient_into_kernel_gradient(graph: Graph, accepts: Accepts) -> Rule:
    """conv2d_dw(x, maxpool2d_dx(dy, winners))  ->  conv2d_dw(x, dy, winners), where nobody else but
    sums over pixels read the gradient in between; these are then sums of dy.

    Of every window only the winner's pixel counts, so most of the multiplications go as well.
    """
    read_by: dict[int, list[Node]] = {}
    for reader in graph.nodes:
        for t in reader.inputs:
            read_by.setdefault(id(t), []).append(reader)
    kept = {id(t) for t in graph.outputs}
    joint: dict[int, Conv2DKernelGradient] = {}  # id of the gradient in between -> its reader's op
    for node in graph.nodes:
        if not isinstance(node.op, MaxPool2DGradient):
            continue
        slope = node.outputs[0]
        others = [n for n in read_by.get(id(slope), []) if not _sums_pixels(n)]
        if id(slope) in kept or len(others) != 1 or not side_by_side(node.op.spec(slope.spec)):
            continue
        op, inputs = others[0].op, others[0].inputs
        if not isinstance(op, Conv2DKernelGradient) or inputs[1] is not slope or op.bias:
            continue
        ph, pw = node.op.window
        pooled = dataclasses.replace(op, pool=MAX_POOL_INDEXED, ph=ph, pw=pw)
        if not_behind(accepts(pooled, [inputs[0], *node.inputs]), accepts(op, inputs)):
            joint[id(slope)] = pooled

    def rule(node: Node, inputs: Sequence[Tensor], context: Rewriting):
        places = [i for i, t in enumerate(node.inputs) if id(t) in joint]
        if not places:
            return None
        source = inputs[places[0]].node
        assert source is not None
        if isinstance(node.op, Conv2DKernelGradient):
            op = joint[id(node.inputs[1])]
            return (apply_symbolic(op, [inputs[0], *source.inputs]),)
        return (apply_symbolic(node.op, [source.inputs[0]]),)

    return rule


def _sums_pixels(node: Node) -> bool:
    return node.op == Reduce("sum", 0, 2) and node.inputs[0].ndim == 4


def not_behind(joint: Choice | None, alone: Choice | None) -> bool:
    """Whether a fused node has an implementation, and the node alone none before it in the list."""
    if joint is None or alone is None:
        return False
    return len(joint.refused) <= len(alone.refused)


def side_by_side(s: Pool2DSpec) -> bool:
    """Whether windows touch, do not overlap and lie inside, and there is something to pool."""
    touching = (s.sh, s.sw) == (s.kh, s.kw) and s.kh * s.kw > 1
    return touching and s.pt == s.pl == 0 and (s.oh, s.ow) == (s.h // s.kh, s.w // s.kw)


def pool_of(op: Op) -> int:
    return op.pool if isinstance(op, Conv2D) else NO_POOL
