"""The engine's operations as ONNX's operators.

A rule takes the writer, the operation, its inputs and outputs, and returns the output's name.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nbcnn.kernels.scalar import SELU_ALPHA, SELU_SCALE
from nbcnn.onnx.border_operators import (
    local2d,
    max_unpool,
    pad_border,
    recorded_pool,
    response_norm,
)
from nbcnn.onnx.window_operators import (
    TO_FIRST,
    TO_LAST,
    Unknown,
    conv2d,
    conv2d_dx,
    conv3d,
    pool,
)
from nbcnn.ops.shape import Slice as SliceOp
from nbcnn.ops.tensor import Tensor


def upsample(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    x = w.node("Transpose", w.name(inputs[0]), perm=TO_FIRST)
    scales = w.array(np.array([1, 1, *op.size], "float32"))
    options = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    y = w.node("Resize", x, "", scales, mode="nearest", **options)
    return w.node("Transpose", y, perm=TO_LAST)


def scale_shift(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    x, scale, shift = inputs
    found = _statistics(w, scale, shift)
    if found is None:
        return w.node("Add", w.node("Mul", w.name(x), w.name(scale)), w.name(shift))
    *arrays, epsilon = found
    name, axes = w.name(x), x.ndim - 2
    if axes:
        name = w.node("Transpose", name, perm=(0, axes + 1, *range(1, axes + 1)))
    y = w.node("BatchNormalization", name, *(w.named(a) for a in arrays), epsilon=epsilon)
    return w.node("Transpose", y, perm=(0, *range(2, axes + 2), 1)) if axes else y


def _parts(tensor: Any, function: str) -> Any:
    """The inputs of an operation, if it is this function; else twice None."""
    node = None if tensor is None else tensor.node
    if node is None or getattr(node.op, "function", None) != function:
        return (None, None)
    return node.inputs


def _statistics(w: Any, scale: Tensor, shift: Tensor) -> Any:
    """(gamma, beta, mean, variance, epsilon), if that is what scale and shift are made of."""
    root, gamma = _parts(scale, "multiply")
    root = scale if root is None else root
    less, beta = _parts(shift, "add")
    (product, *_) = _parts(shift if less is None else less, "negative")
    mean, factor = _parts(product, "multiply")
    (total, *_) = _parts(root, "rsqrt")
    variance, epsilon = _parts(total, "add")
    if variance is None or factor is not scale or w.value(epsilon) is None:
        return None
    size = variance.shape
    values = [
        np.full(size, default, "float32") if tensor is None else tensor
        for tensor, default in ((gamma, 1), (beta, 0), (mean, 0), (variance, 1))
    ]
    if any(isinstance(v, Tensor) and w.value(v) is None for v in values):
        return None
    return (*values, float(w.value(epsilon)))


def layernorm(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    names = map(w.name, inputs)
    return w.node("LayerNormalization", *names, axis=-op.axes, epsilon=op.epsilon)


def global_response(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    x, gamma, beta = map(w.name, inputs)
    norms = w.node("ReduceL2", x, axes=list(range(1, inputs[0].ndim - 1)), keepdims=1)
    mean = w.node("ReduceMean", norms, axes=[-1], keepdims=1)
    shares = w.node("Div", norms, w.node("Add", mean, w.number(op.epsilon, inputs[0])))
    factors = w.node("Add", w.node("Mul", gamma, shares), w.number(1.0, inputs[0]))
    return w.node("Add", w.node("Mul", x, factors), beta)


def matmul(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    if op.bias or op.act:
        raise Unknown("fused matmul")
    names = []
    for tensor, turned in zip(inputs, (op.tx, op.tw)):
        name, rank = w.name(tensor), tensor.ndim
        if turned:
            name = w.node("Transpose", name, perm=(*range(rank - 2), rank - 1, rank - 2))
        names.append(name)
    return w.node("MatMul", *names)


UNARY = {
    "identity": "Identity", "negative": "Neg", "abs": "Abs", "sign": "Sign", "sqrt": "Sqrt",
    "reciprocal": "Reciprocal", "exp": "Exp", "log": "Log", "sin": "Sin", "cos": "Cos",
    "tan": "Tan", "tanh": "Tanh", "erf": "Erf", "floor": "Floor", "ceil": "Ceil",
    "round": "Round", "sigmoid": "Sigmoid", "relu": "Relu", "softplus": "Softplus",
    "softsign": "Softsign", "hard_silu": "HardSwish", "isnan": "IsNaN", "isinf": "IsInf",
    "logical_not": "Not", "arccos": "Acos", "arcsin": "Asin", "arctan": "Atan",
    "arccosh": "Acosh", "arcsinh": "Asinh", "arctanh": "Atanh", "cosh": "Cosh", "sinh": "Sinh",
}  # fmt: skip


def _formula(w: Any, op: Any, x: Tensor, name: str) -> str:
    """Functions that ONNX has by other ones."""

    def n(value: float) -> str:
        return w.number(value, x)

    def clipped(low: float, high: float) -> str:
        return w.node("Clip", name, n(low), n(high))

    f = op.function
    if f == "square":
        return w.node("Mul", name, name)
    if f == "isfinite":
        return w.node("Not", w.node("Or", w.node("IsInf", name), w.node("IsNaN", name)))
    if f == "rsqrt":
        return w.node("Reciprocal", w.node("Sqrt", name))
    if f == "log1p":
        return w.node("Log", w.node("Add", name, n(1)))
    if f == "expm1":
        return w.node("Sub", w.node("Exp", name), n(1))
    if f in ("log2", "log10"):
        return w.node("Div", w.node("Log", name), n(np.log(2 if f == "log2" else 10)))
    if f == "relu6":
        return clipped(0, 6)
    if f == "clip":
        return clipped(op.alpha, op.beta)
    if f == "leaky_relu":
        return w.node("LeakyRelu", name, alpha=op.alpha)
    if f in ("elu", "celu"):
        return w.node(f.capitalize(), name, alpha=op.alpha)
    if f == "selu":
        return w.node("Selu", name, alpha=SELU_ALPHA, gamma=SELU_SCALE)
    if f == "hard_sigmoid":
        return w.node("HardSigmoid", name, alpha=1 / 6, beta=0.5)
    if f == "silu":
        return w.node("Mul", name, w.node("Sigmoid", name))
    if f == "mish":
        return w.node("Mul", name, w.node("Tanh", w.node("Softplus", name)))
    if f == "tanh_shrink":
        return w.node("Sub", name, w.node("Tanh", name))
    if f in ("soft_shrink", "hard_shrink"):
        bias = op.alpha if f == "soft_shrink" else 0.0
        return w.node("Shrink", name, lambd=op.alpha, bias=bias)
    if f == "gelu":
        inner = w.node("Erf", w.node("Mul", name, n(0.5**0.5)))
    elif f == "gelu_tanh":
        cube = w.node("Mul", w.node("Mul", name, name), name)
        sum_ = w.node("Add", name, w.node("Mul", cube, n(0.044715)))
        inner = w.node("Tanh", w.node("Mul", sum_, n((2 / np.pi) ** 0.5)))
    else:
        raise Unknown(f"{f}")
    return w.node("Mul", w.node("Mul", name, n(0.5)), w.node("Add", inner, n(1)))


def unary(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    (x,) = inputs
    name = w.name(x)
    if x.dtype != outputs[0].dtype and outputs[0].dtype != "bool":
        name = _cast(w, name, outputs[0].dtype)
    if op.function in UNARY:
        return w.node(UNARY[op.function], name)
    return _formula(w, op, outputs[0], name)


BINARY = {
    "add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div", "maximum": "Max",
    "minimum": "Min", "power": "Pow", "equal": "Equal", "greater": "Greater", "less": "Less",
    "greater_equal": "GreaterOrEqual", "less_equal": "LessOrEqual", "logical_and": "And",
    "logical_or": "Or",
}  # fmt: skip
TRUTHS = {"logical_and", "logical_or"}


def _cast(w: Any, name: str, dtype: str) -> str:
    return w.node("Cast", name, to=w.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _took_bias(w: Any, name: str, inputs: Sequence[Tensor]) -> bool:
    """Whether a convolution that only this addition reads has taken the vector that is added."""
    x, added = inputs
    bias = w.value(added)
    if name not in w.biased or w.readers[id(x)] > 1 or bias is None:
        return False
    if bias.size != x.shape[-1] or bias.shape[-1:] != x.shape[-1:]:
        return False
    conv = w.biased.pop(name)
    conv.input.append(
        w.array(bias.reshape(-1), getattr(getattr(added, "variable", None), "path", ""))
    )
    return True


def binary(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    dtype = outputs[0].dtype
    if dtype == "bool":
        dtype = "bool" if op.function in TRUTHS else np.result_type(*(t.dtype for t in inputs)).name
    names = [w.name(t) if t.dtype == dtype else _cast(w, w.name(t), dtype) for t in inputs]
    if op.function == "add" and _took_bias(w, names[0], inputs):
        return names[0]
    if op.function == "squared_difference":
        difference = w.node("Sub", *names)
        return w.node("Mul", difference, difference)
    if op.function == "not_equal":
        return w.node("Not", w.node("Equal", *names))
    if op.act or op.function not in BINARY:
        raise Unknown(op.function)
    return w.node(BINARY[op.function], *names)


def where(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    condition, *values = inputs
    dtype = outputs[0].dtype
    names = [w.name(t) if t.dtype == dtype else _cast(w, w.name(t), dtype) for t in values]
    truth = w.name(condition)
    truth = truth if condition.dtype == "bool" else _cast(w, truth, "bool")
    return w.node("Where", truth, *names)


REDUCE = {
    "sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin",
    "prod": "ReduceProd",
}  # fmt: skip


def reduce(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    name = w.name(inputs[0])
    axes = list(range(op.first, op.last + 1))
    if op.function in ("argmax", "argmin"):
        if len(axes) > 1:
            raise Unknown(f"{op.function} over several axes")
        kind = "ArgMax" if op.function == "argmax" else "ArgMin"
        return _cast(w, w.node(kind, name, axis=axes[0], keepdims=1), outputs[0].dtype)
    if inputs[0].dtype != outputs[0].dtype:
        name = _cast(w, name, outputs[0].dtype)
    if op.function == "sum":
        return w.node("ReduceSum", name, w.ints(*axes), keepdims=1)
    return w.node(REDUCE[op.function], name, axes=axes, keepdims=1)


def reshape(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    sizes = outputs[0].shape
    if sum(n is None for n in sizes) > 1:
        raise Unknown("reshapes to more than one unknown size")
    source, shape = w.reshaped.get(w.name(inputs[0]), ("", ()))
    if source and shape == sizes:
        return source
    return w.node("Reshape", w.name(inputs[0]), w.ints(*(-1 if n is None else n for n in sizes)))


def max_pool(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Any:
    return (recorded_pool if op.recorded else pool)(w, op, inputs, outputs)


def transpose(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    return w.node("Transpose", w.name(inputs[0]), perm=op.perm)


def slice_(w: Any, op: SliceOp, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    value = w.value(inputs[0])
    if value is not None:  # a kernel that is turned round
        return w.folded(value[tuple(slice(*r) for r in op.ranges)], outputs[0], inputs[0])
    starts, ends, axes, steps = [], [], [], []
    for axis, (start, stop, step) in enumerate(op.ranges):
        if (start, stop, step) == (None, None, None):
            continue
        step = 1 if step is None else step
        end = (1 << 62) if step > 0 else -(1 << 62)
        starts.append((0 if step > 0 else end * -1) if start is None else start)
        ends.append(end if stop is None else stop)
        axes.append(axis)
        steps.append(step)
    if not axes:
        return w.node("Identity", w.name(inputs[0]))
    return w.node("Slice", w.name(inputs[0]), *(w.ints(*v) for v in (starts, ends, axes, steps)))


def pad(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    widths = w.ints(*(p[0] for p in op.widths), *(p[1] for p in op.widths))
    return w.node("Pad", w.name(inputs[0]), widths, w.number(op.value, inputs[0]))


def concat(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    dtype = outputs[0].dtype
    names = [w.name(t) if t.dtype == dtype else _cast(w, w.name(t), dtype) for t in inputs]
    return w.node("Concat", *names, axis=op.axis)


def broadcast(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    sizes = [1 if n is None else n for n in outputs[0].shape]  # Expand broadcasts both ways
    return w.node("Expand", w.name(inputs[0]), w.ints(*sizes))


def gather(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    """Numbers outside are brought inside first, as the engine reads them."""
    x, numbers = inputs
    size = x.shape[op.axis]
    if size is None or op.along:
        raise Unknown("gather along an axis of unknown size")
    name = _cast(w, w.name(numbers), "int64")
    name = w.node("Max", w.node("Min", name, w.array(np.int64(size - 1))), w.array(np.int64(0)))
    return w.node("Gather", w.name(x), name, axis=op.axis)


def softmax(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    kind = "Softmax" if op.name == "softmax" else "LogSoftmax"
    return w.node(kind, w.name(inputs[0]), axis=-1)


def cast(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    return _cast(w, w.name(inputs[0]), op.dtype)


def alias(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    return w.name(inputs[0])


def fold_planes(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    """Planes of volumes as channels: what `FoldPlanes` describes, by Gather and Transpose."""
    _, _, h, width, c = inputs[0].shape
    taps = np.arange(op.taps)[::-1] if op.backwards else np.arange(op.taps)
    places = np.arange(op.count)[:, None] * op.stride + taps * op.dilation
    picked = w.node("Gather", w.name(inputs[0]), w.array(places.astype("int64")), axis=1)
    inner = int(c or 0) // op.groups
    sizes = (-1, op.count, op.taps, h, width, op.groups, inner)
    parts = w.node("Reshape", picked, w.ints(*sizes))
    moved = w.node("Transpose", parts, perm=(0, 1, 3, 4, 5, 2, 6))
    return w.node("Reshape", moved, w.ints(-1, h, width, op.taps * int(c or 0)))


RULES: dict[str, Callable[..., Any]] = {
    "conv2d": conv2d, "conv2d_dx": conv2d_dx, "maxpool2d": max_pool, "avgpool2d": pool,
    "upsample2d": upsample, "scale_shift": scale_shift, "layernorm": layernorm, "matmul": matmul,
    "unary": unary, "binary": binary, "where": where, "reduce": reduce, "reshape": reshape,
    "flatten": reshape, "batch_reshape": reshape, "squeeze": reshape, "expand_dims": reshape,
    "transpose": transpose, "slice": slice_, "pad": pad, "concat": concat,
    "broadcast_to": broadcast, "gather": gather, "softmax": softmax, "log_softmax": softmax,
    "cast": cast, "stop_gradient": alias, "conv3d": conv3d, "custom_gradient": alias,
    "fold_planes": fold_planes, "pad_border": pad_border, "response_norm": response_norm,
    "local2d": local2d, "pool_places": alias, "max_unpool2d": max_unpool,
    "global_response": global_response,
}  # fmt: skip
