"""Operators on tensors whose samples are not on the first axis, and on numbers of samples.

Exporters move another axis to the front to pick elements along it, and back. Such a tensor is held
with its samples first all the same: `Value.at` says where ONNX has them.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from nbcnn import ops
from nbcnn.onnx.building import Builder, Unsupported, axes_of
from nbcnn.onnx.files import Entry, ints
from nbcnn.onnx.folding import rows_of, slices
from nbcnn.onnx.values import Mixed, Value


@dataclasses.dataclass
class Numbering:
    """Whole numbers that follow from that of the sample: step * sample + offset.

    `offset`: (1, ...), with an axis for the samples.
    """

    step: int
    offset: np.ndarray


def _place(x: Value, axis: int) -> int:
    """Where an axis of ONNX's is in the tensor with samples first."""
    if axis == x.at:
        raise Mixed("along the batch")
    return axis + 1 if axis < x.at else axis


def transpose(b: Builder, entry: Entry, x: Value) -> Value:
    perm = ints(entry.attributes, "perm", list(range(x.rank))[::-1])
    inner = [0, *(_place(x, axis) for axis in perm if axis != x.at)]
    return Value(first=ops.transpose(x.first(), inner), at=perm.index(x.at))


def gather(b: Builder, entry: Entry, x: Value, numbers: Any) -> Value:
    axis = int(entry.attributes.get("axis", 0)) % x.rank
    numbers = b.constant(entry, numbers)
    place = _place(x, axis)
    size = int(x.first().shape[place])
    if numbers.size == 0 or np.any(numbers < -size) or np.any(numbers >= size):
        raise ValueError(f"numbers outside of an axis of {size}")
    tensor = ops.take(x.first(), numbers.astype("int32") % size, place)
    return Value(first=tensor, at=x.at + (numbers.ndim - 1 if axis < x.at else 0))


def gather_nd(b: Builder, entry: Entry, x: Value, numbers: Any) -> Value:
    """By constant numbers for the first axes: as from one axis that holds these."""
    numbers = b.constant(entry, numbers)
    depth = numbers.shape[-1]
    if entry.attributes.get("batch_dims", 0) or not 0 < depth <= x.at:
        raise Mixed("along the batch")
    tensor = x.first()
    sizes = tensor.shape[1 : depth + 1]
    places = [numbers[..., i] for i in range(depth)]
    if any(np.any(p < -n) or np.any(p >= n) for p, n in zip(places, sizes)):
        raise ValueError(f"numbers outside of {sizes}")
    flat = np.ravel_multi_index([p % n for p, n in zip(places, sizes)], sizes)
    rest = tensor.shape[depth + 1 :]
    picked = ops.take(ops.reshape(tensor, (-1, int(np.prod(sizes)), *rest)), flat.ravel(), 1)
    shape = numbers.shape[:-1]
    return Value(first=ops.reshape(picked, (-1, *shape, *rest)), at=x.at - depth + len(shape))


def split(b: Builder, entry: Entry, x: Value, sizes: Any = None) -> list[Value]:
    axis = int(entry.attributes.get("axis", 0)) % x.rank
    place = _place(x, axis)
    length, count = int(x.first().shape[place]), len(entry.outputs)
    parts = ints(entry.attributes, "split")
    if parts is None and sizes is not None:
        parts = b.constant(entry, sizes).tolist()
    parts = [length // count] * count if parts is None else parts
    if sum(parts) != length or len(parts) != count:
        raise ValueError(f"parts of {parts} do not make up {length}")
    ends = np.cumsum(parts).tolist()
    before = (slice(None),) * place
    pieces = [x.first()[(*before, slice(end - n, end))] for n, end in zip(parts, ends)]
    return [Value(first=piece, at=x.at) for piece in pieces]


def slice_(b: Builder, entry: Entry, x: Value, *rest: Any) -> Value:
    index: list[Any] = [slice(None)] * x.rank
    bounds = [b.optional(entry, r) for r in rest]
    for axis, start, stop, step in slices(entry, x.rank, bounds):
        index[_place(x, axis)] = slice(start, stop, step)
    return Value(first=x.first()[tuple(index)], at=x.at)


def squeeze(b: Builder, entry: Entry, x: Value, axes: Any = None) -> Value:
    found = axes_of(b, entry, axes, x.rank)
    if found is None:
        raise Unsupported(f"{entry}: without axes")
    tensor = ops.squeeze(x.first(), [_place(x, axis) for axis in found])
    return Value(first=tensor, at=x.at - sum(axis < x.at for axis in found))


def unsqueeze(b: Builder, entry: Entry, x: Value, axes: Any = None) -> Value:
    rank = x.rank + len(axes_of(b, entry, axes, 1) or [])
    tensor, at = x.first(), x.at
    for axis in axes_of(b, entry, axes, rank) or []:
        at += axis <= at
        tensor = ops.expand_dims(tensor, axis + 1 if axis < at else axis)
    return Value(first=tensor, at=at)


RULES: dict[str, Callable[..., Any]] = {
    "Transpose": transpose, "Gather": gather, "GatherND": gather_nd, "Split": split,
    "Slice": slice_, "Squeeze": squeeze, "Unsqueeze": unsqueeze, "Identity": lambda b, entry, x: x,
}  # fmt: skip


# -- numbers of samples ---------------------------------------------------------------------------


def numbering(entry: Entry, inputs: list[Any]) -> Numbering | None:
    """The result of an operator on numbers that follow from those of the samples, if it is one."""
    if entry.kind == "Range":
        start, stop, step = (int(v) for v in inputs)
        counts = start == 0 and step == 1 and rows_of(stop) == 1
        return Numbering(1, np.zeros(1, "int64")) if counts else None
    x = next((v for v in inputs if isinstance(v, Numbering)), None)
    if x is None:
        return None
    others = [v for v in inputs if v is not x]
    other = others[0] if others else None
    if entry.kind in ("Identity", "Cast"):
        return x
    if isinstance(other, np.ndarray):
        if entry.kind == "Mul" and other.size == 1:
            return Numbering(x.step * int(other.reshape(())), x.offset * other.reshape(()))
        if entry.kind == "Add" and (other.ndim < x.offset.ndim or other.shape[:1] == (1,)):
            return Numbering(x.step, x.offset + other)
    if entry.kind == "Unsqueeze":
        given: Any = entry.attributes.get("axes", other)
        axes = [int(a) for a in given]
        if 0 not in axes and min(axes) > 0:
            return Numbering(x.step, np.expand_dims(x.offset, tuple(axes)))
    raise Unsupported(f"{entry}: of the numbers of samples")


def gathered(entry: Entry, x: Value, numbers: Numbering) -> Value:
    """Elements of one flat axis, the same ones of every sample: what `as_strided` becomes."""
    inside = int(numbers.offset.min()) >= 0 and int(numbers.offset.max()) < x.rows
    if x.rank != 1 or numbers.step != x.rows or not inside or entry.attributes.get("axis", 0):
        raise Unsupported(f"{entry}: by the numbers of samples")
    tensor = ops.take(ops.reshape(x.first(), (-1, x.rows)), numbers.offset.ravel(), 1)
    return Value(first=ops.reshape(tensor, (-1, *numbers.offset.shape[1:])))
