"""Layers for which exporters write several operators, recognised at the first of them.

Only such a layer has scales and offsets that are trained, and one kernel instead of many.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from nbcnn import layers, ops
from nbcnn.onnx.building import Builder
from nbcnn.onnx.files import Entry
from nbcnn.onnx.values import Value, made


def _operand(b: Builder, entry: Entry | None, kind: str, name: str) -> np.ndarray | None:
    """The constant that an operator of this kind joins with the tensor of that name."""
    if entry is None or entry.kind != kind or entry.inputs.count(name) != 1:
        return None
    found = [b.values.get(n) for n in entry.inputs if n != name]
    return found[0] if len(found) == 1 and isinstance(found[0], np.ndarray) else None


def _number(b: Builder, entry: Entry | None, kind: str, name: str) -> float | None:
    found = _operand(b, entry, kind, name)
    return float(found.reshape(())) if found is not None and found.size == 1 else None


def _affine(b: Builder, output: str, shape: tuple[int, ...], done: list[Entry]) -> list[Any]:
    """[scale, offset] of this shape, each None where no Mul or Add applies it to the output."""
    found: list[Any] = []
    for kind in ("Mul", "Add"):
        entry = b.follower(output)
        array = _operand(b, entry, kind, output)
        fits = array is not None and array.shape[-len(shape) :] == shape
        if entry is None or array is None or not fits or array.size != np.prod(shape):
            found.append(None)
            continue
        found.append(array.reshape(shape))
        done.append(entry)
        output = entry.outputs[0]
    return found


def layer_norm(b: Builder, entry: Entry, x: Value, axes: list[int]) -> Value | None:
    """ReduceMean, Sub, Pow, ReduceMean, Add, Sqrt, Div, and perhaps Mul and Add."""
    source, mean = entry.inputs[0], entry.outputs[0]
    if axes != list(range(axes[0], x.rank)) or axes[0] == 0 or x.rows != 1:
        return None
    less = b.follower(mean)
    if less is None or less.kind != "Sub" or less.inputs != [source, mean]:
        return None
    centred = less.outputs[0]
    readers = {reader.kind: reader for reader in b.readers.get(centred, [])}
    power, divide = readers.get("Pow"), readers.get("Div")
    if len(b.readers[centred]) != 2 or power is None or divide is None:
        return None
    square = b.follower(power.outputs[0])
    if _number(b, power, "Pow", centred) != 2 or square is None or square.kind != "ReduceMean":
        return None
    if square.attributes != entry.attributes or square.inputs[1:] != entry.inputs[1:]:
        return None
    plus = b.follower(square.outputs[0])
    epsilon = _number(b, plus, "Add", square.outputs[0])
    root = None if plus is None else b.follower(plus.outputs[0])
    if epsilon is None or plus is None or root is None or root.kind != "Sqrt":
        return None
    if divide.inputs != [centred, root.outputs[0]] or b.follower(root.outputs[0]) is not divide:
        return None
    done = [less, power, square, plus, root, divide]
    shape = tuple(int(n) for n in x.shape[axes[0] :])
    scale, offset = _affine(b, divide.outputs[0], shape, done)
    layer = layers.LayerNormalization(
        axes, epsilon=epsilon, scale=scale is not None, center=offset is not None,
        name=b.name(entry),
    )  # fmt: skip
    b.done_by(entry, done)
    return b.called(layer, x, [scale, offset], last=False)


def group_norm(b: Builder, entry: Entry, x: Value, scale: Any, shift: Any) -> Value | None:
    """Reshape to groups, InstanceNormalization, Reshape back, and perhaps Mul and Add."""
    before, after = b.makers.get(entry.inputs[0]), b.follower(entry.outputs[0])
    if before is None or after is None or {before.kind, after.kind} != {"Reshape"}:
        return None
    source, groups = b.values.get(before.inputs[0]), x.shape[1]
    if not isinstance(source, Value) or source.rank < 3 or source.shape[1] % groups:
        return None
    if x.rank != 3 or x.rows != source.rows or np.any(scale != 1) or np.any(shift != 0):
        return None
    target = b.makers.get(after.inputs[1])
    if target is None or (target.kind, target.inputs) != ("Shape", before.inputs[:1]):
        sizes = b.values.get(after.inputs[1])
        if not isinstance(sizes, np.ndarray) or sizes.tolist()[1:] != list(source.shape[1:]):
            return None
    done = [after]
    channels = int(source.shape[1])
    shape = (channels, *(1,) * (source.rank - 2))
    weights = _affine(b, after.outputs[0], shape, done)
    layer = layers.GroupNormalization(
        groups, epsilon=float(entry.attributes.get("epsilon", 1e-5)),
        scale=weights[0] is not None, center=weights[1] is not None, name=b.name(entry),
    )  # fmt: skip
    b.done_by(entry, done)
    return b.called(layer, source, [w if w is None else w.reshape(channels) for w in weights])


def shuffled(b: Builder, entry: Entry, x: Value, rest: list[int]) -> Value | None:
    """Reshape of channels to groups, Transpose of both, Reshape back; with channels last."""
    if x.rank < 3 or x.rows != 1 or len(rest) != x.rank:
        return None
    if (rest[0] * rest[1], *rest[2:]) != x.shape[1:]:
        return None
    turn = b.follower(entry.outputs[0])
    perm = None if turn is None else turn.attributes.get("perm")
    if turn is None or turn.kind != "Transpose" or perm != [0, 2, 1, *range(3, x.rank + 1)]:
        return None
    back = b.follower(turn.outputs[0])
    if back is None or back.kind != "Reshape" or back.inputs[0] != turn.outputs[0]:
        return None
    sizes = b.values.get(back.inputs[1]) if len(back.inputs) == 2 else None
    if not isinstance(sizes, np.ndarray) or sizes.tolist()[1:] != list(x.shape[1:]):
        return None
    b.done_by(entry, [turn, back])
    groups = ops.reshape(x.last(), (-1, *rest[2:], *rest[:2]))
    dealt = ops.transpose(groups, (*range(x.rank - 1), x.rank, x.rank - 1))
    return Value(last=ops.reshape(dealt, (-1, *rest[2:], rest[0] * rest[1])))


def gelu(b: Builder, entry: Entry, x: Value) -> Value | None:
    """x / sqrt(2), Erf, + 1, times x and 1/2 in any order, as PyTorch writes it."""
    source = entry.inputs[0]
    error = b.follower(entry.outputs[0])
    if error is None or error.kind != "Erf":
        return None
    plus = b.follower(error.outputs[0])
    if _number(b, plus, "Add", error.outputs[0]) != 1 or plus is None:
        return None
    one = b.follower(plus.outputs[0])
    if one is None or one.kind != "Mul":
        return None
    two = b.follower(one.outputs[0])
    if sorted(one.inputs) == sorted([source, plus.outputs[0]]):
        if two is None or _number(b, two, "Mul", one.outputs[0]) != 0.5:
            return None
        done = [error, plus, one, two]
    else:
        half = b.makers.get(next((n for n in one.inputs if n != plus.outputs[0]), ""))
        if half is None or _number(b, half, "Mul", source) != 0.5:
            return None
        done = [error, plus, one]
    b.done_by(entry, done)
    return _activated(b, entry, x, "gelu")


def gated(b: Builder, entry: Entry, x: Value, name: str) -> Value | None:
    """A function of x times x: silu and its like."""
    times = b.follower(entry.outputs[0])
    pair = sorted([entry.inputs[0], entry.outputs[0]])
    if times is None or times.kind != "Mul" or sorted(times.inputs) != pair:
        return None
    b.done_by(entry, [times])
    return _activated(b, entry, x, name)


def _activated(b: Builder, entry: Entry, x: Value, name: str) -> Value:
    layer: Callable[[Any], Any] = layers.Activation(name, name=b.name(entry))
    return made(layer(x.either(x.is_last)), x.is_last)
