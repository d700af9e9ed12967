"""What convolutions of few channels at a time have in common: a thread computes a strip of pixels
in a row of the result, forward or backward, from tap to tap of the kernel.

The rows and columns of a data gradient are those of `conv_implicit`: one launch for each remainder
modulo the strides.
"""

from functools import cache
from typing import Any, NamedTuple

from numpy import float32, inf, int32

from nbcnn.kernels import scalar
from nbcnn.kernels.cuda import jit, ptx
from nbcnn.kernels.cuda.conv_implicit import Remainder, phases
from nbcnn.ops.conv_spec import RELU, Conv2DSpec


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


class Strips(NamedTuple):
    """A launch: the pixels (i * out_h + row0, j * out_w + column0) of the target for i < rows, j <
    columns, with taps that read rows i * step_h + first_h + u * tap_h of the source.
    """

    n: int
    rows: int
    columns: int
    results: int  # channels of the target
    h: int
    w: int
    channels: int  # of the source
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


def forward_strips(s: Conv2DSpec) -> Strips:
    return Strips(
        s.n, s.oh, s.ow, s.f, s.h, s.w, s.c, s.sh, s.sw, -s.pt, -s.pl, s.kh, s.kw, s.dilh, s.dilw,
        0, s.kw, 1, s.oh, s.ow, 0, 0, 1, 1, s.bias, s.act,
    )  # fmt: skip


def forwards(r: Remainder) -> Remainder:
    """The same taps in the order of the elements that they read, so that `tap` is positive."""
    last = max(r.taps - 1, 0)
    return r._replace(
        u=r.u + last * r.tap_step, tap_step=-r.tap_step, first=r.first - last * r.tap, tap=-r.tap
    )


def gradient_strips(s: Conv2DSpec) -> list[Strips]:
    """Launches that make dx from dy."""
    found = []
    for row, column in phases(s):
        column = forwards(column)
        found.append(Strips(
            s.n, row.size, column.size, s.c, s.oh, s.ow, s.f, 1, 1, row.first, column.first,
            row.taps, column.taps, -row.tap, -column.tap,
            row.u * s.kw + column.u, row.tap_step * s.kw, column.tap_step,
            s.h, s.w, row.p, column.p, s.sh, s.sw,
        ))  # fmt: skip
    return found


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


@jit.inlined
def target_pixel(s, n, i, j):
    """The number of a result's pixel among all of the target."""
    line = int32(n * s.target_h + i * s.out_h + s.row0)
    return int32(line * s.target_w + j * s.out_w + s.column0)


@cache
def tail(smooth: int) -> Any:
    """The function that gives act(v + bias[r]). `smooth`: as in `tile_product`."""
    curve = jit.formula(scalar.TAIL[smooth], "float32")

    @jit.inlined
    def finished(s, v, bias, r):
        if s.bias:
            v += bias[r]
        low = float32(0) if s.act == RELU else float32(-inf)
        v = low if v < low else v
        if smooth:
            v = curve(v, float32(0), float32(0))
        return v

    return finished
