"""What a model takes or gives: names, shapes and nesting of its arrays."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nbcnn.layers.base import flatten, map_structure
from nbcnn.layers.structure import map_structure_shapes, ordered_keys


class Slot(NamedTuple):
    """One array of a model: its name, its shape with None for the batch, and its data type."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


class Signature:
    """The arrays of a model in order, and how they are nested.

    template : a nesting of lists, tuples and dicts with one leaf for each slot.
    example : shapes that occur; by default those of the slots.
    """

    def __init__(
        self, template: Any, slots: Sequence[Slot], example: Sequence[tuple] | None = None
    ) -> None:
        self.slots = list(slots)
        self.example = [slot.shape for slot in self.slots] if example is None else list(example)
        positions = iter(range(len(self.slots)))
        self.template = map_structure(lambda _: next(positions), template)

    @property
    def names(self) -> list[str]:
        return [slot.name for slot in self.slots]

    @property
    def paths(self) -> list[str]:
        """By slot, the keys that lead to it in nested dictionaries, as `outer/inner`; in a list, or
        where it is the only one, its name is the last of them.
        """
        found = _leaf_paths(self.template)
        return ["/".join(map(str, _ended(found[i], slot))) for i, slot in enumerate(self.slots)]

    def pack(self, values: Sequence[Any]) -> Any:
        """Values in order, nested as the template."""
        return map_structure(lambda position: values[position], self.template)

    def arrange(self, value: Any, what: str) -> list[Any]:
        """The parts of `value` in order; None for parts that are not given.

        `value` may be a single array where there is one slot, a list in order, a dictionary by
        name, or nested as the template. Raises ValueError naming `what` for anything else.
        """
        if value is None:
            return [None] * len(self.slots)
        value = self.listed(value)
        if isinstance(value, Mapping):
            return self._by_name(value, what)
        if is_several(value):
            leaves = list(value) if len(value) == len(self.slots) else flatten(value)
            if len(leaves) != len(self.slots):
                raise ValueError(
                    f"{what}: expected {self._describe()}, got a list of {len(leaves)} arrays"
                )
            return leaves
        if len(self.slots) != 1:
            raise ValueError(f"{what}: expected {self._describe()}, got one {kind_of(value)}")
        return [value]

    def listed(self, value: Any) -> Any:
        """The parts of a value that is nested as the template, more than one deep, as a list in
        order; any other value as it is.
        """
        inner = self.template.values() if isinstance(self.template, Mapping) else self.template
        deep = isinstance(self.template, (Mapping, list, tuple)) and any(
            isinstance(part, (Mapping, list, tuple)) for part in inner
        )
        parts = _parts(self.template, value) if deep else None
        return value if parts is None else parts

    def _by_name(self, value: Mapping, what: str) -> list[Any]:
        keys = self.names
        if isinstance(self.template, Mapping) and len(flatten(self.template)) == len(self.template):
            if set(value) & set(self.template):
                keys = ordered_keys(self.template)
        if not set(value) & set(keys):
            raise ValueError(f"{what}: expected the names {keys}, got {list(value)}")
        return [value.get(key) for key in keys]

    def _describe(self) -> str:
        count = len(self.slots)
        return "one array" if count == 1 else f"{count} arrays ({', '.join(self.names)})"


def _leaf_paths(template: Any, outer: tuple[Any, ...] = ()) -> dict[int, tuple[Any, ...]]:
    """Keys and indices that lead to each position of a template."""
    if isinstance(template, Mapping):
        pairs = list(template.items())
    elif isinstance(template, (list, tuple)):
        pairs = list(enumerate(template))
    else:
        return {template: outer}
    return {k: path for key, part in pairs for k, path in _leaf_paths(part, (*outer, key)).items()}


def _ended(path: tuple[Any, ...], slot: Slot) -> tuple[Any, ...]:
    """A path whose last part, where it is an index or missing, is the slot's name."""
    return path if path and not isinstance(path[-1], int) else (*path[:-1], slot.name)


def _parts(template: Any, value: Any) -> list[Any] | None:
    """The parts of a value that is nested as the template, in order; None where it is not."""
    if isinstance(template, Mapping):
        if not isinstance(value, Mapping) or set(value) != set(template):
            return None
        pairs = [(template[key], value[key]) for key in template]
    elif isinstance(template, (list, tuple)):
        if not isinstance(value, (list, tuple)) or len(value) != len(template):
            return None
        pairs = list(zip(template, value))
    else:
        return [value]
    found: list[Any] = []
    for inner, part in pairs:
        parts = _parts(inner, part)
        if parts is None:
            return None
        found += parts
    return found


def is_several(value: Any) -> bool:
    """Whether a list holds arrays, in contrast to being data itself, as [[1, 2], [3, 4]]."""
    if not isinstance(value, (list, tuple)):
        return False
    return any(
        x is None or isinstance(x, Mapping) or len(getattr(x, "shape", ())) > 0 or is_several(x)
        for x in value
    )


def kind_of(value: Any) -> str:
    shape = getattr(value, "shape", None)
    name = type(value).__name__
    return name if shape is None else f"{name} of shape {tuple(shape)}"


def signature_of_data(value: Any, dtype: str) -> Signature:
    """The signature that arrays given to a model without one imply; sizes stay open, axes do
    not.
    """
    keys = ordered_keys(value) if isinstance(value, Mapping) else None
    several = keys is not None or is_several(value)
    leaves = flatten(value) if several else [value]
    names = keys if keys is not None and len(keys) == len(leaves) else None
    shapes = [np.shape(leaf) for leaf in leaves]
    slots = [
        Slot(names[i] if names else f"input_{i + 1}", (None,) * len(shape), dtype)
        for i, shape in enumerate(shapes)
    ]
    return Signature(value if several else 0, slots, [(None, *shape[1:]) for shape in shapes])


def signature_of_shapes(shapes: Any, dtype: str) -> Signature:
    """The signature that shapes, (None, ...) or a nesting of them, imply of a model that was built
    for them.
    """
    found: list[tuple] = []

    def numbered(shape: tuple) -> int:
        found.append(shape)
        return len(found) - 1

    template = map_structure_shapes(numbered, shapes)
    keys = ordered_keys(shapes) if isinstance(shapes, Mapping) else []
    names = keys if len(keys) == len(found) else [f"input_{i + 1}" for i in range(len(found))]
    slots = [Slot(name, (None,) * len(shape), dtype) for name, shape in zip(names, found)]
    return Signature(template, slots, [(None, *shape[1:]) for shape in found])


def fits(shape: Sequence[int], expected: Sequence[int | None]) -> bool:
    """Whether an array's shape agrees with an expected one, where None stands for any size."""
    return len(shape) == len(expected) and all(
        want is None or have == want for have, want in zip(shape, expected)
    )
