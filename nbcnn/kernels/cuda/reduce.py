"""Reductions of (outer, length, inner) over `length`: sum, mean, product, extremes, arg-max,
arg-min.

    y[i, k] = f over j of x[i, j, k]

*A thread a result*, from first to last element, where there are results enough to fill a GPU and
neighbouring ones lie together, or where `length` is short.

*Blocks* otherwise: several threads fold every so many elements each, at most 64 of one result; then
their results are combined in shared memory, halves upon halves. If `inner` is 1 they walk along
rows, else down columns (`lanes.py`). Where `length` is long there are slabs of it, and a second
launch folds what they have left. Sums of float32 stay in float32: a thread adds few numbers, and
the rest is a tree; the second launch adds in float64.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import cuda

from nbcnn.kernels import scalar
from nbcnn.kernels.cuda import jit, lanes
from nbcnn.kernels.cuda.call import Launch, launch
from nbcnn.kernels.cuda.elementwise import computed_in
from nbcnn.kernels.cuda.index import divided, divider, is_far
from nbcnn.kernels.cuda.lanes import barrier
from nbcnn.kernels.impl import Impl, Scratch, always
from nbcnn.ops.reduce import ReduceSpec

COMBINE = {"sum": "add", "mean": "add", "prod": "multiply", "max": "maximum", "min": "minimum"}
SHORT, SIMULATED_SHORT = 16, 3  # elements that one thread takes in any case
BESIDE, RESULTS, LONG = 32, 1 << 15, 64  # neighbours, results, elements with a thread each


class Fold(NamedTuple):
    """A block has `across` x `deep` threads: `across` results side by side, with `deep` lanes each.

    It folds elements j of one slab, `per` of them. `along`: 1 where lanes lie next to each other,
    since `inner` is 1 and the results are rows; else results do.
    """

    across: int
    deep: int
    tiles: int  # groups of results: of all rows, or of the columns of an outer block
    per: int
    slabs: int
    along: int


def cut(s: ReduceSpec, caps) -> Fold:
    """Slabs follow from the shape alone."""
    if s.inner == 1:
        g = lanes.along_rows(s.outer, s.length, caps)
        each = -(-s.length * g.blocks // (g.lanes * lanes.BLOCKS))
        each = 2 if caps.simulated else max(lanes.FEWEST, min(lanes.MOST, each))
        per = g.lanes * each
        return Fold(g.rows, g.lanes, g.blocks, per, -(-s.length // per), 1)
    c = lanes.columns(s.length, s.inner, caps, s.outer)
    return Fold(c.columns, c.lanes, c.tiles, c.rows, c.slabs, 0)


def by_thread(s: ReduceSpec, caps) -> bool:
    many = s.inner >= BESIDE and s.outer * s.inner >= RESULTS and s.length <= LONG
    return many or s.length <= (SIMULATED_SHORT if caps.simulated else SHORT)


@jit.device
def find(s, g, block, thread):
    """(lane, first j, end, element of the first j, distance between neighbours j, result, slab) of
    a thread; its lane does not exist where it has no result.
    """
    if g.along:
        place, lane = divided(thread, g.deep)
        slab, tile = divided(block, g.tiles)
        result = tile * g.across + place
        first = result * s.length
        exists = place < g.across and result < s.outer
    else:
        lane, place = divided(thread, g.across)
        rest, tile = divided(block, g.tiles)
        slab, outer = divided(rest, s.outer)
        k = tile * g.across + place
        result = outer * s.inner + k
        first = outer * s.length * s.inner + k
        exists = lane < g.deep and k < s.inner
    if not exists:
        lane = g.deep
    j = slab * g.per + lane
    end = min((slab + 1) * g.per, s.length) if exists else 0
    return lane, j, end, first + j * s.inner, result, slab


@cache
def folding(function: str, source: str, dtype: str) -> tuple[Any, Any, Any]:
    """combine(a, b); what it begins with; value(x): x as a number of `dtype`."""
    combine, number = jit.formula(scalar.BINARY[COMBINE[function]], dtype), np.dtype(dtype).type
    if function in ("max", "min"):
        kind = np.dtype(dtype)
        least, most = (
            (-np.inf, np.inf) if kind.kind == "f" else (np.iinfo(kind).min, np.iinfo(kind).max)
        )
        return combine, number(least if function == "max" else most), number
    return combine, number(function == "prod"), number


@cache
def thread_kernel(function: str, source: str, dtype: str, far: bool):
    """One thread a result."""
    combine, neutral, number = folding(function, source, dtype)
    mean, divided = function == "mean", divider(far)

    @jit.kernel(constants=(function, source, dtype, far))
    def fold_by_thread(s, x, y):
        for i in range(cuda.grid(1), s.outer * s.inner, cuda.gridsize(1)):
            outer, k = divided(i, s.inner)
            at, total = outer * s.length * s.inner + k, neutral
            for j in range(s.length):
                total = combine(total, number(x[at + j * s.inner]))
            y[i] = total / number(s.length) if mean else total

    return fold_by_thread


@cache
def block_kernel(function: str, source: str, dtype: str, size: int):
    """`divisor`: what results are divided by, where it is a mean."""
    combine, neutral, number = folding(function, source, dtype)
    mean = function == "mean"

    @jit.kernel(bounds=size, constants=(function, source, dtype, size))
    def fold_by_block(s, g, divisor, x, y):
        found = cuda.shared.array(size, number)
        t = cuda.threadIdx.x
        lane, j, end, at, result, slab = find(s, g, cuda.blockIdx.x, t)
        step, total = g.deep * s.inner, neutral
        while j < end:
            total = combine(total, number(x[at]))
            j += g.deep
            at += step
        found[t] = total
        apart, count = 1 if g.along else g.across, g.deep
        while count > 1:
            half = (count + 1) // 2
            barrier()
            if lane + half < count:
                found[t] = combine(found[t], found[t + half * apart])
            count = half
        if lane == 0:
            total = found[t]
            if mean:
                total = total / number(divisor)
            y[slab * s.outer * s.inner + result] = total

    return fold_by_block


@cache
def best_kernel(function: str, dtype: str, size: int):
    """The first place of the maximum or minimum; NaN counts as more extreme than any number."""
    number, largest = np.dtype(dtype).type, function == "argmax"

    @jit.device
    def better(v, i, w, j):
        """Whether (v, i) is to be taken before (w, j), where a place below 0 is none."""
        if i < 0 or j < 0:
            return j < 0 and i >= 0
        if v != v or w != w:
            return v != v and (w == w or i < j)
        if v == w:
            return i < j
        return v > w if largest else v < w

    @jit.kernel(bounds=size, constants=(function, dtype, size))
    def find_best(s, g, x, y):
        values = cuda.shared.array(size, number)
        places = cuda.shared.array(size, np.int64)
        t = cuda.threadIdx.x
        lane, j, end, at, result, _ = find(s, g, cuda.blockIdx.x, t)
        step, best, chosen = g.deep * s.inner, number(0), np.int64(-1)
        while j < end:
            value = number(x[at])
            if better(value, j, best, chosen):
                best, chosen = value, np.int64(j)
            j += g.deep
            at += step
        values[t], places[t] = best, chosen
        apart, count = 1 if g.along else g.across, g.deep
        while count > 1:
            half = (count + 1) // 2
            barrier()
            if lane + half < count:
                other = t + half * apart
                if better(values[other], places[other], values[t], places[t]):
                    values[t], places[t] = values[other], places[other]
            count = half
        if lane == 0:
            y[result] = places[t]

    return find_best


def computed(function: str, x: str, y: str) -> str:
    """The type that elements are folded in: integers are summed as int64."""
    if function in ("max", "min"):
        return computed_in(x)
    return y if np.dtype(y).kind == "f" else "int64"


def second(spec: ReduceSpec, slabs: int) -> ReduceSpec:
    """What is left to fold after the slabs."""
    return ReduceSpec(1, slabs, spec.outer * spec.inner)


def fold_slabs(function: str, spec: ReduceSpec, divisor: int, caps, x, y) -> list[Launch]:
    """What slabs have left, folded in float64 where it is a float."""
    source = str(x.dtype)
    dtype = "float64" if np.dtype(source).kind == "f" else source
    if spec.inner == 1:
        g = cut(spec, caps)._replace(per=spec.length, slabs=1)
    else:
        c = lanes.one_slab(spec.length, spec.inner, caps)
        g = Fold(c.columns, c.lanes, c.tiles, spec.length, 1, 0)
    kernel = block_kernel(function, source, dtype, lanes.threads(caps))
    return lanes.launch_blocks(kernel, caps, g.tiles, spec, g, divisor, x, y)


def reduce(op):
    function = op.function
    best = function in ("argmax", "argmin")

    def scratch(spec: ReduceSpec, dtype: str, caps) -> dict[str, Scratch]:
        g = cut(spec, caps)
        if best or by_thread(spec, caps) or g.slabs < 2:
            return {}
        whole = np.dtype(dtype).kind != "f"
        kind = computed(function, dtype, "float32" if function == "mean" and whole else dtype)
        return {"parts": Scratch((g.slabs * spec.outer * spec.inner,), kind)}

    def bind(spec: ReduceSpec, caps, inputs, outputs, scratch) -> list[Launch]:
        (x,), (y,), g, size = inputs, outputs, cut(spec, caps), lanes.threads(caps)
        source = str(x.dtype)
        blocks = g.tiles * g.slabs * (1 if g.along else spec.outer)
        if best:
            g = g._replace(per=spec.length, slabs=1)
            blocks = g.tiles * (1 if g.along else spec.outer)
            kernel = best_kernel(function, computed_in(source), size)
            return lanes.launch_blocks(kernel, caps, blocks, spec, g, x, y)
        dtype = computed(function, source, str(y.dtype))
        if by_thread(spec, caps):
            kernel = thread_kernel(function, source, dtype, is_far(y.size))
            return launch(kernel, caps, y.size, spec, x, y)
        if g.slabs < 2:
            kernel = block_kernel(function, source, dtype, size)
            return lanes.launch_blocks(kernel, caps, blocks, spec, g, spec.length, x, y)
        parts, over = scratch["parts"], second(spec, g.slabs)
        kernel = block_kernel("sum" if function == "mean" else function, source, dtype, size)
        return [
            *lanes.launch_blocks(kernel, caps, blocks, spec, g, 1, x, parts),
            *fold_slabs(function, over, spec.length, caps, parts, y),
        ]

    return (Impl("folds", always, bind, scratch),)


@cache
def extreme_gradient_kernel(dtype: str, far: bool):
    number, divided = np.dtype(dtype).type, divider(far)

    @jit.kernel(constants=(dtype, far))
    def extreme_gradient(s, x, y, dy, dx):
        for i in range(cuda.grid(1), s.outer * s.inner, cuda.gridsize(1)):
            outer, k = divided(i, s.inner)
            first, extreme, equal = outer * s.length * s.inner + k, y[i], 0
            for j in range(s.length):
                if x[first + j * s.inner] == extreme:
                    equal += 1
            share = dy[i] / number(equal)
            for j in range(s.length):
                at = first + j * s.inner
                dx[at] = share if x[at] == extreme else number(0)

    return extreme_gradient


def bind_extreme_gradient(spec: ReduceSpec, caps, inputs, outputs, scratch) -> list[Launch]:
    size = spec.outer * spec.inner if spec.length else 0
    kernel = extreme_gradient_kernel(str(outputs[0].dtype), is_far(size))
    return launch(kernel, caps, size, spec, *inputs, *outputs)


extreme_gradient = Impl("plain", always, bind_extreme_gradient)
