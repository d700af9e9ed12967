"""Operations: what is computed, from which shapes, and with which gradient.

An operation is a frozen dataclass of user-level attributes (`strides=(2, 2)`, `padding="same"`).
From the shapes of its inputs it derives the shapes of its outputs and the *spec*, the tuple of
plain numbers that kernels get.
"""

import dataclasses
import importlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from nbcnn.ops.tensor import Constant, Node, Tensor, TensorSpec, VariableTensor

# Two stand-ins for sizes that are not known yet: an output size that differs between them depends
# on the unknown. Both have many divisors, so that reshapes and strides that would fit most sizes
# fit them.
UNKNOWN_SIZES = (5040, 10080)

REGISTRY: dict[str, type["Op"]] = {}


@dataclasses.dataclass(frozen=True)
class Op:
    """Base of all operations. Subclasses set `name` and define `infer`, `spec` and `gradient`."""

    name: ClassVar[str] = ""
    stateful: ClassVar[bool] = False  # writes to its inputs; never shared, removed or reordered

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" in cls.__dict__ and cls.name:
            REGISTRY[cls.name] = cls

    def infer(self, *inputs: TensorSpec) -> tuple[TensorSpec, ...]:
        """Specs of the outputs. Raises ValueError that says which inputs do not fit."""
        raise NotImplementedError(f"{type(self).__name__} does not define infer(*inputs)")

    def spec(self, *inputs: TensorSpec) -> Any:
        """What kernels receive: a NamedTuple of ints and floats."""
        raise NotImplementedError(f"{type(self).__name__} does not define spec(*inputs)")

    def gradient(self, node: Node, *dys: Tensor | None) -> Sequence[Tensor | None]:
        """Gradients of the inputs as new graph nodes, given those of the outputs (None: not needed
        or zero).

        Raises NotImplementedError for a derivative that cannot be differentiated again.
        """
        if self.name.endswith(("_dx", "_dw")):
            raise NotImplementedError(f"{self.name} has no gradient: second derivatives end here")
        return [None] * len(node.inputs)

    def flops(self, *inputs: TensorSpec) -> int:
        """Floating-point operations, a multiply-add counting as two."""
        return 0

    @property
    def unknown_factor(self) -> int:
        """What sizes that are not known yet must be a multiple of for `infer`."""
        return 1

    @property
    def impl_op(self) -> str:
        """Name under which kernels are listed."""
        return self.name


def as_tensor(value: Any, like: Tensor | None = None) -> Tensor:
    """A tensor for a tensor, a variable, an array or a number, or a list of such. Numbers take the
    dtype of `like`.
    """
    if isinstance(value, Tensor):
        return value
    if isinstance(value, (list, tuple)) and _has_tensors(value):
        return importlib.import_module("nbcnn.ops.numpy_api").stack([as_tensor(v) for v in value])
    symbol = getattr(value, "symbol", None)
    if isinstance(symbol, VariableTensor):
        return symbol
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"cannot make a tensor of {type(value).__name__}: {value!r:.80}")
    if array.dtype.kind == "f" and array.dtype.itemsize not in (4, 8):  # there are no such kernels
        array = array.astype("float32" if array.dtype.itemsize < 4 else "float64")
    if isinstance(value, (bool, int, float)) and like is not None:
        if np.dtype(like.dtype).kind == "f" or (isinstance(value, int) and like.dtype != "bool"):
            array = array.astype(like.dtype)
        elif isinstance(value, float):
            array = array.astype("float32")
    elif array.dtype == np.float64 and not isinstance(value, (np.ndarray, np.generic)):
        array = array.astype("float32" if like is None or like.dtype != "float64" else "float64")
    elif array.dtype == np.int64 and not isinstance(value, (np.ndarray, np.generic)):
        array = array.astype("int32")
    return Constant(np.asarray(array, order="C"))  # a scalar stays one


def _has_tensors(value: Any) -> bool:
    """Whether a nested list holds a symbolic tensor."""
    if isinstance(value, (list, tuple)):
        return any(_has_tensors(item) for item in value)
    return isinstance(value, Tensor) and not isinstance(value, Constant)


class _Tracing(threading.local):
    """While a graph is being traced, operations on variables and constants are nodes too, not eager
    calls.
    """

    depth = 0

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, *error: object) -> None:
        self.depth -= 1


_tracing = _Tracing()


def tracing() -> _Tracing:
    return _tracing


def is_tracing() -> bool:
    return _tracing.depth > 0


@contextmanager
def not_tracing() -> Iterator[None]:
    """Within it operations on arrays are computed at once, whatever is being traced around."""
    before, _tracing.depth = _tracing.depth, 0
    try:
        yield
    finally:
        _tracing.depth = before


def is_symbolic(*values: Any) -> bool:
    """Whether an operation on these values is a node of a graph and not a computation now."""
    if is_tracing():
        return True
    return any(
        isinstance(v, Tensor) and not isinstance(v, (Constant, VariableTensor)) for v in values
    )


def apply(op: Op, *inputs: Any) -> Any:
    """Apply `op`: a new node if any input is symbolic, otherwise the result of computing it now on
    arrays.
    """
    first = next((x for x in inputs if isinstance(x, Tensor) or hasattr(x, "dtype")), None)
    like = as_tensor(first) if first is not None else None
    tensors = [as_tensor(x, like) for x in inputs]
    if not is_symbolic(*tensors):
        eager = importlib.import_module("nbcnn.graph.eager")
        return eager.run(op, tensors)
    return apply_symbolic(op, tensors)


def apply_symbolic(op: Op, tensors: Sequence[Tensor]) -> Any:
    """A new node over tensors; returns its output, or a tuple where the op has several."""
    outputs = infer_shapes(op, tensors)
    node = Node(op, tensors)
    node.outputs = tuple(Tensor(s, d, node, i) for i, (s, d) in enumerate(outputs))
    return node.outputs[0] if len(node.outputs) == 1 else node.outputs


def infer_shapes(op: Op, tensors: Sequence[Tensor]) -> list[tuple[tuple[int | None, ...], str]]:
    """Output shapes and dtypes; sizes that depend on unknown input sizes are None."""
    if all(None not in t.shape for t in tensors):
        return [(s.shape, s.dtype) for s in op.infer(*(t.spec for t in tensors))]
    low, high = (
        op.infer(
            *(
                TensorSpec(tuple(size if n is None else n for n in t.shape), t.dtype)
                for t in tensors
            )
        )
        for size in (op.unknown_factor * unknown for unknown in UNKNOWN_SIZES)
    )
    return [
        (tuple(p if p == q else None for p, q in zip(a.shape, b.shape)), a.dtype)
        for a, b in zip(low, high)
    ]


def result_dtype(*dtypes: str) -> str:
    """The common type: floats win over integers, wide over narrow; integers beside floats take the
    float's type.
    """
    floats = [d for d in dtypes if np.dtype(d).kind == "f"]
    if floats:
        return max(floats, key=lambda d: np.dtype(d).itemsize)
    return np.result_type(*dtypes).name
