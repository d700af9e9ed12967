"""Moving elements without computing: reshape, transpose, slice, pad, concatenate, broadcast.

All but `Reshape` (an alias, free) are one loop: a strided copy of a block of up to six axes.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nbcnn.ops.broadcast import MAX_RANK, FlatSpec, broadcast_strides
from nbcnn.ops.op import Op, apply, as_tensor, result_dtype
from nbcnn.ops.tensor import Node, Tensor, TensorSpec


class CopySpec(NamedTuple):
    """y[yo + sum i_k * y_k] = x[xo + sum i_k * x_k] for i_k < d_k; strides and offsets in elements.

    Where `fill` is 1, y is first filled with `value`.
    """

    n: int  # elements copied
    total: int  # elements of y
    d0: int
    d1: int
    d2: int
    d3: int
    d4: int
    d5: int
    xo: int
    x0: int
    x1: int
    x2: int
    x3: int
    x4: int
    x5: int
    yo: int
    y0: int
    y1: int
    y2: int
    y3: int
    y4: int
    y5: int
    fill: int = 0
    value: float = 0.0


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    strides = [1]
    for size in reversed(shape[1:] if len(shape) else ()):
        strides.append(strides[-1] * size)
    return tuple(reversed(strides[: len(shape)]))


def copy_spec(
    block: Sequence[int],
    x_strides: Sequence[int],
    y_strides: Sequence[int],
    total: int,
    x_offset: int = 0,
    y_offset: int = 0,
    fill: float | None = None,
) -> CopySpec:
    """Spec of a strided copy; neighbouring axes are merged where both sides allow."""
    merged: list[list[int]] = []
    for size, sx, sy in zip(block, x_strides, y_strides):
        if size == 1:
            continue
        if merged and merged[-1][1] == sx * size and merged[-1][2] == sy * size:
            merged[-1] = [merged[-1][0] * size, sx, sy]
        else:
            merged.append([size, sx, sy])
    if len(merged) > MAX_RANK:
        raise ValueError(
            f"copies of more than {MAX_RANK} separate axes are not supported, got {tuple(block)}"
        )
    axes = [[1, 0, 0]] * (MAX_RANK - len(merged)) + merged
    sizes, x_steps, y_steps = ([axis[k] for axis in axes] for k in range(3))
    count = int(np.prod(block, dtype=np.int64))
    places = (*sizes, x_offset, *x_steps, y_offset, *y_steps)
    return CopySpec._make((count, total, *places, int(fill is not None), float(fill or 0.0)))


@dataclasses.dataclass(frozen=True)
class Reshape(Op):
    """The same elements under another shape; one size may be -1. An alias: it costs nothing."""

    name = "reshape"
    shape: tuple[int, ...]

    @property
    def unknown_factor(self) -> int:
        return math.prod(self.shape) * -1 if -1 in self.shape and 0 not in self.shape else 1

    def infer(self, x: TensorSpec) -> tuple[TensorSpec]:
        known = int(np.prod([n for n in self.shape if n != -1], dtype=np.int64))
        shape = self.shape
        if -1 in shape:
            if known == 0 or x.size % known:
                raise ValueError(
                    f"reshape: cannot reshape {x.shape} ({x.size} values) to {self.shape}"
                )
            shape = tuple(x.size // known if n == -1 else n for n in shape)
        elif known != x.size:
            raise ValueError(f"reshape: cannot reshape {x.shape} ({x.size} values) to {self.shape}")
        return (TensorSpec(shape, x.dtype),)

    def spec(self, x: TensorSpec) -> FlatSpec:
        return FlatSpec(x.size)

    def gradient(self, node: Node, *dys: Tensor | None):
        return [apply(Reshape(node.inputs[0].spec.shape), dys[0])]


@dataclasses.dataclass(frozen=True)
class Flatten(Op):
    """(n, ...) -> (n, product of the rest). An alias."""

    name = "flatten"

    def infer(self, x: TensorSpec) -> tuple[TensorSpec]:
        return (TensorSpec((x.shape[0], int(np.prod(x.shape[1:], dtype=np.int64))), x.dtype),)

    def spec(self, x: TensorSpec) -> FlatSpec:
        return FlatSpec(x.size)

    def gradient(self, node: Node, *dys: Tensor | None):
        return [apply(Reshape(node.inputs[0].spec.shape), dys[0])]


@dataclasses.dataclass(frozen=True)
class BatchReshape(Op):
    """(n, ...) -> (n, *shape); one size may be -1. An alias."""

    name = "batch_reshape"
    shape: tuple[int, ...]

    def infer(self, x: TensorSpec) -> tuple[TensorSpec]:
        (row,) = Reshape(self.shape).infer(TensorSpec(x.shape[1:], x.dtype))
        return (TensorSpec((x.shape[0], *row.shape), x.dtype),)

    def spec(self, x: TensorSpec) -> FlatSpec:
        return FlatSpec(x.size)

    def gradient(self, node: Node, *dys: Tensor | None):
        return [apply(Reshape(node.inputs[0].spec.shape), dys[0])]


@dataclasses.dataclass(frozen=True)
class Squeeze(Op):
    """Drop axes of size 1. An alias."""

    name = "squeeze"
    axes: tuple[int, ...]

    def infer(self, x: TensorSpec) -> tuple[TensorSpec]:
        for a in self.axes:
            if x.shape[a] != 1:
                raise ValueError(f"squeeze: axis {a} has size {x.shape[a]}, expected 1")
        return (TensorSpec(tuple(n for i, n in enumerate(x.shape) if i not in self.axes), x.dtype),)

    def spec(self, x: TensorSpec) -> FlatSpec:
        return FlatSpec(x.size)

    def gradient(self, node: Node, *dys: Tensor | None):
        return [apply(Reshape(node.inputs[0].spec.shape), dys[0])]


@dataclasses.dataclass(frozen=True)
class ExpandDims(Op):
    """Insert an axis of size 1. An alias."""

    name = "expand_dims"
    axis: int

    def infer(self, x: TensorSpec) -> tuple[TensorSpec]:
        return (TensorSpec((*x.shape[: self.axis], 1, *x.shape[self.axis :]), x.dtype),)

    def spec(self, x: TensorSpec) -> FlatSpec:
        return FlatSpec(x.size)

    def gradient(self, node: Node, *dys: Tensor | None):
        return [apply(Reshape(node.inputs[0].spec.shape), dys[0])]


FOR_GRADIENTS = {"stop_gradient", "custom_gradient", "conv3d"}  # mean something to autodiff only
ALIASES = {
    "reshape", "flatten", "batch_reshape", "squeeze", "expand_dims", *FOR_GRADIENTS,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class CopyOp(Op):
    """Base of the strided copies: kernels are listed under "copy"."""

    @property
    def impl_op(self) -> str:
        return "copy"


@dataclasses.dataclass(frozen=True)
class Transpose(CopyOp):
    """y[i_perm[0], i_perm[1], ...] = x[i_0, i_1, ...]."""

    name = "transpose"
    perm: tuple[int, ...]

    def infer(self, x: TensorSpec) -> tuple[TensorSpec]:
        if sorted(self.perm) != list(range(len(x.shape))):
            raise ValueError(
                f"transpose: axes {self.perm} are no permutation "
                f"of the {len(x.shape)} axes of {x.shape}"
            )
        return (TensorSpec(tuple(x.shape[p] for p in self.perm), x.dtype),)

    def spec(self, x: TensorSpec) -> CopySpec:
        strides = contiguous_strides(x.shape)
        shape = [x.shape[p] for p in self.perm]
        return copy_spec(shape, [strides[p] for p in self.perm], contiguous_strides(shape), x.size)

    def gradient(self, node: Node, *dys: Tensor | None):
        inverse = tuple(int(i) for i in np.argsort(self.perm))
        return [apply(Transpose(inverse), dys[0])]


@dataclasses.dataclass(frozen=True)
class Slice(CopyOp):
    """x[start:stop:step] along every axis; `stop` None means to the end. Steps may be negative."""

    name = "slice"
    ranges: tuple[tuple[int | None, int | None, int | None], ...]

    def _indices(self, shape: tuple[int, ...]) -> list[range]:
        return [range(*slice(*r).indices(n)) for r, n in zip(self.ranges, shape)]

    def infer(self, x: TensorSpec) -> tuple[TensorSpec]:
        return (TensorSpec(tuple(len(r) for r in self._indices(x.shape)), x.dtype),)

    def spec(self, x: TensorSpec) -> CopySpec:
        indices, strides = self._indices(x.shape), contiguous_strides(x.shape)
        shape = [len(r) for r in indices]
        offset = sum(r.start * s for r, s in zip(indices, strides)) if 0 not in shape else 0
        steps = [r.step * s for r, s in zip(indices, strides)]
        return copy_spec(
            shape, steps, contiguous_strides(shape), int(np.prod(shape, dtype=np.int64)), offset
        )

    def gradient(self, node: Node, *dys: Tensor | None):
        return [apply(SliceGradient(self.ranges, node.inputs[0].spec.shape), dys[0])]


@dataclasses.dataclass(frozen=True)
class SliceGradient(CopyOp):
    """Zeros of `shape` with dy written into the slice."""

    name = "slice_dx"
    ranges: tuple[tuple[int | None, int | None, int | None], ...]
    shape: tuple[int, ...]

    def infer(self, dy: TensorSpec) -> tuple[TensorSpec]:
        return (TensorSpec(self.shape, dy.dtype),)

    def spec(self, dy: TensorSpec) -> CopySpec:
        forward = Slice(self.ranges).spec(TensorSpec(self.shape, dy.dtype))
        return _reversed(forward, int(np.prod(self.shape, dtype=np.int64)), 0.0)

    def gradient(self, node: Node, *dys: Tensor | None):
        return [apply(Slice(self.ranges), dys[0])]


def _reversed(spec: CopySpec, total: int, fill: float) -> CopySpec:
    """The copy back from y to x."""
    x, y = spec[8:15], spec[15:22]
    return CopySpec(spec.n, total, *spec[2:8], *y, *x, 1, fill)


@dataclasses.dataclass(frozen=True)
class Pad(CopyOp):
    """Constant padding: (before, after) per axis, not negative."""

    name = "pad"
    widths: tuple[tuple[int, int], ...]
    value: float = 0.0

    def infer(self, x: TensorSpec) -> tuple[TensorSpec]:
        return (TensorSpec(tuple(n + a + b for n, (a, b) in zip(x.shape, self.widths)), x.dtype),)

    def spec(self, x: TensorSpec) -> CopySpec:
        shape = self.infer(x)[0].shape
        strides = contiguous_strides(shape)
        offset = sum(a * s for (a, _), s in zip(self.widths, strides))
        total = int(np.prod(shape, dtype=np.int64))
        return copy_spec(
            x.shape, contiguous_strides(x.shape), strides, total, 0, offset, self.value
        )

    def gradient(self, node: Node, *dys: Tensor | None):
        shape = node.inputs[0].spec.shape
        ranges = tuple((a, a + n, 1) for (a, _), n in zip(self.widths, shape))
        return [apply(Slice(ranges), dys[0])]


@dataclasses.dataclass(frozen=True)
class BroadcastTo(CopyOp):
    """Repeat x along axes of size 1, and along new leading axes, to `shape`."""

    name = "broadcast_to"
    shape: tuple[int, ...]

    def infer(self, x: TensorSpec) -> tuple[TensorSpec]:
        if np.broadcast_shapes(x.shape, self.shape) != self.shape:
            raise ValueError(f"broadcast_to: shape {x.shape} does not broadcast to {self.shape}")
        return (TensorSpec(self.shape, x.dtype),)

    def spec(self, x: TensorSpec) -> CopySpec:
        block = (1,) * (MAX_RANK - len(self.shape)) + self.shape
        total = int(np.prod(self.shape, dtype=np.int64))
        return copy_spec(
            block, broadcast_strides(x.shape, self.shape), contiguous_strides(block), total
        )

    def gradient(self, node: Node, *dys: Tensor | None):
        from nbcnn.ops.reduce import sum_to_shape

        (dy,) = dys
        assert dy is not None
        return [sum_to_shape(dy, node.inputs[0].shape)]


class ConcatSpec(NamedTuple):
    """Piece `index` of a concatenation: x (outer, length, inner) goes to y (outer, total, inner) at
    `start`.
    """

    outer: int
    length: int
    inner: int
    start: int
    total: int


@dataclasses.dataclass(frozen=True)
class Concat(Op):
    """Join arrays along an axis. Kernels get one `ConcatSpec` per input, as a tuple."""

    name = "concat"
    axis: int

    def infer(self, *xs: TensorSpec) -> tuple[TensorSpec]:
        rest = {x.shape[: self.axis] + x.shape[self.axis + 1 :] for x in xs}
        if len(rest) != 1:
            shapes = ", ".join(str(x.shape) for x in xs)
            raise ValueError(
                f"concatenate: shapes must agree on all axes but {self.axis}, got {shapes}"
            )
        shape = list(xs[0].shape)
        shape[self.axis] = sum(x.shape[self.axis] for x in xs)
        return (TensorSpec(tuple(shape), result_dtype(*(x.dtype for x in xs))),)

    def spec(self, *xs: TensorSpec) -> tuple[ConcatSpec, ...]:
        (y,) = self.infer(*xs)
        outer = int(np.prod(y.shape[: self.axis], dtype=np.int64))
        inner = int(np.prod(y.shape[self.axis + 1 :], dtype=np.int64))
        starts = np.cumsum([0, *(x.shape[self.axis] for x in xs)])
        return tuple(
            ConcatSpec(outer, x.shape[self.axis], inner, int(s), y.shape[self.axis])
            for x, s in zip(xs, starts)
        )

    def gradient(self, node: Node, *dys: Tensor | None):
        rank, start, gradients = len(node.outputs[0].shape), 0, []
        for x in node.inputs:
            stop = start + x.spec.shape[self.axis]
            ranges = tuple(
                (start, stop, 1) if a == self.axis else (None, None, None) for a in range(rank)
            )
            gradients.append(apply(Slice(ranges), dys[0]))
            start = stop
        return gradients


def reshape(x: Any, shape: Sequence[int | None]) -> Any:
    """The same values in the same order, in other sizes, of which one may be -1 or None and follows
    from the others. Raises ValueError for more than one, or another number of values.
    """
    sizes = tuple(
        -1 if n is None else int(n)
        for n in ((shape,) if isinstance(shape, (int, np.integer)) else shape)
    )
    if sum(n == -1 for n in sizes) > 1 or any(n < -1 for n in sizes):
        raise ValueError(f"reshape: shape may hold one -1 and no other negative size, got {shape}")
    return apply(Reshape(sizes), x)


def squeeze(x: Any, axis: int | Sequence[int] | None = None) -> Any:
    """Without axes of size 1: those of `axis`, one or several, or all (None, default)."""
    shape = as_tensor(x).shape
    if axis is None:
        axes = tuple(i for i, n in enumerate(shape) if n == 1)
    else:
        from nbcnn.ops.reduce import ordered_axes  # which reshapes itself

        axes = tuple(ordered_axes(axis, len(shape), "squeeze"))
    return apply(Squeeze(axes), x)


def broadcast_to(x: Any, shape: Sequence[int | None]) -> Any:
    """x repeated along axes of size 1 and new leading axes, so that it has this shape."""
    if isinstance(x, Tensor) and x.shape == tuple(shape):
        return x
    return apply(BroadcastTo(tuple(shape)), x)  # type: ignore[arg-type]
