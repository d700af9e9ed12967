"""2-D convolution (cross-correlation, as in every framework) over NHWC arrays with HWIO kernels."""

import dataclasses
from typing import Any

from nbcnn.ops import bfloat16
from nbcnn.ops.conv_spec import MAX_POOL_INDEXED, Conv2DSpec
from nbcnn.ops.elementwise import of_one_type
from nbcnn.ops.op import Op, apply
from nbcnn.ops.tensor import Node, Tensor, TensorSpec

Padding = str | tuple[tuple[int, int], tuple[int, int]]


def window_output(
    size: int, window: int, stride: int, padding: str | tuple[int, int], dilation: int = 1
) -> tuple[int, int, int]:
    """(output size, padding before, padding after) of a window sliding over `size` elements.

    'valid': no padding. 'same': output ceil(size / stride), the odd pixel of padding goes after. Or
    explicit (before, after). Raises ValueError where the window is larger than the padded input.
    """
    reach = (window - 1) * dilation + 1
    if padding == "same":
        output = -(-size // stride)
        total = max((output - 1) * stride + reach - size, 0)
        return output, total // 2, total - total // 2
    before, after = (0, 0) if isinstance(padding, str) else padding
    padded = size + before + after
    if reach > padded:
        extra = f" (dilated by {dilation})" if dilation > 1 else ""
        raise ValueError(f"window of {window}{extra} is larger than its padded input of {padded}")
    return (padded - reach) // stride + 1, before, after


def inner_windows(
    name: str,
    x: tuple[int, ...],
    window: tuple[int, int],
    strides: tuple[int, int],
    padding: Padding,
) -> tuple[int, int, int, int]:
    """(oh, ow, rows of padding above, columns left) of windows over images of shape x (n, h, w, c),
    each of which has a pixel of its image.

    Raises ValueError in the name of an operation.
    """
    if len(x) != 4:
        raise ValueError(f"{name}: expected input (n, h, w, c), got {x}")
    pads = (padding,) * 2 if isinstance(padding, str) else padding
    sides = () if isinstance(padding, str) else padding
    if any(max(side) >= size for side, size in zip(sides, window)):
        raise ValueError(
            f"{name}: padding {padding} must be less than the window {window}, which would lie "
            "outside of the input"
        )
    try:
        (oh, top, _), (ow, left, _) = map(window_output, x[1:3], window, strides, pads)
    except ValueError as error:
        raise ValueError(f"{name}: window {window} on input {x}: {error}") from None
    if oh * ow and 0 in x[1:3]:
        raise ValueError(f"{name}: window {window} on input {x}, which has no pixels")
    return oh, ow, top, left


def transposed_output(
    size: int, window: int, stride: int, padding: str, extra: int | None, dilation: int
) -> tuple[int, tuple[int, int]]:
    """Size of the output along an axis, and padding of the convolution that is transposed."""
    reach = (window - 1) * dilation + 1
    if padding == "valid":
        extra = max(stride - reach, 0) if extra is None else extra
        return (size - 1) * stride + reach + extra, (0, 0)
    output = size * stride if extra is None else (size - 1) * stride + reach % 2 + extra
    surplus = max((size - 1) * stride + reach - output, 0)
    return output, (surplus // 2, surplus - surplus // 2)


def window_index_dtype(taps: int) -> str:
    """Of numbers that tell which pixel of a window of so many won."""
    return "uint8" if taps <= 255 else "int32"


@dataclasses.dataclass(frozen=True)
class Conv2DOp(Op):
    """Attributes that forward and both gradients share."""

    strides: tuple[int, int] = (1, 1)
    padding: Padding = "valid"
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    algorithm: str | None = None  # preferred implementation, or None for the list's choice
    bias: bool = False
    act: int = 0
    pool: int = 0  # with windows of ph x pw; see `Conv2DSpec`
    ph: int = 1
    pw: int = 1
    bfloat16: bool = False  # operands may be rounded; see `nbcnn.ops.bfloat16`
    fixed: bool = False  # set by rewriting, in inference

    def geometry(self, x: tuple[int, ...], w: tuple[int, ...]) -> Conv2DSpec:
        if len(x) != 4 or len(w) != 4:
            raise ValueError(
                f"{self.name}: expected input (n, h, w, c) and kernel (kh, kw, c, f), "
                f"got {x} and {w}"
            )
        n, h, wd, c = x
        kh, kw, cg, f = w
        if cg * self.groups != c:
            raise ValueError(
                f"{self.name}: kernel {w} expects {cg * self.groups} input channels "
                f"({self.groups} groups of {cg}), got an input of shape {x} with {c}"
            )
        if f % self.groups:
            raise ValueError(f"{self.name}: {f} filters cannot be split into {self.groups} groups")
        pads = (self.padding,) * 2 if isinstance(self.padding, str) else self.padding
        try:
            oh, pt, _ = window_output(h, kh, self.strides[0], pads[0], self.dilation[0])
            ow, pl, _ = window_output(wd, kw, self.strides[1], pads[1], self.dilation[1])
        except ValueError as error:
            raise ValueError(f"{self.name}: kernel ({kh}, {kw}) on input {x}: {error}") from None
        return Conv2DSpec(
            n, h, wd, c, f, kh, kw, self.groups, oh, ow, *self.strides, *self.dilation, pt, pl,
            int(self.bias), self.act, self.pool, self.ph, self.pw, int(self.fixed),
        )  # fmt: skip

    def multiply_adds(self, s: Conv2DSpec) -> int:
        return 2 * s.n * s.oh * s.ow * s.f * s.kh * s.kw * (s.c // s.groups)


@dataclasses.dataclass(frozen=True)
class Conv2D(Conv2DOp):
    """y = pool(act(x * w + b)). Inputs x, w and, where `bias`, b.

    Only fusion sets `pool`, after differentiation; not all implementations take one. The outputs
    are those of the pool: y and, where it is `MAX_POOL_INDEXED`, which pixel of the window won.
    """

    name = "conv2d"

    def infer(self, x: TensorSpec, w: TensorSpec, *b: TensorSpec) -> tuple[TensorSpec, ...]:
        s = self.geometry(x.shape, w.shape)
        y = TensorSpec((s.n, s.oh // s.ph, s.ow // s.pw, s.f), x.dtype)
        if s.pool != MAX_POOL_INDEXED:
            return (y,)
        return y, TensorSpec(y.shape, window_index_dtype(s.ph * s.pw))

    def spec(self, x: TensorSpec, w: TensorSpec, *b: TensorSpec) -> Conv2DSpec:
        return self.geometry(x.shape, w.shape)

    def gradient(self, node: Node, *dys: Tensor | None):
        x, w = node.inputs
        shared = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        dx = apply(Conv2DInputGradient(**shared, shape=x.spec.shape), dys[0], w)
        dw = apply(Conv2DKernelGradient(**shared, shape=w.spec.shape), x, dys[0])
        return [dx, dw]

    def flops(self, x: TensorSpec, w: TensorSpec, *b: TensorSpec) -> int:
        return self.multiply_adds(self.geometry(x.shape, w.shape))


@dataclasses.dataclass(frozen=True)
class Conv2DInputGradient(Conv2DOp):
    """dx from dy and w."""

    name = "conv2d_dx"
    shape: tuple[int, ...] = ()

    def infer(self, dy: TensorSpec, w: TensorSpec) -> tuple[TensorSpec]:
        return (TensorSpec(self.shape, dy.dtype),)

    def spec(self, dy: TensorSpec, w: TensorSpec) -> Conv2DSpec:
        return self.geometry(self.shape, w.shape)

    def gradient(self, node: Node, *dys: Tensor | None):
        """Both gradients of a transposed convolution: it is the adjoint of the forward one."""
        dy, w = node.inputs
        (g,) = dys
        shared = {f.name: getattr(self, f.name) for f in dataclasses.fields(Conv2DOp)}
        ddy = apply(Conv2D(**shared), g, w)
        dw = apply(Conv2DKernelGradient(**shared, shape=w.spec.shape), g, dy)
        return [ddy, dw]

    def flops(self, dy: TensorSpec, w: TensorSpec) -> int:
        return self.multiply_adds(self.geometry(self.shape, w.shape))


@dataclasses.dataclass(frozen=True)
class Conv2DKernelGradient(Conv2DOp):
    """dw from x and dy and, where `bias`, db = the sum of dy over pixels.

    Where fusion has set `pool` to MAX_POOL_INDEXED, dy is that of the pool, and a third input tells
    which pixel of each window won.
    """

    name = "conv2d_dw"
    shape: tuple[int, ...] = ()

    def infer(self, x: TensorSpec, dy: TensorSpec, *winners: TensorSpec) -> tuple[TensorSpec, ...]:
        dw = TensorSpec(self.shape, x.dtype)
        return (dw, TensorSpec((self.shape[3],), x.dtype)) if self.bias else (dw,)

    def spec(self, x: TensorSpec, dy: TensorSpec, *winners: TensorSpec) -> Conv2DSpec:
        return self.geometry(x.shape, self.shape)

    def gradient(self, node: Node, *dys: Tensor | None):
        """It is linear in x and in dy, with the forward convolution's other gradient as adjoint."""
        x, dy = node.inputs
        (g,) = dys
        shared = {f.name: getattr(self, f.name) for f in dataclasses.fields(Conv2DOp)}
        dx = apply(Conv2DInputGradient(**shared, shape=x.spec.shape), dy, g)
        return [dx, apply(Conv2D(**shared), x, g)]

    def flops(self, x: TensorSpec, dy: TensorSpec, *winners: TensorSpec) -> int:
        return self.multiply_adds(self.geometry(x.shape, self.shape))


def conv2d(
    x: Any,
    w: Any,
    strides: tuple[int, int] = (1, 1),
    padding: Padding = "valid",
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    algorithm: str | None = None,
) -> Any:
    op = Conv2D(strides, padding, dilation, groups, algorithm, bfloat16=bfloat16.allowed())
    return apply(op, *of_one_type(x, w, floats=True))
