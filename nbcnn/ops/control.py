"""Choices and loops. On arrays they are Python's; while a graph is built, both ways of a choice are
computed and loops are written out, so their lengths must be known.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nbcnn.ops import numpy_api as N
from nbcnn.ops.numpy_shape import known, ndim, one_axis, unstack
from nbcnn.ops.op import Op, apply, is_symbolic
from nbcnn.ops.tensor import Node, Tensor, TensorSpec


def _mapped(function: Callable, *structures: Any) -> Any:
    """A function applied to the leaves of structures of one form."""
    first = structures[0]
    if isinstance(first, dict):
        return {k: _mapped(function, *(s[k] for s in structures)) for k in first}
    if isinstance(first, (list, tuple)):
        parts = [_mapped(function, *group) for group in zip(*structures, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    return function(*structures)


def _leaves(structure: Any) -> list[Any]:
    found: list[Any] = []
    _mapped(found.append, structure)
    return found


def _symbolic(value: Any) -> bool:
    return isinstance(value, Tensor) and is_symbolic(value)


def _truth(value: Any, what: str) -> bool:
    if _symbolic(value):
        raise TypeError(
            f"{what}: the condition depends on symbolic tensors, so the number of steps is not "
            "known while the graph is built; use ops.where, or a loop of fixed length"
        )
    return bool(np.all(N.convert_to_numpy(value)))


def cond(pred: Any, true_fn: Callable, false_fn: Callable) -> Any:
    """true_fn() where the scalar `pred` is true, else false_fn(). With a symbolic `pred` both are
    computed and must give the same structure.
    """
    for name, function in (("true_fn", true_fn), ("false_fn", false_fn)):
        if not callable(function):
            raise TypeError(f"cond: {name} must be a function, got {function!r:.80}")
    if not _symbolic(pred):
        return true_fn() if _truth(pred, "cond") else false_fn()
    chosen = N.cast(pred, "bool")
    return _mapped(lambda a, b: N.where(chosen, a, b), true_fn(), false_fn())


def switch(index: Any, branches: Sequence[Callable], *operands: Any) -> Any:
    """branches[index](*operands); numbers out of range count as the nearest. With a symbolic index
    all are computed.
    """
    if not branches:
        raise ValueError("switch: needs at least one branch")
    if not _symbolic(index):
        place = int(N.convert_to_numpy(index))
        return branches[min(max(place, 0), len(branches) - 1)](*operands)
    result = branches[-1](*operands)
    for place in reversed(range(len(branches) - 1)):
        here = N.less_equal(index, place)
        result = _mapped(
            lambda a, b, here=here: N.where(here, a, b), branches[place](*operands), result
        )
    return result


def fori_loop(lower: int, upper: int, body_fun: Callable, init_val: Any) -> Any:
    """val = body_fun(i, val) for i from lower to upper - 1. The bounds must be numbers.

    Parameters
    ----------
    init_val : the first val.
    """
    if _symbolic(lower) or _symbolic(upper):
        raise TypeError("fori_loop: the bounds must be numbers, got a symbolic tensor")
    value = init_val
    for i in range(int(lower), int(upper)):
        value = body_fun(i, value)
    return value


def while_loop(
    cond: Callable, body: Callable, loop_vars: Any, maximum_iterations: int | None = None
) -> Any:
    """loop_vars = body(*loop_vars) as long as cond(*loop_vars). The condition must not depend on
    symbolic tensors.

    Parameters
    ----------
    loop_vars : the first values.
    maximum_iterations : None (default): no limit.
    """
    single = not isinstance(loop_vars, (list, tuple))
    values = (loop_vars,) if single else tuple(loop_vars)
    steps = 0
    while (maximum_iterations is None or steps < maximum_iterations) and _truth(
        cond(*values), "while_loop"
    ):
        found = body(*values)
        values = tuple(found) if isinstance(found, (list, tuple)) else (found,)
        steps += 1
    if single:
        return values[0]
    return list(values) if isinstance(loop_vars, list) else values


def scan(
    f: Callable,
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
) -> tuple[Any, Any]:
    """carry, y = f(carry, x) for all x along axis 0 of xs: the last carry, and all y stacked.

    Parameters
    ----------
    init : the first carry.
    xs : array, or nested lists and dictionaries of arrays; None: x is None.
    length : number of steps, needed where xs is None.
    reverse : from the end; default False.
    unroll : accepted for Keras's sake: the steps are always written out.
    """
    if xs is None and length is None:
        raise ValueError("scan: xs or length must be given")
    parts = [] if xs is None else [unstack(x) for x in _leaves(xs)]
    sizes = {len(p) for p in parts} | (set() if length is None else {int(length)})
    if len(sizes) != 1:
        raise ValueError(f"scan: lengths differ: {sorted(sizes)}")
    (count,) = sizes
    carry, results = init, []
    order = range(count)
    for i in reversed(order) if reverse else order:
        rows = iter([p[i] for p in parts])
        x = None if xs is None else _mapped(lambda _, rows=rows: next(rows), xs)
        carry, y = f(carry, x)
        results.append(y)
    if reverse:
        results.reverse()
    if not results or results[0] is None:
        return carry, None
    return carry, _mapped(lambda *ys: N.stack(ys, 0), *results)


def map(f: Callable, xs: Any) -> Any:
    """f of every x along axis 0 of xs, stacked."""
    return scan(lambda carry, x: (carry, f(x)), None, xs)[1]


def vectorized_map(function: Callable, elements: Any) -> Any:
    """As `map`.

    Parameters
    ----------
    function, elements : f and xs of `map`.
    """
    return map(function, elements)


def associative_scan(f: Callable, elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """x0, f(x0, x1), f(f(x0, x1), x2), ... along `axis`; from the end where `reverse`.

    Parameters
    ----------
    elems : array, or nested lists and dictionaries of arrays.
    """
    leaves = _leaves(elems)
    if not leaves:
        raise ValueError("associative_scan: elems is empty")
    axes = [one_axis(axis, ndim(x), "associative_scan") for x in leaves]
    count = known(leaves[0], axes[0], "associative_scan")

    def part(i: int) -> Any:
        return _mapped(lambda x: N.slice_axis(x, one_axis(axis, ndim(x), "scan"), i, i + 1), elems)

    if not count or not callable(f):
        raise ValueError(
            f"associative_scan: needs a function and elements, got {f!r:.80} and {count} elements"
        )
    order = list(range(count))[:: -1 if reverse else 1]
    results = [part(i) for i in order[:1]]
    for i in order[1:]:
        results.append(f(results[-1], part(i)))
    if reverse:
        results.reverse()
    return _mapped(lambda *xs: N.concatenate(xs, axis), *results)


@dataclasses.dataclass(frozen=True)
class CustomGradient(Op):
    """y, whose gradient a function of the user's gives. Inputs y and the arguments. An alias.

    The function runs again for the gradient: what it has kept belongs to the tensors of its first
    call.
    """

    name = "custom_gradient"
    function: Callable

    def infer(self, y: TensorSpec, *arguments: TensorSpec) -> tuple[TensorSpec]:
        return (y,)

    def spec(self, y: TensorSpec, *arguments: TensorSpec) -> None:
        return None

    def gradient(self, node: Node, *dys: Tensor | None):
        arguments = node.inputs[1:]
        _, slope = self.function(*arguments)
        found = slope(*dys)
        slopes = list(found) if isinstance(found, (list, tuple)) else [found]
        if len(slopes) != len(arguments):
            raise ValueError(
                f"custom_gradient: {len(slopes)} gradients for {len(arguments)} arguments"
            )
        return [None, *slopes]


def custom_gradient(f: Callable) -> Callable:
    """A function with a gradient of one's own: f(*args) returns a tensor y, and a function that
    gives the gradients of the arguments from that of y.
    """

    def function(*args: Any) -> Any:
        y, _ = f(*args)
        if not isinstance(y, Tensor) or not any(_symbolic(a) for a in args):
            return y
        return apply(CustomGradient(f), y, *args)

    function.__name__, function.__doc__ = getattr(f, "__name__", "function"), f.__doc__
    return function


__all__ = [
    "associative_scan", "cond", "custom_gradient", "fori_loop", "map", "scan", "switch",
    "vectorized_map", "while_loop",
]  # fmt: skip
