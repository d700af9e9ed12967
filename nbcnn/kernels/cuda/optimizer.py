"""Updates of one flat buffer, gradient clipping, assignments, sums over the batch.

Each optimizer reads and writes every array once, four elements a thread, in the type of the
weights. What changes from step to step is read from `hyper` in the GPU's memory, so the launches
stay the same. Norms are sums of squares: threads add few each, then blocks (`lanes.py`), then one
more launch in float64 adds what the blocks have left and makes the factor, which a third launch
multiplies by.
"""

from functools import cache
from math import expm1, log, sqrt

import numpy as np
from numba import cuda

from nbcnn.kernels.cuda import jit, lanes
from nbcnn.kernels.cuda.call import Launch, launch
from nbcnn.kernels.cuda.index import divided
from nbcnn.kernels.cuda.lanes import add_lanes, launch_blocks, threads
from nbcnn.kernels.cuda.quads import access, width_of
from nbcnn.kernels.impl import Impl, Scratch, always
from nbcnn.ops.optimizer import (
    LEARNING_RATE,
    STEP,
    AdamSpec,
    AssignSpec,
    ClipSpec,
    RMSpropSpec,
    SGDSpec,
)


@cache
def sgd_kernel(dtype: str, width: int, momentum: bool, nesterov: bool):
    """`v`: any array where momentum is 0."""
    number, (fetch, put) = np.dtype(dtype).type, access(width)

    @jit.kernel(constants=(dtype, width, momentum, nesterov))
    def sgd(s, w, g, hyper, v):
        weights, slope = cuda.local.array(width, number), cuda.local.array(width, number)
        velocity = cuda.local.array(width, number)
        rate, keep = number(hyper[LEARNING_RATE]), number(s.momentum)
        decay = number(1) - rate * number(s.weight_decay)
        i = cuda.grid(1) * width
        while i < s.n:
            fetch(w, i, weights)
            fetch(g, i, slope)
            if momentum:
                fetch(v, i, velocity)
            for j in range(width):
                step = -rate * slope[j]
                if momentum:
                    velocity[j] = keep * velocity[j] + step
                    step = keep * velocity[j] + step if nesterov else velocity[j]
                weights[j] = weights[j] * decay + step
            if momentum:
                put(v, i, velocity)
            put(w, i, weights)
            i += cuda.gridsize(1) * width

    return sgd


@cache
def rmsprop_kernel(dtype: str, width: int, momentum: bool, centered: bool):
    """`m`, `mean`: any arrays where momentum is 0 or the mean is not subtracted; `one_less`: 1 -
    rho, which float32 would take from a rounded rho.
    """
    number, (fetch, put) = np.dtype(dtype).type, access(width)

    @jit.kernel(constants=(dtype, width, momentum, centered))
    def rmsprop(s, one_less, w, g, hyper, square, m, mean):
        weights, slope = cuda.local.array(width, number), cuda.local.array(width, number)
        spread, center = cuda.local.array(width, number), cuda.local.array(width, number)
        velocity = cuda.local.array(width, number)
        rate, keep, rho = number(hyper[LEARNING_RATE]), number(s.momentum), number(s.rho)
        decay, rest = number(1) - rate * number(s.weight_decay), number(one_less)
        epsilon = number(s.epsilon)
        i = cuda.grid(1) * width
        while i < s.n:
            fetch(w, i, weights)
            fetch(g, i, slope)
            fetch(square, i, spread)
            if centered:
                fetch(mean, i, center)
            if momentum:
                fetch(m, i, velocity)
            for j in range(width):
                spread[j] = rho * spread[j] + rest * slope[j] * slope[j]
                inner = spread[j] + epsilon
                if centered:
                    center[j] = rho * center[j] + rest * slope[j]
                    inner = spread[j] - center[j] * center[j] + epsilon
                step = rate * slope[j] / number(sqrt(inner))
                if momentum:
                    velocity[j] = keep * velocity[j] + step
                    step = velocity[j]
                weights[j] = weights[j] * decay - step
            put(square, i, spread)
            if centered:
                put(mean, i, center)
            if momentum:
                put(m, i, velocity)
            put(w, i, weights)
            i += cuda.gridsize(1) * width

    return rmsprop


@cache
def adam_kernel(dtype: str, width: int, amsgrad: bool):
    """`largest`: any array where `amsgrad` is 0. `log_1`, ...: log beta_1, log beta_2, 1 -
    beta_1, 1 - beta_2. 1 - beta^t is -expm1(t log beta), which loses nothing in float32.
    """
    number, (fetch, put) = np.dtype(dtype).type, access(width)

    @jit.kernel(constants=(dtype, width, amsgrad))
    def adam(s, log_1, log_2, one_less_1, one_less_2, w, g, hyper, m, v, largest):
        weights, slope = cuda.local.array(width, number), cuda.local.array(width, number)
        mean, square = cuda.local.array(width, number), cuda.local.array(width, number)
        most = cuda.local.array(width, number)
        rate, t = number(hyper[LEARNING_RATE]), number(hyper[STEP])
        scale = rate * number(sqrt(-number(expm1(t * number(log_2)))))
        scale = scale / -number(expm1(t * number(log_1)))
        rest_1, rest_2 = number(one_less_1), number(one_less_2)
        decay, epsilon = number(1) - rate * number(s.weight_decay), number(s.epsilon)
        i = cuda.grid(1) * width
        while i < s.n:
            fetch(w, i, weights)
            fetch(g, i, slope)
            fetch(m, i, mean)
            fetch(v, i, square)
            if amsgrad:
                fetch(largest, i, most)
            for j in range(width):
                mean[j] += rest_1 * (slope[j] - mean[j])
                square[j] += rest_2 * (slope[j] * slope[j] - square[j])
                spread = square[j]
                if amsgrad:
                    most[j] = spread = max(spread, most[j])
                weights[j] = weights[j] * decay - scale * mean[j] / (number(sqrt(spread)) + epsilon)
            put(m, i, mean)
            put(v, i, square)
            if amsgrad:
                put(largest, i, most)
            put(w, i, weights)
            i += cuda.gridsize(1) * width

    return adam


@cache
def clip_value_kernel(dtype: str, width: int):
    number, (fetch, put) = np.dtype(dtype).type, access(width)

    @jit.kernel(constants=(dtype, width))
    def clip_value(s, g):
        v, high = cuda.local.array(width, number), number(s.value)
        i = cuda.grid(1) * width
        while i < s.n:
            fetch(g, i, v)
            for j in range(width):
                v[j] = high if v[j] > high else v[j]
                v[j] = -high if v[j] < -high else v[j]
            put(g, i, v)
            i += cuda.gridsize(1) * width

    return clip_value


@jit.device
def slab_of(bounds, per, block):
    """(first, stop) element of a block: one of `per` slabs of a segment."""
    segment, slab = divided(block, per)
    begin, length = bounds[segment], bounds[segment + 1] - bounds[segment]
    return begin + length * slab // per, begin + length * (slab + 1) // per


@cache
def squares_kernel(dtype: str, size: int):
    """parts[block] = sum of squares of a slab."""
    number = np.dtype(dtype).type

    @jit.kernel(bounds=size, constants=(dtype, size))
    def squares(s, per, g, bounds, parts):
        sums = cuda.shared.array(size, number)
        t, total = cuda.threadIdx.x, number(0)
        first, stop = slab_of(bounds, per, cuda.blockIdx.x)
        for i in range(first + t, stop, size):
            total += g[i] * g[i]
        sums[t] = total
        add_lanes(sums, t, 1, t, size, 1, 0)
        if t == 0:
            parts[cuda.blockIdx.x] = sums[0]

    return squares


@cache
def factors_kernel(size: int):
    """factors[block]: what to multiply by, from equal shares of the partial sums. A NaN norm is not
    hidden.
    """

    @jit.kernel(bounds=size, constants=(size,))
    def factors_of(s, share, parts, factors):
        sums = cuda.shared.array(size, np.float64)
        t, block, total = cuda.threadIdx.x, cuda.blockIdx.x, np.float64(0.0)
        for i in range(block * share + t, (block + 1) * share, size):
            total += np.float64(parts[i])
        sums[t] = total
        add_lanes(sums, t, 1, t, size, 1, 0)
        if t == 0:
            norm = sqrt(sums[0])
            factors[block] = 1.0 if norm <= s.value else s.value / norm

    return factors_of


@cache
def clip_scale_kernel(dtype: str, size: int):
    """`segments`: that share a factor."""
    number = np.dtype(dtype).type

    @jit.kernel(bounds=size, constants=(dtype, size))
    def clip_scale(s, per, segments, g, bounds, factors):
        factor = number(factors[cuda.blockIdx.x // (per * segments)])
        if factor != number(1):
            first, stop = slab_of(bounds, per, cuda.blockIdx.x)
            for i in range(first + cuda.threadIdx.x, stop, size):
                g[i] *= factor

    return clip_scale


@cache
def assign_kernel(dtype: str, width: int):
    number, (fetch, put) = np.dtype(dtype).type, access(width)

    @jit.kernel(constants=(dtype, width))
    def assign(s, target, value):
        v = cuda.local.array(width, number)
        i = cuda.grid(1) * width
        while i < s.n:
            fetch(value, i, v)
            put(target, i, v)
            i += cuda.gridsize(1) * width

    return assign


@cache
def accumulate_kernel(size: int):
    """One block: a batch has few values."""

    @jit.kernel(bounds=size, constants=(size,))
    def accumulate(s, total, value, weight):
        amounts = cuda.shared.array(size, np.float64)
        sums = cuda.shared.array(size, np.float64)
        t, amount, weights = cuda.threadIdx.x, np.float64(0.0), np.float64(0.0)
        for i in range(t, s.n, size):
            amount += np.float64(value[i]) * np.float64(weight[i])
            weights += np.float64(weight[i])
        amounts[t], sums[t] = amount, weights
        add_lanes(amounts, t, 1, t, size, 1, 0)
        add_lanes(sums, t, 1, t, size, 1, 0)
        if t == 0:
            total[0] += amounts[0]
            total[1] += sums[0]

    return accumulate


def launch_updates(kernel_of, which: tuple, caps, spec, *args) -> list[Launch]:
    """A kernel over all elements of the arrays in `args`, the first of which is updated. Buffers
    hold whole quads; where one does not, threads take single elements.
    """
    arrays = [a for a in args if hasattr(a, "dtype") and a.size == spec.n]
    dtype = str(arrays[0].dtype)
    width = min(width_of(str(a.dtype), spec.n) for a in arrays)
    kernel = kernel_of(dtype, width, *which)
    return launch(kernel, caps, -(-spec.n // width), spec, *args)


def bind_sgd(spec: SGDSpec, caps, inputs, outputs, scratch) -> list[Launch]:
    w, g, hyper, *v = inputs
    which = bool(spec.momentum), bool(spec.nesterov)
    return launch_updates(sgd_kernel, which, caps, spec, w, g, hyper, v[0] if v else w)


def bind_rmsprop(spec: RMSpropSpec, caps, inputs, outputs, scratch) -> list[Launch]:
    w, g, hyper, square, *more = inputs
    m = more.pop(0) if spec.momentum else w
    mean = more.pop(0) if spec.centered else w
    which = bool(spec.momentum), bool(spec.centered)
    arrays = (w, g, hyper, square, m, mean)
    return launch_updates(rmsprop_kernel, which, caps, spec, 1.0 - spec.rho, *arrays)


def bind_adam(spec: AdamSpec, caps, inputs, outputs, scratch) -> list[Launch]:
    w, g, hyper, m, v, *largest = inputs
    betas = spec.beta_1, spec.beta_2
    numbers = [log(beta) if beta else -float("inf") for beta in betas] + [1.0 - b for b in betas]
    arrays = (w, g, hyper, m, v, largest[0] if spec.amsgrad else w)
    return launch_updates(adam_kernel, (bool(spec.amsgrad),), caps, spec, *numbers, *arrays)


def bind_clip_value(spec: ClipSpec, caps, inputs, outputs, scratch) -> list[Launch]:
    return launch_updates(clip_value_kernel, (), caps, spec, inputs[0])


def slabs_per_segment(spec: ClipSpec, caps) -> int:
    """As many for long variables as for short ones: they follow from the mean length."""
    mean = spec.n // max(spec.segments, 1)
    return max(1, min(64, mean // (threads(caps) * lanes.FEWEST)))


def clip_scratch(together: bool):
    def scratch(spec: ClipSpec, dtype: str, caps) -> dict[str, Scratch]:
        parts = Scratch((spec.segments * slabs_per_segment(spec, caps),), dtype)
        return {"parts": parts, "factors": Scratch((1 if together else spec.segments,), "float64")}

    return scratch


def bind_clip_norm(spec: ClipSpec, caps, inputs, outputs, scratch) -> list[Launch]:
    """Per segment or for all together: as many as there are factors."""
    (g, bounds), parts, factors = inputs, scratch["parts"], scratch["factors"]
    per, size, dtype = slabs_per_segment(spec, caps), threads(caps), str(g.dtype)
    share, segments = parts.size // factors.size, spec.segments // factors.size
    scale = clip_scale_kernel(dtype, size)
    return [
        *launch_blocks(squares_kernel(dtype, size), caps, parts.size, spec, per, g, bounds, parts),
        *launch_blocks(factors_kernel(size), caps, factors.size, spec, share, parts, factors),
        *launch_blocks(scale, caps, parts.size, spec, per, segments, g, bounds, factors),
    ]


def bind_assign(spec: AssignSpec, caps, inputs, outputs, scratch) -> list[Launch]:
    return launch_updates(assign_kernel, (), caps, spec, *inputs)


def bind_accumulate(spec: AssignSpec, caps, inputs, outputs, scratch) -> list[Launch]:
    return launch_blocks(accumulate_kernel(threads(caps)), caps, 1, spec, *inputs)


sgd = Impl("loop", always, bind_sgd)
rmsprop = Impl("loop", always, bind_rmsprop)
adam = Impl("loop", always, bind_adam)
clip_gradients_value = Impl("loop", always, bind_clip_value)
clip_gradients_norm = Impl("slabs", always, bind_clip_norm, clip_scratch(False))
clip_gradients_global_norm = Impl("slabs", always, bind_clip_norm, clip_scratch(True))
assign = Impl("loop", always, bind_assign)
accumulate = Impl("block", always, bind_accumulate)
