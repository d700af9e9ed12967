"""What Numba makes of a function, made when it is first needed.

Numba and LLVM take some 0.2 s to load and 70 MB of memory, and a process whose kernels are all on
disk has no use for them. So nothing imports Numba before something is compiled: decorators and
types stand in its place until then. Numba asks an object that it meets in a function for its type
(`_numba_type_`); that is when the real one is made, and answers.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any


class Deferred:
    """`make` gives what Numba is to see in this place; it is called once, and may import Numba."""

    def __init__(self, make: Callable[[], Any]):
        self._make = make

    @cached_property
    def made(self) -> Any:
        return self._make()

    @property
    def _numba_type_(self) -> Any:
        from numba.core.registry import cpu_target

        real, context = self.made, cpu_target.typing_context
        context.refresh()  # an intrinsic has been registered just now
        return context.resolve_value_type(real)


def made(value: Any) -> Any:
    """What Numba is to see: `value` itself if it is not deferred."""
    return value.made if isinstance(value, Deferred) else value
