"""Weight gradient of a convolution with many channels: x is gathered a cache line of channels of
all pixels at a time.

    dw[u,v,c,f] = sum over n, i, j of x[n, i*sh + u*dilh - pt, j*sw + v*dilw - pl, c] * dy[n,i,j,f]

The product is that of `conv_direct_dw.py`: the micro-kernel's rows are the weights' (u, v, c), the
steps of its sum are pixels. There, a tile of rows reads a few channels of each pixel, and one pixel
is far from the next: with 512 channels and stride 2 each step is on another page, and the block of
pixels that fits in L2 is a row of the output, after which all of dw has to be read and written
again. Here a block has a *chunk* of the channels, of as many more pixels; in its copy a line of
channels (16 float32) of one pixel is followed by that of the next, so that a tile reads memory from
end to end.

Strides. Columns of x that have the same remainder modulo the stride lie side by side, in a plane of
their own, rows likewise: whatever the tap, the next output pixel is the next line. Only rows and
columns under a tap are copied, a fourth of x for 1x1 with stride 2. Which column of x goes where is
a table; zeros beyond the edges are an entry of it.

Blocking. A task has a slab of blocks (some rows of an image, or some images), some of the chunks
and some of the panels of filters. It copies a block's chunk to a third of L2, then packs and
multiplies panel by panel of dy. Chunks are as large as makes the traffic of dw and the packing of
dy least together. In grouped convolutions a chunk has some of the groups. Slabs follow from the
shape alone and are added in order: the same bits with any number of threads.

Chosen for more channels than a line has, in groups of a line at least, in front of `direct`; but
not for 1x1 with every pixel (`conv_product_dw.py`). 1.0 to 1.2 times as fast up to 128 channels,
1.1 to 2.3 times with more (Zen 3, two cores); groups of 8 channels took 1.4 times as long. With
AVX-512 (Zen 4) 0.88 to 1.0 times up to 96 channels, 1.0 at 128, 1.0 to 1.2 times with more.
"""

from functools import cache

import numpy as np

from nbcnn.kernels.cpu import conv_direct_dw, jit, simd, slabs, types
from nbcnn.kernels.cpu.blocking import ITEM, Tile, register_tile
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.conv_fill import LINE, fetch_lines
from nbcnn.kernels.cpu.conv_gather_dw_plan import NOTHING, Gather, plan
from nbcnn.kernels.cpu.conv_sweep_plan import every_pixel
from nbcnn.kernels.cpu.gemm_micro import panel_product
from nbcnn.kernels.cpu.gemm_pack import pack_rows, sum_panel
from nbcnn.kernels.cpu.simd import integer
from nbcnn.kernels.impl import Impl, Scratch
from nbcnn.ops.conv_spec import Conv2DSpec

# Tiles of rows, two of a narrow panel, after which some of the next chunk or block is asked for.
STRIP = 3
WIDE_LINES = 8  # of a pixel, up to which `direct` is as fast with vectors as long as a line


def accepts(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    refused = conv_direct_dw.accepts(spec, dtype, caps)
    if refused:
        return refused
    if every_pixel(spec):
        return "a product of matrices as they are"
    if spec.groups > 1 and spec.c // spec.groups * ITEM[dtype] < LINE:
        return "groups are narrower than a line"
    least = (WIDE_LINES if caps.vector == LINE else 1) * LINE
    return "few channels: x is read where it is" if spec.c * ITEM[dtype] <= least else None


def _partials(spec: Conv2DSpec, made: Gather) -> tuple[int, int]:
    return made.slabs, made.taps * made.group_c * spec.f + spec.f * spec.bias


def scratch(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    made = plan(spec, dtype, caps)[0]
    pixels = made.images * made.rows * made.ow
    needed = {
        "buffer": Scratch((caps.threads, made.images * made.image // ITEM[dtype]), dtype),
        "panel": Scratch((caps.threads, pixels * register_tile(caps, dtype).width), dtype),
    }
    if made.slabs > 1:
        needed["partials"] = Scratch(_partials(spec, made), dtype)
    return needed


def bind(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    x, dy = inputs
    dtype = x.dtype.name
    tile = register_tile(caps, dtype)
    made, tables = plan(spec, dtype, caps)
    dw = outputs[0].reshape(1, -1)
    db = outputs[1].reshape(1, -1) if spec.bias else np.zeros((1, 1), dtype)
    apart, sums = 0, []
    if made.slabs > 1:
        dw = db = scratch["partials"]
        apart = made.taps * made.group_c * spec.f  # db follows dw in a row of the partials
        sums = slabs.reductions(dw, outputs)
    zeros = np.zeros(max(tile.width, LINE // tile.item), dtype)
    arrays = x.reshape(-1), dy.reshape(-1), dw, db, zeros, scratch["buffer"], scratch["panel"]
    tasks = made.slabs * made.sides * made.parts
    return [Call(dw_kernel(tile), tasks, (made, apart, *arrays, *tables)), *sums]


@cache
def gather_row(tile: Tile):
    """gather(target, plane, source, columns, pixels, channels, zeros): of pixels at source +
    columns[j] each line of channels, one pixel's behind the other's; the next line of channels
    `plane` bytes further. Zeros where a column is negative.
    """
    lanes, item = tile.lanes, tile.item
    size, per_line = lanes * item, LINE // item
    vector, pointer = simd.vector_type(lanes, item), integer(0).type.as_pointer()

    def build(builder, args):
        b, (target, plane, source, columns, pixels, channels, zeros) = builder, args

        def copy(to, source, count, whole):
            """A line of each pixel, `count` numbers of which exist."""
            with simd.loop(b, pixels) as j:
                entry = b.inttoptr(b.add(columns, b.shl(j, integer(3))), pointer)
                column, line = b.load(entry, align=8), b.add(to, b.mul(j, integer(LINE)))
                outside = b.icmp_signed("<", column, integer(0))
                at = b.select(outside, zeros, b.add(source, column))
                for v in range(LINE // size):
                    place = b.add(at, integer(v * size))
                    if whole:
                        value = simd.load_vector(b, place, vector)
                    else:
                        mask = simd.first_lanes(b, b.sub(count, integer(v * lanes)), lanes)
                        value = simd.masked_load(b, place, vector, mask)
                    simd.store_vector(b, value, b.add(line, integer(v * size)))

        with simd.loop(b, channels, per_line) as first:
            to = b.add(target, b.mul(b.sdiv(first, integer(per_line)), plane))
            at, left = b.add(source, b.mul(first, integer(item))), b.sub(channels, first)
            enough = b.icmp_signed(">=", left, integer(per_line))
            with b.if_else(enough) as (whole, part):
                with whole:
                    copy(to, at, left, True)
                with part:
                    copy(to, at, left, False)

    return simd.emit(types.void, (types.intp,) * 7, build)


@cache
def gather_block(tile: Tile):
    """gather(s, buffer, x, first image, images, first row, rows, columns, channels, zeros): copy a
    block of channels that start at x.
    """
    gather, item = gather_row(tile), tile.item

    def gather_planes(s, buffer, x, first, images, top, rows, columns, channels, zeros):
        for key in range(s.keys):
            used = s.width
            while columns[key, used - 1] == NOTHING:
                used -= 1
            table = simd.address(columns) + key * s.width * 8
            for image in range(images):
                to = buffer + image * s.image + key * s.buffer_h * s.width * LINE
                for place in range(s.buffer_h):
                    row = top + rows[place]
                    if 0 <= row < s.h:
                        source = x + ((first + image) * s.h + row) * s.w * s.pixel
                        gather(to, s.plane, source, table, used, channels, zeros)
                    else:
                        for line in range((channels * item + LINE - 1) // LINE):
                            simd.zero_bytes(to + line * s.plane, used * LINE)
                    to += s.width * LINE

    return jit.helper(gather_planes)


@jit.helper
def ask(s, x, first, images, top, rows, lines, place, column, count):
    """Ask for `lines` of so many pixels of a block, from where an earlier call ended: (row of the
    buffer, column of x). Returns where this one did.
    """
    while count > 0 and place < images * s.buffer_h:
        row = top + rows[place % s.buffer_h]
        if 0 <= row < s.h:
            source = x + ((first + place // s.buffer_h) * s.h + row) * s.w * s.pixel
            end = min(s.w, column + count * s.hop)
            for j in range(column, end, s.hop):
                fetch_lines(source + j * s.pixel, lines)
            count -= (end - column + s.hop - 1) // s.hop
            column = end
            if column < s.w:
                break
        place, column = place + 1, 0
    return place, column


@cache
def dw_kernel(tile: Tile):
    product, sums = panel_product(tile), sum_panel(tile)
    pack, gather = pack_rows(tile), gather_block(tile)
    lanes, width, item = tile.lanes, tile.width, tile.item
    strip_rows = STRIP * tile.rows
    lowest = (np.float32 if item == 4 else np.float64)(-np.inf)

    @jit.always_inline
    def source(s, x, block, chunk):
        """(address, first image, first row, channels) of a chunk of a block."""
        channel = chunk * s.chunk
        image, top = block // s.blocks * s.images, block % s.blocks * s.source_rows
        return simd.address(x) + channel * item, image, top, min(s.chunk, s.c - channel)

    @jit.always_inline
    def following(s, x, block, chunk, side, end):
        """Of what is copied next, and how many lines of each of its pixels."""
        chunk += s.sides
        if chunk >= s.chunks:
            block, chunk = block + 1, side
        at, image, top, channels = source(s, x, block, chunk)
        return at, image, top, (channels * item + LINE - 1) // LINE if block < end else 0

    def weight_gradient(
        task, thread, s, apart, x, dy, dw, db, zeros, buffer, packed,
        offsets, targets, segments, rows, columns,
    ):  # fmt: skip
        side, task = task % s.sides, task // s.sides
        beside, slab = task % s.parts, task // s.parts
        blocks = (s.n + s.images - 1) // s.images * s.blocks
        first, end = slab * blocks // s.slabs, (slab + 1) * blocks // s.slabs
        dw_slab = simd.address(dw) + slab * dw.shape[1] * item
        db_slab = simd.address(db) + (slab * db.shape[1] + apart) * item
        own = simd.address(packed) + thread * packed.shape[1] * item
        a = simd.address(buffer) + thread * buffer.shape[1] * item
        panels = (s.group_f + width - 1) // width
        padded = (s.group_f + lanes - 1) // lanes * lanes
        asked = s.buffer_h * ((s.w + s.hop - 1) // s.hop)  # pixels per image
        for block in range(first, end):
            row, resume = block % s.blocks * s.rows, int(block > first)
            for chunk in range(side, s.chunks, s.sides):
                start, image, top, channels = source(s, x, block, chunk)
                images, height = min(s.images, s.n - image), min(s.rows, s.oh - row)
                lines, depth = (images, height * s.ow) if s.whole else (images * height, s.ow)
                pixel = simd.address(dy) + (image * s.oh + row) * s.ow * s.f * item
                gather(
                    s, a, start, image, images, top, rows, columns, channels, simd.address(zeros)
                )
                units = channels // s.group_c if s.groups > 1 else 1
                weights = s.taps * channels // units
                strips = (weights + strip_rows - 1) // strip_rows
                strips *= (units * panels - beside + s.parts - 1) // s.parts
                share = (images * asked + strips - 1) // max(strips, 1)
                ahead, next_image, next_top, next_lines = following(s, x, block, chunk, side, end)
                place, column = 0, 0
                for part in range(beside, units * panels, s.parts):
                    unit, panel = part // panels, part % panels
                    left = s.group_f - panel * width
                    step = min(width, padded - panel * width) * item
                    f = panel * width
                    if s.groups > 1:
                        f += (chunk * s.chunk // s.group_c + unit) * s.group_f
                    pack(own, pixel + f * item, s.f * item, lines * depth, left)
                    if s.bias and (s.groups > 1 or chunk == 0):
                        sums(db_slab + f * item, own, step, lines * depth, left, resume)
                    weight = s.taps * chunk * s.chunk + unit * weights
                    for strip in range(weight, weight + weights, strip_rows):
                        product(
                            a,
                            simd.address(offsets) + strip * 8,
                            LINE,
                            simd.address(segments),
                            lines,
                            depth,
                            own,
                            step,
                            dw_slab + f * item,
                            simd.address(targets) + strip * 8,
                            min(strip_rows, weight + weights - strip),
                            left,
                            simd.address(zeros),
                            resume,
                            lowest,
                        )
                        place, column = ask(
                            s, ahead, next_image, images, next_top, rows, next_lines,
                            place, column, share,
                        )  # fmt: skip

    return jit.kernel(weight_gradient, constants=(tile,))


dw = Impl("gathered", accepts, bind, scratch)
