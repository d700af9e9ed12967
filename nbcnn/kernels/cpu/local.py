"""Locally connected maps: at each place a product of its own, of a few rows with its weights.

    y[n,p,f]  = sum_k x[n, k of p] w[p,k,f]
    dx[n, k of p] += sum_f dy[n,p,f] w[p,k,f]        dw[p,k,f] = sum_n x[n, k of p] dy[n,p,f]

p is one of the oh * ow places, k one of the kh * kw * c numbers that its window sees. There are as
many weights as multiply-adds of one sample, so what counts is to read each once for the whole
batch: the rows of the products are the samples, and the weights of a place are their right operand
as they lie in memory. The rows of a window are consecutive in the image (kw * c numbers), so the
left operand needs no copy either: its kh parts are the segments of `gemm_micro.panel_product`.
Panels of weights are packed only where their filters do not fill whole vectors, and transposed for
dx. Where a window reaches over the edge, its part inside goes row by row.

Forward and dw, a task is some places. For dx it is some rows of the input, of all samples: it takes
what each window that covers them has in just these rows, so no two tasks write to one place and
each weight is still read once.
"""

from functools import cache

import numpy as np

from nbcnn.kernels.cpu import jit, simd
from nbcnn.kernels.cpu.blocking import Tile, register_tile
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.gemm_micro import panel_product
from nbcnn.kernels.cpu.gemm_pack import pack_columns, pack_rows
from nbcnn.kernels.cpu.pool import reach, taps
from nbcnn.kernels.cpu.shares import blocks, flat
from nbcnn.kernels.impl import Impl, Scratch, always
from nbcnn.ops.local import Local2DSpec

TASK_WORK = 1 << 17  # multiply-adds of a task: some microseconds


@jit.always_inline
def padded(columns, lanes):
    """Columns of a panel: whole vectors."""
    return (columns + lanes - 1) // lanes * lanes


@cache
def forward_kernel(tile: Tile) -> jit.Kernel:
    item, lanes, width = tile.item, tile.lanes, tile.vectors * tile.lanes
    product, pack = panel_product(tile), pack_rows(tile)

    @jit.kernel(constants=(tile,))
    def local2d(task, thread, spec, per, x, w, y, x_rows, y_rows, lines, zeros, panels):
        s, low = spec, x.dtype.type(-np.inf)
        line, step = s.w * s.c * item, s.f * item
        panel, start = simd.address(panels[thread]), simd.address(zeros)
        for place in range(task * per, min((task + 1) * per, s.oh * s.ow)):
            top, left = place // s.ow * s.sh - s.pt, place % s.ow * s.sw - s.pl
            u0, u1 = taps(top, s.h, s.kh)
            v0, v1 = taps(left, s.w, s.kw)
            source = simd.address(x) + (top + u0) * line + (left + v0) * s.c * item
            first = simd.address(w) + ((place * s.kh + u0) * s.kw + v0) * s.c * step
            # Rows of a window that is cut on a side are not one behind the other in w.
            together = u1 - u0 if v1 - v0 == s.kw else 1
            depth = (v1 - v0) * s.c
            for k in range(0, s.f, width):
                columns = min(width, s.f - k)
                for u in range(0, u1 - u0, together):
                    b, b_step = first + u * s.kw * s.c * step + k * item, step
                    if columns % lanes:
                        pack(panel, b, step, together * depth, columns)
                        b, b_step = panel, padded(columns, lanes) * item
                    product(
                        source + u * line, simd.address(x_rows), item, simd.address(lines),
                        together, depth, b, b_step, simd.address(y) + place * step + k * item,
                        simd.address(y_rows), s.n, columns, start, u, low,
                    )  # fmt: skip

    return local2d


@cache
def input_kernel(tile: Tile) -> jit.Kernel:
    item, lanes, width = tile.item, tile.lanes, tile.vectors * tile.lanes
    product, pack = panel_product(tile), pack_columns(tile)

    @jit.kernel(constants=(tile,))
    def local2d_dx(task, thread, spec, per, dy, w, dx, x_rows, y_rows, lines, zeros, panels):
        s, low = spec, dx.dtype.type(-np.inf)
        line, step = s.w * s.c * item, s.f * item
        panel, start = simd.address(panels[thread]), simd.address(zeros)
        for row in range(task * per, min((task + 1) * per, s.h)):
            for n in range(s.n):
                simd.zero_bytes(simd.address(dx) + (n * s.h + row) * line, line)
            first, stop = reach(row, s.pt, s.kh, s.sh, s.oh)
            for i in range(first, stop):
                u = row + s.pt - i * s.sh
                for j in range(s.ow):
                    place, left = i * s.ow + j, j * s.sw - s.pl
                    v0, v1 = taps(left, s.w, s.kw)
                    source = simd.address(w) + ((place * s.kh + u) * s.kw + v0) * s.c * step
                    target = simd.address(dx) + row * line + (left + v0) * s.c * item
                    for k in range(0, (v1 - v0) * s.c, width):
                        columns = min(width, (v1 - v0) * s.c - k)
                        pack(panel, source + k * step, step, s.f, columns)
                        product(
                            simd.address(dy) + place * step, simd.address(y_rows), item,
                            simd.address(lines), 1, s.f, panel, padded(columns, lanes) * item,
                            target + k * item, simd.address(x_rows), s.n, columns, start, 1, low,
                        )  # fmt: skip

    return local2d_dx


@cache
def weight_kernel(tile: Tile) -> jit.Kernel:
    item, lanes, width = tile.item, tile.lanes, tile.vectors * tile.lanes
    product, pack = panel_product(tile), pack_rows(tile)

    @jit.kernel(constants=(tile,))
    def local2d_dw(task, thread, spec, per, x, dy, dw, numbers, rows, lines, zeros, panels):
        s, low = spec, dw.dtype.type(-np.inf)
        line, step = s.w * s.c * item, s.f * item
        panel, start = simd.address(panels[thread]), simd.address(zeros)
        for place in range(task * per, min((task + 1) * per, s.oh * s.ow)):
            top, left = place // s.ow * s.sh - s.pt, place % s.ow * s.sw - s.pl
            u0, u1 = taps(top, s.h, s.kh)
            v0, v1 = taps(left, s.w, s.kw)
            target = simd.address(dw) + place * s.kh * s.kw * s.c * step
            if (u1 - u0) * (v1 - v0) < s.kh * s.kw or s.n == 0:
                simd.zero_bytes(target, s.kh * s.kw * s.c * step)
            if s.n == 0:
                continue
            for k in range(0, s.f, width):
                columns = min(width, s.f - k)
                source = simd.address(dy) + place * step + k * item
                pack(panel, source, s.oh * s.ow * step, s.n, columns)
                for u in range(u0, u1):
                    product(
                        simd.address(x) + (top + u) * line + (left + v0) * s.c * item,
                        simd.address(numbers), s.h * line, simd.address(lines), 1, s.n, panel,
                        padded(columns, lanes) * item,
                        target + (u * s.kw + v0) * s.c * step + k * item, simd.address(rows),
                        (v1 - v0) * s.c, columns, start, 0, low,
                    )  # fmt: skip

    return local2d_dw


def scratch_of(depth):
    """Room for a panel of weights or gradients, of `depth(spec)` rows."""

    def scratch(spec: Local2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
        width = register_tile(caps, dtype).width
        return {"panels": Scratch((caps.threads, max(1, depth(spec)) * width), dtype)}

    return scratch


def bind_with(kernel, tables, tasks):
    """`tables(spec)`: steps from row to row of the left operand and of the result, in numbers, and
    how many; `tasks(spec)`: what is dealt out, and multiply-adds of each.
    """

    def bind(spec: Local2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
        arrays = [flat(a) for a in (*inputs, *outputs)]
        tile = register_tile(caps, arrays[0].dtype.name)
        a_step, c_step, rows = tables(spec)
        steps = [np.arange(rows, dtype=np.int64) * s * tile.item for s in (a_step, c_step)]
        lines = np.arange(spec.kh, dtype=np.int64) * spec.w * spec.c * tile.item
        zeros = np.zeros(tile.width, arrays[0].dtype)
        count, work = tasks(spec)
        per = max(1, TASK_WORK // max(1, work))
        args = (spec, per, *arrays, *steps, lines, zeros, scratch["panels"])
        return [Call(kernel(tile), blocks(count, per) if arrays[-1].size else 0, args)]

    return bind


def _image(s: Local2DSpec) -> int:
    return s.h * s.w * s.c


def _map(s: Local2DSpec) -> int:
    return s.oh * s.ow * s.f


def _places(s: Local2DSpec) -> tuple[int, int]:
    return s.oh * s.ow, s.n * s.kh * s.kw * s.c * s.f


def _rows(s: Local2DSpec) -> tuple[int, int]:
    return s.h, s.n * s.kh * s.ow * s.kw * s.c * s.f // s.sh


local2d = Impl(
    "places",
    always,
    bind_with(forward_kernel, lambda s: (_image(s), _map(s), s.n), _places),
    scratch_of(lambda s: s.kh * s.kw * s.c),
)
local2d_dx = Impl(
    "places",
    always,
    bind_with(input_kernel, lambda s: (_image(s), _map(s), s.n), _rows),
    scratch_of(lambda s: s.f),
)
local2d_dw = Impl(
    "places",
    always,
    bind_with(weight_kernel, lambda s: (1, s.f, s.kw * s.c), _places),
    scratch_of(lambda s: s.n),
)
