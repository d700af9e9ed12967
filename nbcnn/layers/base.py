"""The base of layers: building, calling, weights, configuration."""

import importlib
import inspect
from collections.abc import Callable
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nbcnn import constraints, initializers, regularizers
from nbcnn.declare import Declared, arg
from nbcnn.dtype_policies import DTypePolicy, as_policy
from nbcnn.layers.context import current, is_active
from nbcnn.layers.input_spec import check_inputs
from nbcnn.layers.layer_call import LayerCall, default_training
from nbcnn.layers.probing import outputs_of
from nbcnn.layers.structure import flatten, is_shape, map_structure, map_structure_shapes
from nbcnn.layers.variable import Budget, Variable
from nbcnn.layers.weights import Weights
from nbcnn.ops.bfloat16 import products_in
from nbcnn.ops.elementwise import Cast, StopGradient
from nbcnn.ops.op import apply, is_symbolic
from nbcnn.ops.tensor import Node, Tensor
from nbcnn.registry import Family

family = Family("layer", "keras.layers")
# Arguments of Keras's that say nothing here, with the values that they may have.
SAYS_NOTHING = {
    "quantization_config": (None,),
    "lora_rank": (None,),
    "renorm": (False,),
    "renorm_clipping": (None,),
    "synchronized": (False, True),  # between devices: there is one
}


def _marking_built(build: Callable) -> Callable:
    """`build`, after which the layer knows what it was built for, whoever called it."""

    @wraps(build)
    def marked(self: Any, *args: Any, **kwargs: Any) -> None:
        build(self, *args, **kwargs)
        self.__dict__["_built_for"] = next(iter((*args, *kwargs.values())), None)
        self.built = True
        for variable in self._variables:
            variable.path = f"{self.name}/{variable.name}"

    return marked


class Layer(Weights, Declared, family=family):
    """A computation with weights.

    A layer of one's own defines `call(self, x)` (with `training=None` where it matters) out of
    `nbcnn.ops`, and `build(self, input_shape)` where it needs weights, made by
    `self.add_weight(...)`. Layers assigned to attributes are part of the layer.

    Parameters
    ----------
    name : automatic by default (`conv2d`, `conv2d_1`, ...).
    trainable : whether training changes the weights.
    dtype : data type of weights and computation, or a policy such as 'mixed_bfloat16'; by default
        `config.dtype_policy()`, which is float32 unless set.
    input_shape : of one sample; a `Sequential` that starts with this layer takes it for its input.
    """

    name: str | None = arg(None, kw_only=True)
    trainable: bool = arg(True, kw_only=True)
    dtype: Any = arg(None, convert=as_policy, kw_only=True)

    _input_rank: ClassVar[int | None] = (
        None  # axes of the input that the layer expects, batch included
    )
    _least_rank: ClassVar[int] = 0
    _beyond_keras: ClassVar[bool] = False  # Keras has none: files name it `nbcnn>...`
    if TYPE_CHECKING:  # state, made in `__new__`; an annotation here would make it a field
        _variables: list[Variable]
        _sublayers: list["Layer"]
        _own_metrics: list[Any]
        built: bool
        _built_for: Any
        _sample_shape: tuple | None  # the argument `input_shape`
        _symbolic_calls: list[LayerCall]
        _changes: int  # how often an attribute has been set, which `call` may read

        dtype_policy: DTypePolicy

    _unread: ClassVar[frozenset[str]] = frozenset({"trainable"})  # not counted by `_changes`
    autocast = True  # whether float inputs are converted to the layer's dtype
    input_spec: ClassVar[Any] = None  # an InputSpec, or a list of them, that inputs must fit
    activity_regularizer = None  # of the outputs; a field of the layers that take it

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "build" in cls.__dict__:
            cls.build = _marking_built(cls.build)  # type: ignore[method-assign]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        layer = super().__new__(cls, *args, **kwargs)
        state = {"_variables": [], "_sublayers": [], "_own_metrics": [], "built": False}
        layer.__dict__.update(
            state, _built_for=None, _symbolic_calls=[], _sample_shape=None, _changes=0
        )
        return layer

    def _set_aside(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Without what is for a `Sequential` (`input_shape`), or for nothing."""
        given = {name: kwargs[name] for name in ("input_dim", "input_shape") if name in kwargs}
        for name, value in given.items():
            if name not in type(self).fields and value is not None:
                self.__dict__["_sample_shape"] = (value,) if name == "input_dim" else tuple(value)
        off = (k for k, values in SAYS_NOTHING.items() if k in kwargs and kwargs[k] in values)
        absent = {*given, *off}
        return {k: v for k, v in kwargs.items() if k in type(self).fields or k not in absent}

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "dtype":  # Keras's: what is given is the policy, what is read a data type
            name, value = "dtype_policy", as_policy(value)
        if name == "trainable" and "_sublayers" in self.__dict__:
            for layer in self._sublayers:
                layer.trainable = value
        elif name in type(self).fields:  # an argument, which stays as it is
            self._keep_track(value)
        else:
            value = self._tracked(value)
        if name not in self._unread and not is_active():
            self.__dict__["_changes"] += self.__dict__.get(name, self) is not value
        object.__setattr__(self, name, value)

    # -- to be defined by layers ------------------------------------------------------------

    @_marking_built
    def build(self, input_shape: Any) -> None:
        """Make the weights. `input_shape` is a tuple with None for the batch, or a list of them."""

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The computation, by `nbcnn.ops`."""
        raise NotImplementedError(f"{type(self).__name__} does not define call()")

    # -- calling ----------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        values = flatten((args, kwargs))
        if not is_symbolic(*values):
            return importlib.import_module("nbcnn.models.eager").call_layer(self, args, kwargs)
        if is_active():
            return self._traced_call(args, kwargs)
        outputs = outputs_of(lambda inputs: self._traced_call(*inputs), (args, kwargs))
        outputs = map_structure(lambda t: _own_output(t, values), outputs)
        self._symbolic_calls.append(LayerCall(self, args, kwargs, outputs))
        return outputs

    def _traced_call(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Outputs within the current tracing."""
        Budget.check_operations()
        if current().calls == 0:
            current().forget_losses(self._flatten_layers())
        current().layers.append(self)
        self._build_for(args or tuple(kwargs.values())[:1])
        if self.autocast:
            args, kwargs = map_structure(self._in_own_dtype, (args, kwargs))
        products = products_in(self.dtype_policy.compute_dtype)
        with current().as_training(kwargs.get("training")) as training, products:
            outputs = self.call(*args, **self._with_training(kwargs, training))
        if self.activity_regularizer is not None:
            for tensor in flatten(outputs):
                self.add_loss(self._activity_loss(tensor))
        return outputs

    def _activity_loss(self, outputs: Tensor) -> Any:
        """The penalty on outputs, as a mean over the batch."""
        loss = self.activity_regularizer(outputs)  # type: ignore[misc]
        batch = outputs.shape[0] if outputs.shape else None
        return loss / batch if batch else loss

    def _in_own_dtype(self, value: Any) -> Any:
        if (
            isinstance(value, Tensor)
            and np.dtype(value.dtype).kind == "f"
            and value.dtype != self.value_dtype
        ):
            return apply(Cast(self.value_dtype), value)
        return value

    def _with_training(self, kwargs: dict[str, Any], training: bool | None) -> dict[str, Any]:
        """The call's keywords, `training` among them only where the layer takes it."""
        if not _takes(type(self).call, "training"):
            return {k: v for k, v in kwargs.items() if k != "training"}
        own = default_training(type(self).call) if training is None else training
        return {**kwargs, "training": own}

    def _build_for(self, args: tuple) -> None:
        """Build on the shapes of the inputs, once; later inputs are checked against them."""
        inputs = args[0] if args else None
        shapes = map_structure(lambda t: tuple(t.shape) if hasattr(t, "shape") else None, inputs)
        check_inputs(self.input_spec, inputs, f"{type(self).__name__} {self.name!r}")
        if not self.built:
            self._check_rank(shapes)
            unbatched = map_structure_shapes(lambda s: (None, *s[1:]), shapes)
            self.build(unbatched)
        self._check_input(shapes)

    def _fixed_axes(self) -> tuple[int, ...]:
        """Axes of the input whose sizes the weights are made for."""
        return ()

    def _check_input(self, shapes: Any) -> None:
        """Raise ValueError where an input does not fit the weights.

        By default `_input_rank`, `_least_rank` and `_fixed_axes` count.
        """
        self._check_rank(shapes)
        if not is_shape(shapes) or not is_shape(self._built_for):
            return
        if any(shapes[a] not in (None, self._built_for[a]) for a in self._fixed_axes()):
            raise ValueError(self._unexpected(shapes))

    def _check_rank(self, shape: Any) -> None:
        if is_shape(shape) and (
            len(shape) < self._least_rank or self._input_rank not in (None, len(shape))
        ):
            raise ValueError(self._unexpected(shape))

    def _unexpected(self, shape: Any) -> str:
        who = f"{type(self).__name__} {self.name!r}"
        rank = self._input_rank or max(self._least_rank, len(shape))
        if not is_shape(self._built_for):
            least = "" if self._input_rank else "at least "
            return f"{who}: expected an input of {least}{rank} axes, got shape {shape}"
        sizes: list[int | None] = [None] * rank
        for axis in self._fixed_axes():
            sizes[axis] = self._built_for[axis]
        return f"{who}: expected input of shape {tuple(sizes)}, got {shape}"

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The output's shape for an `input_shape` (None where a size is unknown); makes the
        weights.
        """
        inputs = map_structure_shapes(lambda s: self._input_of(s, input_shape), input_shape)
        return map_structure(lambda t: t.shape, self.compute_output_spec(inputs))

    def _input_of(self, shape: Any, given: Any) -> Tensor:
        if not is_shape(shape) or any(n is not None and n < 0 for n in shape):
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: input_shape must be a tuple of sizes (None "
                f"where unknown), or a list or dictionary of such, got {given!r:.80}"
            )
        return Tensor(shape, self.value_dtype)

    # -- weights ----------------------------------------------------------------------------

    @property
    def compute_dtype(self) -> str:
        """What products may take: 'bfloat16' where the policy is mixed."""
        return self.dtype_policy.compute_dtype

    @property
    def variable_dtype(self) -> str:
        """Of the weights."""
        return self.dtype_policy.variable_dtype

    @property
    def value_dtype(self) -> str:
        """Of inputs and outputs."""
        return self.dtype_policy.value_dtype

    def _argument(self, name: str) -> Any:
        """A mixed policy is described as Keras does it."""
        if name == "dtype" and self.dtype_policy.name != self.dtype:
            return self.dtype_policy.described()
        return super()._argument(name)

    def add_weight(
        self,
        shape: tuple[int, ...] | None = None,
        initializer: Any = None,
        dtype: str | None = None,
        trainable: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        name: str | None = None,
    ) -> Variable:
        """A new variable of this layer, of sizes `shape` (default: a number).

        Parameters
        ----------
        initializer : default GlorotUniform.
        dtype : default `variable_dtype`.
        trainable, regularizer, constraint, name : as for `nbcnn.Variable`.
        """
        make = initializers.get(initializer if initializer is not None else "glorot_uniform")
        sizes = tuple(shape) if shape is not None else ()
        if any(not isinstance(n, (int, np.integer)) or n < 0 for n in sizes):
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: weight {name!r} needs known sizes, "
                f"got {sizes}"
            )
        variable = Variable(
            make, sizes, dtype or self.variable_dtype, trainable, name or "variable",
            regularizers.get(regularizer), constraints.get(constraint),
        )  # fmt: skip
        variable.path = f"{self.name}/{variable.name}"
        self._keep_track(variable)
        return variable

    def add_loss(self, loss: Any) -> None:
        """Add a scalar to the training loss; called within `call`."""
        current().add_loss(self, loss)

    # -- a layer's place in a functional model ------------------------------------------------

    @property
    def input(self) -> Any:
        """The symbolic input of the layer's first call."""
        return self._first_call().args[0]

    @property
    def output(self) -> Any:
        """The symbolic output of the layer's first call."""
        return self._first_call().outputs

    def _first_call(self) -> LayerCall:
        if not self._symbolic_calls:
            raise AttributeError(f"layer {self.name!r} has not been called on symbolic inputs")
        return self._symbolic_calls[0]


Layer.dtype = property(lambda layer: layer.variable_dtype)  # the field has left its place free


def _own_output(tensor: Any, inputs: list) -> Any:
    """A layer that returns its input as it is gets a tensor of its own, which remembers the
    layer.
    """
    if isinstance(tensor, Tensor) and (any(tensor is t for t in inputs) or tensor.node is None):
        twin = Tensor(tensor.shape, tensor.dtype, Node(StopGradient(), [tensor]))
        twin.node.outputs = (twin,)  # type: ignore[union-attr]
        return twin
    return tensor


@cache
def _takes(function: Callable, name: str) -> bool:
    parameters = inspect.signature(function).parameters.values()
    return any(
        p.name == name or (p.kind is p.VAR_KEYWORD and function is not Layer.call)
        for p in parameters
    )
