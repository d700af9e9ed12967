"""Softmax and cross-entropies over rows: one thread per row.

Sparse and dense targets differ in one function: the weight of class k in row r.
"""

from functools import cache
from math import exp, log

import numpy as np
from numba import cuda

from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import launch
from nbcnn.kernels.impl import Impl, always
from nbcnn.ops.loss import EPSILON


@jit.device
def row_max(s, x, first):
    """NaN wins, so that it reaches the result."""
    largest = x[first]
    for k in range(1, s.classes):
        v = x[first + k]
        if v > largest or v != v:
            largest = v
    return np.float64(largest)


@jit.device
def row_sum(s, x, first):
    total = np.float64(0.0)
    for k in range(s.classes):
        total += x[first + k]
    return total


@jit.device
def row_sum_exp(s, x, first, largest):
    total = np.float64(0.0)
    for k in range(s.classes):
        total += exp(np.float64(x[first + k]) - largest)
    return total


@jit.kernel
def softmax_kernel(s, x, y):
    for row in range(cuda.grid(1), s.rows, cuda.gridsize(1)):
        first = row * s.classes
        largest = row_max(s, x, first)
        total = row_sum_exp(s, x, first, largest)
        for k in range(first, first + s.classes):
            y[k] = exp(np.float64(x[k]) - largest) / total


@jit.kernel
def softmax_dx_kernel(s, y, dy, dx):
    for row in range(cuda.grid(1), s.rows, cuda.gridsize(1)):
        first, shared = row * s.classes, np.float64(0.0)
        for k in range(first, first + s.classes):
            shared += np.float64(y[k]) * dy[k]
        for k in range(first, first + s.classes):
            dx[k] = y[k] * (dy[k] - shared)


@jit.kernel
def log_softmax_kernel(s, x, y):
    for row in range(cuda.grid(1), s.rows, cuda.gridsize(1)):
        first = row * s.classes
        largest = row_max(s, x, first)
        shift = largest + log(row_sum_exp(s, x, first, largest))
        for k in range(first, first + s.classes):
            y[k] = x[k] - shift


@jit.kernel
def log_softmax_dx_kernel(s, y, dy, dx):
    for row in range(cuda.grid(1), s.rows, cuda.gridsize(1)):
        first = row * s.classes
        total = row_sum(s, dy, first)
        for k in range(first, first + s.classes):
            dx[k] = dy[k] - exp(np.float64(y[k])) * total


@jit.device
def sparse_target(s, t, row, k):
    return np.float64(1.0) if t[row] == k else np.float64(0.0)


@jit.device
def dense_target(s, t, row, k):
    return np.float64(t[row * s.classes + k])


@jit.device
def sparse_start(s, t, row):
    """What the loss of a row begins with: NaN for a class that does not exist."""
    return np.float64(0.0) if t[row] >= 0 and t[row] < s.classes else np.float64(np.nan)


@jit.device
def dense_start(s, t, row):
    return np.float64(0.0)


@jit.device
def clipped(p):
    p = EPSILON if p < EPSILON else p
    return 1.0 - EPSILON if p > 1.0 - EPSILON else p


@cache
def kernels(sparse: bool):
    """The four cross-entropy kernels for targets of one kind."""
    target = sparse_target if sparse else dense_target
    start = sparse_start if sparse else dense_start

    @jit.kernel
    def from_logits(s, t, x, loss, p):
        for row in range(cuda.grid(1), s.rows, cuda.gridsize(1)):
            first = row * s.classes
            largest = row_max(s, x, first)
            total = row_sum_exp(s, x, first, largest)
            log_total, value = log(total), start(s, t, row)
            for k in range(s.classes):
                z = np.float64(x[first + k]) - largest
                p[first + k] = exp(z) / total
                weight = target(s, t, row, k)
                if weight != 0.0:  # a class of weight 0 does not count, even at probability 0
                    value -= weight * (z - log_total)
            loss[row] = value

    @jit.kernel
    def from_logits_dx(s, t, p, dloss, dx):
        for row in range(cuda.grid(1), s.rows, cuda.gridsize(1)):
            weights = np.float64(0.0)
            for k in range(s.classes):
                weights += target(s, t, row, k)
            for k in range(s.classes):
                at = row * s.classes + k
                dx[at] = (p[at] * weights - target(s, t, row, k)) * dloss[row]

    @jit.kernel
    def from_probabilities(s, t, q, loss):
        for row in range(cuda.grid(1), s.rows, cuda.gridsize(1)):
            first = row * s.classes
            total, value = row_sum(s, q, first), start(s, t, row)
            for k in range(s.classes):
                weight = target(s, t, row, k)
                if weight != 0.0:
                    value -= weight * log(clipped(q[first + k] / total))
            loss[row] = value

    @jit.kernel
    def from_probabilities_dx(s, t, q, dloss, dq):
        """dp = -t / p inside the clip's range; through p = q / total: dq = (dp - sum_j dp_j p_j) /
        total.
        """
        for row in range(cuda.grid(1), s.rows, cuda.gridsize(1)):
            first = row * s.classes
            total, shared = row_sum(s, q, first), np.float64(0.0)
            for k in range(s.classes):
                p = q[first + k] / total
                if p >= EPSILON and p <= 1.0 - EPSILON:
                    shared += target(s, t, row, k)
            for k in range(s.classes):
                p, own = q[first + k] / total, np.float64(0.0)
                if p >= EPSILON and p <= 1.0 - EPSILON:
                    own = target(s, t, row, k) / p
                dq[first + k] = (shared - own) / total * dloss[row]

    return from_logits, from_logits_dx, from_probabilities, from_probabilities_dx


def rows_impl(kernel) -> Impl:
    """An implementation that is one launch over rows."""

    def bind(spec, caps, inputs, outputs, scratch):
        rows = spec.rows if spec.classes else 0
        return launch(kernel, caps, rows, spec, *inputs, *outputs)

    return Impl("plain", always, bind)


softmax = rows_impl(softmax_kernel)
softmax_dx = rows_impl(softmax_dx_kernel)
log_softmax = rows_impl(log_softmax_kernel)
log_softmax_dx = rows_impl(log_softmax_dx_kernel)


def crossentropy_impls(number: int):
    """A factory of implementations: kernel `number` of `kernels` for the op's kind of targets."""
    return lambda op: (rows_impl(kernels(op.sparse)[number]),)


softmax_crossentropy = crossentropy_impls(0)
softmax_crossentropy_dx = crossentropy_impls(1)
crossentropy = crossentropy_impls(2)
crossentropy_dx = crossentropy_impls(3)
