"""Activation functions of tensors, elementwise unless they say an axis.

Layers take them by name (`activation="relu"`), as functions, or as any callable of one tensor.

Common parameters
-----------------
config : what `serialize` returned, or a name.
custom_objects : dictionary of classes and functions that are not part of this package, by name;
    default none.
identifier : name, class, configuration or object; see above.
x : symbolic tensor or array.
axis : the axis that sums run over; default the last.
"""

from collections.abc import Callable, Mapping
from typing import Any

from nbcnn import ops
from nbcnn.registry import Family
from nbcnn.registry import serialize as serialize

__all__ = [
    "celu", "deserialize", "elu", "exponential", "gelu", "get", "glu", "hard_shrink",
    "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "leaky_relu", "linear", "log_sigmoid",
    "log_softmax", "mish", "relu", "relu6", "selu", "serialize", "sigmoid", "silu", "soft_shrink",
    "softmax", "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus",
    "swish", "tanh", "tanh_shrink", "threshold",
]  # fmt: skip

family = Family("activation", "keras.activations")


def linear(x: Any) -> Any:
    """x."""
    return x


def relu(
    x: Any, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> Any:
    """x above `threshold`, at most `max_value`; negative_slope * (x - threshold) below it."""
    if (negative_slope, max_value, threshold) == (0, 6, 0):
        return ops.relu6(x)
    if threshold:
        below = negative_slope * (x - threshold)
        y = ops.where(ops.greater(x, threshold), x, below)
    else:
        y = ops.leaky_relu(x, negative_slope=negative_slope) if negative_slope else ops.relu(x)
    return y if max_value is None else ops.minimum(y, max_value)


def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    """max(x, 0) + negative_slope * min(x, 0)."""
    return ops.leaky_relu(x, negative_slope=negative_slope)


def relu6(x: Any) -> Any:
    """min(max(x, 0), 6)."""
    return ops.relu6(x)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """x where positive, alpha * (exp(x) - 1) elsewhere."""
    return ops.elu(x, alpha=alpha)


def selu(x: Any) -> Any:
    """1.0507 * elu(x, alpha=1.6733): keeps mean 0 and variance 1."""
    return ops.selu(x)


def celu(x: Any, alpha: float = 1.0) -> Any:
    """max(x, 0) + min(0, alpha * (exp(x / alpha) - 1))."""
    return ops.maximum(x, 0.0) + alpha * ops.expm1(ops.minimum(x, 0.0) / alpha)


def gelu(x: Any, approximate: bool = False) -> Any:
    """x * (normal distribution function of x), or its tanh approximation.

    Parameters
    ----------
    approximate : take the tanh form; default False.
    """
    return ops.gelu(x, approximate=approximate)


def silu(x: Any) -> Any:
    """x * sigmoid(x); also called swish."""
    return ops.silu(x)


def hard_silu(x: Any) -> Any:
    """x * hard_sigmoid(x); also called hard_swish."""
    return ops.hard_silu(x)


def mish(x: Any) -> Any:
    """x * tanh(softplus(x))."""
    return x * ops.tanh(ops.softplus(x))


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return ops.sigmoid(x)


def log_sigmoid(x: Any) -> Any:
    """log(sigmoid(x))."""
    return -ops.softplus(-x)


def hard_sigmoid(x: Any) -> Any:
    """min(max(x / 6 + 0.5, 0), 1)."""
    return ops.hard_sigmoid(x)


def sparse_sigmoid(x: Any) -> Any:
    """min(max((x + 1) / 2, 0), 1)."""
    return ops.clip(0.5 * (x + 1.0), 0.0, 1.0)


def tanh(x: Any) -> Any:
    """Hyperbolic tangent."""
    return ops.tanh(x)


def hard_tanh(x: Any) -> Any:
    """min(max(x, -1), 1)."""
    return ops.clip(x, -1.0, 1.0)


def tanh_shrink(x: Any) -> Any:
    """x - tanh(x)."""
    return x - ops.tanh(x)


def hard_shrink(x: Any, threshold: float = 0.5) -> Any:
    """x where |x| > threshold, 0 elsewhere."""
    return ops.where(ops.greater(ops.abs(x), threshold), x, 0.0)


def soft_shrink(x: Any, threshold: float = 0.5) -> Any:
    """x moved by `threshold` towards 0, and 0 within it."""
    return ops.maximum(x - threshold, 0.0) + ops.minimum(x + threshold, 0.0)


def threshold(x: Any, threshold: float, default_value: float) -> Any:
    """x where x > threshold, `default_value` elsewhere."""
    return ops.where(ops.greater(x, threshold), x, default_value)


def softplus(x: Any) -> Any:
    """log(1 + exp(x))."""
    return ops.softplus(x)


def sparse_plus(x: Any) -> Any:
    """0 up to -1, x from 1, (x + 1)² / 4 between."""
    return ops.square(ops.clip(x, -1.0, 1.0) + 1.0) * 0.25 + ops.maximum(x - 1.0, 0.0)


def squareplus(x: Any, b: float = 4) -> Any:
    """(x + sqrt(x² + b)) / 2."""
    return 0.5 * (x + ops.sqrt(ops.square(x) + b))


def softsign(x: Any) -> Any:
    """x / (1 + |x|)."""
    return ops.softsign(x)


def exponential(x: Any) -> Any:
    """exp(x)."""
    return ops.exp(x)


def softmax(x: Any, axis: int = -1) -> Any:
    """exp(x) divided by its sum over `axis`."""
    return ops.softmax(x, axis=axis)


def log_softmax(x: Any, axis: int = -1) -> Any:
    """log(softmax(x))."""
    return ops.log_softmax(x, axis=axis)


def sparsemax(x: Any, axis: int = -1) -> Any:
    """`ops.sparsemax`: max(x - t, 0) along `axis`, many values of which are exactly 0."""
    return ops.sparsemax(x, axis)


def glu(x: Any, axis: int = -1) -> Any:
    """a * sigmoid(b), where a and b are the halves of x along `axis`."""
    a, b = ops.split(x, 2, axis=axis)
    return a * ops.sigmoid(b)


swish = silu
hard_swish = hard_silu
family.functions(
    {
        linear: (),
        relu: (),
        leaky_relu: (),
        relu6: (),
        elu: (),
        selu: (),
        celu: (),
        gelu: (),
        silu: ("swish",),
        hard_silu: ("hard_swish",),
        mish: (),
        sigmoid: (),
        log_sigmoid: (),
        hard_sigmoid: (),
        sparse_sigmoid: (),
        tanh: (),
        hard_tanh: (),
        tanh_shrink: (),
        hard_shrink: (),
        soft_shrink: (),
        threshold: (),
        softplus: (),
        sparse_plus: (),
        squareplus: (),
        softsign: (),
        exponential: (),
        softmax: (),
        log_softmax: (),
        sparsemax: (),
        glu: (),
    }
)


def get(identifier: Any) -> Callable[..., Any]:
    """The activation that a name, configuration or callable means; None means `linear`."""
    activation = linear if identifier is None else family.get(identifier)
    if not callable(activation):
        raise ValueError(f"expected an activation, its name or a callable, got {identifier!r}")
    return activation


def deserialize(config: Mapping | str, custom_objects: Mapping | None = None) -> Any:
    """The activation that `serialize` described."""
    return family.get(config, custom_objects)
