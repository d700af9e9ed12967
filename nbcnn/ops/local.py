"""Locally connected maps: windows as of a convolution, with weights of their own at each place."""

import dataclasses
from typing import Any, NamedTuple

from nbcnn.ops.conv import Padding, inner_windows
from nbcnn.ops.elementwise import of_one_type
from nbcnn.ops.op import Op, apply
from nbcnn.ops.tensor import Node, Tensor, TensorSpec


class Local2DSpec(NamedTuple):
    """y[n,i,j,f] = sum_{u,v,k} x[n, i*sh+u-pt, j*sw+v-pl, k] * w[i*ow+j, (u*kw+v)*c+k, f].

    Pixels outside the input do not take part; each window has one inside.
    """

    n: int
    h: int
    w: int
    c: int
    f: int
    kh: int
    kw: int
    oh: int
    ow: int
    sh: int
    sw: int
    pt: int
    pl: int


@dataclasses.dataclass(frozen=True)
class Local2DOp(Op):
    """Geometry that forward and both gradients share."""

    window: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: Padding = "valid"

    def geometry(self, x: tuple[int, ...], filters: int) -> Local2DSpec:
        found = inner_windows(self.name, x, self.window, self.strides, self.padding)
        (n, h, w, c), (oh, ow, pt, pl) = x, found
        return Local2DSpec(n, h, w, c, filters, *self.window, oh, ow, *self.strides, pt, pl)

    def multiply_adds(self, s: Local2DSpec) -> int:
        return 2 * s.n * s.oh * s.ow * s.f * s.kh * s.kw * s.c


def kernel_shape(s: Local2DSpec) -> tuple[int, int, int]:
    """(places, numbers of a window, filters)."""
    return (s.oh * s.ow, s.kh * s.kw * s.c, s.f)


@dataclasses.dataclass(frozen=True)
class Local2D(Local2DOp):
    """y from x (n, h, w, c) and w (oh * ow, kh * kw * c, f)."""

    name = "local2d"

    def infer(self, x: TensorSpec, w: TensorSpec) -> tuple[TensorSpec]:
        s = self.spec(x, w)
        if w.shape != kernel_shape(s):
            raise ValueError(
                f"{self.name}: windows of {self.window} over an input of shape {x.shape} need a "
                f"kernel (places, window, filters) of {kernel_shape(s)}, got {w.shape}"
            )
        return (TensorSpec((s.n, s.oh, s.ow, s.f), x.dtype),)

    def spec(self, x: TensorSpec, w: TensorSpec) -> Local2DSpec:
        return self.geometry(x.shape, w.shape[-1])

    def gradient(self, node: Node, *dys: Tensor | None):
        x, w = node.inputs
        geometry = self.window, self.strides, self.padding
        dx = apply(Local2DInputGradient(*geometry, x.spec.shape), dys[0], w)
        return [dx, apply(Local2DKernelGradient(*geometry), x, dys[0])]

    def flops(self, x: TensorSpec, w: TensorSpec) -> int:
        return self.multiply_adds(self.spec(x, w))


@dataclasses.dataclass(frozen=True)
class Local2DInputGradient(Local2DOp):
    """dx from dy and w."""

    name = "local2d_dx"
    shape: tuple[int, ...] = ()

    def infer(self, dy: TensorSpec, w: TensorSpec) -> tuple[TensorSpec]:
        return (TensorSpec(self.shape, dy.dtype),)

    def spec(self, dy: TensorSpec, w: TensorSpec) -> Local2DSpec:
        return self.geometry(self.shape, w.shape[-1])

    def gradient(self, node: Node, *dys: Tensor | None):
        """It is linear in dy and in w, and the adjoint of the forward product."""
        dy, w = node.inputs
        geometry = self.window, self.strides, self.padding
        ddy = apply(Local2D(*geometry), dys[0], w)
        return [ddy, apply(Local2DKernelGradient(*geometry), dys[0], dy)]

    def flops(self, dy: TensorSpec, w: TensorSpec) -> int:
        return self.multiply_adds(self.spec(dy, w))


@dataclasses.dataclass(frozen=True)
class Local2DKernelGradient(Local2DOp):
    """dw from x and dy."""

    name = "local2d_dw"

    def infer(self, x: TensorSpec, dy: TensorSpec) -> tuple[TensorSpec]:
        return (TensorSpec(kernel_shape(self.spec(x, dy)), x.dtype),)

    def spec(self, x: TensorSpec, dy: TensorSpec) -> Local2DSpec:
        return self.geometry(x.shape, dy.shape[-1])

    def gradient(self, node: Node, *dys: Tensor | None):
        """It is linear in x and in dy."""
        x, dy = node.inputs
        geometry = self.window, self.strides, self.padding
        dx = apply(Local2DInputGradient(*geometry, x.spec.shape), dy, dys[0])
        return [dx, apply(Local2D(*geometry), x, dys[0])]

    def flops(self, x: TensorSpec, dy: TensorSpec) -> int:
        return self.multiply_adds(self.spec(x, dy))


def local2d(
    x: Any, w: Any, window: tuple[int, int], strides: tuple[int, int], padding: Padding
) -> Any:
    return apply(Local2D(window, strides, padding), *of_one_type(x, w, floats=True))
