"""Layers around a layer."""

import math
from collections.abc import Mapping
from typing import Any

from nbcnn import ops
from nbcnn.declare import Expected, arg
from nbcnn.layers.base import Layer, family
from nbcnn.layers.structure import map_structure
from nbcnn.registry import deserialize


def _layer(value: Any) -> Layer:
    found = deserialize(value, family=family) if isinstance(value, Mapping) else value
    if not isinstance(found, Layer):
        raise Expected("must be a layer")
    return found


class Wrapper(Layer):
    """A layer around another, `layer`; a subclass says in `call` what it does with it."""

    layer: Any = arg(convert=_layer)

    def build(self, input_shape: Any) -> None:
        if not self.layer.built:
            self.layer.build(input_shape)


class TimeDistributed(Wrapper):
    """`layer` on every step of sequences (n, steps, ...): (n, steps, ...) again.

    All steps of all samples are one batch for the layer: one with statistics over the batch, such
    as `BatchNormalization`, takes them over the steps, too.
    """

    _least_rank = 3

    def build(self, input_shape: Any) -> None:
        super().build((input_shape[0], *input_shape[2:]))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        n, steps, *rest = inputs.shape
        if any(size is None for size in rest) or (n is None and steps is None):
            raise ValueError(
                f"TimeDistributed {self.name!r}: all sizes but that of the batch or the steps "
                f"must be known, got shape {inputs.shape}"
            )
        flat = self.layer(ops.reshape(inputs, (-1, *rest)), training=training)

        def parted(y: Any) -> Any:
            if n is None:
                return ops.reshape(y, (-1, steps, *y.shape[1:]))
            sizes = (n, -1 if steps is None else steps)
            return ops.reshape(y, (*sizes, *y.shape[1:])) if math.prod(y.shape[1:]) else y

        return map_structure(parted, flat)
