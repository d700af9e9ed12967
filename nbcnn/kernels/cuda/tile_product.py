"""The tiled product that dense layers, convolutions and their gradients have in common:

    y[i, j] = act(b[j] + sum over k of A[i, k] * B[k, j])

in true float32: no tensor cores, one fused multiply-add per term. A and B need not exist as
matrices: a `Source` says how their elements are found. A stage of both is fetched into registers
while the stage before is multiplied (double buffering: one barrier per stage), and put into shared
memory with the steps of the sum as rows, whichever way it is stored.

Sums are in the order of k; a split sum (`tiles.cut`) writes parts that `add_parts` adds in order.

Not run on a GPU: checked in the simulator, and compiled to machine code without spills.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import cuda, types
from numpy import float32, int32

from nbcnn.kernels import scalar
from nbcnn.kernels.cuda import jit, ptx
from nbcnn.kernels.cuda.call import Caps, Launch, launch
from nbcnn.kernels.cuda.indices import divided
from nbcnn.kernels.cuda.tiles import ITEM, PADDING, Cut, Tile
from nbcnn.ops.conv_spec import RELU

WARP = 32


class Source(NamedTuple):
    """How an operand's elements are found. A *place* is a row of A or a column of B; the numbers
    that describe a place, and those of a step of the sum, are kept in arrays of int32.

    along_sum: whether four steps are neighbours in memory; otherwise four places are.
    place(o, i, numbers, at), step(o, k, numbers, at): describe place i, step k.
    advance(o, numbers, at, by): go on by so many steps.
    quad(o, p, base, places, i, steps, j, out, at): four neighbours, zeros where there are none.
    """

    along_sum: bool
    place_size: int
    step_size: int
    place: Callable
    step: Callable
    advance: Callable
    quad: Callable


class Target(NamedTuple):
    """Where results go: row(o, i) is where row i begins, or -1 beyond the last."""

    row: Callable
    vector: bool  # whether four columns are written at once


class Product(NamedTuple):
    """What a launch computes. `a_batch` etc.: from one product of a batch to the next."""

    n: int
    k: int
    row_blocks: int
    column_blocks: int
    splits: int
    split_depth: int
    a_first: int
    b_first: int
    y_first: int
    a_batch: int
    b_batch: int
    y_batch: int
    part: int  # elements of y, of which each split writes its own
    bias: int
    bias_batch: int
    act: int


@cache
def operand(tile: Tile, source: Source, places: int) -> tuple[int, Callable, Callable, Callable]:
    """(quads of a thread, begin, fetch, stash) for one operand of `places` rows or columns.

    Along the sum, a warp reads two quads of each of 16 places: 32 bytes, a sector; stored as
    columns they meet 32 different banks. Otherwise it reads whole rows.
    """
    threads, depth, pitch = tile.threads, tile.depth, places + PADDING
    quads = places * depth // (4 * threads)
    place, step, advance, quad = source.place, source.step, source.advance, source.quad
    place_size, step_size = source.place_size, source.step_size
    if source.along_sum:
        across = depth // 4
        pair = min(2, across)
        pairs, lanes = across // pair, WARP // pair
        stride = threads // across

        @jit.inlined
        def spot(t):
            """(place, step) of the thread's first quad: column and row in shared memory."""
            k = t % pair + pair * (t // WARP % pairs)
            return int32(t % WARP // pair + lanes * (t // WARP // pairs)), int32(4 * k)

        @jit.inlined
        def begin(o, first, k, steps, places):
            i, row = spot(int32(cuda.threadIdx.x))
            for q in range(quads):
                place(o, int32(first + i + q * stride), places, q * place_size)
            step(o, int32(k + row), steps, 0)

        @jit.inlined
        def fetch(o, p, base, steps, places, out):
            for q in range(quads):
                quad(o, p, base, places, q * place_size, steps, 0, out, 4 * q)
            advance(o, steps, 0, depth)

        @jit.inlined
        def stash(at, values):
            i, row = spot(int32(cuda.threadIdx.x))
            at = int32(at + ITEM * (row * pitch + i))
            for q in range(quads):
                for e in range(4):
                    ptx.shared_store(int32(at + ITEM * (e * pitch + q * stride)), values[4 * q + e])

    else:
        width = places // 4
        stride = threads // width

        @jit.inlined
        def spot(t):
            return int32(4 * (t % width)), int32(t // width)

        @jit.inlined
        def begin(o, first, k, steps, places):
            i, row = spot(int32(cuda.threadIdx.x))
            place(o, int32(first + i), places, 0)
            for q in range(quads):
                step(o, int32(k + row + q * stride), steps, q * step_size)

        @jit.inlined
        def fetch(o, p, base, steps, places, out):
            for q in range(quads):
                quad(o, p, base, places, 0, steps, q * step_size, out, 4 * q)
                advance(o, steps, q * step_size, depth)

        @jit.inlined
        def stash(at, values):
            i, row = spot(int32(cuda.threadIdx.x))
            at = int32(at + ITEM * (row * pitch + i))
            for q in range(quads):
                ptx.shared_store4(
                    int32(at + ITEM * q * stride * pitch),
                    values[4 * q], values[4 * q + 1], values[4 * q + 2], values[4 * q + 3],
                )  # fmt: skip

    return quads, begin, fetch, stash


@cache
def multiplication(tile: Tile) -> tuple[Callable, Callable]:
    """(corner, multiply): the thread's first row and column in the tile, and a stage's products."""
    rows, columns, depth = tile.rows, tile.columns, tile.depth
    row_quads, column_quads = tile.row_quads, tile.column_quads
    row_pitch, column_pitch = rows + PADDING, columns + PADDING
    row_step, column_step = rows // row_quads, columns // column_quads
    across = columns // (4 * column_quads)
    wide = min(8, across)
    a_size, b_size, width = 4 * row_quads, 4 * column_quads, 4 * column_quads

    @jit.inlined
    def corner(t):
        lane, warp = t % WARP, t // WARP
        column = lane % wide + wide * (warp % (across // wide))
        row = lane // wide + (WARP // wide) * (warp // (across // wide))
        return int32(4 * row), int32(4 * column)

    @jit.inlined
    def multiply(at_a, at_b, total):
        a, b = cuda.local.array(a_size, float32), cuda.local.array(b_size, float32)
        # Two steps at a time: one's words are read while the other's are multiplied.
        for pair in range(0, depth, 2):
            for e in range(2):
                k = pair + e
                for h in range(row_quads):
                    at = int32(at_a + ITEM * (k * row_pitch + h * row_step))
                    a[4 * h], a[4 * h + 1], a[4 * h + 2], a[4 * h + 3] = ptx.shared_load4(at)
                for h in range(column_quads):
                    at = int32(at_b + ITEM * (k * column_pitch + h * column_step))
                    b[4 * h], b[4 * h + 1], b[4 * h + 2], b[4 * h + 3] = ptx.shared_load4(at)
                for i in range(a_size):
                    for j in range(b_size):
                        total[i * width + j] += a[i] * b[j]

    return corner, multiply


@cache
def product_kernel(tile: Tile, a: Source, b: Source, target: Target, smooth: int) -> Any:
    """The kernel over these sources. `smooth`: the activation where it is neither linear nor relu,
    which cost nothing; else 0.
    """
    rows, columns, depth = tile.rows, tile.columns, tile.depth
    row_quads, column_quads = tile.row_quads, tile.column_quads
    row_step, column_step = rows // row_quads, columns // column_quads
    a_quads, a_begin, a_fetch, a_stash = operand(tile, a, rows)
    b_quads, b_begin, b_fetch, b_stash = operand(tile, b, columns)
    a_regs, b_regs = 4 * a_quads, 4 * b_quads
    a_places, a_steps = numbers(a, a_quads)
    b_places, b_steps = numbers(b, b_quads)
    a_stage, b_stage = depth * (rows + PADDING), depth * (columns + PADDING)
    height, width = 4 * row_quads, 4 * column_quads
    results = height * width
    corner, multiply = multiplication(tile)
    row_of, vector = target.row, target.vector
    curve = jit.formula(scalar.TAIL[smooth], "float32")

    @jit.inlined
    def read_bias(s, bias, bias_at, column, out):
        for j in range(width):
            at = int32(column + (j >> 2) * column_step + (j & 3))
            value = float32(0)
            if s.bias and at < s.n:
                value = bias[int32(bias_at + at)]
            out[j] = value

    @jit.inlined
    def finish(low, add, total):
        """One plain loop after another: only then all compilers unroll them, which keeps the sums
        in registers. `width` is a power of two.
        """
        for i in range(results):
            total[i] += add[i & (width - 1)]
        for i in range(results):
            total[i] = low if total[i] < low else total[i]
        if smooth:
            for i in range(results):
                total[i] = curve(total[i], float32(0), float32(0))

    @jit.inlined
    def put(s, o, y, base, row, column, total):
        for h in range(row_quads):
            for i in range(4):
                start = int32(row_of(o, int32(row + h * row_step + i)))
                if start >= 0:
                    for g in range(column_quads):
                        c, at = int32(column + g * column_step), (4 * h + i) * width + 4 * g
                        to = int32(base + start + c)
                        if vector:
                            if c < s.n:
                                ptx.store4(
                                    y, to, total[at], total[at + 1], total[at + 2], total[at + 3]
                                )
                        else:
                            for j in range(4):
                                if c + j < s.n:
                                    y[int32(to + j)] = total[at + j]

    @jit.kernel(bounds=(tile.threads, tile.resident), constants=(tile, a, b, target, smooth))
    def product(s, oa, ob, oy, x, w, bias, y):
        shared = cuda.shared.array(0, types.float32)  # two stages of A, two of B
        a_place = cuda.local.array(a_places, int32)
        a_step = cuda.local.array(a_steps, int32)
        b_place = cuda.local.array(b_places, int32)
        b_step = cuda.local.array(b_steps, int32)
        a_next = cuda.local.array(a_regs, float32)
        b_next = cuda.local.array(b_regs, float32)
        total = cuda.local.array(results, float32)
        add = cuda.local.array(width, float32)

        block, column0 = divided(int32(cuda.blockIdx.x), int32(s.column_blocks))
        block, row0 = divided(block, int32(s.row_blocks))
        batch, split = divided(block, int32(s.splits))
        row0, column0 = int32(row0 * rows), int32(column0 * columns)
        first = int32(split * int32(s.split_depth))
        steps = int32(min(int32(s.split_depth), int32(s.k) - first))
        stages = int32((steps + depth - 1) // depth)

        row, column = corner(int32(cuda.threadIdx.x))
        at_a = ptx.shared_address(shared)
        at_b = int32(at_a + 2 * ITEM * a_stage)
        from_a, from_b = int32(at_a + ITEM * row), int32(at_b + ITEM * column)
        base_a = int32(s.a_first + batch * s.a_batch)
        base_b = int32(s.b_first + batch * s.b_batch)
        for i in range(results):
            total[i] = float32(0)
        if stages > 0:
            a_begin(oa, row0, first, a_step, a_place)
            b_begin(ob, column0, first, b_step, b_place)
            a_fetch(oa, x, base_a, a_step, a_place, a_next)
            b_fetch(ob, w, base_b, b_step, b_place, b_next)
            a_stash(at_a, a_next)
            b_stash(at_b, b_next)
            cuda.syncthreads()
        for stage in range(stages):
            now = int32(stage & 1)
            if stage + 1 < stages:
                a_fetch(oa, x, base_a, a_step, a_place, a_next)
                b_fetch(ob, w, base_b, b_step, b_place, b_next)
            multiply(
                int32(from_a + now * ITEM * a_stage), int32(from_b + now * ITEM * b_stage), total
            )
            if stage + 1 < stages:
                a_stash(int32(at_a + (1 - now) * ITEM * a_stage), a_next)
                b_stash(int32(at_b + (1 - now) * ITEM * b_stage), b_next)
            cuda.syncthreads()
        low = float32(0) if s.act == RELU else float32(-np.inf)
        read_bias(s, bias, int32(batch * s.bias_batch), int32(column0 + column), add)
        finish(low, add, total)
        base = int32(s.y_first + batch * s.y_batch + split * s.part)
        put(s, oy, y, base, int32(row0 + row), int32(column0 + column), total)

    return product


def numbers(source: Source, quads: int) -> tuple[int, int]:
    """How many numbers describe a thread's places and steps."""
    places, steps = (quads, 1) if source.along_sum else (1, quads)
    return places * source.place_size, steps * source.step_size


@jit.kernel
def add_parts_kernel(size, splits, n, has_bias, act, parts, bias, y):
    """y = act(bias + the sum of the parts, in order); bias along the last axis of size n."""
    for i in range(cuda.grid(1), size, cuda.gridsize(1)):
        total = parts[i]
        for split in range(1, splits):
            total += parts[i + split * size]
        if has_bias:
            total += bias[i % n]
        y[i] = jit.activate(act, np.float64(total)) if act else total


def product_launch(
    cut: Cut, batch: int, sources: tuple[Source, Source, Target], product: Product,
    operands: tuple, arrays: tuple,
) -> Launch:  # fmt: skip
    """`operands`: what `sources` get as `o`; `arrays`: x, w, bias, y."""
    smooth = product.act if product.act > RELU else 0
    kernel = product_kernel(cut.tile, *sources, smooth)
    grid = cut.row_blocks * cut.column_blocks * cut.splits * batch
    flat = tuple(a.reshape(a.size) for a in arrays)
    args = (product, *operands, *flat)
    return Launch(kernel, grid, cut.tile.threads, args, shared=cut.tile.shared, fixed=True)


def add_parts(caps: Caps, splits: int, spec: Any, parts: Any, bias: Any, y: Any) -> list[Launch]:
    """The launch that ends split sums."""
    n = bias.size if spec.bias else 1
    return launch(
        add_parts_kernel, caps, y.size, y.size, splits, n, spec.bias, spec.act, parts, bias, y
    )
