"""Gradients by variables, which may be written while a graph is traced."""

from collections.abc import Mapping, Sequence
from typing import Any

from nbcnn import ops
from nbcnn.graph.autodiff import gradients
from nbcnn.layers.context import Context
from nbcnn.ops.op import tracing
from nbcnn.ops.tensor import Tensor


def slopes_of(
    loss: Tensor,
    variables: Sequence[Any],
    context: Context,
    since: Mapping[int, Tensor] | None = None,
) -> list[Tensor | None]:
    """d sum(loss) / d v for each variable; None where the loss does not depend on it.

    A variable that was written has several symbols: the gradients by all of them are added up, or
    those from the symbol in `since` (by the variable's id) on.
    """
    symbols: list[list[Tensor]] = []
    for variable in variables:
        stood: list[Tensor] = list(context.symbols_of(variable))
        first = None if since is None else since[id(variable)]
        start = next((i for i, symbol in enumerate(stood) if symbol is first), 0)
        symbols.append(stood[start:])
    parts = iter(gradients(loss, [symbol for group in symbols for symbol in group]))
    found: list[Tensor | None] = []
    for group in symbols:
        there = [g for g in [next(parts) for _ in group] if g is not None]
        total = there[0] if there else None
        with tracing():
            for more in there[1:]:
                total = ops.add(total, more)
        found.append(total)
    return found
