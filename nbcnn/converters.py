"""Converters of arguments that stay as they are given: they refuse what is none of the kind."""

from collections.abc import Callable
from typing import Any

import numpy as np

from nbcnn.declare import KINDS, Expected


def axes(value: Any) -> Any:
    """A converter of an axis, or of several, which stay as they are given."""
    several = value if isinstance(value, (list, tuple)) else [value]
    if not several or not all(KINDS["int"](axis) for axis in several):
        raise Expected("must be an axis or a list of them")
    return value


def numbers_of(value: Any) -> Any:
    """A converter of a number or numbers, nested or in an array, which stay as they are given."""
    try:
        kind = np.asarray(value).dtype.kind
    except ValueError:  # lists of several lengths
        kind = "O"
    if kind not in "fiu" or not np.size(value):
        raise Expected("must be a number or a list of them")
    return value


def function(value: Any) -> Any:
    """A converter of a function, which stays as it is given."""
    if not callable(value):
        raise Expected("must be a function")
    return value


def optional(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The converter, but for None, which stays."""
    return lambda value: None if value is None else convert(value)
