"""How much a model computes, counted in the graph of its operations; nothing runs."""

from typing import Any, NamedTuple

from nbcnn.analysis.tracing import traced
from nbcnn.graph.graph import Graph
from nbcnn.models.checks import whole_number
from nbcnn.ops.tensor import Node

# Operations that are products with a kernel or a matrix, shared or not; a transposed convolution is
# the gradient of another one.
PRODUCTS = frozenset({"conv2d", "conv2d_dx", "conv2d_dw", "local2d", "matmul"})


class OperationCount(NamedTuple):
    """What a forward pass computes.

    `multiply_adds`: of convolutions and matrix products alone, which is what papers and model zoos
    print, some of them as "FLOPs". `flops`: floating-point operations of everything, a multiply-add
    counting as two; a comparison or a function such as exp as one.
    """

    multiply_adds: int
    flops: int


def operation_count(model: Any, batch: int = 1, input_shape: Any = None) -> OperationCount:
    """What the inference of a model computes, as it is written: a plan may do less, where it folds
    a normalization into a convolution or multiplies in a transformed domain.

    Parameters
    ----------
    model : a built model.
    batch : number of samples, default 1.
    input_shape : of a sample, (h, w, c), where it is not that of the model.

    Raises
    ------
    TypeError
        For what is no model.
    ValueError
        For a model that is not built, and where a size other than the batch is not known.

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Conv2D(8, 3)])
    >>> operation_count(model)
    OperationCount(multiply_adds=48672, flops=102752)
    """
    size = whole_number("operation_count", "batch", batch, 1)
    nodes = Graph(traced("operation_count", model, input_shape, size).outputs).nodes
    products = sum(_flops(node) for node in nodes if node.op.name in PRODUCTS)
    return OperationCount(products // 2, sum(map(_flops, nodes)))


def _flops(node: Node) -> int:
    return node.op.flops(*(t.spec for t in node.inputs))
