"""Calls of layers and models with values in the place of their weights."""

from collections.abc import Sequence
from typing import Any

from nbcnn.graph.eager import lock
from nbcnn.layers.context import is_active
from nbcnn.models.applying import as_before


def call(
    layer: Any,
    trainable: Sequence[Any],
    non_trainable: Sequence[Any],
    args: tuple,
    kwargs: dict[str, Any],
    return_losses: bool,
) -> tuple:
    """See `Layer.stateless_call`."""
    where = f"stateless_call: {type(layer).__name__} {layer.name!r}"
    if is_active():
        raise NotImplementedError(f"{where}: works on arrays, not while a step is traced")
    if not layer.built:
        raise ValueError(f"{where} is not built yet; call it on data first")
    groups = (
        ("trainable_variables", trainable, list(layer.trainable_variables)),
        ("non_trainable_variables", non_trainable, list(layer.non_trainable_variables)),
    )
    for name, given, known in groups:
        if len(given) != len(known):
            raise ValueError(f"{where}: {name} must have {len(known)} entries, got {len(given)}")
    variables = [v for _, _, known in groups for v in known]
    values = [value for _, given, _ in groups for value in given]
    with lock(), as_before(variables):
        for variable, value in zip(variables, values):
            variable.assign(value)
        outputs = layer(*args, **kwargs)
        renewed = [v.numpy() for v in layer.non_trainable_variables]
        losses = layer.losses if return_losses else None
    return (outputs, renewed, losses) if return_losses else (outputs, renewed)
