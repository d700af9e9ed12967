"""Names for kernels that stay the same from process to process.

A kernel's source is known: the cache of compiled kernels is kept for one version of all sources.
What is left to tell is which of a factory's kernels it is, and that is in what it closes over:
numbers, names, types, and functions that close over such things again.
"""

import hashlib
import sys
from collections.abc import Callable
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np


def identity(function: Callable, constants: tuple = ()) -> str:
    """The name of a kernel.

    Raises TypeError where it closes over something that has no lasting name.
    """
    digest = hashlib.sha256(f"{_function(function)}{_described(constants)}".encode())
    return f"{function.__module__}.{function.__qualname__}#{digest.hexdigest()[:24]}"


def _described(value: Any) -> str:
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        return f"{type(value).__name__}:{value!r}"
    if isinstance(value, (np.generic, np.dtype)):
        return f"{type(value).__name__}:{value!r}"
    if isinstance(value, (tuple, list)):
        return f"{type(value).__qualname__}({','.join(map(_described, value))})"
    if isinstance(value, (frozenset, set)):
        return f"set({','.join(sorted(map(_described, value)))})"
    if isinstance(value, (type, BuiltinFunctionType)):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, CodeType):
        return _code(value)
    if isinstance(value, FunctionType):
        return _function(value)
    return _compiler_object(value)


def _compiler_object(value: Any) -> str:
    """Numba's own: dispatchers by their functions, intrinsics by name, types by their text."""
    if hasattr(value, "py_func"):
        return _function(value.py_func)
    if hasattr(value, "_defn"):
        return f"intrinsic {value._defn.__module__}.{value._defn.__qualname__}"
    if type(value).__module__.startswith("numba.") and hasattr(value, "mangling_args"):
        return f"type {value}"
    raise TypeError(
        f"a kernel is closed over {value!r}, which has no name that lasts: kernels may close over "
        "numbers, text, tuples, types, and functions that do likewise"
    )


def _function(function: Any) -> str:
    parts = [f"{function.__module__}.{function.__qualname__}", _code(function.__code__)]
    parts += [_described(cell.cell_contents) for cell in function.__closure__ or ()]
    known = vars(sys.modules.get(function.__module__)) if function.__module__ else {}
    for name in function.__code__.co_names:  # a scope of its own, as formulas of `scalar` get
        value = function.__globals__.get(name)
        if value is not known.get(name):
            parts.append(f"{name}={_described(value)}")
    return f"<{' '.join(parts)}>"


def _code(code: CodeType) -> str:
    text = hashlib.sha256(code.co_code).hexdigest()[:16]
    return f"{code.co_name}@{code.co_firstlineno}:{text}{_described(code.co_consts)}"
