"""ONNX operators without weights: arithmetic, activations, reductions."""

from collections.abc import Callable
from typing import Any

import numpy as np

from nbcnn import layers, ops
from nbcnn.onnx import patterns
from nbcnn.onnx.building import Builder, Unsupported, axes_of
from nbcnn.onnx.files import Entry
from nbcnn.onnx.folding import cast_type
from nbcnn.onnx.values import Mixed, Value, joined, made, place_of

MERGING = {"Add": layers.Add, "Sub": layers.Subtract, "Mul": layers.Multiply}


def _binary(function: Callable) -> Callable:
    def rule(b: Builder, entry: Entry, *operands: Any) -> Value:
        shapes = {v.shape for v in operands if isinstance(v, Value)}
        both = all(isinstance(v, Value) for v in operands)
        if both and len(operands) == 2 and len(shapes) == 1 and entry.kind in MERGING:
            layer = MERGING[entry.kind](name=b.name(entry))
            return joined(lambda *tensors: layer(list(tensors)), *operands)
        found = operands[0]
        for other in operands[1:]:
            found = joined(function, found, other)
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
        whole = patterns.gated(b, entry, x, "hard_silu")
        return whole or _activation("hard_sigmoid")(b, entry, x)
    return _same_shape(x, lambda t: ops.clip(t * alpha + beta, 0.0, 1.0))


def _sigmoid(b: Builder, entry: Entry, x: Value) -> Value:
    return patterns.gated(b, entry, x, "silu") or _activation("sigmoid")(b, entry, x)


def _divide(b: Builder, entry: Entry, x: Any, divisor: Any) -> Value:
    if isinstance(x, Value) and isinstance(divisor, np.ndarray) and divisor.size == 1:
        root = abs(float(divisor.reshape(())) - 2**0.5) < 1e-6
        whole = patterns.gelu(b, entry, x) if root else None
        if whole is not None:
            return whole
    if any(np.dtype(v.dtype).kind in "iu" for v in (x, divisor)):
        raise Unsupported(f"{entry}: of integers")
    return joined(ops.divide, x, divisor)


def _selu(b: Builder, entry: Entry, x: Value) -> Value:
    alpha, gamma = entry.attributes.get("alpha", 1.67326), entry.attributes.get("gamma", 1.0507)
    if abs(alpha - 1.67326) > 1e-4 or abs(gamma - 1.0507) > 1e-4:
        return _same_shape(x, lambda t: ops.elu(t, float(alpha)) * float(gamma))
    return _activation("selu")(b, entry, x)


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


def _reduced(function: Callable) -> Callable:
    def rule(b: Builder, entry: Entry, x: Value, axes: Any = None) -> Value:
        found = axes_of(b, entry, axes, x.rank)
        if found is None or found == []:
            if entry.attributes.get("noop_with_empty_axes", 0):
                return x
            found = list(range(x.rank))
        if 0 in found:
            raise Unsupported(f"{entry}: over the batch")
        whole = patterns.layer_norm(b, entry, x, found) if entry.kind == "ReduceMean" else None
        if whole is not None:
            return whole
        keep = bool(entry.attributes.get("keepdims", 1))
        last = x.is_last and (keep or found == list(range(2, x.rank)))
        places = [place_of(a, x.rank, last) for a in found]
        return made(function(x.either(last), tuple(places), keepdims=keep), last)

    return rule


def _extreme_place(function: Callable) -> Callable:
    def rule(b: Builder, entry: Entry, x: Value) -> Value:
        keep = bool(entry.attributes.get("keepdims", 1))
        axis = int(entry.attributes.get("axis", 0)) % x.rank
        if axis == 0 or entry.attributes.get("select_last_index", 0):
            raise Unsupported(f"{entry}: over the batch, or select_last_index")
        last = x.is_last and keep
        numbers = function(x.either(last), place_of(axis, x.rank, last), keepdims=keep)
        return made(ops.cast(numbers, "int64"), last)

    return rule


def _mean(b: Builder, entry: Entry, *operands: Any) -> Value:
    return _same_shape(_binary(ops.add)(b, entry, *operands), lambda t: t * (1 / len(operands)))


def _local_norm(b: Builder, entry: Entry, x: Value) -> Value:
    """Divided by a power of the mean square of the channels around each; where the layer has no
    such form, by a product with a band.
    """
    size, c = int(entry.attributes["size"]), int(x.shape[1] or 0)
    alpha, beta, bias = (
        float(entry.attributes.get(k, v))
        for k, v in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))
    )
    if size % 2 and bias > 0 and alpha >= 0:
        layer = layers.LocalResponseNormalization(size, alpha, beta, bias, name=b.name(entry))
        return Value(last=layer(x.last()))
    b.spend(c * c)
    distance = np.arange(c)[:, None] - np.arange(c)  # of the one summed from the one divided
    band = (distance >= -((size - 1) // 2)) & (distance <= size // 2)
    t = x.last()
    sums = ops.matmul(t * t, band.astype("float32") * (alpha / size))
    return Value(last=t / ops.power(sums + bias, beta))


def _lp_norm(b: Builder, entry: Entry, x: Value) -> Value:
    axis, order = int(entry.attributes.get("axis", -1)) % x.rank, entry.attributes.get("p", 2)
    if axis == 0 or order not in (1, 2):
        raise Unsupported(f"{entry}: over the batch, or p = {order}")
    place = place_of(axis, x.rank, x.is_last)
    total = _sum_abs if order == 1 else _norm
    return _same_shape(x, lambda t: t / total(t, axis=place, keepdims=True))


def _sum_abs(x: Any, axis: Any, keepdims: bool) -> Any:
    return ops.sum(ops.abs(x), axis, keepdims=keepdims)


def _norm(x: Any, axis: Any, keepdims: bool) -> Any:
    return ops.norm(x, None, axis, keepdims)


def _shrink(b: Builder, entry: Entry, x: Value) -> Value:
    edge, bias = (float(entry.attributes.get(k, v)) for k, v in (("lambd", 0.5), ("bias", 0.0)))
    return _same_shape(
        x, lambda t: ops.where(t < -edge, t + bias, ops.where(t > edge, t - bias, 0.0))
    )


def _thresholded(b: Builder, entry: Entry, x: Value) -> Value:
    alpha = float(entry.attributes.get("alpha", 1.0))
    return _same_shape(x, lambda t: ops.where(t > alpha, t, 0.0))


def _swish(b: Builder, entry: Entry, x: Value) -> Value:
    alpha = float(entry.attributes.get("alpha", 1.0))
    return _same_shape(x, lambda t: ops.silu(t) if alpha == 1 else t * ops.sigmoid(t * alpha))


def _cumulative(b: Builder, entry: Entry, x: Value, axis: Any) -> Value:
    place = int(b.constant(entry, axis).reshape(())) % x.rank
    if place == 0 or entry.attributes.get("exclusive", 0) or entry.attributes.get("reverse", 0):
        raise Unsupported(f"{entry}: over the batch, exclusive or reverse")
    return Value(first=ops.cumsum(x.first(), place))


def _einsum(b: Builder, entry: Entry, *operands: Any) -> Value:
    """Sums in which one letter is the batch: the first of every tensor, and of the result."""
    equation = entry.attributes["equation"].replace(" ", "")
    left, _, result = equation.partition("->")
    terms = list(zip(left.split(","), operands, strict=True))
    firsts = {term[:1] for term, v in terms if isinstance(v, Value)}
    others = "".join(term for term, v in terms if not isinstance(v, Value))
    letter = firsts.pop()
    if firsts or not letter.isalpha() or result[:1] != letter or letter in others:
        raise Mixed(f"equation {equation!r}")
    arrays = [v.first() if isinstance(v, Value) else v for v in operands]
    return Value(first=ops.einsum(equation, *arrays))


def _where(b: Builder, entry: Entry, condition: Any, x: Any, y: Any) -> Value:
    return joined(ops.where, condition, x, y)


RULES: dict[str, Callable[..., Any]] = {
    "Add": _binary(ops.add), "Sub": _binary(ops.subtract), "Mul": _binary(ops.multiply),
    "Div": _divide, "Pow": _binary(ops.power), "Sum": _binary(ops.add),
    "Max": _binary(ops.maximum), "Min": _binary(ops.minimum),
    "Relu": _layer(lambda e, n: layers.ReLU(name=n)),
    "LeakyRelu": _layer(lambda e, n: layers.LeakyReLU(e.attributes.get("alpha", 0.01), name=n)),
    "Elu": _layer(lambda e, n: layers.ELU(e.attributes.get("alpha", 1.0), name=n)),
    "Celu": lambda b, e, x: _same_shape(x, lambda t: ops.celu(t, e.attributes.get("alpha", 1.0))),
    "Selu": _selu, "HardSigmoid": _hard_sigmoid, "HardSwish": _activation("hard_silu"),
    "Sigmoid": _sigmoid, "Tanh": _activation("tanh"), "Mish": _activation("mish"),
    "Softplus": _activation("softplus"), "Softsign": _activation("softsign"),
    "Softmax": _softmax, "LogSoftmax": _softmax, "Gelu": _gelu, "Clip": _clip,
    "Erf": _unary(ops.erf), "Exp": _unary(ops.exp), "Log": _unary(ops.log),
    "Sqrt": _unary(ops.sqrt), "Abs": _unary(ops.abs), "Neg": _unary(ops.negative),
    "Floor": _unary(ops.floor), "Ceil": _unary(ops.ceil), "Round": _unary(ops.round),
    "Sin": _unary(ops.sin), "Cos": _unary(ops.cos), "Tan": _unary(ops.tan),
    "Asin": _unary(ops.arcsin), "Acos": _unary(ops.arccos), "Atan": _unary(ops.arctan),
    "Sinh": _unary(ops.sinh), "Cosh": _unary(ops.cosh), "Asinh": _unary(ops.arcsinh),
    "Acosh": _unary(ops.arccosh), "Atanh": _unary(ops.arctanh), "Sign": _unary(ops.sign),
    "Reciprocal": _unary(ops.reciprocal), "Not": _unary(ops.logical_not),
    "IsNaN": _unary(ops.isnan), "IsInf": _unary(ops.isinf), "Shrink": _shrink,
    "ThresholdedRelu": _thresholded, "Swish": _swish, "Cast": _cast, "Identity": _identity,
    "Equal": _binary(ops.equal), "Greater": _binary(ops.greater), "Less": _binary(ops.less),
    "GreaterOrEqual": _binary(ops.greater_equal), "LessOrEqual": _binary(ops.less_equal),
    "And": _binary(ops.logical_and), "Or": _binary(ops.logical_or), "Where": _where,
    "Mean": _mean, "LRN": _local_norm, "LpNormalization": _lp_norm, "Einsum": _einsum,
    "CumSum": _cumulative, "ArgMax": _extreme_place(ops.argmax),
    "ArgMin": _extreme_place(ops.argmin), "ReduceMean": _reduced(ops.mean),
    "ReduceSum": _reduced(ops.sum), "ReduceMax": _reduced(ops.max),
    "ReduceMin": _reduced(ops.min), "ReduceProd": _reduced(ops.prod),
    "ReduceL1": _reduced(_sum_abs), "ReduceL2": _reduced(_norm),
    "ReduceLogSumExp": _reduced(ops.logsumexp),
    "ReduceSumSquare": _reduced(lambda t, *a, **k: ops.sum(ops.square(t), *a, **k)),
    "ReduceLogSum": _reduced(lambda t, *a, **k: ops.log(ops.sum(t, *a, **k))),
}  # fmt: skip
