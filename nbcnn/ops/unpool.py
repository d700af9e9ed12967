"""Max pooling that tells where its values come from, and the way back to these places."""

import dataclasses
from typing import Any

import numpy as np

from nbcnn.ops.conv import Padding, window_output
from nbcnn.ops.op import Op, apply, as_tensor
from nbcnn.ops.pool import MaxPool2D, Pool2D, Pool2DSpec
from nbcnn.ops.tensor import Constant, Node, Tensor, TensorSpec


@dataclasses.dataclass(frozen=True)
class PoolPlaces(Pool2D):
    """Of winners u * kw + v of windows, the pixels' numbers i * w + j in an image of `size` (h, w).

    int32; one of each window and channel.
    """

    name = "pool_places"
    size: tuple[int, int] = (1, 1)

    def infer(self, winners: TensorSpec) -> tuple[TensorSpec]:
        return (TensorSpec(winners.shape, "int32"),)

    def spec(self, winners: TensorSpec, *others: TensorSpec) -> Pool2DSpec:
        n, _, _, c = winners.shape
        return self.geometry((n, *self.size, c))

    def flops(self, winners: TensorSpec, *others: TensorSpec) -> int:
        return 0


@dataclasses.dataclass(frozen=True)
class Unpool2D(Op):
    """Windows and the image that they lie in: the spec is that of the pool that leads back.

    Places may be any pixels of the image; kernels are fast where each lies in its own window.
    Numbers outside of 0 .. h * w - 1 are no places: their values go nowhere.
    """

    window: tuple[int, int] = (2, 2)
    strides: tuple[int, int] = (2, 2)
    pads: tuple[int, int] = (0, 0)  # rows above and columns left of the image
    size: tuple[int, int] = (2, 2)

    def pool_spec(self, x: tuple[int, ...]) -> Pool2DSpec:
        n, oh, ow, c = x
        return Pool2DSpec(n, *self.size, c, oh, ow, *self.window, *self.strides, *self.pads)


@dataclasses.dataclass(frozen=True)
class MaxUnpool2D(Unpool2D):
    """y (n, h, w, c): each x goes to its place, zeros are elsewhere; x that meet are added.

    Inputs x and places, int32, of one shape.
    """

    name = "max_unpool2d"

    def infer(self, x: TensorSpec, places: TensorSpec) -> tuple[TensorSpec]:
        if x.shape != places.shape or len(x.shape) != 4:
            raise ValueError(
                f"max_unpool: inputs and indices must have one shape (n, h, w, c), got inputs of "
                f"shape {x.shape} and indices of shape {places.shape}"
            )
        if places.dtype != "int32":
            raise TypeError(f"max_unpool: indices must be int32, got {places.dtype}")
        return (TensorSpec((x.shape[0], *self.size, x.shape[3]), x.dtype),)

    def spec(self, x: TensorSpec, places: TensorSpec) -> Pool2DSpec:
        return self.pool_spec(x.shape)

    def gradient(self, node: Node, *dys: Tensor | None):
        op = MaxUnpool2DGradient(self.window, self.strides, self.pads, self.size)
        return [apply(op, dys[0], node.inputs[1]), None]


@dataclasses.dataclass(frozen=True)
class MaxUnpool2DGradient(Unpool2D):
    """dx: what dy has at the places; 0 for numbers that are none."""

    name = "max_unpool2d_dx"

    def infer(self, dy: TensorSpec, places: TensorSpec) -> tuple[TensorSpec]:
        return (TensorSpec(places.shape, dy.dtype),)

    def spec(self, dy: TensorSpec, places: TensorSpec) -> Pool2DSpec:
        return self.pool_spec(places.shape)

    def gradient(self, node: Node, *dys: Tensor | None):
        op = MaxUnpool2D(self.window, self.strides, self.pads, self.size)
        return [apply(op, dys[0], node.inputs[1]), None]


def max_pool_with_places(
    x: Any, window: tuple[int, int], strides: tuple[int, int], padding: Padding
) -> tuple[Any, Any]:
    """(y, places) of images (n, h, w, c) whose size is known."""
    size = _size(as_tensor(x).shape, "max_pool_with_indices")
    y, winners = apply(MaxPool2D(window, strides, padding, True, True), x)
    return y, apply(PoolPlaces(window, strides, padding, size), winners)


def max_unpool2d(
    x: Any,
    places: Any,
    window: tuple[int, int],
    strides: tuple[int, int],
    padding: Padding,
    size: tuple[int, int] | None,
) -> Any:
    """`size` (rows, columns) of the result; None: the least that the pool makes x of."""
    values, numbers = as_tensor(x), as_tensor(places)
    if size is None:
        counts = _size(values.shape, "max_unpool")
        rows, columns = map(least_size, counts, window, strides, _pairs(padding))
        size = rows, columns
    pads = _starts(values.shape, window, strides, padding, size)
    if isinstance(numbers, Constant):
        _check_places(numbers.value, size)
    if numbers.dtype != "int32" and np.dtype(numbers.dtype).kind in "iu":
        from nbcnn.ops.numpy_api import cast

        places = cast(places, "int32")
    return apply(MaxUnpool2D(window, strides, pads, size), x, places)


def _starts(
    x: Any, window: tuple[int, int], strides: tuple[int, int], padding: Padding, size: Any
) -> tuple[int, int]:
    """Rows above and columns left of an image of `size`.

    Raises ValueError where no pool makes inputs of shape x of it.
    """
    found = []
    for axis, *geometry in zip((1, 2), size, window, strides, _pairs(padding)):
        try:
            count, before, _ = window_output(*geometry)
        except ValueError as error:
            raise ValueError(f"max_unpool: output_size {tuple(size)}: {error}") from None
        # Pools that round up have one more window, which begins inside.
        most = count + (count * geometry[2] - before < geometry[0])
        if len(x) == 4 and x[axis] is not None and not count <= x[axis] <= most:
            raise ValueError(
                f"max_unpool: windows of {window} with strides {strides} and padding {padding} "
                f"make {count} along axis {axis} of an image of output_size {tuple(size)}, "
                f"got inputs of shape {x}"
            )
        found.append(before)
    above, left = found
    return above, left


def least_size(count: int, window: int, stride: int, padding: str | tuple[int, int]) -> int:
    """Size of an axis that a pool turns into `count` windows: the least; by "same" the largest, of
    which all windows are whole.
    """
    if padding == "same":
        return count * stride
    before, after = (0, 0) if isinstance(padding, str) else padding
    size = (count - 1) * stride + window - before - after
    if size < 1:
        raise ValueError(
            f"max_unpool: {count} windows of {window} with stride {stride} and padding "
            f"{(before, after)} leave an image of {size} pixels"
        )
    return size


def _pairs(padding: Padding) -> Any:
    return (padding,) * 2 if isinstance(padding, str) else padding


def _size(shape: Any, what: str) -> tuple[int, int]:
    """(h, w) of images (n, h, w, c)."""
    if len(shape) != 4 or None in shape[1:3]:
        raise ValueError(
            f"{what}: inputs must be images (n, h, w, c) of a size that is known, got shape {shape}"
        )
    return shape[1], shape[2]


def _check_places(places: np.ndarray, size: tuple[int, int]) -> None:
    """Raise ValueError for numbers that are no pixels: said where values are at hand."""
    low, high = (int(f(initial=0)) for f in (places.min, places.max))
    if low < 0 or high >= size[0] * size[1]:
        raise ValueError(
            f"max_unpool: indices must be pixels 0..{size[0] * size[1] - 1} of an image of "
            f"{size[0]} x {size[1]}, got numbers from {low} to {high}"
        )


def max_pool_with_indices(
    inputs: Any, pool_size: Any, strides: Any = None, padding: Any = "valid"
) -> tuple[Any, Any]:
    """(y, indices): the largest values of windows of images (n, h, w, c), and their places.

    An index is row * w + column of the pixel in its image, int32, as PyTorch counts; of equal
    values that of the first. `max_unpool` leads back.

    Parameters
    ----------
    strides : steps between windows, default those of `pool_size`.
    padding : "valid" (default), "same", or ((top, bottom), (left, right)).
    """
    window, steps, sides = _geometry(pool_size, strides, padding, "max_pool_with_indices")
    return max_pool_with_places(inputs, window, steps, sides)


def max_unpool(
    inputs: Any,
    indices: Any,
    pool_size: Any,
    strides: Any = None,
    padding: Any = "valid",
    output_size: Any = None,
) -> Any:
    """Images of zeros with the inputs at the pixels that `max_pool_with_indices` recorded.

    Values that meet at a pixel, as from overlapping windows, are added. Indices outside of the
    image are refused where their values are known, and left out elsewhere.

    Parameters
    ----------
    inputs, indices : (n, h, w, c) both.
    pool_size, strides, padding : those of the pool.
    output_size : (rows, columns) of the images; None (default): the least that the pool makes such
        inputs of, with padding "same" the inputs' size times the strides.

    Raises
    ------
    ValueError
        For inputs and indices of two shapes, and an output_size of which the pool makes others.
    """
    from nbcnn.ops.nn_api import pair

    window, steps, sides = _geometry(pool_size, strides, padding, "max_unpool")
    size = None if output_size is None else pair(output_size, "output_size")
    return max_unpool2d(inputs, indices, window, steps, sides, size)


def _geometry(pool_size: Any, strides: Any, padding: Any, what: str) -> Any:
    from nbcnn.ops.nn_api import _check_padding, pair

    window = pair(pool_size, "pool_size")
    steps = window if strides is None else pair(strides, "strides")
    if min(*window, *steps) < 1:
        raise ValueError(
            f"{what}: pool_size and strides must be positive, got {pool_size} and {strides}"
        )
    return window, steps, _check_padding(padding, what)


__all__ = ["max_pool_with_indices", "max_unpool"]
