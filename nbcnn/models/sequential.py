"""`Sequential`: a plain chain of layers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nbcnn.layers.base import Layer, is_shape
from nbcnn.layers.context import is_active
from nbcnn.layers.core import Input, InputLayer
from nbcnn.models.model import Model
from nbcnn.models.network import Network
from nbcnn.models.signature import Signature
from nbcnn.ops.tensor import Tensor
from nbcnn.registry import deserialize, serialize


class Sequential(Model):
    """Layers one after the other, each with one input and one output.

    Parameters
    ----------
    layers : list of layers; the first may be an `Input`. Without one the weights are made when the
        model first sees data, or by `build`.
    trainable : whether training changes the weights.
    name : automatic by default.

    Examples
    --------
    >>> model = Sequential([Input((28, 28, 1)), layers.Flatten(), layers.Dense(10)])
    """

    _parts: list[Layer]
    _tensors: list[Tensor]  # the input, then the output of each layer; empty until it is known

    def __init__(
        self, layers: Sequence[Any] | None = None, trainable: bool = True, name: str | None = None
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.__dict__.update(_parts=[], _tensors=[])
        if layers is not None and not isinstance(layers, (list, tuple)):
            raise TypeError(f"Sequential: layers must be a list, got {type(layers).__name__}")
        for layer in layers or ():
            self._append(layer)
        self._close()

    def add(self, layer: Any, rebuild: bool = True) -> None:
        """Append a layer; `rebuild` is accepted for Keras's sake.

        Raises ValueError where a layer of its name is there already.
        """
        self._append(layer)
        self._close()

    def pop(self, rebuild: bool = True) -> Layer:
        """Remove the last layer and return it; `rebuild` is accepted for Keras's sake."""
        if not self._parts:
            raise ValueError("pop: there is no layer left")
        layer = self._parts.pop()
        if self._tensors:
            self._tensors.pop()
            layer._symbolic_calls.pop()
        self._sublayers[:] = [part for part in self._sublayers if part is not layer]
        self._close()
        return layer

    def _append(self, layer: Any) -> None:
        if isinstance(layer, (Tensor, InputLayer)):
            self._start(layer.output if isinstance(layer, InputLayer) else layer)
            return
        if not isinstance(layer, Layer):
            raise TypeError(f"Sequential: expected a layer, got {layer!r}")
        self._refuse_equal_names([*self._parts, layer])
        if not self._parts and not self._tensors:
            self._start_by(layer)
        if self._tensors:
            self._tensors.append(_single(layer, layer(self._tensors[-1])))
        self._parts.append(layer)
        self._keep_track(layer)

    def _start_by(self, layer: Layer) -> None:
        """Take the input from the first layer, where that knows it."""
        if getattr(layer, "_functional", None) is not None:
            first = layer.inputs[0]  # type: ignore[attr-defined]  # of the model that it is
            self._start(Input(batch_shape=first.shape, dtype=first.dtype))
        elif layer._sample_shape is not None:
            self._start(Input(layer._sample_shape, dtype=layer.compute_dtype))

    def _start(self, tensor: Tensor) -> None:
        """The input is known: call all layers on it, one after the other."""
        if self._tensors:
            raise ValueError("Sequential: the input must come first and only once")
        tensors = [tensor]
        for layer in self._parts:
            tensors.append(_single(layer, layer(tensors[-1])))
        self._tensors.extend(tensors)

    def _close(self) -> None:
        """Everything that follows from the chain as it is now."""
        self._output_signatures.clear()
        self._runners.forget()
        self.__dict__["_functional"] = None
        if len(self._tensors) > 1:
            self._set_network(Network(self._tensors[0], self._tensors[-1]))
        elif self._tensors:
            self.__dict__["_built_for"] = self._tensors[0].shape

    # -- building -------------------------------------------------------------------------------

    def build(self, input_shape: Any = None) -> None:
        """Make the weights for inputs of a shape, with None for the batch."""
        if self._functional is None and is_shape(input_shape) and not is_active():
            self._begin(tuple(input_shape))

    def _begin(self, batch_shape: tuple) -> None:
        if not self._parts:
            raise ValueError(f"Sequential {self.name!r} has no layers; add() some first")
        self._start(Input(batch_shape=batch_shape, name=f"{self.name}_input"))
        self._close()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._functional is None and not is_active() and args and not self._tensors:
            self._begin((None, *np.shape(args[0])[1:]) if _is_array(args[0]) else args[0].shape)
        return super().__call__(*args, **kwargs)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """The last layer's output."""
        if self._functional is not None:
            return self._functional.call(inputs)
        x = inputs
        for layer in self._parts:
            x = layer(x)
        return x

    def _input_signature_for(self, x: Any) -> Signature:
        if self._functional is None and not self._parts:
            raise ValueError(f"Sequential {self.name!r} has no layers; add() some first")
        if self._functional is None and x is not None:
            first = x[0] if isinstance(x, (list, tuple)) and len(x) == 1 else x
            shape = np.shape(first)
            if len(shape) == 0:
                raise ValueError(f"{self.name}: expected an array, got {type(x).__name__}")
            self._begin((None, *shape[1:]))
        return super()._input_signature_for(x)

    # -- description ----------------------------------------------------------------------------

    @property
    def layers(self) -> list[Layer]:
        """The layers in order, without the input."""
        return list(self._parts)

    def get_config(self) -> dict[str, Any]:
        """Name and layers as plain values."""
        if type(self).__init__ is not Sequential.__init__:
            return super().get_config()
        parts = list(self._parts)
        if self._tensors:
            tensor = self._tensors[0]
            parts.insert(
                0, InputLayer(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name)
            )
        return {
            "name": self.name,
            "trainable": self.trainable,
            "layers": [serialize(layer) for layer in parts],
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Any:
        """A model with new weights from what `get_config` returned."""
        if cls.__init__ is not Sequential.__init__:
            return cls(**config)
        layers = [deserialize(layer, custom_objects) for layer in config["layers"]]
        return cls(layers, config.get("trainable", True), config.get("name"))


# Inside another model that is being traced, `call` makes the weights layer by layer.
Sequential._tracing_builds = (Sequential.build,)


def _is_array(value: Any) -> bool:
    return not isinstance(value, Tensor)


def _single(layer: Layer, output: Any) -> Tensor:
    if not isinstance(output, Tensor):
        raise ValueError(
            f"Sequential: layer {layer.name!r} must have one output, got {type(output).__name__}"
        )
    return output


def replayed(layer: Any) -> Network | None:
    """The graph of layer calls that calling a model runs; None for other layers, and for models
    with a `call` of their own.
    """
    plain = isinstance(layer, Model) and type(layer).call in (Model.call, Sequential.call)
    return layer._functional if plain else None
