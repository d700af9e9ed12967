"""Operations on arrays, outside any graph: each runs through a small plan, kept for its shapes."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn.graph.graph import Graph
from nbcnn.graph.plan import Plan
from nbcnn.ops.op import Op, apply_symbolic
from nbcnn.ops.tensor import Constant, Tensor, VariableTensor
from nbcnn.runtime.device import current_device

CAPACITY = 256  # plans kept; the one unused for longest goes first
_plans: OrderedDict[tuple, tuple[Plan, list[Tensor], list[Tensor]]] = OrderedDict()


def run(op: Op, tensors: Sequence[Tensor]) -> Any:
    """Compute `op` on constants and variables now; returns an array, or a tuple of arrays."""
    device = current_device()
    values = [value_of(t) for t in tensors]
    key = (op, device.name, device.caps, *((v.shape, v.dtype.name) for v in values))
    if key not in _plans:
        leaves = [Tensor(v.shape, v.dtype.name) for v in values]
        outputs = apply_symbolic(op, leaves)
        several = list(outputs) if isinstance(outputs, tuple) else [outputs]
        _plans[key] = (Plan(Graph(several), device), leaves, several)
        if len(_plans) > CAPACITY:
            _plans.popitem(last=False)
    _plans.move_to_end(key)
    plan, leaves, outputs = _plans[key]
    for leaf, value in zip(leaves, values):
        device.upload(plan.array(leaf), value)
    plan.prepare()
    plan.run()
    results = [device.download(plan.array(t)) for t in outputs]
    return results[0] if len(results) == 1 else tuple(results)


def value_of(tensor: Tensor) -> np.ndarray:
    if isinstance(tensor, Constant):
        return tensor.value
    if isinstance(tensor, VariableTensor):
        return tensor.variable.numpy()
    raise TypeError(f"{tensor!r} has no value outside its graph")
