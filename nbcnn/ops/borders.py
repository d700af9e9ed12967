"""Padding by what is in the array, reflected, repeated, continued, or by numbers of each row."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from nbcnn.ops.elementwise import of_one_type
from nbcnn.ops.op import Op, apply
from nbcnn.ops.shape import Slice
from nbcnn.ops.tensor import Node, Tensor, TensorSpec

REFLECT, SYMMETRIC, EDGE, WRAP, FILL = range(5)
MODES = {"reflect": REFLECT, "symmetric": SYMMETRIC, "edge": EDGE, "wrap": WRAP, "fill": FILL}
MOST_AXES = 3  # that are padded, or lie between such ones
Widths = tuple[tuple[int, int], ...]


class BorderSpec(NamedTuple):
    """y (outer, od, oh, ow, inner) of x (outer, d, h, w, inner), which begins in it at (front, top,
    left). `mode`: where the other elements come from along each axis; with FILL from a second
    input (outer, inner).
    """

    outer: int
    d: int
    h: int
    w: int
    inner: int
    od: int
    oh: int
    ow: int
    front: int
    top: int
    left: int
    mode: int


@dataclasses.dataclass(frozen=True)
class BorderOp(Op):
    """`widths`: (before, after) of every axis; see `span`."""

    widths: Widths = ()
    mode: str = "reflect"

    @property
    def axes(self) -> tuple[int, int]:
        """(first, stop) of the axes that kernels see one by one."""
        return span(self.widths)

    def border(self, x: tuple[int, ...]) -> BorderSpec:
        first, stop = self.axes
        missing = MOST_AXES - (stop - first)
        sizes = (1,) * missing + x[first:stop]
        pairs = ((0, 0),) * missing + self.widths[first:stop]
        padded = (n + a + b for n, (a, b) in zip(sizes, pairs))
        starts = (a for a, _ in pairs)
        outer, inner = math.prod(x[:first]), math.prod(x[stop:])
        numbers = (outer, *sizes, inner, *padded, *starts, MODES[self.mode])
        return BorderSpec._make(numbers)


def span(widths: Widths) -> tuple[int, int]:
    """(first, stop) of the axes that are padded."""
    padded = [axis for axis, pair in enumerate(widths) if pair != (0, 0)] or [len(widths) - 1]
    return padded[0], padded[-1] + 1


def limit(mode: str, size: int) -> int:
    """How many elements a side of an axis may be padded by at most."""
    if mode == "fill":
        return 1 << 40
    if mode == "edge":
        return 1 << 40 if size else 0
    return size - 1 if mode == "reflect" else size


@dataclasses.dataclass(frozen=True)
class PadBorder(BorderOp):
    """x within a border. With mode "fill" a second input has the numbers of it: the sizes of x
    before the axes `over`, (first, stop) and by default the padded ones, then those after.
    """

    name = "pad_border"
    over: tuple[int, int] | None = None

    @property
    def axes(self) -> tuple[int, int]:
        return self.over or span(self.widths)

    def infer(self, x: TensorSpec, *fill: TensorSpec) -> tuple[TensorSpec]:
        for axis, (size, pair) in enumerate(zip(x.shape, self.widths, strict=True)):
            if any(pair) and max(pair) > limit(self.mode, size):
                least = max(pair) + (self.mode == "reflect")
                raise ValueError(
                    f"pad: padding {pair} of axis {axis} by {self.mode!r} needs at least {least} "
                    f"elements there, got {size} of shape {x.shape}"
                )
        first, stop = self.axes
        if fill and fill[0] != TensorSpec(x.shape[:first] + x.shape[stop:], x.dtype):
            raise ValueError(
                f"pad: {fill[0].dtype} numbers of shape {fill[0].shape} do not fit {x.dtype} "
                f"{x.shape}"
            )
        return (TensorSpec(tuple(n + a + b for n, (a, b) in zip(x.shape, self.widths)), x.dtype),)

    def spec(self, x: TensorSpec, *fill: TensorSpec) -> BorderSpec:
        return self.border(x.shape)

    def gradient(self, node: Node, *dys: Tensor | None):
        (dy,), x = dys, node.inputs[0]
        if self.mode != "fill":
            return [apply(PadBorderGradient(self.widths, self.mode, x.spec.shape), dy)]
        inside = tuple((a, a + n, 1) for (a, _), n in zip(self.widths, x.spec.shape))
        return [apply(Slice(inside), dy), self._sum_of_border(dy, inside)]

    def _sum_of_border(self, dy: Any, inside: tuple[tuple[int, int, int], ...]) -> Any:
        """Of dy, part by part: before and after each axis, between the borders of those before."""
        from nbcnn.ops.numpy_api import add, sum

        axes, total = tuple(range(*self.axes)), None
        for axis in axes:
            first, stop, _ = inside[axis]
            for part in ((0, first, 1), (stop, stop + self.widths[axis][1], 1)):
                if part[0] < part[1]:
                    whole = ((None, None, None),) * (len(inside) - axis - 1)
                    own = sum(apply(Slice((*inside[:axis], part, *whole)), dy), axes)
                    total = own if total is None else add(total, own)
        return total


@dataclasses.dataclass(frozen=True)
class PadBorderGradient(BorderOp):
    """dx: the sum of dy over the places that an element was copied to."""

    name = "pad_border_dx"
    shape: tuple[int, ...] = ()

    def infer(self, dy: TensorSpec) -> tuple[TensorSpec]:
        return (TensorSpec(self.shape, dy.dtype),)

    def spec(self, dy: TensorSpec) -> BorderSpec:
        return self.border(self.shape)

    def gradient(self, node: Node, *dys: Tensor | None):
        return [apply(PadBorder(self.widths, self.mode), dys[0])]

    def flops(self, dy: TensorSpec) -> int:
        return dy.size


def fits(widths: Widths, sizes: Sequence[int | None], mode: str) -> bool:
    """Whether one operation does such a padding of an array whose padded sizes are known."""
    first, stop = span(widths)
    known = all(n is not None and max(p) <= limit(mode, n) for n, p in zip(sizes, widths) if any(p))
    return known and stop - first <= MOST_AXES


def pad_by_mean(x: Any, widths: Widths, over: tuple[int, int]) -> Any:
    """x within a border of its own means over the axes `over`, (first, stop): the padded ones and
    others beside them. Integers become floats.
    """
    from nbcnn.ops.numpy_api import mean

    inputs = of_one_type(x, mean(x, tuple(range(*over))), floats=True)
    return apply(PadBorder(widths, "fill", over), *inputs)
