"""ONNX operators that move elements: shapes, slices, joins, paddings."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nbcnn import layers, ops
from nbcnn.onnx import moved_rules, patterns
from nbcnn.onnx.building import Builder, Unsupported, axes_of
from nbcnn.onnx.files import SAMPLE_LIMIT, Entry, ints
from nbcnn.onnx.folding import BATCH, bounded, rows_of, slices
from nbcnn.onnx.moved_rules import Numbering
from nbcnn.onnx.resizing import resize
from nbcnn.onnx.values import Value, joined, made, place_of, shared, to_first, to_last


def _pad(b: Builder, entry: Entry, x: Value, pads: Any = None, value: Any = None, axes: Any = None):
    widths = ints(entry.attributes, "pads")
    widths = b.constant(entry, pads).tolist() if widths is None else widths
    where = range(x.rank) if axes is None else [int(a) % x.rank for a in b.constant(entry, axes)]
    fill = entry.attributes.get("value", 0.0) if value is None else b.constant(entry, value)
    mode = entry.attributes.get("mode", "constant")
    count = len(widths) // 2
    if any(abs(int(p)) > SAMPLE_LIMIT for p in widths):
        raise ValueError(f"pads of {widths}")
    pairs = [(0, 0)] * x.rank
    for axis, before, after in zip(where, widths[:count], widths[count:], strict=True):
        pairs[place_of(axis, x.rank, x.is_last)] = (int(before), int(after))
    if pairs[0] != (0, 0):
        raise Unsupported(f"{entry}: of the batch")
    tensor = x.either(x.is_last)
    cut = tuple(slice(max(-p, 0), min(q, 0) or None) for p, q in pairs)
    if any(p < 0 or q < 0 for p, q in pairs):
        tensor = tensor[cut]
        pairs = [(max(p, 0), max(q, 0)) for p, q in pairs]
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise Unsupported(f"{entry}: mode {mode!r}")
    more = {"constant_values": float(np.asarray(fill).reshape(()))} if mode == "constant" else {}
    return made(ops.pad(tensor, pairs, mode, **more), x.is_last)


def _concat(b: Builder, entry: Entry, *xs: Any) -> Value:
    values = [x for x in xs if isinstance(x, Value)]
    rank = values[0].rank
    axis = int(entry.attributes["axis"]) % rank
    if axis == 0:
        raise Unsupported(f"{entry}: along the batch")
    last = any(x.is_last for x in values)
    layer = layers.Concatenate(place_of(axis, rank, last), name=b.name(entry))
    parts = [x if isinstance(x, Value) else _for_samples(x, values[0], entry) for x in xs]
    tensors = [x.either(last) for x in parts]
    return made(layer(tensors) if len(xs) > 1 else tensors[0], last)


def _for_samples(array: np.ndarray, like: Value, entry: Entry) -> Value:
    """A constant once for each sample of another tensor."""
    if array.ndim != like.rank:
        raise ValueError(f"a constant of {array.ndim} axes beside tensors of {like.rank}")
    one = ops.reshape(like.first(), (-1, math.prod(like.shape[1:])))[:, :1]
    zeros = ops.reshape(ops.zeros_like(one), (-1,) + (1,) * (like.rank - 1))
    return Value(first=ops.add(zeros, shared(array, like.rank)))


def _flatten(b: Builder, entry: Entry, x: Value) -> Value:
    axis = int(entry.attributes.get("axis", 1)) % (x.rank + 1)
    if axis == 0:
        raise Unsupported(f"{entry}: of all samples into one row")
    return _reshaped(b, entry, x, [-1, math.prod(x.shape[axis:])])


def _reshape(b: Builder, entry: Entry, x: Value, shape: Any = None) -> Value:
    wanted = ints(entry.attributes, "shape")
    wanted = b.constant(entry, shape).tolist() if wanted is None else wanted
    if not entry.attributes.get("allowzero", 0):
        have = (BATCH * x.rows, *x.shape[1:])
        wanted = [have[i] if n == 0 else n for i, n in enumerate(wanted)]
    return _reshaped(b, entry, x, wanted)


def _reshaped(b: Builder, entry: Entry, x: Value, wanted: list[int]) -> Value:
    """The first axis of the result has to hold whole samples, or equal parts of them."""
    if not wanted:
        raise Unsupported(f"{entry}: of all samples into one number")
    size, rest = math.prod(x.shape[1:]) * x.rows, [int(n) for n in wanted[1:]]
    if -1 in rest:
        rows = rows_of(wanted[0])
        if not rows:  # a file for one size of the batch names it
            rows = wanted[0] // b.batch if b.batch and wanted[0] % b.batch == 0 else 1
        known = math.prod(n for n in rest if n != -1) * rows
        if known > 0 and size % known == 0:
            rest[rest.index(-1)] = size // known
    inside = math.prod(rest)
    rows = size // inside if inside > 0 and size % inside == 0 else 0
    fits = wanted[0] in (-1, BATCH * rows, rows * (b.batch or -1)) or (rows == 1 and wanted[0])
    if not rows or not fits or any(not 0 < n < BATCH for n in rest):
        raise Unsupported(f"{entry}: a shape that mixes samples: {wanted} from {x.shape}")
    if tuple(rest) == x.shape[1:]:
        return x
    if rows != 1 or x.rows != 1:
        return Value(first=ops.reshape(x.first(), (-1, *rest)), rows=rows)
    if len(rest) == 1:
        return _rows(x, b.name(entry))
    dealt = patterns.shuffled(b, entry, x, rest)
    if dealt is not None:
        return dealt
    return Value(first=layers.Reshape(tuple(rest), name=b.name(entry))(x.first()))


def _rows(x: Value, name: str) -> Value:
    """(n, everything); the order of axes matters only where pixels are left."""
    one = all(n == 1 for n in x.shape[2:])
    return Value(first=layers.Flatten(name=name)(x.last() if one and x.is_last else x.first()))


def _transpose(b: Builder, entry: Entry, x: Value) -> Value:
    perm = tuple(ints(entry.attributes, "perm", range(x.rank - 1, -1, -1)))
    if perm[0] != 0:
        return moved_rules.transpose(b, entry, x)
    if x.is_last and perm == to_last(x.rank):
        return Value(first=x.last())
    if perm == to_first(x.rank) and x.rank > 2:
        return Value(last=x.first())
    return Value(first=layers.Permute(perm[1:], name=b.name(entry))(x.first()))


def _squeeze(b: Builder, entry: Entry, x: Value, axes: Any = None) -> Value:
    found = axes_of(b, entry, axes, x.rank)
    if found is None:
        found = [a for a, n in enumerate(x.shape) if n == 1]
    if 0 in found:
        raise Unsupported(f"{entry}: drops the batch")
    kept = [n for a, n in enumerate(x.shape) if a not in found]
    if x.is_last and len(kept) == 2:
        return Value(first=ops.squeeze(x.last(), [place_of(a, x.rank, True) for a in found]))
    return Value(first=ops.squeeze(x.first(), found))


def _unsqueeze(b: Builder, entry: Entry, x: Value, axes: Any = None) -> Value:
    count = len(axes_of(b, entry, axes, 1) or [])
    tensor = x.first()
    for axis in axes_of(b, entry, axes, x.rank + count) or []:
        if axis == 0:
            raise Unsupported(f"{entry}: an axis before the batch")
        tensor = ops.expand_dims(tensor, axis)
    return Value(first=tensor)


def _slice(b: Builder, entry: Entry, x: Value, *rest: Any) -> Value:
    bounds = [b.optional(entry, r) for r in rest]
    index: list[Any] = [slice(None)] * x.rank
    for axis, start, stop, step in slices(entry, x.rank, bounds):
        if axis:
            index[place_of(axis, x.rank, x.is_last)] = slice(start, stop, step)
        elif start != 0 or step != 1 or stop is None or stop not in (b.batch, max(stop, BATCH)):
            raise Unsupported(f"{entry}: of the batch")
    return made(x.either(x.is_last)[tuple(index)], x.is_last)


def _split(b: Builder, entry: Entry, x: Value, sizes: Any = None) -> list[Value]:
    axis = int(entry.attributes.get("axis", 0)) % x.rank
    if axis == 0:
        raise Unsupported(f"{entry}: of the batch")
    length, count = int(x.shape[axis] or 0), len(entry.outputs)
    parts = ints(entry.attributes, "split")
    if parts is None:
        chunk = -(-length // count)
        parts = [min(chunk, length - i * chunk) for i in range(count)]
        parts = parts if sizes is None else b.constant(entry, sizes).tolist()
    if sum(parts) != length or len(parts) != count:
        raise ValueError(f"parts of {parts} do not make up {length}")
    place, start, found = place_of(axis, x.rank, x.is_last), 0, []
    for size in parts:
        index = (slice(None),) * place + (slice(start, start + size),)
        found.append(made(x.either(x.is_last)[index], x.is_last))
        start += size
    return found


def _gather(b: Builder, entry: Entry, x: Any, numbers: Any) -> Value:
    if isinstance(numbers, Numbering):
        return moved_rules.gathered(entry, x, numbers)
    if not isinstance(x, Value):  # rows of a table
        if int(entry.attributes.get("axis", 0)) != 0 or x.ndim < 1:
            raise Unsupported(f"{entry}: from a table along another axis than the first")
        return Value(first=ops.take(x, ops.cast(numbers.first(), "int32"), 0))
    if isinstance(numbers, Value):
        raise Unsupported(f"{entry}: by numbers that are computed from the inputs")
    axis = int(entry.attributes.get("axis", 0)) % x.rank
    if axis == 0:
        raise Unsupported(f"{entry}: of the batch")
    if numbers.ndim == 0:
        return Value(first=x.first()[(slice(None),) * axis + (int(numbers),)])
    size = int(x.shape[axis] or 0)
    if np.any(numbers < -size) or np.any(numbers >= size):
        raise ValueError(f"numbers outside of an axis of {size}")
    numbers = numbers.astype("int32") % size
    if numbers.ndim > 1:
        return Value(first=ops.take(x.first(), numbers, axis))
    place = place_of(axis, x.rank, x.is_last)
    return made(ops.take(x.either(x.is_last), numbers, place), x.is_last)


def _depth_to_space(b: Builder, entry: Entry, x: Value) -> Value:
    s, (_, c, h, w) = int(entry.attributes["blocksize"]), x.shape
    inner = int(c or 0) // (s * s)
    t = x.last()
    if entry.attributes.get("mode", "DCR") == "DCR":
        t = ops.transpose(ops.reshape(t, (-1, h, w, s, s, inner)), (0, 1, 3, 2, 4, 5))
    else:
        t = ops.transpose(ops.reshape(t, (-1, h, w, inner, s, s)), (0, 1, 4, 2, 5, 3))
    return Value(last=ops.reshape(t, (-1, h * s, w * s, inner)))


def _space_to_depth(b: Builder, entry: Entry, x: Value) -> Value:
    s, (_, c, h, w) = int(entry.attributes["blocksize"]), x.shape
    t = ops.reshape(x.last(), (-1, h // s, s, w // s, s, c))
    t = ops.transpose(t, (0, 1, 3, 2, 4, 5))
    return Value(last=ops.reshape(t, (-1, h // s, w // s, s * s * int(c or 0))))


def _expand(b: Builder, entry: Entry, x: Value, shape: Any) -> Value:
    sizes = [int(n) for n in b.constant(entry, shape)]
    if len(sizes) > x.rank:
        raise Unsupported(f"{entry}: axes before the batch")
    if len(sizes) == x.rank and sizes:
        if sizes[0] not in (1, b.batch, BATCH * x.rows):
            raise Unsupported(f"{entry}: of the batch")
        sizes[0] = 1
    full = np.broadcast_shapes(tuple(sizes), (1, *x.shape[1:]))
    if full == (1, *x.shape[1:]):
        return x
    dtype = x.dtype if x.dtype != "bool" else "int32"
    b.spend(math.prod(bounded(sizes)))
    y = joined(ops.multiply, x, np.ones(sizes, dtype))
    return y if dtype == x.dtype else made(ops.cast(y.either(y.is_last), x.dtype), y.is_last)


def _tile(b: Builder, entry: Entry, x: Value, repeats: Any) -> Value:
    counts = [int(n) for n in b.constant(entry, repeats)]
    if counts[0] != 1:
        raise Unsupported(f"{entry}: of the batch")
    bounded([n * c for n, c in zip((1, *x.shape[1:]), counts, strict=True)])
    return Value(first=ops.tile(x.first(), counts))


RULES: dict[str, Callable[..., Any]] = {
    "Pad": _pad, "Concat": _concat, "Flatten": _flatten, "Reshape": _reshape,
    "Transpose": _transpose, "Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "Slice": _slice,
    "Split": _split, "Gather": _gather, "GatherND": moved_rules.gather_nd,
    "DepthToSpace": _depth_to_space, "SpaceToDepth": _space_to_depth, "Expand": _expand,
    "Tile": _tile, "Resize": resize, "Upsample": resize,
}  # fmt: skip
