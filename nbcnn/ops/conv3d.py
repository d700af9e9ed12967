"""Convolution of volumes, as one over images: the planes that a kernel covers become channels.

    y[o] = sum_k conv2d(x[o * stride + k * dilation], w[k])          over planes, of a padded x
         = conv2d(the planes x[o * stride + k * dilation] side by side, all w[k] on each other)

One convolution with kd times the channels adds up in registers what kd convolutions would add up
in memory. The copies of planes are small beside its products.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from nbcnn.ops import bfloat16
from nbcnn.ops.conv import (
    Conv2D,
    Conv2DInputGradient,
    Conv2DKernelGradient,
    Padding,
    window_output,
)
from nbcnn.ops.elementwise import binary, of_one_type
from nbcnn.ops.op import Op, apply
from nbcnn.ops.shape import (
    CopyOp,
    CopySpec,
    Pad,
    Reshape,
    Slice,
    SliceGradient,
    Transpose,
    copy_spec,
)
from nbcnn.ops.tensor import Node, Tensor, TensorSpec

EVERY = (None, None, None)


@dataclasses.dataclass(frozen=True)
class FoldPlanes(CopyOp):
    """(n, d, h, w, c) -> images (n * count, h, w, taps * c): of image o the channels of planes
    o * stride + k * dilation, for each k < taps; within each of `groups` groups of channels.

    `backwards`: the last k first.
    """

    name = "fold_planes"
    count: int
    taps: int
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    backwards: bool = False

    def infer(self, x: TensorSpec) -> tuple[TensorSpec]:
        n, d, h, w, c = x.shape
        reach = (self.count - 1) * self.stride + (self.taps - 1) * self.dilation + 1
        if reach > d or c % self.groups:
            raise ValueError(f"fold_planes: {self} does not fit {x.shape}")
        return (TensorSpec((n * self.count, h, w, self.taps * c), x.dtype),)

    def spec(self, x: TensorSpec) -> CopySpec:
        n, d, h, w, c = x.shape
        plane, inner = h * w * c, c // self.groups
        block = (n, self.count, h * w, self.groups, self.taps, inner)
        along = (-1 if self.backwards else 1) * self.dilation * plane
        places = (d * plane, self.stride * plane, c, inner, along, 1)
        y = [math.prod(block[a + 1 :]) for a in range(6)]
        first = (self.taps - 1) * self.dilation * plane if self.backwards else 0
        return copy_spec(block, places, y, math.prod(block), first)

    def gradient(self, node: Node, *dys: Tensor | None):
        """The images' channels put back among zeros, tap by tap, and added up."""
        shape = node.inputs[0].spec.shape
        n, _, h, w, c = shape
        inner = c // self.groups
        taps = apply(Reshape((n * self.count * h * w, self.groups, self.taps, inner)), dys[0])
        total: Any = None
        for k in range(self.taps):
            part = apply(Slice((EVERY, EVERY, (k, k + 1, 1), EVERY)), taps)
            part = apply(Reshape((n, self.count, h, w, c)), part)
            start = (self.taps - 1 - k if self.backwards else k) * self.dilation
            stop = start + (self.count - 1) * self.stride + 1
            ranges = (EVERY, (start, stop, self.stride), EVERY, EVERY, EVERY)
            part = apply(SliceGradient(ranges, shape), part)
            total = part if total is None else binary("add", total, part)
        return [total]


@dataclasses.dataclass(frozen=True)
class Conv3D(Op):
    """An alias of y that knows its gradients. Inputs: the images y, the folded planes, and what
    these were made of: x (n, d, h, w, c) and w (kd, kh, kw, c / groups, f).

    `before`, `after`: planes of zeros. The other attributes are those of `Conv2D`, and those along
    the planes.
    """

    name = "conv3d"
    stride: int
    dilation: int
    before: int
    after: int
    flat: Conv2D

    def infer(self, y: TensorSpec, *others: TensorSpec) -> tuple[TensorSpec]:
        return (y,)

    def spec(self, y: TensorSpec, *others: TensorSpec) -> None:
        return None

    def gradient(self, node: Node, *dys: Tensor | None):
        """Where each plane is used, dx is a convolution of the folded dy; else what folding put
        together is taken apart.
        """
        y, planes, x, w = node.inputs
        (dy,) = dys
        shared = {f.name: getattr(self.flat, f.name) for f in dataclasses.fields(Conv2D)}
        kd, kh, kw, c, f = w.spec.shape
        form = (kh, kw, kd * c, f)
        dw = apply(Conv2DKernelGradient(**shared, shape=form), planes, dy)
        dw = apply(Transpose((2, 0, 1, 3, 4)), apply(Reshape((kh, kw, kd, c, f)), dw))
        n, depth, h, width, channels = x.spec.shape
        reach = (kd - 1) * self.dilation
        if self.stride == 1 and max(self.before, self.after) <= reach:
            count = y.spec.shape[0] // n
            volume = apply(Reshape((n, count, *y.spec.shape[1:])), dy)
            volume = padded(volume, reach - self.before, reach - self.after)
            folded = fold(volume, depth, kd, 1, self.dilation, self.flat.groups, True)
            op = Conv2DInputGradient(**shared, shape=(n * depth, h, width, channels))
            dx = apply(op, folded, filters_side_by_side(w, self.flat.groups))
            return [None, None, apply(Reshape(x.spec.shape), dx), dw]
        op = Conv2DInputGradient(**shared, shape=planes.spec.shape)
        dx = apply(op, dy, taps_on_each_other(w))
        source = planes.node
        assert source is not None
        if isinstance(source.op, FoldPlanes):
            (dx,) = source.op.gradient(source, dx)
        dx = apply(Reshape((n, depth + self.before + self.after, h, width, channels)), dx)
        if self.before or self.after:
            ranges = (EVERY, (self.before, self.before + depth, 1), EVERY, EVERY, EVERY)
            dx = apply(Slice(ranges), dx)
        return [None, None, dx, dw]


def padded(x: Any, before: int, after: int) -> Any:
    """Planes of zeros around a volume."""
    if not (before or after):
        return x
    return apply(Pad(((0, 0), (before, after), (0, 0), (0, 0), (0, 0))), x)


def fold(
    x: Any, count: int, taps: int, stride: int, dilation: int, groups: int, backwards: bool = False
) -> Any:
    """`FoldPlanes`, or a reshape where planes stay what they are."""
    if taps == 1 and stride == 1:
        return apply(Reshape((-1, *x.shape[2:])), x)
    return apply(FoldPlanes(count, taps, stride, dilation, groups, backwards), x)


def taps_on_each_other(w: Any) -> Any:
    """(kd, kh, kw, c, f) -> (kh, kw, kd * c, f)."""
    kd, kh, kw, c, f = w.shape
    return apply(Reshape((kh, kw, kd * c, f)), apply(Transpose((1, 2, 0, 3, 4)), w))


def filters_side_by_side(w: Any, groups: int) -> Any:
    """(kd, kh, kw, c, f) -> (kh, kw, c, kd * f), within each group of filters."""
    kd, kh, kw, c, f = w.shape
    parts = apply(Reshape((kd, kh * kw * c, groups, f // groups)), w)
    return apply(Reshape((kh, kw, c, kd * f)), apply(Transpose((1, 2, 0, 3)), parts))


def conv3d(
    x: Any,
    w: Any,
    strides: Sequence[int],
    padding: tuple[str | tuple[int, int], Padding],
    dilation: Sequence[int],
    groups: int,
    algorithm: str | None,
) -> Any:
    """x (n, d, h, w, c), whose sizes but n are known, by w (kd, kh, kw, c / groups, f).

    `padding`: of the planes, and of rows and columns.
    """
    x, w = of_one_type(x, w, floats=True)
    depth, taps = x.shape[1], w.shape[0]
    count, before, after = window_output(depth, taps, strides[0], padding[0], dilation[0])
    before, after = max(before, 0), max(after, 0)
    flat = Conv2D(
        (strides[1], strides[2]), padding[1], (dilation[1], dilation[2]), groups, algorithm,
        bfloat16=bfloat16.allowed(),
    )  # fmt: skip
    planes = fold(padded(x, before, after), count, taps, strides[0], dilation[0], groups)
    y = apply(flat, planes, taps_on_each_other(w))
    y = apply(Conv3D(strides[0], dilation[0], before, after, flat), y, planes, x, w)
    return apply(Reshape((-1, count, *y.shape[1:])), y)


def conv3d_transpose(
    x: Any,
    w: Any,
    strides: Sequence[int],
    sizes: Sequence[int],
    sides: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    algorithm: str | None,
) -> Any:
    """x (n, d, h, w, c) by w (kd, kh, kw, filters, c) to `sizes` (planes, rows, columns); `sides`:
    the padding of the convolution that is transposed. None where planes of the result overlap and
    lie further apart than one: such are added up elsewhere.
    """
    depth, taps, filters = x.shape[1], w.shape[0], w.shape[3]
    count, before = sizes[0], sides[0][0]
    reach = (taps - 1) * dilation[0]
    more = count + before - (depth - 1) * strides[0] - 1  # planes that the last one of x reaches
    op = Conv2DInputGradient(
        (strides[1], strides[2]), (sides[1], sides[2]), (dilation[1], dilation[2]),
        algorithm=algorithm, bfloat16=bfloat16.allowed(),
    )  # fmt: skip
    if strides[0] == 1 and before <= reach and more >= 0:
        folded = fold(padded(x, reach - before, more), count, taps, 1, dilation[0], 1, True)
        shape = (folded.shape[0], *sizes[1:], filters)
        y = apply(dataclasses.replace(op, shape=shape), folded, filters_side_by_side(w, 1))
        return apply(Reshape((-1, count, *y.shape[1:])), y)
    if dilation[0] == 1 and strides[0] == taps and (before, count) == (0, depth * taps):
        images = apply(Reshape((-1, *x.shape[2:])), x)
        shape = (images.shape[0], *sizes[1:], taps * filters)
        y = apply(dataclasses.replace(op, shape=shape), images, taps_on_each_other(w))
        parts = apply(Reshape((-1, sizes[1] * sizes[2], taps, filters)), y)
        return apply(
            Reshape((-1, count, *sizes[1:], filters)), apply(Transpose((0, 2, 1, 3)), parts)
        )
    return None
