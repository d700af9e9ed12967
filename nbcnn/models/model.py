"""`Model`: layers joined to something that can be trained, saved and shown."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from nbcnn.declare import auto_name
from nbcnn.layers.base import Layer, flatten, map_structure, map_structure_shapes
from nbcnn.layers.probing import outputs_of
from nbcnn.layers.structure import ordered_keys
from nbcnn.models import checks, copying, graph_config, saving, summary
from nbcnn.models.network import Network
from nbcnn.models.runners import Runners
from nbcnn.models.signature import (
    Signature,
    Slot,
    fits,
    signature_of_data,
    signature_of_shapes,
)
from nbcnn.models.trainer import Trainer
from nbcnn.ops.tensor import Tensor
from nbcnn.runtime.device import get_device


class unless_set:
    """A property of a model that gives way to an attribute of the same name."""

    def __init__(self, read: Callable[[Any], Any]) -> None:
        self.read, self.__doc__ = read, read.__doc__

    def __get__(self, model: Any, owner: Any = None) -> Any:
        return self if model is None else self.read(model)


class Model(Trainer, Layer):
    """A network of layers with methods for training.

    Either the functional way, from symbolic tensors, or as a class of one's own with layers as
    attributes and a method `call(self, inputs)` (with `training=None` where it matters).

    Parameters
    ----------
    inputs : tensor made by `Input`, or a list or dictionary of them.
    outputs : tensor, list or dictionary, made from the inputs by layers and `nbcnn.ops`.
    name : automatic by default.
    trainable : whether training changes the weights.

    Examples
    --------
    >>> inputs = Input((28, 28, 1))
    >>> x = layers.Conv2D(8, 3, activation="relu")(inputs)
    >>> outputs = layers.Dense(10, activation="softmax")(layers.Flatten()(x))
    >>> model = Model(inputs, outputs)
    """

    _unread = Layer._unread | {"stop_training", "history", "optimizer", "loss", "_compiled"}
    _tracing_builds: ClassVar[tuple[Any, ...]]  # methods `build` that only trace
    _functional: Network | None
    _input_signature: Signature | None
    _output_signatures: dict[tuple, Signature]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        model = super().__new__(cls, *args, **kwargs)
        model.__dict__.update(
            _functional=None,
            _runners=Runners(model),
            _compile_arguments=None,
            _input_signature=None,
            _output_signatures={},
            _run_eagerly=False,
            _jit_compile=True,
            _loss_tracker=None,
            _part_trackers={},
            _own_outputs=None,
            _compiled=None,
            optimizer=None,
            stop_training=False,
            history=None,
        )
        return model

    def __init__(
        self,
        inputs: Any = None,
        outputs: Any = None,
        name: str | None = None,
        trainable: bool = True,
        dtype: str | None = None,
    ) -> None:
        if (inputs is None) != (outputs is None):
            missing = "inputs" if inputs is None else "outputs"
            raise ValueError(f"Model: {missing} is missing, a functional model needs both")
        if inputs is not None and name is None and type(self) is Model:
            name = auto_name("functional")
        super().__init__(name=name, trainable=trainable, dtype=dtype)
        if inputs is not None:
            self._set_network(Network(inputs, outputs))

    def _set_network(self, network: Network) -> None:
        self._refuse_equal_names(network.layers)
        self.__dict__["_functional"] = network
        self._sublayers.clear()
        self._keep_track(network.layers)
        self.__dict__["_built_for"] = network.input_signature.pack(
            [slot.shape for slot in network.input_signature.slots]
        )
        self.built = True

    def _refuse_equal_names(self, layers: list[Layer]) -> None:
        names = Counter(layer.name for layer in layers)
        for name, count in names.items():
            if count > 1:
                raise ValueError(
                    f"{type(self).__name__}: layer names must differ, {name!r} occurs twice"
                )

    # -- calling --------------------------------------------------------------------------------

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """The outputs for `inputs`; to be defined by models that are classes of one's own, with
        `training` and `mask` where they matter.
        """
        if self._functional is None:
            raise NotImplementedError(f"{type(self).__name__} does not define call(self, inputs)")
        return self._functional.call(inputs)

    @property
    def _can_be_called(self) -> bool:
        """Whether the model has a `call`, as one made of steps alone has not."""
        return self._functional is not None or type(self).call is not Model.call

    def build(self, input_shape: Any = None) -> None:
        """Make all weights for `input_shape` (None for the batch), or a list or dict of shapes."""
        if self._functional is None and input_shape is not None:
            tensors = map_structure_shapes(lambda s: Tensor(s, self.compute_dtype), input_shape)
            outputs_of(self.call, tensors)

    def _build_for(self, args: tuple) -> None:
        # `build` traces the model to make the weights; the call that follows does the same.
        if not self.built and type(self).build in self._tracing_builds:
            tensors = args[0] if args else None
            self.__dict__["_built_for"] = map_structure(_unbatched_shape, tensors)
            self.built = True
        super()._build_for(args)

    def _check_input(self, shapes: Any) -> None:
        if self._functional is None or not isinstance(shapes, tuple):
            return
        slots = self._functional.input_signature.slots
        if len(slots) == 1 and not _may_fit(shapes, slots[0].shape):
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: expected input of shape {slots[0].shape}, "
                f"got {shapes}"
            )

    # -- what goes in and out -------------------------------------------------------------------

    def _input_signature_for(self, x: Any) -> Signature:
        """Names, shapes and nesting of the inputs; of a model without a graph by its first data, or
        before that by what it was built for.
        """
        if self._functional is not None:
            return self._functional.input_signature
        if self._input_signature is None:
            if x is None and self.built and self._built_for is not None:
                return signature_of_shapes(self._built_for, self.compute_dtype)
            if x is None:
                raise ValueError(
                    f"{type(self).__name__} {self.name!r} has not seen data yet; call it or fit it"
                )
            self._input_signature = signature_of_data(x, self.compute_dtype)
        return self._input_signature

    def _output_signature_for(
        self, inputs: Signature | None, arrays: list[np.ndarray] | None
    ) -> Signature:
        """Names, shapes and nesting of the outputs for given inputs; None: of the latest."""
        if self._functional is not None:
            return self._functional.output_signature
        known = self._output_signatures
        if inputs is None or arrays is None:
            if not known:
                self._trace_outputs(self._input_signature_for(None))
            return known[next(reversed(known))]
        key = tuple(array.shape[1:] for array in arrays)
        if key not in known:
            inputs.example = [(None, *shape) for shape in key]
            self._trace_outputs(inputs)
        return known[key]

    def _trace_outputs(self, inputs: Signature) -> None:
        shapes = [shape[1:] for shape in inputs.example]
        tensors = [Tensor((None, *s), slot.dtype) for s, slot in zip(shapes, inputs.slots)]
        outputs = outputs_of(self, inputs.pack(tensors))
        flat = flatten(outputs)
        keys = ordered_keys(outputs) if isinstance(outputs, Mapping) else []
        names = keys if len(keys) == len(flat) else [f"output_{i + 1}" for i in range(len(flat))]
        slots = [Slot(name, t.shape, t.dtype) for name, t in zip(names, flat)]
        self._output_signatures[tuple(shapes)] = Signature(outputs, slots)

    @unless_set
    def inputs(self) -> list[Tensor]:
        """The symbolic inputs of a functional model, as a flat list."""
        return flatten(self._known_network.inputs)

    @unless_set
    def outputs(self) -> list[Tensor]:
        """The symbolic outputs of a functional model, as a flat list."""
        return flatten(self._known_network.outputs)

    @property
    def input(self) -> Any:
        """The symbolic inputs, nested as they were given."""
        return self._known_network.inputs

    @property
    def output(self) -> Any:
        """The symbolic outputs, nested as they were given."""
        return self._known_network.outputs

    @unless_set
    def input_shape(self) -> Any:
        """Shapes of the inputs, nested as they were given; of a model without a graph those of the
        first data.
        """
        return self._built_for

    @unless_set
    def output_shape(self) -> Any:
        """Shapes of the outputs, with None where a size is not known."""
        signature = self._output_signature_for(None, None)
        return signature.pack([slot.shape for slot in signature.slots])

    @unless_set
    def input_names(self) -> list[str]:
        return self._input_signature_for(None).names

    @unless_set
    def output_names(self) -> list[str]:
        return self._output_signature_for(None, None).names

    @property
    def _known_network(self) -> Network:
        if self._functional is None:
            raise AttributeError(
                f"{type(self).__name__} {self.name!r} has no symbolic inputs and outputs; "
                "only functional and sequential models with a known input do"
            )
        return self._functional

    # -- layers ---------------------------------------------------------------------------------

    @property
    def layers(self) -> list[Layer]:
        """The layers of the model, in order; those inside layers are not listed."""
        return list(self._sublayers)

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer of that name, or at the place `index` in `layers`.

        Raises ValueError where there is none.
        """
        if (name is None) == (index is None):
            raise ValueError("get_layer: give either name or index")
        layers = self.layers
        if index is not None:
            if not isinstance(index, (int, np.integer)):
                raise TypeError(f"get_layer: index must be an integer, got {index!r:.80}")
            if not -len(layers) <= index < len(layers):
                raise ValueError(f"get_layer: index must be below {len(layers)}, got {index}")
            return layers[index]
        if not isinstance(name, str):
            raise TypeError(f"get_layer: name must be a string, got {name!r:.80}")
        for layer in layers:
            if layer.name == name:
                return layer
        known = ", ".join(str(layer.name) for layer in layers)
        raise ValueError(f"get_layer: no layer is named {name!r}; there are {known}")

    def summary(
        self,
        line_length: int | None = None,
        positions: Any = None,
        print_fn: Callable[[str], Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
    ) -> None:
        """Print layers, shapes and numbers of weights.

        Parameters
        ----------
        line_length : width in characters; default 80.
        positions : relative or absolute ends of the columns.
        print_fn : called with the text in place of print.
        expand_nested : show the layers of models inside.
        show_trainable : add a column that says which layers are trained.
        """
        if line_length is not None:
            line_length = checks.whole_number("summary", "line_length", line_length, 1)
        text = summary.table(self, line_length, positions, expand_nested, show_trainable)
        (print_fn or summary.write)(text)

    def to(self, device: str) -> "Model":
        """Move weights and optimizer state to a device, "cpu" or "cuda"; the model stays there.

        Raises as `nbcnn.set_device`.
        """
        self._runners.move(get_device(device))
        return self

    # -- files ----------------------------------------------------------------------------------

    def save(self, filepath: Any, overwrite: bool = True, **options: Any) -> None:
        """Write architecture, weights, compile arguments and optimizer state to the file
        `filepath`; `overwrite` and `options` as for `nbcnn.saving.save_model`.
        """
        saving.save_model(self, filepath, overwrite, **options)

    def export(self, filepath: Any, format: str = "onnx") -> None:
        """Write the network as it predicts to the file `filepath`, for other runtimes. `format` is
        "onnx"; see `nbcnn.onnx.save`.
        """
        if format != "onnx":
            raise ValueError(f"export: format must be 'onnx', got {format!r}")
        from nbcnn import onnx  # which needs a package of its own

        onnx.save(self, filepath)

    def save_weights(
        self, filepath: Any, overwrite: bool = True, max_shard_size: float | None = None
    ) -> None:
        """Write all weights to the file `filepath`, whose name ends in `.weights.h5`,
        `.weights.nbcnn`, `.safetensors` or `.npz`; `overwrite` and `max_shard_size` as for
        `nbcnn.saving.save_weights`.
        """
        saving.save_weights(self, filepath, overwrite, max_shard_size)

    def load_weights(
        self, filepath: Any, skip_mismatch: bool = False, by_name: bool | None = None
    ) -> None:
        """Read weights written by `save_weights` or `save`, or by Keras, from the file `filepath`;
        all or nothing is changed. `skip_mismatch` and `by_name` as for `nbcnn.saving.load_weights`.
        """
        saving.load_weights(self, filepath, skip_mismatch, by_name)

    def __reduce__(self) -> tuple:
        return copying.reduced(self)

    def get_config(self) -> dict[str, Any]:
        """The architecture as plain values: the graph, or the arguments of one's own class."""
        if self._functional is not None and type(self).__init__ is Model.__init__:
            return graph_config.describe(self, self._functional)
        return super().get_config()

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Any:
        """A model with new weights from the `config` that `get_config` returned.

        Parameters
        ----------
        custom_objects : classes and functions that are not part of this package, by name.
        """
        if graph_config.is_graph(config) and cls.__init__ is Model.__init__:
            inputs, outputs = graph_config.rebuild(config, custom_objects)
            name, trainable = config.get("name"), config.get("trainable", True)
            return cls(inputs, outputs, name=name, trainable=trainable)
        return cls(**config)

    def to_json(self, **options: Any) -> str:
        """The architecture as JSON, for `model_from_json`."""
        return saving.to_json(self, **options)


Model._tracing_builds = (Model.build,)


def _unbatched_shape(tensor: Any) -> Any:
    return (None, *tensor.shape[1:]) if hasattr(tensor, "shape") else None


def _may_fit(shape: tuple, expected: tuple) -> bool:
    """Whether shapes agree where both are known."""
    shape = checks.rank_adjusted(shape, expected)
    known = tuple(want if have is None else have for have, want in zip(shape, expected))
    return len(shape) == len(expected) and fits(known, expected)
