"""2-D max and average pooling over NHWC arrays, and its counterpart: repeating pixels."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from nbcnn.ops.conv import Padding, inner_windows, window_index_dtype
from nbcnn.ops.elementwise import Cast, binary, of_one_type
from nbcnn.ops.gather import Gather
from nbcnn.ops.op import Op, apply
from nbcnn.ops.shape import Reshape
from nbcnn.ops.tensor import Node, Tensor, TensorSpec


class Pool2DSpec(NamedTuple):
    """y[n,i,j,c] = f over (u, v) of x[n, i*sh+u-pt, j*sw+v-pl, c]; pixels outside the input do not
    take part.
    """

    n: int
    h: int
    w: int
    c: int
    oh: int
    ow: int
    kh: int
    kw: int
    sh: int
    sw: int
    pt: int
    pl: int


@dataclasses.dataclass(frozen=True)
class Pool2D(Op):
    """Geometry that max and average pooling share."""

    window: tuple[int, int] = (2, 2)
    strides: tuple[int, int] = (2, 2)
    padding: Padding = "valid"

    def geometry(self, x: tuple[int, ...]) -> Pool2DSpec:
        found = inner_windows(self.name, x, self.window, self.strides, self.padding)
        (n, h, w, c), (oh, ow, pt, pl) = x, found
        return Pool2DSpec(n, h, w, c, oh, ow, *self.window, *self.strides, pt, pl)

    def spec(self, x: TensorSpec, *others: TensorSpec) -> Pool2DSpec:
        return self.geometry(x.shape)

    def flops(self, x: TensorSpec, *others: TensorSpec) -> int:
        s = self.geometry(x.shape)
        return s.n * s.oh * s.ow * s.c * s.kh * s.kw


@dataclasses.dataclass(frozen=True)
class MaxPool2D(Pool2D):
    """Outputs y and, where `indices`, which pixel of the window won: u * kw + v, the first of equal
    ones.

    Indices are one byte where the window has at most 255 pixels. A NaN in the window wins.
    `recorded`: others than the gradient read them, so they are of these very values: no fusion
    with a function before, of which many values may have one result.
    """

    name = "maxpool2d"
    indices: bool = False
    recorded: bool = False

    @property
    def index_dtype(self) -> str:
        return window_index_dtype(self.window[0] * self.window[1])

    def infer(self, x: TensorSpec) -> tuple[TensorSpec, ...]:
        s = self.geometry(x.shape)
        y = TensorSpec((s.n, s.oh, s.ow, s.c), x.dtype)
        return (y, TensorSpec(y.shape, self.index_dtype)) if self.indices else (y,)

    def gradient(self, node: Node, *dys: Tensor | None):
        op = MaxPool2DGradient(self.window, self.strides, self.padding, node.inputs[0].spec.shape)
        return [apply(op, dys[0], node.outputs[1])]


@dataclasses.dataclass(frozen=True)
class MaxPool2DGradient(Pool2D):
    """dx: every dy goes to the pixel that won its window."""

    name = "maxpool2d_dx"
    shape: tuple[int, ...] = ()

    def infer(self, dy: TensorSpec, indices: TensorSpec) -> tuple[TensorSpec]:
        return (TensorSpec(self.shape, dy.dtype),)

    def spec(self, dy: TensorSpec, *others: TensorSpec) -> Pool2DSpec:
        return self.geometry(self.shape)

    def gradient(self, node: Node, *dys: Tensor | None):
        """What the winners of the windows are given."""
        indices, s = apply(Cast("int32"), node.inputs[1]), self.geometry(self.shape)
        row, column = binary("floor_divide", indices, s.kw), binary("mod", indices, s.kw)
        tops = (np.arange(s.oh, dtype="int32") * s.sh - s.pt).reshape(-1, 1, 1)
        lefts = (np.arange(s.ow, dtype="int32") * s.sw - s.pl).reshape(-1, 1)
        row, column = binary("add", row, tops), binary("add", column, lefts)
        places = binary("add", binary("multiply", row, s.w), column)
        pixels = apply(Reshape((s.n, s.h * s.w, s.c)), dys[0])
        picked = apply(Gather(1, True), pixels, apply(Reshape((s.n, s.oh * s.ow, s.c)), places))
        return [apply(Reshape((s.n, s.oh, s.ow, s.c)), picked), None]

    def flops(self, dy: TensorSpec, *others: TensorSpec) -> int:
        return dy.size


@dataclasses.dataclass(frozen=True)
class AvgPool2D(Pool2D):
    """The mean over the pixels of the window that lie inside the input."""

    name = "avgpool2d"

    def infer(self, x: TensorSpec) -> tuple[TensorSpec]:
        s = self.geometry(x.shape)
        return (TensorSpec((s.n, s.oh, s.ow, s.c), x.dtype),)

    def gradient(self, node: Node, *dys: Tensor | None):
        op = AvgPool2DGradient(self.window, self.strides, self.padding, node.inputs[0].spec.shape)
        return [apply(op, dys[0])]


@dataclasses.dataclass(frozen=True)
class AvgPool2DGradient(Pool2D):
    """dx: every dy is shared equally among the pixels of its window inside the input."""

    name = "avgpool2d_dx"
    shape: tuple[int, ...] = ()

    def infer(self, dy: TensorSpec) -> tuple[TensorSpec]:
        return (TensorSpec(self.shape, dy.dtype),)

    def spec(self, dy: TensorSpec, *others: TensorSpec) -> Pool2DSpec:
        return self.geometry(self.shape)

    def gradient(self, node: Node, *dys: Tensor | None):
        return [apply(AvgPool2D(self.window, self.strides, self.padding), dys[0])]


def _repetitions(shape: tuple[int, ...], size: tuple[int, int]) -> Pool2DSpec:
    """Windows of `size` side by side, as many as fill an array of this shape."""
    (n, h, w, c), (kh, kw) = shape, size
    return Pool2DSpec(n, h, w, c, h // kh, w // kw, kh, kw, kh, kw, 0, 0)


@dataclasses.dataclass(frozen=True)
class Upsample2D(Op):
    """Every pixel repeated `size` times down and right.

    The spec is that of the pool that leads back: its windows are the repetitions of a pixel.
    """

    name = "upsample2d"
    size: tuple[int, int]

    def infer(self, x: TensorSpec) -> tuple[TensorSpec]:
        n, h, w, c = x.shape
        return (TensorSpec((n, h * self.size[0], w * self.size[1], c), x.dtype),)

    def spec(self, x: TensorSpec) -> Pool2DSpec:
        return _repetitions(self.infer(x)[0].shape, self.size)

    def gradient(self, node: Node, *dys: Tensor | None):
        return [apply(Upsample2DGradient(self.size), dys[0])]


@dataclasses.dataclass(frozen=True)
class Upsample2DGradient(Op):
    """dx: the sum of dy over the repetitions of each pixel."""

    name = "upsample2d_dx"
    size: tuple[int, int]

    def infer(self, dy: TensorSpec) -> tuple[TensorSpec]:
        n, h, w, c = dy.shape
        return (TensorSpec((n, h // self.size[0], w // self.size[1], c), dy.dtype),)

    def spec(self, dy: TensorSpec) -> Pool2DSpec:
        return _repetitions(dy.shape, self.size)

    def gradient(self, node: Node, *dys: Tensor | None):
        return [apply(Upsample2D(self.size), dys[0])]

    def flops(self, dy: TensorSpec) -> int:
        return dy.size


def max_pool2d(x: Any, window: tuple[int, int], strides: tuple[int, int], padding: Padding) -> Any:
    """The graph keeps indices only where a gradient will want them; see `graph.autodiff`."""
    return apply(MaxPool2D(window, strides, padding), x)


def avg_pool2d(x: Any, window: tuple[int, int], strides: tuple[int, int], padding: Padding) -> Any:
    return apply(AvgPool2D(window, strides, padding), *of_one_type(x, floats=True))
