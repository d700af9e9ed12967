"""Convolution and pooling along one axis and three, by those over two.

Along one axis an image is one row high. Over three axes, a convolution is the sum of one over two
for every plane of the kernel, and a pool is one over two, then one along the first.
"""

from collections.abc import Callable, Sequence
from typing import Any

from nbcnn.ops import numpy_api as N
from nbcnn.ops.conv import conv2d, window_output
from nbcnn.ops.nn_api import pair
from nbcnn.ops.numpy_shape import known, ndim, pad
from nbcnn.ops.shape import reshape
from nbcnn.ops.windows import several


def _sides(padding: Any, rank: int, what: str) -> Any:
    """'valid', 'same' or a pair for each axis."""
    if isinstance(padding, str):
        if padding.lower() not in ("valid", "same"):
            raise ValueError(
                f"{what}: padding must be 'valid', 'same' or explicit sizes, got {padding!r}"
            )
        return padding.lower()
    each = [padding] * rank if isinstance(padding, int) else list(padding)
    sides = tuple((p, p) if isinstance(p, int) else tuple(p) for p in each)
    if len(sides) != rank or not all(len(s) == 2 for s in sides):
        raise ValueError(f"{what}: padding must have a pair for each of {rank} axes, got {padding}")
    return sides


def _split(sides: Any) -> tuple[Any, Any]:
    """Padding of the first axis, and of the others."""
    return (sides, sides) if isinstance(sides, str) else (sides[0], sides[1:])


def conv(
    x: Any, kernel: Any, strides: Any, padding: Any, dilation: Any, groups: int, last: bool
) -> Any:
    """As `nn_api.conv`, of (n, w, c) or (n, d, h, w, c)."""
    rank = ndim(x) - 2
    if ndim(kernel) != rank + 2 or rank not in (1, 3):
        raise ValueError(
            f"conv: kernel {N.shape(kernel)} does not fit inputs of shape {N.shape(x)}"
        )
    x = x if last else N.moveaxis(x, 1, -1)
    step, apart = several(strides, rank, "strides"), several(dilation, rank, "dilation_rate")
    sides = _sides(padding, rank, "conv")
    if rank == 1:
        flat = sides if isinstance(sides, str) else ((0, 0), sides[0])
        y = N.squeeze(
            conv2d(
                N.expand_dims(x, 1), N.expand_dims(kernel, 0), (1, step[0]), flat, (1, apart[0]),
                groups,
            ),
            1,
        )  # fmt: skip
    else:
        y = _conv3d(x, kernel, step, sides, apart, groups)
    return y if last else N.moveaxis(y, -1, 1)


def _conv3d(
    x: Any, kernel: Any, strides: Sequence[int], sides: Any, dilation: Sequence[int], groups: int
) -> Any:
    first, others = _split(sides)
    planes, depth = known(kernel, 0, "conv"), known(x, 1, "conv")
    count, before, after = window_output(depth, planes, strides[0], first, dilation[0])
    widths = ((0, 0), (max(before, 0), max(after, 0)), (0, 0), (0, 0), (0, 0))
    x = pad(x, widths) if before > 0 or after > 0 else x
    total: Any = None
    for plane in range(planes):
        start = plane * dilation[0]
        stop = start + (count - 1) * strides[0] + 1
        cut = N.slice_axis(x, 1, start, stop, strides[0])
        rest = [known(cut, a, "conv") for a in (2, 3, 4)]
        images = reshape(cut, (-1, *rest))
        w = N.squeeze(N.slice_axis(kernel, 0, plane, plane + 1), 0)
        y = conv2d(
            images, w, pair(strides[1:], "strides"), others, pair(dilation[1:], "dilation_rate"),
            groups,
        )  # fmt: skip
        total = y if total is None else N.add(total, y)
    return reshape(total, (-1, count, *(known(total, a, "conv") for a in (1, 2, 3))))


def pool(
    op: Callable, x: Any, window: Any, strides: Any, padding: Any, last: bool, what: str
) -> Any:
    """As `nn_api.max_pool`, of (n, w, c) or (n, d, h, w, c)."""
    rank = ndim(x) - 2
    if rank not in (1, 3):
        raise ValueError(f"{what}: inputs must have 3 to 5 axes, got shape {N.shape(x)}")
    x = x if last else N.moveaxis(x, 1, -1)
    size = several(window, rank, "pool_size")
    step = size if strides is None else several(strides, rank, "strides")
    sides = _sides(padding, rank, what)
    if rank == 1:
        flat = sides if isinstance(sides, str) else ((0, 0), sides[0])
        y = N.squeeze(op(N.expand_dims(x, 1), (1, size[0]), (1, step[0]), flat), 1)
        return y if last else N.moveaxis(y, -1, 1)
    first, others = _split(sides)
    depth, h, w, c = (known(x, a, what) for a in (1, 2, 3, 4))
    y = op(reshape(x, (-1, h, w, c)), size[1:], step[1:], others)
    oh, ow = known(y, 1, what), known(y, 2, what)
    columns = reshape(y, (-1, depth, oh * ow, c))
    along = first if isinstance(first, str) else (first, (0, 0))
    y = op(columns, (size[0], 1), (step[0], 1), along)
    y = reshape(y, (-1, known(y, 1, what), oh, ow, c))
    return y if last else N.moveaxis(y, -1, 1)
