"""Softmax and cross-entropies over rows: several threads walk along a row (`lanes.py`) and find its
largest number, its sum and its loss together; sums are trees. All in the type of the data.

Sparse and dense targets differ in one function: the weight of class k in row r.
"""

from functools import cache
from math import exp, log

import numpy as np
from numba import cuda

from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.lanes import (
    add_lanes,
    along_rows,
    launch_blocks,
    max_lanes,
    row_place,
    threads,
)
from nbcnn.kernels.impl import Impl, always
from nbcnn.ops.loss import EPSILON


@cache
def softmax_kernel(dtype: str, size: int, logarithm: bool):
    number = np.dtype(dtype).type

    @jit.kernel(bounds=size, constants=(dtype, size, logarithm))
    def softmax(s, g, x, y):
        found = cuda.shared.array(size, number)
        sums = cuda.shared.array(size, number)
        t = cuda.threadIdx.x
        row, lane = row_place(g, cuda.blockIdx.x, t)
        first, stop = row * s.classes, s.classes if row < s.rows else 0
        largest, total = number(-np.inf), number(0)
        for k in range(lane, stop, g.lanes):
            v = x[first + k]
            if v > largest or v != v:
                largest = v
        found[t] = largest
        max_lanes(found, t, 1, lane, g.lanes)
        largest = found[t - lane]
        for k in range(lane, stop, g.lanes):
            total += number(exp(x[first + k] - largest))
        sums[t] = total
        add_lanes(sums, t, 1, lane, g.lanes, 1, 0)
        total = sums[t - lane]
        log_total = number(log(total)) if logarithm and stop > 0 else total
        for k in range(lane, stop, g.lanes):
            z = x[first + k] - largest
            y[first + k] = z - log_total if logarithm else number(exp(z)) / total

    return softmax


@cache
def softmax_gradient_kernel(dtype: str, size: int, logarithm: bool):
    number = np.dtype(dtype).type

    @jit.kernel(bounds=size, constants=(dtype, size, logarithm))
    def softmax_gradient(s, g, y, dy, dx):
        sums = cuda.shared.array(size, number)
        t = cuda.threadIdx.x
        row, lane = row_place(g, cuda.blockIdx.x, t)
        first, stop, total = row * s.classes, s.classes if row < s.rows else 0, number(0)
        for k in range(lane, stop, g.lanes):
            total += dy[first + k] if logarithm else y[first + k] * dy[first + k]
        sums[t] = total
        add_lanes(sums, t, 1, lane, g.lanes, 1, 0)
        total = sums[t - lane]
        for k in range(lane, stop, g.lanes):
            at = first + k
            if logarithm:
                dx[at] = dy[at] - number(exp(y[at])) * total
            else:
                dx[at] = y[at] * (dy[at] - total)

    return softmax_gradient


@cache
def targets(sparse: bool, dtype: str):
    """weight(s, t, row, k) of class k; start(s, t, row): what the loss of a row begins with, NaN
    for a class that does not exist.
    """
    number = np.dtype(dtype).type
    one, zero, nan = number(1), number(0), number(np.nan)

    @jit.device
    def sparse_weight(s, t, row, k):
        return one if t[row] == k else zero

    @jit.device
    def sparse_start(s, t, row):
        return zero if t[row] >= 0 and t[row] < s.classes else nan

    @jit.device
    def dense_weight(s, t, row, k):
        return number(t[row * s.classes + k])

    @jit.device
    def dense_start(s, t, row):
        return zero

    return (sparse_weight, sparse_start) if sparse else (dense_weight, dense_start)


@cache
def from_logits_kernel(dtype: str, size: int, sparse: bool):
    number, (weight_of, start) = np.dtype(dtype).type, targets(sparse, dtype)

    @jit.kernel(bounds=size, constants=(dtype, size, sparse))
    def from_logits(s, g, t, x, loss, p):
        found = cuda.shared.array(size, number)
        sums = cuda.shared.array(size, number)
        values = cuda.shared.array(size, number)
        thread = cuda.threadIdx.x
        row, lane = row_place(g, cuda.blockIdx.x, thread)
        first, stop = row * s.classes, s.classes if row < s.rows else 0
        largest, total, value = number(-np.inf), number(0), number(0)
        for k in range(lane, stop, g.lanes):
            v = x[first + k]
            if v > largest or v != v:
                largest = v
        found[thread] = largest
        max_lanes(found, thread, 1, lane, g.lanes)
        largest = found[thread - lane]
        for k in range(lane, stop, g.lanes):
            total += number(exp(x[first + k] - largest))
        sums[thread] = total
        add_lanes(sums, thread, 1, lane, g.lanes, 1, 0)
        total = sums[thread - lane]
        log_total = number(log(total)) if stop > 0 else total
        for k in range(lane, stop, g.lanes):
            z = x[first + k] - largest
            p[first + k] = number(exp(z)) / total
            weight = weight_of(s, t, row, k)
            if weight != 0:  # a class of weight 0 does not count, even at probability 0
                value -= weight * (z - log_total)
        values[thread] = value
        add_lanes(values, thread, 1, lane, g.lanes, 1, 0)
        if lane == 0 and stop > 0:
            loss[row] = start(s, t, row) + values[thread]

    return from_logits


@cache
def from_logits_gradient_kernel(dtype: str, size: int, sparse: bool):
    number, (weight_of, _) = np.dtype(dtype).type, targets(sparse, dtype)

    @jit.kernel(bounds=size, constants=(dtype, size, sparse))
    def from_logits_gradient(s, g, t, p, dloss, dx):
        sums = cuda.shared.array(size, number)
        thread = cuda.threadIdx.x
        row, lane = row_place(g, cuda.blockIdx.x, thread)
        first, stop, weights = row * s.classes, s.classes if row < s.rows else 0, number(0)
        for k in range(lane, stop, g.lanes):
            weights += weight_of(s, t, row, k)
        sums[thread] = weights
        add_lanes(sums, thread, 1, lane, g.lanes, 1, 0)
        weights = sums[thread - lane]
        for k in range(lane, stop, g.lanes):
            dx[first + k] = (p[first + k] * weights - weight_of(s, t, row, k)) * dloss[row]

    return from_logits_gradient


@cache
def from_probabilities_kernel(dtype: str, size: int, sparse: bool):
    number, (weight_of, start) = np.dtype(dtype).type, targets(sparse, dtype)
    least, most = number(EPSILON), number(1.0 - EPSILON)

    @jit.kernel(bounds=size, constants=(dtype, size, sparse))
    def from_probabilities(s, g, t, q, loss):
        sums = cuda.shared.array(size, number)
        values = cuda.shared.array(size, number)
        thread = cuda.threadIdx.x
        row, lane = row_place(g, cuda.blockIdx.x, thread)
        first, stop = row * s.classes, s.classes if row < s.rows else 0
        total, value = number(0), number(0)
        for k in range(lane, stop, g.lanes):
            total += q[first + k]
        sums[thread] = total
        add_lanes(sums, thread, 1, lane, g.lanes, 1, 0)
        total = sums[thread - lane]
        for k in range(lane, stop, g.lanes):
            weight = weight_of(s, t, row, k)
            if weight != 0:
                p = q[first + k] / total
                p = least if p < least else p
                value -= weight * number(log(most if p > most else p))
        values[thread] = value
        add_lanes(values, thread, 1, lane, g.lanes, 1, 0)
        if lane == 0 and stop > 0:
            loss[row] = start(s, t, row) + values[thread]

    return from_probabilities


@cache
def from_probabilities_gradient_kernel(dtype: str, size: int, sparse: bool):
    """dp = -t / p inside the clip's range; through p = q / total: dq = (dp - sum_j dp_j p_j) /
    total.
    """
    number, (weight_of, _) = np.dtype(dtype).type, targets(sparse, dtype)
    least, most = number(EPSILON), number(1.0 - EPSILON)

    @jit.kernel(bounds=size, constants=(dtype, size, sparse))
    def from_probabilities_gradient(s, g, t, q, dloss, dq):
        sums = cuda.shared.array(size, number)
        inside = cuda.shared.array(size, number)
        thread = cuda.threadIdx.x
        row, lane = row_place(g, cuda.blockIdx.x, thread)
        first, stop = row * s.classes, s.classes if row < s.rows else 0
        total, shared = number(0), number(0)
        for k in range(lane, stop, g.lanes):
            total += q[first + k]
        sums[thread] = total
        add_lanes(sums, thread, 1, lane, g.lanes, 1, 0)
        total = sums[thread - lane]
        for k in range(lane, stop, g.lanes):
            p = q[first + k] / total
            if p >= least and p <= most:
                shared += weight_of(s, t, row, k)
        inside[thread] = shared
        add_lanes(inside, thread, 1, lane, g.lanes, 1, 0)
        shared = inside[thread - lane]
        for k in range(lane, stop, g.lanes):
            p, own = q[first + k] / total, number(0)
            if p >= least and p <= most:
                own = weight_of(s, t, row, k) / p
            dq[first + k] = (shared - own) / total * dloss[row]

    return from_probabilities_gradient


def rows_impl(kernel_of, *which) -> Impl:
    """An implementation that is one launch over rows."""

    def bind(spec, caps, inputs, outputs, scratch):
        kernel = kernel_of(str(outputs[0].dtype), threads(caps), *which)
        g = along_rows(spec.rows, spec.classes, caps)
        blocks = g.blocks if spec.classes else 0
        return launch_blocks(kernel, caps, blocks, spec, g, *inputs, *outputs)

    return Impl("rows", always, bind)


softmax = rows_impl(softmax_kernel, False)
softmax_dx = rows_impl(softmax_gradient_kernel, False)
log_softmax = rows_impl(softmax_kernel, True)
log_softmax_dx = rows_impl(softmax_gradient_kernel, True)


def loss_impls(sparse: bool) -> tuple[Impl, ...]:
    """From logits and its gradient, from probabilities and its gradient."""
    kernels = (
        from_logits_kernel,
        from_logits_gradient_kernel,
        from_probabilities_kernel,
        from_probabilities_gradient_kernel,
    )
    return tuple(rows_impl(kernel, sparse) for kernel in kernels)
