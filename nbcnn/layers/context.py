"""What layers need while a graph is traced: training or not, random streams, updates, losses."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from nbcnn.ops.op import as_tensor, tracing
from nbcnn.ops.optimizer import Assign
from nbcnn.ops.tensor import Node, Tensor, VariableTensor

_local = threading.local()


class Context:
    """One tracing of a model or layer.

    training: what layers get for `training=None`; None leaves it to each. updates: assignments to
    variables, in order. losses: scalars that layers added. `seed` is the int64 pair (model's seed,
    step) that random layers draw from. added: losses, with the layers that added them.
    """

    def __init__(self, training: bool | None = False):
        self.training = training
        self.updates: list[Node] = []
        self.seed = Tensor((2,), "int64", name="seed")
        self.seeded = False  # whether something draws by the step alone, from a seed of its own
        self.differentiated = False  # whether gradients have been taken
        self.calls = 0  # how many layers' calls are open, one inside the other
        self.layers: list[Any] = []  # that were called
        self.added: list[tuple[Any, Tensor]] = []
        self._streams = 0
        self._symbols: dict[int, tuple[Any, list[VariableTensor]]] = {}  # of variables written

    def next_stream(self) -> int:
        """A number for the next random layer; equal tracings count alike."""
        self._streams += 1
        return self._streams

    def assign(self, variable: Any, value: Any) -> None:
        """The variable has this value from now on.

        What is read later has another symbol, so that nothing takes it for what was read before.
        """
        tensor = as_tensor(value, variable.symbol)
        if tensor.shape != variable.shape:
            raise ValueError(
                f"{variable.path}: cannot assign shape {tensor.shape}, expected {variable.shape}"
            )
        self.updates.append(Node(Assign(), [variable.symbol, tensor]))
        _, symbols = self._symbols.setdefault(id(variable), (variable, [variable.symbol]))
        variable.symbol = VariableTensor(variable)
        symbols.append(variable.symbol)

    def symbols_of(self, variable: Any) -> list[VariableTensor]:
        """All that has stood for the variable's value in this tracing, in order."""
        found = self._symbols.get(id(variable))
        return [variable.symbol] if found is None else list(found[1])

    # -- losses ---------------------------------------------------------------------------------

    @property
    def losses(self) -> list[Tensor]:
        return [loss for _, loss in self.added]

    def add_loss(self, layer: Any, loss: Any) -> None:
        self.added.append((layer, loss))

    def losses_of(self, layers: Iterable[Any]) -> list[Tensor]:
        """Those that these layers added."""
        wanted = {id(layer) for layer in layers}
        return [loss for layer, loss in self.added if id(layer) in wanted]

    def forget_losses(self, layers: Iterable[Any]) -> None:
        """These layers are called anew: what they added in earlier calls counts no more."""
        if self.added:
            gone = {id(layer) for layer in layers}
            self.added = [entry for entry in self.added if id(entry[0]) not in gone]

    @contextmanager
    def as_training(self, given: bool | None) -> Iterator[bool | None]:
        """What `training` means inside one layer's call: what was given to it, or what it was."""
        before = self.training
        self.training = before if given is None else bool(given)
        self.calls += 1
        try:
            yield self.training
        finally:
            self.training = before
            self.calls -= 1

    def __enter__(self) -> "Context":
        _stack().append(self)
        tracing().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        tracing().__exit__(*error)
        _stack().pop()
        for variable, symbols in self._symbols.values():
            variable.symbol = symbols[0]


def _stack() -> list[Context]:
    if not hasattr(_local, "stack"):
        _local.stack = []
    return _local.stack


def current() -> Context:
    """The innermost tracing; a throwaway one where a functional model is being put together."""
    return _stack()[-1] if _stack() else Context()


def is_active() -> bool:
    return bool(_stack())
