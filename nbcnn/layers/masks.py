"""Masks of maps: what layers that take one understand by it."""

from collections.abc import Sequence
from typing import Any

from nbcnn import ops
from nbcnn.layers.structure import is_shape

Shape = Sequence[int | None]


def parted(inputs: Any, mask: Any = None) -> tuple[Any, Any]:
    """(map, mask) of a call with `inputs` or `[inputs, mask]`, or with the mask apart."""
    if isinstance(inputs, (list, tuple)):
        x, own = inputs
        return x, own if mask is None else mask
    return inputs, mask


def shape_of_map(label: str, shapes: Any) -> Shape:
    """The map's shape of a layer's input shapes. Raises ValueError where there are not one or two
    inputs.
    """
    if is_shape(shapes):
        return tuple(shapes)
    if len(shapes) != 2 or not all(map(is_shape, shapes)):
        raise ValueError(f"{label}: expected inputs or [inputs, mask], got shapes {shapes}")
    return tuple(shapes[0])


def factors(label: str, mask: Any, x: Any) -> Any:
    """A mask as numbers 0 and 1 to multiply x (n, spatial axes..., c) by: (n, spatial axes..., 1).

    Parameters
    ----------
    mask : (n, spatial axes...), True or a number above 1/2 where x is visible; sizes that divide
        those of x count for patches.

    Raises
    ------
    ValueError
        For a mask of other sizes.
    """
    spatial, given = x.shape[1:-1], tuple(mask.shape)
    if len(given) != x.ndim - 1 or not all(map(_divides, given[1:], spatial)):
        raise ValueError(
            f"{label}: mask must have shape {(x.shape[0], *spatial)}, or sizes of patches that "
            f"divide these, got {given} for inputs of shape {x.shape}"
        )
    seen = ops.cast(ops.greater(ops.cast(mask, x.dtype), 0.5), x.dtype)
    for axis, (count, size) in enumerate(zip(given[1:], spatial), 1):
        if count != size and None not in (count, size):
            seen = ops.repeat(seen, size // count, axis)
    return ops.expand_dims(seen, -1)


def _divides(count: int | None, size: int | None) -> bool:
    """Whether a mask's size fits the map's, as far as they are known."""
    if count is None or size is None:
        return True
    return count > 0 and size % count == 0
