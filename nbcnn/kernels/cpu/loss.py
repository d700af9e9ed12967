"""Softmax and cross-entropies over rows, forward and backward.

    p = exp(x - max) / sum exp(x - max)        loss = log sum exp(x - max) - sum t (x - max)

A task is some whole rows, about 16 thousand elements. A row is read from memory once: it stays in
the first cache while its maximum, its exponentials and their sum are taken, each in a loop of its
own, of whole vectors (`rows_micro.py`). Class numbers are compared, never trusted: a row whose
number is out of range has loss NaN and gradient 0.
"""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from nbcnn.kernels.cpu import jit, simd
from nbcnn.kernels.cpu.blocking import Tile, register_tile
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.rows_micro import (
    MOST_KEPT,
    row_exponentials,
    row_gradient,
    row_largest,
    row_multiple,
    short_row_softmax,
)
from nbcnn.kernels.cpu.shares import BLOCK, blocks, flat
from nbcnn.kernels.cpu.simd_streams import again, fetch, put
from nbcnn.kernels.cpu.types import uintp
from nbcnn.kernels.cpu.vector_math import elementary
from nbcnn.kernels.impl import Impl, Scratch, always, no_scratch
from nbcnn.ops.loss import EPSILON, RowsSpec

RUN = 512  # elements summed before they join the row's sum
NUMBER = {4: np.float32, 8: np.float64}


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
def softmax_kernel(tile: Tile) -> jit.Kernel:
    largest, exponentials, multiple = row_largest(tile), row_exponentials(tile), row_multiple(tile)
    one = NUMBER[tile.item](1)

    @jit.kernel(constants=(tile,))
    def softmax(task, thread, spec, per, x, y):
        for row in range(task * per, min((task + 1) * per, spec.rows)):
            at = row * spec.classes * tile.item
            source, target = simd.address(x) + at, simd.address(y) + at
            shift = largest(source, spec.classes)
            total = exponentials(source, target, spec.classes, shift)
            multiple(target, target, spec.classes, one / total)

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
def log_softmax_kernel(tile: Tile) -> jit.Kernel:
    number, largest = NUMBER[tile.item], row_largest(tile)
    exp, log = (elementary(name, number.__name__) for name in ("exp", "log"))

    @jit.kernel(constants=(tile,))
    def log_softmax(task, thread, spec, per, x, y):
        for row in range(task * per, min((task + 1) * per, spec.rows)):
            at, total = row * spec.classes, number(0)
            shift = largest(simd.address(x) + at * tile.item, spec.classes)
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
def log_softmax_dx_kernel(tile: Tile) -> jit.Kernel:
    exp = elementary("exp", NUMBER[tile.item].__name__)

    @jit.kernel(constants=(tile,))
    def log_softmax_dx(task, thread, spec, per, y, dy, dx):
        for row in range(task * per, min((task + 1) * per, spec.rows)):
            at = row * spec.classes
            total = summed(dy, at, spec.classes)
            for k in range(spec.classes):
                put(dx, at + k, fetch(dy, at + k) - exp(fetch(y, at + k)) * total, 0)

    return log_softmax_dx


@cache
def softmax_crossentropy_kernel(tile: Tile, sparse: bool) -> jit.Kernel:
    """Logarithms, which take as long as a short row, are taken of many rows at a time."""
    largest, exponentials, multiple = row_largest(tile), row_exponentials(tile), row_multiple(tile)
    softmax, short, number = short_row_softmax(tile), MOST_KEPT * tile.lanes, NUMBER[tile.item]
    log, nan, one = elementary("log", number.__name__), number(np.nan), number(1)

    @jit.kernel(constants=(tile, sparse))
    def softmax_crossentropy(task, thread, spec, per, t, x, loss, p, totals):
        classes, first = spec.classes, task * per
        stop, own = min(first + per, spec.rows), totals[thread]
        for row in range(first, stop):
            at = row * classes
            source, target = simd.address(x) + at * tile.item, simd.address(p) + at * tile.item
            if classes <= short:
                total = softmax(source, target, classes, simd.address(loss) + row * tile.item)
                shift = loss[row]
            else:
                shift = largest(source, classes)
                total = exponentials(source, target, classes, shift)
                multiple(target, target, classes, one / total)
            if sparse:
                label = int(t[row])
                loss[row] = shift - x[at + label] if 0 <= label < classes else nan
                own[row - first] = total
            else:
                size, value = log(total), number(0)
                for k in range(classes):
                    value += number(fetch(t, at + k)) * (size - (fetch(x, at + k) - shift))
                loss[row] = value
        if sparse:
            for row in range(first, stop):
                put(loss, row, again(loss, row, 0) + log(fetch(own, row - first)), 0)

    return softmax_crossentropy


@cache
def softmax_crossentropy_dx_kernel(tile: Tile, sparse: bool) -> jit.Kernel:
    gradient, zero = row_gradient(tile), NUMBER[tile.item](0)

    @jit.kernel(constants=(tile, sparse))
    def softmax_crossentropy_dx(task, thread, spec, per, t, p, dloss, dx):
        number, classes = p.dtype.type, spec.classes
        for row in range(task * per, min((task + 1) * per, spec.rows)):
            at, scale = row * classes, dloss[row]
            if sparse:
                label = int(t[row])
                inside = 0 <= label < classes
                source, target = simd.address(p) + at * tile.item, simd.address(dx) + at * tile.item
                gradient(source, target, classes, label, scale if inside else zero)
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
def crossentropy_kernel(tile: Tile, sparse: bool) -> jit.Kernel:
    number = NUMBER[tile.item]
    log = elementary("log", number.__name__)
    low, high, nan = number(EPSILON), number(1.0 - EPSILON), number(np.nan)

    @jit.kernel(constants=(tile, sparse))
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
def crossentropy_dx_kernel(tile: Tile, sparse: bool) -> jit.Kernel:
    """With u = q / sum q and e = -t / u where the clip is not active: dq = (e - sum e u) / sum q,
    times dloss.
    """
    number = NUMBER[tile.item]
    low, high, zero = number(EPSILON), number(1.0 - EPSILON), number(0)

    @jit.kernel(constants=(tile, sparse))
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


def rows_per_task(spec: RowsSpec) -> int:
    return max(1, BLOCK // 4 // max(1, spec.classes))


def a_number_per_row(spec: RowsSpec, dtype: str, caps) -> dict[str, Scratch]:
    return {"rows": Scratch((caps.threads, rows_per_task(spec)), dtype)}


def rows_impl(
    kernel_of: Callable[[Tile], jit.Kernel],
    inplace: tuple[tuple[int, int], ...] = (),
    scratch_of: Callable[[RowsSpec, str, Caps], dict[str, Scratch]] = no_scratch,
) -> Impl:
    """An implementation that deals out rows; `kernel_of` gives the kernel for the register tile of
    the last output's type.
    """

    def bind(
        spec: RowsSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
    ) -> list[Call]:
        per = rows_per_task(spec)
        arrays = (*map(flat, inputs), *map(flat, outputs), *scratch.values())
        tasks = blocks(spec.rows, per) if spec.classes else 0
        kernel = kernel_of(register_tile(caps, outputs[-1].dtype.name))
        return [Call(kernel, tasks, (spec, per, *arrays))]

    return Impl("rows", always, bind, scratch_of, inplace=inplace)


softmax_impl = rows_impl(softmax_kernel, ((0, 0),))
softmax_dx_impl = rows_impl(lambda tile: softmax_dx, ((0, 0), (0, 1)))
log_softmax_impl = rows_impl(log_softmax_kernel, ((0, 0),))
log_softmax_dx_impl = rows_impl(log_softmax_dx_kernel, ((0, 0), (0, 1)))


def loss_impls(sparse: bool) -> tuple[Impl, Impl, Impl, Impl]:
    """Softmax cross-entropy and its gradient, cross-entropy of probabilities and its gradient."""
    return (
        rows_impl(
            lambda tile: softmax_crossentropy_kernel(tile, sparse), scratch_of=a_number_per_row
        ),
        rows_impl(lambda tile: softmax_crossentropy_dx_kernel(tile, sparse), ((0, 1),)),
        rows_impl(lambda tile: crossentropy_kernel(tile, sparse)),
        rows_impl(lambda tile: crossentropy_dx_kernel(tile, sparse)),
    )
