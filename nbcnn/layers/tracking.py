"""What a layer finds in its attributes: variables, layers and metrics, also in lists and
dictionaries, and also where these are filled later.
"""

from collections.abc import Iterable
from typing import Any

from nbcnn.layers.layer_state import LayerState, is_metric
from nbcnn.layers.variable import Variable


class Tracking(LayerState):
    """The part of `Layer` that keeps track."""

    _sublayers: list[Any]

    def _tracked(self, value: Any) -> Any:
        """The value of an attribute, which is looked through; lists and dictionaries as ones that
        tell what is put into them.
        """
        if type(value) is list:
            return TrackedList(value, self)
        if type(value) is dict:
            return TrackedDict(value, self)
        self._keep_track(value)
        return value

    def _keep_track(self, value: Any) -> None:
        if isinstance(value, (list, tuple)):
            for item in value:
                self._keep_track(item)
        elif isinstance(value, dict):
            for item in value.values():
                self._keep_track(item)
        else:
            known = self._store_for(value)
            if known is not None and not any(each is value for each in known):
                known.append(value)

    def _untrack(self, value: Any) -> None:
        """What was taken out of a list or dictionary is no longer part of this layer."""
        if isinstance(value, (list, tuple)):
            for item in value:
                self._untrack(item)
        elif isinstance(value, dict):
            for item in value.values():
                self._untrack(item)
        else:
            known = self._store_for(value)
            if known is not None:
                known[:] = [each for each in known if each is not value]

    def _store_for(self, value: Any) -> list[Any] | None:
        """Where such a value is listed; None for what is not kept track of."""
        if isinstance(value, Variable):
            return self._variables
        if isinstance(value, Tracking):
            return self._sublayers
        return self._own_metrics if is_metric(value) else None


class TrackedList(list):
    """A list that is an attribute of `owner`, or inside one; copies are plain lists."""

    def __init__(self, values: Iterable[Any] = (), owner: Tracking | None = None) -> None:
        self.owner = owner
        super().__init__(map(self._taken, values))

    def _taken(self, value: Any) -> Any:
        return value if self.owner is None else self.owner._tracked(value)

    def _dropped(self, values: Iterable[Any]) -> None:
        if self.owner is not None:
            kept = {id(value) for value in self}
            self.owner._untrack([value for value in values if id(value) not in kept])

    def append(self, value: Any) -> None:
        super().append(self._taken(value))

    def insert(self, index: Any, value: Any) -> None:
        super().insert(index, self._taken(value))

    def extend(self, values: Iterable[Any]) -> None:
        super().extend(map(self._taken, values))

    def __iadd__(self, values: Iterable[Any]) -> Any:  # type: ignore[misc]
        self.extend(values)
        return self

    def __setitem__(self, place: Any, value: Any) -> None:
        before = list(self)
        many = isinstance(place, slice)
        super().__setitem__(place, [*map(self._taken, value)] if many else self._taken(value))
        self._dropped(before)

    def __delitem__(self, place: Any) -> None:
        before = list(self)
        super().__delitem__(place)
        self._dropped(before)

    def pop(self, index: Any = -1) -> Any:
        value = super().pop(index)
        self._dropped([value])
        return value

    def remove(self, value: Any) -> None:
        del self[self.index(value)]

    def clear(self) -> None:
        del self[:]

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return list, (list(self),)


class TrackedDict(dict):
    """A dictionary, likewise."""

    def __init__(self, values: Any = (), owner: Tracking | None = None) -> None:
        self.owner = owner
        super().__init__()
        self.update(values)

    def _dropped(self, value: Any) -> None:
        if self.owner is not None and not any(each is value for each in self.values()):
            self.owner._untrack(value)

    def __setitem__(self, key: Any, value: Any) -> None:
        before = self.get(key)
        super().__setitem__(key, value if self.owner is None else self.owner._tracked(value))
        self._dropped(before)

    def __delitem__(self, key: Any) -> None:
        value = self[key]
        super().__delitem__(key)
        self._dropped(value)

    def update(self, *values: Any, **named: Any) -> None:
        for key, value in dict(*values, **named).items():
            self[key] = value

    def __ior__(self, values: Any) -> Any:  # type: ignore[misc]
        self.update(values)
        return self

    def setdefault(self, key: Any, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, key: Any, *default: Any) -> Any:
        if key not in self:
            return super().pop(key, *default)
        value = self[key]
        del self[key]
        return value

    def popitem(self) -> Any:
        key = next(reversed(self))
        return key, self.pop(key)

    def clear(self) -> None:
        for key in list(self):
            del self[key]

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return dict, (dict(self),)
