"""Batch normalization over rows, forward and backward, with an activation in the tail.

    forward    mean = sum x / n,  var = sum (x - mean)^2 / n,  y = act((x - x0) a + b [+ residual]),
               a = gamma / sqrt(var + e),  b = beta - (mean - x0) a
    backward   g = dy act'(y),  dbeta = sum g,  dgamma = s sum g (x - mean),  s = 1 / sqrt(var + e),
               dx = A g + B (x - x0) + C  with  A = gamma s,  B = -A s dgamma / n,
               C = -A dbeta / n - B (mean - x0)

x0 is the first row: shifted by it nothing cancels, however far the mean lies from zero, and x - x0
is exact there, which x - mean is not once the mean is rounded.

Two passes over memory and a short call between them. Pass 1 takes both sums by slabs of rows; the
short call adds the partial sums in float64, in the order of the slabs, and leaves the coefficients
of pass 2. Both passes are vector sweeps (`norm_micro.py`) over rows of some hundred numbers: where
channels are few, several rows are taken for one, and numbers per channel are repeated as often.
What does not fit into the caches is written past them.

Backward reads x and dy twice and writes dx. Where the slope is taken from y (after an addition, or
of sigmoid and tanh), y is read as well; where g is needed by others too, pass 1 writes it, and pass
2 reads it instead of dy.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from nbcnn.kernels.cpu import jit, simd
from nbcnn.kernels.cpu import norm_micro as micro
from nbcnn.kernels.cpu.activation_sum import fold_rows
from nbcnn.kernels.cpu.blocking import Tile, register_tile
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.cpu.shares import BLOCK, blocks, flat
from nbcnn.kernels.cpu.simd_streams import fetch, put
from nbcnn.kernels.impl import Impl, Scratch, always
from nbcnn.ops.conv_spec import SIGMOID, TANH
from nbcnn.ops.norm import NormGradientSpec, NormSpec

CHANNELS = 64  # of one task of the calls between the passes
WIDE = 512  # numbers side by side that several rows of few channels make
FEWEST = 32  # rows a slab: fewer, and its partial sums would be worth another pass


class Slabs(NamedTuple):
    """`slabs` of `rows` rows each; `repeat` rows side by side make a row of the sweeps."""

    rows: int
    slabs: int
    repeat: int


def cut(rows: int, c: int) -> Slabs:
    width = min(WIDE, max(64, rows * c // 512 * 64))  # short slabs would spend their time folding
    repeat = max(1, min(rows, width // max(c, 1)))
    size = -(-max(FEWEST, BLOCK // max(c, 1)) // repeat) * repeat
    return Slabs(size, blocks(rows, size), repeat)


@jit.always_inline
def slab_of(task, spec, g):
    """(first row, rows of the sweep, numbers of its last and partial row) of a slab."""
    first = task * g.rows
    rows = min(g.rows, spec.rows - first)
    return first, rows // g.repeat, rows % g.repeat * spec.c


@jit.always_inline
def clear(sums, width):
    for k in range(width):
        sums[0, k] = 0
        sums[1, k] = 0


@jit.always_inline
def leave(sums, spec, g, slab, parts):
    """The sums of a slab, one of each kind per channel, to its place among the partial ones."""
    for kind in range(2):
        fold_rows(sums[kind], spec.c, g.repeat)
        for k in range(spec.c):
            parts[(2 * slab + kind) * spec.c + k] = sums[kind, k]


@jit.kernel
def spread(task, thread, c, repeat, count, rows, factors):
    """`count` rows of c numbers, each repeated: what sweeps read beside data."""
    for k in range(task * CHANNELS, min((task + 1) * CHANNELS, c)):
        for i in range(count):
            for p in range(repeat):
                factors[(i * repeat + p) * c + k] = rows[i * c + k]


@jit.kernel
def spread_scale(task, thread, c, repeat, scale, shift, factors):
    """The rows 0, scale, shift, each repeated."""
    for k in range(task * CHANNELS, min((task + 1) * CHANNELS, c)):
        for p in range(repeat):
            factors[p * c + k] = 0
            factors[(repeat + p) * c + k] = scale[k]
            factors[(2 * repeat + p) * c + k] = shift[k]


@cache
def moments_kernel(tile: Tile) -> jit.Kernel:
    item, sweep = tile.item, micro.moments(tile)

    @jit.kernel(constants=(tile,))
    def moments(task, thread, spec, g, x, factors, running, parts):
        """Sums of x - x0 and of its square over a slab."""
        width = spec.c * g.repeat
        first, rows, last = slab_of(task, spec, g)
        sums = running[thread]
        clear(sums, width)
        data = simd.address(x) + first * spec.c * item
        into = simd.address(sums)
        sweep(data, simd.address(factors), into, into + sums.shape[1] * item, rows, width, last)
        leave(sums, spec, g, task, parts)

    return moments


@jit.always_inline
def add_slabs(parts, g, c, first, count, total):
    """total[kind, k] = sums of channels first .. first + count - 1 over the slabs, in order."""
    for k in range(count):
        total[0, k] = 0.0
        total[1, k] = 0.0
    for slab in range(g.slabs):
        for kind in range(2):
            at = (2 * slab + kind) * c + first
            line = total[kind]
            for k in range(count):
                put(line, k, fetch(line, k) + np.float64(fetch(parts, at + k)), 0)


@jit.kernel
def statistics(task, thread, spec, g, x, gamma, beta, parts, totals, mean, var, line, factors):
    """mean, var, and the rows x0, a, b of `line`, repeated in `factors`."""
    first, c = task * CHANNELS, spec.c
    count, total = min(CHANNELS, c - first), totals[thread]
    add_slabs(parts, g, c, first, count, total)
    for j in range(count):
        k = first + j
        offset = total[0, j] / spec.rows
        spread = total[1, j] / spec.rows - offset * offset
        spread = 0.0 if spread < 0.0 else spread
        start = x[k] if spec.rows > 0 else x.dtype.type(0)
        scale = np.float64(gamma[k]) / math.sqrt(spread + spec.epsilon)
        mean[k] = np.float64(start) + offset
        var[k] = spread
        line[k] = start
        line[c + k] = scale
        line[2 * c + k] = np.float64(beta[k]) - offset * scale
        for i in range(1, 3):
            for p in range(g.repeat):
                factors[(i * g.repeat + p) * c + k] = line[i * c + k]


@cache
def line_kernel(tile: Tile, act: int, residual: bool, past: bool) -> jit.Kernel:
    item, vector = tile.item, tile.item * tile.lanes
    sweep, sweep_past = (micro.line(tile, act, residual, p) for p in (False, past))

    @jit.kernel(constants=(tile, act, residual, past))
    def apply_line(task, thread, spec, g, x, added, factors, y):
        first, rows, last = slab_of(task, spec, g)
        width, at = spec.c * g.repeat, first * spec.c * item
        row, line = width * item, simd.address(factors)
        data = simd.address(x) + at, simd.address(added) + at, simd.address(y) + at
        columns = line, line + row, line + 2 * row
        if past and simd.address(y) % vector == 0:
            sweep_past(*data, *columns, rows, width, last)
        else:
            sweep(*data, *columns, rows, width, last)

    return apply_line


@cache
def gradient_sums_kernel(
    tile: Tile, act: int, through_output: bool, joined: bool, shared: bool
) -> jit.Kernel:
    item, sweep = tile.item, micro.gradient_sums(tile, act, through_output, joined, shared)

    @jit.kernel(constants=(tile, act, through_output, joined, shared))
    def gradient_sums(task, thread, spec, g, x, dy, y, more, factors, running, parts, out):
        """Sums of g and of g (x - x0) over a slab."""
        width = spec.c * g.repeat
        first, rows, last = slab_of(task, spec, g)
        at, row, line = first * spec.c * item, width * item, simd.address(factors)
        sums = running[thread]
        clear(sums, width)
        into = simd.address(sums)
        sweep(
            simd.address(x) + at, simd.address(dy) + at, simd.address(y) + at,
            simd.address(more) + at, simd.address(out) + at, line, line + row, line + 2 * row,
            into, into + sums.shape[1] * item, rows, width, last,
        )  # fmt: skip
        leave(sums, spec, g, task, parts)

    return gradient_sums


@jit.kernel
def gradient_factors(
    task, thread, spec, g, gamma, mean, var, line, parts, totals, dgamma, dbeta, factors
):
    """dgamma, dbeta, and the rows A, B, C of `factors`, repeated, after x0 and the line's."""
    first, c = task * CHANNELS, spec.c
    count, total = min(CHANNELS, c - first), totals[thread]
    add_slabs(parts, g, c, first, count, total)
    for j in range(count):
        k = first + j
        offset = np.float64(mean[k]) - np.float64(line[k])
        s = 1.0 / math.sqrt(np.float64(var[k]) + spec.epsilon)
        shift_sum = total[0, j]
        # Without rows mean and var are NaN; the sums are zero all the same.
        scale_sum = (total[1, j] - offset * shift_sum) * s if spec.rows > 0 else 0.0
        dbeta[k] = shift_sum
        dgamma[k] = scale_sum
        of_g = np.float64(gamma[k]) * s
        of_x = -of_g * s * scale_sum / spec.rows
        rest = -of_g * shift_sum / spec.rows - of_x * offset
        for p in range(g.repeat):
            factors[(3 * g.repeat + p) * c + k] = of_g
            factors[(4 * g.repeat + p) * c + k] = of_x
            factors[(5 * g.repeat + p) * c + k] = rest


@cache
def gradient_kernel(tile: Tile, act: int, through_output: bool, past: bool) -> jit.Kernel:
    item, vector = tile.item, tile.item * tile.lanes
    sweep, sweep_past = (micro.gradient(tile, act, through_output, p) for p in (False, past))

    @jit.kernel(constants=(tile, act, through_output, past))
    def gradient(task, thread, spec, g, x, dy, y, factors, dx):
        first, rows, last = slab_of(task, spec, g)
        at, width = first * spec.c * item, spec.c * g.repeat
        row, line = width * item, simd.address(factors)
        data = simd.address(x) + at, simd.address(dy) + at, simd.address(y) + at
        columns = line, line + row, line + 2 * row, line + 3 * row, line + 4 * row, line + 5 * row
        if past and simd.address(dx) % vector == 0:
            sweep_past(*data, simd.address(dx) + at, *columns, rows, width, last)
        else:
            sweep(*data, simd.address(dx) + at, *columns, rows, width, last)

    return gradient


def beyond_caches(spec, caps, tile: Tile, target, sources: Sequence) -> bool:
    """Whether a pass shall write its target past the caches: they do not hold all of its arrays,
    none of which it overwrites, and rows are whole vectors. In L3 ordinary stores are faster, 16 x
    14 x 14 x 1024 takes 0.5 ms and 0.65; of 8 x 56 x 56 x 256 the backward pass takes 3.1 and 2.4.
    """
    arrays = {array.ctypes.data: array.nbytes for array in (*sources, target)}
    whole = spec.c * cut(spec.rows, spec.c).repeat % tile.lanes == 0
    apart = target.ctypes.data not in {array.ctypes.data for array in sources}
    return whole and apart and sum(arrays.values()) > caps.l3


def scratch(spec: NormSpec | NormGradientSpec, dtype: str, caps) -> dict[str, Scratch]:
    g = cut(spec.rows, spec.c)
    return {
        "running": Scratch((caps.threads, 2, max(WIDE, spec.c)), dtype),
        "totals": Scratch((caps.threads, 2, CHANNELS), "float64"),
        "parts": Scratch((2 * g.slabs * spec.c,), dtype),
        "factors": Scratch((6 * spec.c * g.repeat,), dtype),
    }


def scratch_scale_shift(spec: NormSpec, dtype: str, caps) -> dict[str, Scratch]:
    return {"factors": Scratch((3 * spec.c * cut(spec.rows, spec.c).repeat,), dtype, constant=True)}


def statistics_calls(
    spec: NormSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    """From x, gamma, beta to mean, var, line and what `line_kernel` reads."""
    (x, gamma, beta), (mean, var, line) = inputs, outputs
    g, parts, factors = cut(spec.rows, spec.c), scratch["parts"], scratch["factors"]
    tile, few = register_tile(caps, x.dtype.name), blocks(spec.c, CHANNELS)
    between = (spec, g, x, gamma, beta, parts, scratch["totals"], mean, var, line, factors)
    return [
        Call(spread, few if spec.rows else 0, (spec.c, g.repeat, 1, x, factors)),
        Call(moments_kernel(tile), g.slabs, (spec, g, x, factors, scratch["running"], parts)),
        Call(statistics, few, between),
    ]


def bind(spec: NormSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict) -> list[Call]:
    (x, gamma, beta, *added), (y, *others) = map(flat, inputs), map(flat, outputs)
    g, tile = cut(spec.rows, spec.c), register_tile(caps, x.dtype.name)
    past = beyond_caches(spec, caps, tile, y, (x, *added))
    apply = line_kernel(tile, spec.act, bool(spec.residual), past)
    return [
        *statistics_calls(spec, caps, (x, gamma, beta), others, scratch),
        Call(apply, g.slabs, (spec, g, x, added[0] if added else x, scratch["factors"], y)),
    ]


def bind_dx(
    spec: NormGradientSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    (x, dy, gamma, mean, var, line, *others) = map(flat, inputs)
    y = others[0] if spec.through_output else x
    more = others[-1] if spec.joined else x
    dx, dgamma, dbeta, *shared = map(flat, outputs)
    g, parts, factors = cut(spec.rows, spec.c), scratch["parts"], scratch["factors"]
    tile, few = register_tile(caps, x.dtype.name), blocks(spec.c, CHANNELS)
    out = shared[0] if spec.shared else dx
    sums = (spec, g, x, dy, y, more, factors, scratch["running"], parts, out)
    totals = scratch["totals"]
    between = (spec, g, gamma, mean, var, line, parts, totals, dgamma, dbeta, factors)
    act, through = spec.act, bool(spec.through_output)
    take_sums = gradient_sums_kernel(tile, act, through, bool(spec.joined), bool(spec.shared))
    slope = out if spec.shared else dy
    past = beyond_caches(spec, caps, tile, dx, (x, slope, y))
    take_dx = gradient_kernel(tile, *((0, False) if spec.shared else (act, through)), past)
    return [
        Call(spread, few, (spec.c, g.repeat, 3, line, factors)),
        Call(take_sums, g.slabs, sums),
        Call(gradient_factors, few, between),
        Call(take_dx, g.slabs, (spec, g, x, slope, y, factors, dx)),
    ]


def accepts_dx(spec: NormGradientSpec, dtype: str, caps) -> str | None:
    if spec.joined and not spec.shared:
        return "the sum of two gradients is written where it is shared"
    if spec.act in (SIGMOID, TANH) and not spec.through_output:
        return "the slope of this activation is taken from its output"
    return None


def bind_scale_shift(
    spec: NormSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    (x, scale, shift), (y,), factors = map(flat, inputs), map(flat, outputs), scratch["factors"]
    g, tile = cut(spec.rows, spec.c), register_tile(caps, x.dtype.name)
    few = (spec.c, g.repeat, scale, shift, factors)
    apply = line_kernel(tile, spec.act, False, beyond_caches(spec, caps, tile, y, (x,)))
    return [
        Call(spread_scale, blocks(spec.c, CHANNELS), few, weights_only=True),
        Call(apply, g.slabs, (spec, g, x, x, factors, y)),
    ]


batchnorm_impl = Impl("slabs", always, bind, scratch, inplace=((0, 0),))
batchnorm_dx_impl = Impl("slabs", accepts_dx, bind_dx, scratch, inplace=((3, 1), (0, 1), (0, 0)))
scale_shift_impl = Impl("sweep", always, bind_scale_shift, scratch_scale_shift, inplace=((0, 0),))
