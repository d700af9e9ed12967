"""Python's operators and indexing on symbolic tensors."""

from typing import Any

import numpy as np

from nbcnn.ops import numpy_api as ops
from nbcnn.ops.dense import matmul
from nbcnn.ops.op import apply
from nbcnn.ops.shape import Slice, squeeze
from nbcnn.ops.tensor import Tensor


def index(x: Any, key: Any) -> Any:
    """x[key] with integers, slices, None and one ellipsis: what `tensor[...]` calls."""
    keys = list(key) if isinstance(key, tuple) else [key]
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
    others = {"neg": ops.negative, "abs": ops.absolute, "getitem": index}
    for name, function in others.items():
        setattr(Tensor, f"__{name}__", function)


_install_operators()
