"""Types of numbers and of kernels' arguments, by name: Numba's own are looked up when it compiles.

In kernels they convert numbers as Numba's do: `types.uintp(x)`. While code is emitted they make
signatures: `types.void(types.intp)`.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from nbcnn.kernels.cpu.deferred import Deferred, made


class Type(Deferred):
    """A type of Numba's. Its name tells it from any other among the arguments of one kernel."""

    def __init__(self, name: str, make: Callable[[], Any]):
        super().__init__(make)
        self.name = name

    def __str__(self) -> str:
        return self.name

    def __call__(self, *arguments: Any) -> Any:
        return self.made(*map(made, arguments))


@cache
def named(name: str) -> Type:
    def make() -> Any:
        from numba import types

        return getattr(types, name)

    return Type(name, make)


void, boolean = named("void"), named("boolean")
intp, int32, int64 = named("intp"), named("int32"), named("int64")
uintp, uint8, uint32, uint64 = named("uintp"), named("uint8"), named("uint32"), named("uint64")
float32, float64 = named("float32"), named("float64")


@cache
def array(dtype: np.dtype, dimensions: int) -> Type:
    """C-contiguous arrays."""

    def make() -> Any:
        from numba import from_dtype, types

        return types.Array(from_dtype(dtype), dimensions, "C")

    return Type(f"array({dtype.name}, {dimensions}d, C)", make)


# Exact classes: a NumPy scalar of another size would not be the word that `jit.pack` makes of it.
_SCALARS = {
    bool: boolean, int: int64, np.int64: int64, float: float64, np.float64: float64,
}  # fmt: skip


def of(value: Any) -> Type:
    """The type of a number, or of a tuple of numbers."""
    if isinstance(value, tuple):
        return _fields(type(value), tuple(_scalar(type(field)) for field in value))
    return _scalar(type(value))


def _scalar(kind: type) -> Type:
    if kind not in _SCALARS:
        expected = "arrays, integers, floats and tuples of these"
        raise TypeError(f"kernel arguments are {expected}, got {kind.__name__}")
    return _SCALARS[kind]


@cache
def _fields(kind: type, fields: tuple[Type, ...]) -> Type:
    def make() -> Any:
        from numba import types

        # Numba calls a plain tuple's class None.
        return types.BaseTuple.from_types(
            [field.made for field in fields], kind if hasattr(kind, "_fields") else None
        )

    return Type(f"{kind.__name__}({', '.join(map(str, fields))})", make)
