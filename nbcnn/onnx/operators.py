"""The engine's operations as ONNX's operators.

A rule takes the writer, the operation, its inputs and outputs, and returns the output's name.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nbcnn.kernels.scalar import SELU_ALPHA, SELU_SCALE
from nbcnn.ops.conv import window_output
from nbcnn.ops.shape import Slice as SliceOp
from nbcnn.ops.tensor import Tensor

TO_FIRST, TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


class Unknown(ValueError):
    """An operation that ONNX does not have."""


def _pads(op: Any, x: Tensor, window: Sequence[int], strides: Any, dilation: Any) -> dict[str, Any]:
    if op.padding == "same":
        if any(n is None for n in x.shape[1:3]):
            return {"auto_pad": "SAME_UPPER"}
        pairs = [
            window_output(int(n or 0), k, s, "same", d)[1:]
            for n, k, s, d in zip(x.shape[1:3], window, strides, dilation)
        ]
    else:
        pairs = [(0, 0), (0, 0)] if op.padding == "valid" else list(op.padding)
    return {"pads": [p[0] for p in pairs] + [p[1] for p in pairs]}


def _kernel(w: Any, tensor: Tensor, perm: Sequence[int]) -> str:
    value = w.value(tensor)
    if value is None:
        return w.node("Transpose", w.name(tensor), perm=perm)
    return w.array(value.transpose(perm), getattr(getattr(tensor, "variable", None), "path", None))


def conv2d(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    if op.bias or op.act or op.pool:
        raise Unknown("fused conv2d")
    x, kernel = inputs
    window: Any = kernel.shape[:2]
    y = w.node(
        "Conv",
        w.node("Transpose", w.name(x), perm=TO_FIRST),
        _kernel(w, kernel, (3, 2, 0, 1)),
        kernel_shape=window,
        strides=op.strides,
        dilations=op.dilation,
        group=op.groups,
        **_pads(op, x, window, op.strides, op.dilation),
    )
    return w.node("Transpose", y, perm=TO_LAST)


def conv2d_dx(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    """A transposed convolution: pads from the convolution that it transposes, the rest behind."""
    dy, kernel = inputs
    sizes, window = outputs[0].shape[1:3], kernel.shape[:2]
    if None in sizes or op.groups != 1:
        raise Unknown("conv2d_dx of unknown sizes, or in groups")
    padding = (op.padding,) * 2 if isinstance(op.padding, str) else op.padding
    begin, end, extra = [], [], []
    for n, size, k, s, d, side in zip(
        dy.shape[1:3], sizes, window, op.strides, op.dilation, padding
    ):
        before = window_output(int(size or 0), k, s, side, d)[1]
        left = (int(n or 0) - 1) * s + (k - 1) * d + 1 - before - int(size or 0)
        begin.append(before)
        end.append(max(left, 0))
        extra.append(max(-left, 0))
    y = w.node(
        "ConvTranspose",
        w.node("Transpose", w.name(dy), perm=TO_FIRST),
        _kernel(w, kernel, (3, 2, 0, 1)),
        kernel_shape=window,
        strides=op.strides,
        dilations=op.dilation,
        pads=begin + end,
        output_padding=[min(e, s - 1) for e, s in zip(extra, op.strides)],
    )
    more = [max(e - s + 1, 0) for e, s in zip(extra, op.strides)]
    y = w.node("Transpose", y, perm=TO_LAST)
    return w.node("Pad", y, w.ints(0, 0, 0, 0, 0, *more, 0)) if any(more) else y


def pool(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    (x,) = inputs
    y = w.node(
        "MaxPool" if op.name == "maxpool2d" else "AveragePool",
        w.node("Transpose", w.name(x), perm=TO_FIRST),
        kernel_shape=op.window,
        strides=op.strides,
        **_pads(op, x, op.window, op.strides, (1, 1)),
    )
    return w.node("Transpose", y, perm=TO_LAST)


def upsample(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    x = w.node("Transpose", w.name(inputs[0]), perm=TO_FIRST)
    scales = w.array(np.array([1, 1, *op.size], "float32"))
    options = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    y = w.node("Resize", x, "", scales, mode="nearest", **options)
    return w.node("Transpose", y, perm=TO_LAST)


def scale_shift(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    x, scale, shift = map(w.name, inputs)
    return w.node("Add", w.node("Mul", x, scale), shift)


def layernorm(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    names = map(w.name, inputs)
    return w.node("LayerNormalization", *names, axis=-op.axes, epsilon=op.epsilon)


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


def binary(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    dtype = outputs[0].dtype
    if dtype == "bool":
        dtype = "bool" if op.function in TRUTHS else np.result_type(*(t.dtype for t in inputs)).name
    names = [w.name(t) if t.dtype == dtype else _cast(w, w.name(t), dtype) for t in inputs]
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
    return w.node("Reshape", w.name(inputs[0]), w.ints(*(-1 if n is None else n for n in sizes)))


def transpose(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    return w.node("Transpose", w.name(inputs[0]), perm=op.perm)


def slice_(w: Any, op: SliceOp, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
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
    "conv2d": conv2d, "conv2d_dx": conv2d_dx, "maxpool2d": pool, "avgpool2d": pool,
    "upsample2d": upsample, "scale_shift": scale_shift, "layernorm": layernorm, "matmul": matmul,
    "unary": unary, "binary": binary, "where": where, "reduce": reduce, "reshape": reshape,
    "flatten": reshape, "batch_reshape": reshape, "squeeze": reshape, "expand_dims": reshape,
    "transpose": transpose, "slice": slice_, "pad": pad, "concat": concat,
    "broadcast_to": broadcast, "gather": gather, "softmax": softmax, "log_softmax": softmax,
    "cast": cast, "stop_gradient": alias, "conv3d": alias, "custom_gradient": alias,
    "fold_planes": fold_planes,
}  # fmt: skip
