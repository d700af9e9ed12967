"""Gradients for users: of a function with respect to variables, in a training step or on arrays."""

import itertools
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nbcnn.graph.aliases import RESHAPES_BEHIND
from nbcnn.graph.autodiff import gradients
from nbcnn.graph.eager import lock
from nbcnn.graph.graph import Graph, rewrite
from nbcnn.graph.rewrite import INDICES, TRAINING
from nbcnn.layers.context import Context, current, is_active
from nbcnn.layers.structure import flatten, map_structure
from nbcnn.layers.variable import Variable
from nbcnn.models.slopes import slopes_of
from nbcnn.models.traced_call import TracedCall, is_data, key_of
from nbcnn.ops.elementwise import Unary
from nbcnn.ops.op import apply_symbolic, as_tensor, is_tracing
from nbcnn.ops.tensor import Tensor

CAPACITY = 16  # plans kept for each function


def value_and_grad(
    function: Callable[..., Any],
    variables: int | Sequence[Variable | int],
    has_aux: bool = False,
) -> Callable[..., Any]:
    """A function that returns what `function` does, and its gradients with respect to variables, or
    to its own arguments.

    In `train_step` it becomes part of the step. On arrays it is traced once for each set of shapes,
    and runs as a plan from then on: what `function` reads beside its arguments and variables is
    taken as it is at the first call.

    Parameters
    ----------
    function : returns the loss, made of layers and `nbcnn.ops`; a loss that is no scalar counts as
        its sum.
    variables : what to differentiate by, usually `model.trainable_variables`. A number stands for
        the argument at that place, an array or tensor; a number alone gives a gradient, no list.
        What is returned may be differentiated again, but for normalizations.
    has_aux : whether `function` returns (loss, anything) instead.

    Returns
    -------
    A function of the same arguments that returns (value, gradients): a list in the order of
    `variables`, with None where the loss does not depend on one.

    Raises
    ------
    TypeError
        For variables that are none, and losses or arguments that are no floats.
    NotImplementedError
        For a derivative of a derivative that is not known.

    Examples
    --------
    >>> def loss_of(x, y):
    ...     return keras.losses.mse(y, model(x, training=True))
    >>> loss, gradients = value_and_grad(loss_of, model.trainable_variables)(x, y)
    """
    if not callable(function):
        raise TypeError(f"value_and_grad: function must be callable, got {function!r}")
    alone = _is_place(variables)
    wanted: list[Any] = [variables] if alone else list(variables)  # type: ignore[arg-type]
    for variable in wanted:
        if not isinstance(variable, Variable) and not _is_place(variable):
            kind = type(variable).__name__
            raise TypeError(
                f"value_and_grad: variables must be Variables or places of arguments, got {kind}"
            )
    kept: OrderedDict[tuple, TracedCall] = OrderedDict()
    calls = itertools.count(1)

    def joint(*args: Any, **kwargs: Any) -> Any:
        value, slopes = _differentiated(function, wanted, has_aux, args, kwargs)
        return value, slopes[0] if alone else slopes

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


def _is_place(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _differentiated(
    function: Callable[..., Any], wanted: list[Any], has_aux: bool, args: Any, kwargs: Any
) -> Any:
    """Value and gradients as tensors of the current tracing."""
    args, places = list(args), [each for each in wanted if _is_place(each)]
    for place in places:
        args[place] = _argument(args, place)
    variables = [each for each in wanted if not _is_place(each)]
    before, updates = {id(v): v.symbol for v in variables}, current().updates
    earlier = len(updates)
    found = function(*args, **kwargs)
    loss, aux = found if has_aux else (found, None)
    loss = as_tensor(loss)
    if np.dtype(loss.dtype).kind != "f":
        raise TypeError(f"value_and_grad: the loss must be of a float type, got {loss.dtype}")
    # Rewrites come before gradients, as in any training step; what is returned is of the new graph.
    inner = [t for t in flatten(aux) if isinstance(t, Tensor)]
    graph = Graph([loss, *inner, *(args[place] for place in places)], updates[earlier:])
    for rules in (RESHAPES_BEHIND, TRAINING, INDICES):
        graph = rewrite(graph, rules)
    updates[earlier:] = graph.effects
    new = iter(graph.outputs)
    loss = next(new)
    aux = map_structure(lambda t: next(new) if isinstance(t, Tensor) else t, aux)
    current().differentiated = True
    by_variable = iter(slopes_of(loss, variables, current(), before))
    by_place = iter(gradients(loss, list(new)))
    slopes = [next(by_place if _is_place(each) else by_variable) for each in wanted]
    return ((loss, aux) if has_aux else loss), slopes


def _argument(args: list, place: int) -> Tensor:
    """The argument at a place as a tensor of its own, which nothing else reads."""
    if not -len(args) <= place < len(args):
        raise TypeError(f"value_and_grad: there is no argument {place}, {len(args)} were given")
    tensor = as_tensor(args[place])
    if np.dtype(tensor.dtype).kind != "f":
        raise TypeError(
            f"value_and_grad: argument {place} must be of a float type, got {tensor.dtype}"
        )
    return apply_symbolic(Unary("identity"), [tensor])
