"""Operations on arrays, outside any graph: each runs through a small plan, kept for its shapes."""

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn import config
from nbcnn.graph.graph import Graph
from nbcnn.graph.plan import Plan
from nbcnn.ops.host_array import hosted
from nbcnn.ops.op import Op, apply_symbolic
from nbcnn.ops.tensor import Constant, Tensor, VariableTensor
from nbcnn.runtime.device import current_device

CAPACITY = 256  # plans kept; the one unused for longest goes first
_plans: OrderedDict[tuple, tuple[Plan, list[Tensor], list[Tensor]]] = OrderedDict()
_lock = threading.RLock()


def lock() -> Any:
    """To be held while a plan is filled, run and read: its arrays serve one thread at a time."""
    return _lock


def run(op: Op, tensors: Sequence[Tensor]) -> Any:
    """Compute `op` on constants and variables now; returns an array, or a tuple of arrays."""
    values = [value_of(t) for t in tensors]
    with _lock:
        return _run(op, values)


def _run(op: Op, values: Sequence[np.ndarray]) -> Any:
    device = current_device()
    shapes = ((v.shape, v.dtype.name) for v in values)
    key = (op, device.name, device.caps, config.choice_of_kernels(), *shapes)
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
    results = [hosted(device.download(plan.array(t))) for t in outputs]
    return results[0] if len(results) == 1 else tuple(results)


def _after_fork() -> None:
    """In a new process, which has this thread only: another may have held the lock."""
    global _lock
    if _lock.acquire(blocking=False):
        _lock.release()
    else:
        _lock = threading.RLock()
        _plans.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def value_of(tensor: Tensor) -> np.ndarray:
    if isinstance(tensor, Constant):
        return tensor.value
    if isinstance(tensor, VariableTensor):
        return tensor.variable.numpy()
    raise TypeError(f"{tensor!r} has no value outside its graph")
