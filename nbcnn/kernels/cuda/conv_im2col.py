"""Convolution as a matrix product with an explicit im2col, by blocks of pixels so that it stays
small:

    col[p, g, (u, v, c)] = x[image(p), row(p, u), column(p, v), g * (c / groups) + c]
    y[p, g] = act(b + col[p, g] @ w[:, g])        dw[:, g] = sum over p of col[p, g]^T dy[p, g]
    col'[p, g] = dy[p, g] @ w[:, g]^T,  dx = for each element the sum of the col' that read it

A block's columns are written by one launch and multiplied by the next (`tile_product`). dw is added
from the blocks' parts in order; dx is gathered (col2im without atomic operations), by whole images.

Chosen where the user asks for it: it takes any geometry, but `implicit` saves writing and reading
col. Not run on a GPU.
"""

from functools import cache
from typing import Any, NamedTuple

from numba import cuda
from numpy import float32, int32

from nbcnn.kernels.cuda import jit, ptx, tiles
from nbcnn.kernels.cuda.call import Caps, launch
from nbcnn.kernels.cuda.column_sums import column_sums, sums_scratch
from nbcnn.kernels.cuda.conv_implicit import refuses
from nbcnn.kernels.cuda.indices import divided
from nbcnn.kernels.cuda.matmul_tiled import refused
from nbcnn.kernels.cuda.matrix_source import Matrix, matrix, matrix_target
from nbcnn.kernels.cuda.tile_product import Product, add_parts, product_launch
from nbcnn.kernels.impl import Impl, Scratch
from nbcnn.ops.conv_spec import Conv2DSpec

BLOCK_FLOATS = 2**24  # of col: 64 MB, which is much for L2 and little for memory


class Sizes(NamedTuple):
    """Of the products: pixels, channels and filters of a group, terms of a sum, row of col."""

    pixels: int
    cg: int
    fg: int
    depth: int
    ld: int


def sizes(s: Conv2DSpec) -> Sizes:
    cg, taps = s.c // s.groups, s.kh * s.kw
    return Sizes(s.n * s.oh * s.ow, cg, s.f // s.groups, taps * cg, taps * s.c)


def block_pixels(s: Conv2DSpec, caps: Caps) -> int:
    """Pixels of a block."""
    z = sizes(s)
    most = 20 if caps.simulated else max(BLOCK_FLOATS // z.ld, tiles.LARGE.rows)
    return min(most, z.pixels)


def block_images(s: Conv2DSpec, caps: Caps) -> int:
    """Images of a block."""
    return max(1, min(block_pixels(s, caps) // (s.oh * s.ow), s.n))


@cache
def fill_kernel(lanes: int) -> Any:
    """The kernel that writes col for pixels first, ..., first + count - 1."""

    @jit.kernel(constants=(lanes,))
    def fill(s, first, count, x, col):
        cg = s.c // s.groups
        for index in range(cuda.grid(1), count * s.kh * s.kw * (s.c // lanes), cuda.gridsize(1)):
            rest, c = divided(int32(index), int32(cg // lanes))
            rest, v = divided(rest, int32(s.kw))
            rest, u = divided(rest, int32(s.kh))
            p, g = divided(rest, int32(s.groups))
            rest, j = divided(int32(first + p), int32(s.ow))
            n, i = divided(rest, int32(s.oh))
            row = int32(i * s.sh + u * s.dilh - s.pt)
            column = int32(j * s.sw + v * s.dilw - s.pl)
            inside = (row >= 0) & (row < s.h) & (column >= 0) & (column < s.w)
            start = int32(((n * s.h + row) * s.w + column) * s.c + g * cg + c * lanes)
            if lanes == 4:
                a = b = d = e = float32(0)
                if inside:
                    a, b, d, e = ptx.load4(x, start)
                ptx.store4(col, int32(index * lanes), a, b, d, e)
            else:
                col[index] = x[start] if inside else float32(0)

    return fill


@jit.kernel
def gather_kernel(s, first, count, col, dx):
    """dx of images first, ..., first + count - 1, whose pixels' col begins at 0."""
    cg = s.c // s.groups
    for index in range(cuda.grid(1), count * s.h * s.w * s.c, cuda.gridsize(1)):
        rest, c = divided(int32(index), int32(s.c))
        rest, column = divided(rest, int32(s.w))
        n, row = divided(rest, int32(s.h))
        g, c = divided(c, int32(cg))
        total = float32(0)
        for u in range(s.kh):
            p = int32(row + s.pt - u * s.dilh)  # output row times stride
            i, rest = divided(max(p, int32(0)), int32(s.sh))
            if (p < 0) | (rest != 0) | (i >= s.oh):
                continue
            for v in range(s.kw):
                q = int32(column + s.pl - v * s.dilw)
                j, rest = divided(max(q, int32(0)), int32(s.sw))
                if (q >= 0) & (rest == 0) & (j < s.ow):
                    pixel = int32((n * s.oh + i) * s.ow + j)
                    spot = int32(((pixel * s.groups + g) * s.kh + u) * s.kw + v)
                    total += col[int32(spot * cg + c)]
        dx[first * s.h * s.w * s.c + index] = total


def fill(s: Conv2DSpec, caps: Caps, first: int, count: int, x: Any, col: Any) -> list:
    lanes = 4 if s.c // s.groups % 4 == 0 else 1
    size = count * sizes(s).ld // lanes
    return launch(fill_kernel(lanes), caps, size, s, first, count, x, col)


def accepts(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    s = spec
    return refuses(s, dtype, caps) or refused(dtype, block_pixels(s, caps) * sizes(s).ld)


def scratch(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    return {"columns": Scratch((block_pixels(spec, caps) * sizes(spec).ld,), dtype)}


def bind(spec: Conv2DSpec, caps: Caps, inputs: Any, outputs: Any, scratch: dict) -> list:
    s, z, (y,) = spec, sizes(spec), outputs
    x, w = inputs[:2]
    col, bias = scratch["columns"], inputs[2] if s.bias else w
    block = block_pixels(s, caps)
    sources = matrix(True, z.depth % 4 == 0), matrix(False, z.fg % 4 == 0)
    target = matrix_target(z.fg % 4 == 0)
    calls = []
    for first in range(0, z.pixels, block):
        count = min(block, z.pixels - first)
        cut = tiles.cut(count, z.fg, z.depth, s.groups, caps).whole()
        product = Product(
            z.fg, z.depth, cut.row_blocks, cut.column_blocks, 1, cut.split_depth,
            0, 0, first * s.f, z.depth, z.fg, z.fg, 0, s.bias, z.fg, s.act,
        )  # fmt: skip
        operands = Matrix(count, z.depth, z.ld), Matrix(z.fg, z.depth, s.f), Matrix(count, 0, s.f)
        calls += fill(s, caps, first, count, x, col)
        arrays = col, w, bias, y
        calls.append(product_launch(cut, s.groups, (*sources, target), product, operands, arrays))
    return calls


def dx_columns(s: Conv2DSpec, caps: Caps) -> int:
    """Elements of the columns of whole images."""
    return block_images(s, caps) * s.oh * s.ow * sizes(s).ld


def accepts_dx(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    return refuses(spec, dtype, caps) or refused(dtype, dx_columns(spec, caps))


def scratch_dx(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    return {"columns": Scratch((dx_columns(spec, caps),), dtype)}


def bind_dx(spec: Conv2DSpec, caps: Caps, inputs: Any, outputs: Any, scratch: dict) -> list:
    s, z, (dy, w), (dx,) = spec, sizes(spec), inputs, outputs
    col, block = scratch["columns"], block_images(s, caps)
    sources = matrix(True, z.fg % 4 == 0), matrix(True, z.fg % 4 == 0)
    target = matrix_target(z.depth % 4 == 0)
    calls = []
    for first in range(0, s.n, block):
        images = min(block, s.n - first)
        count = images * s.oh * s.ow
        cut = tiles.cut(count, z.depth, z.fg, s.groups, caps).whole()
        product = Product(
            z.depth, z.fg, cut.row_blocks, cut.column_blocks, 1, cut.split_depth,
            first * s.oh * s.ow * s.f, 0, 0, z.fg, z.fg, z.depth, 0, 0, 0, 0,
        )  # fmt: skip
        operands = Matrix(count, z.fg, s.f), Matrix(z.depth, z.fg, s.f), Matrix(count, 0, z.ld)
        arrays = dy, w, w, col
        calls.append(product_launch(cut, s.groups, (*sources, target), product, operands, arrays))
        size = images * s.h * s.w * s.c
        calls += launch(gather_kernel, caps, size, s, first, images, col, dx)
    return calls


def dw_cut(s: Conv2DSpec, caps: Caps) -> tiles.Cut:
    z = sizes(s)
    return tiles.cut(z.depth, z.fg, block_pixels(s, caps), s.groups, caps)


def dw_parts(s: Conv2DSpec, caps: Caps) -> tuple[int, int]:
    """(how many, their size)."""
    z = sizes(s)
    blocks = -(-z.pixels // block_pixels(s, caps))
    return blocks * dw_cut(s, caps).splits, z.depth * s.f


def accepts_dw(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    reason = accepts(spec, dtype, caps)
    if reason is not None:
        return reason
    count, size = dw_parts(spec, caps)
    return refused(dtype, count * size)


def scratch_dw(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    s, z = spec, sizes(spec)
    parts = Scratch(dw_parts(s, caps), dtype)
    sums = sums_scratch(z.pixels, s.f, dtype, caps) if s.bias else {}
    return scratch(s, dtype, caps) | {"parts": parts} | sums


def bind_dw(spec: Conv2DSpec, caps: Caps, inputs: Any, outputs: Any, scratch: dict) -> list:
    s, z, (x, dy), dw = spec, sizes(spec), inputs, outputs[0]
    col, parts, block = scratch["columns"], scratch["parts"], block_pixels(spec, caps)
    cut, size = dw_cut(s, caps), z.depth * s.f
    sources = matrix(False, z.depth % 4 == 0), matrix(False, z.fg % 4 == 0)
    target = matrix_target(z.fg % 4 == 0)
    calls = []
    for number, first in enumerate(range(0, z.pixels, block)):
        count = min(block, z.pixels - first)
        product = Product(
            z.fg, count, cut.row_blocks, cut.column_blocks, cut.splits, cut.split_depth,
            0, first * s.f, number * cut.splits * size, z.depth, z.fg, z.fg, size, 0, 0, 0,
        )  # fmt: skip
        operands = Matrix(z.depth, count, z.ld), Matrix(z.fg, count, s.f), Matrix(z.depth, 0, s.f)
        calls += fill(s, caps, first, count, x, col)
        arrays = col, dy, dy, parts
        calls.append(product_launch(cut, s.groups, (*sources, target), product, operands, arrays))
    calls += add_parts(caps, parts.shape[0], s._replace(bias=0, act=0), parts, dy, dw)
    if s.bias:
        calls += column_sums(z.pixels, s.f, caps, dy, scratch["sums"], outputs[1])
    return calls


conv2d = Impl("im2col", accepts, bind, scratch)
conv2d_dx = Impl("im2col", accepts_dx, bind_dx, scratch_dx)
conv2d_dw = Impl("im2col", accepts_dw, bind_dw, scratch_dw)
