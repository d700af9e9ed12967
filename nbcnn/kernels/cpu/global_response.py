"""Global response normalization of maps (n, rows, c), forward and backward.

    forward    G = sqrt(sum over rows of x^2),  D = 1 / (mean G + e),  a = gamma G D + 1,
               y = x a + beta
    backward   P = sum over rows of dy x,  B = sum over rows of dy,  Q = gamma P,
               dG = D (Q - D mean(Q G)),  dx = dy a + x dG / G,
               dgamma = sum over samples of P G D,  dbeta = sum over samples of B

Two passes over a sample and short work between them on its c numbers: the passes are the vector
sweeps of batch normalization (`norm_micro.py`), with factors of the sample's own and no origin.
Where there are samples enough, a task is a sample: it comes from memory once, and from L2 for the
second pass. Otherwise each pass is a call of its own, cut into slabs of rows. Sums go by slabs in
both cases and are added in float64, so both give the same bits, at any number of threads.
"""

import math
from functools import cache

import numpy as np

from nbcnn.kernels.cpu import jit, simd
from nbcnn.kernels.cpu import norm_micro as micro
from nbcnn.kernels.cpu.blocking import Tile, register_tile
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.cpu.norm import CHANNELS, WIDE, beyond_caches, cut, leave, slab_of
from nbcnn.kernels.cpu.shares import blocks, flat
from nbcnn.kernels.impl import Impl, Scratch, always
from nbcnn.ops.conv_spec import LINEAR
from nbcnn.ops.global_response import GlobalResponseSpec

ENOUGH = 8  # samples


@jit.always_inline
def clear(sums, width):
    """Running sums, and a row of zeros: the origin, and other factors that count for nothing."""
    for k in range(width):
        sums[0, k] = 0
        sums[1, k] = 0
        sums[2, k] = 0


@jit.always_inline
def set_factors(factors, g, c, slot, k, of_first, of_second):
    """Both factors of channel k, repeated as sweeps read them."""
    for p in range(g.repeat):
        factors[(2 * slot * g.repeat + p) * c + k] = of_first
        factors[((2 * slot + 1) * g.repeat + p) * c + k] = of_second


@jit.always_inline
def slabs_sum(parts, g, c, slot, kind, k):
    total = 0.0
    for slab in range(g.slabs):
        total += np.float64(parts[(2 * (slot * g.slabs + slab) + kind) * c + k])
    return total


@jit.always_inline
def scale_of(spec, norms, sample):
    """D of a sample."""
    total = 0.0
    for k in range(spec.c):
        total += np.float64(norms[sample * spec.c + k])
    return 1.0 / (total / spec.c + spec.epsilon)


@jit.always_inline
def forward_factors(spec, g, sample, slot, gamma, beta, parts, norms, factors):
    """G of a sample, a and beta."""
    c = spec.c
    for k in range(c):
        norms[sample * c + k] = math.sqrt(slabs_sum(parts, g, c, slot, 1, k))
    scale = scale_of(spec, norms, sample)
    for k in range(c):
        share = np.float64(norms[sample * c + k]) * scale
        set_factors(factors, g, c, slot, k, np.float64(gamma[k]) * share + 1.0, beta[k])


@jit.always_inline
def backward_factors(spec, g, sample, slot, gamma, norms, parts, sums, factors):
    """a and dG / G of a sample, and its part of dgamma and dbeta to its row of `sums`."""
    c, scale, along = spec.c, scale_of(spec, norms, sample), 0.0
    for k in range(c):
        product = slabs_sum(parts, g, c, slot, 1, k)
        norm = np.float64(norms[sample * c + k])
        sums[2 * sample * c + k] = product * norm * scale
        sums[(2 * sample + 1) * c + k] = slabs_sum(parts, g, c, slot, 0, k)
        along += gamma[k] * product * norm
    for k in range(c):
        product = slabs_sum(parts, g, c, slot, 1, k)
        norm, factor = np.float64(norms[sample * c + k]), np.float64(gamma[k])
        slope = scale * (factor * product - scale * along / c)
        of_x = slope / norm if norm > 0.0 else 0.0
        set_factors(factors, g, c, slot, k, factor * norm * scale + 1.0, of_x)


@jit.kernel
def add_samples(task, thread, spec, sums, dgamma, dbeta):
    """dgamma and dbeta of some channels."""
    for k in range(task * CHANNELS, min((task + 1) * CHANNELS, spec.c)):
        scale_sum, shift_sum = 0.0, 0.0
        for sample in range(spec.n):
            scale_sum += np.float64(sums[2 * sample * spec.c + k])
            shift_sum += np.float64(sums[(2 * sample + 1) * spec.c + k])
        dgamma[k], dbeta[k] = scale_sum, shift_sum


@cache
def forward_passes(tile: Tile, past: bool):
    """take(...): sums of a slab of a sample; put(...): its results. See `passes`."""
    item, vector = tile.item, tile.item * tile.lanes
    moments, near = micro.moments(tile), micro.line(tile, LINEAR, False, False)
    line = micro.line(tile, LINEAR, False, past)

    @jit.always_inline
    def take(spec, g, sample, slot, slab, x, dy, running, parts):
        first, rows, last = slab_of(slab, spec, g)
        width, at = spec.c * g.repeat, (sample * spec.rows + first) * spec.c * item
        clear(running, width)
        sums, row = simd.address(running), running.shape[1] * item
        moments(simd.address(x) + at, sums + 2 * row, sums, sums + row, rows, width, last)
        leave(running, spec, g, slot * g.slabs + slab, parts)

    @jit.always_inline
    def put(spec, g, sample, slot, slab, x, dy, running, factors, y):
        first, rows, last = slab_of(slab, spec, g)
        width, at = spec.c * g.repeat, (sample * spec.rows + first) * spec.c * item
        clear(running, width)
        data, into = simd.address(x) + at, simd.address(y) + at
        origin = simd.address(running) + 2 * running.shape[1] * item
        scale = simd.address(factors) + 2 * slot * width * item
        columns = origin, scale, scale + width * item
        if past and into % vector == 0:
            line(data, data, into, *columns, rows, width, last)
        else:
            near(data, data, into, *columns, rows, width, last)

    return take, put


@cache
def backward_passes(tile: Tile, past: bool):
    item, vector = tile.item, tile.item * tile.lanes
    gradient_sums = micro.gradient_sums(tile, LINEAR, False, False, False)
    near = micro.gradient(tile, LINEAR, False, False)
    gradient = micro.gradient(tile, LINEAR, False, past)

    @jit.always_inline
    def take(spec, g, sample, slot, slab, x, dy, running, parts):
        first, rows, last = slab_of(slab, spec, g)
        width, at = spec.c * g.repeat, (sample * spec.rows + first) * spec.c * item
        clear(running, width)
        data, slope = simd.address(x) + at, simd.address(dy) + at
        sums, row = simd.address(running), running.shape[1] * item
        zeros = sums + 2 * row
        gradient_sums(
            data, slope, data, data, data, zeros, zeros, zeros, sums, sums + row, rows, width, last
        )
        leave(running, spec, g, slot * g.slabs + slab, parts)

    @jit.always_inline
    def put(spec, g, sample, slot, slab, x, dy, running, factors, dx):
        first, rows, last = slab_of(slab, spec, g)
        width, at = spec.c * g.repeat, (sample * spec.rows + first) * spec.c * item
        clear(running, width)
        data, slope, into = simd.address(x) + at, simd.address(dy) + at, simd.address(dx) + at
        zeros = simd.address(running) + 2 * running.shape[1] * item
        scale = simd.address(factors) + 2 * slot * width * item
        columns = zeros, zeros, zeros, scale, scale + width * item, zeros
        if past and into % vector == 0:
            gradient(data, slope, data, into, *columns, rows, width, last)
        else:
            near(data, slope, data, into, *columns, rows, width, last)

    return take, put


@cache
def passes(tile: Tile, backward: bool, past: bool) -> tuple[jit.Kernel, jit.Kernel]:
    """Kernels for a slab of a sample each: its sums, and its results."""
    take, put = (backward_passes if backward else forward_passes)(tile, past)

    @jit.kernel(constants=(tile, backward))
    def sums(task, thread, spec, g, x, dy, running, parts):
        sample, slab = task // g.slabs, task % g.slabs
        take(spec, g, sample, sample, slab, x, dy, running[thread], parts)

    @jit.kernel(constants=(tile, backward, past))
    def results(task, thread, spec, g, x, dy, running, factors, out):
        sample, slab = task // g.slabs, task % g.slabs
        put(spec, g, sample, sample, slab, x, dy, running[thread], factors, out)

    return sums, results


@jit.kernel
def forward_between(task, thread, spec, g, gamma, beta, parts, norms, factors):
    forward_factors(spec, g, task, task, gamma, beta, parts, norms, factors)


@jit.kernel
def backward_between(task, thread, spec, g, gamma, norms, parts, sums, factors):
    backward_factors(spec, g, task, task, gamma, norms, parts, sums, factors)


@cache
def forward_sample(tile: Tile, past: bool) -> jit.Kernel:
    take, put = forward_passes(tile, past)

    @jit.kernel(constants=(tile, past))
    def sample(task, thread, spec, g, x, gamma, beta, running, parts, factors, y, norms):
        own = running[thread]
        for slab in range(g.slabs):
            take(spec, g, task, thread, slab, x, x, own, parts)
        forward_factors(spec, g, task, thread, gamma, beta, parts, norms, factors)
        for i in range(g.slabs):  # the last one is still nearest
            put(spec, g, task, thread, g.slabs - 1 - i, x, x, own, factors, y)

    return sample


@cache
def backward_sample(tile: Tile, past: bool) -> jit.Kernel:
    take, put = backward_passes(tile, past)

    @jit.kernel(constants=(tile, past))
    def sample(task, thread, spec, g, x, dy, gamma, norms, running, parts, factors, sums, dx):
        own = running[thread]
        for slab in range(g.slabs):
            take(spec, g, task, thread, slab, x, dy, own, parts)
        backward_factors(spec, g, task, thread, gamma, norms, parts, sums, factors)
        for i in range(g.slabs):
            put(spec, g, task, thread, g.slabs - 1 - i, x, dy, own, factors, dx)

    return sample


def scratch(spec: GlobalResponseSpec, dtype: str, caps) -> dict[str, Scratch]:
    g = cut(spec.rows, spec.c)
    slots = caps.threads if spec.n >= ENOUGH else spec.n
    return {
        "running": Scratch((caps.threads, 3, max(WIDE, spec.c)), dtype),
        "parts": Scratch((2 * slots * g.slabs * spec.c,), dtype),
        "factors": Scratch((2 * slots * g.repeat * spec.c,), dtype),
    }


def scratch_dx(spec: GlobalResponseSpec, dtype: str, caps) -> dict[str, Scratch]:
    return {**scratch(spec, dtype, caps), "sums": Scratch((2 * spec.n * spec.c,), dtype)}


def bind(spec: GlobalResponseSpec, caps, inputs, outputs, scratch) -> list[Call]:
    (x, gamma, beta), (y, norms) = map(flat, inputs), map(flat, outputs)
    running, parts, factors = (scratch[name] for name in ("running", "parts", "factors"))
    g, tile = cut(spec.rows, spec.c), register_tile(caps, x.dtype.name)
    past = _past(spec, caps, tile, y, (x,))
    if spec.n >= ENOUGH:
        args = (spec, g, x, gamma, beta, running, parts, factors, y, norms)
        return [Call(forward_sample(tile, past), spec.n, args)]
    sums, results = passes(tile, False, past)
    return [
        Call(sums, spec.n * g.slabs, (spec, g, x, x, running, parts)),
        Call(forward_between, spec.n, (spec, g, gamma, beta, parts, norms, factors)),
        Call(results, spec.n * g.slabs, (spec, g, x, x, running, factors, y)),
    ]


def bind_dx(spec: GlobalResponseSpec, caps, inputs, outputs, scratch) -> list[Call]:
    (x, dy, gamma, norms), (dx, dgamma, dbeta) = map(flat, inputs), map(flat, outputs)
    running, parts, factors, own = (
        scratch[name] for name in ("running", "parts", "factors", "sums")
    )
    g, tile = cut(spec.rows, spec.c), register_tile(caps, x.dtype.name)
    past = _past(spec, caps, tile, dx, (x, dy))
    last = Call(add_samples, blocks(spec.c, CHANNELS), (spec, own, dgamma, dbeta))
    if spec.n >= ENOUGH:
        args = (spec, g, x, dy, gamma, norms, running, parts, factors, own, dx)
        return [Call(backward_sample(tile, past), spec.n, args), last]
    sums, results = passes(tile, True, past)
    return [
        Call(sums, spec.n * g.slabs, (spec, g, x, dy, running, parts)),
        Call(backward_between, spec.n, (spec, g, gamma, norms, parts, own, factors)),
        Call(results, spec.n * g.slabs, (spec, g, x, dy, running, factors, dx)),
        last,
    ]


def _past(spec: GlobalResponseSpec, caps, tile: Tile, target, sources: tuple) -> bool:
    """As `beyond_caches`, where each sample begins at a whole vector, too."""
    aligned = spec.rows * spec.c % tile.lanes == 0
    return aligned and beyond_caches(spec, caps, tile, target, sources)


global_response = Impl("sweep", always, bind, scratch, inplace=((0, 0),))
global_response_dx = Impl("sweep", always, bind_dx, scratch_dx, inplace=((0, 1), (0, 0)))
