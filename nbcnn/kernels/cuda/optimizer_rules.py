"""Updates by a rule of `kernels.update_rules`, by LAMB, and mixtures of two flat buffers.

As in `optimizer.py`, four elements a thread, in the type of the weights. LAMB needs the norms of
each variable: blocks renew the means of their slabs, keep the direction and add up squares; one
block a variable makes the ratio of its norms in float64; the last launch takes the steps.
"""

from functools import cache
from math import sqrt

import numpy as np
from numba import cuda

from nbcnn.kernels.cuda import jit, lanes
from nbcnn.kernels.cuda.call import Launch
from nbcnn.kernels.cuda.index import divided
from nbcnn.kernels.cuda.lanes import add_lanes, launch_blocks, threads
from nbcnn.kernels.cuda.optimizer import launch_updates
from nbcnn.kernels.cuda.quads import access
from nbcnn.kernels.impl import Impl, Scratch, always
from nbcnn.kernels.update_rules import RULES
from nbcnn.ops.optimizer import LEARNING_RATE, RULE, LambSpec, MixSpec, UpdateSpec


@cache
def rule_kernel(dtype: str, width: int, rule: str):
    """`a`, `b`: any arrays where the rule has no such state."""
    function, states = RULES[rule]
    f, number, (fetch, put) = jit.formula(function, dtype), np.dtype(dtype).type, access(width)

    @jit.kernel(constants=(dtype, width, rule))
    def update(s, w, g, hyper, a, b):
        weights, slope = cuda.local.array(width, number), cuda.local.array(width, number)
        first, second = cuda.local.array(width, number), cuda.local.array(width, number)
        rate = number(hyper[LEARNING_RATE])
        decay = number(1) - rate * number(s.weight_decay)
        h0, h1, h2 = number(hyper[RULE]), number(hyper[RULE + 1]), number(hyper[RULE + 2])
        h3, h4, h5 = number(hyper[RULE + 3]), number(hyper[RULE + 4]), number(hyper[RULE + 5])
        i = cuda.grid(1) * width
        while i < s.n:
            fetch(w, i, weights)
            fetch(g, i, slope)
            fetch(a, i, first)
            if states > 1:
                fetch(b, i, second)
            for j in range(width):
                other = second[j] if states > 1 else first[j]
                weights[j], first[j], other = f(
                    weights[j] * decay, slope[j], first[j], other, rate, h0, h1, h2, h3, h4, h5
                )
                if states > 1:
                    second[j] = other
            put(a, i, first)
            if states > 1:
                put(b, i, second)
            put(w, i, weights)
            i += cuda.gridsize(1) * width

    return update


def impls(op) -> tuple[Impl, ...]:
    def bind(spec: UpdateSpec, caps, inputs, outputs, scratch) -> list[Launch]:
        w, g, hyper, *states = inputs
        arrays = (w, g, hyper, states[0], states[-1])
        return launch_updates(rule_kernel, (op.rule,), caps, spec, *arrays)

    return (Impl("loop", always, bind),)


@jit.device
def slab_of(segments, per, block):
    """(first, stop) element of a block: one of `per` slabs of a segment."""
    segment, slab = divided(block, per)
    begin = segments[2 * segment]
    length = segments[2 * segment + 1] - begin
    return begin + length * slab // per, begin + length * (slab + 1) // per


@cache
def direction_kernel(dtype: str, size: int):
    """parts: sums of squares of a slab's weights, after their decay, and of its direction."""
    number = np.dtype(dtype).type

    @jit.kernel(bounds=size, constants=(dtype, size))
    def lamb_direction(s, per, w, g, hyper, m, v, segments, direction, parts):
        weights = cuda.shared.array(size, number)
        steps = cuda.shared.array(size, number)
        t, block = cuda.threadIdx.x, cuda.blockIdx.x
        rest_1, rest_2 = number(hyper[RULE]), number(hyper[RULE + 1])
        correction_1, correction_2 = number(hyper[RULE + 2]), number(hyper[RULE + 3])
        epsilon = number(hyper[RULE + 4])
        decay = number(1) - number(hyper[LEARNING_RATE]) * number(s.weight_decay)
        of_weights, of_steps = number(0), number(0)
        first, stop = slab_of(segments, per, block)
        for i in range(first + t, stop, size):
            mean = m[i] + rest_1 * (g[i] - m[i])
            square = v[i] + rest_2 * (g[i] * g[i] - v[i])
            weight = w[i] * decay
            step = mean * correction_1 / (number(sqrt(square * correction_2)) + epsilon)
            m[i], v[i], w[i], direction[i] = mean, square, weight, step
            of_weights += weight * weight
            of_steps += step * step
        weights[t], steps[t] = of_weights, of_steps
        add_lanes(weights, t, 1, t, size, 1, 0)
        add_lanes(steps, t, 1, t, size, 1, 0)
        if t == 0:
            parts[2 * block], parts[2 * block + 1] = weights[0], steps[0]

    return lamb_direction


@cache
def ratios_kernel(size: int):
    """One block a variable. A NaN norm is not hidden."""

    @jit.kernel(bounds=size, constants=(size,))
    def lamb_ratios(s, per, parts, ratios):
        weights = cuda.shared.array(size, np.float64)
        steps = cuda.shared.array(size, np.float64)
        t, block = cuda.threadIdx.x, cuda.blockIdx.x
        of_weights, of_steps = np.float64(0.0), np.float64(0.0)
        for i in range(block * per + t, (block + 1) * per, size):
            of_weights += np.float64(parts[2 * i])
            of_steps += np.float64(parts[2 * i + 1])
        weights[t], steps[t] = of_weights, of_steps
        add_lanes(weights, t, 1, t, size, 1, 0)
        add_lanes(steps, t, 1, t, size, 1, 0)
        if t == 0:
            one = weights[0] == 0.0 or steps[0] == 0.0
            ratios[block] = 1.0 if one else sqrt(weights[0]) / sqrt(steps[0])

    return lamb_ratios


@cache
def step_kernel(dtype: str, size: int):
    number = np.dtype(dtype).type

    @jit.kernel(bounds=size, constants=(dtype, size))
    def lamb_step(s, per, w, hyper, segments, direction, ratios):
        segment, _ = divided(cuda.blockIdx.x, per)
        scale = number(hyper[LEARNING_RATE] * ratios[segment])
        first, stop = slab_of(segments, per, cuda.blockIdx.x)
        for i in range(first + cuda.threadIdx.x, stop, size):
            w[i] -= scale * direction[i]

    return lamb_step


def slabs_per_segment(spec: LambSpec, caps) -> int:
    """As many for long variables as for short ones: they follow from the mean length."""
    mean = spec.n // max(spec.segments, 1)
    return max(1, min(64, mean // (threads(caps) * lanes.FEWEST)))


def lamb_scratch(spec: LambSpec, dtype: str, caps) -> dict[str, Scratch]:
    blocks = spec.segments * slabs_per_segment(spec, caps)
    return {
        "direction": Scratch((spec.n,), dtype),
        "parts": Scratch((2 * blocks,), dtype),
        "ratios": Scratch((spec.segments,), "float64"),
    }


def bind_lamb(spec: LambSpec, caps, inputs, outputs, scratch) -> list[Launch]:
    w, g, hyper, m, v, segments = inputs
    direction, parts, ratios = scratch["direction"], scratch["parts"], scratch["ratios"]
    per, size, dtype = slabs_per_segment(spec, caps), threads(caps), str(w.dtype)
    blocks = spec.segments * per
    arrays = (w, g, hyper, m, v, segments, direction, parts)
    steps = (w, hyper, segments, direction, ratios)
    return [
        *launch_blocks(direction_kernel(dtype, size), caps, blocks, spec, per, *arrays),
        *launch_blocks(ratios_kernel(size), caps, spec.segments, spec, per, parts, ratios),
        *launch_blocks(step_kernel(dtype, size), caps, blocks, spec, per, *steps),
    ]


@cache
def mix_kernel(dtype: str, width: int, keeps: bool, adds: bool):
    number, (fetch, put) = np.dtype(dtype).type, access(width)

    @jit.kernel(constants=(dtype, width, keeps, adds))
    def mix(s, target, value):
        old, new = cuda.local.array(width, number), cuda.local.array(width, number)
        keep, rest = number(s.keep), number(s.rest)
        i = cuda.grid(1) * width
        while i < s.n:
            if keeps:
                fetch(target, i, old)
            if adds:
                fetch(value, i, new)
            for j in range(width):
                mixed = rest * new[j] if adds else number(0)
                old[j] = keep * old[j] + mixed if keeps else mixed
            put(target, i, old)
            i += cuda.gridsize(1) * width

    return mix


def bind_mix(spec: MixSpec, caps, inputs, outputs, scratch) -> list[Launch]:
    return launch_updates(mix_kernel, (spec.keep != 0, spec.rest != 0), caps, spec, *inputs)


lamb = Impl("slabs", always, bind_lamb, lamb_scratch)
mix = Impl("loop", always, bind_mix)
