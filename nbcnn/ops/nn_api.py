"""The neural-network part of the public `nbcnn.ops`, with Keras's names and arguments."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn.ops import numpy_api as numpy
from nbcnn.ops.conv import conv2d
from nbcnn.ops.elementwise import of_one_type, unary
from nbcnn.ops.layer_norm import LayerNorm
from nbcnn.ops.loss import EPSILON, CrossEntropy, LogSoftmax, Softmax, SoftmaxCrossEntropy
from nbcnn.ops.norm import BatchNorm, ScaleShift
from nbcnn.ops.op import apply
from nbcnn.ops.pool import avg_pool2d, max_pool2d
from nbcnn.ops.reduce import normalize_axes


def pair(value: Any, what: str = "value") -> tuple[int, int]:
    """(a, b) from one int or a pair of ints."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return (int(value), int(value))
    values = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else ()
    if len(values) != 2 or not [v for v in values if isinstance(v, (int, np.integer))] == list(
        values
    ):
        raise ValueError(f"{what} must be an int or a pair of ints, got {value!r}")
    return (int(values[0]), int(values[1]))


def relu(x: Any) -> Any:
    """max(x, 0)."""
    return unary("relu", x)


def relu6(x: Any) -> Any:
    """min(max(x, 0), 6)."""
    return unary("relu6", x)


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return unary("sigmoid", x)


def softplus(x: Any) -> Any:
    """log(1 + exp(x))."""
    return unary("softplus", x)


def softsign(x: Any) -> Any:
    """x / (1 + |x|)."""
    return unary("softsign", x)


def silu(x: Any) -> Any:
    """x * sigmoid(x); also called swish."""
    return unary("silu", x)


swish = silu


def mish(x: Any) -> Any:
    """x * tanh(softplus(x))."""
    return unary("mish", x)


def gelu(x: Any, approximate: bool = True) -> Any:
    """x * P(X <= x) for a standard normal X; `approximate` takes the tanh form (Hendrycks & Gimpel
    2016).
    """
    return unary("gelu_tanh" if approximate else "gelu", x)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """x where positive, else alpha * (exp(x) - 1)."""
    return unary("elu", x, alpha)


def selu(x: Any) -> Any:
    """1.0507 * elu(x, 1.6733) (Klambauer et al. 2017)."""
    return unary("selu", x)


def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    """x where positive, else negative_slope * x."""
    return unary("leaky_relu", x, negative_slope)


def hard_sigmoid(x: Any) -> Any:
    """relu6(x + 3) / 6."""
    return unary("hard_sigmoid", x)


def hard_silu(x: Any) -> Any:
    """x * hard_sigmoid(x); also called hard_swish."""
    return unary("hard_silu", x)


hard_swish = hard_silu


def log_sigmoid(x: Any) -> Any:
    """log(sigmoid(x))."""
    return numpy.negative(softplus(numpy.negative(x)))


def softmax(x: Any, axis: int = -1) -> Any:
    """exp(x) / sum exp(x) along `axis`."""
    return _along_last(Softmax(), x, axis)


def log_softmax(x: Any, axis: int = -1) -> Any:
    """log(softmax(x)) along `axis`."""
    return _along_last(LogSoftmax(), x, axis)


def _along_last(op: Any, x: Any, axis: int) -> Any:
    rank, (x,) = len(numpy.shape(x)), of_one_type(x, floats=True)
    if normalize_axes([axis], rank, op.name) == [rank - 1]:
        return apply(op, x)
    return numpy.moveaxis(apply(op, numpy.moveaxis(x, axis, -1)), -1, axis)


def _channels_last(data_format: str | None, what: str) -> bool:
    if data_format not in (None, "channels_last", "channels_first"):
        raise ValueError(
            f"{what}: data_format must be 'channels_last' or 'channels_first', got {data_format!r}"
        )
    return data_format != "channels_first"


def _check_padding(padding: Any, what: str) -> Any:
    """'valid', 'same', or ((top, bottom), (left, right)), also one int or a pair of ints for both
    sides.
    """
    if isinstance(padding, str):
        if padding.lower() not in ("valid", "same"):
            raise ValueError(
                f"{what}: padding must be 'valid', 'same' or explicit sizes, got {padding!r}"
            )
        return padding.lower()
    if isinstance(padding, int):
        return ((padding, padding),) * 2
    if not isinstance(padding, (list, tuple)):
        raise TypeError(f"{what}: padding must be a name, an integer or sizes, got {padding!r}")
    sides = tuple(
        (int(p), int(p)) if isinstance(p, (int, np.integer)) else tuple(map(int, p))
        for p in padding
    )
    if len(sides) != 2 or not [s for s in sides if len(s) == 2] == list(sides):
        raise ValueError(
            f"{what}: explicit padding must be ((top, bottom), (left, right)), got {padding!r}"
        )
    return sides


def conv(
    inputs: Any,
    kernel: Any,
    strides: int | Sequence[int] = 1,
    padding: Any = "valid",
    data_format: str | None = None,
    dilation_rate: int | Sequence[int] = 1,
    groups: int = 1,
    algorithm: str | None = None,
) -> Any:
    """Convolution over two axes, or over one or three.

    inputs: (n, h, w, c), or (n, c, h, w) with 'channels_first'. kernel: (kh, kw, c // groups,
    filters). Of (n, w, c) and (n, d, h, w, c) the kernel has one or three sizes.
    padding: 'valid', 'same' or ((top, bottom), (left, right)). algorithm: 'direct', 'im2col' or
    None (automatic). Returns (n, oh, ow, filters), or channels first. Raises ValueError where
    shapes do not fit.
    """
    last = _channels_last(data_format, "conv")
    if len(numpy.shape(inputs)) != 4:
        from nbcnn.ops import nn_ranks

        return nn_ranks.conv(
            inputs, kernel, strides, padding, dilation_rate, groups, last, algorithm
        )
    x = inputs if last else numpy.transpose(inputs, (0, 2, 3, 1))
    y = conv2d(
        x, kernel, pair(strides, "strides"), _check_padding(padding, "conv"),
        pair(dilation_rate, "dilation_rate"), groups, algorithm,
    )  # fmt: skip
    return y if last else numpy.transpose(y, (0, 3, 1, 2))


def max_pool(
    inputs: Any,
    pool_size: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    padding: Any = "valid",
    data_format: str | None = None,
) -> Any:
    """The largest value of each window over one to three axes. Arguments as `conv`; strides default
    to the window.
    """
    return _pool(max_pool2d, inputs, pool_size, strides, padding, data_format, "max_pool")


def average_pool(
    inputs: Any,
    pool_size: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    padding: Any = "valid",
    data_format: str | None = None,
) -> Any:
    """The mean of each window over the pixels inside the input. Arguments as `conv`; strides
    default to the window.
    """
    return _pool(avg_pool2d, inputs, pool_size, strides, padding, data_format, "average_pool")


def _pool(op, inputs, pool_size, strides, padding, data_format, what):
    last = _channels_last(data_format, what)
    if len(numpy.shape(inputs)) != 4:
        from nbcnn.ops import nn_ranks

        return nn_ranks.pool(op, inputs, pool_size, strides, padding, last, what)
    x = inputs if last else numpy.transpose(inputs, (0, 2, 3, 1))
    window = pair(pool_size, "pool_size")
    y = op(
        x,
        window,
        window if strides is None else pair(strides, "strides"),
        _check_padding(padding, what),
    )
    return y if last else numpy.transpose(y, (0, 3, 1, 2))


def batch_normalize(x: Any, gamma: Any, beta: Any, epsilon: float = 1e-3) -> tuple[Any, Any, Any]:
    """(y, mean, variance): x normalized over all axes but the last by its own statistics, times
    gamma plus beta.

    Parameters
    ----------
    epsilon : added to the variance, default 0.001.
    """
    inputs = of_one_type(x, gamma, beta, floats=True)
    y, mean, variance, _ = apply(BatchNorm(float(epsilon)), *inputs)
    return y, mean, variance


def scale_shift(x: Any, scale: Any, shift: Any) -> Any:
    """x * scale + shift with one scale and shift per channel (last axis)."""
    return apply(ScaleShift(), *of_one_type(x, scale, shift, floats=True))


def batch_normalization(
    x: Any,
    mean: Any,
    variance: Any,
    axis: int,
    offset: Any = None,
    scale: Any = None,
    epsilon: float = 1e-3,
) -> Any:
    """(x - mean) / sqrt(variance + epsilon) * scale + offset along channel axis `axis`."""
    factor = numpy.rsqrt(numpy.add(variance, epsilon))
    if scale is not None:
        factor = numpy.multiply(factor, scale)
    shift = numpy.negative(numpy.multiply(mean, factor))
    if offset is not None:
        shift = numpy.add(shift, offset)
    rank = len(numpy.shape(x))
    if normalize_axes([axis], rank, "batch_normalization") == [rank - 1]:
        return scale_shift(x, factor, shift)
    y = scale_shift(numpy.moveaxis(x, axis, -1), factor, shift)
    return numpy.moveaxis(y, -1, axis)


def layer_normalization(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    axis: int | Sequence[int] = -1,
    epsilon: float = 1e-3,
) -> Any:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, statistics over `axis`, one or several.

    `gamma` and `beta` have the sizes of x along the axes; None stands for 1 and 0.
    """
    x = numpy.convert_to_tensor(x)
    shape = numpy.shape(x)
    axes = normalize_axes(axis, len(shape), "layer_normalization")
    sizes = tuple(shape[a] for a in axes)
    last = axes == list(range(len(shape) - len(axes), len(shape)))
    if last and np.dtype(x.dtype).kind == "f":
        gamma = np.ones(sizes, x.dtype) if gamma is None else gamma
        beta = np.zeros(sizes, x.dtype) if beta is None else beta
        return apply(LayerNorm(len(axes), float(epsilon)), *of_one_type(x, gamma, beta))[0]
    centered = numpy.subtract(x, numpy.mean(x, tuple(axes), keepdims=True))
    variance = numpy.mean(numpy.square(centered), tuple(axes), keepdims=True)
    y = numpy.multiply(centered, numpy.rsqrt(numpy.add(variance, epsilon)))
    along = tuple(n if a in axes else 1 for a, n in enumerate(shape))
    if gamma is not None:
        y = numpy.multiply(y, numpy.reshape(gamma, along))
    return y if beta is None else numpy.add(y, numpy.reshape(beta, along))


def categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Any:
    """-sum target * log(output) along `axis`; `output` holds probabilities, or logits where
    `from_logits`.
    """
    return _crossentropy(target, output, from_logits, axis, sparse=False)


def sparse_categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Any:
    """-log(output) at the class number `target`; a trailing axis of size 1 of the target is
    dropped.
    """
    t_shape, o_shape = numpy.shape(target), numpy.shape(output)
    if o_shape and len(t_shape) == len(o_shape) and t_shape[-1] == 1:
        target = numpy.squeeze(target, -1)
    return _crossentropy(numpy.cast(target, "int32"), output, from_logits, axis, sparse=True)


def _crossentropy(target: Any, output: Any, from_logits: bool, axis: int, sparse: bool) -> Any:
    rank = len(numpy.shape(output))
    if rank == 0:
        raise ValueError("cross-entropy: output needs a class axis, got a scalar")
    if normalize_axes([axis], rank, "cross-entropy") != [rank - 1]:
        output = numpy.moveaxis(output, axis, -1)
        target = target if sparse else numpy.moveaxis(target, axis, -1)
    if not from_logits:
        return apply(CrossEntropy(sparse), target, output)
    result = apply(SoftmaxCrossEntropy(sparse), target, output)
    return result[0]


def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Any:
    """-(t log(p) + (1 - t) log(1 - p)), elementwise; p is `output`, or sigmoid(output) where
    `from_logits`.
    """
    if from_logits:
        # max(z, 0) - z t + log(1 + exp(-|z|)): no overflow for any z.
        soft = numpy.log1p(numpy.exp(numpy.negative(numpy.abs(output))))
        return numpy.add(numpy.subtract(relu(output), numpy.multiply(output, target)), soft)
    p = numpy.clip(output, EPSILON, 1.0 - EPSILON)
    positive = numpy.multiply(target, numpy.log(p))
    negative = numpy.multiply(numpy.subtract(1.0, target), numpy.log(numpy.subtract(1.0, p)))
    return numpy.negative(numpy.add(positive, negative))


__all__ = [
    "average_pool", "batch_normalization", "batch_normalize", "binary_crossentropy",
    "categorical_crossentropy", "conv", "elu", "gelu", "hard_sigmoid", "hard_silu", "hard_swish",
    "layer_normalization",
    "leaky_relu", "log_sigmoid", "log_softmax", "max_pool", "mish", "relu", "relu6", "scale_shift",
    "selu", "sigmoid", "silu", "softmax", "softplus", "softsign",
    "sparse_categorical_crossentropy", "swish",
]  # fmt: skip
