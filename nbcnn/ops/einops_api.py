"""Axes named by words: `rearrange`."""

import math
import re
from typing import Any

from nbcnn.ops import numpy_api as N
from nbcnn.ops.numpy_shape import sizes_for_reshape
from nbcnn.ops.shape import reshape


def _groups(text: str) -> list[list[str]]:
    """The axes of one side of a pattern; each is a list of names: 'b (h w)' is [[b], [h, w]]."""
    found: list[list[str]] = []
    for group, name in re.findall(r"\(([^()]*)\)|(\S+)", text.strip()):
        names = [name] if name else group.split()
        for one in names:
            if not (one.isidentifier() or one == "1"):
                raise ValueError(f"rearrange: {one!r} is no name of an axis in {text.strip()!r}")
        found.append([one for one in names if one != "1"])
    return found


def rearrange(tensor: Any, pattern: str, **axes_lengths: int) -> Any:
    """Axes reordered, joined and taken apart as a pattern such as 'b h w c -> b (h w) c' says.

    axes_lengths: sizes of axes that are taken apart; one in each group may be left out.

    Parameters
    ----------
    tensor : what to rearrange.
    """
    if not isinstance(pattern, str) or pattern.count("->") != 1:
        raise ValueError(f"rearrange: pattern must hold one '->', got {pattern!r}")
    left, right = (_groups(side) for side in pattern.split("->"))
    names = [name for group in left for name in group]
    others = [name for group in right for name in group]
    if sorted(names) != sorted(others) or len(set(names)) != len(names):
        raise ValueError(f"rearrange: both sides must name the same axes once, got {pattern!r}")
    unknown = set(axes_lengths) - set(names)
    if unknown:
        raise ValueError(f"rearrange: {min(unknown)!r} is no axis of {pattern!r}")
    shape = N.shape(tensor)
    if len(shape) != len(left):
        raise ValueError(f"rearrange: {pattern!r} has {len(left)} axes, got shape {shape}")
    sizes: dict[str, int | None] = dict(axes_lengths)
    for group, size in zip(left, shape):
        missing = [name for name in group if name not in sizes]
        given = math.prod(axes_lengths[name] for name in group if name in axes_lengths)
        if len(missing) > 1:
            raise ValueError(f"rearrange: give the sizes of {missing} but for one")
        if missing:
            sizes[missing[0]] = None if size is None else size // given
        if size is not None and math.prod(sizes[n] for n in group) != size:  # type: ignore[misc]
            raise ValueError(f"rearrange: axis ({' '.join(group)}) of size {size} does not divide")
    x = reshape(tensor, sizes_for_reshape([sizes[name] for name in names]))
    x = N.transpose(x, [names.index(name) for name in others])
    joined = []
    for group in right:
        parts = [sizes[name] for name in group]
        joined.append(-1 if None in parts else math.prod(parts))  # type: ignore[arg-type]
    return reshape(x, joined)


__all__ = ["rearrange"]
