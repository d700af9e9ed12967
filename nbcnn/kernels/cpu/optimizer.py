"""Updates of one flat buffer, gradient clipping, assignments, sums over the batch.

Each optimizer reads and writes every array once, in blocks of 16 thousand elements: as fast as
memory allows. Scalars (learning rate, bias corrections) are computed in float64 from `hyper` by
each task and rounded once. Norms are sums of squares in float64 over slabs of each variable, added
in order.
"""

import math
from collections.abc import Sequence

import numpy as np

from nbcnn.kernels.cpu import jit
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.cpu.shares import BLOCK, blocks, flat
from nbcnn.kernels.cpu.simd_streams import fetch, put
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


@jit.kernel
def sgd(task, thread, spec, w, g, hyper):
    number = w.dtype.type
    rate = number(hyper[LEARNING_RATE])
    decay = number(1.0 - hyper[LEARNING_RATE] * spec.weight_decay)
    for i in range(task * BLOCK, min((task + 1) * BLOCK, spec.n)):
        put(w, i, fetch(w, i) * decay - rate * fetch(g, i), 0)


@jit.kernel
def sgd_momentum(task, thread, spec, w, g, hyper, v):
    number = w.dtype.type
    rate, momentum = number(hyper[LEARNING_RATE]), number(spec.momentum)
    decay = number(1.0 - hyper[LEARNING_RATE] * spec.weight_decay)
    for i in range(task * BLOCK, min((task + 1) * BLOCK, spec.n)):
        step = rate * fetch(g, i)
        velocity = momentum * fetch(v, i) - step
        ahead = momentum * velocity - step
        put(v, i, velocity, 0)
        put(w, i, fetch(w, i) * decay + (ahead if spec.nesterov else velocity), 1)


@jit.kernel
def rmsprop(task, thread, spec, w, g, hyper, s, m, a):
    """`m`, `a`: any array where there is no momentum or the mean is not subtracted."""
    number = w.dtype.type
    rate, rho, momentum = number(hyper[LEARNING_RATE]), number(spec.rho), number(spec.momentum)
    rest, epsilon, zero = number(1.0 - spec.rho), number(spec.epsilon), number(0)
    decay = number(1.0 - hyper[LEARNING_RATE] * spec.weight_decay)
    for i in range(task * BLOCK, min((task + 1) * BLOCK, spec.n)):
        gradient = fetch(g, i)
        square = rho * fetch(s, i) + rest * gradient * gradient
        put(s, i, square, 0)
        mean = zero
        if spec.centered:
            mean = rho * fetch(a, i) + rest * gradient
            put(a, i, mean, 1)
        step = rate * gradient / number(math.sqrt(square - mean * mean + epsilon))
        if spec.momentum > 0.0:
            step += momentum * fetch(m, i)
            put(m, i, step, 2)
        put(w, i, fetch(w, i) * decay - step, 3)


@jit.kernel
def adam(task, thread, spec, w, g, hyper, m, v, largest):
    """`largest`: any array where `amsgrad` is 0."""
    number = w.dtype.type
    rate, step = hyper[LEARNING_RATE], hyper[STEP]
    scale = number(rate * math.sqrt(1.0 - spec.beta_2**step) / (1.0 - spec.beta_1**step))
    rest_1, rest_2 = number(1.0 - spec.beta_1), number(1.0 - spec.beta_2)
    decay, epsilon = number(1.0 - rate * spec.weight_decay), number(spec.epsilon)
    for i in range(task * BLOCK, min((task + 1) * BLOCK, spec.n)):
        gradient = fetch(g, i)
        mean = fetch(m, i) + rest_1 * (gradient - fetch(m, i))
        square = fetch(v, i) + rest_2 * (gradient * gradient - fetch(v, i))
        put(m, i, mean, 0)
        put(v, i, square, 1)
        if spec.amsgrad:
            square = max(square, fetch(largest, i))
            put(largest, i, square, 2)
        put(w, i, fetch(w, i) * decay - scale * mean / (number(math.sqrt(square)) + epsilon), 3)


@jit.kernel
def clip_value(task, thread, spec, g):
    high = g.dtype.type(spec.value)
    for i in range(task * BLOCK, min((task + 1) * BLOCK, spec.n)):
        value = fetch(g, i)
        value = high if value > high else value
        put(g, i, -high if value < -high else value, 0)


@jit.always_inline
def slab_of(bounds, per, task):
    """(first, stop) element of a task: one of `per` slabs of a segment."""
    segment, slab = task // per, task % per
    begin, length = bounds[segment], bounds[segment + 1] - bounds[segment]
    return begin + length * slab // per, begin + length * (slab + 1) // per


@jit.kernel
def squares(task, thread, spec, per, g, bounds, parts):
    """Sum of squares of one slab."""
    first, stop = slab_of(bounds, per, task)
    total = 0.0
    for i in range(stop - first):
        value = np.float64(fetch(g, first + i))
        total += value * value
    parts[task] = total


@jit.kernel
def clip_factors(task, thread, spec, parts, factors):
    """What to multiply by, from equal shares of the partial sums. A NaN norm is not hidden."""
    share = parts.size // factors.size
    total = 0.0
    for part in range(task * share, (task + 1) * share):
        total += parts[part]
    norm = math.sqrt(total)
    factors[task] = 1.0 if norm <= spec.value else spec.value / norm


@jit.kernel
def clip_scale(task, thread, spec, per, g, bounds, factors):
    factor = factors[task // per * factors.size // spec.segments]
    if factor != 1.0:
        first, stop = slab_of(bounds, per, task)
        for i in range(first, stop):
            put(g, i, fetch(g, i) * g.dtype.type(factor), 0)


@jit.kernel
def assign(task, thread, spec, target, value):
    number = target.dtype.type
    for i in range(task * BLOCK, min((task + 1) * BLOCK, spec.n)):
        put(target, i, number(fetch(value, i)), 0)


@jit.kernel
def accumulate(task, thread, spec, total, value, weight):
    """One task: a batch has few values."""
    amount = weights = 0.0
    for i in range(spec.n):
        amount += np.float64(value[i]) * np.float64(weight[i])
        weights += np.float64(weight[i])
    total[0] += amount
    total[1] += weights


def bind_sgd(spec: SGDSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict) -> list[Call]:
    kernel = sgd_momentum if len(inputs) > 3 else sgd
    return [Call(kernel, blocks(spec.n), (spec, *map(flat, inputs)))]


def bind_rmsprop(
    spec: RMSpropSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    w, g, hyper, s, *more = map(flat, inputs)
    m = more.pop(0) if spec.momentum else w
    a = more.pop(0) if spec.centered else w
    return [Call(rmsprop, blocks(spec.n), (spec, w, g, hyper, s, m, a))]


def bind_adam(
    spec: AdamSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    w, g, hyper, m, v, *largest = map(flat, inputs)
    return [
        Call(adam, blocks(spec.n), (spec, w, g, hyper, m, v, largest[0] if spec.amsgrad else w))
    ]


def bind_clip_value(
    spec: ClipSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    return [Call(clip_value, blocks(spec.n), (spec, flat(inputs[0])))]


def slabs_per_segment(spec: ClipSpec) -> int:
    return min(16, max(1, blocks(spec.n)))


def clip_scratch(together: bool):
    def scratch(spec: ClipSpec, dtype: str, caps) -> dict[str, Scratch]:
        parts = Scratch((spec.segments * slabs_per_segment(spec),), "float64")
        return {"parts": parts, "factors": Scratch((1 if together else spec.segments,), "float64")}

    return scratch


def bind_clip_norm(
    spec: ClipSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    """Per segment or for all together: as many as there are factors."""
    (g, bounds), parts, factors = map(flat, inputs), scratch["parts"], scratch["factors"]
    per = slabs_per_segment(spec)
    return [
        Call(squares, parts.size, (spec, per, g, bounds, parts)),
        Call(clip_factors, factors.size, (spec, parts, factors)),
        Call(clip_scale, parts.size, (spec, per, g, bounds, factors)),
    ]


def bind_assign(
    spec: AssignSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    return [Call(assign, blocks(spec.n), (spec, *map(flat, inputs)))]


def bind_accumulate(
    spec: AssignSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    return [Call(accumulate, 1, (spec, *map(flat, inputs)))]


sgd_impl = Impl("loop", always, bind_sgd)
rmsprop_impl = Impl("loop", always, bind_rmsprop)
adam_impl = Impl("loop", always, bind_adam)
clip_value_impl = Impl("loop", always, bind_clip_value)
clip_norm_impl = Impl("blocks", always, bind_clip_norm, clip_scratch(False))
clip_global_norm_impl = Impl("blocks", always, bind_clip_norm, clip_scratch(True))
assign_impl = Impl("loop", always, bind_assign)
accumulate_impl = Impl("loop", always, bind_accumulate)
