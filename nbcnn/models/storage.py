"""Where a model's trained variables live: flat buffers for values, gradients and optimizer state.

Variables of one data type that share their treatment of weight decay form a group. Within a group
all buffers have equal offsets, so the optimizer is one launch per group and a gradient's norm one
reduction.
"""

import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nbcnn.layers.variable import Clock, Variable
from nbcnn.optimizer_base import AVERAGE

ALIGNMENT = 64  # bytes; gaps between variables hold zeros, which every update leaves zero


def _layout(sizes: Sequence[int], dtype: str) -> tuple[list[int], int]:
    """Where arrays of these sizes start in one buffer, and its size."""
    step = ALIGNMENT // np.dtype(dtype).itemsize
    starts, cursor = [], 0
    for size in sizes:
        starts.append(cursor)
        cursor += -(-max(size, 1) // step) * step
    return starts, cursor


def _numbers(device: Any, size: int, dtype: str, value: float = 0.0) -> Any:
    """A new flat array on a device, filled with a number."""
    array = device.view(device.empty(size * np.dtype(dtype).itemsize), 0, (size,), dtype)
    device.upload(array, np.full(size, value, dtype))
    return array


def view(flat: Any, start: int, shape: tuple[int, ...]) -> Any:
    """The array of this shape that starts there in a flat one."""
    size = int(np.prod(shape, dtype=np.int64))
    return flat[start : start + size].reshape(shape)


class Slot:
    """One state of an optimizer for the variables of a group, side by side."""

    def __init__(self, name: str, group: "Group") -> None:
        optimizer, dtype = group.part.optimizer, group.dtype
        self.shapes = [optimizer.slot_shape(name, v.shape) for v in group.variables]
        sizes = [int(np.prod(shape, dtype=np.int64)) for shape in self.shapes]
        self.starts, self.size = _layout(sizes, dtype)
        start = None if name == AVERAGE else optimizer.slot_start(name)
        self.values = _numbers(group.device, self.size, dtype, start or 0.0)
        self.views = [view(self.values, *where) for where in zip(self.starts, self.shapes)]
        if start is None:
            for variable, part in zip(group.variables, self.views):
                group.device.upload(part, variable.numpy())


class Group:
    """Variables side by side in one buffer on one device, all of them updated alike.

    home : where they lie so already, in another store's buffer, which then is shared.
    """

    def __init__(
        self, variables: Sequence[Variable], part: Any, device: Any, home: "Home | None" = None
    ) -> None:
        self.variables, self.part, self.device = list(variables), part, device
        self.dtype = self.variables[0].dtype
        self.starts, self.size = _layout([v.size for v in self.variables], self.dtype)
        self.gradients: Any = None  # a stretch of the pool's
        self.values: Any
        if home is not None:
            first = home.group.starts[home.place]
            self.values = home.group.values[first : first + self.size]
        else:
            self.values = _numbers(device, self.size, self.dtype)
        self.slots = {name: Slot(name, self) for name in part.slots}
        if home is None:
            self._move()

    def _move(self) -> None:
        """The variables come here."""
        self.places: list[Any] = []
        for number, (variable, start) in enumerate(zip(self.variables, self.starts)):
            values = variable.numpy()
            place = view(self.values, start, variable.shape)
            self.device.upload(place, values)
            variable.move(place, self.device)
            self.places.append(place)
            variable.home = weakref.ref(self), number

    def segments(self) -> np.ndarray:
        """Where each variable starts and stops: int64 (variables, 2)."""
        stops = [start + v.size for start, v in zip(self.starts, self.variables)]
        return np.array([self.starts, stops], dtype=np.int64).T.copy()

    @property
    def nbytes(self) -> int:
        slots = sum(slot.size for slot in self.slots.values())
        return (2 * self.size + slots) * np.dtype(self.dtype).itemsize


class Home(NamedTuple):
    """A place among the variables of a group."""

    group: Group
    place: int


def _home(variable: Variable, device: Any, but: Sequence[Group]) -> Home | None:
    """Where a variable lies in a store that is in use, on this device; groups of `but` are not."""
    known, place = variable.home or (None, 0)
    group = None if known is None else known()
    if group is None or group.device.name != device.name or any(group is g for g in but):
        return None
    return Home(group, place) if variable.array is group.places[place] else None


def _stretches(
    variables: Sequence[Variable], device: Any, but: Sequence[Group]
) -> list[tuple[Home | None, list[Variable]]]:
    """The variables in their order, cut where those that lie side by side in another store begin
    and end: models that share layers and are trained in turn then leave them where they are.
    """
    found: list[tuple[Home | None, list[Variable]]] = []
    for variable in variables:
        home = _home(variable, device, but)
        first, members = found[-1] if found else (None, [])
        after = None if first is None else Home(first.group, first.place + len(members))
        if members and home == after:
            members.append(variable)
        else:
            found.append((home, [variable]))
    return found


class Pool:
    """Groups of one type whose gradients one optimizer clips together: these lie in one buffer."""

    def __init__(self, optimizer: Any, groups: Sequence[Group], device: Any) -> None:
        self.optimizer, self.groups, self.device = optimizer, list(groups), device
        self.dtype, self.size = groups[0].dtype, sum(group.size for group in groups)
        self.gradients = _numbers(device, self.size, self.dtype)
        start = 0
        for group in groups:
            group.gradients = self.gradients[start : start + group.size]
            start += group.size

    def bounds(self) -> np.ndarray:
        """Where each variable starts, and the end: int64."""
        found, first = [], 0
        for group in self.groups:
            found += [first + start for start in group.starts]
            first += group.size
        return np.array([*found, self.size], dtype=np.int64)


def pools_of(groups: Sequence[Group], device: Any) -> list[Pool]:
    """The groups, pooled by type and optimizer."""
    together: dict[tuple[str, int], list[Group]] = {}
    for group in groups:
        together.setdefault((group.dtype, id(group.part.optimizer)), []).append(group)
    return [Pool(members[0].part.optimizer, members, device) for members in together.values()]


class Store:
    """The groups of one compiled model, on one device.

    replaced : the store that this one comes after, whose places are given up.
    """

    def __init__(
        self,
        variables: Sequence[Variable],
        optimizer: Any,
        device: Any,
        replaced: "Store | None" = None,
    ) -> None:
        self.device, self.optimizer = device, optimizer
        self.variables = list(variables)
        kinds: dict[tuple[str, Any, Any], list[Variable]] = {}
        for variable in self.variables:
            kind = (variable.dtype, optimizer.part(variable), optimizer.partition(variable))
            kinds.setdefault(kind, []).append(variable)
        self.partition = [optimizer.partition(v) for v in self.variables]
        but = [] if replaced is None else replaced.groups
        self.groups: list[Group] = [
            Group(stretch, part, device, home)
            for (_, part, _), members in kinds.items()
            for home, stretch in _stretches(members, device, but)
        ]
        self.pools = pools_of(self.groups, device)
        self._views = {id(v): v.array for v in self.variables}
        for each in (optimizer, *self.optimizers):
            each.store = weakref.ref(self)

    @property
    def optimizers(self) -> list[Any]:
        """Those that update weights, each once."""
        return list({id(pool.optimizer): pool.optimizer for pool in self.pools}.values())

    def serves(self, variables: Sequence[Variable], optimizer: Any) -> bool:
        """Whether this is the store of just these variables and this optimizer."""
        same = [id(v) for v in self.variables] == [id(v) for v in variables]
        return same and self.optimizer is optimizer

    def intact(self) -> bool:
        """Whether all variables are still where this store put them, and grouped as it must be."""
        if self.partition != [self.optimizer.partition(v) for v in self.variables]:
            return False
        return all(v.array is self._views[id(v)] for v in self.variables)

    def slot_views(self) -> dict[str, dict[int, Any]]:
        """The optimizer's state on the device, by slot and variable."""
        found: dict[str, dict[int, Any]] = {}
        for group in self.groups:
            for name, slot in group.slots.items():
                views = zip(map(id, group.variables), slot.views)
                found.setdefault(name, {}).update(views)
        return found

    def slot_values(self) -> dict[str, list[np.ndarray | None]]:
        """Host copies of the optimizer's state, by slot, in the order of `variables`; None for
        those that have none of it.
        """
        values: dict[str, list[np.ndarray | None]] = {}
        for name, views in self.slot_views().items():
            found = (views.get(id(v)) for v in self.variables)
            values[name] = [None if a is None else self.device.download(a) for a in found]
        return values

    def slot_shapes(self) -> dict[str, list[tuple[int, ...] | None]]:
        """The shapes of `slot_values`."""
        shapes: dict[str, list[tuple[int, ...] | None]] = {}
        for name, views in self.slot_views().items():
            found = (views.get(id(v)) for v in self.variables)
            shapes[name] = [None if a is None else tuple(a.shape) for a in found]
        return shapes

    def set_slot_values(self, values: Mapping[str, Sequence[np.ndarray | None]]) -> None:
        """Continue from `slot_values` of an equal store; checked as a whole before anything
        changes.
        """
        shapes = self.slot_shapes()
        if set(values) != set(shapes):
            raise ValueError(
                f"optimizer state: expected slots {sorted(shapes)}, got {sorted(values)}"
            )
        for name, arrays in values.items():
            if [None if a is None else np.shape(a) for a in arrays] != shapes[name]:
                raise ValueError(
                    f"optimizer state: slot {name!r} does not fit this model's weights"
                )
        views = self.slot_views()
        for name, arrays in values.items():
            for variable, array in zip(self.variables, arrays):
                if array is not None:
                    source = np.asarray(array, dtype=variable.dtype)
                    self.device.upload(views[name][id(variable)], source)

    def take_over(self, other: "Store") -> None:
        """Continue the state that another store of the optimizer has for weights of this one."""
        theirs = other.slot_views()
        for name, views in self.slot_views().items():
            for variable, array in theirs.get(name, {}).items():
                if variable in views and tuple(views[variable].shape) == tuple(array.shape):
                    self.device.upload(views[variable], other.device.download(array))

    def averaged(self) -> list[Group]:
        """The groups of optimizers that keep a moving average of their weights."""
        return [group for group in self.groups if AVERAGE in group.slots]

    def take_averages(self, variables: Iterable[Variable]) -> None:
        """Moving averages take the place of these weights."""
        averages = self.slot_views().get(AVERAGE, {})
        for variable in variables:
            if id(variable) in averages:
                variable.assign(self.device.download(averages[id(variable)]))

    def keep_as_averages(self) -> None:
        """The weights take the place of their moving averages."""
        for group in self.averaged():
            self.device.upload(group.slots[AVERAGE].values, self.device.download(group.values))

    def swap_averages(self) -> None:
        """Weights and their moving averages change places."""
        for group in self.averaged():
            average = group.slots[AVERAGE].values
            weights = np.array(self.device.download(group.values))
            self.device.upload(group.values, self.device.download(average))
            self.device.upload(average, weights)
            Clock.values += 1

    @property
    def nbytes(self) -> int:
        return sum(group.nbytes for group in self.groups)


def renewed(
    store: Store | None,
    variables: Sequence[Variable],
    optimizer: Any,
    device: Any,
    replaced: Store | None = None,
) -> Store:
    """`store` if it still fits; otherwise a new one that continues its optimizer's state, for the
    weights that it had. `replaced`: as for `Store`, by default `store`.
    """
    if store is not None and store.serves(variables, optimizer):
        if store.device.name == device.name and store.intact():
            return store
    fresh = Store(variables, optimizer, device, store if replaced is None else replaced)
    if store is not None and store.optimizer is optimizer:
        fresh.take_over(store)
    Clock.places += 1
    return fresh
