"""ONNX operators without weights: arithmetic, activations, and moving elements."""

from collections.abc import Callable
from typing import Any

import numpy as np

from nbcnn import layers, ops
from nbcnn.onnx.building import Builder, Unsupported
from nbcnn.onnx.files import SAMPLE_LIMIT, Entry, ints
from nbcnn.onnx.folding import BATCH, bounded, cast_type, slices
from nbcnn.onnx.resizing import resize
from nbcnn.onnx.values import Value, arranged, made, place_of, to_first, to_last

MERGING = {"Add": layers.Add, "Sub": layers.Subtract, "Mul": layers.Multiply}


def _joined(function: Callable, *operands: Any) -> Value:
    """A function that broadcasts, in the order of axes in which most is there already."""
    values = [v for v in operands if isinstance(v, Value)]
    rank = max(v.rank if isinstance(v, Value) else v.ndim for v in operands)
    last = all(v.rank == rank for v in values) and any(v.is_last for v in values)
    tensors = [
        v.either(last) if isinstance(v, Value) else arranged(v, rank, last) for v in operands
    ]
    return made(function(*tensors), last)


def _binary(function: Callable) -> Callable:
    def rule(b: Builder, entry: Entry, *operands: Any) -> Value:
        shapes = {v.shape for v in operands if isinstance(v, Value)}
        both = all(isinstance(v, Value) for v in operands)
        if both and len(operands) == 2 and len(shapes) == 1 and entry.kind in MERGING:
            layer = MERGING[entry.kind](name=b.name(entry))
            return _joined(lambda *tensors: layer(list(tensors)), *operands)
        found = operands[0]
        for other in operands[1:]:
            found = _joined(function, found, other)
        return found

    return rule


def _same_shape(x: Value, function: Callable) -> Value:
    return made(function(x.either(x.is_last)), x.is_last)


def _unary(function: Callable) -> Callable:
    return lambda b, entry, x: _same_shape(x, function)


def _layer(make: Callable) -> Callable:
    """A rule from (entry, name) -> layer."""
    return lambda b, entry, x: _same_shape(x, make(entry, b.name(entry)))


def _activation(name: str) -> Callable:
    return _layer(lambda entry, own: layers.Activation(name, name=own))


def _hard_sigmoid(b: Builder, entry: Entry, x: Value) -> Value:
    alpha, beta = (float(entry.attributes.get(k, v)) for k, v in (("alpha", 0.2), ("beta", 0.5)))
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return _activation("hard_sigmoid")(b, entry, x)
    return _same_shape(x, lambda t: ops.clip(t * alpha + beta, 0.0, 1.0))


def _selu(b: Builder, entry: Entry, x: Value) -> Value:
    alpha, gamma = entry.attributes.get("alpha", 1.67326), entry.attributes.get("gamma", 1.0507)
    if abs(alpha - 1.67326) > 1e-4 or abs(gamma - 1.0507) > 1e-4:
        return _same_shape(x, lambda t: ops.elu(t, float(alpha)) * float(gamma))
    return _activation("selu")(b, entry, x)


def _swish(b: Builder, entry: Entry, x: Value) -> Value:
    alpha = float(entry.attributes.get("alpha", 1.0))
    if alpha == 1:
        return _activation("silu")(b, entry, x)
    return _same_shape(x, lambda t: t * ops.sigmoid(t * alpha))


def _gelu(b: Builder, entry: Entry, x: Value) -> Value:
    tanh = entry.attributes.get("approximate", "none") == "tanh"
    return _same_shape(x, lambda t: ops.gelu(t, approximate=tanh))


def _clip(b: Builder, entry: Entry, x: Value, low: Any = None, high: Any = None) -> Value:
    low = entry.attributes.get("min") if low is None else low
    high = entry.attributes.get("max") if high is None else high
    if isinstance(low, Value) or isinstance(high, Value):
        raise Unsupported(f"{entry}: bounds that are computed from the inputs")
    least, most = (v if v is None else float(np.asarray(v).reshape(())) for v in (low, high))
    if least == 0 and most is not None and most >= 0:
        return _layer(lambda entry, own: layers.ReLU(most, name=own))(b, entry, x)
    limit = float(np.finfo("float32").max)
    bounds = -limit if least is None else least, limit if most is None else most
    return _same_shape(x, lambda t: ops.clip(t, *bounds))


def _softmax(b: Builder, entry: Entry, x: Value) -> Value:
    axis = int(entry.attributes.get("axis", -1 if b.opset >= 13 else 1)) % x.rank
    function = ops.softmax if entry.kind == "Softmax" else ops.log_softmax
    if b.opset < 13 and axis != x.rank - 1:  # over this axis and all behind it
        if any(n != 1 for n in x.shape[axis + 1 :]):
            rest = tuple(x.shape[1:])
            if axis != 1:
                raise Unsupported(f"{entry}: over several axes")
            flat = layers.Flatten()(x.first())
            return Value(first=layers.Reshape(rest)(function(flat)))
    place = place_of(axis, x.rank, x.is_last)
    if entry.kind == "Softmax":
        layer = layers.Softmax(place, name=b.name(entry))
        return _same_shape(x, layer)
    return _same_shape(x, lambda t: function(t, place))


def _cast(b: Builder, entry: Entry, x: Value) -> Value:
    dtype = cast_type(entry)
    return x if dtype == x.dtype else _same_shape(x, lambda t: ops.cast(t, dtype))


def _identity(b: Builder, entry: Entry, x: Any) -> Any:
    return x


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
    if not all(isinstance(x, Value) for x in xs):
        raise Unsupported(f"{entry}: of constants and tensors")
    rank = xs[0].rank
    axis = int(entry.attributes["axis"]) % rank
    if axis == 0:
        raise Unsupported(f"{entry}: along the batch")
    last = any(x.is_last for x in xs)
    layer = layers.Concatenate(place_of(axis, rank, last), name=b.name(entry))
    return made(layer([x.either(last) for x in xs]) if len(xs) > 1 else xs[0].either(last), last)


def _flatten(b: Builder, entry: Entry, x: Value) -> Value:
    axis = int(entry.attributes.get("axis", 1)) % (x.rank + 1)
    if axis != 1:
        raise Unsupported(f"{entry}: axis {axis}")
    return _rows(x, b.name(entry))


def _rows(x: Value, name: str) -> Value:
    """(n, everything); the order of axes matters only where pixels are left."""
    one = all(n == 1 for n in x.shape[2:])
    return Value(first=layers.Flatten(name=name)(x.last() if one and x.is_last else x.first()))


def _reshape(b: Builder, entry: Entry, x: Value, shape: Any = None) -> Value:
    wanted = ints(entry.attributes, "shape")
    wanted = b.constant(entry, shape).tolist() if wanted is None else wanted
    have = list(x.shape)
    if not entry.attributes.get("allowzero", 0):
        wanted = [have[i] if n == 0 else n for i, n in enumerate(wanted)]
    sample = int(np.prod([n or 0 for n in have[1:]], dtype=np.int64))
    rest = wanted[1:]
    inside = int(np.prod([n or 0 for n in rest], dtype=np.int64))
    fits = sample % -inside == 0 if -1 in rest and inside else inside == sample
    if not wanted or not fits or BATCH in rest or None in rest:
        raise Unsupported(f"{entry}: a shape that mixes the batch with other axes")
    if tuple(rest) == x.shape[1:]:
        return x
    if len(rest) == 1:
        return _rows(x, b.name(entry))
    return Value(first=layers.Reshape(tuple(rest), name=b.name(entry))(x.first()))


def _transpose(b: Builder, entry: Entry, x: Value) -> Value:
    perm = tuple(ints(entry.attributes, "perm", range(x.rank - 1, -1, -1)))
    if perm[0] != 0:
        raise Unsupported(f"{entry}: moves the batch")
    if x.is_last and perm == to_last(x.rank):
        return Value(first=x.last())
    if perm == to_first(x.rank) and x.rank > 2:
        return Value(last=x.first())
    return Value(first=layers.Permute(perm[1:], name=b.name(entry))(x.first()))


def _axes(b: Builder, entry: Entry, axes: Any, rank: int) -> list[int] | None:
    given = ints(entry.attributes, "axes")
    if given is None and axes is not None:
        given = [int(a) for a in b.constant(entry, axes)]
    return None if given is None else sorted(a % rank for a in given)


def _squeeze(b: Builder, entry: Entry, x: Value, axes: Any = None) -> Value:
    found = _axes(b, entry, axes, x.rank)
    if found is None:
        found = [a for a, n in enumerate(x.shape) if n == 1]
    if 0 in found:
        raise Unsupported(f"{entry}: drops the batch")
    kept = [n for a, n in enumerate(x.shape) if a not in found]
    if x.is_last and len(kept) == 2:
        return Value(first=ops.squeeze(x.last(), [place_of(a, x.rank, True) for a in found]))
    return Value(first=ops.squeeze(x.first(), found))


def _unsqueeze(b: Builder, entry: Entry, x: Value, axes: Any = None) -> Value:
    count = len(_axes(b, entry, axes, 1) or [])
    tensor = x.first()
    for axis in _axes(b, entry, axes, x.rank + count) or []:
        if axis == 0:
            raise Unsupported(f"{entry}: an axis before the batch")
        tensor = ops.expand_dims(tensor, axis)
    return Value(first=tensor)


def _reduced(function: Callable) -> Callable:
    def rule(b: Builder, entry: Entry, x: Value, axes: Any = None) -> Value:
        found = _axes(b, entry, axes, x.rank)
        if found is None or found == []:
            if entry.attributes.get("noop_with_empty_axes", 0):
                return x
            found = list(range(x.rank))
        if 0 in found:
            raise Unsupported(f"{entry}: over the batch")
        keep = bool(entry.attributes.get("keepdims", 1))
        last = x.is_last and (keep or found == list(range(2, x.rank)))
        places = [place_of(a, x.rank, last) for a in found]
        return made(function(x.either(last), tuple(places), keepdims=keep), last)

    return rule


def _slice(b: Builder, entry: Entry, x: Value, *rest: Any) -> Value:
    bounds = [b.optional(entry, r) for r in rest]
    index: list[Any] = [slice(None)] * x.rank
    for axis, start, stop, step in slices(entry, x.rank, bounds):
        if axis == 0 and not (start == 0 and step == 1 and stop is not None and stop >= BATCH):
            raise Unsupported(f"{entry}: of the batch")
        if axis:
            index[place_of(axis, x.rank, x.is_last)] = slice(start, stop, step)
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
    if not isinstance(x, Value) or isinstance(numbers, Value):
        raise Unsupported(f"{entry}: by numbers that are computed from the inputs")
    axis = int(entry.attributes.get("axis", 0)) % x.rank
    if axis == 0:
        raise Unsupported(f"{entry}: of the batch")
    if numbers.ndim == 0:
        return Value(first=x.first()[(slice(None),) * axis + (int(numbers),)])
    if numbers.ndim > 1:
        return Value(first=ops.take(x.first(), numbers.astype("int32"), axis))
    place = place_of(axis, x.rank, x.is_last)
    return made(ops.take(x.either(x.is_last), numbers.astype("int32"), place), x.is_last)


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


def _shuffle(b: Builder, entry: Entry, x: Value) -> Value:
    """What `patterns` has found: the groups of channels are dealt out one by one."""
    g, k, h, w = entry.attributes["sizes"]
    if x.shape[1:] == (g * k, h, w):
        t = ops.transpose(ops.reshape(x.last(), (-1, h, w, g, k)), (0, 1, 2, 4, 3))
        return Value(last=ops.reshape(t, (-1, h, w, g * k)))
    if int(np.prod([n or 0 for n in x.shape[1:]])) != g * k * h * w:
        raise Unsupported(f"{entry}: a shape that mixes the batch with other axes")
    t = ops.transpose(ops.reshape(x.first(), (-1, g, k, h, w)), (0, 2, 1, 3, 4))
    return Value(first=ops.reshape(t, (-1, g * k, h, w)))


def _expand(b: Builder, entry: Entry, x: Value, shape: Any) -> Value:
    sizes = [1 if n == BATCH else int(n) for n in b.constant(entry, shape)]
    return _joined(ops.multiply, x, np.ones(bounded(sizes), "float32")) if sizes else x


RULES: dict[str, Callable[..., Any]] = {
    "Add": _binary(ops.add), "Sub": _binary(ops.subtract), "Mul": _binary(ops.multiply),
    "Div": _binary(ops.divide), "Pow": _binary(ops.power), "Sum": _binary(ops.add),
    "Max": _binary(ops.maximum), "Min": _binary(ops.minimum),
    "Relu": _layer(lambda e, n: layers.ReLU(name=n)),
    "LeakyRelu": _layer(lambda e, n: layers.LeakyReLU(e.attributes.get("alpha", 0.01), name=n)),
    "Elu": _layer(lambda e, n: layers.ELU(e.attributes.get("alpha", 1.0), name=n)),
    "Celu": lambda b, e, x: _same_shape(x, lambda t: ops.celu(t, e.attributes.get("alpha", 1.0))),
    "Selu": _selu, "HardSigmoid": _hard_sigmoid, "HardSwish": _activation("hard_silu"),
    "Sigmoid": _activation("sigmoid"), "Tanh": _activation("tanh"), "Mish": _activation("mish"),
    "Swish": _swish, "Softplus": _activation("softplus"), "Softsign": _activation("softsign"),
    "Softmax": _softmax, "LogSoftmax": _softmax, "Gelu": _gelu, "Clip": _clip,
    "Erf": _unary(ops.erf), "Exp": _unary(ops.exp), "Log": _unary(ops.log),
    "Sqrt": _unary(ops.sqrt), "Abs": _unary(ops.abs), "Neg": _unary(ops.negative),
    "Floor": _unary(ops.floor), "Ceil": _unary(ops.ceil), "Sin": _unary(ops.sin),
    "Cos": _unary(ops.cos), "Reciprocal": _unary(ops.reciprocal), "Sign": _unary(ops.sign),
    "Cast": _cast, "Identity": _identity, "Pad": _pad, "Concat": _concat, "Flatten": _flatten,
    "Reshape": _reshape, "Transpose": _transpose, "Squeeze": _squeeze, "Unsqueeze": _unsqueeze,
    "ReduceMean": _reduced(ops.mean), "ReduceSum": _reduced(ops.sum),
    "ReduceMax": _reduced(ops.max), "ReduceMin": _reduced(ops.min), "Slice": _slice,
    "Split": _split, "Gather": _gather, "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth, "Expand": _expand, "Resize": resize, "Upsample": resize,
    "nbcnn.Shuffle": _shuffle,
}  # fmt: skip
