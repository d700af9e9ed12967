"""Convolution by the definition, for any geometry and float dtype: it refuses nothing.

    y[n,i,j,f] = act(b[f] + sum of x[n, i*sh + u*dilh - pt, j*sw + v*dilw - pl, c] * w[u,v,c,f])

Forward: a task is a few rows of the output. For each kernel tap (u, v) the range of columns that
meet the input is computed once, so that no inner loop tests for padding; the innermost loop adds
scaled rows of w to a pixel's filters.
Input gradient: the same taps read backwards, x[n, y, z] meets output pixel ((y + pt - u*dilh) / sh,
...) where that divides; the innermost loop is a dot product over filters. A task is a few rows of
the input.
Weight gradient: a task is one tap and one slab of output rows; it adds pixels of dy, four at a
time, scaled by x. The sum over a run of rows is formed in a buffer of its own before it joins the
slab's, which keeps float32 sums short.

Chosen last, where no faster implementation takes the shape.
"""

from nbcnn.kernels.cpu import jit, slabs
from nbcnn.kernels.cpu.axpy import activate, add_rows, dot
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.cpu.types import uintp
from nbcnn.kernels.impl import Impl, Scratch, no_pool
from nbcnn.ops.conv_spec import Conv2DSpec

TASK_FLOPS = 1 << 16  # multiply-adds that make a task worth handing out
RUN_PIXELS = 512  # pixels whose weight gradient is summed before it joins the slab's


@jit.always_inline
def tap_range(shift, stride, inside, outside):
    """(first, end) of the outputs j in 0..outside-1 with 0 <= j * stride + shift < inside."""
    first = (stride - 1 - shift) // stride if shift < 0 else 0
    end = (inside - 1 - shift) // stride + 1 if shift < inside else 0
    return first, min(end, outside)


def rows_per_task(rows: int, work: int) -> int:
    """Rows of `work` multiply-adds each that one task takes."""
    return max(1, min(rows, TASK_FLOPS // max(work, 1)))


@jit.kernel
def conv2d_kernel(task, thread, spec, rows, x, w, b, y):
    """Output rows task * rows ... of all n * oh."""
    s = spec
    for row in range(task * rows, min((task + 1) * rows, s.n * s.oh)):
        image, i = row // s.oh, row % s.oh
        at = row * s.ow * s.f
        for j in range(s.ow):
            for k in range(s.f):
                y[at + j * s.f + k] = b[k] if s.bias else 0
        for u in range(s.kh):
            line = i * s.sh + u * s.dilh - s.pt
            if 0 <= line < s.h:
                add_kernel_row(s, u, (image * s.h + line) * s.w, at, x, w, y)
        activate(y, at, s.ow * s.f, s.act)


@jit.helper
def add_kernel_row(s, u, line, at, x, w, y):
    """Add what kernel row `u` sees in the input row whose first pixel is number `line`."""
    cg, fg = s.c // s.groups, s.f // s.groups
    for v in range(s.kw):
        shift = v * s.dilw - s.pl
        first, end = tap_range(shift, s.sw, s.w, s.ow)
        tap = (u * s.kw + v) * cg * s.f
        for j in range(first, end):
            pixel = (line + j * s.sw + shift) * s.c
            for g in range(s.groups):
                seen, made = pixel + g * cg, at + j * s.f + g * fg
                add_rows(y, made, w, tap + g * fg, s.f, x, seen, 1, cg, fg)


@jit.kernel
def conv2d_dx_kernel(task, thread, spec, rows, dy, w, dx):
    """Input rows task * rows ... of all n * h."""
    s = spec
    for row in range(task * rows, min((task + 1) * rows, s.n * s.h)):
        image, line = row // s.h, row % s.h
        at = row * s.w * s.c
        for k in range(at, at + s.w * s.c):
            dx[k] = 0
        for u in range(s.kh):
            i = line + s.pt - u * s.dilh
            if i >= 0 and i % s.sh == 0 and i // s.sh < s.oh:
                add_kernel_row_dx(s, u, (image * s.oh + i // s.sh) * s.ow, at, dy, w, dx)


@jit.helper
def add_kernel_row_dx(s, u, line, at, dy, w, dx):
    """Add what an output row (first pixel: number `line`) passes back through kernel row `u`."""
    cg, fg = s.c // s.groups, s.f // s.groups
    for v in range(s.kw):
        shift = v * s.dilw - s.pl
        first, end = tap_range(shift, s.sw, s.w, s.ow)
        for j in range(first, end):
            pixel = at + (j * s.sw + shift) * s.c
            for g in range(s.groups):
                source = (line + j) * s.f + g * fg
                for k in range(cg):
                    filters = ((u * s.kw + v) * cg + k) * s.f + g * fg
                    dx[pixel + g * cg + k] += dot(dy, source, 1, w, filters, fg)


@jit.kernel
def conv2d_dw_kernel(task, thread, spec, count, x, dy, run, parts):
    """One tap over one slab of the n * oh output rows; the tap after the last is the bias."""
    s = spec
    taps = s.kh * s.kw
    size = s.c // s.groups * s.f
    slab, tap = task // (taps + s.bias), task % (taps + s.bias)
    first, end = slabs.slab_range(slab, count, s.n * s.oh)
    at = slab * (taps * size + s.bias * s.f) + tap * size
    if tap == taps:
        sum_pixels(s.f, first * s.ow, end * s.ow, dy, at, parts)
        return
    mine = thread * size
    for k in range(size):
        parts[at + k] = 0
    step = max(1, RUN_PIXELS // s.ow)
    while first < end:
        for k in range(size):
            run[mine + k] = 0
        for row in range(first, min(first + step, end)):
            line = row % s.oh * s.sh + tap // s.kw * s.dilh - s.pt
            if 0 <= line < s.h:
                source = (row // s.oh * s.h + line) * s.w
                add_kernel_row_dw(s, tap % s.kw, source, row, x, dy, mine, run)
        for k in range(size):
            parts[at + k] += run[mine + k]
        first += step


@jit.helper
def add_kernel_row_dw(s, v, line, row, x, dy, mine, run):
    """Add output row `row` times an input row (first pixel: number `line`) in kernel column `v`."""
    cg, fg = s.c // s.groups, s.f // s.groups
    shift = v * s.dilw - s.pl
    first, end = tap_range(shift, s.sw, s.w, s.ow)
    for g in range(s.groups):
        pixels = (row * s.ow + first) * s.f + g * fg
        for k in range(cg):
            seen = (line + first * s.sw + shift) * s.c + g * cg + k
            made, step = mine + k * s.f + g * fg, s.sw * s.c
            add_rows(run, made, dy, pixels, s.f, x, seen, step, end - first, fg)


@jit.helper
def sum_pixels(f, first, end, dy, at, parts):
    """parts[at + k] = sum of dy[pixel, k] over pixels first..end-1, for k < f."""
    size, to = uintp(f), uintp(at)
    for k in range(size):
        parts[to + k] = 0
    paired = first + (end - first) // 4 * 4
    for pixel in range(first, paired, 4):  # four at a time: a shorter chain of roundings
        d0, d1 = uintp(pixel * f), uintp((pixel + 1) * f)
        d2, d3 = uintp((pixel + 2) * f), uintp((pixel + 3) * f)
        for k in range(size):
            parts[to + k] += (dy[d0 + k] + dy[d1 + k]) + (dy[d2 + k] + dy[d3 + k])
    for pixel in range(paired, end):
        for k in range(size):
            parts[to + k] += dy[uintp(pixel * f) + k]


def bind(spec: Conv2DSpec, caps, inputs, outputs, scratch) -> list[Call]:
    x, w, y = inputs[0].reshape(-1), inputs[1].reshape(-1), outputs[0].reshape(-1)
    b = inputs[2].reshape(-1) if spec.bias else w  # w: not read, of the same type
    rows = rows_per_task(spec.n * spec.oh, image_work(spec) // spec.oh)
    return [Call(conv2d_kernel, -(-spec.n * spec.oh // rows), (spec, rows, x, w, b, y))]


def bind_dx(spec: Conv2DSpec, caps, inputs, outputs, scratch) -> list[Call]:
    dy, w = (a.reshape(-1) for a in inputs)
    rows = rows_per_task(spec.n * spec.h, image_work(spec) // spec.h)
    tasks = -(-spec.n * spec.h // rows)
    return [Call(conv2d_dx_kernel, tasks, (spec, rows, dy, w, outputs[0].reshape(-1)))]


def bind_dw(spec: Conv2DSpec, caps, inputs, outputs, scratch) -> list[Call]:
    x, dy = (a.reshape(-1) for a in inputs)
    parts, run = scratch["parts"], scratch["run"].reshape(-1)
    count = len(parts)
    tasks = count * (spec.kh * spec.kw + spec.bias)
    args = (spec, count, x, dy, run, parts.reshape(-1))
    return [Call(conv2d_dw_kernel, tasks, args), *slabs.reductions(parts, outputs)]


def scratch_dw(spec: Conv2DSpec, dtype: str, caps) -> dict[str, Scratch]:
    tap = spec.c // spec.groups * spec.f
    size = spec.kh * spec.kw * tap + spec.bias * spec.f
    least = rows_per_task(spec.n * spec.oh, spec.ow * tap)
    count = slabs.slab_count(spec.n * spec.oh, size, least)
    return {"parts": Scratch((count, size), dtype), "run": Scratch((caps.threads, tap), dtype)}


def image_work(spec: Conv2DSpec) -> int:
    """Multiply-adds of one image."""
    return spec.oh * spec.ow * spec.f * spec.kh * spec.kw * (spec.c // spec.groups)


conv2d = Impl("plain", no_pool, bind)
conv2d_dx = Impl("plain", no_pool, bind_dx)
conv2d_dw = Impl("plain", no_pool, bind_dw, scratch_dw)
