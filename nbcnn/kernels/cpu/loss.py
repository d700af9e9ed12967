"""Softmax and cross-entropies over rows, forward and backward.

    p = exp(x - max) / sum exp(x - max)        loss = log sum exp(x - max) - sum t (x - max)

A task is some whole rows, about 16 thousand elements. A row is read from memory once: it stays in
the first cache while its maximum, its exponentials and their sum are taken, each in a loop of its
own that LLVM vectorizes. Class numbers are compared, never trusted: a row whose number is out of
range has loss NaN and gradient 0.
"""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from nbcnn.kernels.cpu import jit
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.cpu.shares import BLOCK, blocks, flat
from nbcnn.kernels.cpu.simd_streams import fetch, of_order_key, order_key, put
from nbcnn.kernels.cpu.types import uintp
from nbcnn.kernels.cpu.vector_math import elementary
from nbcnn.kernels.impl import Impl, always
from nbcnn.ops.loss import EPSILON, RowsSpec


@jit.always_inline
def largest_float32(x, at, count):
    """Maximum of a row. NaN may be taken or not: the result has it through its exponential."""
    best = order_key(fetch(x, at))
    for k in range(1, count):
        key = order_key(fetch(x, at + k))
        best = key if key > best else best
    return of_order_key(best)


@jit.always_inline
def largest_float64(x, at, count):
    best = x[at]
    for k in range(1, count):
        value = fetch(x, at + k)
        best = value if value > best else best
    return best


RUN = 512  # elements summed before they join the row's sum
LARGEST = {"float32": largest_float32, "float64": largest_float64}


@jit.always_inline
def summed(x, at, count):
    """Sum of a row, in runs that keep float32 sums short."""
    zero = x.dtype.type(0)
    total = zero
    for first in range(0, count, RUN):
        part = zero
        for k in range(first, min(first + RUN, count)):
            part += x[uintp(at + k)]  # unsigned: plain indexing, and the loop vectorizes
        total += part
    return total


@cache
def exponentials(dtype: str):
    """exp(x - shift) of a row into y, and their sum."""
    exp = elementary("exp", dtype)

    @jit.always_inline
    def row(x, y, at, count, shift):
        for k in range(count):
            put(y, at + k, exp(fetch(x, at + k) - shift), 0)
        return summed(y, at, count)

    return row


@cache
def softmax_kernel(dtype: str) -> jit.Kernel:
    exponential, largest = exponentials(dtype), LARGEST[dtype]

    @jit.kernel(constants=(dtype,))
    def softmax(task, thread, spec, per, x, y):
        for row in range(task * per, min((task + 1) * per, spec.rows)):
            at = row * spec.classes
            total = exponential(x, y, at, spec.classes, largest(x, at, spec.classes))
            for k in range(spec.classes):
                put(y, at + k, y[uintp(at + k)] / total, 0)

    return softmax


@jit.kernel
def softmax_dx(task, thread, spec, per, y, dy, dx):
    for row in range(task * per, min((task + 1) * per, spec.rows)):
        zero = y.dtype.type(0)
        at, total = row * spec.classes, zero
        for first in range(0, spec.classes, RUN):
            part = zero
            for k in range(first, min(first + RUN, spec.classes)):
                part += fetch(y, at + k) * fetch(dy, at + k)
            total += part
        for k in range(spec.classes):
            put(dx, at + k, fetch(y, at + k) * (fetch(dy, at + k) - total), 0)


@cache
def log_softmax_kernel(dtype: str) -> jit.Kernel:
    exp, log, number = elementary("exp", dtype), elementary("log", dtype), np.dtype(dtype).type
    largest = LARGEST[dtype]

    @jit.kernel(constants=(dtype,))
    def log_softmax(task, thread, spec, per, x, y):
        for row in range(task * per, min((task + 1) * per, spec.rows)):
            at, total = row * spec.classes, number(0)
            shift = largest(x, at, spec.classes)
            for first in range(0, spec.classes, RUN):
                part = number(0)
                for k in range(first, min(first + RUN, spec.classes)):
                    part += exp(fetch(x, at + k) - shift)
                total += part
            size = log(total)
            for k in range(spec.classes):
                put(y, at + k, (fetch(x, at + k) - shift) - size, 0)

    return log_softmax


@cache
def log_softmax_dx_kernel(dtype: str) -> jit.Kernel:
    exp = elementary("exp", dtype)

    @jit.kernel(constants=(dtype,))
    def log_softmax_dx(task, thread, spec, per, y, dy, dx):
        for row in range(task * per, min((task + 1) * per, spec.rows)):
            at = row * spec.classes
            total = summed(dy, at, spec.classes)
            for k in range(spec.classes):
                put(dx, at + k, fetch(dy, at + k) - exp(fetch(y, at + k)) * total, 0)

    return log_softmax_dx


@cache
def softmax_crossentropy_kernel(dtype: str, sparse: bool) -> jit.Kernel:
    exponential, log, number = exponentials(dtype), elementary("log", dtype), np.dtype(dtype).type
    largest, nan = LARGEST[dtype], number(np.nan)

    @jit.kernel(constants=(dtype, sparse))
    def softmax_crossentropy(task, thread, spec, per, t, x, loss, p):
        classes = spec.classes
        for row in range(task * per, min((task + 1) * per, spec.rows)):
            at = row * classes
            shift = largest(x, at, classes)
            total = exponential(x, p, at, classes, shift)
            size = log(total)
            for k in range(classes):
                put(p, at + k, p[uintp(at + k)] / total, 0)
            if sparse:
                label = int(t[row])
                loss[row] = size - (x[at + label] - shift) if 0 <= label < classes else nan
            else:
                value = number(0)
                for k in range(classes):
                    value += number(fetch(t, at + k)) * (size - (fetch(x, at + k) - shift))
                loss[row] = value

    return softmax_crossentropy


@cache
def softmax_crossentropy_dx_kernel(sparse: bool) -> jit.Kernel:
    @jit.kernel(constants=(sparse,))
    def softmax_crossentropy_dx(task, thread, spec, per, t, p, dloss, dx):
        number, classes = p.dtype.type, spec.classes
        for row in range(task * per, min((task + 1) * per, spec.rows)):
            at, scale = row * classes, dloss[row]
            if sparse:
                label = int(t[row])
                inside = 0 <= label < classes
                scale = scale if inside else number(0)
                for k in range(classes):
                    put(dx, at + k, fetch(p, at + k) * scale, 0)
                if inside:
                    dx[at + label] -= scale
            else:
                total = number(0)
                for k in range(classes):
                    total += number(fetch(t, at + k))
                for k in range(classes):
                    put(
                        dx, at + k, (fetch(p, at + k) * total - number(fetch(t, at + k))) * scale, 0
                    )

    return softmax_crossentropy_dx


@cache
def crossentropy_kernel(dtype: str, sparse: bool) -> jit.Kernel:
    log, number = elementary("log", dtype), np.dtype(dtype).type
    low, high, nan = number(EPSILON), number(1.0 - EPSILON), number(np.nan)

    @jit.kernel(constants=(dtype, sparse))
    def crossentropy(task, thread, spec, per, t, q, loss):
        classes = spec.classes
        for row in range(task * per, min((task + 1) * per, spec.rows)):
            at, value = row * classes, number(0)
            total = summed(q, at, classes)
            if sparse:
                label = int(t[row])
                value = nan
                if 0 <= label < classes:
                    share = q[at + label] / total
                    share = low if share < low else share
                    value = -log(high if share > high else share)
            else:
                for k in range(classes):
                    share = fetch(q, at + k) / total
                    share = low if share < low else share
                    value -= number(fetch(t, at + k)) * log(high if share > high else share)
            loss[row] = value

    return crossentropy


@cache
def crossentropy_dx_kernel(dtype: str, sparse: bool) -> jit.Kernel:
    """With u = q / sum q and e = -t / u where the clip is not active: dq = (e - sum e u) / sum q,
    times dloss.
    """
    number = np.dtype(dtype).type
    low, high, zero = number(EPSILON), number(1.0 - EPSILON), number(0)

    @jit.kernel(constants=(dtype, sparse))
    def crossentropy_dx(task, thread, spec, per, t, q, dloss, dq):
        classes = spec.classes
        for row in range(task * per, min((task + 1) * per, spec.rows)):
            at, inner = row * classes, zero
            total = summed(q, at, classes)
            scale = dloss[row] / total
            if sparse:
                label = int(t[row])
                share = q[at + label] / total if 0 <= label < classes else zero
                active = low <= share <= high
                for k in range(classes):
                    put(dq, at + k, scale if active else zero, 0)
                if active:
                    dq[at + label] = scale - dloss[row] / q[at + label]
            else:
                for k in range(classes):
                    share = fetch(q, at + k) / total
                    inner += number(fetch(t, at + k)) if low <= share <= high else zero
                for k in range(classes):
                    share = fetch(q, at + k) / total
                    slope = number(fetch(t, at + k)) / share if low <= share <= high else zero
                    put(dq, at + k, (inner - slope) * scale, 0)

    return crossentropy_dx


def rows_impl(
    kernel_of: Callable[[str], jit.Kernel], inplace: tuple[tuple[int, int], ...] = ()
) -> Impl:
    """An implementation that deals out rows; `kernel_of` gives the kernel for the type of the last
    output.
    """

    def bind(
        spec: RowsSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
    ) -> list[Call]:
        per = max(1, BLOCK // 4 // max(1, spec.classes))
        arrays = (*map(flat, inputs), *map(flat, outputs))
        tasks = blocks(spec.rows, per) if spec.classes else 0
        return [Call(kernel_of(outputs[-1].dtype.name), tasks, (spec, per, *arrays))]

    return Impl("rows", always, bind, inplace=inplace)


softmax_impl = rows_impl(softmax_kernel, ((0, 0),))
softmax_dx_impl = rows_impl(lambda dtype: softmax_dx, ((0, 0), (0, 1)))
log_softmax_impl = rows_impl(log_softmax_kernel, ((0, 0),))
log_softmax_dx_impl = rows_impl(log_softmax_dx_kernel, ((0, 0), (0, 1)))


def loss_impls(sparse: bool) -> tuple[Impl, Impl, Impl, Impl]:
    """Softmax cross-entropy and its gradient, cross-entropy of probabilities and its gradient."""
    return (
        rows_impl(lambda dtype: softmax_crossentropy_kernel(dtype, sparse)),
        rows_impl(lambda dtype: softmax_crossentropy_dx_kernel(sparse), ((0, 1),)),
        rows_impl(lambda dtype: crossentropy_kernel(dtype, sparse)),
        rows_impl(lambda dtype: crossentropy_dx_kernel(dtype, sparse)),
    )
