"""Convolutions and pools as ONNX's operators, which have channels first."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from nbcnn.ops.conv import window_output
from nbcnn.ops.tensor import Tensor

TO_FIRST, TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


class Unknown(ValueError):
    """An operation that ONNX does not have."""


class Plane(NamedTuple):
    """The shape of a volume's planes."""

    shape: tuple[Any, ...]


def pads_of(op: Any, x: Any, window: Sequence[int], strides: Any, dilation: Any) -> dict[str, Any]:
    if op.padding == "same":
        if any(n is None for n in x.shape[1:3]):
            return {"auto_pad": "SAME_UPPER"}
        pairs = [
            window_output(int(n or 0), k, s, "same", d)[1:]
            for n, k, s, d in zip(x.shape[1:3], window, strides, dilation)
        ]
    else:
        pairs = [(0, 0), (0, 0)] if op.padding == "valid" else list(op.padding)
    return {"pads": [p[0] for p in pairs] + [p[1] for p in pairs]}


def _kernel(w: Any, tensor: Tensor, perm: Sequence[int]) -> str:
    value = w.value(tensor)
    if value is None:
        return w.node("Transpose", w.name(tensor), perm=perm)
    return w.array(value.transpose(perm), getattr(getattr(tensor, "variable", None), "path", None))


def conv2d(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    if op.bias or op.act or op.pool:
        raise Unknown("fused conv2d")
    x, kernel = inputs
    window: Any = kernel.shape[:2]
    pads = pads_of(op, x, window, op.strides, op.dilation)
    return _convolved(w, op, x, kernel, op.strides, op.dilation, pads)


def _convolved(w: Any, op: Any, x: Any, kernel: Any, strides: Any, dilation: Any, pads: Any) -> str:
    axes = x.ndim - 2
    y = w.node(
        "Conv",
        w.node("Transpose", w.name(x), perm=(0, axes + 1, *range(1, axes + 1))),
        _kernel(w, kernel, (axes + 1, axes, *range(axes))),
        kernel_shape=kernel.shape[:axes],
        strides=strides,
        dilations=dilation,
        group=op.groups,
        **pads,
    )
    conv = w.nodes[-1]
    y = w.node("Transpose", y, perm=(0, *range(2, axes + 2), 1))
    w.biased[y] = conv
    return y


def conv3d(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    """Of the volume itself, the first two inputs are left out; then as images once more."""
    images, _, x, kernel = inputs
    flat, window = op.flat, [int(n or 0) for n in kernel.shape[:3]]
    pads = pads_of(flat, Plane(x.shape[:1] + x.shape[2:]), window[1:], flat.strides, flat.dilation)
    pads = pads["pads"]
    sides = {"pads": [op.before, *pads[:2], op.after, *pads[2:]]}
    strides, dilation = (op.stride, *flat.strides), (op.dilation, *flat.dilation)
    y = _convolved(w, flat, x, kernel, strides, dilation, sides)
    conv = w.biased.pop(y)
    reach = (window[0] - 1) * op.dilation
    count = (int(x.shape[1] or 0) + op.before + op.after - reach - 1) // op.stride + 1
    sizes = images.shape[1:]
    flat_y = w.node("Reshape", y, w.ints(-1, *sizes))
    w.reshaped[flat_y] = y, (None, count, *sizes)
    w.biased[flat_y] = conv
    return flat_y


def conv2d_dx(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    """A transposed convolution: pads from the convolution that it transposes, the rest behind."""
    dy, kernel = inputs
    sizes, window = outputs[0].shape[1:3], kernel.shape[:2]
    if None in sizes or op.groups != 1:
        raise Unknown("conv2d_dx of unknown sizes, or in groups")
    padding = (op.padding,) * 2 if isinstance(op.padding, str) else op.padding
    begin, end, extra = [], [], []
    for n, size, k, s, d, side in zip(
        dy.shape[1:3], sizes, window, op.strides, op.dilation, padding
    ):
        before = window_output(int(size or 0), k, s, side, d)[1]
        left = (int(n or 0) - 1) * s + (k - 1) * d + 1 - before - int(size or 0)
        begin.append(before)
        end.append(max(left, 0))
        extra.append(max(-left, 0))
    y = w.node(
        "ConvTranspose",
        w.node("Transpose", w.name(dy), perm=TO_FIRST),
        _kernel(w, kernel, (3, 2, 0, 1)),
        kernel_shape=window,
        strides=op.strides,
        dilations=op.dilation,
        pads=begin + end,
        output_padding=[min(e, s - 1) for e, s in zip(extra, op.strides)],
    )
    conv = w.nodes[-1]
    more = [max(e - s + 1, 0) for e, s in zip(extra, op.strides)]
    y = w.node("Transpose", y, perm=TO_LAST)
    if any(more):
        return w.node("Pad", y, w.ints(0, 0, 0, 0, 0, *more, 0))
    w.biased[y] = conv
    return y


def pool(w: Any, op: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    (x,) = inputs
    y = w.node(
        "MaxPool" if op.name == "maxpool2d" else "AveragePool",
        w.node("Transpose", w.name(x), perm=TO_FIRST),
        kernel_shape=op.window,
        strides=op.strides,
        **pads_of(op, x, op.window, op.strides, (1, 1)),
    )
    return w.node("Transpose", y, perm=TO_LAST)
