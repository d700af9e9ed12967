"""Weight gradient of a convolution with few weights per filter, through the max pool behind it.

    dw[u,v,c,f] = sum over windows of dy[window, f] * x[pixels under (u, v) at the window's winner]
    db[f]       = sum over windows of dy[window, f]

Of a window's ph x pw pixels only the winner has a gradient, so nothing is spread over the map that
was pooled (which does not exist): of each window and filter one *patch*, the kh * kw * c numbers of
x that made the winner, is scaled by dy and added. That is ph * pw times fewer multiplications than
with all pixels. A one behind the patch makes db the last row of dw.

Blocking. A task has a slab of rows of windows. For each row it copies the rows of x beneath between
zeros (`conv_fill.py`), then, for as many windows at a time as have their patches in half of L1,
lines up the patch of every pixel of every window. Then the winner is only an offset: a few filters
at a time take their patches through all these windows, sums in registers, and add them to the
slab's. Slabs are added in order (`slabs.py`): the same bits with any number of threads.

Chosen where a patch takes few registers: first layers. 3x3 on 3 channels before a 4x4 pool takes a
twentieth of spreading dy and the direct weight gradient; 3x3 on one channel before 2x2, a third.
"""

from functools import cache
from typing import NamedTuple

from llvmlite import ir

from nbcnn.kernels.cpu import jit, simd, slabs, types
from nbcnn.kernels.cpu.blocking import ITEM, Tile, register_tile
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.conv_fill import fill_block
from nbcnn.kernels.cpu.simd import integer
from nbcnn.kernels.impl import Impl, Scratch
from nbcnn.ops.conv_spec import MAX_POOL_INDEXED, Conv2DSpec

SLAB_WINDOWS = 512  # of a slab at least
MOST_VECTORS = 6  # of a patch, in half of the registers of AVX-512: 96 weights and a one


class Windows(NamedTuple):
    """What the kernel needs to know."""

    h: int
    w: int
    c: int
    top: int  # the buffer's first row and column, relative to the windows'
    left: int
    buffer_h: int
    buffer_w: int
    pixel: int  # bytes of a pixel of x
    down: int  # rows of x from one row of windows to the next
    line: int  # bytes of the buffer from one row of taps to the next
    step_h: int  # bytes of the buffer from one pixel of a window to the next
    step_w: int
    kh: int
    run: int  # numbers of a row of taps: kw * c
    rows: int  # of windows, of all images
    oh: int  # windows of an image
    ow: int
    ph: int
    pw: int
    f: int
    patch: int  # bytes
    across: int  # windows whose patches are lined up at once
    slabs: int
    outputs: int  # numbers of a patch that count: weights and, with a bias, the one


def vectors(spec: Conv2DSpec, tile: Tile) -> int:
    """Of a patch with its one."""
    return -(-(spec.kh * spec.kw * spec.c + 1) // tile.lanes)


def accepts(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    if dtype not in ITEM:
        return f"no {dtype}"
    if spec.pool != MAX_POOL_INDEXED:
        return "no max pool behind it"
    if spec.n == 0:
        return "no images"
    if spec.ph * spec.pw > 255:
        return "the pool's indices take more than a byte"
    if spec.groups > 1 or spec.dilw > 1:
        return "rows of taps are not consecutive"
    tile = register_tile(caps, dtype)
    count = vectors(spec, tile)
    if count > min(MOST_VECTORS, tile.rows * tile.vectors // 2):
        return f"{spec.kh * spec.kw * spec.c} weights take {count} vectors"
    if spec.ph * spec.pw * count * tile.lanes * tile.item > caps.l2 // 2:
        return "the patches of a window do not fit in L2"
    return None


def plan(s: Conv2DSpec, dtype: str, caps: Caps) -> Windows:
    tile, item = register_tile(caps, dtype), ITEM[dtype]
    oh, ow = s.oh // s.ph, s.ow // s.pw
    patch, pixel = vectors(s, tile) * tile.lanes * item, s.c * item
    buffer_h = (s.ph - 1) * s.sh + (s.kh - 1) * s.dilh + 1
    buffer_w = (ow * s.pw - 1) * s.sw + s.kw
    across = max(1, min(ow, caps.l1 // 2 // (s.ph * s.pw * patch)))
    outputs = s.kh * s.kw * s.c + s.bias
    count = slabs.slab_count(s.n * oh, outputs * s.f, max(1, SLAB_WINDOWS // ow))
    return Windows(
        s.h,
        s.w,
        s.c,
        -s.pt,
        -s.pl,
        buffer_h,
        buffer_w,
        pixel,
        s.ph * s.sh,
        s.dilh * buffer_w * pixel,
        s.sh * buffer_w * pixel,
        s.sw * pixel,
        s.kh,
        s.kw * s.c,
        s.n * oh,
        oh,
        ow,
        s.ph,
        s.pw,
        s.f,
        patch,
        across,
        count,
        outputs,
    )


def scratch(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    made, item, lanes = plan(spec, dtype, caps), ITEM[dtype], register_tile(caps, dtype).lanes
    patches = made.across * made.ph * made.pw * made.patch // item
    # Runs are copied in whole vectors, so a buffer and the patches have one more behind them.
    return {
        "buffer": Scratch((caps.threads, made.buffer_h * made.buffer_w * made.c + lanes), dtype),
        "patches": Scratch((caps.threads, patches + lanes), dtype),
        "sums": Scratch((caps.threads, made.f * made.patch // item), dtype),
        "partials": Scratch((made.slabs, made.outputs * made.f), dtype),
    }


def bind(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    x, dy, indices = inputs
    made, tile = plan(spec, x.dtype.name, caps), register_tile(caps, x.dtype.name)
    partials = scratch["partials"]
    arrays = x.reshape(-1), dy.reshape(-1), indices.reshape(-1)
    own = scratch["buffer"], scratch["patches"], scratch["sums"]
    kernel = winners_kernel(tile, vectors(spec, tile))
    call = Call(kernel, made.slabs, (made, *arrays, *own, partials))
    return [call, *slabs.reductions(partials, outputs)]


@cache
def copy_runs(tile: Tile):
    """copy_runs(target, source, line, rows, run): rows of `run` numbers, `line` bytes apart, one
    behind the other; and a one. In whole vectors: up to one less a number beyond is overwritten.
    """
    lanes, item = tile.lanes, tile.item
    vector = simd.vector_type(lanes, item)

    def build(builder, args):
        b, (target, source, line, rows, run) = builder, args
        size = b.mul(run, integer(item))
        with simd.loop(b, rows) as r:
            to, at = b.add(target, b.mul(r, size)), b.add(source, b.mul(r, line))
            with simd.loop(b, size, lanes * item) as k:
                simd.store_vector(b, simd.load_vector(b, b.add(at, k), vector), b.add(to, k))
        end, one = b.add(target, b.mul(rows, size)), ir.Constant(simd.scalar_type(item), 1.0)
        b.store(one, b.inttoptr(end, one.type.as_pointer()), align=item)

    return simd.emit(types.void, (types.intp,) * 5, build)


@cache
def add_winners(tile: Tile, count: int, filters: int):
    """add_winners(patches, window, dy, indices, f, windows, sums): for some filters, sums += dy *
    the winner's patch, over windows whose patches lie `window` bytes apart.

    A patch is of `count` vectors. dy and indices are of `f` filters; those of the first are given.
    """
    lanes, item = tile.lanes, tile.item
    vector, scalar = simd.vector_type(lanes, item), simd.scalar_type(item)
    patch = count * lanes * item

    def build(builder, args):
        b, (patches, window, dy, indices, f, windows, sums) = builder, args
        zeros = [ir.Constant(vector, [0.0] * lanes)] * (filters * count)
        with simd.loop(b, windows, values=zeros) as (i, totals):
            first, place = b.add(patches, b.mul(i, window)), b.mul(i, f)
            for q in range(filters):
                at = b.add(place, integer(q))
                winner = b.inttoptr(b.add(indices, at), ir.IntType(8).as_pointer())
                skip = b.mul(b.zext(b.load(winner), ir.IntType(64)), integer(patch))
                slope = b.inttoptr(b.add(dy, b.mul(at, integer(item))), scalar.as_pointer())
                slope = simd.broadcast(b, b.load(slope, align=item), lanes)
                for k in range(count):
                    address = b.add(b.add(first, skip), integer(k * lanes * item))
                    x = simd.load_vector(b, address, vector)
                    number = q * count + k
                    totals[number] = simd.multiply_add(b, slope, x, totals[number])
        for number, total in enumerate(totals):
            to = b.add(sums, integer(number * lanes * item))
            simd.store_vector(b, b.fadd(simd.load_vector(b, to, vector), total), to)

    return simd.emit(types.void, (types.intp,) * 7, build)


@cache
def winners_kernel(tile: Tile, count: int):
    filters = max(1, min(4, tile.rows * tile.vectors // count))
    fill, line_up, several = fill_block(tile), copy_runs(tile), add_winners(tile, count, filters)
    single, item = add_winners(tile, count, 1), tile.item

    def weight_gradient(task, thread, s, x, dy, indices, buffer, patches, sums, partials):
        source = simd.address(buffer) + thread * buffer.shape[1] * item
        lined_up = simd.address(patches) + thread * patches.shape[1] * item
        totals = simd.address(sums) + thread * sums.shape[1] * item
        simd.zero_bytes(totals, s.f * s.patch)
        window = s.ph * s.pw * s.patch
        for row in range(task * s.rows // s.slabs, (task + 1) * s.rows // s.slabs):
            fill(s, source, simd.address(x), row // s.oh, 1, row % s.oh * s.down + s.top)
            for first in range(0, s.ow, s.across):
                windows, to = min(s.across, s.ow - first), lined_up
                for j in range(first, first + windows):
                    for u in range(s.ph):
                        at = source + u * s.step_h + j * s.pw * s.step_w
                        for _ in range(s.pw):
                            line_up(to, at, s.line, s.kh, s.run)
                            to, at = to + s.patch, at + s.step_w
                place, f = (row * s.ow + first) * s.f, 0
                y, winners = simd.address(dy) + place * item, simd.address(indices) + place
                while f + filters <= s.f:
                    at = totals + f * s.patch
                    several(lined_up, window, y + f * item, winners + f, s.f, windows, at)
                    f += filters
                while f < s.f:
                    at = totals + f * s.patch
                    single(lined_up, window, y + f * item, winners + f, s.f, windows, at)
                    f += 1
        for k in range(s.outputs):
            for f in range(s.f):
                partials[task, k * s.f + f] = sums[thread, f * (s.patch // item) + k]

    return jit.kernel(weight_gradient, constants=(tile, count))


dw = Impl("winners", accepts, bind, scratch)
