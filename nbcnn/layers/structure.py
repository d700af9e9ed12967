"""Nested lists, tuples and dictionaries of tensors or shapes."""

from collections.abc import Callable
from typing import Any

import numpy as np


def flatten(structure: Any) -> list[Any]:
    """The leaves of nested lists, tuples and dicts (in order of insertion)."""
    if isinstance(structure, (list, tuple)) and not hasattr(structure, "_fields"):
        return [leaf for item in structure for leaf in flatten(item)]
    if isinstance(structure, dict):
        return [leaf for item in structure.values() for leaf in flatten(item)]
    return [structure]


def map_structure(function: Callable[[Any], Any], structure: Any) -> Any:
    """The same nesting with `function` applied to every leaf."""
    if isinstance(structure, (list, tuple)):
        return type(structure)(map_structure(function, item) for item in structure)
    if isinstance(structure, dict):
        return {key: map_structure(function, item) for key, item in structure.items()}
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
        return {key: map_structure_shapes(function, item) for key, item in structure.items()}
    if isinstance(structure, (list, tuple)):
        return [map_structure_shapes(function, item) for item in structure]
    return function(structure)
