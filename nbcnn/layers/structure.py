"""Nested lists, tuples and dictionaries of tensors or shapes.

The leaves of a dictionary count in the order of its sorted keys, as in Keras: the order of weights,
and so of files, depends on it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def flatten(structure: Any) -> list[Any]:
    """The leaves of nested lists, tuples and dicts."""
    if isinstance(structure, (list, tuple)) and not hasattr(structure, "_fields"):
        return [leaf for item in structure for leaf in flatten(item)]
    if isinstance(structure, dict):
        return [leaf for key in ordered_keys(structure) for leaf in flatten(structure[key])]
    return [structure]


def ordered_keys(structure: Mapping) -> list[Any]:
    """The keys, sorted where they can be."""
    try:
        return sorted(structure)
    except TypeError:
        return list(structure)


def map_structure(function: Callable[[Any], Any], structure: Any) -> Any:
    """The same nesting with `function` applied to every leaf."""
    if isinstance(structure, (list, tuple)):
        return type(structure)(map_structure(function, item) for item in structure)
    if isinstance(structure, dict):
        made = {key: map_structure(function, structure[key]) for key in ordered_keys(structure)}
        return {key: made[key] for key in structure}
    return function(structure)


def is_shape(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(
        n is None or isinstance(n, (int, np.integer)) for n in value
    )


def map_structure_shapes(function: Callable[[tuple], Any], structure: Any) -> Any:
    """As `map_structure`, where the leaves are shapes."""
    if is_shape(structure):
        return function(tuple(structure))
    if isinstance(structure, dict):
        keys = ordered_keys(structure)
        made = {key: map_structure_shapes(function, structure[key]) for key in keys}
        return {key: made[key] for key in structure}
    if isinstance(structure, (list, tuple)):
        return [map_structure_shapes(function, item) for item in structure]
    return function(structure)
