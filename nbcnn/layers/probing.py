"""Shapes of outputs where sizes of inputs are not known yet.

What layers and functions of one's own compute from a size (`2 * ops.shape(x)[1]`) needs a number.
So what does not do without is traced with two numbers in each place: sizes of outputs that differ
depend on what is not known. When a model runs, it is traced with the sizes of its data.
"""

from collections.abc import Callable
from typing import Any

from nbcnn.layers.context import Context
from nbcnn.layers.structure import flatten, map_structure
from nbcnn.ops.tensor import Tensor

# Two stand-ins, of the batch and of other axes: with many divisors, as halving and reshaping want
# them, and so small that arrays made of these sizes fit into memory.
BATCHES = (12, 24)
SIZES = (120, 240)


def outputs_of(function: Callable[[Any], Any], inputs: Any) -> Any:
    """What a function makes of nested symbolic tensors, traced in a context of its own."""
    try:
        with Context():
            return function(inputs)
    except (AttributeError, TypeError, ValueError) as error:
        # No number where one is needed, or really an error, which comes again.
        tensors = [t for t in flatten(inputs) if isinstance(t, Tensor)]
        if not any(None in t.shape for t in tensors):
            raise
        first = error
    try:
        return _probed(function, inputs)
    except Exception:
        if isinstance(first, ValueError):  # it has the user's shapes
            raise first from None
        raise  # the first may be but about None


def _probed(function: Callable[[Any], Any], inputs: Any) -> Any:
    """Tensors of the outputs' shapes and types."""
    probes = []
    for batch, size in zip(BATCHES, SIZES):
        with Context():
            probes.append(function(map_structure(_sized(batch, size), inputs)))
    others = iter(flatten(probes[1]))
    return map_structure(lambda one: _common(one, next(others)), probes[0])


def _sized(batch: int, size: int) -> Callable[[Any], Any]:
    def replaced(value: Any) -> Any:
        if not isinstance(value, Tensor) or None not in value.shape:
            return value
        sizes = (batch, *(size for _ in value.shape[1:]))
        shape = (known if n is None else n for n, known in zip(value.shape, sizes))
        return Tensor(tuple(shape), value.dtype, name=value.name)

    return replaced


def _common(one: Any, other: Any) -> Any:
    if not isinstance(one, Tensor):
        return one
    shape = tuple(a if a == b else None for a, b in zip(one.shape, other.shape))
    return Tensor(shape, one.dtype)
