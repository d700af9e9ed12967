"""Depthwise convolution, one filter or a few for every channel: forward and data gradient.

    y[n,i,j,r] = act(b[r] + sum over u,v of x[n, row(i,u), column(j,v), r // m] * w[u,v,r])
    dx[n,i,j,c] = sum over u,v and the m filters r of channel c of dy[n, row, column, r] * w[u,v,r]

Nothing is summed over channels, so memory is what it costs. A thread computes a strip of pixels in
a row for four channels: 128-bit words, neighbours in a warp reading neighbouring words, and per
kernel row each word of x is read once for all pixels of the strip and all taps that meet it. That
takes the kernel's width and stride as constants; where they are large, or the kernel is dilated, a
strip is one pixel and taps are taken one by one.

Not run on a GPU.
"""

from functools import cache
from typing import Any

from numba import cuda
from numpy import float32, int32

from nbcnn.kernels.cuda import jit, ptx
from nbcnn.kernels.cuda.call import Caps, Launch, launch
from nbcnn.kernels.cuda.conv_strips import (
    Strip,
    Strips,
    forward_strips,
    gradient_strips,
    line_reader,
    tail,
    target_pixel,
    words,
)
from nbcnn.kernels.cuda.indices import divided
from nbcnn.kernels.cuda.matmul_tiled import refused
from nbcnn.kernels.impl import Impl, no_pool
from nbcnn.ops.conv_spec import RELU, Conv2DSpec

WIDEST, LONGEST_STRIDE = 7, 2  # of kernels whose width and stride are constants
THREADS = 256


@cache
def strip_kernel(strip: Strip, smooth: int) -> Any:
    """Of a result's channel r the source has the channels r // share * count, ... (`count` of
    them), and w the filters r * count, ...
    """
    pixels, taps, stride, lanes = strip
    results, line_size, weights = pixels * lanes, strip.line * lanes, taps * lanes
    read, read_line, finished = words(lanes), line_reader(strip), tail(smooth)

    @jit.inlined
    def multiply(line, w, total):
        for i in range(pixels):
            for v in range(taps):
                for e in range(lanes):
                    x = line[(i * stride + v) * lanes + e]
                    total[i * lanes + e] += x * w[v * lanes + e]

    @jit.inlined
    def put(s, total, bias, r, y, start, left):
        for i in range(pixels):
            for e in range(lanes):
                at = i * lanes + e
                total[at] = finished(s, total[at], bias, int32(r + e))
            to = int32(start + i * int32(s.out_w) * int32(s.results))
            if i < left:
                if lanes == 4:
                    at = i * lanes
                    ptx.store4(y, to, total[at], total[at + 1], total[at + 2], total[at + 3])
                else:
                    y[to] = total[i]

    @jit.kernel(bounds=THREADS, constants=(strip, smooth))
    def convolve(s, share, count, x, w, bias, y):
        total = cuda.local.array(results, float32)
        line = cuda.local.array(line_size, float32)
        taps_of_row = cuda.local.array(weights, float32)
        strips, f = int32((s.columns + pixels - 1) // pixels), int32(s.results * count)
        size = s.n * s.rows * strips * (s.results // lanes)
        for index in range(cuda.grid(1), size, cuda.gridsize(1)):
            rest, r = divided(int32(index), int32(s.results // lanes))
            rest, j = divided(rest, strips)
            n, i = divided(rest, int32(s.rows))
            r, j = int32(r * lanes), int32(j * pixels)
            for e in range(results):
                total[e] = float32(0)
            group, _ = divided(r, int32(share))
            for one in range(count):
                channel = int32(group * count + one)
                for u in range(s.taps_h):
                    row = int32(i * s.step_h + s.first_h + u * s.tap_h)
                    if (row < 0) | (row >= s.h):
                        continue
                    start = int32((n * s.h + row) * s.w * s.channels + channel)
                    for v in range(0, s.taps_w, taps):
                        spot = int32(s.first_tap + u * s.next_h + v * s.next_w)
                        for e in range(taps):
                            at = int32((spot + e * s.next_w) * f + r * count + one)
                            read(w, at, taps_of_row, lanes * e)
                        column = int32(j * s.step_w + s.first_w + v * s.tap_w)
                        read_line(x, start, column, s.w, s.channels, line)
                        multiply(line, taps_of_row, total)
            start = int32(target_pixel(s, n, i, j) * s.results + r)
            put(s, total, bias, r, y, start, int32(s.columns - j))

    return convolve


def strip_for(taps: int, stride: int, distance: int, lanes: int) -> Strip:
    """Four pixels, where width and stride of the kernel may be constants; `distance` of taps."""
    if 0 < taps <= WIDEST and stride <= LONGEST_STRIDE and distance == 1:
        return Strip(4, taps, stride, lanes)
    return Strip(1, 1, 1, lanes)


def strips_launch(
    spec: Strips, share: int, count: int, lanes: int, caps: Caps, arrays: tuple
) -> list[Launch]:
    """`arrays`: source, w, bias, target."""
    strip = strip_for(spec.taps_w, spec.step_w, spec.tap_w, lanes)
    kernel = strip_kernel(strip, spec.act if spec.act > RELU else 0)
    strips = -(-spec.columns // strip.pixels)
    size = spec.n * spec.rows * strips * (spec.results // lanes)
    return launch(kernel, caps, size, spec, share, count, *arrays)


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
    x, w = inputs[:2]
    arrays = x, w, inputs[2] if s.bias else w, outputs[0]
    return strips_launch(forward_strips(s), s.f // s.c, 1, lanes_of(s), caps, arrays)


def bind_dx(spec: Conv2DSpec, caps: Caps, inputs: Any, outputs: Any, scratch: dict) -> list:
    s, (dy, w), (dx,) = spec, inputs, outputs
    calls = []
    for strips in gradient_strips(s):
        calls += strips_launch(strips, 1, s.f // s.c, lanes_of(s), caps, (dy, w, w, dx))
    return calls


conv2d = Impl("depthwise", accepts, bind)
conv2d_dx = Impl("depthwise", accepts, bind_dx)
