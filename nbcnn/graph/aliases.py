"""Rewrites that move reshapes behind what does not mind them.

Sequences are images one row high, and volumes stacks of images: between two of their layers stand
reshapes, which cost nothing but hide from every other row that a convolution, say, is followed by
its bias. Behind them two neighbours cancel out.
"""

from collections.abc import Sequence

from nbcnn.graph.graph import Rewriting
from nbcnn.ops.elementwise import Binary, Unary
from nbcnn.ops.norm import BatchNorm, ScaleShift
from nbcnn.ops.op import apply_symbolic
from nbcnn.ops.shape import (
    FOR_GRADIENTS,
    BatchReshape,
    ExpandDims,
    Flatten,
    Reshape,
    Squeeze,
    Transpose,
)
from nbcnn.ops.tensor import Node, Tensor

RESHAPES = (Reshape, BatchReshape, Flatten, Squeeze, ExpandDims)


def cancel(node: Node, inputs: Sequence[Tensor], context: Rewriting):
    """reshape(reshape(x)) of x's own shape  ->  x."""
    before = inputs[0].node if isinstance(node.op, RESHAPES) else None
    if before is None or not isinstance(before.op, RESHAPES):
        return None
    source = before.inputs[0]
    return (source,) if source.shape == node.outputs[0].shape else None


def unmoved(node: Node, inputs: Sequence[Tensor], context: Rewriting):
    """A transposition that moves axes of one element only, or none  ->  reshape, or nothing."""
    if not isinstance(node.op, Transpose):
        return None
    x = inputs[0]
    moved = [axis for axis in node.op.perm if x.shape[axis] != 1]
    shape = node.outputs[0].shape
    if moved != sorted(moved) or shape.count(None) > 1:
        return None
    sizes = tuple(-1 if n is None else n for n in shape)
    return (x if shape == x.shape else apply_symbolic(Reshape(sizes), [x]),)


def behind(node: Node, inputs: Sequence[Tensor], context: Rewriting):
    """f(reshape(x))  ->  reshape(f(x)), where f works number by number, or channel by channel and
    the last axis stays; likewise f(reshape(x), reshape(z)).
    """
    if not isinstance(node.op, (Unary, Binary, BatchNorm, ScaleShift)) or not inputs[0].ndim:
        return None
    moved = [t for t in inputs if t.ndim > 1]
    first = moved[0].node if moved else None
    if first is None or not isinstance(first.op, RESHAPES) or moved[0] is not inputs[0]:
        return None
    source = first.inputs[0]
    for t in moved:
        if t.node is None or t.node.op != first.op or t.node.inputs[0].shape != source.shape:
            return None
    channels = len(moved) < len(inputs)
    if channels and (source.ndim < 2 or source.shape[-1] != inputs[0].shape[-1]):
        return None
    found = apply_symbolic(
        node.op, [t.node.inputs[0] if t.ndim > 1 and t.node is not None else t for t in inputs]
    )
    y, *others = found if isinstance(found, tuple) else (found,)
    return (apply_symbolic(first.op, [y]), *others)


def differentiated(node: Node, inputs: Sequence[Tensor], context: Rewriting):
    """What only says how to differentiate goes once gradients are there."""
    return (inputs[0],) if node.op.name in FOR_GRADIENTS else None


RESHAPES_BEHIND = (unmoved, cancel, behind)
WITHOUT_GRADIENTS = (differentiated, *RESHAPES_BEHIND)
