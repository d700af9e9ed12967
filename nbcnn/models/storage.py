"""Where a model's trained variables live: flat buffers for values, gradients and optimizer state.

Variables of one data type that share their treatment of weight decay form a group. Within a group
all buffers have equal offsets, so the optimizer is one launch per group and a gradient's norm one
reduction.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from nbcnn.layers.variable import Clock, Variable

ALIGNMENT = 64  # bytes; gaps between variables hold zeros, which every update leaves zero


class Group:
    """Variables side by side in one buffer on one device."""

    def __init__(
        self, variables: Sequence[Variable], decays: bool, slots: Iterable[str], device: Any
    ):
        self.variables, self.decays, self.device = list(variables), decays, device
        self.dtype = self.variables[0].dtype
        width = np.dtype(self.dtype).itemsize
        step = ALIGNMENT // width
        self.starts, cursor = [], 0
        for variable in self.variables:
            self.starts.append(cursor)
            cursor += -(-max(variable.size, 1) // step) * step
        self.size = cursor
        self.values = self._zeros()
        self.gradients = self._zeros()
        self.slots = {name: self._zeros() for name in slots}
        for variable, start in zip(self.variables, self.starts):
            values = variable.numpy()
            view = self.view(self.values, start, variable.shape)
            device.upload(view, values)
            variable.move(view, device)

    def _zeros(self) -> Any:
        array = self.device.view(
            self.device.empty(self.size * np.dtype(self.dtype).itemsize),
            0,
            (self.size,),
            self.dtype,
        )
        self.device.upload(array, np.zeros(self.size, self.dtype))
        return array

    def view(self, flat: Any, start: int, shape: tuple[int, ...]) -> Any:
        size = int(np.prod(shape, dtype=np.int64))
        return flat[start : start + size].reshape(shape)

    def bounds(self) -> np.ndarray:
        """Where each variable starts, and the end: int64."""
        return np.array([*self.starts, self.size], dtype=np.int64)

    @property
    def nbytes(self) -> int:
        return self.size * np.dtype(self.dtype).itemsize * (2 + len(self.slots))


class Store:
    """The groups of one compiled model, on one device."""

    def __init__(self, variables: Sequence[Variable], optimizer: Any, device: Any):
        self.device, self.optimizer = device, optimizer
        self.variables = list(variables)
        self.groups: list[Group] = []
        kinds: dict[tuple[str, bool], list[Variable]] = {}
        for variable in self.variables:
            kinds.setdefault((variable.dtype, optimizer.decays(variable)), []).append(variable)
        for (_, decays), members in kinds.items():
            self.groups.append(Group(members, decays, optimizer.slots, device))
        self._views = {id(v): v.array for v in self.variables}

    def serves(self, variables: Sequence[Variable], optimizer: Any) -> bool:
        """Whether this is the store of just these variables and this optimizer."""
        same = [id(v) for v in self.variables] == [id(v) for v in variables]
        return same and self.optimizer is optimizer

    def intact(self) -> bool:
        """Whether all variables are still where this store put them."""
        return all(v.array is self._views[id(v)] for v in self.variables)

    def slot_values(self) -> dict[str, list[np.ndarray]]:
        """Host copies of the optimizer's state, by slot, in the order of `variables`."""
        found: dict[str, dict[int, np.ndarray]] = {}
        for group in self.groups:
            for name, flat in group.slots.items():
                for variable, start in zip(group.variables, group.starts):
                    host = self.device.download(group.view(flat, start, variable.shape))
                    found.setdefault(name, {})[id(variable)] = host
        return {name: [arrays[id(v)] for v in self.variables] for name, arrays in found.items()}

    def set_slot_values(self, values: dict[str, list[np.ndarray]]) -> None:
        """Continue from `slot_values` of an equal store; checked as a whole before anything
        changes.
        """
        names = {name for group in self.groups for name in group.slots}
        if set(values) != names:
            raise ValueError(
                f"optimizer state: expected slots {sorted(names)}, got {sorted(values)}"
            )
        for name, arrays in values.items():
            shapes = [np.shape(a) for a in arrays]
            if shapes != [v.shape for v in self.variables]:
                raise ValueError(
                    f"optimizer state: slot {name!r} does not fit this model's weights"
                )
        order = {id(v): i for i, v in enumerate(self.variables)}
        for group in self.groups:
            for name, flat in group.slots.items():
                for variable, start in zip(group.variables, group.starts):
                    source = np.asarray(values[name][order[id(variable)]], dtype=group.dtype)
                    self.device.upload(group.view(flat, start, variable.shape), source)

    @property
    def nbytes(self) -> int:
        return sum(group.nbytes for group in self.groups)


def renewed(
    store: Store | None, variables: Sequence[Variable], optimizer: Any, device: Any
) -> Store:
    """`store` if it still fits; otherwise a new one that continues its optimizer state."""
    state = None
    if store is not None and store.serves(variables, optimizer):
        if store.device.name == device.name and store.intact():
            return store
        state = store.slot_values()
    fresh = Store(variables, optimizer, device)
    if state is not None:
        fresh.set_slot_values(state)
    Clock.places += 1
    return fresh
