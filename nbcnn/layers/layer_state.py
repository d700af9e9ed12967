"""What a layer holds and says of itself beside its weights: losses, metrics, files, its path."""

import importlib
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nbcnn.layers.context import current, is_active
from nbcnn.layers.probing import outputs_of
from nbcnn.layers.structure import map_structure
from nbcnn.ops.tensor import Tensor

if TYPE_CHECKING:
    from nbcnn.layers.variable import Variable


def is_metric(value: Any) -> bool:
    """Whether a value is a metric, which a layer keeps and resets."""
    family = getattr(type(value), "family", None)
    return getattr(family, "kind", None) == "metric" and hasattr(value, "update_state")


class LayerState:
    """See `Layer`."""

    supports_masking = True  # masks are not computed, so nothing loses one

    if TYPE_CHECKING:
        name: Any
        built: bool
        _variables: list["Variable"]
        _own_metrics: list[Any]
        trainable_variables: list["Variable"]
        non_trainable_variables: list["Variable"]

        def _flatten_layers(self) -> Iterator[Any]: ...
        def _traced_call(self, args: tuple, kwargs: dict[str, Any]) -> Any: ...

    @property
    def path(self) -> str | None:
        """What the paths of the layer's variables begin with; None before it is built."""
        return self.name if self.built else None

    @property
    def losses(self) -> list[Any]:
        """What this layer and those inside have added to the loss in the latest call, and the
        penalties on their weights: tensors while a step is traced, else arrays.
        """
        layers = list(self._flatten_layers())
        found: list[Any]
        if is_active():
            found = list(current().losses_of(layers))
        else:
            found = [loss for layer in layers for loss in layer.__dict__.get("_latest_losses", ())]
        weights = (v for v in self.trainable_variables if v.regularizer is not None)
        return found + [variable.regularizer(variable) for variable in weights]

    @property
    def metrics(self) -> list[Any]:
        """The metrics that are attributes of this layer and of those inside."""
        found = [metric for layer in self._flatten_layers() for metric in layer._own_metrics]
        return list({id(metric): metric for metric in found}.values())

    @property
    def metrics_variables(self) -> list[Any]:
        """The variables of all `metrics`."""
        return [variable for metric in self.metrics for variable in metric.variables]

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Symbolic tensors of the shapes and types of what a call would return; makes the weights.

        Parameters
        ----------
        args, kwargs : as for a call, with symbolic tensors.
        """
        outputs = outputs_of(lambda given: self._traced_call(*given), (args, kwargs))
        return map_structure(
            lambda t: Tensor(t.shape, t.dtype) if isinstance(t, Tensor) else t, outputs
        )

    def stateless_call(
        self,
        trainable_variables: Sequence[Any],
        non_trainable_variables: Sequence[Any],
        *args: Any,
        return_losses: bool = False,
        **kwargs: Any,
    ) -> tuple:
        """A call on arrays with other values in the place of the weights, which leaves no trace.

        Parameters
        ----------
        trainable_variables, non_trainable_variables : values for the attributes of these names.
        args, kwargs : as for a call.
        return_losses : also return `losses`.

        Returns
        -------
        (outputs, new values of the non-trainable variables), and the losses where asked for.

        Raises
        ------
        ValueError
            Before the layer is built, and for lists of another length.
        """
        stateless = importlib.import_module("nbcnn.models.stateless")
        values = trainable_variables, non_trainable_variables
        return stateless.call(self, *values, args, kwargs, return_losses)

    # -- files ----------------------------------------------------------------------------------

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Puts this layer's own variables into a store, under '0', '1', ...; a layer of one's own
        may put there what it likes.
        """
        for index, variable in enumerate(self._ordered_variables()):
            store[str(index)] = variable.numpy()

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Takes what `save_own_variables` has put into a store.

        Raises
        ------
        ValueError
            For a store of another number of variables, before anything changes.
        """
        variables = self._ordered_variables()
        if len(store.keys()) != len(variables):
            built = "" if self.built else ", which is not built"
            raise ValueError(
                f"load_own_variables: layer {self.name!r}{built} has {len(variables)} variables "
                f"({', '.join(v.name for v in variables)}), the store has {len(store.keys())}"
            )
        values = [np.asarray(store[str(index)]) for index in range(len(variables))]
        for variable, value in zip(variables, values):
            if value.shape != variable.shape:
                raise ValueError(
                    f"load_own_variables: {variable.path} has shape {variable.shape}, "
                    f"got {value.shape}"
                )
        for variable, value in zip(variables, values):
            variable.assign(value)

    def _ordered_variables(self) -> list["Variable"]:
        """This layer's own, those that are trained first."""
        return sorted(self._variables, key=lambda variable: not variable.trainable)
