"""Convolution as a tiled product in true float32 whose im2col is never stored (implicit GEMM): any
stride, padding and dilation; groups are products of a batch.

    y[p, f] = act(b[f] + sum over k of col[p, k] * w[k, f]),   p = (n, i, j),  k = (u, v, c)

Data gradient: the pixels of dx with the same remainders modulo the strides read dy through the same
taps, so each remainder is such a product of its own, over some of the taps, and writes every
element once.

Weight gradient: dw[k, f] = sum over p of col[p, k] * dy[p, f], split over pixels (`tiles.cut`).

Channels (forward, weight gradient) and filters of a group in multiples of four are read in 128-bit
words, others one by one.
"""

from math import gcd
from typing import Any, NamedTuple

from nbcnn.kernels.cuda import tiles
from nbcnn.kernels.cuda.call import Caps
from nbcnn.kernels.cuda.column_sums import column_sums, sums_scratch
from nbcnn.kernels.cuda.conv_source import (
    Gather,
    Kernel,
    Pixels,
    channels_by_filters,
    pixel_target,
    pixels_by_taps,
    taps_by_pixels,
)
from nbcnn.kernels.cuda.matmul_tiled import refused
from nbcnn.kernels.cuda.matrix_source import Matrix, matrix, matrix_target
from nbcnn.kernels.cuda.tile_product import Product, add_parts, product_launch
from nbcnn.kernels.impl import Impl, Scratch, no_pool
from nbcnn.ops.conv_spec import Conv2DSpec


def refuses(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    """Why no tiled product computes this convolution, or a gradient of it, from its arrays."""
    s = spec
    if s.n == 0:
        return "no images"
    if s.groups == s.c > 1:
        return "depthwise: tiles would be empty"
    sizes = s.n * s.h * s.w * s.c, s.n * s.oh * s.ow * s.f, weights(s)
    return no_pool(s, dtype, caps) or refused(dtype, *sizes)


def weights(s: Conv2DSpec) -> int:
    return s.kh * s.kw * (s.c // s.groups) * s.f


def accepts(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    s = spec
    return refuses(s, dtype, caps) or refused(
        dtype, forward_cut(s, caps).splits * s.n * s.oh * s.ow * s.f
    )


def forward_gather(s: Conv2DSpec) -> Gather:
    return Gather(
        s.n, s.oh, s.ow, s.h, s.w, s.c, s.c // s.groups, s.sh, s.sw, -s.pt, -s.pl,
        s.kh, s.kw, s.dilh, s.dilw,
    )  # fmt: skip


def forward_cut(s: Conv2DSpec, caps: Caps) -> tiles.Cut:
    depth = s.kh * s.kw * (s.c // s.groups)
    return tiles.cut(s.n * s.oh * s.ow, s.f // s.groups, depth, s.groups, caps)


def parts_scratch(splits: int, size: int, dtype: str) -> dict[str, Scratch]:
    return {"parts": Scratch((splits, size), dtype)} if splits > 1 else {}


def scratch(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    s = spec
    return parts_scratch(forward_cut(s, caps).splits, s.n * s.oh * s.ow * s.f, dtype)


def bind(spec: Conv2DSpec, caps: Caps, inputs: Any, outputs: Any, scratch: dict) -> list:
    s, (y,) = spec, outputs
    x, w = inputs[:2]
    bias = inputs[2] if s.bias else w
    cut = forward_cut(s, caps)
    split = cut.splits > 1
    cg, fg, pixels = s.c // s.groups, s.f // s.groups, s.n * s.oh * s.ow
    depth = s.kh * s.kw * cg
    sources = pixels_by_taps(cg % 4 == 0), matrix(False, fg % 4 == 0), matrix_target(fg % 4 == 0)
    operands = forward_gather(s), Matrix(fg, depth, s.f), Matrix(pixels, 0, s.f)
    product = Product(
        fg, depth, cut.row_blocks, cut.column_blocks, cut.splits, cut.split_depth, 0, 0, 0,
        cg, fg, fg, pixels * s.f, 0 if split else s.bias, fg, 0 if split else s.act,
    )  # fmt: skip
    to = scratch["parts"] if split else y
    calls = [product_launch(cut, s.groups, sources, product, operands, (x, w, bias, to))]
    return calls + (add_parts(caps, cut.splits, s, to, bias, y) if split else [])


class Remainder(NamedTuple):
    """Along one axis: the elements p, p + stride, ... of dx, and the taps u, u + tap_step, ... that
    reach them, from element first, first - tap, ... of dy on.
    """

    p: int
    size: int
    u: int
    taps: int
    tap_step: int
    first: int
    tap: int


def remainders(size: int, taps: int, stride: int, dilation: int, padding: int) -> list[Remainder]:
    """Element i * stride + p gets, through tap u, from element (i * stride + p + padding - u *
    dilation) / stride where that is whole: for every `tap_step`-th tap.
    """
    common = gcd(stride, dilation)
    tap_step, tap = stride // common, dilation // common
    found = []
    for p in range(min(stride, size)):
        u = next((u for u in range(tap_step) if (p + padding - u * dilation) % stride == 0), taps)
        elements, reached = -(-(size - p) // stride), max(0, -(-(taps - u) // tap_step))
        first = (p + padding - u * dilation) // stride
        found.append(Remainder(p, elements, u, reached, tap_step, first, tap))
    return found


def phases(s: Conv2DSpec) -> list[tuple[Remainder, Remainder]]:
    rows = remainders(s.h, s.kh, s.sh, s.dilh, s.pt)
    columns = remainders(s.w, s.kw, s.sw, s.dilw, s.pl)
    return [(row, column) for row in rows for column in columns]


def phase_cut(s: Conv2DSpec, row: Remainder, column: Remainder, caps: Caps) -> tiles.Cut:
    depth = row.taps * column.taps * (s.f // s.groups)
    return tiles.cut(s.n * row.size * column.size, s.c // s.groups, depth, s.groups, caps)


def dx_splits(s: Conv2DSpec, caps: Caps) -> int:
    """Only the single product of stride 1 is split: several others fill the GPU."""
    found = phases(s)
    return phase_cut(s, *found[0], caps).splits if len(found) == 1 else 1


def accepts_dx(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    s = spec
    return refuses(s, dtype, caps) or refused(dtype, dx_splits(s, caps) * s.n * s.h * s.w * s.c)


def scratch_dx(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    s = spec
    return parts_scratch(dx_splits(s, caps), s.n * s.h * s.w * s.c, dtype)


def bind_dx(spec: Conv2DSpec, caps: Caps, inputs: Any, outputs: Any, scratch: dict) -> list:
    s, (dy, w), (dx,) = spec, inputs, outputs
    cg, fg = s.c // s.groups, s.f // s.groups
    sources = (
        pixels_by_taps(fg % 4 == 0),
        channels_by_filters(fg % 4 == 0),
        pixel_target(cg % 4 == 0),
    )
    calls = []
    for row, column in phases(s):
        cut = phase_cut(s, row, column, caps)
        if "parts" not in scratch:
            cut = cut.whole()
        taps = row.taps * column.taps
        operands = (
            Gather(
                s.n, row.size, column.size, s.oh, s.ow, s.f, fg, 1, 1, row.first, column.first,
                row.taps, column.taps, -row.tap, -column.tap,
            ),
            Kernel(
                cg, s.f, fg, row.u * s.kw + column.u, row.taps, column.taps,
                row.tap_step * s.kw, column.tap_step,
            ),
            Pixels(s.n, row.size, column.size, s.h, s.w, s.c, row.p, column.p, s.sh, s.sw),
        )  # fmt: skip
        product = Product(
            cg, taps * fg, cut.row_blocks, cut.column_blocks, cut.splits, cut.split_depth, 0, 0, 0,
            fg, fg, cg, s.n * s.h * s.w * s.c, 0, 0, 0,
        )  # fmt: skip
        to = scratch.get("parts", dx)
        calls.append(product_launch(cut, s.groups, sources, product, operands, (dy, w, w, to)))
    if "parts" in scratch:
        parts = scratch["parts"]
        calls += add_parts(caps, parts.shape[0], s._replace(bias=0, act=0), parts, w, dx)
    return calls


def dw_cut(s: Conv2DSpec, caps: Caps) -> tiles.Cut:
    taps = s.kh * s.kw * (s.c // s.groups)
    return tiles.cut(taps, s.f // s.groups, s.n * s.oh * s.ow, s.groups, caps)


def accepts_dw(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    s = spec
    return refuses(s, dtype, caps) or refused(dtype, dw_cut(s, caps).splits * weights(s))


def scratch_dw(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    s = spec
    wanted = parts_scratch(dw_cut(s, caps).splits, weights(s), dtype)
    return wanted | (sums_scratch(s.n * s.oh * s.ow, s.f, dtype, caps) if s.bias else {})


def bind_dw(spec: Conv2DSpec, caps: Caps, inputs: Any, outputs: Any, scratch: dict) -> list:
    s, (x, dy), dw = spec, inputs, outputs[0]
    cut = dw_cut(s, caps)
    cg, fg, pixels = s.c // s.groups, s.f // s.groups, s.n * s.oh * s.ow
    taps = s.kh * s.kw * cg
    sources = taps_by_pixels(cg % 4 == 0), matrix(False, fg % 4 == 0), matrix_target(fg % 4 == 0)
    operands = forward_gather(s), Matrix(fg, pixels, s.f), Matrix(taps, 0, s.f)
    product = Product(
        fg, pixels, cut.row_blocks, cut.column_blocks, cut.splits, cut.split_depth, 0, 0, 0,
        cg, fg, fg, taps * s.f, 0, 0, 0,
    )  # fmt: skip
    to = scratch["parts"] if cut.splits > 1 else dw
    calls = [product_launch(cut, s.groups, sources, product, operands, (x, dy, dy, to))]
    if cut.splits > 1:
        calls += add_parts(caps, cut.splits, s._replace(bias=0, act=0), to, dy, dw)
    if s.bias:
        calls += column_sums(pixels, s.f, caps, dy, scratch["sums"], outputs[1])
    return calls


conv2d = Impl("implicit", accepts, bind, scratch)
conv2d_dx = Impl("implicit", accepts_dx, bind_dx, scratch_dx)
conv2d_dw = Impl("implicit", accepts_dw, bind_dw, scratch_dw)
