"""Direct convolution where tiles would be mostly empty: results or sums of few channels.

    y[n,i,j,f] = act(b[f] + sum over u,v,c of x[n, row(i,u), column(j,v), c] * w[u,v,c,f])

A thread computes a strip of pixels for all of up to eight filters, or for eight of many where the
input has few channels (first layers): per word of the kernel a product with every pixel of the
strip, per word of x one with every filter. Words are of 128 bits where four steps of the sum, or
four filters, are neighbours in memory.

The data gradient is the same with the roles of channels and filters changed, one launch per
remainder of rows and columns modulo the strides. Weight gradients have long sums and are left to
`implicit`. The thresholds are guesses: not run on a GPU.
"""

from functools import cache
from typing import Any, NamedTuple

from numba import cuda
from numpy import float32, int32

from nbcnn.kernels.cuda import jit, ptx
from nbcnn.kernels.cuda.call import Caps, Launch, launch
from nbcnn.kernels.cuda.conv_strips import (
    Strips,
    forward_strips,
    gradient_strips,
    tail,
    target_pixel,
    words,
)
from nbcnn.kernels.cuda.indices import divided
from nbcnn.kernels.cuda.matmul_tiled import refused
from nbcnn.kernels.impl import Impl, no_pool
from nbcnn.ops.conv_spec import RELU, Conv2DSpec

PIXELS, THREADS = 4, 256
MOST_RESULTS = 8  # of a thread, each with a sum per pixel
FEW_CHANNELS = 4  # with which many filters are computed here, too


class Share(NamedTuple):
    """A thread's: `results` of a pixel, `steps` of the sum at a time; neighbours in w are four
    steps, or four results (`quads`: "steps", "results"), or nothing of use ("").
    """

    results: int
    steps: int
    quads: str


@cache
def weight_reader(share: Share) -> Any:
    """The function that reads w for all steps and results into out[step, result]."""
    results, steps, quads = share

    @jit.inlined
    def read_weights(w, start, step, result, out):
        if quads == "steps":
            for r in range(results):
                a, b, c, d = ptx.load4(w, int32(start + r * result))
                out[r], out[results + r] = a, b
                out[2 * results + r], out[3 * results + r] = c, d
        elif quads == "results":
            for k in range(steps):
                for r in range(0, results, 4):
                    at = k * results + r
                    a, b, c, d = ptx.load4(w, int32(start + k * step + r))
                    out[at], out[at + 1], out[at + 2], out[at + 3] = a, b, c, d
        else:
            for k in range(steps):
                for r in range(results):
                    out[k * results + r] = w[int32(start + k * step + r * result)]

    return read_weights


@cache
def direct_kernel(share: Share, smooth: int) -> Any:
    """`step`, `result`: how far steps of the sum, and results, are from each other in w."""
    results, steps, _ = share
    sums, x_words, weights = PIXELS * results, PIXELS * steps, steps * results
    read, read_weights, finished = words(steps), weight_reader(share), tail(smooth)

    @jit.inlined
    def read_pixels(s, x, start, column, out):
        for i in range(PIXELS):
            for k in range(steps):
                out[i * steps + k] = float32(0)
            at = int32(column + i * s.step_w)
            if (at >= 0) & (at < s.w):
                read(x, int32(start + at * s.channels), out, i * steps)

    @jit.inlined
    def multiply(x, w, total):
        for i in range(PIXELS):
            for k in range(steps):
                for r in range(results):
                    total[i * results + r] += x[i * steps + k] * w[k * results + r]

    @jit.inlined
    def put(s, total, bias, first, y, start, left):
        for i in range(PIXELS):
            to = int32(start + i * s.out_w * s.results)
            if i < left:
                for r in range(results):
                    at = i * results + r
                    total[at] = finished(s, total[at], bias, int32(first + r))
                if results % 4:
                    for r in range(results):
                        y[int32(to + r)] = total[i * results + r]
                else:
                    for r in range(0, results, 4):
                        at = i * results + r
                        ptx.store4(
                            y, int32(to + r), total[at], total[at + 1], total[at + 2], total[at + 3]
                        )

    @jit.kernel(bounds=THREADS, constants=(share, smooth))
    def convolve(s, step, result, x, w, bias, y):
        total = cuda.local.array(sums, float32)
        x_part = cuda.local.array(x_words, float32)
        w_part = cuda.local.array(weights, float32)
        strips = int32((s.columns + PIXELS - 1) // PIXELS)
        blocks = int32(s.results // results)
        tap_size = int32(s.channels * s.results)
        for index in range(cuda.grid(1), s.n * s.rows * strips * blocks, cuda.gridsize(1)):
            rest, block = divided(int32(index), blocks)
            rest, j = divided(rest, strips)
            n, i = divided(rest, int32(s.rows))
            first, j = int32(block * results), int32(j * PIXELS)
            for e in range(sums):
                total[e] = float32(0)
            for u in range(s.taps_h):
                row = int32(i * s.step_h + s.first_h + u * s.tap_h)
                if (row < 0) | (row >= s.h):
                    continue
                line = int32((n * s.h + row) * s.w * s.channels)
                for v in range(s.taps_w):
                    column = int32(j * s.step_w + s.first_w + v * s.tap_w)
                    spot = int32(s.first_tap + u * s.next_h + v * s.next_w)
                    start = int32(spot * tap_size + first * result)
                    for k in range(0, s.channels, steps):
                        read_pixels(s, x, int32(line + k), column, x_part)
                        read_weights(w, int32(start + k * step), step, result, w_part)
                        multiply(x_part, w_part, total)
            start = int32(target_pixel(s, n, i, j) * s.results + first)
            put(s, total, bias, first, y, start, int32(s.columns - j))

    return convolve


def results_of(results: int) -> int:
    """Of a thread."""
    return results if results <= MOST_RESULTS else MOST_RESULTS


def direct_launch(spec: Strips, step: int, result: int, caps: Caps, arrays: tuple) -> list[Launch]:
    """`arrays`: source, w, bias, target."""
    results, steps = results_of(spec.results), 4 if spec.channels % 4 == 0 else 1
    if step == 1:
        quads = "steps" if steps == 4 else ""
    else:
        quads = "results" if spec.results % 4 == 0 else ""
    kernel = direct_kernel(Share(results, steps, quads), spec.act if spec.act > RELU else 0)
    size = spec.n * spec.rows * -(-spec.columns // PIXELS) * (spec.results // results)
    return launch(kernel, caps, size, spec, step, result, *arrays)


def few(s: Conv2DSpec, results: int, channels: int, dtype: str, caps: Caps) -> str | None:
    if s.groups > 1:
        return "groups"
    wide = channels > FEW_CHANNELS or results % MOST_RESULTS
    if results > MOST_RESULTS and wide:
        return f"{results} results of {channels} channels are too many"
    sizes = s.n * s.h * s.w * s.c, s.n * s.oh * s.ow * s.f
    return no_pool(s, dtype, caps) or refused(dtype, *sizes)


def accepts(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    return few(spec, spec.f, spec.c, dtype, caps)


def accepts_dx(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    return few(spec, spec.c, spec.f, dtype, caps)


def bind(spec: Conv2DSpec, caps: Caps, inputs: Any, outputs: Any, scratch: dict) -> list:
    s = spec
    x, w = inputs[:2]
    arrays = x, w, inputs[2] if s.bias else w, outputs[0]
    return direct_launch(forward_strips(s), s.f, 1, caps, arrays)


def bind_dx(spec: Conv2DSpec, caps: Caps, inputs: Any, outputs: Any, scratch: dict) -> list:
    s, (dy, w), (dx,) = spec, inputs, outputs
    calls = []
    for strips in gradient_strips(s):
        calls += direct_launch(strips, 1, s.f, caps, (dy, w, w, dx))
    return calls


conv2d = Impl("direct", accepts, bind)
conv2d_dx = Impl("direct", accepts_dx, bind_dx)
