"""The weights of a layer and of the layers inside it: which they are, their values, their
number.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from nbcnn.layers.tracking import Tracking
from nbcnn.layers.variable import Variable


class Weights(Tracking):
    """The part of `Layer` that knows its weights."""

    name: str | None
    trainable: bool
    built: bool

    def _flatten_layers(self) -> Iterator[Any]:
        """This layer and all layers inside it, each once, outer first."""
        seen: set[int] = set()
        pending: list[Any] = [self]
        while pending:
            layer = pending.pop(0)
            if id(layer) not in seen:
                seen.add(id(layer))
                yield layer
                pending = list(layer._sublayers) + pending

    @property
    def weights(self) -> list[Variable]:
        """All variables: this layer's own, then those of the layers inside, each once."""
        found: dict[int, Variable] = {}
        for layer in self._flatten_layers():
            own = sorted(layer._variables, key=lambda v: not v.trainable)
            found.update((id(v), v) for v in own)
        return list(found.values())

    variables = weights

    @property
    def trainable_weights(self) -> list[Variable]:
        """Variables that training changes."""
        if not self.trainable:
            return []
        found: dict[int, Variable] = {}
        frozen: set[int] = set()
        for layer in self._flatten_layers():
            for variable in layer._variables:
                if layer.trainable and variable.trainable:
                    found[id(variable)] = variable
                else:
                    frozen.add(id(variable))
        return [v for key, v in found.items() if key not in frozen]

    trainable_variables = trainable_weights

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """Variables that training does not change."""
        trained = {id(v) for v in self.trainable_weights}
        return [v for v in self.weights if id(v) not in trained]

    non_trainable_variables = non_trainable_weights

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all variables' values, in the order of `weights`."""
        return [v.numpy() for v in self.weights]

    def set_weights(self, weights: list[Any]) -> None:
        """Set all variables to arrays, in the order of `weights`; checked as a whole before the
        first is changed.
        """
        variables = self.weights
        if not isinstance(weights, (list, tuple, np.ndarray)):
            raise TypeError(f"set_weights: weights must be a list of arrays, got {weights!r:.80}")
        if len(weights) != len(variables):
            raise ValueError(
                f"set_weights: {self.name!r} has {len(variables)} weights, got {len(weights)}"
            )
        arrays = [np.asarray(w) for w in weights]
        for variable, array in zip(variables, arrays):
            if array.shape != variable.shape:
                raise ValueError(
                    f"set_weights: {variable.path} has shape {variable.shape}, got {array.shape}"
                )
        for variable, array in zip(variables, arrays):
            variable.assign(array)

    def count_params(self) -> int:
        """Number of values in all variables."""
        if not self.built:
            raise ValueError(
                f"count_params: layer {self.name!r} is not built yet; call it on an input first"
            )
        return sum(v.size for v in self.weights)
