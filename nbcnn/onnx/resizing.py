"""Resize and Upsample: a matrix for every axis whose size changes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from nbcnn import layers
from nbcnn.onnx.building import Builder, Unsupported
from nbcnn.onnx.files import Entry, ints
from nbcnn.onnx.values import Value, made, place_of
from nbcnn.ops.numpy_shape import picked
from nbcnn.ops.windows import along

NEAREST: dict[str, Callable[[Any], Any]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def resize(b: Builder, entry: Entry, x: Value, *rest: Any) -> Value:
    options, arrays = entry.attributes, [b.optional(entry, r) for r in rest]
    mode = options.get("mode", "nearest")
    if mode not in ("nearest", "linear", "bilinear", "cubic") or options.get("antialias", 0):
        raise Unsupported(f"{entry}: mode {mode!r}, or antialias")
    if options.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Unsupported(f"{entry}: keep_aspect_ratio_policy")
    old = entry.kind == "Upsample" or b.opset < 11
    where = options.get("coordinate_transformation_mode", "half_pixel")
    rounding = options.get("nearest_mode", "round_prefer_floor")
    if old:
        where, rounding = "asymmetric", "floor"
    tensor, last = x.either(x.is_last), x.is_last
    changes = [c for c in _changes(entry, x, arrays, old) if c[1] != c[2] or c[3] != 1]
    if any(axis < 1 for axis, *_ in changes):
        raise Unsupported(f"{entry}: of the batch")
    repeats = _repeats(changes, mode, where, rounding, x.rank)
    if repeats:
        return Value(last=layers.UpSampling2D(repeats, name=b.name(entry))(x.last()))
    for axis, size, output, scale in reversed(changes):
        b.spend(output * size)
        places, place = _places(entry, where, size, output, scale), place_of(axis, x.rank, last)
        if mode == "nearest":
            numbers = np.clip(NEAREST[rounding](places), 0, size - 1).astype(int)
            tensor = picked(tensor, numbers, place)
            continue
        cubic, a = mode == "cubic", float(options.get("cubic_coeff_a", -0.75))
        outside = bool(options.get("exclude_outside", 0))
        tensor = along(tensor, _matrix(places, size, cubic, a, outside), place)
    return made(tensor, last)


def _repeats(
    changes: Any, mode: str, where: str, rounding: str, rank: int
) -> tuple[int, int] | None:
    """How often each pixel comes, where that is all that happens."""
    pairs = (("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"))
    fits = mode == "nearest" and (where, rounding) in pairs and rank == 4
    sizes = {2: 1, 3: 1}
    for axis, size, output, scale in changes:
        if axis not in sizes or output % size or scale != output // size:
            return None
        sizes[axis] = output // size
    return (sizes[2], sizes[3]) if fits and changes else None


def _changes(entry: Entry, x: Value, arrays: list[Any], old: bool) -> list[Any]:
    """(axis, size, new size, scale) of each axis."""
    given = [a if a is not None and a.size else None for a in arrays]
    if old:
        scales = entry.attributes.get("scales") or (given[0] if given else None)
        sizes = None
    else:
        scales, sizes = (*given[1:], None, None)[:2]
    axes = ints(entry.attributes, "axes", list(range(x.rank)))
    shape = [x.shape[a % x.rank] for a in axes]
    if (scales is None) == (sizes is None):
        raise ValueError("either scales or sizes are needed")
    numbers = np.asarray(scales if sizes is None else sizes)
    if len(numbers) != len(axes):
        raise ValueError(f"{len(numbers)} numbers for {len(axes)} axes")
    found = []
    for axis, size, number in zip(axes, shape, numbers.tolist()):
        if size is None:  # the batch: a scale of 1, or the size itself
            if sizes is None and number != 1:
                found.append((0, 1, 2, 1.0))
            continue
        output = int(np.floor(np.float32(size) * np.float32(number))) if sizes is None else number
        if not 0 < output <= 1 << 20:
            raise ValueError(f"axis {axis} would be of size {output}")
        found.append((axis % x.rank, size, output, number if sizes is None else output / size))
    return found


def _places(entry: Entry, where: str, size: int, output: int, scale: float) -> np.ndarray:
    """Where each new pixel lies among the old ones, in float32: which one is nearest depends on the
    last digit, and float32 is what other runtimes count with.
    """
    i, scale = np.arange(output, dtype="float32"), np.float32(scale)  # type: ignore[assignment]
    if where == "half_pixel":
        return (i + np.float32(0.5)) / scale - np.float32(0.5)
    if where == "pytorch_half_pixel":
        return (i + np.float32(0.5)) / scale - np.float32(0.5) if output > 1 else 0 * i
    if where == "asymmetric":
        return i / scale
    if where == "align_corners":
        return i * (size - 1) / (output - 1) if output > 1 else 0 * i
    if where == "half_pixel_symmetric":
        centre, whole = size / 2, output / (scale * size)
        return centre * (1 - whole) + (i + np.float32(0.5)) / scale - np.float32(0.5)
    raise Unsupported(f"{entry}: coordinate_transformation_mode {where!r}")


def _matrix(places: np.ndarray, size: int, cubic: bool, a: float, outside: bool) -> np.ndarray:
    """(output, size): weights of the neighbours; those beyond the ends count for the ends."""
    matrix = np.zeros((len(places), size))
    rows, down = np.arange(len(places)), np.floor(places)
    for step in range(-1, 3) if cubic else range(2):
        distance = np.abs(places - (down + step))
        weight = _cubic(distance, a) if cubic else 1 - distance
        columns = down + step
        if outside:
            weight = np.where((columns < 0) | (columns > size - 1), 0, weight)
        np.add.at(matrix, (rows, np.clip(columns, 0, size - 1).astype(int)), weight)
    return matrix / matrix.sum(1, keepdims=True) if outside else matrix


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))
