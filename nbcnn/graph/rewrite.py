"""Rewrites before differentiation: a pattern, its replacement, and the reason it is exact."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from nbcnn.graph.graph import Rewriting
from nbcnn.ops.conv import Conv2D, Conv2DInputGradient, window_output
from nbcnn.ops.elementwise import Binary, Unary, binary
from nbcnn.ops.loss import CrossEntropy, Softmax, SoftmaxCrossEntropy
from nbcnn.ops.norm import ScaleShift
from nbcnn.ops.op import apply_symbolic
from nbcnn.ops.pool import MaxPool2D
from nbcnn.ops.shape import ExpandDims, Pad, Slice
from nbcnn.ops.tensor import Constant, Node, Tensor, VariableTensor


def crossentropy_of_softmax(node: Node, inputs: Sequence[Tensor], context: Rewriting):
    """crossentropy(t, softmax(z)) -> softmax_crossentropy(t, z).

    The same value but for the clip at 1e-7, without its loss of precision. Later readers of the
    softmax take the probabilities that the joint operation computes anyway.
    """
    if not isinstance(node.op, CrossEntropy):
        return None
    target, probabilities = inputs
    if probabilities.node is None or not isinstance(probabilities.node.op, Softmax):
        return None
    logits = probabilities.node.inputs[0]
    loss, again = apply_symbolic(SoftmaxCrossEntropy(node.op.sparse), [target, logits])
    context.new[id(node.inputs[1])] = again
    return (loss,)


def relu_behind_max_pool(node: Node, inputs: Sequence[Tensor], context: Rewriting):
    """maxpool(relu(x)) -> relu(maxpool(x)).

    relu is monotonic, so the maximum commutes with it, and the gradient reaches the same pixel or
    none: where the window's maximum is not positive, both forms pass nothing.
    """
    if not isinstance(node.op, MaxPool2D) or node.op.indices:
        return None
    relu = inputs[0].node
    if relu is None or relu.op != Unary("relu") or not context.only_reader(node.inputs[0]):
        return None
    pooled = apply_symbolic(node.op, [relu.inputs[0]])
    return (apply_symbolic(relu.op, [pooled]),)


def keep_max_indices(node: Node, inputs: Sequence[Tensor], context: Rewriting):
    """In training, max pooling also stores which pixel won, since its gradient will ask."""
    if not isinstance(node.op, MaxPool2D) or node.op.indices:
        return None
    return apply_symbolic(dataclasses.replace(node.op, indices=True), inputs)[:1]


def pad_into_conv(node: Node, inputs: Sequence[Tensor], context: Rewriting):
    """conv(pad(x), w) -> conv(x, w) that pads by itself, for zeros around images or sequences.

    Not more of them than a kernel reaches: then every output has something to add up.
    """
    op, source = node.op, inputs[0].node if inputs else None
    if not isinstance(op, Conv2D) or source is None:
        return None
    sequence = source.op == ExpandDims(1) and source.inputs[0].ndim == 3
    source = source.inputs[0].node if sequence else source
    if source is None or not isinstance(source.op, Pad) or source.op.value != 0:
        return None
    first, *sides, last = source.op.widths
    if (first, last) != ((0, 0), (0, 0)):
        return None
    zeros = ((0, 0), *sides) if sequence else tuple(sides)
    found: list[Any] = []
    for axis, (before, after) in enumerate(zeros):
        own = op.padding if isinstance(op.padding, str) else op.padding[axis]
        size, window = inputs[0].shape[axis + 1], inputs[1].shape[axis]
        dilation = op.dilation[axis]
        if size is None or window is None:
            return None
        _, *more = window_output(size, window, op.strides[axis], own, dilation)
        if max(before + more[0], after + more[1]) > (window - 1) * dilation:
            return None
        found.append((before + more[0], after + more[1]))
    x = source.inputs[0]
    x = apply_symbolic(ExpandDims(1), [x]) if sequence else x
    padding: Any = tuple(found)
    return (apply_symbolic(dataclasses.replace(op, padding=padding), [x, *inputs[1:]]),)


def crop_into_transposed(node: Node, inputs: Sequence[Tensor], context: Rewriting):
    """conv2d_dx(y, w)[:, a:b, c:d] -> a conv2d_dx of that size, its convolution padded by the rest.

    Also with a bias in between.
    """
    if not isinstance(node.op, Slice) or not context.only_reader(node.inputs[0]):
        return None
    source, bias = inputs[0], None
    if source.node is not None and is_bias_add(source.node.op, source.node.inputs):
        source, bias = source.node.inputs
    if source.node is None or not isinstance(source.node.op, Conv2DInputGradient):
        return None
    op, (y, w) = source.node.op, source.node.inputs
    sizes: Any = source.shape[1:3]
    ranges = node.op.ranges
    if None in sizes or not all(_whole(source.shape[a], ranges[a]) for a in (0, 3)):
        return None
    places = [range(n)[slice(*r)] for n, r in zip(sizes, ranges[1:3])]
    if any(p.step != 1 or not p for p in places):
        return None
    sides: Any = []
    for axis in (0, 1):
        own = op.padding if isinstance(op.padding, str) else op.padding[axis]
        size, place, window = sizes[axis], places[axis], w.spec.shape[axis]
        _, before, after = window_output(size, window, op.strides[axis], own, op.dilation[axis])
        sides.append((before + place.start, after + size - place.stop))
        if max(sides[-1]) > (window - 1) * op.dilation[axis]:
            return None
    shape = (op.shape[0], *map(len, places), op.shape[3])
    other = dataclasses.replace(op, padding=tuple(sides), shape=shape)
    found = apply_symbolic(other, [y, w])
    return (found if bias is None else binary("add", found, bias),)


def _whole(size: int | None, part: tuple) -> bool:
    """Whether a slice takes an axis as it is."""
    everything = part == (None, None, None)
    return everything or (size is not None and range(size)[slice(*part)] == range(size))


def scale_into_conv(node: Node, inputs: Sequence[Tensor], context: Rewriting):
    """In inference, conv(x, w) * s + t -> conv(x, w * s) + t: batch normalization folds into the
    weights.

    Convolution is linear and s is per filter. The products are of weights only, so they are
    computed once.
    """
    if not isinstance(node.op, ScaleShift) or not context.only_reader(node.inputs[0]):
        return None
    source, scale, shift = inputs
    bias = None
    if source.node is not None and is_bias_add(source.node.op, source.node.inputs):
        source, bias = source.node.inputs
    if source.node is None or not isinstance(source.node.op, Conv2D) or source.node.op.bias:
        return None
    x, w = source.node.inputs
    y = apply_symbolic(source.node.op, [x, binary("multiply", w, scale)])
    if bias is not None:
        shift = binary("add", binary("multiply", bias, scale), shift)
    return (binary("add", y, shift),)


def kernel_holds_still(node: Node, inputs: Sequence[Tensor], context: Rewriting):
    """In inference, a convolution whose kernel follows from weights alone says so: what it makes of
    the kernel is made once, which decides between implementations.
    """
    op = node.op
    if not isinstance(op, Conv2D | Conv2DInputGradient) or op.fixed or not of_weights(inputs[1]):
        return None
    return (apply_symbolic(dataclasses.replace(op, fixed=True), inputs),)


def of_weights(tensor: Tensor) -> bool:
    """Whether a value depends on nothing but variables and constants."""
    if tensor.node is None:
        return isinstance(tensor, VariableTensor | Constant)
    return not tensor.node.op.stateful and all(map(of_weights, tensor.node.inputs))


def is_bias_add(op, inputs: Sequence[Tensor]) -> bool:
    """y + b with b one value per channel (last axis)."""
    if op != Binary("add"):
        return False
    y, b = inputs
    return b.ndim == 1 and y.ndim > 1 and b.shape[0] == y.shape[-1] and b.dtype == y.dtype


TRAINING = (crossentropy_of_softmax, relu_behind_max_pool, pad_into_conv, crop_into_transposed)
INDICES = (keep_max_indices,)
INFERENCE = (
    crossentropy_of_softmax, pad_into_conv, crop_into_transposed, scale_into_conv,
    kernel_holds_still,
)  # fmt: skip
