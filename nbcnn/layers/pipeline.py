"""Layers one after the other as one layer, which is no model."""

from collections.abc import Mapping
from typing import Any

from nbcnn.declare import Expected, arg
from nbcnn.layers.base import Layer, family
from nbcnn.registry import deserialize


def _layers(values: Any) -> list[Layer]:
    if not isinstance(values, (list, tuple)):
        raise Expected("must be a list of layers")
    found = [deserialize(v, family=family) if isinstance(v, Mapping) else v for v in values]
    if not all(isinstance(each, Layer) for each in found):
        raise Expected("must be a list of layers")
    return found


class Pipeline(Layer):
    """`layers` one after the other, for preprocessing: of arrays, in a dataset's `map`, or inside a
    model.

    `training` defaults to True, so images are changed at random where the layers do so. Layers of
    images also take dictionaries, which go from one to the next.

    Parameters
    ----------
    layers : list of layers.

    Examples
    --------
    >>> change = layers.Pipeline([layers.RandomFlip("horizontal"), layers.RandomRotation(0.1)])
    >>> dataset = dataset.map(lambda images, labels: (change(images), labels))
    """

    layers: Any = arg(convert=_layers)

    def call(self, inputs: Any, training: bool | None = True) -> Any:
        for layer in self.layers:
            inputs = layer(inputs, training=training)
        return inputs
