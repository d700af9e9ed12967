"""Layers of several inputs."""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, ClassVar

import numpy as np

from nbcnn import ops
from nbcnn.layers import fields
from nbcnn.layers.base import Layer, is_shape


class Merge(Layer):
    """Base of layers over a list of tensors whose shapes broadcast; override `merge(a, b)`.

    Tensors of fewer axes get axes of size 1 after the batch.
    """

    merge: ClassVar[Callable[[Any, Any], Any]]

    @property
    def kind(self) -> str:
        return type(self).__name__

    def _check_input(self, shapes: Any) -> None:
        if is_shape(shapes) or not isinstance(shapes, (list, tuple)):
            raise ValueError(f"{self.kind}: expected a list of inputs, got one of shape {shapes}")
        if not shapes:
            raise ValueError(f"{self.kind}: expected at least one input, got none")
        self.check_shapes(list(shapes))

    def check_shapes(self, shapes: list[tuple]) -> None:
        rank = max(map(len, shapes))
        full = [(s[:1] + (1,) * (rank - len(s)) + s[1:]) for s in shapes]
        for sizes in zip(*full):
            if len({n for n in sizes if n not in (None, 1)}) > 1:
                raise ValueError(f"{self.kind}: input shapes do not broadcast, got {shapes}")

    def call(self, inputs: Any) -> Any:
        rank = max(x.ndim for x in inputs)
        return reduce(type(self).merge, [_with_rank(x, rank) for x in inputs])


def _with_rank(x: Any, rank: int) -> Any:
    while x.ndim < rank:
        x = ops.expand_dims(x, 1)
    return x


class Add(Merge):
    """The sum of the inputs."""

    merge = staticmethod(ops.add)


class Subtract(Merge):
    """The first of two inputs minus the second."""

    merge = staticmethod(ops.subtract)

    def check_shapes(self, shapes: list[tuple]) -> None:
        if len(shapes) != 2:
            raise ValueError(f"Subtract: expected 2 inputs, got {len(shapes)}")
        super().check_shapes(shapes)


class Multiply(Merge):
    """The product of the inputs, elementwise."""

    merge = staticmethod(ops.multiply)


class Average(Merge):
    """The mean of the inputs, elementwise."""

    merge = staticmethod(ops.add)

    def call(self, inputs: Any) -> Any:
        return super().call(inputs) * (1.0 / len(inputs))


class Maximum(Merge):
    """The largest of the inputs, elementwise."""

    merge = staticmethod(ops.maximum)


class Minimum(Merge):
    """The smallest of the inputs, elementwise."""

    merge = staticmethod(ops.minimum)


class Concatenate(Merge):
    """The inputs one after another along `axis` (-1); their other sizes must agree."""

    axis: int = -1

    def check_shapes(self, shapes: list[tuple]) -> None:
        rank = len(shapes[0])
        if not -rank <= self.axis < rank:
            raise ValueError(
                f"Concatenate: axis must be an axis of the inputs, got {self.axis} for {shapes}"
            )
        axis = self.axis % rank
        for position, sizes in enumerate(zip(*shapes)):
            if position != axis and len({n for n in sizes if n is not None}) > 1:
                raise ValueError(
                    f"Concatenate: sizes must agree on all axes but {axis}, got {shapes}"
                )
        if len({len(s) for s in shapes}) > 1:
            raise ValueError(f"Concatenate: inputs must have equally many axes, got {shapes}")

    def call(self, inputs: Any) -> Any:
        return ops.concatenate(list(inputs), self.axis)


class Dot(Merge):
    """Sum of products of two inputs along an axis of each, sample by sample.

    Parameters
    ----------
    axes : the axis of both, or a pair of one for each; not the batch.
    normalize : whether the vectors along them are scaled to length 1 first (cosine similarity),
        default False.

    Shapes: (n, a..., k) and (n, b..., k) -> (n, a..., b...), at least (n, 1).
    """

    axes: Any = fields.axes()
    normalize: bool = False

    def check_shapes(self, shapes: list[tuple]) -> None:
        if len(shapes) != 2 or min(map(len, shapes)) < 2:
            raise ValueError(f"Dot: expected 2 inputs of 2 axes or more, got {shapes}")
        axes = self._axes([len(s) for s in shapes])
        sizes = [s[a] for s, a in zip(shapes, axes)]
        if None not in sizes and sizes[0] != sizes[1]:
            raise ValueError(
                f"Dot: sizes along axes {self.axes} must be equal, got shapes {shapes}"
            )

    def _axes(self, ranks: Sequence[int]) -> list[int]:
        pair = [self.axes] * 2 if isinstance(self.axes, int) else list(self.axes)
        within = all(-rank <= a < rank for a, rank in zip(pair, ranks))
        normal = [a % rank for a, rank in zip(pair, ranks)]
        if len(pair) != 2 or not within or 0 in normal:
            raise ValueError(
                f"Dot: axes must be one or two axes other than the batch, got {self.axes}"
            )
        return normal

    def call(self, inputs: Any) -> Any:
        x, y = inputs
        a, b = self._axes([x.ndim, y.ndim])
        if self.normalize:
            x, y = _unit(x, a), _unit(y, b)
        x, y = ops.moveaxis(x, a, -1), ops.moveaxis(y, b, 1)
        rows, columns = x.shape[1:-1], y.shape[2:]
        left = ops.reshape(x, (-1, int(np.prod(rows)), x.shape[-1]))
        right = ops.reshape(y, (-1, y.shape[1], int(np.prod(columns))))
        return ops.reshape(ops.matmul(left, right), (-1, *((*rows, *columns) or (1,))))


def _unit(x: Any, axis: int) -> Any:
    squares = ops.sum(ops.square(x), axis, keepdims=True)
    return x * ops.rsqrt(ops.maximum(squares, 1e-12))


def add(inputs: Any, **kwargs: Any) -> Any:
    """`Add(**kwargs)(inputs)`."""
    return Add(**kwargs)(inputs)


def subtract(inputs: Any, **kwargs: Any) -> Any:
    """`Subtract(**kwargs)(inputs)`."""
    return Subtract(**kwargs)(inputs)


def multiply(inputs: Any, **kwargs: Any) -> Any:
    """`Multiply(**kwargs)(inputs)`."""
    return Multiply(**kwargs)(inputs)


def average(inputs: Any, **kwargs: Any) -> Any:
    """`Average(**kwargs)(inputs)`."""
    return Average(**kwargs)(inputs)


def maximum(inputs: Any, **kwargs: Any) -> Any:
    """`Maximum(**kwargs)(inputs)`."""
    return Maximum(**kwargs)(inputs)


def minimum(inputs: Any, **kwargs: Any) -> Any:
    """`Minimum(**kwargs)(inputs)`."""
    return Minimum(**kwargs)(inputs)


def concatenate(inputs: Any, axis: int = -1, **kwargs: Any) -> Any:
    """`Concatenate(axis, **kwargs)(inputs)`."""
    return Concatenate(axis, **kwargs)(inputs)


def dot(inputs: Any, axes: Any = -1, **kwargs: Any) -> Any:
    """`Dot(axes, **kwargs)(inputs)`."""
    return Dot(axes, **kwargs)(inputs)
