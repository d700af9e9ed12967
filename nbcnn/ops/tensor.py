"""Symbolic tensors: a shape, a data type, and the node that produces them."""

import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

Shape = tuple[int | None, ...]


class TensorSpec(NamedTuple):
    """Shape (all sizes known) and data type name of an array."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        return self.size * np.dtype(self.dtype).itemsize


class Tensor:
    """A value in a graph. `shape` may hold None where a size is not known yet (usually the batch).

    A tensor without a `node` is a leaf: an input, a `Constant`, or a variable's value
    (`VariableTensor`).

    Parameters
    ----------
    dtype : default "float32".
    index : which output of the node it is.
    name : default none.
    """

    __slots__ = ("__weakref__", "call", "dtype", "index", "name", "node", "shape")

    def __init__(
        self,
        shape: Sequence[int | None],
        dtype: str = "float32",
        node: "Node | None" = None,
        index: int = 0,
        name: str | None = None,
    ):
        self.shape: Shape = tuple(shape)
        self.dtype = dtype
        self.node = node
        self.index = index
        self.name = name
        self.call: Any = None  # set by layers: the layer call that returned this tensor

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def spec(self) -> TensorSpec:
        if None in self.shape:
            raise ValueError(f"shape {self.shape} is not fully known here")
        return TensorSpec(self.shape, self.dtype)  # type: ignore[arg-type]

    def __len__(self) -> int:
        raise TypeError("a symbolic tensor has no length; use .shape")

    def __bool__(self) -> bool:
        raise TypeError(
            "a symbolic tensor has no truth value; use ops.where or a Python condition on .shape"
        )

    def __iter__(self):
        raise TypeError("a symbolic tensor cannot be iterated; use ops.split or indexing")

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            f"a symbolic tensor {self!r} has no values yet; they exist when the graph runs"
        )

    __array_priority__ = 100  # numpy_array * tensor asks the tensor

    def __repr__(self) -> str:
        name = f" name={self.name}" if self.name else ""
        return f"<Tensor shape={self.shape} dtype={self.dtype}{name}>"


class VariableTensor(Tensor):
    """The current value of a variable, as a leaf of graphs."""

    __slots__ = ("variable",)

    def __init__(self, variable: Any):
        super().__init__(variable.shape, variable.dtype, name=variable.name)
        self.variable = variable


class Constant(Tensor):
    """A fixed array."""

    __slots__ = ("value",)

    def __init__(self, value: np.ndarray):
        super().__init__(value.shape, value.dtype.name)
        self.value = value


class Origin(NamedTuple):
    """Whose work a node does: a layer's, or that of its gradient."""

    layer: str
    backward: bool = False


class _Current(threading.local):
    origins: tuple[Origin, ...] = ()


_current = _Current()


@contextmanager
def made_for(origins: tuple[Origin, ...]) -> Iterator[None]:
    """Nodes that are made within it do this work."""
    before, _current.origins = _current.origins, origins
    try:
        yield
    finally:
        _current.origins = before


class Node:
    """One application of an operation. Nodes are numbered in order of creation, which is a
    topological order.

    `origins`: whose work it does, where that is asked for (`made_for`); of several that rewriting
    has joined.
    """

    __slots__ = ("inputs", "op", "order", "origins", "outputs")
    _count = itertools.count()

    def __init__(self, op: Any, inputs: Sequence[Tensor]):
        self.op = op
        self.inputs = tuple(inputs)
        self.outputs: tuple[Tensor, ...] = ()
        self.order = next(Node._count)
        self.origins = _current.origins

    def __repr__(self) -> str:
        return f"<Node {self.order} {self.op}>"
