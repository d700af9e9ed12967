"""Layers that move values without computing."""

from typing import Any

import numpy as np

from nbcnn import ops
from nbcnn.declare import KINDS, Expected, arg, integers, positive
from nbcnn.layers import fields
from nbcnn.layers.base import Layer
from nbcnn.layers.image_size import INTERPOLATIONS
from nbcnn.layers.spatial import Spatial
from nbcnn.ops.op import apply
from nbcnn.ops.pool import Upsample2D
from nbcnn.ops.shape import BatchReshape
from nbcnn.ops.shape import Flatten as FlattenOp
from nbcnn.ops.tensor import Tensor


class Flatten(Spatial):
    """All values of a sample in one axis: (n, ...) -> (n, product of the rest)."""

    data_format: str = fields.data_format()
    _least_rank = 1

    def call(self, inputs: Any) -> Any:
        x = self.channels_last(inputs) if inputs.ndim > 1 else inputs
        return apply(FlattenOp(), x)


def _target(value: Any) -> tuple[int, ...]:
    sizes = (value,) if KINDS["int"](value) else value
    if (
        not isinstance(sizes, (list, tuple))
        or any(not isinstance(n, (int, np.integer)) or n < -1 for n in sizes)
        or sizes.count(-1) > 1
    ):
        raise Expected("must be a tuple of sizes, at most one of them -1")
    return tuple(int(n) for n in sizes)


class Reshape(Layer):
    """The values of a sample under another shape: (n, ...) -> (n, *target_shape).

    Parameters
    ----------
    target_shape : sizes without the batch; one may be -1, to be worked out.
    """

    target_shape: tuple = arg(convert=_target)

    def _check_input(self, shapes: Any) -> None:
        if None in shapes[1:]:
            return
        have, want = (int(np.prod(s, dtype=np.int64)) for s in (shapes[1:], self.target_shape))
        if have % -want if want < 0 else have != want:
            raise ValueError(
                f"Reshape {self.name!r}: input shape {shapes} has {have} values a sample, "
                f"which do not fit target_shape {self.target_shape}"
            )

    def call(self, inputs: Any) -> Any:
        return apply(BatchReshape(self.target_shape), inputs)


def _order(value: Any) -> tuple[int, ...]:
    if not isinstance(value, (list, tuple)) or not all(KINDS["int"](n) for n in value):
        raise Expected("must be a tuple of axes")
    return tuple(value)


class Permute(Layer):
    """The axes of a sample in another order.

    Parameters
    ----------
    dims : the axes, counted from 1; (2, 1) swaps the two axes after the batch.
    """

    dims: tuple = arg(convert=_order)

    def __post_init__(self) -> None:
        super().__post_init__()
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(
                f"Permute: dims must hold 1..{len(self.dims)} once each, got {self.dims}"
            )

    def _check_input(self, shapes: Any) -> None:
        if len(shapes) != len(self.dims) + 1:
            raise ValueError(
                f"Permute {self.name!r}: dims {self.dims} need an input of {len(self.dims) + 1} "
                f"axes, got shape {shapes}"
            )

    def call(self, inputs: Any) -> Any:
        return ops.transpose(inputs, (0, *self.dims))


class RepeatVector(Layer):
    """Every sample n times: (batch, features) -> (batch, n, features)."""

    n: int = arg(check=positive)
    _input_rank = 2

    def call(self, inputs: Any) -> Any:
        zeros = np.zeros((1, self.n, 1), inputs.dtype)  # adding them does it for any batch size
        return ops.add(ops.expand_dims(inputs, 1), zeros)


class ZeroPadding2D(Spatial):
    """Zeros around images.

    Parameters
    ----------
    padding : rows and columns on each side: a number, (rows, columns), or ((top, bottom), (left,
        right)); default 1.
    """

    padding: Any = arg(1, convert=fields.sides(2))
    data_format: str = fields.data_format()
    _input_rank = 4

    def call(self, inputs: Any) -> Any:
        return ops.pad(inputs, _all_axes(self, (0, 0), self.padding))


class ZeroPadding1D(Spatial):
    """Zeros before and after sequences (n, length, c).

    Parameters
    ----------
    padding : a number, or (before, after); default 1.
    """

    padding: Any = arg(1, convert=lambda v: fields.sides(1)(v)[0])
    data_format: str = fields.data_format()
    _input_rank = 3

    def call(self, inputs: Any) -> Any:
        return ops.pad(inputs, _all_axes(self, (0, 0), (self.padding,)))


class ZeroPadding3D(Spatial):
    """Zeros around volumes (n, d, h, w, c).

    Parameters
    ----------
    padding : a number, (planes, rows, columns), or ((front, back), (top, bottom), (left, right));
        default 1.
    """

    padding: Any = arg(1, convert=fields.sides(3))
    data_format: str = fields.data_format()
    _input_rank = 5

    def call(self, inputs: Any) -> Any:
        return ops.pad(inputs, _all_axes(self, (0, 0), self.padding))


class Cropping(Spatial):
    """Base of layers that leave out borders."""

    cropping: Any = arg(0, convert=fields.sides(2))
    data_format: str = fields.data_format()

    def _check_input(self, shapes: Any) -> None:
        super()._check_input(shapes)
        _check_cropping(self, self.cropping, shapes)

    def call(self, inputs: Any) -> Any:
        return inputs[tuple(_inner(*c) for c in _all_axes(self, (0, 0), self.cropping))]


class Cropping2D(Cropping):
    """Images without their borders.

    cropping : rows and columns to leave out: a number, (rows, columns), or ((top, bottom),
    (left, right)); default 0.
    """

    _input_rank = 4


class Cropping3D(Cropping):
    """Volumes (n, d, h, w, c) without their borders.

    Parameters
    ----------
    cropping : a number, (planes, rows, columns), or ((front, back), (top, bottom), (left, right));
        default 1.
    """

    cropping: Any = arg(1, convert=fields.sides(3))
    _input_rank = 5


class Cropping1D(Layer):
    """Sequences (n, length, c) without their ends.

    Parameters
    ----------
    cropping : a number of steps, or (before, after); default 1.
    """

    cropping: Any = arg(1, convert=lambda v: fields.sides(1)(v)[0])
    _input_rank = 3

    def _check_input(self, shapes: Any) -> None:
        super()._check_input(shapes)
        _check_cropping(self, (self.cropping,), shapes)

    def call(self, inputs: Any) -> Any:
        return inputs[:, _inner(*self.cropping)]


def _check_cropping(layer: Any, cropping: Any, shape: Any) -> None:
    first = 2 if getattr(layer, "data_format", "") == "channels_first" else 1
    for size, (before, after) in zip(shape[first:], cropping):
        if size is not None and before + after >= size:
            raise ValueError(
                f"{type(layer).__name__} {layer.name!r}: cropping {layer.cropping} leaves nothing "
                f"of input shape {shape}"
            )


def _inner(before: int, after: int) -> slice:
    return slice(before, -after if after else None)


def _all_axes(layer: Spatial, rest: Any, spatial: Any) -> list:
    """One entry per axis of the input: `spatial` for the spatial ones, `rest` for the others."""
    if layer.data_format == "channels_first":
        return [rest, rest, *spatial]
    return [rest, *spatial, rest]


class UpSampling2D(Spatial):
    """Images `size` times as high and wide.

    Parameters
    ----------
    size : (rows, columns), or one number for both; default 2.
    interpolation : 'nearest' (default) repeats every pixel; 'bilinear', 'bicubic', 'lanczos3' and
        'lanczos5' as in `Resizing`.
    """

    size: tuple = fields.sizes(2, 2)
    data_format: str = fields.data_format()
    interpolation: str = arg("nearest", choices=INTERPOLATIONS)
    _input_rank = 4

    def call(self, inputs: Any) -> Any:
        x = self.channels_last(inputs)
        if self.interpolation == "nearest":
            return self.restored(apply(Upsample2D(self.size), x))
        n, h, w, c = x.shape
        if h is None or w is None:  # the weights of neighbours depend on the sizes
            high, wide = (None if s is None else s * k for s, k in zip((h, w), self.size))
            return self.restored(Tensor((n, high, wide, c), x.dtype))
        size = (h * self.size[0], w * self.size[1])
        return self.restored(ops.image.resize(x, size, self.interpolation))


class UpSampling1D(Layer):
    """Every step of a sequence (n, length, c) repeated `size` (2) times."""

    size: Any = arg(2, convert=lambda v: integers(1)(v)[0], check=positive)
    _input_rank = 3

    def call(self, inputs: Any) -> Any:
        columns = apply(Upsample2D((self.size, 1)), ops.expand_dims(inputs, 2))
        return ops.squeeze(columns, 2)


class UpSampling3D(Spatial):
    """Every value of a volume (n, d, h, w, c) repeated `size` times along its axes.

    Parameters
    ----------
    size : (planes, rows, columns), or one number for all; default 2.
    """

    size: tuple = fields.sizes(3, 2)
    data_format: str = fields.data_format()
    _input_rank = 5
    needs_sizes = True

    def call(self, inputs: Any) -> Any:
        from nbcnn.ops import nn_ranks  # not many models need it

        return self.restored(nn_ranks.upsample(self.channels_last(inputs), self.size))
