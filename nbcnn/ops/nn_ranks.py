"""Convolution and pooling along one axis and three, by those over two.

Along one axis an image is one row high. Over three axes, a convolution is one over two whose
channels are those of several planes (`conv3d`), and a pool is one over two, then one along the
first.
"""

from collections.abc import Callable, Sequence
from typing import Any

from nbcnn.ops import conv3d
from nbcnn.ops import numpy_api as N
from nbcnn.ops.conv import conv2d, transposed_output
from nbcnn.ops.elementwise import of_one_type
from nbcnn.ops.nn_more import conv_transpose
from nbcnn.ops.numpy_shape import known, ndim, pad
from nbcnn.ops.op import apply
from nbcnn.ops.pool import Upsample2D
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
    x: Any,
    kernel: Any,
    strides: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    last: bool,
    algorithm: str | None = None,
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
                groups, algorithm,
            ),
            1,
        )  # fmt: skip
    else:
        for axis in range(1, 5):
            known(x, axis, "conv")
        y = conv3d.conv3d(x, kernel, step, _split(sides), apart, groups, algorithm)
    return y if last else N.moveaxis(y, -1, 1)


def conv3d_transpose(
    x: Any,
    kernel: Any,
    strides: Any,
    padding: str,
    output_padding: Any,
    dilation: Any,
    algorithm: str | None = None,
) -> Any:
    """As `nn_more.conv_transpose`, of (n, d, h, w, c) with a kernel (kd, kh, kw, filters, c).

    Where planes of the result overlap and are more than one apart, every plane of the kernel
    enlarges all planes of x; the results are added up, each moved by its place in the kernel.
    """
    what = "conv_transpose"
    if ndim(x) != 5 or ndim(kernel) != 5 or N.shape(x)[4] != N.shape(kernel)[4]:
        raise ValueError(
            f"{what}: expected inputs (n, d, h, w, c) and kernel (kd, kh, kw, filters, c), "
            f"got {N.shape(x)} and {N.shape(kernel)}"
        )
    step, apart = several(strides, 3, "strides"), several(dilation, 3, "dilation_rate")
    extra = None if output_padding is None else several(output_padding, 3, "output_padding")
    depth, h, w, c = (known(x, a, what) for a in (1, 2, 3, 4))
    planes = known(kernel, 0, what)
    sizes, sides = zip(*(
        transposed_output(
            size, known(kernel, a, what), step[a], padding, None if extra is None else extra[a],
            apart[a],
        )
        for a, size in enumerate((depth, h, w))
    ))  # fmt: skip
    x, kernel = of_one_type(x, kernel, floats=True)
    found = conv3d.conv3d_transpose(x, kernel, step, sizes, sides, apart, algorithm)
    if found is not None:
        return found
    count, before = sizes[0], sides[0][0]
    images = reshape(x, (-1, h, w, c))
    spread = (depth - 1) * step[0] + 1
    whole = max(spread + (planes - 1) * apart[0], before + count)
    total: Any = None
    for plane in range(planes):
        part = conv_transpose(
            images, N.squeeze(N.slice_axis(kernel, 0, plane, plane + 1), 0), step[1:], padding,
            None if extra is None else extra[1:], None, apart[1:], algorithm,
        )  # fmt: skip
        oh, ow, filters = (known(part, a, what) for a in (1, 2, 3))
        if step[0] > 1:  # zeros between the planes
            part = reshape(part, (-1, depth, 1, oh * ow * filters))
            part = pad(part, ((0, 0), (0, 0), (0, step[0] - 1), (0, 0)))
            part = reshape(part, (-1, depth * step[0], oh * ow * filters))
            part = N.slice_axis(part, 1, 0, spread)
        else:
            part = reshape(part, (-1, depth, oh * ow * filters))
        start = plane * apart[0]
        part = pad(part, ((0, 0), (start, whole - spread - start), (0, 0)))
        total = part if total is None else N.add(total, part)
    if (before, count) != (0, whole):
        total = N.slice_axis(total, 1, before, before + count)
    return reshape(total, (-1, count, oh, ow, filters))


def upsample(x: Any, size: Sequence[int]) -> Any:
    """(n, d, h, w, c) with every value repeated `size` times along the three axes."""
    depth, h, w, c = (known(x, a, "upsample") for a in (1, 2, 3, 4))
    oh, ow = h * size[1], w * size[2]
    y = apply(Upsample2D((size[1], size[2])), reshape(x, (-1, h, w, c)))
    y = apply(Upsample2D((size[0], 1)), reshape(y, (-1, depth, oh * ow, c)))
    return reshape(y, (-1, depth * size[0], oh, ow, c))


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
