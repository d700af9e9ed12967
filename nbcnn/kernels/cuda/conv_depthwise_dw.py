"""Weight gradient of a depthwise convolution:

    dw[u,v,r] = sum over images and pixels of x[n, i*sh + u*dilh - pt, j*sw + v*dilw - pl, r // m] *
                dy[n,i,j,r]

A thread keeps the sums of all taps (of one kernel row, where there are more than nine) for four
filters and goes through strips of pixels; per strip and kernel row each word of x is read once, as
in `conv_depthwise`. A block has threads along the filters and rows of threads that share a slab of
strips and are added in order; slabs are added in order by a second launch.

Not run on a GPU.
"""

from functools import cache
from typing import Any, NamedTuple

from numba import cuda, types
from numpy import float32, int32

from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import Caps, Launch
from nbcnn.kernels.cuda.column_sums import column_sums, sums_scratch
from nbcnn.kernels.cuda.conv_depthwise import accepts, lanes_of, strip_for
from nbcnn.kernels.cuda.conv_strips import Strip, line_reader, words
from nbcnn.kernels.cuda.indices import divided
from nbcnn.kernels.cuda.tile_product import add_parts
from nbcnn.kernels.impl import Impl, Scratch
from nbcnn.ops.conv_spec import Conv2DSpec

MOST_TAPS = 9  # of a thread: four sums each, which stay in registers
SLAB_STRIPS = 16  # of a row of threads, at least


class Shares(NamedTuple):
    """How the work is cut: strips of a row, kernel rows of a thread, threads of a block across
    filters and down a slab, and slabs.
    """

    strip: Strip
    strips: int
    kernel_rows: int
    across: int
    down: int
    slabs: int
    slab_strips: int


def shares(s: Conv2DSpec, caps: Caps) -> Shares:
    lanes = lanes_of(s)
    strip = strip_for(s.kw, s.sw, s.dilw, lanes)
    kernel_rows = s.kh if strip.taps * s.kh <= MOST_TAPS and strip.pixels > 1 else 1
    across, down = (2, 2) if caps.simulated else (32, 4)
    strips = -(-s.ow // strip.pixels)
    items = s.n * s.oh * strips
    blocks = -(-s.f // (lanes * across)) * (s.kh // kernel_rows) * -(-s.kw // strip.taps)
    least = down * (2 if caps.simulated else SLAB_STRIPS)
    slab = max(least, -(-items * blocks // (8 * caps.multiprocessors)))
    return Shares(strip, strips, kernel_rows, across, down, -(-items // slab), slab)


@cache
def gradient_kernel(strip: Strip, kernel_rows: int, across: int, down: int) -> Any:
    pixels, taps, stride, lanes = strip
    threads, sums = across * down, kernel_rows * taps * lanes
    line_size, slopes = strip.line * lanes, pixels * lanes
    read, read_line = words(lanes), line_reader(strip)

    @jit.inlined
    def read_slopes(dy, start, left, f, out):
        for i in range(pixels):
            for e in range(lanes):
                out[lanes * i + e] = float32(0)
            if i < left:
                read(dy, int32(start + i * int32(f)), out, lanes * i)

    @jit.inlined
    def add_row(line, slope, total, first):
        for v in range(taps):
            for i in range(pixels):
                for e in range(lanes):
                    x = line[(i * stride + v) * lanes + e]
                    total[first + v * lanes + e] += x * slope[i * lanes + e]

    @jit.inlined
    def add_strip(s, item, strips, first_u, first_v, r, channel, x, dy, line, slope, total):
        rest, j = divided(item, int32(strips))
        n, i = divided(rest, int32(s.oh))
        j = int32(j * pixels)
        start = int32(((n * s.oh + i) * s.ow + j) * s.f + r)
        read_slopes(dy, start, int32(s.ow - j), s.f, slope)
        column = int32(j * s.sw - s.pl + first_v * s.dilw)
        for u in range(kernel_rows):
            row = int32(i * s.sh - s.pt + (first_u + u) * s.dilh)
            if (row >= 0) & (row < s.h):
                start = int32((n * s.h + row) * s.w * s.c + channel)
                read_line(x, start, column, s.w, s.c, line)
                add_row(line, slope, total, u * taps * lanes)

    @jit.kernel(bounds=threads, constants=(strip, kernel_rows, across, down))
    def kernel_gradient(s, strips, slab_strips, x, dy, parts):
        shared = cuda.shared.array(0, types.float32)  # a number per thread
        total = cuda.local.array(sums, float32)
        line = cuda.local.array(line_size, float32)
        slope = cuda.local.array(slopes, float32)
        down_at, across_at = divided(int32(cuda.threadIdx.x), int32(across))
        width = int32(lanes * across)
        rest, block = divided(int32(cuda.blockIdx.x), int32((s.f + width - 1) // width))
        rest, v = divided(rest, int32((s.kw + taps - 1) // taps))
        slab, u = divided(rest, int32(s.kh // kernel_rows))
        first_u, first_v = int32(u * kernel_rows), int32(v * taps)
        r = int32(block * width + across_at * lanes)
        channel, _ = divided(r, int32(s.f // s.c))
        for e in range(sums):
            total[e] = float32(0)
        if r < s.f:
            last = min(int32((slab + 1) * slab_strips), int32(s.n * s.oh * strips))
            for item in range(int32(slab * slab_strips + down_at), last, down):
                add_strip(
                    s, int32(item), strips, first_u, first_v, r, channel,
                    x, dy, line, slope, total,
                )  # fmt: skip
        start = int32((slab * s.kh + first_u) * s.kw + first_v)
        for u in range(kernel_rows):
            for v in range(taps):
                for e in range(lanes):
                    shared[cuda.threadIdx.x] = total[(u * taps + v) * lanes + e]
                    cuda.syncthreads()
                    if (down_at == 0) & (r < s.f):
                        added = shared[across_at]
                        for i in range(1, down):
                            added += shared[across_at + i * across]
                        parts[int32((start + u * s.kw + v) * s.f + r + e)] = added
                    cuda.syncthreads()

    return kernel_gradient


def scratch_dw(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    s = spec
    wanted = {"parts": Scratch((shares(s, caps).slabs, s.kh * s.kw * s.f), dtype)}
    return wanted | (sums_scratch(s.n * s.oh * s.ow, s.f, dtype, caps) if s.bias else {})


def bind_dw(spec: Conv2DSpec, caps: Caps, inputs: Any, outputs: Any, scratch: dict) -> list:
    s, (x, dy), dw, parts = spec, inputs, outputs[0], scratch["parts"]
    cut = shares(s, caps)
    kernel = gradient_kernel(cut.strip, cut.kernel_rows, cut.across, cut.down)
    blocks = -(-s.f // (cut.strip.lanes * cut.across)) * (s.kh // cut.kernel_rows)
    grid = blocks * -(-s.kw // cut.strip.taps) * cut.slabs
    flat = tuple(a.reshape(a.size) for a in (x, dy, parts))
    args = (s, cut.strips, cut.slab_strips, *flat)
    threads = cut.across * cut.down
    calls = [Launch(kernel, grid, threads, args, shared=4 * threads, fixed=True)]
    calls += add_parts(caps, cut.slabs, s._replace(bias=0, act=0), parts, dy, dw)
    if s.bias:
        calls += column_sums(s.n * s.oh * s.ow, s.f, caps, dy, scratch["sums"], outputs[1])
    return calls


def accepts_dw(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    return "no images" if spec.n == 0 else accepts(spec, dtype, caps)


conv2d_dw = Impl("depthwise", accepts_dw, bind_dw, scratch_dw)
