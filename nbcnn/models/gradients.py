"""Gradients for users: of a function with respect to variables, in a training step or on arrays."""

import itertools
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nbcnn.graph.aliases import RESHAPES_BEHIND
from nbcnn.graph.eager import lock
from nbcnn.graph.graph import Graph, rewrite
from nbcnn.graph.rewrite import INDICES, TRAINING
from nbcnn.layers.context import Context, current, is_active
from nbcnn.layers.structure import flatten, map_structure
from nbcnn.layers.variable import Variable
from nbcnn.models.slopes import slopes_of
from nbcnn.models.traced_call import TracedCall, is_data, key_of
from nbcnn.ops.op import as_tensor, is_tracing
from nbcnn.ops.tensor import Tensor

CAPACITY = 16  # plans kept for each function


def value_and_grad(
    function: Callable[..., Any], variables: Sequence[Variable], has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns what `function` does, and its gradients with respect to variables.

    In `train_step` it becomes part of the step. On arrays it is traced once for each set of shapes,
    and runs as a plan from then on: what `function` reads beside its arguments and variables is
    taken as it is at the first call.

    Parameters
    ----------
    function : returns the loss, made of layers and `nbcnn.ops`; a loss that is no scalar counts as
        its sum.
    variables : what to differentiate by, usually `model.trainable_variables`.
    has_aux : whether `function` returns (loss, anything) instead.

    Returns
    -------
    A function of the same arguments that returns (value, gradients): a list in the order of
    `variables`, with None where the loss does not depend on one.

    Raises
    ------
    TypeError
        For variables that are none, and losses that are no floats.

    Examples
    --------
    >>> def loss_of(x, y):
    ...     return keras.losses.mse(y, model(x, training=True))
    >>> loss, gradients = value_and_grad(loss_of, model.trainable_variables)(x, y)
    """
    if not callable(function):
        raise TypeError(f"value_and_grad: function must be callable, got {function!r}")
    wanted = list(variables)
    for variable in wanted:
        if not isinstance(variable, Variable):
            kind = type(variable).__name__
            raise TypeError(f"value_and_grad: variables must be Variables, got {kind}")
    kept: OrderedDict[tuple, TracedCall] = OrderedDict()
    calls = itertools.count(1)

    def joint(*args: Any, **kwargs: Any) -> Any:
        return _differentiated(function, wanted, has_aux, args, kwargs)

    def on_arrays(*args: Any, **kwargs: Any) -> Any:
        if is_active() or is_tracing():
            return joint(*args, **kwargs)
        key = key_of(args, kwargs)
        with lock():
            found = kept.get(key)
            if found is None or not found.valid():
                context = Context(None)
                found = kept[key] = TracedCall(joint, args, kwargs, context, training=True)
                if len(kept) > CAPACITY:
                    kept.popitem(last=False)
            kept.move_to_end(key)
            arrays = [np.asarray(v) for v in flatten((args, kwargs)) if is_data(v)]
            return found.run(arrays, next(calls))

    return on_arrays


def _differentiated(
    function: Callable[..., Any], variables: list[Variable], has_aux: bool, args: Any, kwargs: Any
) -> Any:
    """Value and gradients as tensors of the current tracing."""
    before, updates = {id(v): v.symbol for v in variables}, current().updates
    earlier = len(updates)
    found = function(*args, **kwargs)
    loss, aux = found if has_aux else (found, None)
    loss = as_tensor(loss)
    if np.dtype(loss.dtype).kind != "f":
        raise TypeError(f"value_and_grad: the loss must be of a float type, got {loss.dtype}")
    # Rewrites come before gradients, as in any training step; what is returned is of the new graph.
    inner = [t for t in flatten(aux) if isinstance(t, Tensor)]
    graph = Graph([loss, *inner], updates[earlier:])
    for rules in (RESHAPES_BEHIND, TRAINING, INDICES):
        graph = rewrite(graph, rules)
    updates[earlier:] = graph.effects
    new = iter(graph.outputs)
    loss = next(new)
    aux = map_structure(lambda t: next(new) if isinstance(t, Tensor) else t, aux)
    current().differentiated = True
    slopes = slopes_of(loss, variables, current(), before)
    return ((loss, aux) if has_aux else loss), slopes
