"""Tensors of a network that is being made, in either order of their axes.

ONNX has channels first, the engine's layers want them last. A value is held in the order in which
it was made, and brought into the other one only where something asks; each time once.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from nbcnn import ops


class Mixed(ValueError):
    """What would mix the samples of a batch, or treat them differently."""


def to_last(rank: int) -> tuple[int, ...]:
    """The transposition (n, c, ...) -> (n, ..., c)."""
    return (0, *range(2, rank), 1)


def to_first(rank: int) -> tuple[int, ...]:
    """The transposition (n, ..., c) -> (n, c, ...)."""
    return (0, rank - 1, *range(1, rank - 1))


class Value:
    """A tensor. `shape` is ONNX's, with None for the batch only; `rows` is how many elements along
    that axis belong to one sample (more than one after a reshape that joins an axis to it).
    `at`: where ONNX has the axis of the samples; if not first, `moved_rules` know what to do.
    """

    def __init__(self, first: Any = None, last: Any = None, rows: int = 1, at: int = 0) -> None:
        self._first, self._last, self.rows, self.at = first, last, rows, at
        if self.rank < 3:  # both are the same
            self._first = self._last = first if first is not None else last

    @property
    def _known(self) -> Any:
        return self._first if self._first is not None else self._last

    @property
    def rank(self) -> int:
        return self._known.ndim

    @property
    def is_last(self) -> bool:
        """Whether it is there with channels last."""
        return self._last is not None and self.rank > 2

    @property
    def dtype(self) -> str:
        return self._known.dtype

    @property
    def shape(self) -> tuple[Any, ...]:
        if self._first is not None:
            return self._first.shape
        return tuple(self._last.shape[a] for a in to_first(self.rank))

    def first(self) -> Any:
        """The tensor in ONNX's order."""
        if self._first is None:
            self._first = ops.transpose(self._last, to_first(self.rank))
        return self._first

    def last(self) -> Any:
        """The tensor with channels last."""
        if self._last is None:
            self._last = ops.transpose(self._first, to_last(self.rank))
        return self._last

    def either(self, last: bool) -> Any:
        return self.last() if last else self.first()


def made(tensor: Any, last: bool) -> Value:
    """A value from a tensor in one of the orders."""
    return Value(last=tensor) if last else Value(first=tensor)


def place_of(axis: int, rank: int, last: bool) -> int:
    """The place of ONNX's axis in a tensor of that order."""
    axis = axis % rank
    return to_last(rank).index(axis) if last and rank > 2 else axis


def shared(array: np.ndarray, rank: int) -> np.ndarray:
    """A constant for tensors of this rank, without an axis of samples: it must be the same for all.

    Raises Mixed where it differs: a file for one size of the batch may hold such ones.
    """
    if array.ndim < rank or array.shape[0] == 1:
        return array
    if array.ndim > rank:
        raise Mixed(f"a constant of {array.ndim} axes beside a tensor of {rank}")
    if not (array.shape[0] and np.array_equal(array, np.broadcast_to(array[:1], array.shape))):
        raise Mixed(f"a constant of shape {array.shape} that differs from sample to sample")
    return array[:1]


def joined(function: Callable, *operands: Any) -> Value:
    """A function that broadcasts, in the order of axes in which most is there already."""
    values = [v for v in operands if isinstance(v, Value)]
    rank = max(v.rank for v in values)
    if any(v.rank != rank for v in values):
        raise Mixed("tensors of different ranks: the batch of one would meet another axis")
    last = any(v.is_last for v in values)
    tensors = [
        v.either(last) if isinstance(v, Value) else arranged(shared(v, rank), rank, last)
        for v in operands
    ]
    return made(function(*tensors), last)


def arranged(array: np.ndarray, rank: int, last: bool) -> np.ndarray:
    """A constant that broadcasts to ONNX's shape of this rank, for a tensor of that order."""
    if not last or array.ndim == 0:
        return array
    full = array.reshape((1,) * (rank - array.ndim) + array.shape)
    return np.ascontiguousarray(full.transpose(to_last(rank)))
