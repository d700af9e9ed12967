"""Nested lists, tuples and dictionaries, with Keras's names.

Common parameters
-----------------
structure : a value, or values in lists, tuples and dictionaries, nested at will.
flat_sequence : the values in the order of `flatten`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from nbcnn.layers import structure as own
from nbcnn.layers.structure import flatten

__all__ = ["flatten", "is_nested", "map_structure", "pack_sequence_as"]


def is_nested(structure: Any) -> bool:
    """Whether `structure` is a list, tuple or dictionary."""
    return isinstance(structure, (list, tuple, dict))


def map_structure(func: Callable[..., Any], *structures: Any) -> Any:
    """The first structure's nesting with `func` of the leaves, one of each structure.

    Raises ValueError where these have different numbers of leaves.
    """
    if not structures:
        raise ValueError("map_structure: at least one structure must be given")
    leaves = [flatten(structure) for structure in structures]
    if len({len(each) for each in leaves}) != 1:
        counts = ", ".join(str(len(each)) for each in leaves)
        raise ValueError(f"map_structure: structures must have equally many leaves, got {counts}")
    return pack_sequence_as(structures[0], [func(*each) for each in zip(*leaves)])


def pack_sequence_as(structure: Any, flat_sequence: Sequence[Any]) -> Any:
    """The values of `flat_sequence` nested as `structure`.

    Raises ValueError where there are not as many as leaves.
    """
    count = len(flatten(structure))
    if len(flat_sequence) != count:
        raise ValueError(f"pack_sequence_as: {count} values are needed, got {len(flat_sequence)}")
    values = iter(flat_sequence)
    return own.map_structure(lambda _: next(values), structure)
