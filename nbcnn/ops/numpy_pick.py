"""Picking, sorting, counting and collecting: a part of the public `nbcnn.ops`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn.ops import numpy_api as N
from nbcnn.ops.gather import Scatter, gather
from nbcnn.ops.numpy_shape import known, ndim, one_axis
from nbcnn.ops.op import apply, is_symbolic
from nbcnn.ops.ordering import Argsort
from nbcnn.ops.shape import broadcast_to, reshape
from nbcnn.ops.tensor import Tensor


def numbers_of(indices: Any, length: int | None, what: str) -> Any:
    """Indices with those below 0 counted from the end. Those of arrays are checked."""
    x = N.convert_to_tensor(indices)
    if np.dtype(N.dtype_of(x)).kind not in "iu":
        x = N.cast(x, "int32")
    if length is None:
        return x
    if isinstance(x, np.ndarray):
        outside = (x < -length) | (x >= length)
        if outside.any():
            raise ValueError(
                f"{what}: index {x[outside].flat[0]} is out of range for an axis of size {length}"
            )
        return np.where(x < 0, x + length, x).astype(x.dtype)
    return N.where(N.less(x, 0), N.add(x, length), x)


def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """The elements with these numbers along `axis` (None: of the flattened array); the indices'
    axes take its place. Negative numbers count from the end.
    """
    if axis is None:
        return take(N.ravel(x), indices, 0)
    place = one_axis(axis, ndim(x), "take")
    return gather(x, numbers_of(indices, N.shape(x)[place], "take"), place)


def take_along_axis(x: Any, indices: Any, axis: int | None = None) -> Any:
    """For every place along `axis` the element with its number; other axes broadcast.

    Parameters
    ----------
    indices : numbers along the axis; as many axes as x. With `axis` None both are flat.
    """
    if axis is None:
        return take_along_axis(N.ravel(x), N.ravel(indices), 0)
    place = one_axis(axis, ndim(x), "take_along_axis")
    numbers = numbers_of(indices, N.shape(x)[place], "take_along_axis")
    if ndim(numbers) != ndim(x):
        raise ValueError(
            f"take_along_axis: x {N.shape(x)} and indices {N.shape(numbers)} must have as many axes"
        )
    sizes, wanted = list(N.shape(x)), list(N.shape(numbers))
    if sizes[:place] + sizes[place + 1 :] != wanted[:place] + wanted[place + 1 :]:
        sizes[place] = wanted[place] = 1
        joint = list(np.broadcast_shapes(tuple(sizes), tuple(wanted)))  # type: ignore[arg-type]
        own, others = N.shape(x)[place], N.shape(numbers)[place]
        x = broadcast_to(x, [*joint[:place], own, *joint[place + 1 :]])
        numbers = broadcast_to(numbers, [*joint[:place], others, *joint[place + 1 :]])
    return gather(x, numbers, place, along=True)


def _sorted_numbers(x: Any, axis: int | None, what: str, descending: bool = False) -> tuple:
    """x, the axis, and the numbers of its elements in order."""
    if axis is None:
        return _sorted_numbers(N.ravel(x), 0, what, descending)
    x = N.convert_to_tensor(x)
    place, last = one_axis(axis, ndim(x), what), ndim(x) - 1
    if place == last:
        return x, place, apply(Argsort(descending), x)
    return x, place, N.moveaxis(apply(Argsort(descending), N.moveaxis(x, place, -1)), -1, place)


def argsort(x: Any, axis: int | None = -1) -> Any:
    """The numbers (int32) of the elements along `axis`, least first (None: of the flattened array).
    Equal elements stay in order; NaN goes last.
    """
    return _sorted_numbers(x, axis, "argsort")[2]


def sort(x: Any, axis: int | None = -1) -> Any:
    """The elements along `axis`, least first; NaN goes last."""
    values, place, order = _sorted_numbers(x, axis, "sort")
    return gather(values, order, place, along=True)


def argpartition(x: Any, kth: int, axis: int | None = -1) -> Any:
    """The numbers of the elements, so that element `kth` is where sorting puts it, with none larger
    before and none smaller after it: all are sorted.
    """
    return argsort(x, axis)


def top_k(x: Any, k: int, sorted: bool = True) -> tuple[Any, Any]:
    """The k largest elements along the last axis, largest first, and their numbers (int32).

    Parameters
    ----------
    sorted : accepted for Keras's sake: the largest always comes first.
    """
    length = known(x, ndim(x) - 1, "top_k")
    if not 0 <= k <= length:
        raise ValueError(f"top_k: k must be within 0..{length}, got {k}")
    values, place, order = _sorted_numbers(x, -1, "top_k", descending=True)
    order = N.slice_axis(order, place, 0, k)
    return gather(values, order, place, along=True), order


def in_top_k(targets: Any, predictions: Any, k: int) -> Any:
    """Whether the prediction (batch, classes) of each target class is among the k largest."""
    own = take_along_axis(predictions, N.expand_dims(N.cast(targets, "int32"), -1), -1)
    larger = N.sum(N.cast(N.greater(predictions, own), "int32"), -1)
    return N.logical_and(N.less(larger, k), N.isfinite(N.squeeze(own, -1)))


def searchsorted(sorted_sequence: Any, values: Any, side: str = "left") -> Any:
    """Where values belong in a sorted vector (int32): before equal ones, or, 'right', after.

    Parameters
    ----------
    sorted_sequence : vector, least first.
    side : 'left' (default) or 'right'.
    """
    if side not in ("left", "right"):
        raise ValueError(f"searchsorted: side must be 'left' or 'right', got {side!r}")
    if ndim(sorted_sequence) != 1:
        raise ValueError(
            f"searchsorted: sorted_sequence must be a vector, got {N.shape(sorted_sequence)}"
        )
    each = N.expand_dims(N.convert_to_tensor(values), -1)
    before = (N.less if side == "left" else N.less_equal)(sorted_sequence, each)
    return N.sum(N.cast(before, "int32"), -1)


def digitize(x: Any, bins: Any) -> Any:
    """The number of each value's bin (int32): bins[i - 1] <= x < bins[i], bins ascending."""
    return searchsorted(N.convert_to_tensor(bins), x, "right")


def bincount(x: Any, weights: Any = None, minlength: int = 0, sparse: bool = False) -> Any:
    """How often 0, 1, 2, ... occur (int32), or the sums of their weights, along the last axis.

    As many as the largest number asks for, at least `minlength`; symbolic tensors need that.
    """
    if sparse:
        raise ValueError("bincount: sparse=True: there are no sparse tensors here")
    x = N.convert_to_tensor(x)
    if np.dtype(N.dtype_of(x)).kind not in "iub":
        raise TypeError(f"bincount: x must hold integers, got {N.dtype_of(x)}")
    if isinstance(x, np.ndarray):
        minlength = max(minlength, int(x.max(initial=-1)) + 1)
    elif minlength <= 0:
        raise ValueError("bincount: of a symbolic tensor minlength must be given")
    numbers = N.cast(x, "int32")
    weights = N.ones_like(numbers) if weights is None else N.convert_to_tensor(weights)
    if ndim(x) == 1:
        return apply(Scatter(0, False, "sum", minlength), weights, numbers)
    hit = N.equal(N.expand_dims(numbers, -1), np.arange(minlength, dtype="int32"))
    zero = np.zeros((), N.dtype_of(weights))
    return N.sum(N.where(hit, N.expand_dims(weights, -1), zero), -2)


def isin(x1: Any, x2: Any, assume_unique: bool = False, invert: bool = False) -> Any:
    """Whether each element of x1 is among those of x2; or, inverted, is not.

    Parameters
    ----------
    assume_unique : accepted for Keras's sake; changes nothing.
    invert : default False.
    """
    others = N.ravel(N.convert_to_tensor(x2))
    found = N.any(N.equal(N.expand_dims(N.convert_to_tensor(x1), -1), others), -1)
    return N.logical_not(found) if invert else found


def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Any:
    """For each element the choice whose condition is the first to hold; none: `default`.

    Parameters
    ----------
    condlist : list of boolean arrays.
    choicelist : as many arrays.
    """
    if len(condlist) != len(choicelist) or not condlist:
        raise ValueError(
            f"select: needs as many conditions as choices, got {len(condlist)}, {len(choicelist)}"
        )
    y = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist)):
        y = N.where(condition, choice, y)
    return y


def count_nonzero(x: Any, axis: Any = None) -> Any:
    """How many elements over `axis` are not 0 (int32)."""
    return N.sum(N.cast(N.not_equal(x, 0), "int32"), axis)


def multi_hot(
    inputs: Any,
    num_classes: int | None = None,
    axis: int = -1,
    dtype: str | None = None,
    sparse: bool = False,
) -> Any:
    """1 at each of the class numbers of a sample, else 0: `one_hot`, joined over axis 1, or over
    axis 0 of a vector.

    Parameters
    ----------
    inputs : class numbers, (classes,) or (batch, classes).
    """
    if num_classes is None:
        raise ValueError("multi_hot: num_classes must be given")
    hot = N.one_hot(N.cast(inputs, "int32"), num_classes, axis, dtype, sparse)
    return N.max(hot, 1 if ndim(inputs) > 1 else 0)


def _flat_numbers(indices: Any, sizes: Sequence[int], what: str) -> Any:
    """The places, in an array of these sizes when flat, of indices that lie along the last axis."""
    indices = N.convert_to_tensor(indices)
    if ndim(indices) < 1 or N.shape(indices)[-1] != len(sizes):
        raise ValueError(
            f"{what}: indices of shape {N.shape(indices)} must have {len(sizes)} "
            "along the last axis"
        )
    flat: Any = None
    for axis, size in enumerate(sizes):
        part = N.squeeze(N.slice_axis(indices, -1, axis, axis + 1), -1)
        part = numbers_of(part, size, what)
        flat = part if flat is None else N.add(N.multiply(flat, size), part)
    return reshape(flat, (-1,))


def _blocks(values: Any, rest: Sequence[int]) -> Any:
    """Values as (number, elements of a block)."""
    return reshape(values, (-1, int(np.prod(rest, dtype=np.int64))))


def scatter(indices: Any, values: Any, shape: Sequence[int]) -> Any:
    """Zeros of this shape, to which the values, or blocks, are added at the indices (..., axes)."""
    sizes = [int(n) for n in shape]
    depth = (N.shape(indices) or (None,))[-1]
    if depth is None or depth > len(sizes):
        raise ValueError(f"scatter: indices {N.shape(indices)} do not fit shape {tuple(sizes)}")
    flat = _flat_numbers(indices, sizes[:depth], "scatter")
    count = int(np.prod(sizes[:depth], dtype=np.int64))
    y = apply(Scatter(0, False, "sum", count), _blocks(values, sizes[depth:]), flat)
    return reshape(y, sizes)


# How updates join what is there.
REDUCTIONS: dict[str, tuple[str, Any]] = {
    "add": ("sum", N.add), "max": ("max", N.maximum), "min": ("min", N.minimum),
    "mul": ("prod", N.multiply),
}  # fmt: skip


def scatter_update(inputs: Any, indices: Any, updates: Any, reduction: str | None = None) -> Any:
    """inputs with the elements, or blocks, at the indices (number, axes) replaced by updates; of
    several the last counts.

    reduction: 'add', 'max', 'min' or 'mul': updates join what is there.
    """
    if reduction is not None and reduction not in REDUCTIONS:
        raise ValueError(
            f"scatter_update: reduction must be None or one of {tuple(REDUCTIONS)}, "
            f"got {reduction!r}"
        )
    sizes = [known(inputs, a, "scatter_update") for a in range(ndim(inputs))]
    depth = (N.shape(indices) or (None,))[-1]
    if depth is None or depth > len(sizes):
        raise ValueError(
            f"scatter_update: indices {N.shape(indices)} do not fit inputs {tuple(sizes)}"
        )
    flat = _flat_numbers(indices, sizes[:depth], "scatter_update")
    count = int(np.prod(sizes[:depth], dtype=np.int64))
    x, new = _blocks(inputs, sizes[depth:]), _blocks(updates, sizes[depth:])
    if reduction is not None:
        function, join = REDUCTIONS[reduction]
        return reshape(join(x, apply(Scatter(0, False, function, count), new, flat)), sizes)
    places = np.arange(known(flat, 0, "scatter_update"), dtype="int32")
    last = apply(Scatter(0, False, "max", count), places, flat)
    chosen = gather(new, last, 0)  # where there is none, any will do
    return reshape(N.where(N.expand_dims(N.greater_equal(last, 0), 1), chosen, x), sizes)


def _segments(function: str, doc: str) -> Any:
    name = {"sum": "sum", "max": "max", "min": "min", "prod": "prod"}[function]

    def segment(
        data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False
    ) -> Any:
        ids = N.cast(N.convert_to_tensor(segment_ids), "int32")
        if ndim(ids) != 1:
            raise ValueError(f"segment_{name}: segment_ids must be a vector, got {N.shape(ids)}")
        if num_segments is None:
            if is_symbolic(ids) and isinstance(ids, Tensor):
                raise ValueError(f"segment_{name}: of a symbolic tensor num_segments must be given")
            num_segments = int(N.convert_to_numpy(ids).max(initial=-1)) + 1
        return apply(Scatter(0, False, function, num_segments), data, ids)

    segment.__name__ = segment.__qualname__ = f"segment_{name}"
    segment.__doc__ = doc + (
        " `num_segments` must be given for symbolic tensors. Ids out of range do not count."
    )
    return segment


segment_sum = _segments("sum", "Sums over axis 0 of the elements with the same id.")
segment_max = _segments("max", "The largest over axis 0 of the elements with the same id.")
segment_min = _segments("min", "The smallest over axis 0 of the elements with the same id.")
segment_prod = _segments("prod", "Products over axis 0 of the elements with the same id.")


__all__ = [
    "argpartition", "argsort", "bincount", "count_nonzero", "digitize", "in_top_k", "isin",
    "multi_hot", "scatter", "scatter_update", "searchsorted", "segment_max", "segment_min",
    "segment_prod", "segment_sum", "select", "sort", "take", "take_along_axis", "top_k",
]  # fmt: skip
