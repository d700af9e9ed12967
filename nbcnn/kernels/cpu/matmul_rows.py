"""Products of a few rows with a large matrix: the matrix is read once, as fast as memory gives it.

    y[i,j] = act(bias[j] + sum over l of x[i,l] * w[l,j]),    few i

Each number of w serves few multiply-adds, so what counts is to read w in the order in which it lies
in memory, early enough. STEPS rows of w are added at a time to the rows of y, vector by vector:

    y[i, j..] += sum over r < STEPS of x[i, l+r] * w[l+r, j..]

where the STEPS vectors of w stay in registers for all i, and the rows of y in L1. As many vectors
of the following rows are asked for in advance: hardware does not see through so many streams.

A task is a slab of steps of the sum and a block of columns, as wide as y's part may be. Slabs write
partial sums; `finish` adds them in order, with bias and activation. Blocks and slabs follow from
the shape alone, so the bits do not depend on the number of threads.

Chosen for up to MOST_ROWS rows: a batch of one image, mostly. More of them keep the multipliers
busy enough for `gemm.py` to be as fast.
"""

from functools import cache
from typing import NamedTuple

from llvmlite import ir

from nbcnn.kernels.cpu import jit, simd, types
from nbcnn.kernels.cpu.blocking import ITEM, Tile, register_tile
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.simd import integer
from nbcnn.kernels.cpu.vector_math import activate
from nbcnn.kernels.impl import Impl, Scratch
from nbcnn.ops.conv_spec import RELU, MatmulSpec

MOST_ROWS = 8
LEAST = 1 << 14  # numbers of w, below which one task of the plain loops is as good
STEPS = 8  # rows of w at a time: their vectors, y's and the products fit 16 registers
ROOM = 16 << 10  # bytes of y in L1
AHEAD = 16 << 10  # bytes of w asked for in advance, at least
FINISH = 2048  # results that a task of `finish` adds
TASK = 64 << 10  # bytes of w that make a task worth its cost, a few microseconds
SLABS = 16


class Split(NamedTuple):
    columns: int  # of a task
    slabs: int
    pitch: int  # numbers from row to row of a task's results; not a multiple of 2 kB
    ahead: int  # bytes from a row of w to the one that is asked for


def accepts(spec: MatmulSpec, dtype: str, caps: Caps) -> str | None:
    if dtype not in ITEM:
        return f"no {dtype}"
    if spec.m > MOST_ROWS or spec.m < 1:
        return f"{spec.m} rows"
    if spec.batch != 1:
        return "a stack of products"
    if spec.tw:
        return "w is transposed"
    return f"{spec.k * spec.n} numbers in w" if spec.k * spec.n < LEAST else None


def split(s: MatmulSpec, tile: Tile) -> Split:
    room = max(1, ROOM // (s.m * tile.item * tile.lanes)) * tile.lanes
    across = -(-s.n // room)
    columns = -(-s.n // (across * tile.lanes)) * tile.lanes
    across = -(-s.n // columns)
    tasks = s.k * s.n * tile.item // TASK
    slabs = max(1, min(SLABS, tasks // across, s.k // (4 * STEPS)))
    chunk = STEPS * min(columns, s.n) * tile.item
    return Split(columns, slabs, columns + tile.lanes, -(-AHEAD // chunk) * STEPS * s.n * tile.item)


def scratch(spec: MatmulSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    at = split(spec, register_tile(caps, dtype))
    return {"partials": Scratch((at.slabs, -(-spec.n // at.columns) * spec.m * at.pitch), dtype)}


def bind(spec: MatmulSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    x, w, partials = inputs[0].reshape(-1), inputs[1].reshape(-1), scratch["partials"]
    tile = register_tile(caps, x.dtype.name)
    at = split(spec, tile)
    bias = inputs[2] if spec.bias else w  # w: not read, of the same type
    tasks = -(-spec.n // at.columns) * at.slabs
    blocks = -(-spec.n // at.columns) * spec.m
    return [
        Call(rows_kernel(tile), tasks, (spec, at, x, w, partials)),
        Call(finish_kernel(tile), blocks, (spec, at, partials, bias, outputs[0].reshape(-1))),
    ]


@cache
def rows_kernel(tile: Tile):
    several, single, item = add_rows(tile, STEPS), add_rows(tile, 1), tile.item

    def multiply(task, thread, s, at, x, w, partials):
        across = (s.n + at.columns - 1) // at.columns
        slab, j = task // across, task % across * at.columns
        first, end = slab * s.k // at.slabs, (slab + 1) * s.k // at.slabs
        count = min(at.columns, s.n - j)
        y_step = at.pitch * item
        y = simd.address(partials) + task * s.m * y_step
        simd.zero_bytes(y, s.m * y_step)
        x_row, x_step = (item, s.m * item) if s.tx else (s.k * item, item)
        x_at, w_at = simd.address(x), simd.address(w) + j * item
        whole = first + (end - first) // STEPS * STEPS
        for k in range(first, whole, STEPS):
            several(
                y, y_step, s.m, x_at + k * x_step, x_row, x_step,
                w_at + k * s.n * item, s.n * item, count, at.ahead,
            )  # fmt: skip
        for k in range(whole, end):
            single(
                y, y_step, s.m, x_at + k * x_step, x_row, x_step,
                w_at + k * s.n * item, s.n * item, count, 0,
            )  # fmt: skip

    return jit.kernel(multiply, constants=(tile,))


def finish(spec: MatmulSpec, tile: Tile, partials, bias, y) -> Call:
    """The call that makes y of partial products (slabs, m * n), for other kernels."""
    if spec.bias or spec.act:
        at = Split(spec.n, len(partials), spec.n, 0)
    else:  # a single row, then
        spec = spec._replace(m=1, n=y.size)
        at = Split(FINISH, len(partials), FINISH, 0)
    tasks = -(-spec.n // at.columns) * spec.m
    return Call(finish_kernel(tile), tasks, (spec, at, partials, bias, y))


@cache
def finish_kernel(tile: Tile):
    act_numbers, item = activate(tile), tile.item

    def finish(task, thread, s, at, partials, bias, y):
        """y = act(bias + sum of the partials), a row of a block of columns."""
        across = (s.n + at.columns - 1) // at.columns
        block, i = task % across, task // across
        j = block * at.columns
        count = min(at.columns, s.n - j)
        size, to, first = types.uintp(count), types.uintp(i * s.n + j), types.uintp(j)
        source = types.uintp((block * s.m + i) * at.pitch)
        for k in range(size):
            y[to + k] = bias[first + k] if s.bias else 0
        for slab in range(at.slabs):
            row = partials[slab]
            for k in range(size):
                y[to + k] += row[source + k]
        if s.act == RELU:
            for k in range(size):
                y[to + k] = 0 if y[to + k] < 0 else y[to + k]
        elif s.act > RELU:
            act_numbers(simd.address(y) + (i * s.n + j) * item, count, s.act)

    return jit.kernel(finish, constants=(tile,))


@cache
def add_rows(tile: Tile, steps: int):
    """add(y, y_step, rows, x, x_row, x_step, w, w_step, columns, ahead): add `steps` rows of w, as
    x says, to `rows` rows of y.

    Row i of x is at x + i * x_row, its numbers `x_step` bytes apart; the vectors `ahead` bytes
    behind those of w that are read are asked for.
    """
    lanes, item = tile.lanes, tile.item
    vector, scalar = simd.vector_type(lanes, item), simd.scalar_type(item)

    def build(builder, args):
        b, (y, y_step, rows, x, x_row, x_step, w, w_step, columns, ahead) = builder, args
        w_rows = [b.add(w, b.mul(w_step, integer(r))) for r in range(steps)]
        x_steps = [b.mul(x_step, integer(r)) for r in range(steps)]

        def add(at, mask):
            def load(address):
                if mask is None:
                    return simd.load_vector(b, address, vector)
                return simd.masked_load(b, address, vector, mask)

            loaded = [load(b.add(row, at)) for row in w_rows]
            for row in w_rows if mask is None and steps > 1 else ():
                simd.prefetch(b, b.add(b.add(row, at), ahead), near=False)
            with simd.loop(b, rows) as i:
                place = b.add(b.add(y, b.mul(i, y_step)), at)
                numbers = b.add(x, b.mul(i, x_row))
                totals = [load(place), ir.Constant(vector, [0.0] * lanes)]
                for r in range(steps):
                    pointer = b.inttoptr(b.add(numbers, x_steps[r]), scalar.as_pointer())
                    factor = simd.broadcast(b, b.load(pointer, align=item), lanes)
                    totals[r % 2] = simd.multiply_add(b, factor, loaded[r], totals[r % 2])
                total = b.fadd(*totals) if steps > 1 else totals[0]
                if mask is None:
                    simd.store_vector(b, total, place)
                else:
                    simd.masked_store(b, total, place, mask)

        whole = b.and_(columns, integer(-lanes))
        with simd.loop(b, whole, lanes) as j:
            add(b.mul(j, integer(item)), None)
        left = b.sub(columns, whole)
        with b.if_then(b.icmp_signed(">", left, integer(0))):
            add(b.mul(whole, integer(item)), simd.first_lanes(b, left, lanes))

    return simd.emit(types.void, (types.intp,) * 10, build)


rows = Impl("rows", accepts, bind, scratch)
