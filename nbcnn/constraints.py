"""Constraints on weights: `constraint(weight) -> weight`, applied after every update.

Common parameters
-----------------
config : what `serialize` returned, or a name.
custom_objects : dictionary of classes and functions that are not part of this package, by name;
    default none.
identifier : name, class, configuration or object; see above.
"""

from collections.abc import Mapping
from typing import Any

from nbcnn import config, ops
from nbcnn.converters import axes, optional
from nbcnn.declare import Declared, arg, fraction, non_negative
from nbcnn.registry import Family
from nbcnn.registry import serialize as serialize

__all__ = [
    "Constraint",
    "MaxNorm",
    "MinMaxNorm",
    "NonNeg",
    "UnitNorm",
    "deserialize",
    "get",
    "max_norm",
    "min_max_norm",
    "non_neg",
    "serialize",
    "unit_norm",
]

family = Family("constraint", "keras.constraints")


class Constraint(Declared, family=family):
    """Base of constraints: override `__call__(w)`, made of `nbcnn.ops`."""

    def __call__(self, w: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __call__(w)")


class NonNeg(Constraint):
    """Negative weights become 0."""

    def __call__(self, w: Any) -> Any:
        return ops.maximum(w, 0.0)


class UnitNorm(Constraint):
    """Weights along `axis` (0) are scaled to norm 1.

    A dense kernel is (inputs, units): axis 0 gives every unit weights of norm 1. For a
    convolution's kernel (kh, kw, c, filters) that is axis (0, 1, 2).
    """

    axis: Any = arg(0, convert=optional(axes))

    def __call__(self, w: Any) -> Any:
        return w / (config.epsilon() + _norm(w, self.axis))


class MaxNorm(Constraint):
    """Weights along `axis` (0) whose norm is above `max_value` (2) are scaled down to it."""

    max_value: float = arg(2.0, check=non_negative)
    axis: Any = arg(0, convert=optional(axes))

    def __call__(self, w: Any) -> Any:
        norm = _norm(w, self.axis)
        return w * (ops.minimum(norm, self.max_value) / (config.epsilon() + norm))


class MinMaxNorm(Constraint):
    """Moves norms along `axis` (0) into [min_value, max_value], by `rate` of the distance."""

    min_value: float = arg(0.0, check=non_negative)
    max_value: float = arg(1.0, check=non_negative)
    rate: float = arg(1.0, check=fraction)
    axis: Any = arg(0, convert=optional(axes))

    def __call__(self, w: Any) -> Any:
        norm = _norm(w, self.axis)
        inside = ops.clip(norm, self.min_value, self.max_value)
        wanted = self.rate * inside + (1.0 - self.rate) * norm
        return w * (wanted / (config.epsilon() + norm))


def _norm(w: Any, axis: Any) -> Any:
    axes = tuple(axis) if isinstance(axis, list) else axis
    return ops.sqrt(ops.sum(ops.square(w), axis=axes, keepdims=True))


non_neg = NonNeg
unit_norm = UnitNorm
max_norm = MaxNorm
min_max_norm = MinMaxNorm
get = family.get


def deserialize(config: Mapping, custom_objects: Mapping | None = None) -> Any:
    """The constraint that `serialize` described."""
    return family.get(config, custom_objects)
