"""Global response normalization of maps (n, rows, c), forward and backward.

    forward    G = sqrt(sum over rows of x^2),  D = 1 / (mean G + e),  a = gamma G D + 1,
               y = x a + beta
    backward   P = sum over rows of dy x,  B = sum over rows of dy,  Q = gamma P,
               dG = D (Q - D mean(Q G)),  dx = dy a + x dG / G,
               dgamma = sum over samples of P G D,  dbeta = sum over samples of B

Two passes over memory in blocks over the columns of a sample (`lanes.py`), so that neighbouring
threads read neighbouring channels, and a launch between them with a block for each sample, which
adds the slabs' sums in float64 and leaves two factors of each channel. What the samples have for
dgamma and dbeta is added by a last launch.
"""

from functools import cache
from math import sqrt

import numpy as np
from numba import cuda

from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import Launch
from nbcnn.kernels.cuda.index import divided
from nbcnn.kernels.cuda.lanes import add_lanes, columns, launch_blocks, place, threads
from nbcnn.kernels.cuda.quads import access, width_of
from nbcnn.kernels.cuda.reduce import fold_slabs
from nbcnn.kernels.impl import Impl, Scratch, always
from nbcnn.ops.global_response import GlobalResponseSpec
from nbcnn.ops.reduce import ReduceSpec


@cache
def sums_kernel(dtype: str, width: int, size: int):
    """parts[sample, slab] = two rows: sums of d, and of d x. Forward d is x."""
    number, (fetch, put), places = np.dtype(dtype).type, access(width), size * width

    @jit.kernel(bounds=size, constants=(dtype, width, size))
    def sums(s, g, x, d, parts):
        plains = cuda.shared.array(places, number)
        alongs = cuda.shared.array(places, number)
        v, w = cuda.local.array(width, number), cuda.local.array(width, number)
        plain, along = cuda.local.array(width, number), cuda.local.array(width, number)
        t = cuda.threadIdx.x
        sample, block = divided(cuda.blockIdx.x, g.tiles * g.slabs)
        slab, lane, row, end, k = place(g, block, t, width, s.rows)
        for j in range(width):
            plain[j], along[j] = number(0), number(0)
        if lane < g.lanes and k < s.c:
            while row < end:
                i = (sample * s.rows + row) * s.c + k
                fetch(x, i, v)
                fetch(d, i, w)
                for j in range(width):
                    plain[j] += w[j]
                    along[j] += w[j] * v[j]
                row += g.lanes
        for j in range(width):
            plains[t + j * size], alongs[t + j * size] = plain[j], along[j]
        add_lanes(plains, t, g.columns, lane, g.lanes, width, size)
        add_lanes(alongs, t, g.columns, lane, g.lanes, width, size)
        if lane == 0 and k < s.c:
            for j in range(width):
                plain[j], along[j] = plains[t + j * size], alongs[t + j * size]
            at = 2 * (sample * g.slabs + slab) * s.c + k
            put(parts, at, plain)
            put(parts, at + s.c, along)

    return sums


@jit.device
def slabs_sum(parts, s, g, sample, kind, k):
    total = 0.0
    for slab in range(g.slabs):
        total += parts[(2 * (sample * g.slabs + slab) + kind) * s.c + k]
    return total


@cache
def forward_between_kernel(dtype: str, size: int):
    """G of a sample, and the row a of its factors."""
    number = np.dtype(dtype).type

    @jit.kernel(bounds=size, constants=(dtype, size))
    def forward_between(s, g, gamma, parts, norms, factors):
        sums = cuda.shared.array(size, np.float64)
        t, sample = cuda.threadIdx.x, cuda.blockIdx.x
        total = np.float64(0.0)
        for k in range(t, s.c, size):
            norm = number(sqrt(slabs_sum(parts, s, g, sample, 1, k)))
            norms[sample * s.c + k] = norm
            total += np.float64(norm)
        sums[t] = total
        add_lanes(sums, t, 1, t, size, 1, 0)
        scale = 1.0 / (sums[0] / s.c + s.epsilon)
        for k in range(t, s.c, size):
            norm = np.float64(norms[sample * s.c + k])
            factors[sample * s.c + k] = number(gamma[k] * norm * scale + 1.0)

    return forward_between


@cache
def backward_between_kernel(dtype: str, size: int):
    """a and dG / G of a sample, and its parts of dgamma and dbeta."""
    number = np.dtype(dtype).type

    @jit.kernel(bounds=size, constants=(dtype, size))
    def backward_between(s, g, gamma, norms, parts, alongs, plains, factors, slopes):
        sums = cuda.shared.array(size, np.float64)
        products = cuda.shared.array(size, np.float64)
        t, sample = cuda.threadIdx.x, cuda.blockIdx.x
        total, along, first = np.float64(0.0), np.float64(0.0), sample * s.c
        for k in range(t, s.c, size):
            norm = np.float64(norms[first + k])
            total += norm
            along += gamma[k] * norm * slabs_sum(parts, s, g, sample, 1, k)
        sums[t], products[t] = total, along
        add_lanes(sums, t, 1, t, size, 1, 0)
        add_lanes(products, t, 1, t, size, 1, 0)
        scale = 1.0 / (sums[0] / s.c + s.epsilon)
        rest = scale * products[0] / s.c
        for k in range(t, s.c, size):
            norm, factor = np.float64(norms[first + k]), np.float64(gamma[k])
            product = slabs_sum(parts, s, g, sample, 1, k)
            alongs[first + k] = number(product * norm * scale)
            plains[first + k] = number(slabs_sum(parts, s, g, sample, 0, k))
            factors[first + k] = number(factor * norm * scale + 1.0)
            slope = scale * (factor * product - rest)
            slopes[first + k] = number(slope / norm) if norm > 0.0 else number(0)

    return backward_between


@cache
def results_kernel(dtype: str, width: int, size: int, backward: bool):
    """Backward dy a + x b, with b of each sample; forward x a + b, with one b for all."""
    number, (fetch, put) = np.dtype(dtype).type, access(width)

    @jit.kernel(bounds=size, constants=(dtype, width, size, backward))
    def results(s, g, x, dy, a, b, out):
        v, w = cuda.local.array(width, number), cuda.local.array(width, number)
        factor, other = cuda.local.array(width, number), cuda.local.array(width, number)
        sample, block = divided(cuda.blockIdx.x, g.tiles * g.slabs)
        _, lane, row, end, k = place(g, block, cuda.threadIdx.x, width, s.rows)
        if lane < g.lanes and k < s.c:
            fetch(a, sample * s.c + k, factor)
            fetch(b, sample * s.c + k if backward else k, other)
            while row < end:
                i = (sample * s.rows + row) * s.c + k
                fetch(x, i, v)
                if backward:
                    fetch(dy, i, w)
                for j in range(width):
                    if backward:
                        v[j] = w[j] * factor[j] + v[j] * other[j]
                    else:
                        v[j] = v[j] * factor[j] + other[j]
                put(out, i, v)
                row += g.lanes

    return results


def _cut(spec: GlobalResponseSpec, dtype: str, caps):
    """Elements a thread takes, and the blocks of a sample."""
    width = width_of(dtype, spec.c)
    return width, columns(spec.rows, spec.c // width, caps, spec.n)


def scratch(spec: GlobalResponseSpec, dtype: str, caps) -> dict[str, Scratch]:
    _, g = _cut(spec, dtype, caps)
    return {
        "parts": Scratch((2 * spec.n * g.slabs * spec.c,), dtype),
        "factors": Scratch((spec.n * spec.c,), dtype),
    }


def scratch_dx(spec: GlobalResponseSpec, dtype: str, caps) -> dict[str, Scratch]:
    each = Scratch((spec.n * spec.c,), dtype)
    return {**scratch(spec, dtype, caps), "slopes": each, "alongs": each, "plains": each}


def bind(spec: GlobalResponseSpec, caps, inputs, outputs, scratch) -> list[Launch]:
    (x, gamma, beta), (y, norms), dtype = inputs, outputs, str(inputs[0].dtype)
    (width, g), size = _cut(spec, dtype, caps), threads(caps)
    parts, factors, blocks = scratch["parts"], scratch["factors"], spec.n * g.blocks
    between = forward_between_kernel(dtype, size)
    last = results_kernel(dtype, width, size, False)
    return [
        *launch_blocks(sums_kernel(dtype, width, size), caps, blocks, spec, g, x, x, parts),
        *launch_blocks(between, caps, spec.n, spec, g, gamma, parts, norms, factors),
        *launch_blocks(last, caps, blocks, spec, g, x, x, factors, beta, y),
    ]


def bind_dx(spec: GlobalResponseSpec, caps, inputs, outputs, scratch) -> list[Launch]:
    (x, dy, gamma, norms), (dx, dgamma, dbeta), dtype = inputs, outputs, str(inputs[0].dtype)
    (width, g), size = _cut(spec, dtype, caps), threads(caps)
    parts, blocks = scratch["parts"], spec.n * g.blocks
    alongs, plains, factors, slopes = (
        scratch[name] for name in ("alongs", "plains", "factors", "slopes")
    )
    few = (gamma, norms, parts, alongs, plains, factors, slopes)
    last = results_kernel(dtype, width, size, True)
    over = ReduceSpec(1, spec.n, spec.c)
    return [
        *launch_blocks(sums_kernel(dtype, width, size), caps, blocks, spec, g, x, dy, parts),
        *launch_blocks(backward_between_kernel(dtype, size), caps, spec.n, spec, g, *few),
        *launch_blocks(last, caps, blocks, spec, g, x, dy, factors, slopes, dx),
        *fold_slabs("sum", over, 1, caps, alongs, dgamma),
        *fold_slabs("sum", over, 1, caps, plains, dbeta),
    ]


global_response = Impl("columns", always, bind, scratch)
global_response_dx = Impl("columns", always, bind_dx, scratch_dx)
