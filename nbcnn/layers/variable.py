"""Variables: named arrays that layers own and that training changes."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from nbcnn import initializers
from nbcnn.ops.host_array import hosted
from nbcnn.ops.op import is_tracing, not_tracing
from nbcnn.ops.tensor import Node, Tensor, VariableTensor


class Clock:
    """Counts changes of weights and of their places, so that plans know when to look again."""

    values = 0  # some variable's values changed
    places = 0  # some variable's memory moved


class Budget:
    """Within, new variables may take so many bytes in all: a file may say any size; and models
    may be traced through so many operations: each model inside a model may be used twice.

    Raises `Budget.Exceeded`, before anything is allocated.
    """

    OPERATIONS = 100_000

    class Exceeded(Exception):
        pass

    current: ContextVar["Budget | None"] = ContextVar("budget", default=None)

    def __init__(self, size: int) -> None:
        self.left = size
        self.last = next(Node._count) + self.OPERATIONS

    def __enter__(self) -> "Budget":
        self._token = self.current.set(self)
        return self

    def __exit__(self, *error: object) -> None:
        self.current.reset(self._token)

    @classmethod
    def claim(cls, name: str, shape: tuple[int, ...], dtype: str) -> None:
        """Take what an array of this shape needs."""
        budget = cls.current.get()
        if budget is None:
            return
        size = np.dtype(dtype).itemsize
        for n in shape:
            size *= int(n)
        if size > budget.left:
            raise cls.Exceeded(f"weight {name!r} of shape {shape} needs {size} bytes")
        budget.left -= size

    @classmethod
    def check_operations(cls) -> None:
        """Whether there may be more of them."""
        budget = cls.current.get()
        if budget is not None and next(Node._count) > budget.last:
            raise cls.Exceeded(f"the model has more than {cls.OPERATIONS} operations")


_shapes_only: ContextVar[bool] = ContextVar("shapes_only", default=False)


@contextmanager
def shapes_only() -> Iterator[None]:
    """Within, new variables have a shape and a type but no values and no memory: models of any size
    can be built, counted and drawn at once. Their arrays read as zeros and cannot be written.
    """
    token = _shapes_only.set(True)
    try:
        yield
    finally:
        _shapes_only.reset(token)


def _first_values(make: Any, shape: tuple[int, ...], dtype: str, name: str) -> np.ndarray:
    """What an initializer says, as an array of the variable's own."""
    if _shapes_only.get():
        return np.broadcast_to(np.zeros((), dtype), shape)
    Budget.claim(name, shape, dtype)
    with not_tracing():
        return np.array(make(shape, dtype), dtype=dtype, order="C")


class Variable:
    """An array with a name.

    `symbol` stands for its current value in graphs; operations take the variable itself. The memory
    may be moved (into a model's flat buffer, to a GPU), so `array` is only valid until the next
    move; use `numpy()`.

    Parameters
    ----------
    initializer : array or number; or, with `shape`, name, `Initializer` or function (shape, dtype)
        -> array.
    shape : None (default): that of the array.
    dtype : default "float32".
    trainable : whether training changes it; default True.
    name : default "variable".
    regularizer : penalty on it that is added to the loss where a layer owns it; default none.
    constraint : applied after every update; default none.
    """

    home: Any = None  # the group of variables that it lies among, weakly, and its number there

    def __init__(
        self,
        initializer: Any,
        shape: tuple[int, ...] | None = None,
        dtype: str = "float32",
        trainable: bool = True,
        name: str = "variable",
        regularizer: Any = None,
        constraint: Any = None,
    ):
        if isinstance(initializer, str):
            if shape is None:
                raise ValueError(
                    f"Variable {name}: shape must be given with an initializer, got None"
                )
            initializer = initializers.get(initializer)
        if callable(initializer):
            array = _first_values(initializer, tuple(shape or ()), dtype, name)
        else:
            with not_tracing():
                array = np.array(initializer, dtype=dtype, order="C")
        if shape is not None and array.shape != tuple(shape):
            raise ValueError(
                f"Variable {name}: initial value has shape {array.shape}, expected {tuple(shape)}"
            )
        self.shape, self.dtype, self.name, self.path = array.shape, array.dtype.name, name, name
        self.trainable, self.regularizer, self.constraint = trainable, regularizer, constraint
        self.array: Any = array
        self.device: Any = None  # None: ordinary host memory
        self.symbol = VariableTensor(self)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "home"}

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def value(self) -> Any:
        """The current values: an array, or while a graph is traced the tensor that stands for
        them.
        """
        return self.symbol if is_tracing() else hosted(self.numpy())

    def numpy(self) -> np.ndarray:
        """A copy of the current values."""
        return self.array.copy() if self.device is None else self.device.download(self.array)

    def assign(self, value: Any) -> Any:
        """Set the values to `value`. While a graph is traced, this becomes part of the graph."""
        if is_tracing():
            from nbcnn.layers.context import current

            current().assign(self, value)
            return value
        array = np.asarray(value.numpy() if isinstance(value, Variable) else value)
        if array.shape != self.shape:
            raise ValueError(
                f"{self.path}: cannot assign values of shape {array.shape}, expected {self.shape}"
            )
        host = np.ascontiguousarray(array, dtype=self.dtype)
        if self.device is None:
            self.array[...] = host
        else:
            self.device.upload(self.array, host)
        Clock.values += 1
        return self

    def assign_add(self, value: Any) -> Any:
        """Add `value` to the values."""
        return self.assign(self.value + value)

    def assign_sub(self, value: Any) -> Any:
        """Subtract `value` from the values."""
        return self.assign(self.value - value)

    def move(self, array: Any, device: Any) -> None:
        """Continue in other memory, which must already hold the values."""
        self.array, self.device = array, device
        Clock.places += 1

    def array_on(self, device: Any) -> Any:
        """The values as an array on `device`; moved there first where they are elsewhere."""
        here = "cpu" if self.device is None else self.device.name
        if here != device.name:
            values = self.numpy()
            target = device.view(device.empty(values.nbytes), 0, self.shape, self.dtype)
            device.upload(target, values)
            self.move(target, device)
        return self.array

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.numpy().astype(dtype or self.dtype)

    def __getitem__(self, key: Any) -> Any:
        return self.value[key]

    def __neg__(self) -> Any:
        return -self.value

    def __abs__(self) -> Any:
        return abs(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __eq__(self, other: Any) -> Any:
        """Elementwise with values; another variable is another object."""
        return self is other if isinstance(other, Variable) else self.value == other

    def __ne__(self, other: Any) -> Any:
        return self is not other if isinstance(other, Variable) else self.value != other

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<Variable path={self.path} shape={self.shape} dtype={self.dtype}>"


def _operator(name: str):
    def apply(self, other):
        if is_tracing() or isinstance(other, Tensor):
            return getattr(self.symbol, name)(other)
        return getattr(self.value, name)(other.numpy() if isinstance(other, Variable) else other)

    return apply


for _name in ["lt", "le", "gt", "ge"]:
    setattr(Variable, f"__{_name}__", _operator(f"__{_name}__"))
for _name in ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul"]:
    setattr(Variable, f"__{_name}__", _operator(f"__{_name}__"))
    setattr(Variable, f"__r{_name}__", _operator(f"__r{_name}__"))
