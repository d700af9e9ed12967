"""Padding around maps by numbers, by what is in them, or by their means."""

from collections.abc import Sequence
from typing import Any

from nbcnn import ops
from nbcnn.declare import arg
from nbcnn.layers import fields
from nbcnn.layers.fields import Sides
from nbcnn.layers.spatial import Spatial
from nbcnn.ops.borders import PadBorder, limit, pad_by_mean
from nbcnn.ops.conv import window_output
from nbcnn.ops.op import apply

# The names that the operation has for them.
FROM_WITHIN = {"reflect": "reflect", "symmetric": "symmetric", "edge": "edge", "circular": "wrap"}


def border(x: Any, sides: Sides, mode: str, value: float, first: int = 1) -> Any:
    """x within a border of so much before and after each axis from `first` on; see `Padding2D`."""
    stop = first + len(sides)
    widths = (((0, 0),) * first) + sides + ((0, 0),) * (x.ndim - stop)
    if not any(any(pair) for pair in widths):
        return x
    if mode in FROM_WITHIN:
        return apply(PadBorder(widths, FROM_WITHIN[mode]), x)
    if mode == "mean":
        return pad_by_mean(x, widths, (first, stop))
    return ops.pad(x, widths, constant_values=value if mode == "constant" else 0.0)


def check_border(layer: Spatial, shape: Any, sides: Sequence, mode: str) -> None:
    """Raise ValueError where a side takes more than there is along a known size."""
    if mode not in FROM_WITHIN:
        return
    for size, pair in zip(layer.spatial_sizes(shape), sides):
        most = size if size is None else limit(FROM_WITHIN[mode], size)
        if most is not None and any(pair) and max(pair) > most:
            raise ValueError(
                f"{layer.label}: {mode!r} padding of {pair} takes up to {max(pair)} of the numbers "
                f"along an axis, there are {most} to take in input shape {shape}"
            )


def sides_of(layer: Any, sizes: Sequence[int | None]) -> Sides:
    """(before, after) of each spatial axis for the layer's windows and padding, as numbers.

    Raises ValueError where they follow from a size that is not known.
    """
    if not isinstance(layer.padding, str):
        return layer.padding
    found = []
    for size, k, s, d in zip(sizes, layer.kernel_size, layer.strides, layer.dilation_rate):
        if layer.padding == "causal":
            found.append(((k - 1) * d, 0))
            continue
        if size is None and s > 1:
            raise ValueError(f"{layer.label}: sizes must be known, got {tuple(sizes)}")
        # With stride 1 any size has the same padding.
        found.append(window_output((k - 1) * d + 1 if size is None else size, k, s, "same", d)[1:])
    return tuple(found)


class BorderPadding(Spatial):
    """Base of layers that put something around maps."""

    padding: Any = arg(1, convert=fields.sides(2))
    mode: str = fields.padding_mode("constant", kw_only=False)
    value: float = 0.0
    data_format: str = fields.data_format()
    _beyond_keras = True

    def _check_input(self, shapes: Any) -> None:
        super()._check_input(shapes)
        check_border(self, shapes, self.padding, self.mode)

    def call(self, inputs: Any) -> Any:
        first = 2 if self.data_format == "channels_first" else 1
        return border(inputs, self.padding, self.mode, self.value, first)


class Padding2D(BorderPadding):
    """Images within a border that is made in one of several ways.

    "constant": `value` (0); "zeros": 0; "reflect": the image mirrored about its outermost pixels,
    dcb|abcd|cba; "symmetric": about its edges, cba|abcd|dcb; "edge" ("replicate"): the outermost
    pixels, aaa|abcd|ddd; "circular" ("wrap"): the image again, bcd|abcd|abc; "mean": each channel's
    mean over the image, of every sample by itself (of whole numbers as floats).

    Parameters
    ----------
    padding : rows and columns on each side: a number, (rows, columns), or ((top, bottom), (left,
        right)), each of which may differ; default 1.
    mode : one of these names, default "constant".
    value : the number for "constant", default 0.
    data_format : "channels_last" (default) or "channels_first".

    Shapes: (n, h, w, c) -> (n, top + h + bottom, left + w + right, c).

    Raises
    ------
    ValueError
        For a border that is wider than what it is made of: one pixel less than the image for
        "reflect", the image for "symmetric" and "circular".

    Examples
    --------
    >>> layers.Padding2D(((0, 2), (1, 1)), "reflect")(Input((5, 5, 3))).shape
    (None, 7, 7, 3)
    """

    _input_rank = 4


class Padding1D(BorderPadding):
    """Sequences (n, length, c) within a border. See `Padding2D`.

    Parameters
    ----------
    padding : a number, or (before, after); default 1.
    """

    padding: Any = arg(1, convert=fields.sides(1))
    _input_rank = 3


class Padding3D(BorderPadding):
    """Volumes (n, d, h, w, c) within a border. See `Padding2D`.

    Parameters
    ----------
    padding : a number, (planes, rows, columns), or ((front, back), (top, bottom), (left, right));
        default 1.
    """

    padding: Any = arg(1, convert=fields.sides(3))
    _input_rank = 5
