"""Borders, unpooling, neighbouring channels and weights of each place as ONNX's operators."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn.onnx.window_operators import TO_FIRST, TO_LAST, Unknown, pads_of
from nbcnn.ops.local import kernel_shape
from nbcnn.ops.tensor import Tensor, TensorSpec
from nbcnn.ops.unpool import least_size

END = 1 << 62


def pad_border(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    x, name = inputs[0], w.name(inputs[0])
    widths = w.ints(*(p[0] for p in op.widths), *(p[1] for p in op.widths))
    if op.mode in ("reflect", "edge"):
        return w.node("Pad", name, widths, mode=op.mode)
    if op.mode == "fill":
        return _filled(w, op, inputs, w.node("Pad", name, widths))
    for axis, (before, after) in enumerate(op.widths):  # as parts of x: version 17 has no such mode
        size = x.shape[axis]
        if not (before or after):
            continue
        if size is None:
            raise Unknown(f"pad_border by {op.mode!r} of an unknown size")
        step = 1 if op.mode == "wrap" else -1
        ends = {1: ((size - before, size), (0, after)), -1: ((0, before), (size - after, size))}
        first, last = (_part(w, name, axis, *ends[step][side], step) for side in (0, 1))
        parts = [part for part, wide in ((first, before), (name, 1), (last, after)) if wide]
        name = w.node("Concat", *parts, axis=axis)
    return name


def _part(w: Any, name: str, axis: int, start: int, stop: int, step: int) -> str:
    """Elements start .. stop - 1 along an axis, in their order or, with step -1, the other one."""
    if step < 0:
        start, stop = stop - 1, start - 1 if start else -END
    return w.node("Slice", name, w.ints(start), w.ints(stop), w.ints(axis), w.ints(step))


def _filled(w: Any, op: Any, inputs: Sequence[Tensor], zeros: str) -> str:
    """A map of zeros around x, plus the numbers of the border times ones there."""
    x, fill = inputs
    axes = range(*op.axes)
    sizes = [int(x.shape[a] or 0) for a in axes]
    if 0 in sizes:
        raise Unknown("pad_border by numbers around an unknown size")
    pairs = [op.widths[a] for a in axes]
    ones = np.pad(np.zeros(sizes, x.dtype), pairs, constant_values=1)
    shape = [1] * x.ndim
    for axis, n in zip(axes, ones.shape):
        shape[axis] = n
    wide = [1 if axis in axes else (-1 if n is None else n) for axis, n in enumerate(x.shape)]
    numbers = w.node("Reshape", w.name(fill), w.ints(*wide))
    return w.node("Add", zeros, w.node("Mul", numbers, w.array(ones.reshape(shape))))


def response_norm(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    """ONNX's alpha is a factor of the mean. Maps of other ranks than four as images of a pixel."""
    (x,) = inputs
    name, image = w.name(x), x.ndim == 4
    settings = {"alpha": op.alpha * op.size, "beta": op.beta, "bias": op.k, "size": op.size}
    if image:
        y = w.node("LRN", w.node("Transpose", name, perm=TO_FIRST), **settings)
        return w.node("Transpose", y, perm=TO_LAST)
    if x.shape.count(None) > 1:
        raise Unknown("response_norm of unknown sizes")
    inner = int(np.prod([1 if n is None else n for n in x.shape[1:-1]], dtype=np.int64))
    rows = w.node("Reshape", name, w.ints(-1, inner, 1, x.shape[-1]))
    rows = w.node("Transpose", rows, perm=TO_FIRST)
    y = w.node("Transpose", w.node("LRN", rows, **settings), perm=TO_LAST)
    return w.node("Reshape", y, w.ints(*(-1 if n is None else n for n in x.shape)))


def local2d(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    """Windows by Gather, as channels of one pixel; a convolution with a group for each place."""
    x, kernel = inputs
    n, height, width, c = (1 if size is None else size for size in x.shape)
    spec = TensorSpec((n, height, width, c), x.dtype)
    s = op.spec(spec, TensorSpec(tuple(map(int, kernel.shape)), x.dtype))  # type: ignore[arg-type]
    below = (s.oh - 1) * s.sh + s.kh - s.h - s.pt, (s.ow - 1) * s.sw + s.kw - s.w - s.pl
    pads = (0, s.pt, s.pl, 0, 0, *(max(p, 0) for p in below), 0)
    name = w.node("Pad", w.name(x), w.ints(*pads)) if any(pads) else w.name(x)
    rows = np.arange(s.oh, dtype="int64")[:, None] * s.sh + np.arange(s.kh)
    columns = np.arange(s.ow, dtype="int64")[:, None] * s.sw + np.arange(s.kw)
    name = w.node("Gather", name, w.array(rows), axis=1)
    name = w.node("Gather", name, w.array(columns), axis=3)
    name = w.node("Transpose", name, perm=(0, 1, 3, 2, 4, 5))
    places, window, filters = kernel_shape(s)
    name = w.node("Reshape", name, w.ints(-1, places * window, 1, 1))
    weights = w.value(kernel)
    if weights is None:
        raise Unknown("local2d by weights that are computed from the inputs")
    path = getattr(getattr(kernel, "variable", None), "path", "")
    flat = weights.transpose(0, 2, 1).reshape(places * filters, window, 1, 1)
    y = w.node("Conv", name, w.array(flat, path), kernel_shape=(1, 1), group=places)
    return w.node("Reshape", y, w.ints(-1, s.oh, s.ow, filters))


def recorded_pool(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> list:
    """A pool and its winners: ONNX numbers the pixels of the whole tensor, the engine those of an
    image.
    """
    (x,) = inputs
    height, width = x.shape[1:3]
    if height is None or width is None:
        raise Unknown("indices of a pool of unknown sizes")
    pads = pads_of(op, x, op.window, op.strides, (1, 1))
    y, numbers = w.nodes_of(
        "MaxPool", 2, w.node("Transpose", w.name(x), perm=TO_FIRST), kernel_shape=op.window,
        strides=op.strides, **pads,
    )  # fmt: skip
    own = w.node("Mod", numbers, w.array(np.int64(height * width)))
    own = w.node("Cast", own, to=w.onnx.TensorProto.INT32)
    w.recorded[own] = numbers, (height, width), x.shape[3]
    return [w.node("Transpose", name, perm=TO_LAST) for name in (y, own)]


def max_unpool(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    """Of indices that a pool of the same model recorded for an image of this size."""
    x, places = inputs
    source, _ = w.turned.get(w.name(places), ("", ()))
    numbers, size, channels = w.recorded.get(source, ("", (), 0))
    if size != op.size or channels != x.shape[3]:
        raise Unknown("max_unpool of indices that no pool of the model recorded for such an image")
    if any(k > s for k, s in zip(op.window, op.strides)):
        raise Unknown("max_unpool of windows that overlap")
    before, extra = op.pads, []
    for size_of, n, k, s, p in zip(op.size, x.shape[1:3], op.window, op.strides, before):
        extra.append((int(n or 0) - 1) * s + k - p - size_of)
    values, more = w.node("Transpose", w.name(x), perm=TO_FIRST), []
    least = [
        least_size(int(n or 0), k, s, (p, max(e, 0)))
        for n, k, s, p, e in zip(x.shape[1:3], op.window, op.strides, before, extra)
    ]
    if tuple(least) != op.size:
        batch = w.node("Slice", w.node("Shape", values), w.ints(0), w.ints(1))
        more = [w.node("Concat", batch, w.ints(channels, *op.size), axis=0)]
    y = w.node(
        "MaxUnpool", values, numbers, *more, kernel_shape=op.window, strides=op.strides,
        pads=[*before, *(max(e, 0) for e in extra)],
    )  # fmt: skip
    return w.node("Transpose", y, perm=TO_LAST)
