"""Penalties on weights: `regularizer(weight) -> scalar`, added to the loss.

Common parameters
-----------------
config : what `serialize` returned, or a name.
custom_objects : dictionary of classes and functions that are not part of this package, by name;
    default none.
identifier : name, class, configuration or object; see above.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from nbcnn import config, ops
from nbcnn.declare import Declared, arg
from nbcnn.registry import Family
from nbcnn.registry import serialize as serialize

__all__ = [
    "L1",
    "L1L2",
    "L2",
    "OrthogonalRegularizer",
    "Regularizer",
    "deserialize",
    "get",
    "l1",
    "l1_l2",
    "l2",
    "orthogonal_regularizer",
    "serialize",
]

family = Family("regularizer", "keras.regularizers")


def _penalty(value: Any) -> str | None:
    return None if math.isfinite(value) and value >= 0 else "must be finite and not negative"


class Regularizer(Declared, family=family):
    """Base of regularizers: override `__call__(x)`, a scalar made of `nbcnn.ops`."""

    def __call__(self, x: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __call__(x)")


class L1(Regularizer):
    """l1 * sum(|x|); l1 is 0.01 by default."""

    l1: float = arg(0.01, check=_penalty)

    def __call__(self, x: Any) -> Any:
        return self.l1 * ops.sum(ops.abs(x))


class L2(Regularizer):
    """l2 * sum(x²); l2 is 0.01 by default."""

    l2: float = arg(0.01, check=_penalty)

    def __call__(self, x: Any) -> Any:
        return self.l2 * ops.sum(ops.square(x))


class L1L2(Regularizer):
    """l1 * sum(|x|) + l2 * sum(x²); both factors are 0 by default."""

    l1: float = arg(0.0, check=_penalty)
    l2: float = arg(0.0, check=_penalty)

    def __call__(self, x: Any) -> Any:
        return self.l1 * ops.sum(ops.abs(x)) + self.l2 * ops.sum(ops.square(x))


class OrthogonalRegularizer(Regularizer):
    """`factor` times the mean of |cos| of the angles between rows, or columns, of a matrix.

    Parameters
    ----------
    factor : default 0.01.
    mode : between which vectors, "rows" (default) or "columns". For a dense kernel (inputs, units)
        columns are the units' weights.
    """

    factor: float = arg(0.01, check=_penalty)
    mode: str = arg("rows", choices=("rows", "columns"))

    def __call__(self, x: Any) -> Any:
        shape = tuple(x.shape)
        if len(shape) != 2:
            raise ValueError(f"OrthogonalRegularizer: expected a matrix, got shape {shape}")
        rows = self.mode == "rows"
        squares = ops.sum(ops.square(x), axis=1 if rows else 0, keepdims=True)
        unit = x * ops.rsqrt(ops.maximum(squares, config.epsilon() ** 2))
        other = ops.transpose(unit)
        cosines = ops.matmul(unit, other) if rows else ops.matmul(other, unit)
        count = shape[0] if rows else shape[1]
        between = 1.0 - np.eye(count, dtype=str(x.dtype))
        pairs = count * (count - 1) / 2
        return self.factor * 0.5 * ops.sum(ops.abs(cosines) * between) / pairs


l1 = L1
l2 = L2
l1_l2 = L1L2
orthogonal_regularizer = OrthogonalRegularizer
get = family.get


def deserialize(config: Mapping, custom_objects: Mapping | None = None) -> Any:
    """The regularizer that `serialize` described."""
    return family.get(config, custom_objects)
