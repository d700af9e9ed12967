"""What layers need while a graph is traced: training or not, random streams, updates, losses."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nbcnn.ops.op import as_tensor, tracing
from nbcnn.ops.optimizer import Assign
from nbcnn.ops.tensor import Node, Tensor

_local = threading.local()


class Context:
    """One tracing of a model or layer.

    training: what layers get for `training=None`; None leaves it to each. updates: assignments to
    variables, in order. losses: scalars that layers added. `seed` is the int64 pair (model's seed,
    step) that random layers draw from.
    """

    def __init__(self, training: bool | None = False):
        self.training = training
        self.updates: list[Node] = []
        self.losses: list[Tensor] = []
        self.seed = Tensor((2,), "int64", name="seed")
        self._streams = 0

    def next_stream(self) -> int:
        """A number for the next random layer; equal tracings count alike."""
        self._streams += 1
        return self._streams

    def assign(self, variable: Any, value: Any) -> None:
        tensor = as_tensor(value, variable.symbol)
        if tensor.shape != variable.shape:
            raise ValueError(
                f"{variable.path}: cannot assign shape {tensor.shape}, expected {variable.shape}"
            )
        self.updates.append(Node(Assign(), [variable.symbol, tensor]))

    @contextmanager
    def as_training(self, given: bool | None) -> Iterator[bool | None]:
        """What `training` means inside one layer's call: what was given to it, or what it was."""
        before = self.training
        self.training = before if given is None else bool(given)
        try:
            yield self.training
        finally:
            self.training = before

    def __enter__(self) -> "Context":
        _stack().append(self)
        tracing().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        tracing().__exit__(*error)
        _stack().pop()


def _stack() -> list[Context]:
    if not hasattr(_local, "stack"):
        _local.stack = []
    return _local.stack


def current() -> Context:
    """The innermost tracing; a throwaway one where a functional model is being put together."""
    return _stack()[-1] if _stack() else Context()


def is_active() -> bool:
    return bool(_stack())
