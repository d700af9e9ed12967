"""Activations, normalizations, attention and convolutions beyond those of `nn_api`."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn.ops import bfloat16
from nbcnn.ops import numpy_api as N
from nbcnn.ops.conv import Conv2DInputGradient, conv2d, transposed_output
from nbcnn.ops.elementwise import unary
from nbcnn.ops.gather import gather
from nbcnn.ops.linear_api import einsum, norm
from nbcnn.ops.nn_api import _channels_last, _check_padding, conv, pair, sigmoid, softmax
from nbcnn.ops.numpy_shape import known, ndim, one_axis
from nbcnn.ops.numpy_stat import cumsum
from nbcnn.ops.op import apply
from nbcnn.ops.ordering import Argsort
from nbcnn.ops.reduce import normalize_axes
from nbcnn.ops.shape import reshape

EPSILON = 1e-7  # where none is given


def celu(x: Any, alpha: float = 1.0) -> Any:
    """x where positive, else alpha * (exp(x / alpha) - 1)."""
    if alpha == 0:
        raise ValueError("celu: alpha must not be 0")
    return unary("celu", x, alpha)


def glu(x: Any, axis: int = -1) -> Any:
    """The first half of x along `axis` times the sigmoid of the second."""
    place = one_axis(axis, ndim(x), "glu")
    if known(x, place, "glu") % 2:
        raise ValueError(f"glu: axis {axis} must have an even size, got shape {N.shape(x)}")
    first, second = N.split(x, 2, place)
    return N.multiply(first, sigmoid(second))


def hard_shrink(x: Any, threshold: float = 0.5) -> Any:
    """x, and 0 where |x| <= threshold."""
    return unary("hard_shrink", x, threshold)


def hard_tanh(x: Any) -> Any:
    """x limited to [-1, 1]."""
    return unary("clip", x, -1.0, 1.0)


def soft_shrink(x: Any, threshold: float = 0.5) -> Any:
    """x moved towards 0 by `threshold`, and 0 where that passes it."""
    return unary("soft_shrink", x, threshold)


def sparse_plus(x: Any) -> Any:
    """0 up to -1, x from 1 on, (x + 1)^2 / 4 between."""
    return unary("sparse_plus", x)


def sparse_sigmoid(x: Any) -> Any:
    """0 up to -1, 1 from 1 on, (x + 1) / 2 between."""
    return N.clip(N.multiply(N.add(x, 1.0), 0.5), 0.0, 1.0)


def squareplus(x: Any, b: float = 4) -> Any:
    """(x + sqrt(x^2 + b)) / 2."""
    return unary("squareplus", x, b)


def tanh_shrink(x: Any) -> Any:
    """x - tanh(x)."""
    return unary("tanh_shrink", x)


def threshold(x: Any, threshold: float, default_value: float) -> Any:
    """x where it is above `threshold`, else `default_value`."""
    return N.where(N.greater(x, threshold), x, default_value)


def sparsemax(x: Any, axis: int = -1) -> Any:
    """Probabilities of which many are 0: max(x - t, 0) along `axis`
    (after Martins & Astudillo 2016).

    As Keras computes t: the running sums of the k elements above it, added up, less 1, over k. That
    is the paper's t where k is 1; beyond, results add up to less than 1.
    """
    place, last = one_axis(axis, ndim(x), "sparsemax"), ndim(x) - 1
    if place != last:
        return N.moveaxis(sparsemax(N.moveaxis(x, place, -1)), -1, place)
    order = apply(Argsort(True), x)
    ranked = gather(x, order, last, along=True)
    count = np.arange(1, known(x, last, "sparsemax") + 1, dtype=N.dtype_of(x))
    total = cumsum(ranked, last)
    inside = N.greater(ranked, N.divide(N.subtract(total, 1.0), count))
    kept = N.sum(N.cast(inside, N.dtype_of(x)), last, keepdims=True)
    sums = N.sum(N.where(inside, total, 0.0), last, keepdims=True)
    return N.maximum(N.subtract(x, N.divide(N.subtract(sums, 1.0), kept)), 0.0)


def moments(x: Any, axes: Any, keepdims: bool = False, synchronized: bool = False) -> tuple:
    """(mean, variance) over `axes`.

    Parameters
    ----------
    synchronized : only False: there is one device.
    """
    if synchronized:
        raise ValueError("moments: synchronized=True: there is one device only")
    return N.mean(x, axes, keepdims), N.var(x, axes, keepdims)


def normalize(x: Any, axis: Any = -1, order: int = 2, epsilon: float | None = None) -> Any:
    """x divided by its norm along `axis`, which counts as `epsilon` (1e-7) at least.

    Parameters
    ----------
    order : p of the norm (sum |x|^p)^(1/p), a positive integer; default 2.
    """
    if not isinstance(order, int) or order < 1:
        raise ValueError(f"normalize: order must be a positive int, got {order!r}")
    epsilon = EPSILON if epsilon is None else epsilon
    x = N.convert_to_tensor(x)
    if order == 2:
        squares = N.sum(N.square(x), axis, keepdims=True)
        return N.multiply(x, N.minimum(N.rsqrt(squares), 1.0 / epsilon))
    return N.divide(x, N.maximum(norm(x, order, axis, keepdims=True), epsilon))


def rms_normalization(
    x: Any, scale: Any = None, axis: Any = -1, epsilon: float | None = None
) -> Any:
    """x / sqrt(mean(x^2) + epsilon) * scale, the mean over `axis` (Zhang & Sennrich 2019)."""
    epsilon = EPSILON if epsilon is None else epsilon
    axes = normalize_axes(axis, ndim(x), "rms_normalization")
    y = N.multiply(x, N.rsqrt(N.add(N.mean(N.square(x), axes, keepdims=True), float(epsilon))))
    return y if scale is None else N.multiply(y, scale)


def psnr(x1: Any, x2: Any, max_val: float) -> Any:
    """Peak signal-to-noise ratio in decibels: 20 log10(max_val) - 10 log10(mean((x1 - x2)^2))."""
    if N.shape(x1) != N.shape(x2):
        raise ValueError(f"psnr: shapes differ: {N.shape(x1)} and {N.shape(x2)}")
    error = N.mean(N.square(N.subtract(x1, x2)))
    return N.subtract(20 * math.log10(max_val), N.multiply(unary("log10", error), 10.0))


def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    scale: float | None = None,
    is_causal: bool = False,
    flash_attention: bool | None = None,
    attn_logits_soft_cap: float | None = None,
) -> Any:
    """softmax(query key^T * scale + bias) value, of (n, times, heads, depth) each.

    mask: False where a source must not be read. scale: 1 / sqrt(depth) by default. Groups of query
    heads may share a head of key and value. attn_logits_soft_cap: l becomes cap * tanh(l / cap).

    Parameters
    ----------
    is_causal : whether a time reads no later ones; default False.
    flash_attention : only None and False: there is no such kernel.
    """
    if flash_attention:
        raise ValueError("dot_product_attention: flash_attention=True is not available")
    if [ndim(x) for x in (query, key, value)] != [4, 4, 4]:
        raise ValueError(
            "dot_product_attention: query, key and value must have four axes, "
            f"got {N.shape(query)}, {N.shape(key)} and {N.shape(value)}"
        )
    heads, shared = known(query, 2, "attention"), known(key, 2, "attention")
    if heads % shared:
        raise ValueError(f"dot_product_attention: {heads} heads are no multiple of {shared}")
    if heads != shared:
        from nbcnn.ops.numpy_shape import repeat

        key, value = (repeat(x, heads // shared, 2) for x in (key, value))
    scale = 1 / math.sqrt(known(key, 3, "attention")) if scale is None else scale
    logits = N.multiply(einsum("btnh,bsnh->bnts", query, key), float(scale))
    if attn_logits_soft_cap is not None:
        cap = float(attn_logits_soft_cap)
        logits = N.multiply(N.tanh(N.divide(logits, cap)), cap)
    if bias is not None:
        logits = N.add(logits, bias)
    least = float(np.finfo(N.dtype_of(logits)).min) * 0.7
    if mask is not None:
        logits = N.where(N.cast(mask, "bool"), logits, least)
    if is_causal:
        sizes = N.shape(logits)[-2:]
        logits = N.where(np.tri(*sizes, dtype=bool), logits, least)  # type: ignore[arg-type]
    return einsum("bnts,bsnh->btnh", softmax(logits), value)


def depthwise_conv(
    inputs: Any,
    kernel: Any,
    strides: int | Sequence[int] = 1,
    padding: Any = "valid",
    data_format: str | None = None,
    dilation_rate: int | Sequence[int] = 1,
) -> Any:
    """A convolution of each channel with its own kernels: (kh, kw, c, m) gives c * m channels.

    inputs: (n, h, w, c), or (n, w, c) with a kernel (k, c, m); or channels first.
    """
    last = _channels_last(data_format, "depthwise_conv")
    if ndim(inputs) == 3:
        axis = 1 if last else 2
        wide = [1, strides] if isinstance(strides, int) else [1, *strides]
        dilation = [1, dilation_rate] if isinstance(dilation_rate, int) else [1, *dilation_rate]
        y = depthwise_conv(
            N.expand_dims(inputs, axis), N.expand_dims(kernel, 0), wide, padding, data_format,
            dilation,
        )  # fmt: skip
        return N.squeeze(y, axis)
    if ndim(inputs) != 4 or ndim(kernel) != 4:
        raise ValueError(
            "depthwise_conv: expected inputs (n, h, w, c) and kernel (kh, kw, c, m), "
            f"got {N.shape(inputs)} and {N.shape(kernel)}"
        )
    x = inputs if last else N.transpose(inputs, (0, 2, 3, 1))
    kh, kw, c, m = (known(kernel, a, "depthwise_conv") for a in range(4))
    filters = reshape(kernel, (kh, kw, 1, c * m))
    y = conv2d(
        x, filters, pair(strides, "strides"), _check_padding(padding, "depthwise_conv"),
        pair(dilation_rate, "dilation_rate"), c,
    )  # fmt: skip
    return y if last else N.transpose(y, (0, 3, 1, 2))


def separable_conv(
    inputs: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: int | Sequence[int] = 1,
    padding: Any = "valid",
    data_format: str | None = None,
    dilation_rate: int | Sequence[int] = 1,
) -> Any:
    """`depthwise_conv`, then a convolution with a kernel of one pixel.

    Parameters
    ----------
    depthwise_kernel : (kh, kw, c, m), or (k, c, m) for sequences.
    pointwise_kernel : (1, 1, c * m, filters), or (1, c * m, filters).
    """
    y = depthwise_conv(inputs, depthwise_kernel, strides, padding, data_format, dilation_rate)
    return conv(y, pointwise_kernel, 1, "valid", data_format)


def conv_transpose(
    inputs: Any,
    kernel: Any,
    strides: int | Sequence[int] = 1,
    padding: str = "valid",
    output_padding: int | Sequence[int] | None = None,
    data_format: str | None = None,
    dilation_rate: int | Sequence[int] = 1,
    algorithm: str | None = None,
) -> Any:
    """What the gradient of a convolution does to its input: spreads every pixel over a window.

    inputs: (n, h, w, c) with a kernel (kh, kw, filters, c), (n, w, c) with (k, filters, c), or
    (n, d, h, w, c) with (kd, kh, kw, filters, c); or channels first. Sizes of the output
    as `Conv2DTranspose`.

    Parameters
    ----------
    algorithm : 'direct', 'im2col' or None (automatic).
    """
    last = _channels_last(data_format, "conv_transpose")
    if padding not in ("valid", "same"):
        raise ValueError(f"conv_transpose: padding must be 'valid' or 'same', got {padding!r}")
    if ndim(inputs) == 3:
        axis = 1 if last else 2

        def wide(v: Any, fill: int) -> Any:
            return [fill, v] if isinstance(v, int) else [fill, *v]

        more = None if output_padding is None else wide(output_padding, 0)
        y = conv_transpose(
            N.expand_dims(inputs, axis), N.expand_dims(kernel, 0), wide(strides, 1), padding, more,
            data_format, wide(dilation_rate, 1), algorithm,
        )  # fmt: skip
        return N.squeeze(y, axis)
    if ndim(inputs) == 5:
        from nbcnn.ops import nn_ranks

        x = inputs if last else N.moveaxis(inputs, 1, -1)
        y = nn_ranks.conv3d_transpose(
            x, kernel, strides, padding, output_padding, dilation_rate, algorithm
        )
        return y if last else N.moveaxis(y, -1, 1)
    x = inputs if last else N.transpose(inputs, (0, 2, 3, 1))
    if ndim(x) != 4 or ndim(kernel) != 4 or N.shape(x)[3] != N.shape(kernel)[3]:
        raise ValueError(
            "conv_transpose: expected inputs (n, h, w, c) and kernel (kh, kw, filters, c), "
            f"got {N.shape(inputs)} and {N.shape(kernel)}"
        )
    step, dilation = pair(strides, "strides"), pair(dilation_rate, "dilation_rate")
    extra = (None, None) if output_padding is None else pair(output_padding, "output_padding")
    sizes, sides = zip(*(
        transposed_output(
            known(x, 1 + a, "conv_transpose"), known(kernel, a, "conv_transpose"), step[a],
            padding, extra[a], dilation[a],
        )
        for a in range(2)
    ))  # fmt: skip
    shape = (N.shape(x)[0], *sizes, known(kernel, 2, "conv_transpose"))
    op = Conv2DInputGradient(
        step,
        sides,
        dilation,
        algorithm=algorithm,
        bfloat16=bfloat16.allowed(),
        shape=shape,
    )
    y = apply(op, x, kernel)
    return y if last else N.transpose(y, (0, 3, 1, 2))


__all__ = [
    "celu", "conv_transpose", "depthwise_conv", "dot_product_attention", "glu", "hard_shrink",
    "hard_tanh", "moments", "normalize", "psnr", "rms_normalization", "separable_conv",
    "soft_shrink", "sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus", "tanh_shrink",
    "threshold",
]  # fmt: skip
