"""Python's operators and indexing on symbolic tensors."""

from typing import Any

import numpy as np

from nbcnn.ops import numpy_api as ops
from nbcnn.ops.dense import matmul
from nbcnn.ops.elementwise import binary
from nbcnn.ops.op import apply
from nbcnn.ops.shape import Slice, reshape, squeeze
from nbcnn.ops.tensor import Tensor


def index(x: Any, key: Any) -> Any:
    """x[key] with integers, slices, None, one ellipsis, and one array of integers: what
    `tensor[...]` calls.
    """
    keys = list(key) if isinstance(key, tuple) else [key]
    arrays = [i for i, k in enumerate(keys) if isinstance(k, (list, np.ndarray, Tensor))]
    if arrays:
        return _with_array(x, keys, arrays)
    rank = len(ops.shape(x))
    used = len([k for k in keys if k is not None and k is not Ellipsis])
    if used > rank:
        raise IndexError(f"too many indices ({used}) for a tensor of {rank} axes")
    if not [k for k in keys if k is Ellipsis]:
        keys.append(Ellipsis)
    at = next(i for i, k in enumerate(keys) if k is Ellipsis)
    keys[at : at + 1] = [slice(None)] * (rank - used)
    ranges: list[tuple[int | None, int | None, int | None]] = []
    dropped: list[int] = []
    added: list[int] = []
    axis = 0
    for k in keys:
        if k is None:
            added.append(axis - len(dropped) + len(added))
            continue
        if isinstance(k, slice):
            ranges.append((k.start, k.stop, k.step))
        elif isinstance(k, (int, np.integer)):
            size = ops.shape(x)[axis]
            if size is not None and not -size <= k < size:
                raise IndexError(f"index {k} is out of range for axis {axis} of size {size}")
            ranges.append((int(k), int(k) + 1 if k != -1 else None, 1))
            dropped.append(axis)
        else:
            raise TypeError(
                f"tensor indices must be integers, slices, None or ..., got {type(k).__name__}"
            )
        axis += 1
    y = x
    if [r for r in ranges if r != (None, None, None)]:
        y = apply(Slice(tuple(ranges)), y)
    if dropped:
        y = squeeze(y, tuple(dropped))
    for position in added:
        y = ops.expand_dims(y, position)
    return y


def _with_array(x: Any, keys: list[Any], arrays: list[int]) -> Any:
    """Indices of which one is an array of integers: the others are applied first."""
    from nbcnn.ops.numpy_pick import take

    if len(arrays) > 1:
        raise TypeError(f"one array of indices is supported, got {len(arrays)}; use ops.take")
    (place,) = arrays
    picked = keys[place]
    kind = picked.dtype if isinstance(picked, Tensor) else np.asarray(picked).dtype
    if np.dtype(kind).kind not in "iu":
        raise TypeError(f"tensor indices must be integers, got an array of {kind}; use ops.where")
    others = [k for i, k in enumerate(keys) if i != place]
    if not all(k is None or k is Ellipsis or isinstance(k, slice) for k in others):
        raise TypeError("beside an array of indices only slices, None and ... are supported")
    keys[place] = slice(None)
    before = keys[:place]
    if Ellipsis in before:
        axis = -len([k for k in keys[place:] if k is not None])
        axis -= len([k for k in keys[place + 1 :] if k is None])
    else:
        axis = place
    return take(index(x, tuple(keys)), picked, axis)


def _install_operators() -> None:
    """Give symbolic tensors Python's operators."""

    def forward(function):
        return lambda self, other: function(self, other)

    def reflected(function):
        return lambda self, other: function(other, self)

    operators = {
        "add": ops.add, "sub": ops.subtract, "mul": ops.multiply, "truediv": ops.divide,
        "pow": ops.power,
        "floordiv": ops.floor_divide, "mod": ops.mod, "matmul": matmul,
    }  # fmt: skip
    for name, function in operators.items():
        setattr(Tensor, f"__{name}__", forward(function))
        setattr(Tensor, f"__r{name}__", reflected(function))
    for name, function in {
        "lt": ops.less,
        "le": ops.less_equal,
        "gt": ops.greater,
        "ge": ops.greater_equal,
    }.items():
        setattr(Tensor, f"__{name}__", forward(function))

    def equality(function: Any) -> Any:
        """Of values; what is none, such as None, is another object."""

        def op(self: Tensor, other: Any) -> Any:
            known = (Tensor, np.ndarray, np.generic, bool, int, float, list, tuple)
            if isinstance(other, known) or hasattr(other, "symbol"):
                return function(self, other)
            return NotImplemented

        return op

    Tensor.__eq__ = equality(ops.equal)  # type: ignore[method-assign]
    Tensor.__ne__ = equality(ops.not_equal)  # type: ignore[method-assign]
    Tensor.__hash__ = object.__hash__  # type: ignore[method-assign]

    def logical(bits: str, truths: Any) -> Any:
        def op(a: Any, b: Any) -> Any:
            kinds = {np.dtype(ops.dtype_of(v)).kind for v in (a, b)}
            return truths(a, b) if "b" in kinds else binary(bits, a, b)

        return op

    for name, function in {
        "and": logical("bitwise_and", ops.logical_and),
        "or": logical("bitwise_or", ops.logical_or),
        "xor": logical("bitwise_xor", lambda a, b: ops.not_equal(cast_bool(a), cast_bool(b))),
    }.items():
        setattr(Tensor, f"__{name}__", forward(function))
        setattr(Tensor, f"__r{name}__", reflected(function))
    others = {
        "neg": ops.negative, "abs": ops.absolute, "getitem": index, "invert": inverted,
        "round": lambda x, ndigits=None: ops.round(x, ndigits or 0),
    }  # fmt: skip
    for name, function in others.items():
        setattr(Tensor, f"__{name}__", function)
    methods = {
        "reshape": lambda x, *shape: reshape(x, shape[0] if len(shape) == 1 else shape),
        "squeeze": lambda x, axis=None: squeeze(x, axis),
    }
    for name, function in methods.items():
        setattr(Tensor, name, function)


def cast_bool(x: Any) -> Any:
    return ops.cast(x, "bool")


def inverted(x: Any) -> Any:
    """~x: the opposite of booleans, all bits of integers turned over."""
    from nbcnn.ops.numpy_math import bitwise_not

    return bitwise_not(x)


_install_operators()
