"""How large the output of a window that slides over an input is."""

from typing import Any

import numpy as np

NAMES = ("valid", "same", "causal", "full")


def output_size(n: Any, k: Any, s: Any = 1, p: Any = 0, d: Any = 1, strict: bool = False) -> Any:
    """(W - K + 2P) / S + 1, rounded down: the positions of a window on a padded axis.

    A dilated window counts as the (k - 1) * d + 1 elements that it reaches over. See Dumoulin and
    Visin, "A guide to convolution arithmetic for deep learning" (2016).

    Parameters
    ----------
    n : elements of the input, W: a number, or one for each axis.
    k : size of the window, K; a single one serves for all axes, as for s, p and d.
    s : stride, S; default 1.
    p : zeros at each side, P: a number or (before, after), for several axes one of these for each;
        or "valid" (0, default), "same" (the output has n / s elements, rounded up), "causal" (all
        zeros before) or "full" (as many as still meet the input with one element).
    d : dilation: distance of the elements that neighbouring entries of the window see; default 1.
    strict : whether windows must tile the padded input.

    Returns
    -------
    A number for a number n, else a tuple.

    Raises
    ------
    ValueError
        Where the window is larger than the padded input; with `strict` also where
        (W - K + 2P) / S is no integer, so that elements at the end are in no window.

    Examples
    --------
    >>> output_size((227, 227), 11, 4, strict=True)  # the first layer of AlexNet
    (55, 55)
    """
    sizes = _numbers("n", n, None, 0)
    axes = len(sizes)
    windows, strides, dilations = (
        _numbers(name, value, axes, 1) for name, value in (("k", k), ("s", s), ("d", d))
    )
    pads = _paddings(p, axes, isinstance(n, (int, np.integer)))
    found = tuple(
        _along(*one, strict) for one in zip(sizes, windows, strides, pads, dilations, strict=True)
    )
    return found[0] if isinstance(n, (int, np.integer)) else found


def _along(size: int, window: int, stride: int, padding: Any, dilation: int, strict: bool) -> int:
    reach = (window - 1) * dilation + 1
    before, after = _sides(size, reach, stride, padding)
    rest = size - reach + before + after
    shown = f"{window}" + (f" (dilated by {dilation}: {reach})" if dilation > 1 else "")
    if rest < 0:
        raise ValueError(
            f"output_size: a window of {shown} is larger than its padded input of "
            f"{size} + {before} + {after} = {size + before + after}"
        )
    if strict and rest % stride:
        raise ValueError(
            f"output_size: (W - K + 2P) / S = ({size} - {reach} + {before + after}) / {stride} = "
            f"{rest / stride:g} is no integer: windows of {shown} at a stride of {stride} leave "
            f"{rest % stride} of {size + before + after} elements at the end unseen"
        )
    return rest // stride + 1


def _sides(size: int, reach: int, stride: int, padding: Any) -> tuple[int, int]:
    """Zeros before and after."""
    if padding == "same":
        total = max((-(-size // stride) - 1) * stride + reach - size, 0)
        return total // 2, total - total // 2
    if padding == "causal":
        return reach - 1, 0
    return (reach - 1, reach - 1) if padding == "full" else padding


def _numbers(name: str, value: Any, axes: int | None, least: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,) * (axes or 1)
    if not all(_is_whole(v) and v >= least for v in values) or len(values) != (axes or len(values)):
        wanted = "a whole number" if axes == 1 else f"a whole number or {axes or 'several'}"
        raise ValueError(f"output_size: {name} must be {wanted}, at least {least}, got {value!r}")
    return tuple(map(int, values))


def _paddings(p: Any, axes: int, single: bool) -> tuple[Any, ...]:
    """For each axis a name or (before, after)."""
    if isinstance(p, str):
        given: Any = (p,) * axes
    elif _is_whole(p) or (single and _is_pair(p)):
        given = (p,) * axes
    else:
        given = p
    if isinstance(given, (list, tuple)) and len(given) == axes:
        found = tuple((v, v) if _is_whole(v) else v for v in given)
        if all(v in NAMES if isinstance(v, str) else _is_pair(v) and min(v) >= 0 for v in found):
            return tuple(
                (0, 0) if v == "valid" else v if isinstance(v, str) else tuple(v) for v in found
            )
    raise ValueError(
        f"output_size: p must be {', '.join(map(repr, NAMES))}, a number or (before, after), or "
        f"one of these for each of {axes} axes, none negative, got {p!r}"
    )


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _is_pair(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(map(_is_whole, value))
