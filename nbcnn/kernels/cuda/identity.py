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
    description = Description()
    text = description.function(function) + description.of(constants)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{function.__module__}.{function.__qualname__}#{digest[:24]}"


class Description:
    """Text about values that kernels close over; equal for equal ones, in every process.

    lenient: what has no lasting name is described by its type, not refused.
    """

    def __init__(self, lenient: bool = False):
        self.lenient = lenient
        self._inside: set[int] = set()  # functions that are being described: they may be recursive

    def of(self, value: Any) -> str:
        if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
            return f"{type(value).__name__}:{value!r}"
        if isinstance(value, (np.generic, np.dtype)):
            return f"{type(value).__name__}:{value!r}"
        if isinstance(value, (tuple, list)):
            return f"{type(value).__qualname__}({','.join(map(self.of, value))})"
        if isinstance(value, (frozenset, set)):
            return f"set({','.join(sorted(map(self.of, value)))})"
        if isinstance(value, (type, BuiltinFunctionType)):
            return f"{value.__module__}.{value.__qualname__}"
        if isinstance(value, ModuleType):
            return value.__name__
        if isinstance(value, CodeType):
            return self.code(value)
        if isinstance(value, FunctionType):
            return self.function(value)
        return self._compiler_object(value)

    def _compiler_object(self, value: Any) -> str:
        """Numba's own: dispatchers by their functions, types by their text, intrinsics by name and
        whatever their functions hold that can be told, such as the text of an instruction.
        """
        if hasattr(value, "py_func"):
            return self.function(value.py_func)
        if hasattr(value, "_defn"):
            return f"intrinsic {Description(lenient=True).function(value._defn)}"
        kind = type(value)
        if kind.__module__.startswith("numba.") and hasattr(value, "mangling_args"):
            return f"type {value}"
        if self.lenient:
            return f"{kind.__module__}.{kind.__qualname__}"
        raise TypeError(
            f"a kernel is closed over {value!r}, which has no name that lasts: kernels may close "
            "over numbers, text, tuples, types, and functions that do likewise"
        )

    def function(self, function: Any) -> str:
        name = f"{function.__module__}.{function.__qualname__}"
        if id(function) in self._inside:
            return name
        self._inside.add(id(function))
        parts = [name, self.code(function.__code__)]
        parts += [self.of(cell.cell_contents) for cell in function.__closure__ or ()]
        module = sys.modules.get(function.__module__ or "")
        known = {} if module is None else vars(module)
        for used in function.__code__.co_names:  # from a scope of its own, as formulas of `scalar`
            value = function.__globals__.get(used)
            if value is not known.get(used):
                parts.append(f"{used}={self.of(value)}")
        self._inside.remove(id(function))
        return f"<{' '.join(parts)}>"

    def code(self, code: CodeType) -> str:
        text = hashlib.sha256(code.co_code).hexdigest()[:16]
        return f"{code.co_name}@{code.co_firstlineno}:{text}{self.of(code.co_consts)}"
