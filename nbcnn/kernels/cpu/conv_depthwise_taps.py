"""Depthwise convolution: one filter per channel (groups == c == f).

    y[n,i,j,c] = act(b[c] + sum over u,v of x[n, i*sh+u*dilh-pt, j*sw+v*dilw-pl, c] * w[u,v,c])

There is one multiply-add per number loaded, so the caches' bandwidth is what counts: channels are
the vector lanes, sums stay in registers, and nothing is padded or copied.

Forward: a task is a few output rows. Kernel rows outside the image are left out for the whole row;
its pixels fall into borders, each with its own list of kernel columns, and an interior where all
are valid, done in strips of PIXELS.
Input gradient: the same routine over dy. Input column q*sw + r meets kernel column v where v*dilw =
r + pl modulo sw, so each of the sw residues r is a convolution of its own with a subset of the
kernel columns: no zeros are inserted, and strips step through x with stride sw. Rows likewise.
Weight gradient: runs of output rows (columns) with the same valid kernel rows (columns) form
blocks; in a block all valid taps see all pixels, so up to TAPS taps are summed in registers over a
whole block. A task is a slab of bands of rows; the sum over a band is formed separately before it
joins the slab's, which keeps float32 sums short.

Counters that helpers receive start as `intp(0)`: for a literal 0 Numba would compile the helper
twice.

Chosen whenever the shape is depthwise without a depth multiplier.
"""

from functools import cache

import numpy as np

from nbcnn.kernels.cpu import jit, simd, slabs
from nbcnn.kernels.cpu.blocking import ITEM, Tile, register_tile
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.cpu.conv_plain import image_work, rows_per_task, sum_pixels, tap_range
from nbcnn.kernels.cpu.depthwise_micro import tap_sum, window_sum
from nbcnn.kernels.cpu.types import intp
from nbcnn.kernels.cpu.vector_math import activate
from nbcnn.kernels.impl import Impl, Scratch, no_pool
from nbcnn.ops.conv_spec import RELU, Conv2DSpec

PIXELS = 4  # of a strip: five loads for four multiply-adds
TAPS = 9  # summed together in dw: as many addresses as fit the general registers
BAND_BYTES = 1 << 17  # of input under a band of rows: stays in L2 while its taps are summed


@cache
def row_filler(tile: Tile):
    """A function that makes a row of pixels; forward pass and input gradient share it."""
    item = tile.item
    fill_strip, fill_pixel = (window_sum(tile, pixels) for pixels in (PIXELS, 1))

    @jit.helper
    def list_taps(q, stride, limit, pixel, rows, n_rows, columns, n_columns, taps):
        """List the taps that pixel q sees; returns their number."""
        count = 0
        for r in range(n_rows):
            for k in range(n_columns):
                if 0 <= q * stride + columns[2 * k] < limit:
                    taps[2 * count] = rows[2 * r] + columns[2 * k] * pixel
                    taps[2 * count + 1] = rows[2 * r + 1] + columns[2 * k + 1]
                    count += 1
        return count

    @jit.helper
    def fill_row(
        channels, size, stride, limit, tables, n_rows, n_columns,
        x, w, y, y_step, start, started, low,
    ):  # fmt: skip
        """Pixel q of 0..size-1, at y + q * y_step, sums over the rows and columns in `tables`.

        A row is a pair (byte offset of its line in x, byte offset in w), a column a pair (shift,
        byte offset in w): pixel q sees input pixel q * stride + shift if that is in 0..limit-1.
        """
        rows, columns, taps = tables
        pixel = channels * item
        step = stride * pixel
        first, end = 0, size
        for k in range(n_columns):
            begins, ends = tap_range(columns[2 * k], stride, limit, size)
            first, end = max(first, begins), min(end, ends)
        table = simd.address(taps)
        q = intp(0)
        while q < size:
            count = list_taps(q, stride, limit, pixel, rows, n_rows, columns, n_columns, taps)
            if first <= q and end - q >= PIXELS:
                while q < end:  # the last strip may make some pixels of the one before again
                    q = min(q, end - PIXELS)
                    fill_strip(
                        channels, x + q * step, step, w, table, count,
                        y + q * y_step, y_step, start, started, low,
                    )  # fmt: skip
                    q += PIXELS
            else:
                fill_pixel(
                    channels, x + q * step, 0, w, table, count,
                    y + q * y_step, 0, start, started, low,
                )  # fmt: skip
                q += 1

    return fill_row


@cache
def forward_kernel(tile: Tile):
    item, fill_row, act_numbers = tile.item, row_filler(tile), activate(tile)

    @jit.kernel(constants=(tile,))
    def conv2d_depthwise(task, thread, spec, rows, x, w, b, tables, y):
        """Output rows task * rows ... of all n * oh."""
        s = spec
        low = y.dtype.type(0 if s.act == RELU else -np.inf)
        lines, columns, taps = tables[thread, 0], tables[thread, 1], tables[thread, 2]
        pixel = s.c * item
        for v in range(s.kw):
            columns[2 * v], columns[2 * v + 1] = v * s.dilw - s.pl, v * pixel
        for row in range(task * rows, min((task + 1) * rows, s.n * s.oh)):
            count = intp(0)
            for u in range(s.kh):
                line = row % s.oh * s.sh + u * s.dilh - s.pt
                if 0 <= line < s.h:
                    lines[2 * count] = (row // s.oh * s.h + line) * s.w * pixel
                    lines[2 * count + 1] = u * s.kw * pixel
                    count += 1
            at = row * s.ow * pixel
            fill_row(
                s.c, s.ow, s.sw, s.w, (lines, columns, taps), count, s.kw, simd.address(x),
                simd.address(w), simd.address(y) + at, pixel, simd.address(b), s.bias, low,
            )  # fmt: skip
            if s.act > RELU:
                act_numbers(simd.address(y) + at, s.ow * s.c, s.act)

    return conv2d_depthwise


@cache
def input_gradient_kernel(tile: Tile):
    item, fill_row = tile.item, row_filler(tile)

    @jit.helper
    def residue_columns(s, r, columns):
        """List the kernel columns that input columns q * sw + r meet; returns their number."""
        count = 0
        for v in range(s.kw):
            ahead = r + s.pl - v * s.dilw
            if ahead % s.sw == 0:
                columns[2 * count], columns[2 * count + 1] = ahead // s.sw, v * s.c * item
                count += 1
        return count

    @jit.kernel(constants=(tile,))
    def conv2d_dx_depthwise(task, thread, spec, rows, dy, w, tables, dx):
        """Input rows task * rows ... of all n * h."""
        s = spec
        low = dx.dtype.type(-np.inf)
        lines, columns, taps = tables[thread, 0], tables[thread, 1], tables[thread, 2]
        pixel = s.c * item
        for row in range(task * rows, min((task + 1) * rows, s.n * s.h)):
            count = intp(0)
            for u in range(s.kh):
                ahead = row % s.h + s.pt - u * s.dilh
                if ahead >= 0 and ahead % s.sh == 0 and ahead // s.sh < s.oh:
                    lines[2 * count] = (row // s.h * s.oh + ahead // s.sh) * s.ow * pixel
                    lines[2 * count + 1] = u * s.kw * pixel
                    count += 1
            for r in range(min(s.sw, s.w)):
                n_columns = residue_columns(s, r, columns)
                at = (row * s.w + r) * pixel
                size = (s.w - r + s.sw - 1) // s.sw
                fill_row(
                    s.c, size, 1, s.ow, (lines, columns, taps), count, n_columns, simd.address(dy),
                    simd.address(w), simd.address(dx) + at, s.sw * pixel, simd.address(w), 0, low,
                )  # fmt: skip

    return conv2d_dx_depthwise


@jit.helper
def valid_taps(position, dilation, limit, size):
    """(first, end) of the taps t in 0..size-1 with 0 <= position + t * dilation < limit."""
    first = min(size, (dilation - 1 - position) // dilation if position < 0 else 0)
    end = (limit - 1 - position) // dilation + 1 if position < limit else 0
    return first, max(first, min(end, size))


@jit.helper
def same_taps(i, end, stride, shift, dilation, limit, size):
    """(next, first tap, end of taps): outputs i..next-1, next <= end, have the same valid taps."""
    first, last = valid_taps(i * stride + shift, dilation, limit, size)
    following = i + 1
    while following < end:
        a, b = valid_taps(following * stride + shift, dilation, limit, size)
        if a != first or b != last:
            break
        following += 1
    return following, first, last


@cache
def weight_gradient_kernel(tile: Tile):
    item = tile.item
    add_block = tap_sum(tile, TAPS)

    @jit.helper
    def add_band(s, image, i, end, x, dy, taps, dw):
        """Add output rows i..end-1 of an image, in blocks of pixels with the same valid taps."""
        pixel = s.c * item
        while i < end:
            below, u0, u1 = same_taps(i, end, s.sh, -s.pt, s.dilh, s.h, s.kh)
            j = intp(0)
            while j < s.ow:
                right, v0, v1 = same_taps(j, s.ow, s.sw, -s.pl, s.dilw, s.w, s.kw)
                count = intp(0)
                for u in range(u0, u1):
                    for v in range(v0, v1):
                        taps[2 * count] = (u * s.dilh * s.w + v * s.dilw) * pixel
                        taps[2 * count + 1] = (u * s.kw + v) * pixel
                        count += 1
                source = (image * s.h + i * s.sh - s.pt) * s.w + j * s.sw - s.pl
                made = (image * s.oh + i) * s.ow + j
                for k in range(0, count, TAPS):
                    add_block(
                        s.c, x + source * pixel, s.sh * s.w * pixel, s.sw * pixel,
                        dy + made * pixel, s.ow * pixel, pixel, below - i, right - j,
                        simd.address(taps) + 16 * k, min(count - k, TAPS), dw,
                    )  # fmt: skip
                j = right
            i = below

    @jit.kernel(constants=(tile,))
    def conv2d_dw_depthwise(task, thread, spec, count, bands, x, dy, tables, run, parts):
        """Slab task of all n * bands bands of rows."""
        s = spec
        size = s.kh * s.kw * s.c
        first, end = slabs.slab_range(task, count, s.n * bands)
        at = task * (size + s.bias * s.c)
        mine = run[thread]
        for k in range(size):
            parts[at + k] = 0
        for band in range(first, end):
            for k in range(size):
                mine[k] = 0
            i, below = slabs.slab_range(band % bands, bands, s.oh)
            add_band(
                s, band // bands, i, below, simd.address(x), simd.address(dy),
                tables[thread, 2], simd.address(mine),
            )  # fmt: skip
            for k in range(size):
                parts[at + k] += mine[k]
        if s.bias:
            top = (first // bands * s.oh + first % bands * s.oh // bands) * s.ow
            bottom = (end // bands * s.oh + end % bands * s.oh // bands) * s.ow
            sum_pixels(s.f, top, bottom, dy, at + size, parts)

    return conv2d_dw_depthwise


def accepts(spec: Conv2DSpec, dtype: str, caps) -> str | None:
    if spec.groups != spec.c or spec.c == 1:  # one channel: `direct` takes half the time
        return "not depthwise"
    if spec.f != spec.c:
        return "depth multiplier"
    if spec.n == 0:
        return "no images"
    return no_pool(spec, dtype, caps) if dtype in ITEM else f"no {dtype}"


def scratch(spec: Conv2DSpec, dtype: str, caps) -> dict[str, Scratch]:
    """Per thread: pairs for kernel rows, kernel columns, and taps."""
    return {"tables": Scratch((caps.threads, 3, 2 * spec.kh * spec.kw), "int64")}


def bands_per_image(spec: Conv2DSpec, item: int) -> int:
    return min(spec.oh, -(-spec.oh * spec.sh * spec.w * spec.c * item // BAND_BYTES))


def scratch_dw(spec: Conv2DSpec, dtype: str, caps) -> dict[str, Scratch]:
    size = spec.kh * spec.kw * spec.c
    least = rows_per_task(spec.n * spec.oh, image_work(spec) // spec.oh)
    most = slabs.slab_count(spec.n * spec.oh, size + spec.bias * spec.f, least)
    count = min(most, spec.n * bands_per_image(spec, ITEM[dtype]))
    return {
        **scratch(spec, dtype, caps),
        "run": Scratch((caps.threads, size), dtype),
        "parts": Scratch((count, size + spec.bias * spec.f), dtype),
    }


def bind(spec: Conv2DSpec, caps, inputs, outputs, scratch) -> list[Call]:
    x, w, y = inputs[0].reshape(-1), inputs[1].reshape(-1), outputs[0].reshape(-1)
    b = inputs[2].reshape(-1) if spec.bias else w  # w: read, but not used
    rows = rows_per_task(spec.n * spec.oh, image_work(spec) // spec.oh)
    kernel = forward_kernel(register_tile(caps, y.dtype.name))
    args = (spec, rows, x, w, b, scratch["tables"], y)
    return [Call(kernel, -(-spec.n * spec.oh // rows), args)]


def bind_dx(spec: Conv2DSpec, caps, inputs, outputs, scratch) -> list[Call]:
    dy, w, dx = inputs[0].reshape(-1), inputs[1].reshape(-1), outputs[0].reshape(-1)
    rows = rows_per_task(spec.n * spec.h, image_work(spec) // spec.h)
    kernel = input_gradient_kernel(register_tile(caps, dx.dtype.name))
    args = (spec, rows, dy, w, scratch["tables"], dx)
    return [Call(kernel, -(-spec.n * spec.h // rows), args)]


def bind_dw(spec: Conv2DSpec, caps, inputs, outputs, scratch) -> list[Call]:
    x, dy, parts = inputs[0].reshape(-1), inputs[1].reshape(-1), scratch["parts"]
    count = len(parts)
    bands = bands_per_image(spec, x.itemsize)
    kernel = weight_gradient_kernel(register_tile(caps, x.dtype.name))
    args = (spec, count, bands, x, dy, scratch["tables"], scratch["run"], parts.reshape(-1))
    return [Call(kernel, count, args), *slabs.reductions(parts, outputs)]


conv2d = Impl("depthwise_taps", accepts, bind, scratch)
conv2d_dx = Impl("depthwise_taps", accepts, bind_dx, scratch)
conv2d_dw = Impl("depthwise_taps", accepts, bind_dw, scratch_dw)
