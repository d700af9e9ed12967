"""Updates in place, clipping, assignment and running sums: one thread per element, arithmetic in
float64.

Sums of squares go in two steps: partial sums over every PARTS-th element, then these in order.
"""

from math import sqrt

import numpy as np
from numba import cuda

from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import launch
from nbcnn.kernels.impl import Impl, Scratch, always
from nbcnn.ops.optimizer import LEARNING_RATE, STEP

PARTS = 256


@jit.kernel
def sgd_kernel(s, w, g, hyper, v):
    """`v`: any array where momentum is 0."""
    rate = hyper[LEARNING_RATE]
    for i in range(cuda.grid(1), s.n, cuda.gridsize(1)):
        step = -rate * g[i]
        if s.momentum != 0.0:
            velocity = s.momentum * v[i] + step
            v[i] = velocity
            step = s.momentum * velocity + step if s.nesterov else velocity
        w[i] = w[i] * (1.0 - rate * s.weight_decay) + step


@jit.kernel
def rmsprop_kernel(s, w, g, hyper, square, m, mean):
    """`m`, `mean`: any arrays where momentum is 0 or the mean is not subtracted."""
    rate = hyper[LEARNING_RATE]
    for i in range(cuda.grid(1), s.n, cuda.gridsize(1)):
        gradient = np.float64(g[i])
        spread = s.rho * square[i] + (1.0 - s.rho) * gradient * gradient
        square[i] = spread
        if s.centered:
            center = s.rho * mean[i] + (1.0 - s.rho) * gradient
            mean[i] = center
            spread -= center * center
        step = rate * gradient / sqrt(spread + s.epsilon)
        if s.momentum != 0.0:
            step += s.momentum * m[i]
            m[i] = step
        w[i] = w[i] * (1.0 - rate * s.weight_decay) - step


@jit.kernel
def adam_kernel(s, w, g, hyper, m, v, largest):
    """`largest`: any array where `amsgrad` is 0."""
    rate, step = hyper[LEARNING_RATE], hyper[STEP]
    scale = rate * sqrt(1.0 - s.beta_2**step) / (1.0 - s.beta_1**step)
    for i in range(cuda.grid(1), s.n, cuda.gridsize(1)):
        gradient = np.float64(g[i])
        mean = m[i] + (1.0 - s.beta_1) * (gradient - m[i])
        square = v[i] + (1.0 - s.beta_2) * (gradient * gradient - v[i])
        m[i] = mean
        v[i] = square
        if s.amsgrad:
            square = max(square, np.float64(largest[i]))
            largest[i] = square
        w[i] = w[i] * (1.0 - rate * s.weight_decay) - scale * mean / (sqrt(square) + s.epsilon)


@jit.kernel
def clip_value_kernel(s, g):
    for i in range(cuda.grid(1), s.n, cuda.gridsize(1)):
        if g[i] > s.value:
            g[i] = s.value
        elif g[i] < -s.value:
            g[i] = -s.value


@jit.kernel
def squares_kernel(s, g, bounds, parts):
    for at in range(cuda.grid(1), s.segments * PARTS, cuda.gridsize(1)):
        segment = at // PARTS
        total = np.float64(0.0)
        for i in range(bounds[segment] + at % PARTS, bounds[segment + 1], PARTS):
            total += np.float64(g[i]) * g[i]
        parts[at] = total


@jit.kernel
def norms_kernel(s, together, parts, norms):
    """The norm of each segment, or of all `together` in their place."""
    for segment in range(cuda.grid(1), s.segments, cuda.gridsize(1)):
        first, count = segment * PARTS, PARTS
        if together:
            first, count = 0, s.segments * PARTS
        total = np.float64(0.0)
        for part in range(first, first + count):
            total += parts[part]
        norms[segment] = sqrt(total)


@jit.kernel
def clip_scale_kernel(s, g, bounds, norms):
    for i in range(cuda.grid(1), s.n, cuda.gridsize(1)):
        low, high = 0, s.segments  # the segment of element i, by bisection
        while high - low > 1:
            middle = (low + high) // 2
            if bounds[middle] <= i:
                low = middle
            else:
                high = middle
        if not norms[low] <= s.value:  # also where it is NaN: the gradient is lost, and shows it
            g[i] = g[i] * (s.value / norms[low])


@jit.kernel
def assign_kernel(s, target, value):
    for i in range(cuda.grid(1), s.n, cuda.gridsize(1)):
        target[i] = value[i]


@jit.kernel
def accumulate_kernel(s, total, value, weight):
    """One thread: a batch has few values."""
    if cuda.grid(1) > 0:
        return
    amount, weights = np.float64(0.0), np.float64(0.0)
    for i in range(s.n):
        amount += np.float64(value[i]) * weight[i]
        weights += weight[i]
    total[0] += amount
    total[1] += weights


def bind_sgd(spec, caps, inputs, outputs, scratch):
    w, g, hyper, *v = inputs
    return launch(sgd_kernel, caps, spec.n, spec, w, g, hyper, v[0] if v else w)


def bind_rmsprop(spec, caps, inputs, outputs, scratch):
    w, g, hyper, square, *more = inputs
    m = more.pop(0) if spec.momentum else w
    mean = more.pop(0) if spec.centered else w
    return launch(rmsprop_kernel, caps, spec.n, spec, w, g, hyper, square, m, mean)


def bind_adam(spec, caps, inputs, outputs, scratch):
    w, g, hyper, m, v, *largest = inputs
    largest = largest[0] if spec.amsgrad else w
    return launch(adam_kernel, caps, spec.n, spec, w, g, hyper, m, v, largest)


def bind_clip_value(spec, caps, inputs, outputs, scratch):
    return launch(clip_value_kernel, caps, spec.n, spec, inputs[0])


def clip_scratch(spec, dtype, caps):
    return {
        "parts": Scratch((spec.segments * PARTS,), "float64"),
        "norms": Scratch((spec.segments,), "float64"),
    }


def bind_clip_norm(together: int):
    def bind(spec, caps, inputs, outputs, scratch):
        (g, bounds), parts, norms = inputs, scratch["parts"], scratch["norms"]
        return [
            *launch(squares_kernel, caps, parts.size, spec, g, bounds, parts),
            *launch(norms_kernel, caps, norms.size, spec, together, parts, norms),
            *launch(clip_scale_kernel, caps, spec.n, spec, g, bounds, norms),
        ]

    return bind


def bind_assign(spec, caps, inputs, outputs, scratch):
    return launch(assign_kernel, caps, spec.n, spec, *inputs)


def bind_accumulate(spec, caps, inputs, outputs, scratch):
    return launch(accumulate_kernel, caps, 1, spec, *inputs)


sgd = Impl("plain", always, bind_sgd)
rmsprop = Impl("plain", always, bind_rmsprop)
adam = Impl("plain", always, bind_adam)
clip_gradients_value = Impl("plain", always, bind_clip_value)
clip_gradients_norm = Impl("plain", always, bind_clip_norm(0), clip_scratch)
clip_gradients_global_norm = Impl("plain", always, bind_clip_norm(1), clip_scratch)
assign = Impl("plain", always, bind_assign)
accumulate = Impl("plain", always, bind_accumulate)
