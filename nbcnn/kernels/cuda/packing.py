"""Arguments of kernels as the driver takes them.

Arrays reach kernels as plain pointers to their elements; a spec reaches them field by field. So
every argument is a number of at most 8 bytes, and a launch's arguments are one row of words with,
for the driver, the address of each.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

# The type of an argument, comparable and the same in every process: the name of a number's type,
# that name and "*" for an array, or a spec's class with the types of its fields.
Kind = str | tuple


def kind_of(value: Any) -> Kind:
    """Raises TypeError for what kernels do not take."""
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        name = np.dtype(value.dtype).name
        if isinstance(value, np.generic):
            return name
        return ("uint8" if name == "bool" else name) + "*"  # Numba has no pointers to booleans
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int64"
    if isinstance(value, float):
        return "float64"
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return (type(value), *map(kind_of, value))
    raise TypeError(f"kernel arguments are arrays, numbers and specs, got {value!r}")


def kinds_of(arguments: Sequence[Any]) -> tuple[Kind, ...]:
    return tuple(map(kind_of, arguments))


def shown(kind: Kind) -> str:
    """A kind as text, the same in every process."""
    if isinstance(kind, str):
        return kind
    cls, *fields = kind
    return f"{cls.__module__}.{cls.__qualname__}({', '.join(map(shown, fields))})"


def numba_type(kind: Kind) -> Any:
    """What Numba compiles for."""
    from numba import from_dtype, types

    if isinstance(kind, str):
        name = kind.removesuffix("*")
        element = from_dtype(np.dtype(name))
        return types.CPointer(element) if kind.endswith("*") else element
    cls, *fields = kind
    return types.BaseTuple.from_types(tuple(map(numba_type, fields)), cls)


class Packed(NamedTuple):
    """Words of 8 bytes, one for each number, and the address of each word: what `kernelParams`
    points to.
    """

    words: np.ndarray
    addresses: np.ndarray


def pack(arguments: Sequence[Any]) -> Packed:
    """A copy of the arguments. Arrays must have an `address`."""
    values = [word for argument in arguments for word in _words(argument)]
    words = np.array(values, dtype=np.uint64)
    addresses = words.ctypes.data + 8 * np.arange(len(words), dtype=np.uint64)
    return Packed(words, addresses.astype(np.uint64))


def _words(value: Any) -> list[int]:
    if isinstance(value, tuple):
        return [word for field in value for word in _words(field)]
    if hasattr(value, "address"):
        return [value.address]
    kind = kind_of(value)
    assert isinstance(kind, str)
    number = np.array([value], dtype=kind)
    room = np.zeros(8, dtype=np.uint8)
    room[: number.itemsize] = number.view(np.uint8)
    return [int(room.view(np.uint64)[0])]
