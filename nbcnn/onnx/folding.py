"""Operators on arrays that are known when a file is read: the arithmetic of shapes.

The size of the batch is not known then; `BATCH` stands for it, a prime that no real size is.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from nbcnn.onnx.files import FIXED_AT_LOAD, Entry

BATCH = 2147483647


def _axes(entry: Entry, arrays: list[Any]) -> list[int] | None:
    """Axes as an attribute, or since version 13 as the second input."""
    if "axes" in entry.attributes:
        return [int(a) for a in entry.attributes["axes"]]
    return None if len(arrays) < 2 or arrays[1] is None else arrays[1].astype(int).tolist()


def _unsqueeze(entry: Entry, x: np.ndarray, *rest: Any) -> np.ndarray:
    axes = _axes(entry, [x, *rest])
    return x if axes is None else np.expand_dims(x, tuple(axes))


def _squeeze(entry: Entry, x: np.ndarray, *rest: Any) -> np.ndarray:
    axes = _axes(entry, [x, *rest])
    return np.squeeze(x, None if axes is None else tuple(axes))


def _slice(entry: Entry, x: np.ndarray, *rest: Any) -> np.ndarray:
    index = [slice(None)] * x.ndim
    for axis, start, stop, step in slices(entry, x.ndim, rest):
        index[axis] = slice(start, stop, step)
    return x[tuple(index)]


def slices(entry: Entry, rank: int, rest: Any) -> list[tuple[int, int, int | None, int]]:
    """(axis, start, stop, step) of a Slice, as Python has them."""
    if "starts" in entry.attributes:
        starts, ends = entry.attributes["starts"], entry.attributes["ends"]
        axes, steps = entry.attributes.get("axes"), None
    else:
        starts, ends, axes, steps = (
            None if a is None else a.tolist() for a in (*rest, None, None)[:4]
        )
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    found = []
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        before_all = step < 0 and end < -(1 << 31)
        found.append((int(axis) % rank, int(start), None if before_all else int(end), int(step)))
    return found


def _reshape(entry: Entry, x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    sizes = [x.shape[i] if n == 0 else int(n) for i, n in enumerate(shape.tolist())]
    return x.reshape(sizes)


def _constant_of_shape(entry: Entry, shape: np.ndarray) -> np.ndarray:
    value = entry.attributes.get("value", np.zeros(1, "float32"))
    return np.full(bounded(shape.tolist()), value.reshape(-1)[0], value.dtype)


def _expand(entry: Entry, x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    return np.broadcast_to(x, bounded(np.broadcast_shapes(x.shape, tuple(shape.tolist())))).copy()


def _range(entry: Entry, start: Any, limit: Any, step: Any) -> np.ndarray:
    bounded([max(int((limit - start) / step), 0)])
    return np.arange(start, limit, step, dtype=start.dtype)


def bounded(shape: Any) -> tuple[int, ...]:
    total = 1
    for n in shape:
        total *= int(n)
    if total > FIXED_AT_LOAD or any(n < 0 for n in shape):
        raise ValueError(f"an array of shape {tuple(shape)} is too large, or depends on the batch")
    return tuple(int(n) for n in shape)


def cast_type(entry: Entry) -> str:
    """The data type that a Cast names, of those that are there."""
    import onnx

    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(entry.attributes["to"]))
    return dtype.name if dtype.kind in "biu" else "float32"


def _divide(entry: Entry, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.kind == "f":
        return a / b
    return (np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))).astype(a.dtype)


def _reduced(function: Callable) -> Callable:
    def run(entry: Entry, x: np.ndarray, *rest: Any) -> np.ndarray:
        axes = _axes(entry, [x, *rest])
        keep = bool(entry.attributes.get("keepdims", 1))
        return function(x, None if axes is None else tuple(axes), keepdims=keep).astype(x.dtype)

    return run


def _split(entry: Entry, x: np.ndarray, *rest: Any) -> list[np.ndarray]:
    sizes = entry.attributes.get("split") or (rest[0].tolist() if rest else None)
    axis = entry.attributes.get("axis", 0)
    if sizes is None:
        return np.array_split(x, len(entry.outputs), axis)
    return np.split(x, np.cumsum(sizes)[:-1], axis)


def _plain(function: Callable) -> Callable:
    return lambda entry, *arrays: function(*arrays)


# Operator -> (entry, arrays...) -> array
FOLD: dict[str, Callable[..., Any]] = {
    "Add": _plain(np.add), "Sub": _plain(np.subtract), "Mul": _plain(np.multiply),
    "Div": _divide, "Mod": _plain(np.mod), "Pow": _plain(np.power), "Neg": _plain(np.negative),
    "Abs": _plain(np.abs), "Sqrt": _plain(np.sqrt), "Exp": _plain(np.exp), "Log": _plain(np.log),
    "Reciprocal": _plain(np.reciprocal), "Floor": _plain(np.floor), "Ceil": _plain(np.ceil),
    "Round": _plain(np.round), "Min": _plain(np.minimum), "Max": _plain(np.maximum),
    "Equal": _plain(np.equal), "Greater": _plain(np.greater), "Less": _plain(np.less),
    "And": _plain(np.logical_and), "Or": _plain(np.logical_or), "Not": _plain(np.logical_not),
    "Where": _plain(np.where), "Identity": _plain(np.array),
    "Cast": lambda entry, x: x.astype(cast_type(entry)),
    "Concat": lambda entry, *xs: np.concatenate(xs, entry.attributes["axis"]),
    "Gather": lambda entry, x, i: np.take(x, i, entry.attributes.get("axis", 0)),
    "Unsqueeze": _unsqueeze, "Squeeze": _squeeze, "Slice": _slice, "Reshape": _reshape,
    "Transpose": lambda entry, x: np.transpose(x, entry.attributes.get("perm")),
    "ConstantOfShape": _constant_of_shape, "Expand": _expand, "Range": _range,
    "ReduceProd": _reduced(np.prod), "ReduceSum": _reduced(np.sum),
    "ReduceMax": _reduced(np.max), "ReduceMin": _reduced(np.min), "Split": _split,
    "Shape": lambda entry, x: np.array(x.shape[span(entry, x.ndim)], "int64"),
    "Size": lambda entry, x: np.array(x.size, "int64"),
}  # fmt: skip


def span(entry: Entry, rank: int) -> slice:
    """Which axes a Shape tells."""
    return slice(entry.attributes.get("start", 0), entry.attributes.get("end", rank))


def fold(entry: Entry, arrays: list[Any]) -> list[np.ndarray]:
    """The outputs, from arrays; None stands for an input that is not given."""
    with np.errstate(all="ignore"):
        found = FOLD[entry.kind](entry, *arrays)
    return list(found) if isinstance(found, list) else [np.asarray(found)]
