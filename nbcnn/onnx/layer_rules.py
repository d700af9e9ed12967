"""ONNX operators with weights, windows or statistics, as layers."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nbcnn import layers, ops
from nbcnn.onnx import patterns
from nbcnn.onnx.building import Builder, Unsupported
from nbcnn.onnx.files import Entry, ints
from nbcnn.onnx.recorded_rules import Recorded
from nbcnn.onnx.values import Mixed, Value, made, shared


def _named(prefix: str, axes: int, entry: Entry, suffix: str = "") -> Any:
    if not 1 <= axes <= 3:
        raise Unsupported(f"{entry}: {axes} spatial axes")
    return getattr(layers, f"{prefix}{axes}D{suffix}")


def _sides(entry: Entry, sizes: Any, window: Any, strides: Any, dilation: Any) -> Any:
    """(before, after) of each axis."""
    how = entry.attributes.get("auto_pad", "NOTSET")
    axes = len(window)
    if how == "NOTSET":
        pads = ints(entry.attributes, "pads", [0] * 2 * axes)
        return tuple(zip(pads[:axes], pads[axes:], strict=True))
    if how == "VALID":
        return ((0, 0),) * axes
    found = []
    for size, k, s, d in zip(sizes, window, strides, dilation):
        total = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
        less, more = total // 2, total - total // 2
        found.append((less, more) if how == "SAME_UPPER" else (more, less))
    return tuple(found)


def _for_layer(sides: Any) -> Any:
    """As arguments of layers: a sequence has one pair."""
    return sides[0] if len(sides) == 1 else sides


def conv(b: Builder, entry: Entry, x: Value, weight: Any, bias: Any = None) -> Value:
    w, bias = b.constant(entry, weight), b.optional(entry, bias)
    axes, groups = w.ndim - 2, int(entry.attributes.get("group", 1))
    filters, inside, *window = w.shape
    b.fits(x, 1, inside * groups)
    if bias is None:
        bias = b.bias_behind(entry, filters, w.ndim, 1)
    strides = ints(entry.attributes, "strides", [1] * axes)
    dilation = ints(entry.attributes, "dilations", [1] * axes)
    sides = _sides(entry, x.shape[2:], window, strides, dilation)
    if any(p < 0 for side in sides for p in side):
        raise Unsupported(f"{entry}: negative pads")
    shared = {
        "strides": tuple(strides), "padding": _for_layer(sides), "dilation_rate": tuple(dilation),
        "use_bias": bias is not None,
    }  # fmt: skip
    kernel = w.transpose(*range(2, axes + 2), 1, 0)
    if groups > 1 and inside == 1 and groups == x.shape[1] and axes < 3:
        more = filters // groups
        cls = _named("DepthwiseConv", axes, entry)
        layer = cls(tuple(window), depth_multiplier=more, name=b.name(entry), **shared)
        kernel = kernel.reshape(*window, groups, more)
    else:
        cls = _named("Conv", axes, entry)
        layer = cls(filters, tuple(window), groups=groups, name=b.name(entry), **shared)
    return b.called(layer, x, [kernel, bias])


def conv_transpose(b: Builder, entry: Entry, x: Value, weight: Any, bias: Any = None) -> Value:
    """All that the kernels touch, less the pads; groups one by one."""
    w, bias = b.constant(entry, weight), b.optional(entry, bias)
    axes, groups = w.ndim - 2, int(entry.attributes.get("group", 1))
    channels, filters, *window = w.shape
    b.fits(x, 1, channels)
    if bias is None:
        bias = b.bias_behind(entry, filters * groups, w.ndim, 1)
    strides = ints(entry.attributes, "strides", [1] * axes)
    dilation = ints(entry.attributes, "dilations", [1] * axes)
    extra = ints(entry.attributes, "output_padding", [0] * axes)
    sides = _transposed_sides(entry, x, window, strides, dilation, extra)
    shared = {
        "strides": tuple(strides), "output_padding": tuple(extra), "padding": "valid",
        "dilation_rate": tuple(dilation), "use_bias": bias is not None,
    }  # fmt: skip
    cls = _named("Conv", axes, entry, "Transpose")
    kernels = w.transpose(*range(2, axes + 2), 1, 0)
    inside, results = channels // groups, []
    for g in range(groups):
        part = slice(g * inside, (g + 1) * inside)
        name = b.name(entry, f"group{g}" if groups > 1 else "")
        layer = cls(filters, tuple(window), name=name, **shared)
        own = x if groups == 1 else Value(last=x.last()[..., part])
        own_bias = None if bias is None else bias[g * filters : (g + 1) * filters]
        results.append(b.called(layer, own, [kernels[..., part], own_bias]))
    y = results[0]
    if groups > 1:
        y = Value(last=layers.Concatenate(name=b.name(entry))([r.last() for r in results]))
    if any(p for side in sides for p in side):
        crop = _named("Cropping", axes, entry)(_for_layer(sides), name=b.name(entry, "pads"))
        y = Value(last=crop(y.last()))
    return y


def _transposed_sides(entry: Entry, x: Value, window: Any, *geometry: Any) -> Any:
    """What is cut off at both ends of each axis."""
    how = entry.attributes.get("auto_pad", "NOTSET")
    wanted = ints(entry.attributes, "output_shape")
    axes = len(window)
    if wanted is None and how in ("NOTSET", "VALID"):
        pads = ints(entry.attributes, "pads", [0] * 2 * axes)
        sides = tuple(zip(pads[:axes], pads[axes:], strict=True))
    else:
        found = []
        for a, (size, k, s, d, more) in enumerate(zip(x.shape[2:], window, *geometry)):
            out = size * s if wanted is None else wanted[a - axes]
            total = (size - 1) * s + (k - 1) * d + 1 + more - out
            half = total // 2
            found.append((half, total - half) if how == "SAME_UPPER" else (total - half, half))
        sides = tuple(found)
    if any(p < 0 for side in sides for p in side):
        raise Unsupported(f"{entry}: negative pads, or an output larger than the kernels reach")
    return sides


def gemm(b: Builder, entry: Entry, x: Value, weight: Any, bias: Any = None) -> Value:
    alpha, beta = (float(entry.attributes.get(k, 1.0)) for k in ("alpha", "beta"))
    if entry.attributes.get("transA", 0) or not isinstance(x, Value) or x.rank != 2:
        raise Unsupported(f"{entry}: transA, or no matrix of samples")
    w, bias = b.constant(entry, weight), b.optional(entry, bias)
    kernel = (w.T if entry.attributes.get("transB", 0) else w) * np.float32(alpha)
    b.fits(x, 1, kernel.shape[0])
    if bias is None:
        bias = b.bias_behind(entry, kernel.shape[1], 2, 1)
    else:
        bias = np.broadcast_to(bias * np.float32(beta), (1, kernel.shape[1]))[0]
    layer = layers.Dense(kernel.shape[1], use_bias=bias is not None, name=b.name(entry))
    return b.called(layer, x, [kernel, bias], last=False)


def matmul(b: Builder, entry: Entry, x: Any, weight: Any) -> Value:
    """A dense layer, or a product for every sample."""
    if isinstance(x, Value) and not isinstance(weight, Value) and weight.ndim in (1, 2):
        kernel = weight.reshape(len(weight), -1)
        features = kernel.shape[1]
        b.fits(x, -1, len(kernel))
        bias = b.bias_behind(entry, features, x.rank, x.rank - 1) if weight.ndim == 2 else None
        layer = layers.Dense(features, use_bias=bias is not None, name=b.name(entry))
        y = b.called(layer, x, [kernel, bias], last=False)
        return y if weight.ndim == 2 else Value(first=ops.squeeze(y.first(), -1))
    rank = max(v.rank for v in (x, weight) if isinstance(v, Value))
    if rank < 3 or any(isinstance(v, Value) and v.rank != rank for v in (x, weight)):
        raise Mixed("a product over the batch")
    pair = (v.first() if isinstance(v, Value) else shared(v, rank) for v in (x, weight))
    return Value(first=ops.matmul(*pair))


def batch_norm(
    b: Builder, entry: Entry, x: Value, scale: Any, shift: Any, mean: Any, variance: Any
) -> Value:
    if entry.attributes.get("training_mode", 0):
        raise Unsupported(f"{entry}: training_mode; export the network in evaluation mode")
    weights = [b.constant(entry, v) for v in (scale, shift, mean, variance)]
    b.fits(x, 1, weights[0].size)
    layer = layers.BatchNormalization(
        epsilon=float(entry.attributes.get("epsilon", 1e-5)),
        momentum=float(entry.attributes.get("momentum", 0.9)),
        name=b.name(entry),
    )
    return b.called(layer, x, weights)


def instance_norm(b: Builder, entry: Entry, x: Value, scale: Any, shift: Any) -> Value:
    scale, shift = b.constant(entry, scale), b.constant(entry, shift)
    b.fits(x, 1, scale.size)
    whole = patterns.group_norm(b, entry, x, scale, shift)
    if whole is not None:
        return whole
    epsilon = float(entry.attributes.get("epsilon", 1e-5))
    layer = layers.GroupNormalization(-1, epsilon=epsilon, name=b.name(entry))
    return b.called(layer, x, [scale, shift])


def group_norm(b: Builder, entry: Entry, x: Value, scale: Any, shift: Any) -> Value:
    groups, epsilon = entry.attributes["num_groups"], entry.attributes.get("epsilon", 1e-5)
    channels = int(x.shape[1] or 0)
    weights = [b.constant(entry, v) for v in (scale, shift)]
    if b.opset < 21:  # one number a group
        b.spend(channels)
        weights = [np.repeat(v, channels // groups) for v in weights]
    b.fits(x, 1, weights[0].size)
    layer = layers.GroupNormalization(groups, epsilon=float(epsilon), name=b.name(entry))
    return b.called(layer, x, weights)


def layer_norm(b: Builder, entry: Entry, x: Value, scale: Any, shift: Any = None) -> Value:
    first = int(entry.attributes.get("axis", -1)) % x.rank
    axes = list(range(first, x.rank))
    gamma, beta = b.constant(entry, scale), b.optional(entry, shift)
    sizes = tuple(x.shape[a] for a in axes)
    b.spend(math.prod(sizes))
    weights = [v if v is None else np.broadcast_to(v, sizes) for v in (gamma, beta)]
    epsilon = float(entry.attributes.get("epsilon", 1e-5))
    layer = layers.LayerNormalization(
        axes, epsilon=epsilon, center=beta is not None, name=b.name(entry)
    )
    return b.called(layer, x, weights, last=False)


def rms_norm(b: Builder, entry: Entry, x: Value, scale: Any) -> Value:
    axes = list(range(int(entry.attributes.get("axis", -1)) % x.rank, x.rank))
    sizes = tuple(x.shape[a] for a in axes)
    b.spend(math.prod(sizes))
    epsilon = float(entry.attributes.get("epsilon", 1e-5))
    layer = layers.RMSNormalization(axes, epsilon=epsilon, name=b.name(entry))
    return b.called(layer, x, [np.broadcast_to(b.constant(entry, scale), sizes)], last=False)


def pool(b: Builder, entry: Entry, x: Value) -> Any:
    window = ints(entry.attributes, "kernel_shape")
    axes = len(window)
    strides = ints(entry.attributes, "strides", [1] * axes)
    dilation = ints(entry.attributes, "dilations", [1] * axes)
    sides = _sides(entry, x.shape[2:], window, strides, dilation)
    maximum = entry.kind == "MaxPool"
    tensor = x.last()
    if not maximum and entry.attributes.get("count_include_pad", 0) and np.any(sides):
        zeros = _named("ZeroPadding", axes, entry)(_for_layer(sides), name=b.name(entry, "pads"))
        tensor, sides = zeros(tensor), ((0, 0),) * axes
    reach = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
    if entry.attributes.get("ceil_mode", 0):
        sizes = zip(tensor.shape[1:-1], reach, strides, sides)
        sides = tuple((side[0], _ceiled(n, k, s, side)) for n, k, s, side in sizes)
    if any(d != 1 for d in dilation):
        if not maximum:
            raise Unsupported(f"{entry}: dilations")
        return Value(last=_dilated_max(tensor, window, strides, dilation, sides))
    cls = _named("MaxPooling" if maximum else "AveragePooling", axes, entry)
    layer = cls(tuple(window), tuple(strides), _for_layer(sides), name=b.name(entry))
    if len(entry.outputs) > 1 and entry.outputs[1] and axes == 2:
        if entry.attributes.get("storage_order", 0):
            raise Unsupported(f"{entry}: indices that count along columns")
        layer.return_indices = True
        y, places = layer(tensor)
        return [Value(last=y), Recorded(places, tensor.shape[1:3])]
    return Value(last=layer(tensor))


def _dilated_max(x: Any, window: Any, strides: Any, dilation: Any, sides: Any) -> Any:
    """The largest of the elements that a dilated window sees: a slice for each of its places."""
    least = float(np.finfo("float32").min)
    x = ops.pad(x, ((0, 0), *sides, (0, 0)), constant_values=least) if np.any(sides) else x
    found = None
    for place in itertools.product(*(range(k) for k in window)):
        index: list[Any] = [slice(None)]
        for n, k, s, d, i in zip(x.shape[1:-1], window, strides, dilation, place):
            index.append(slice(i * d, n - (k - 1 - i) * d, s))
        part = x[tuple(index)]
        found = part if found is None else ops.maximum(found, part)
    return found


def _ceiled(size: int, window: int, stride: int, side: tuple[int, int]) -> int:
    """Padding after, with which the last window that begins inside is whole."""
    before, after = side
    count = math.ceil((size + before + after - window) / stride) + 1
    if (count - 1) * stride >= size + before:
        count -= 1
    return max((count - 1) * stride + window - size - before, 0)


def global_pool(b: Builder, entry: Entry, x: Value) -> Value:
    prefix = "GlobalMaxPooling" if entry.kind == "GlobalMaxPool" else "GlobalAveragePooling"
    layer = _named(prefix, x.rank - 2, entry)(keepdims=True, name=b.name(entry))
    return Value(last=layer(x.last()))


def dropout(b: Builder, entry: Entry, x: Value, ratio: Any = None, *training: Any) -> Value:
    rate = entry.attributes.get("ratio", 0.5) if ratio is None else float(ratio)
    layer = layers.Dropout(float(rate), name=b.name(entry))
    return made(layer(x.either(x.is_last)), x.is_last)


def prelu(b: Builder, entry: Entry, x: Value, slope: Any) -> Value:
    alpha = b.constant(entry, slope)
    full = alpha.reshape((1,) * (x.rank - alpha.ndim) + alpha.shape)[0]  # (c, ...)
    sizes = x.shape[1:]
    if any(n not in (1, m) for n, m in zip(full.shape, sizes, strict=True)):
        raise ValueError(f"slopes of shape {alpha.shape} for {x.shape}")
    slopes = np.moveaxis(full, 0, -1)
    together = [axis for axis, size in enumerate(slopes.shape, 1) if size == 1]
    layer = layers.PReLU(shared_axes=together or None, name=b.name(entry))
    return b.called(layer, x, [slopes])


RULES: dict[str, Callable[..., Any]] = {
    "Conv": conv, "ConvTranspose": conv_transpose, "Gemm": gemm, "MatMul": matmul,
    "BatchNormalization": batch_norm, "InstanceNormalization": instance_norm,
    "GroupNormalization": group_norm, "LayerNormalization": layer_norm,
    "RMSNormalization": rms_norm, "MaxPool": pool, "AveragePool": pool,
    "GlobalAveragePool": global_pool, "GlobalMaxPool": global_pool, "Dropout": dropout,
    "PRelu": prelu,
}  # fmt: skip
