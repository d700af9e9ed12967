"""Layers that hold a model together: inputs, plain functions, fixed arithmetic."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nbcnn import ops
from nbcnn.converters import numbers_of
from nbcnn.declare import KINDS, Expected, arg, positive
from nbcnn.dtype_policies import as_policy
from nbcnn.layers import fields
from nbcnn.layers.base import Layer
from nbcnn.layers.layer_call import LayerCall
from nbcnn.ops.tensor import Tensor
from nbcnn.registry import deserialize


def _shape(value: Any) -> tuple[int | None, ...] | None:
    if value is None:
        return None
    if isinstance(value, Sequence) and not isinstance(value, str):
        if all(n is None or (KINDS["int"](n) and n >= 0) for n in value):
            return tuple(value)
    raise Expected("must be a tuple of sizes, None where a size is not known")


class InputLayer(Layer, first=("shape", "batch_size", "dtype", "batch_shape")):
    """The place where data enters a model; `output` is the symbolic tensor that stands for it.

    Parameters
    ----------
    shape : sizes of one sample, without the batch.
    batch_size : number of samples of a batch where it is fixed; default None.
    dtype : default `config.floatx()`.
    batch_shape : the whole shape, instead of the first two.
    """

    shape: tuple | None = arg(None, convert=_shape)
    batch_size: int | None = arg(None, check=positive)
    dtype: Any = arg(None, convert=as_policy)
    batch_shape: tuple | None = arg(None, convert=_shape)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.shape is None) == (self.batch_shape is None):
            raise ValueError(
                f"InputLayer: expected either shape or batch_shape, "
                f"got shape={self.shape}, batch_shape={self.batch_shape}"
            )
        sizes = self.batch_shape or (self.batch_size, *(self.shape or ()))
        self.batch_shape, self.shape, self.batch_size = sizes, None, None
        tensor = Tensor(sizes, self.dtype, name=self.name)
        self._symbolic_calls.append(LayerCall(self, (), {}, tensor))
        tensor.call = None  # a leaf: where tracing back through layers ends
        self.build(self.batch_shape)

    def call(self) -> Any:
        return self.output


def Input(
    shape: Sequence[int | None] | None = None,
    batch_size: int | None = None,
    dtype: str | None = None,
    *,
    batch_shape: Sequence[int | None] | None = None,
    name: str | None = None,
) -> Tensor:
    """A symbolic tensor to call layers on: the input of a model.

    Parameters
    ----------
    shape : sizes of one sample, without the batch; None where a size is not known.
    batch_size : number of samples of a batch where it is fixed; default None.
    dtype : default `config.floatx()`.
    batch_shape : the whole shape, instead of the first two.
    name : default `input_layer`, `input_layer_1`, ...

    Examples
    --------
    >>> Input((28, 28, 1)).shape
    (None, 28, 28, 1)
    """
    return InputLayer(shape, batch_size, dtype, batch_shape, name=name).output


class Identity(Layer):
    """x."""

    def call(self, inputs: Any) -> Any:
        return inputs


class Activation(Layer):
    """An activation by name, or any function of one tensor, as a layer."""

    activation: Any = fields.activation("linear")

    def call(self, inputs: Any) -> Any:
        return self.activation(inputs)


class Rescaling(Layer):
    """x * scale + offset, in the layer's float type: for pixels, `Rescaling(1 / 255)`.

    Parameters
    ----------
    scale, offset : numbers, or lists of one per channel; offset is 0 by default.
    """

    scale: Any = arg(convert=numbers_of)
    offset: Any = arg(0.0, convert=numbers_of)

    def call(self, inputs: Any) -> Any:
        x = ops.cast(inputs, self.value_dtype)
        scale, offset = (self._factor(v) for v in (self.scale, self.offset))
        return x * scale + offset

    def _factor(self, value: Any) -> Any:
        if np.ndim(value):
            return ops.convert_to_tensor(np.asarray(value), self.value_dtype)
        return float(value)


def _function(value: Any) -> Callable:
    found = deserialize(value) if isinstance(value, Mapping) else value
    if not callable(found):
        raise Expected("must be a function of a tensor")
    return found


def _arguments(value: Any) -> dict[str, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise Expected("must be None or a dictionary")
    return dict(value or {})


class Lambda(Layer):
    """A function of `nbcnn.ops` as a layer.

    A file can name the function only if it is registered with `register_keras_serializable` or
    passed in `custom_objects`; a layer class of one's own is the better choice for models to keep.

    Parameters
    ----------
    function : called as function(inputs, **arguments); with `training` where it takes that.
    output_shape : accepted for Keras's sake; the shape follows from the function.
    arguments : dictionary of further arguments, default none.
    mask : accepted for Keras's sake.
    """

    function: Any = arg(convert=_function)
    output_shape: Any = None
    mask: Any = None
    arguments: Any = arg(None, convert=_arguments)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        extra = {"training": training} if _takes_training(self.function) else {}
        return self.function(inputs, **self.arguments, **extra)


def _takes_training(function: Callable) -> bool:
    code = getattr(function, "__code__", None)
    return code is not None and "training" in code.co_varnames[: code.co_argcount]
