"""Which operations treat the samples of a batch each on its own, so that a batch may be cut.

Axis 0 of some inputs, the *batched* ones, counts samples. An operation is per sample if place i
along axis 0 of each of its outputs depends on place i of the batched inputs and on nothing else but
the inputs that are not batched, whole. What stands in no row here is not.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from nbcnn.ops.borders import PadBorder
from nbcnn.ops.conv import Conv2D, Conv2DInputGradient
from nbcnn.ops.dense import Matmul
from nbcnn.ops.elementwise import Binary, Cast, StopGradient, Unary, Where
from nbcnn.ops.global_response import GlobalResponse
from nbcnn.ops.layer_norm import LayerNorm
from nbcnn.ops.local import Local2D
from nbcnn.ops.loss import CrossEntropy, LogSoftmax, Softmax, SoftmaxCrossEntropy
from nbcnn.ops.norm import ScaleShift
from nbcnn.ops.op import Op
from nbcnn.ops.pool import AvgPool2D, MaxPool2D
from nbcnn.ops.reduce import Reduce
from nbcnn.ops.response_norm import ResponseNorm
from nbcnn.ops.shape import (
    BatchReshape,
    BroadcastTo,
    Concat,
    ExpandDims,
    Flatten,
    Pad,
    Reshape,
    Slice,
    Squeeze,
    Transpose,
)
from nbcnn.ops.tensor import TensorSpec
from nbcnn.ops.unpool import MaxUnpool2D, PoolPlaces

Rule = Callable[[Any, Sequence[bool], Sequence[TensorSpec]], bool]


def _always(op: Op, batched: Sequence[bool], inputs: Sequence[TensorSpec]) -> bool:
    """One input, whose first axis stays."""
    return True


def _first(op: Op, batched: Sequence[bool], inputs: Sequence[TensorSpec]) -> bool:
    """Other inputs are parameters, for the last axes."""
    return batched[0] and not any(batched[1:]) and len(inputs[0].shape) > 1


def _rows(op: Op, batched: Sequence[bool], inputs: Sequence[TensorSpec]) -> bool:
    """Works along the last axis, which must be another one."""
    return all(batched) and len(inputs[-1].shape) > 1


def _broadcast(op: Op, batched: Sequence[bool], inputs: Sequence[TensorSpec]) -> bool:
    """Broadcasting aligns last axes: the batched ones need all axes, the others not the first."""
    rank = max(len(x.shape) for x in inputs)
    return all(
        len(x.shape) == rank if flag else len(x.shape) < rank or x.shape[0] == 1
        for flag, x in zip(batched, inputs)
    )


def _matmul(op: Matmul, batched: Sequence[bool], inputs: Sequence[TensorSpec]) -> bool:
    """Samples are rows of x, or matrices of a stack."""
    x, w = (len(s.shape) > 2 for s in inputs[:2])
    if any(batched[2:]):
        return False
    if batched[1]:
        return w and x == batched[0]
    return not w and (x or not op.tx)


RULES: dict[type[Op], Rule] = {
    **dict.fromkeys((Unary, Cast, StopGradient, MaxPool2D, AvgPool2D), _always),
    **dict.fromkeys((Flatten, BatchReshape, PoolPlaces), _always),
    **dict.fromkeys((Conv2D, Conv2DInputGradient, GlobalResponse, Local2D, ScaleShift), _first),
    **dict.fromkeys((Softmax, LogSoftmax, SoftmaxCrossEntropy, CrossEntropy), _rows),
    **dict.fromkeys((Binary, Where), _broadcast),
    Matmul: _matmul,
    ResponseNorm: lambda op, batched, xs: len(xs[0].shape) > 1,
    MaxUnpool2D: lambda op, batched, xs: all(batched),
    PadBorder: lambda op, batched, xs: all(batched) and op.widths[0] == (0, 0),
    LayerNorm: lambda op, batched, xs: _first(op, batched, xs) and op.axes < len(xs[0].shape),
    Reduce: lambda op, batched, xs: op.first > 0,
    Reshape: lambda op, batched, xs: op.infer(*xs)[0].shape[:1] == xs[0].shape[:1],
    Squeeze: lambda op, batched, xs: 0 not in op.axes,
    ExpandDims: lambda op, batched, xs: op.axis > 0,
    Transpose: lambda op, batched, xs: op.perm[0] == 0,
    Slice: lambda op, batched, xs: op.ranges[0] == (None, None, None),
    Pad: lambda op, batched, xs: op.widths[0] == (0, 0),
    BroadcastTo: lambda op, batched, xs: len(op.shape) == len(xs[0].shape),
    Concat: lambda op, batched, xs: all(batched) and op.axis > 0,
}
WITH_SHAPE = (Conv2DInputGradient, Reshape, BroadcastTo)  # which say the size of the batch


def per_sample(op: Op, batched: Sequence[bool], inputs: Sequence[TensorSpec]) -> bool:
    """Whether an operation on these inputs, some of them batched, is per sample."""
    rule = RULES.get(type(op))
    return rule is not None and any(batched) and rule(op, batched, inputs)


def for_samples(op: Any, count: int) -> Any:
    """An operation that is per sample, for batches of this size."""
    if isinstance(op, WITH_SHAPE) and op.shape[0] != -1:
        return dataclasses.replace(op, shape=(count, *op.shape[1:]))
    return op
