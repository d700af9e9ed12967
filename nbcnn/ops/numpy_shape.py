"""Moving elements: the part of the public `nbcnn.ops` that joins, cuts, turns, repeats and pads."""

import builtins
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn.ops import numpy_api as N
from nbcnn.ops.borders import PadBorder, fits
from nbcnn.ops.gather import gather
from nbcnn.ops.op import apply, is_symbolic
from nbcnn.ops.reduce import normalize_axes
from nbcnn.ops.shape import Pad, Slice, reshape
from nbcnn.ops.tensor import Tensor


def one_axis(axis: int, rank: int, what: str) -> int:
    """The non-negative number of an axis. Raises ValueError where it is out of range."""
    return normalize_axes([axis], rank, what)[0]


def known(x: Any, axis: int, what: str) -> int:
    """The size of an axis. Raises ValueError where it is not known yet."""
    sizes = N.shape(x)
    if not -len(sizes) <= axis < len(sizes):
        raise ValueError(f"{what}: needs an array of more axes, got shape {sizes}")
    size = sizes[axis]
    if size is None:
        raise ValueError(f"{what}: the size of axis {axis} must be known, got shape {N.shape(x)}")
    return size


def picked(x: Any, numbers: Any, axis: int) -> Any:
    """The elements with these numbers, which do not depend on data, along an axis."""
    return gather(x, np.asarray(numbers, "int32"), axis)


def sizes_for_reshape(shape: Sequence[int | None]) -> tuple[int, ...]:
    """Sizes as `reshape` takes them: one may be unknown."""
    return tuple(-1 if n is None else n for n in shape)


def ndim(x: Any) -> int:
    """How many axes x has."""
    return len(N.shape(x))


def size(x: Any) -> int | None:
    """How many elements x has; None where that is not known yet."""
    sizes = [n for n in N.shape(x) if n is not None]
    return int(np.prod(sizes, dtype=np.int64)) if len(sizes) == ndim(x) else None


def append(x1: Any, x2: Any, axis: int | None = None) -> Any:
    """x2 after x1 along `axis` (None: of both, flattened)."""
    if axis is None:
        return N.concatenate([N.ravel(x1), N.ravel(x2)], 0)
    return N.concatenate([x1, x2], axis)


def array_split(x: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Any]:
    """As `split`, but sections may differ by one in size."""
    if not isinstance(indices_or_sections, int):
        return N.split(x, indices_or_sections, axis)
    place = one_axis(axis, ndim(x), "array_split")
    if indices_or_sections < 1:
        raise ValueError(f"array_split: sections must be positive, got {indices_or_sections}")
    each, more = divmod(known(x, place, "array_split"), indices_or_sections)
    lengths = [each + (i < more) for i in range(indices_or_sections)]
    bounds = [0, *itertools.accumulate(lengths)]
    return [N.slice_axis(x, place, a, b) for a, b in itertools.pairwise(bounds)]


def hsplit(x: Any, indices_or_sections: int | Sequence[int]) -> list[Any]:
    """`split` along axis 1; of a vector along axis 0."""
    return N.split(x, indices_or_sections, 0 if ndim(x) == 1 else 1)


def vsplit(x: Any, indices_or_sections: int | Sequence[int]) -> list[Any]:
    """`split` along axis 0."""
    return N.split(x, indices_or_sections, 0)


def dsplit(x: Any, indices_or_sections: int | Sequence[int]) -> list[Any]:
    """`split` along axis 2."""
    return N.split(x, indices_or_sections, 2)


def _with_axes(x: Any, shapes: dict[int, Any]) -> Any:
    """x with the axes of size 1 that stacks of vectors get, by the number of its axes."""
    x = N.convert_to_tensor(x)
    form = shapes.get(ndim(x))
    return x if form is None else reshape(x, form(N.shape(x)))


def hstack(xs: Sequence[Any]) -> Any:
    """Arrays side by side: joined along axis 1; vectors along axis 0."""
    arrays = [_with_axes(x, {0: lambda s: (1,)}) for x in xs]
    return N.concatenate(arrays, 0 if arrays and ndim(arrays[0]) == 1 else 1)


def vstack(xs: Sequence[Any]) -> Any:
    """Arrays below one another: joined along axis 0; vectors are rows."""
    forms = {0: lambda s: (1, 1), 1: lambda s: (1, *sizes_for_reshape(s))}
    return N.concatenate([_with_axes(x, forms) for x in xs], 0)


def dstack(xs: Sequence[Any]) -> Any:
    """Arrays behind one another: joined along axis 2; matrices get it."""
    forms = {
        0: lambda s: (1, 1, 1),
        1: lambda s: (1, *sizes_for_reshape(s), 1),
        2: lambda s: (*sizes_for_reshape(s), 1),
    }
    return N.concatenate([_with_axes(x, forms) for x in xs], 2)


def unstack(x: Any, num: int | None = None, axis: int = 0) -> list[Any]:
    """The parts along an axis, without it.

    Parameters
    ----------
    num : how many parts, where the size along the axis is not known; default None.
    """
    place = one_axis(axis, ndim(x), "unstack")
    length = known(x, place, "unstack") if num is None else num
    if N.shape(x)[place] not in (None, length):
        raise ValueError(f"unstack: axis {axis} has size {N.shape(x)[place]}, got num={num}")
    return [N.squeeze(N.slice_axis(x, place, i, i + 1), place) for i in range(length)]


def fliplr(x: Any) -> Any:
    """The order along axis 1 reversed."""
    one_axis(1, ndim(x), "fliplr")
    return N.flip(x, 1)


def flipud(x: Any) -> Any:
    """The order along axis 0 reversed."""
    one_axis(0, ndim(x), "flipud")
    return N.flip(x, 0)


def rot90(array: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Any:
    """Turned by k quarters in the plane of two axes, from the first towards the second."""
    rank = ndim(array)
    first, second = (one_axis(a, rank, "rot90") for a in axes)
    if first == second:
        raise ValueError(f"rot90: axes must differ, got {axes}")
    if k % 4 == 0:
        return N.convert_to_tensor(array)
    if k % 4 == 2:
        return N.flip(array, (first, second))
    turned = N.flip(array, second) if k % 4 == 1 else array
    y = N.swapaxes(turned, first, second)
    return y if k % 4 == 1 else N.flip(y, second)


def roll(x: Any, shift: int | Sequence[int], axis: int | Sequence[int] | None = None) -> Any:
    """Elements moved by `shift` along `axis`, those beyond the end to the front (None: of the
    flattened array).
    """
    if axis is None:
        if not isinstance(shift, (int, np.integer)):
            return roll(x, builtins.sum(shift))
        return reshape(roll(N.ravel(x), shift, 0), sizes_for_reshape(N.shape(x)))
    axes = [axis] if isinstance(axis, (int, np.integer)) else list(axis)
    shifts = [shift] * len(axes) if isinstance(shift, (int, np.integer)) else list(shift)
    if len(shifts) != len(axes):
        raise ValueError(f"roll: {len(shifts)} shifts do not fit {len(axes)} axes")
    for number, by in zip(axes, shifts):
        place = one_axis(number, ndim(x), "roll")
        length = N.shape(x)[place]
        cut = -by if length is None else -by % max(length, 1)
        if cut:
            parts = [N.slice_axis(x, place, cut, None), N.slice_axis(x, place, None, cut)]
            x = N.concatenate(parts, place)
    return N.convert_to_tensor(x)


def repeat(x: Any, repeats: int | Sequence[int], axis: int | None = None) -> Any:
    """Every element `repeats` times along `axis` (None: of the flattened array); or each so often
    as a list says.
    """
    if axis is None:
        return repeat(N.ravel(x), repeats, 0)
    place = one_axis(axis, ndim(x), "repeat")
    length = N.shape(x)[place]
    if length is None:
        count = int(np.asarray(repeats))  # a list cannot fit
        copies = [N.expand_dims(x, place + 1)] * count
        y = N.concatenate(copies, place + 1)
        merged = list(N.shape(x))
        return reshape(y, sizes_for_reshape(merged))
    return picked(x, np.repeat(np.arange(length), N.convert_to_numpy(repeats)), place)


def tile(x: Any, repeats: int | Sequence[int]) -> Any:
    """The whole of x side by side, so often along each axis; fewer numbers count for the last
    axes.

    Parameters
    ----------
    repeats : a number, or one for each axis.
    """
    counts = [repeats] if isinstance(repeats, (int, np.integer)) else [int(r) for r in repeats]
    rank = ndim(x)
    x = N.convert_to_tensor(x)
    if len(counts) > rank:
        x = reshape(x, (*(1,) * (len(counts) - rank), *sizes_for_reshape(N.shape(x))))
    counts = [1] * (ndim(x) - len(counts)) + counts
    for axis, count in enumerate(counts):
        length = N.shape(x)[axis]
        if count == 1:
            continue
        if length is None:
            x = N.concatenate([x] * count, axis)
        else:
            x = picked(x, np.tile(np.arange(length), count), axis)
    return x


# Modes whose values all come from x, so that padding picks them.
MODES = ("edge", "reflect", "symmetric", "wrap")


def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Any:
    """Padding before and after each axis: an int, a pair, or a pair per axis.

    mode: 'constant' (by default 0), 'reflect', 'symmetric', 'edge' or 'wrap'.

    Parameters
    ----------
    pad_width : how many before and after: an int, a pair for all axes, or a pair for each.
    constant_values : the number for mode 'constant'; default 0.
    """
    if mode != "constant" and mode not in MODES:
        raise ValueError(f"pad: mode must be 'constant' or one of {MODES}, got {mode!r}")
    if mode != "constant" and constant_values is not None:
        raise ValueError(f"pad: constant_values does not go with mode {mode!r}")
    widths = np.broadcast_to(np.asarray(pad_width, dtype=np.int64), (ndim(x), 2))
    if (widths < 0).any():
        raise ValueError(f"pad: pad_width must not be negative, got {pad_width}")
    pairs = tuple((int(a), int(b)) for a, b in widths)
    if mode == "constant":
        return apply(Pad(pairs, float(constant_values or 0.0)), x)
    x = N.convert_to_tensor(x)
    if any(map(any, pairs)) and fits(pairs, N.shape(x), mode):
        return apply(PadBorder(pairs, mode), x)
    runs: list[list[int]] = []  # neighbours are padded in one go, where a reshape is possible
    apart = N.shape(x).count(None) > 1
    for axis in (axis for axis, pair in enumerate(pairs) if pair != (0, 0)):
        if runs and runs[-1][-1] == axis - 1 and not apart:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    for first, *others in runs:
        stop = first + len(others) + 1
        before, after = N.shape(x)[:first], N.shape(x)[stop:]
        sizes = [known(x, axis, "pad") for axis in range(first, stop)]
        places = np.arange(math.prod(sizes)).reshape(sizes)
        places = np.pad(places, pairs[first:stop], mode)  # type: ignore[call-overload]
        flat = (
            x if not others else reshape(x, sizes_for_reshape((*before, math.prod(sizes), *after)))
        )
        x = picked(flat, places.reshape(-1), first)
        if others:
            x = reshape(x, sizes_for_reshape((*before, *places.shape, *after)))
    return x


def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """Elements i, i + offset of two axes, as the last axis."""
    rank = ndim(x)
    if rank < 2:
        raise ValueError(f"diagonal: x needs at least two axes, got shape {N.shape(x)}")
    first, second = (one_axis(a, rank, "diagonal") for a in (axis1, axis2))
    if first == second:
        raise ValueError(f"diagonal: axis1 and axis2 must differ, got {axis1} and {axis2}")
    rows, columns = (known(x, a, "diagonal") for a in (first, second))
    others = [a for a in range(rank) if a not in (first, second)]
    moved = N.transpose(x, [*others, first, second])
    flat = reshape(moved, (*sizes_for_reshape(N.shape(moved)[:-2]), rows * columns))
    places = np.diagonal(np.arange(rows * columns).reshape(rows, columns), offset)
    return picked(flat, places, rank - 2)


def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The sum of a diagonal.

    Parameters
    ----------
    offset : of the diagonal: above the main one where positive; default 0.
    """
    return N.sum(diagonal(x, offset, axis1, axis2), -1)


def diag(x: Any, k: int = 0) -> Any:
    """The diagonal number k of a matrix; of a vector, the matrix that has it there."""
    x = N.convert_to_tensor(x)
    if ndim(x) == 2:
        return diagonal(x, k)
    if ndim(x) != 1:
        raise ValueError(f"diag: x must have one or two axes, got shape {N.shape(x)}")
    side = known(x, 0, "diag") + abs(k)
    rows = np.zeros((side, side), "int32")
    there = np.eye(side, k=k, dtype=bool)
    rows[there] = np.arange(side - abs(k))
    return N.where(there, picked(x, rows, 0), np.zeros((), N.dtype_of(x)))


def diagflat(x: Any, k: int = 0) -> Any:
    """The matrix that has all values of x on its diagonal number k."""
    return diag(N.ravel(N.convert_to_tensor(x)), k)


def _triangle(x: Any, k: int, what: str, lower: bool) -> Any:
    if ndim(x) < 2:
        raise ValueError(f"{what}: x needs at least two axes, got shape {N.shape(x)}")
    rows, columns = (known(x, a, what) for a in (ndim(x) - 2, ndim(x) - 1))
    below = np.tri(rows, columns, k if lower else k - 1, dtype=bool)
    return N.where(below if lower else ~below, x, np.zeros((), N.dtype_of(x)))


def tril(x: Any, k: int = 0) -> Any:
    """x, and zeros above diagonal number k of the last two axes."""
    return _triangle(x, k, "tril", True)


def triu(x: Any, k: int = 0) -> Any:
    """x, and zeros below diagonal number k of the last two axes."""
    return _triangle(x, k, "triu", False)


def slice(inputs: Any, start_indices: Any, shape: Sequence[int]) -> Any:
    """The block of this shape that begins at these indices, which may depend on data.

    Parameters
    ----------
    start_indices : of the block, one for each axis.
    """
    rank = ndim(inputs)
    if len(shape) != rank:
        raise ValueError(f"slice: {len(shape)} sizes do not fit {rank} axes")
    starts = list(start_indices) if isinstance(start_indices, (list, tuple)) else start_indices
    if not any_symbolic(starts):
        begins = [int(i) for i in N.convert_to_numpy(np.asarray(starts)).ravel()]
        ranges = tuple((i, i + n, 1) for i, n in zip(begins, shape))
        return apply(Slice(ranges), inputs)
    x = inputs
    parts = starts if isinstance(starts, list) else unstack(starts)
    for axis, (start, length) in enumerate(zip(parts, shape)):
        places = N.add(N.cast(start, "int32"), np.arange(length, dtype="int32"))
        x = gather(x, places, axis)
    return x


def any_symbolic(values: Any) -> bool:
    found = values if isinstance(values, list) else [values]
    return builtins.any(isinstance(v, Tensor) and is_symbolic(v) for v in found)


def slice_update(inputs: Any, start_indices: Any, updates: Any) -> Any:
    """inputs with the block that begins at these indices replaced by `updates`.

    Parameters
    ----------
    start_indices : of the block, one for each axis.
    """
    sizes, block = N.shape(inputs), N.shape(updates)
    if any_symbolic(start_indices):
        raise TypeError("slice_update: start_indices must be numbers, got a symbolic tensor")
    starts = [int(i) for i in np.asarray(start_indices).ravel()]
    if len(starts) != len(sizes) or len(block) != len(sizes):
        raise ValueError(
            f"slice_update: indices {starts} and updates {block} do not fit inputs {sizes}"
        )
    places = [np.arange(known(inputs, a, "slice_update")) - start for a, start in enumerate(starts)]
    inside = np.ones((1,) * len(sizes), bool)
    for axis, numbers in enumerate(places):
        length = known(updates, axis, "slice_update")
        here = (numbers >= 0) & (numbers < length)
        form = [-1 if a == axis else 1 for a in range(len(sizes))]
        inside = inside & here.reshape(form)
    after = [(s, n - s - b) for s, n, b in zip(starts, sizes, block)]  # type: ignore[operator]
    if [w for pair in after for w in pair if w < 0]:
        raise ValueError(f"slice_update: updates {block} at {starts} exceed inputs {sizes}")
    return N.where(inside, pad(updates, after), inputs)


def get_item(x: Any, key: Any) -> Any:
    """x[key]."""
    indexed: Any = x if isinstance(x, Tensor) else N.convert_to_numpy(x)
    return indexed[key]


__all__ = [
    "append", "array_split", "diag", "diagflat", "diagonal", "dsplit", "dstack", "fliplr",
    "flipud", "get_item", "hsplit", "hstack", "ndim", "pad", "repeat", "roll", "rot90", "size",
    "slice", "slice_update", "tile", "trace", "tril", "triu", "unstack", "vsplit", "vstack",
]  # fmt: skip
