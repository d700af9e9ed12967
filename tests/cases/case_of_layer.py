"""One layer with small inputs."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Case(NamedTuple):
    """`make(layers)` gives the layer; `inputs` are shapes with the batch.

    Of a layer that Keras does not have, `reference(*inputs, **weights)` is the output, by NumPy.
    """

    name: str
    make: Callable[[Any], Any]
    inputs: tuple[tuple[int, ...], ...]
    training: bool = False
    integers: bool = False  # inputs are integers 0..255, as pixels are
    reference: Callable[..., Any] | None = None


def case(name: str, make: Callable[[Any], Any], *inputs: tuple[int, ...], **options: Any) -> Case:
    return Case(name, make, inputs, **options)
