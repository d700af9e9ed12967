"""Updates by a rule of `kernels.update_rules`, by LAMB, and mixtures of two flat buffers.

As in `optimizer.py` every array is read and written once, in blocks. LAMB scales the step of each
variable by a ratio of norms: one pass over slabs of the variables renews the means, keeps the
direction and adds up squares in float64; a short one makes the ratios; the last takes the steps.
"""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np

from nbcnn.kernels.cpu import jit
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.cpu.shares import BLOCK, blocks, flat
from nbcnn.kernels.cpu.simd_streams import fetch, put
from nbcnn.kernels.cpu.vector_math import formula
from nbcnn.kernels.impl import Impl, Scratch, always
from nbcnn.kernels.update_rules import RULES
from nbcnn.ops.optimizer import LEARNING_RATE, RULE, LambSpec, MixSpec, UpdateSpec


@cache
def rule_kernel(rule: str, dtype: str) -> jit.Kernel:
    """`a`, `b`: any arrays where the rule has no such state."""
    function, states = RULES[rule]
    f, number = formula(function, dtype), np.dtype(dtype).type

    @jit.kernel(constants=(rule, dtype))
    def update(task, thread, spec, w, g, hyper, a, b):
        rate = number(hyper[LEARNING_RATE])
        decay = number(1.0 - hyper[LEARNING_RATE] * spec.weight_decay)
        p, q, r = number(hyper[RULE]), number(hyper[RULE + 1]), number(hyper[RULE + 2])
        s, t, u = number(hyper[RULE + 3]), number(hyper[RULE + 4]), number(hyper[RULE + 5])
        for i in range(task * BLOCK, min((task + 1) * BLOCK, spec.n)):
            first = fetch(a, i)
            second = fetch(b, i) if states > 1 else first
            weight, first, second = f(
                fetch(w, i) * decay, fetch(g, i), first, second, rate, p, q, r, s, t, u
            )
            put(a, i, first, 0)
            if states > 1:
                put(b, i, second, 1)
            put(w, i, weight, 2)

    return update


@cache
def impls(op) -> tuple[Impl, ...]:
    def bind(
        spec: UpdateSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
    ) -> list[Call]:
        w, g, hyper, *states = map(flat, inputs)
        kernel = rule_kernel(op.rule, w.dtype.name)
        return [Call(kernel, blocks(spec.n), (spec, w, g, hyper, states[0], states[-1]))]

    return (Impl("loop", always, bind),)


@jit.always_inline
def slab_of(segments, per, task):
    """(first, stop) element of a task: one of `per` slabs of a segment."""
    segment, slab = task // per, task % per
    begin = segments[2 * segment]
    length = segments[2 * segment + 1] - begin
    return begin + length * slab // per, begin + length * (slab + 1) // per


@jit.kernel
def lamb_direction(task, thread, spec, per, w, g, hyper, m, v, segments, direction, parts):
    """parts: sums of squares of a slab's weights, after their decay, and of its direction."""
    number = w.dtype.type
    rest_1, rest_2 = number(hyper[RULE]), number(hyper[RULE + 1])
    correction_1, correction_2 = number(hyper[RULE + 2]), number(hyper[RULE + 3])
    epsilon = number(hyper[RULE + 4])
    decay = number(1.0 - hyper[LEARNING_RATE] * spec.weight_decay)
    first, stop = slab_of(segments, per, task)
    for i in range(first, stop):
        gradient = fetch(g, i)
        mean = fetch(m, i) + rest_1 * (gradient - fetch(m, i))
        square = fetch(v, i) + rest_2 * (gradient * gradient - fetch(v, i))
        put(m, i, mean, 0)
        put(v, i, square, 1)
        put(w, i, fetch(w, i) * decay, 2)
        root = number(math.sqrt(square * correction_2))
        put(direction, i, mean * correction_1 / (root + epsilon), 3)
    weights = steps = 0.0
    for i in range(first, stop):
        weight, step = np.float64(w[i]), np.float64(direction[i])
        weights += weight * weight
        steps += step * step
    parts[2 * task] = weights
    parts[2 * task + 1] = steps


@jit.kernel
def lamb_ratios(task, thread, spec, per, parts, ratios):
    """One variable's ratio of norms. A NaN norm is not hidden."""
    weights = steps = 0.0
    for part in range(task * per, (task + 1) * per):
        weights += parts[2 * part]
        steps += parts[2 * part + 1]
    one = weights == 0.0 or steps == 0.0
    ratios[task] = 1.0 if one else math.sqrt(weights) / math.sqrt(steps)


@jit.kernel
def lamb_step(task, thread, spec, per, w, hyper, segments, direction, ratios):
    scale = w.dtype.type(hyper[LEARNING_RATE] * ratios[task // per])
    first, stop = slab_of(segments, per, task)
    for i in range(first, stop):
        put(w, i, fetch(w, i) - scale * fetch(direction, i), 0)


def slabs_per_segment(spec: LambSpec) -> int:
    return min(16, max(1, blocks(spec.n)))


def lamb_scratch(spec: LambSpec, dtype: str, caps) -> dict[str, Scratch]:
    tasks = spec.segments * slabs_per_segment(spec)
    return {
        "direction": Scratch((spec.n,), dtype),
        "parts": Scratch((2 * tasks,), "float64"),
        "ratios": Scratch((spec.segments,), "float64"),
    }


def bind_lamb(
    spec: LambSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    w, g, hyper, m, v, segments = map(flat, inputs)
    direction, parts, ratios = scratch["direction"], scratch["parts"], scratch["ratios"]
    per, tasks = slabs_per_segment(spec), len(parts) // 2
    arrays = (w, g, hyper, m, v, segments, direction, parts)
    return [
        Call(lamb_direction, tasks, (spec, per, *arrays)),
        Call(lamb_ratios, spec.segments, (spec, per, parts, ratios)),
        Call(lamb_step, tasks, (spec, per, w, hyper, segments, direction, ratios)),
    ]


@jit.kernel
def mix(task, thread, spec, target, value):
    number = target.dtype.type
    keep, rest = number(spec.keep), number(spec.rest)
    first, stop = task * BLOCK, min((task + 1) * BLOCK, spec.n)
    if spec.keep == 0.0 and spec.rest == 0.0:
        for i in range(first, stop):
            put(target, i, number(0), 0)
    elif spec.keep == 0.0:
        for i in range(first, stop):
            put(target, i, rest * fetch(value, i), 0)
    elif spec.rest == 0.0:
        for i in range(first, stop):
            put(target, i, keep * fetch(target, i), 0)
    else:
        for i in range(first, stop):
            put(target, i, keep * fetch(target, i) + rest * fetch(value, i), 0)


def bind_mix(spec: MixSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict) -> list[Call]:
    return [Call(mix, blocks(spec.n), (spec, *map(flat, inputs)))]


lamb_impl = Impl("slabs", always, bind_lamb, lamb_scratch)
mix_impl = Impl("loop", always, bind_mix)
