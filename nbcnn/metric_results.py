"""What `Metric.result()` is while a step is traced: to be read when the step has run."""

import operator
from collections.abc import Callable
from functools import wraps
from typing import Any

from nbcnn.ops.op import is_tracing


class Pending:
    """A metric's result after the step; arithmetic with it gives such values again."""

    def __init__(self, read: Callable[[], Any]) -> None:
        self.value = read

    def __float__(self) -> float:
        raise TypeError("a metric's result has no value while a step is traced, only after it")

    def __bool__(self) -> bool:
        raise TypeError("a metric's result has no value while a step is traced, only after it")


def _value_of(value: Any) -> Any:
    return value.value() if isinstance(value, Pending) else value


def _operator(name: str) -> Callable[..., Pending]:
    function = getattr(operator, name)

    def forwards(self: Pending, *others: Any) -> Pending:
        return Pending(lambda: function(self.value(), *map(_value_of, others)))

    return forwards


def _reversed(name: str) -> Callable[..., Pending]:
    function = getattr(operator, name)

    def backwards(self: Pending, other: Any) -> Pending:
        return Pending(lambda: function(_value_of(other), self.value()))

    return backwards


for _name in ("add", "sub", "mul", "truediv", "pow"):
    setattr(Pending, f"__{_name}__", _operator(_name))
    setattr(Pending, f"__r{_name}__", _reversed(_name))
for _name in ("neg", "abs", "getitem"):
    setattr(Pending, f"__{_name}__", _operator(_name))


def read_after_the_step(result: Callable[..., Any]) -> Callable[..., Any]:
    """`result`, which while a step is traced gives what will be there after it."""

    @wraps(result)
    def read(self: Any, *args: Any, **kwargs: Any) -> Any:
        if is_tracing():
            return Pending(lambda: result(self, *args, **kwargs))
        return result(self, *args, **kwargs)

    return read
