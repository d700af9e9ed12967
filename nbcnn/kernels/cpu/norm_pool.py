"""Batch normalization with an activation and the max pool that follows, forward and backward.

    forward    y = act(max over a window of (x - x0) a + b), and which pixel of the window won
    backward   g = dy act'(y) at the winner and zero at the window's other pixels, then as in
               `norm.py`

The full map behind the normalization and its gradient never exist: of 2 x 2 windows the second pass
forward writes a quarter, and the first one backward reads x and a quarter of a map. A window's
winner is taken before the activation, which keeps the order; where relu is closed at the winner, it
is closed at all of the window, and no gradient passes.

Pass 1 forward and the short calls between the passes are those of `norm.py`. The others go over
rows of windows (`norm_pool_micro.py`); a slab is some of them.
"""

from collections.abc import Sequence
from functools import cache

from nbcnn.kernels.cpu import jit, norm, simd
from nbcnn.kernels.cpu import norm_pool_micro as micro
from nbcnn.kernels.cpu.blocking import Tile, register_tile
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.cpu.norm import CHANNELS, Slabs
from nbcnn.kernels.cpu.norm_pool_micro import Window
from nbcnn.kernels.cpu.shares import BLOCK, blocks, flat
from nbcnn.kernels.impl import Impl, Scratch
from nbcnn.ops.norm import NormSpec
from nbcnn.ops.norm_pool import NormPoolSpec

PIXELS = 4  # of a window: a vector of each is in registers
NARROW = 8  # channels: fewer leave most of a vector empty


def rows_of(s: NormPoolSpec) -> NormSpec:
    """The normalization alone."""
    return NormSpec(s.n * s.h * s.w, s.c, s.epsilon, s.act)


def cut(s: NormPoolSpec) -> Slabs:
    """Slabs of rows of windows."""
    lines, line = s.n * (s.h // s.ph), s.ph * s.w * s.c
    size = max(1, 2 * BLOCK // max(line, 1))
    return Slabs(size, blocks(lines, size), 1)


@jit.always_inline
def lines_of(task, s, g):
    """(first, end): rows of windows of a slab."""
    first = task * g.rows
    return first, min(first + g.rows, s.n * (s.h // s.ph))


@cache
def line_kernel(tile: Tile, act: int, window: Window) -> jit.Kernel:
    item, sweep = tile.item, micro.line(tile, act, window)

    @jit.kernel(constants=(tile, act, window))
    def apply_line(task, thread, s, g, x, factors, step, y, winners):
        first, end = lines_of(task, s, g)
        line, count = s.w * s.c * item, s.w // s.pw
        column = simd.address(factors)
        for i in range(first, end):
            at = i * count * s.c
            sweep(
                simd.address(x) + i * s.ph * line, simd.address(y) + at * item,
                simd.address(winners) + at,
                column, column + step * item, column + 2 * step * item, count, line, s.c,
            )  # fmt: skip

    return apply_line


@cache
def gradient_sums_kernel(tile: Tile, act: int, window: Window) -> jit.Kernel:
    item, sweep = tile.item, micro.gradient_sums(tile, act, window)

    @jit.kernel(constants=(tile, act, window))
    def gradient_sums(task, thread, s, g, x, dy, winners, factors, running, parts):
        """Sums of g and of g (x - x0) over a slab."""
        first, end = lines_of(task, s, g)
        line, count, row = s.w * s.c * item, s.w // s.pw, s.c * item
        column, sums = simd.address(factors), running[thread]
        norm.clear(sums, s.c)
        into = simd.address(sums)
        for i in range(first, end):
            at = i * count * s.c
            sweep(
                simd.address(x) + i * s.ph * line, simd.address(dy) + at * item,
                simd.address(winners) + at, column, column + row, column + 2 * row,
                into, into + sums.shape[1] * item, count, line, s.c,
            )  # fmt: skip
        norm.leave(sums, s, g, task, parts)

    return gradient_sums


@cache
def gradient_kernel(tile: Tile, act: int, window: Window, past: bool) -> jit.Kernel:
    item, vector = tile.item, tile.item * tile.lanes
    sweep, sweep_past = (micro.gradient(tile, act, window, p) for p in (False, past))

    @jit.kernel(constants=(tile, act, window, past))
    def gradient(task, thread, s, g, x, dy, winners, factors, dx):
        first, end = lines_of(task, s, g)
        line, count, row = s.w * s.c * item, s.w // s.pw, s.c * item
        k = simd.address(factors)
        columns = k, k + row, k + 2 * row, k + 3 * row, k + 4 * row, k + 5 * row
        for i in range(first, end):
            at, full = i * count * s.c, i * s.ph * line
            data = simd.address(x) + full, simd.address(dx) + full
            pooled = simd.address(dy) + at * item, simd.address(winners) + at
            if past and simd.address(dx) % vector == 0:
                sweep_past(*data, *pooled, *columns, count, line, s.c)
            else:
                sweep(*data, *pooled, *columns, count, line, s.c)

    return gradient


def scratch_dx(s: NormPoolSpec, dtype: str, caps) -> dict[str, Scratch]:
    return {
        "running": Scratch((caps.threads, 2, s.c), dtype),
        "totals": Scratch((caps.threads, 2, CHANNELS), "float64"),
        "parts": Scratch((2 * cut(s).slabs * s.c,), dtype),
        "factors": Scratch((6 * s.c,), dtype),
    }


def scratch(s: NormPoolSpec, dtype: str, caps) -> dict[str, Scratch]:
    return norm.scratch(rows_of(s), dtype, caps)


def bind(s: NormPoolSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict) -> list[Call]:
    (x, gamma, beta), (y, winners, *statistics) = map(flat, inputs), map(flat, outputs)
    rows, tile, factors = rows_of(s), register_tile(caps, x.dtype.name), scratch["factors"]
    step = s.c * norm.cut(rows.rows, s.c).repeat
    kernel = line_kernel(tile, s.act, Window(s.ph, s.pw))
    return [
        *norm.statistics_calls(rows, caps, (x, gamma, beta), statistics, scratch),
        Call(kernel, cut(s).slabs, (s, cut(s), x, factors, step, y, winners)),
    ]


def bind_dx(
    s: NormPoolSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    (x, dy, winners, gamma, mean, var, line), (dx, dgamma, dbeta) = (
        map(flat, inputs),
        map(flat, outputs),
    )
    rows, g, window = rows_of(s), cut(s), Window(s.ph, s.pw)
    tile, few = register_tile(caps, x.dtype.name), blocks(s.c, CHANNELS)
    parts, factors = scratch["parts"], scratch["factors"]
    past = s.c % tile.lanes == 0 and norm.beyond_caches(rows, caps, tile, dx, (x, dy, winners))
    sums = (s, g, x, dy, winners, factors, scratch["running"], parts)
    between = (gamma, mean, var, line, parts, scratch["totals"], dgamma, dbeta, factors)
    return [
        Call(norm.spread, few, (s.c, 1, 3, line, factors)),
        Call(gradient_sums_kernel(tile, s.act, window), g.slabs, sums),
        Call(norm.gradient_factors, few, (rows, g, *between)),
        Call(
            gradient_kernel(tile, s.act, window, past),
            g.slabs,
            (s, g, x, dy, winners, factors, dx),
        ),
    ]


def accepts(s: NormPoolSpec, dtype: str, caps) -> str | None:
    if s.ph * s.pw > PIXELS:
        return f"windows of more than {PIXELS} pixels"
    if s.c < NARROW:
        return f"fewer than {NARROW} channels"
    return None


batchnorm_maxpool_impl = Impl("windows", accepts, bind, scratch)
batchnorm_maxpool_dx_impl = Impl("windows", accepts, bind_dx, scratch_dx, inplace=((0, 0),))
