"""How much a model computes, counted in the graph of its operations; nothing runs."""

from typing import Any, NamedTuple

from nbcnn.graph.graph import Graph
from nbcnn.layers.base import flatten
from nbcnn.layers.context import Context
from nbcnn.ops.tensor import Node, Tensor

# Operations that are products with a kernel or a matrix; a transposed convolution is the gradient
# of another one.
PRODUCTS = frozenset({"conv2d", "conv2d_dx", "conv2d_dw", "matmul"})


class OperationCount(NamedTuple):
    """What a forward pass computes.

    `multiply_adds`: of convolutions and matrix products alone, which is what papers and model zoos
    print, some of them as "FLOPs". `flops`: floating-point operations of everything, a multiply-add
    counting as two; a comparison or a function such as exp as one.
    """

    multiply_adds: int
    flops: int


def operation_count(model: Any, batch: int = 1) -> OperationCount:
    """What the inference of a model computes, as it is written: a plan may do less, where it folds
    a normalization into a convolution or multiplies in a transformed domain.

    Parameters
    ----------
    model : built, with known sizes of its inputs.
    batch : number of samples, default 1.

    Raises
    ------
    ValueError
        For a model that is not built, and where a size other than the batch is not known.

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Conv2D(8, 3)])
    >>> operation_count(model)
    OperationCount(multiply_adds=48672, flops=102752)
    """
    if batch < 1:
        raise ValueError(f"operation_count: batch must be positive, got {batch}")
    if not model.built:
        raise ValueError(
            f"operation_count: model {model.name!r} is not built yet; build() it or call it on data"
        )
    slots = model._input_signature_for(None).slots
    for slot in slots:
        if None in slot.shape[1:]:
            raise ValueError(
                f"operation_count: input {slot.name!r} of model {model.name!r} has sizes that are "
                f"not known, {slot.shape}; build it with an Input of known sizes"
            )
    leaves = [Tensor((batch, *slot.shape[1:]), slot.dtype) for slot in slots]
    with Context(training=False):
        outputs = flatten(model(model._input_signature_for(None).pack(leaves)))
    nodes = Graph(outputs).nodes
    products = sum(_flops(node) for node in nodes if node.op.name in PRODUCTS)
    return OperationCount(products // 2, sum(map(_flops, nodes)))


def _flops(node: Node) -> int:
    return node.op.flops(*(t.spec for t in node.inputs))
