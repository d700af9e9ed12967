"""Arrays in a GPU's memory: an address, a shape and a data type."""

import math
from typing import Any, NamedTuple

import numpy as np

# As `__cuda_array_interface__` numbers streams: the default stream, in which PyTorch works unless
# it is told otherwise.
DEFAULT_STREAM = 1


class Loan(NamedTuple):
    """What keeps another library's memory alive, and the stream in which that library works on it;
    None where nothing has to be waited for.
    """

    value: Any
    stream: int | None


class DeviceArray:
    """C-contiguous, in the memory that `owner` keeps alive.

    Kernels get the address. Other libraries get `__cuda_array_interface__`, so that CuPy's
    `asarray` or PyTorch's `as_tensor` make an array of theirs of it without a copy.
    """

    def __init__(self, address: int, shape: tuple[int, ...], dtype: Any, owner: Any = None):
        self.address, self.shape, self.dtype = address, tuple(shape), np.dtype(dtype)
        self.owner = owner

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def reshape(self, *shape: Any) -> "DeviceArray":
        """The same elements in another shape."""
        wanted = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple) else shape
        if math.prod(wanted) != self.size:
            raise ValueError(f"an array of shape {self.shape} has no shape {wanted}")
        return DeviceArray(self.address, wanted, self.dtype, self.owner)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("an array without axes has no length")
        return self.shape[0]

    def __getitem__(self, key: int | slice) -> "DeviceArray":
        """One row, or adjacent ones."""
        row = self.nbytes // self.shape[0] if self.size else 0
        if isinstance(key, slice):
            start, stop, step = key.indices(self.shape[0])
            if step != 1:
                raise IndexError("rows of an array on a GPU must be adjacent")
            count = max(stop - start, 0)
            shape = (count, *self.shape[1:])
            return DeviceArray(self.address + start * row, shape, self.dtype, self.owner)
        index = range(self.shape[0])[key]
        return DeviceArray(self.address + index * row, self.shape[1:], self.dtype, self.owner)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, False),
            "strides": None,
            "stream": None,
            "version": 3,
        }

    def __repr__(self) -> str:
        return f"<array on a GPU, shape={self.shape} dtype={self.dtype}>"


def is_on_a_gpu(value: Any) -> bool:
    """Whether this is an array of any library's in a GPU's memory."""
    return hasattr(value, "__cuda_array_interface__")


def borrowed(value: Any, what: str = "array") -> DeviceArray:
    """Another library's array, without a copy. Raises ValueError unless it is C-contiguous.

    Interfaces before version 3, as PyTorch's, tell no stream: then it is the default one.
    """
    if isinstance(value, DeviceArray):
        return value
    told = value.__cuda_array_interface__
    shape, dtype = tuple(told["shape"]), np.dtype(told["typestr"])
    if not dtype.isnative or told.get("mask") is not None:
        raise ValueError(f"{what}: no masked arrays, and none of another byte order, on a GPU")
    expected: list[int] = []
    step = dtype.itemsize
    for size in reversed(shape):
        expected.insert(0, step)
        step *= size
    strides = told.get("strides")
    relevant = [i for i, size in enumerate(shape) if size > 1] if math.prod(shape) else []
    if strides is not None and any(strides[i] != expected[i] for i in relevant):
        raise ValueError(
            f"{what}: arrays on a GPU must be C-contiguous, got strides {tuple(strides)} for shape "
            f"{shape}; `.contiguous()` of PyTorch or `cupy.ascontiguousarray` give such a one"
        )
    stream = told.get("stream", None if told.get("version", 0) >= 3 else DEFAULT_STREAM)
    return DeviceArray(told["data"][0], shape, dtype, Loan(value, stream))
