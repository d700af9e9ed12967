"""Graphs computed by the references, without any kernel; gradients by central differences."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from cases.case import specs_of
from cases.expected import expected

from nbcnn.graph.graph import Graph
from nbcnn.ops.shape import ALIASES
from nbcnn.ops.tensor import Constant, Tensor


def evaluate(outputs: Sequence[Tensor], feeds: Mapping[Tensor, np.ndarray]) -> list[np.ndarray]:
    """Values of tensors, from those of the leaves."""
    values = dict(feeds)

    def value(tensor: Tensor) -> np.ndarray:
        return tensor.value if isinstance(tensor, Constant) else values[tensor]

    for node in Graph(list(outputs)).nodes:
        arrays = [value(t) for t in node.inputs]
        specs = specs_of(arrays)
        if node.op.name in ALIASES:
            results = [arrays[0]]
        else:
            results = expected(node.op, node.op.spec(*specs), arrays)
        for tensor, spec, result in zip(node.outputs, node.op.infer(*specs), results, strict=True):
            values[tensor] = np.asarray(result).astype(spec.dtype).reshape(spec.shape)
    return [value(t) for t in outputs]


def slopes(
    f: Callable[[list[np.ndarray]], np.ndarray],
    arrays: Sequence[np.ndarray],
    place: int,
    dy: np.ndarray,
    step: float = 1e-5,
) -> np.ndarray:
    """The gradient of sum(f * dy) for one of the arrays, by central differences at two
    distances (Richardson). Values that are not finite do not count.
    """

    def total(y: np.ndarray) -> float:
        return float(np.sum(np.where(np.isfinite(y), y, 0.0) * dy))

    changed = [a.copy() for a in arrays]
    x, gradient = changed[place], np.zeros_like(arrays[place])
    for index in np.ndindex(x.shape):
        middle, rates = x[index], []
        for h in (step, 2 * step):
            around = []
            for side in (h, -h):
                x[index] = middle + side
                around.append(total(f(changed)))
            rates.append((around[0] - around[1]) / (2 * h))
        x[index] = middle
        gradient[index] = (4 * rates[0] - rates[1]) / 3
    return gradient
