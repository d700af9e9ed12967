"""Depthwise convolution, one filter or a few for every channel: forward and data gradient.

    y[n,i,j,r] = act(b[r] + sum over u,v of x[n, row(i,u), column(j,v), r // m] * w[u,v,r])
    dx[n,i,j,c] = sum over u,v and the m filters r of channel c of dy[n, row, column, r] * w[u,v,r]

with the rows and columns of `conv_implicit`: one launch forward, and per remainder of rows and
columns modulo the strides backward.

Nothing is summed over channels, so memory is what it costs. A thread computes a strip of pixels in
a row for four channels: 128-bit words, neighbours in a warp reading neighbouring words, and per
kernel row each word of x is read once for all pixels of the strip and all taps that meet it. That
takes the kernel's width and stride as constants; where they are large, or the kernel is dilated, a
strip is one pixel and taps are taken one by one.

Not run on a GPU.
"""

from functools import cache
from typing import Any, NamedTuple

from numba import cuda
from numpy import float32, inf, int32

from nbcnn.kernels import scalar
from nbcnn.kernels.cuda import jit, ptx
from nbcnn.kernels.cuda.call import Caps, Launch, launch
from nbcnn.kernels.cuda.conv_implicit import Remainder, phases
from nbcnn.kernels.cuda.indices import divided
from nbcnn.kernels.cuda.matmul_tiled import refused
from nbcnn.kernels.impl import Impl, no_pool
from nbcnn.ops.conv_spec import RELU, Conv2DSpec

WIDEST, LONGEST_STRIDE = 7, 2  # of kernels whose width and stride are constants
THREADS = 256


class Strip(NamedTuple):
    """A thread's share: `pixels` next to each other, of `lanes` channels, over `taps` of a kernel
    row at a time, from pixel to pixel `stride`.
    """

    pixels: int
    taps: int
    stride: int
    lanes: int

    @property
    def line(self) -> int:
        """Pixels of x that meet a strip."""
        return (self.pixels - 1) * self.stride + self.taps


class Depthwise(NamedTuple):
    """A launch: the pixels (i * out_h + row0, j * out_w + column0) of the target for i < rows, j <
    columns, with taps that read rows i * step_h + first_h + u * tap_h of the source. Of a result's
    channel r the source has the channels r // share * count, ... (`count` of them), and filters
    r * count, ...
    """

    n: int
    rows: int
    columns: int
    strips: int  # in a row
    results: int  # channels of the target
    h: int
    w: int
    channels: int  # of the source
    f: int
    share: int
    count: int
    step_h: int
    step_w: int
    first_h: int
    first_w: int
    taps_h: int
    taps_w: int
    tap_h: int
    tap_w: int
    first_tap: int
    next_h: int  # from tap to tap in w
    next_w: int
    target_h: int
    target_w: int
    row0: int
    column0: int
    out_h: int
    out_w: int
    bias: int = 0
    act: int = 0


@cache
def words(lanes: int) -> Any:
    """The function that reads `lanes` neighbours into an array."""

    @jit.inlined
    def read(p, start, out, at):
        if lanes == 4:
            out[at], out[at + 1], out[at + 2], out[at + 3] = ptx.load4(p, start)
        else:
            out[at] = p[start]

    return read


@cache
def line_reader(strip: Strip) -> Any:
    """The function that reads the pixels `column`, ... of a line that begins at `start`; zeros
    outside.
    """
    size, lanes, read = strip.line, strip.lanes, words(strip.lanes)

    @jit.inlined
    def read_line(x, start, column, width, channels, out):
        for i in range(size):
            for e in range(lanes):
                out[lanes * i + e] = float32(0)
            at = int32(column + i)
            if (at >= 0) & (at < width):
                read(x, int32(start + at * int32(channels)), out, lanes * i)

    return read_line


@cache
def strip_kernel(strip: Strip, smooth: int) -> Any:
    """`smooth`: as in `tile_product`."""
    pixels, taps, stride, lanes = strip
    results, line_size, weights = pixels * lanes, strip.line * lanes, taps * lanes
    read, read_line = words(lanes), line_reader(strip)
    curve = jit.formula(scalar.TAIL[smooth], "float32")

    @jit.inlined
    def multiply(line, w, total):
        for i in range(pixels):
            for v in range(taps):
                for e in range(lanes):
                    x = line[(i * stride + v) * lanes + e]
                    total[i * lanes + e] += x * w[v * lanes + e]

    @jit.inlined
    def put(s, total, bias, r, y, start, left):
        low = float32(0) if s.act == RELU else float32(-inf)
        for i in range(pixels):
            for e in range(lanes):
                v = total[i * lanes + e]
                if s.bias:
                    v += bias[int32(r + e)]
                v = low if v < low else v
                if smooth:
                    v = curve(v, float32(0), float32(0))
                total[i * lanes + e] = v
            to = int32(start + i * int32(s.out_w) * int32(s.results))
            if i < left:
                if lanes == 4:
                    at = i * lanes
                    ptx.store4(y, to, total[at], total[at + 1], total[at + 2], total[at + 3])
                else:
                    y[to] = total[i]

    @jit.kernel(bounds=THREADS, constants=(strip, smooth))
    def convolve(s, x, w, bias, y):
        total = cuda.local.array(results, float32)
        line = cuda.local.array(line_size, float32)
        taps_of_row = cuda.local.array(weights, float32)
        size = s.n * s.rows * s.strips * (s.results // lanes)
        for index in range(cuda.grid(1), size, cuda.gridsize(1)):
            rest, r = divided(int32(index), int32(s.results // lanes))
            rest, j = divided(rest, int32(s.strips))
            n, i = divided(rest, int32(s.rows))
            r, j = int32(r * lanes), int32(j * pixels)
            for e in range(results):
                total[e] = float32(0)
            group, _ = divided(r, int32(s.share))
            for one in range(s.count):
                channel, f = int32(group * s.count + one), int32(r * s.count + one)
                for u in range(s.taps_h):
                    row = int32(i * s.step_h + s.first_h + u * s.tap_h)
                    if (row < 0) | (row >= s.h):
                        continue
                    start = int32((n * s.h + row) * s.w * s.channels + channel)
                    for v in range(0, s.taps_w, taps):
                        spot = int32(s.first_tap + u * s.next_h + v * s.next_w)
                        for e in range(taps):
                            at = int32((spot + e * s.next_w) * s.f + f)
                            read(w, at, taps_of_row, lanes * e)
                        column = int32(j * s.step_w + s.first_w + v * s.tap_w)
                        read_line(x, start, column, s.w, s.channels, line)
                        multiply(line, taps_of_row, total)
            line_start = (n * s.target_h + i * s.out_h + s.row0) * s.target_w
            start = int32((line_start + j * s.out_w + s.column0) * s.results + r)
            put(s, total, bias, r, y, start, int32(s.columns - j))

    return convolve


def strip_for(taps: int, stride: int, distance: int, lanes: int) -> Strip:
    """Four pixels, where width and stride of the kernel may be constants; `distance` of taps."""
    if 0 < taps <= WIDEST and stride <= LONGEST_STRIDE and distance == 1:
        return Strip(4, taps, stride, lanes)
    return Strip(1, 1, 1, lanes)


def depthwise_launch(spec: Depthwise, lanes: int, caps: Caps, arrays: tuple) -> list[Launch]:
    """`arrays`: source, w, bias, target. `strips` is filled in here."""
    strip = strip_for(spec.taps_w, spec.step_w, spec.tap_w, lanes)
    spec = spec._replace(strips=-(-spec.columns // strip.pixels))
    kernel = strip_kernel(strip, spec.act if spec.act > RELU else 0)
    size = spec.n * spec.rows * spec.strips * (spec.results // lanes)
    return launch(kernel, caps, size, spec, *arrays)


def lanes_of(s: Conv2DSpec) -> int:
    return 4 if s.c == s.f and s.c % 4 == 0 else 1


def accepts(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    s = spec
    if s.groups != s.c or s.c == 1:
        return "not depthwise"
    sizes = s.n * s.h * s.w * s.c, s.n * s.oh * s.ow * s.f
    return no_pool(s, dtype, caps) or refused(dtype, *sizes)


def bind(spec: Conv2DSpec, caps: Caps, inputs: Any, outputs: Any, scratch: dict) -> list:
    s = spec
    launched = Depthwise(
        s.n, s.oh, s.ow, 0, s.f, s.h, s.w, s.c, s.f, s.f // s.c, 1, s.sh, s.sw, -s.pt, -s.pl,
        s.kh, s.kw, s.dilh, s.dilw, 0, s.kw, 1, s.oh, s.ow, 0, 0, 1, 1, s.bias, s.act,
    )  # fmt: skip
    x, w = inputs[:2]
    arrays = x, w, inputs[2] if s.bias else w, outputs[0]
    return depthwise_launch(launched, lanes_of(s), caps, arrays)


def forwards(r: Remainder) -> Remainder:
    """The same taps in the order of the elements that they read, so that `tap` is positive."""
    last = max(r.taps - 1, 0)
    return r._replace(
        u=r.u + last * r.tap_step, tap_step=-r.tap_step, first=r.first - last * r.tap, tap=-r.tap
    )


def bind_dx(spec: Conv2DSpec, caps: Caps, inputs: Any, outputs: Any, scratch: dict) -> list:
    s, (dy, w), (dx,) = spec, inputs, outputs
    calls = []
    for row, column in phases(s):
        column = forwards(column)
        launched = Depthwise(
            s.n, row.count, column.count, 0, s.c, s.oh, s.ow, s.f, s.f, 1, s.f // s.c, 1, 1,
            row.first, column.first, row.taps, column.taps, -row.tap, -column.tap,
            row.u * s.kw + column.u, row.tap_step * s.kw, column.tap_step,
            s.h, s.w, row.p, column.p, s.sh, s.sw,
        )  # fmt: skip
        calls += depthwise_launch(launched, lanes_of(s), caps, (dy, w, w, dx))
    return calls


conv2d = Impl("depthwise", accepts, bind)
conv2d_dx = Impl("depthwise", accepts, bind_dx)
