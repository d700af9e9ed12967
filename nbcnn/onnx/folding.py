"""Operators on arrays that are known when a file is read: the arithmetic of shapes.

The size of the batch is not known then; `BATCH` stands for it, a prime that no real size is.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nbcnn.onnx.files import FIXED_AT_LOAD, Entry

BATCH = 2147483647


def rows_of(size: int) -> int:
    """How many rows a sample has, where a first size was computed from the batch; else 0."""
    return 0 if size <= 0 or size % BATCH else size // BATCH


def without_batch(sizes: Any) -> list[int]:
    """Sizes to broadcast to; what is the same for all samples is held once."""
    return [1 if i == 0 and rows_of(int(n)) == 1 else int(n) for i, n in enumerate(sizes)]


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
    return np.full(bounded(without_batch(shape.tolist())), value.reshape(-1)[0], value.dtype)


def _expand(entry: Entry, x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    sizes = np.broadcast_shapes(x.shape, tuple(without_batch(shape.tolist())))
    return np.broadcast_to(x, bounded(sizes)).copy()


def _tile(entry: Entry, x: np.ndarray, repeats: np.ndarray) -> np.ndarray:
    counts = repeats.tolist()
    bounded([n * r for n, r in zip(x.shape, counts, strict=True)])
    return np.tile(x, counts)


def _flatten(entry: Entry, x: np.ndarray) -> np.ndarray:
    axis = entry.attributes.get("axis", 1)
    return x.reshape(int(np.prod(x.shape[:axis], dtype=np.int64)), -1)


def _clip(entry: Entry, x: np.ndarray, low: Any = None, high: Any = None) -> np.ndarray:
    low = entry.attributes.get("min") if low is None else low
    high = entry.attributes.get("max") if high is None else high
    return np.clip(x, low, high).astype(x.dtype)


def _matmul(entry: Entry, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    bounded((*a.shape[:-1], *b.shape[:-2], *b.shape[-1:]))
    return a @ b


def _scatter(entry: Entry, x: np.ndarray, places: np.ndarray, updates: np.ndarray) -> np.ndarray:
    if entry.attributes.get("reduction", "none") != "none":
        raise ValueError("ScatterND with a reduction")
    found = x.copy()
    found[tuple(np.moveaxis(places, -1, 0))] = updates
    return found


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


def _norm(x: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    return np.sqrt(np.sum(np.square(x), axis, keepdims=keepdims))


def _pairwise(function: Callable) -> Callable:
    """An operator of any number of arrays from a function of two."""
    return lambda entry, *arrays: functools.reduce(function, arrays)


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
    "Round": _plain(np.round), "Min": _pairwise(np.minimum), "Max": _pairwise(np.maximum),
    "Sum": _pairwise(np.add), "Tanh": _plain(np.tanh), "Sin": _plain(np.sin),
    "Cos": _plain(np.cos), "Sign": _plain(np.sign), "Relu": lambda entry, x: np.maximum(x, 0),
    "Sigmoid": lambda entry, x: 1 / (1 + np.exp(-x)), "GreaterOrEqual": _plain(np.greater_equal),
    "LessOrEqual": _plain(np.less_equal), "Xor": _plain(np.logical_xor), "Clip": _clip,
    "MatMul": _matmul, "Tile": _tile, "Flatten": _flatten, "ScatterND": _scatter,
    "ReduceMean": _reduced(np.mean), "ReduceL2": _reduced(_norm),
    "ReduceL1": _reduced(lambda x, axis, keepdims: np.abs(x).sum(axis, keepdims=keepdims)),
    "ReduceSumSquare": _reduced(lambda x, a, keepdims: np.square(x).sum(a, keepdims=keepdims)),
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


BROADCAST = {
    "Add", "Sub", "Mul", "Div", "Mod", "Pow", "Min", "Max", "Sum", "Equal", "Greater", "Less",
    "GreaterOrEqual", "LessOrEqual", "And", "Or", "Xor", "Where",
}  # fmt: skip


def _count(entry: Entry, arrays: list[np.ndarray]) -> int:
    """How many numbers will come out, where it may be more than went in."""
    if entry.kind in BROADCAST:
        return math.prod(np.broadcast_shapes(*(a.shape for a in arrays)))
    if entry.kind == "Gather" and arrays[0].size:
        x, places = arrays
        return places.size * x.size // x.shape[entry.attributes.get("axis", 0)]
    return sum(a.size for a in arrays)


def fold(entry: Entry, arrays: list[Any], spend: Callable[[int], None]) -> list[np.ndarray]:
    """The outputs, from arrays; None stands for an input that is not given.

    spend : is told how many numbers come out before they are made, and raises for too many.
    """
    expected = _count(entry, [a for a in arrays if a is not None])
    spend(expected)
    with np.errstate(all="ignore"):
        found = FOLD[entry.kind](entry, *arrays)
    results = list(found) if isinstance(found, list) else [np.asarray(found)]
    spend(max(sum(array.size for array in results) - expected, 0))
    return results
