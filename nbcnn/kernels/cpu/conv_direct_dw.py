"""Direct weight gradient of a convolution: no im2col buffer.

    dw[u,v,c,f] = sum over n, i, j of x[n, i*sh + u*dilh - pt, j*sw + v*dilw - pl, c] * dy[n,i,j,f]
    db[f]       = sum over n, i, j of dy[n,i,j,f]

The micro-kernel's rows are the weights' (u, v, c), consecutive in dw; for each the pixels of x lie
at a fixed offset from the pixel of the output, so a table of offsets is all it needs and any
geometry is the same code. Its columns are filters, the steps of its sum pixels: one segment per row
of the output.

Blocking. A task has a slab of blocks (some rows of an image, or some images) and some of the panels
of filters. Of each block it copies x between zeros where the taps reach over the edge (as in
`conv_sweep.py`); this fits in L2. Then, for each run of as many pixels as fill half of L1 with one
panel of dy, and for each panel, it packs dy and runs over the tiles of rows of dw; a tile of dw is
read and written once per run. Between tiles it asks for x of the next block, so that copying that
does not wait for memory (2 to 5 %). 1x1 convolutions are cut by pixels, whatever image they belong
to. In the copy a pixel takes an odd number of cache lines: the
micro-kernel reads one line of each of some 200 pixels, and at 256 or 512 bytes from one to the next
most would compete for a few places in L1.

The sums of slabs are partial results; slabs follow from the shape alone and are added in order, so
the same bits come out with any number of threads. More slabs cost memory traffic: large dw are
split by panels instead.

Chosen for few channels: with more, others make sums of more pixels at a time (`conv_gather_dw.py`,
`conv_product_dw.py`).
"""

from functools import cache

import numpy as np

from nbcnn.kernels.cpu import jit, simd, slabs
from nbcnn.kernels.cpu.blocking import ITEM, Tile, register_tile
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.conv_dw_plan import Reduction, plan
from nbcnn.kernels.cpu.conv_fill import LINE, fetch_lines, fill_block
from nbcnn.kernels.cpu.gemm_micro import panel_product
from nbcnn.kernels.cpu.gemm_pack import pack_rows, sum_panel
from nbcnn.kernels.impl import Impl, Scratch, no_pool
from nbcnn.ops.conv_spec import Conv2DSpec

FEW = 64  # rows of dw, up to which packing dy does not pay
STRIP = 3  # tiles of rows, two of a narrow panel, after which some of the next block is asked for


def accepts(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    if dtype not in ITEM:
        return f"no {dtype}"
    return "no images" if spec.n == 0 else no_pool(spec, dtype, caps)


def _partials(spec: Conv2DSpec, made: Reduction) -> tuple[int, int]:
    return made.slabs, made.weights * spec.f + spec.f * spec.bias


def scratch(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    made = plan(spec, dtype, caps)[0]
    pixels = min(made.run + made.run // 5 + 1, made.images * made.rows) * made.ow
    buffer = max(made.images * made.buffer_h * made.buffer_w * made.pixel // ITEM[dtype], 1)
    needed = {
        "buffer": Scratch((caps.threads, buffer), dtype),
        "panel": Scratch((caps.threads, pixels * register_tile(caps, dtype).width), dtype),
    }
    if made.slabs > 1:
        needed["partials"] = Scratch(_partials(spec, made), dtype)
    return needed


def bind(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    x, dy = inputs
    dtype = x.dtype.name
    tile = register_tile(caps, dtype)
    made, offsets, segments = plan(spec, dtype, caps)
    dw = outputs[0].reshape(1, -1)
    db = outputs[1].reshape(1, -1) if spec.bias else np.zeros((1, 1), dtype)
    apart, sums = 0, []
    if made.slabs > 1:
        partials = scratch["partials"]
        dw, apart = partials, made.weights * spec.f  # db follows dw in a row of the partials
        db = partials
        sums = slabs.reductions(partials, outputs)
    target_rows = np.arange(made.weights, dtype=np.int64) * (spec.f * tile.item)
    arrays = (
        x.reshape(-1),
        dy.reshape(-1),
        dw,
        db,
        np.zeros(tile.width, dtype),
        scratch["buffer"],
        scratch["panel"],
    )
    args = (made, apart, *arrays, offsets, segments, target_rows)
    return [Call(dw_kernel(tile), made.slabs * made.parts, args), *sums]


@cache
def dw_kernel(tile: Tile):
    product, sums = panel_product(tile), sum_panel(tile)
    pack, fill = pack_rows(tile), fill_block(tile)
    rows, lanes, width, item = tile.rows, tile.lanes, tile.width, tile.item
    lowest = (np.float32 if item == 4 else np.float64)(-np.inf)

    @jit.always_inline
    def runs_of(s, lines):
        return max(1, (lines * 20 + s.run * 17 - 1) // (s.run * 20))

    @jit.always_inline
    def following(s, x, block, end, lines, side):
        """(address, lines of the cache): where x of the next block is, and the part of it that each
        strip asks for.
        """
        if block + 1 == end:
            return simd.address(x), 0
        image, row = (block + 1) // s.blocks * s.images, (block + 1) % s.blocks
        top = max(row * s.source_rows + s.top, 0)
        images, height = min(s.images, s.n - image), min(max(s.buffer_h, s.rows), s.h - top)
        size = ((images - 1) * s.h + height) * s.w * s.c * item
        panels = (s.group_f + width - 1) // width * s.groups
        parts = (panels - side + s.parts - 1) // s.parts
        strips = (s.weights + STRIP * rows - 1) // (STRIP * rows) * parts * runs_of(s, lines)
        at = simd.address(x) + (image * s.h + top) * s.w * s.c * item
        return at, (size + LINE * strips - 1) // (LINE * strips)

    def weight_gradient(
        task, thread, s, apart, x, dy, dw, db, zeros, buffer, packed, offsets, segments, target_rows
    ):
        slab, side = task // s.parts, task % s.parts
        blocks = (s.n + s.images - 1) // s.images * s.blocks
        first, end = slab * blocks // s.slabs, (slab + 1) * blocks // s.slabs
        dw_slab = simd.address(dw) + slab * dw.shape[1] * item
        db_slab = simd.address(db) + (slab * db.shape[1] + apart) * item
        own = simd.address(packed) + thread * packed.shape[1] * item
        panels = (s.group_f + width - 1) // width
        padded = (s.group_f + lanes - 1) // lanes * lanes
        for block in range(first, end):
            image, row = block // s.blocks * s.images, block % s.blocks * s.rows
            images, height = min(s.images, s.n - image), min(s.rows, s.oh - row)
            top = block % s.blocks * s.source_rows + s.top
            if s.buffer_h > 0:
                a = simd.address(buffer) + thread * buffer.shape[1] * item
                fill(s, a, simd.address(x), image, images, top)
            else:
                a = (
                    simd.address(x)
                    + (image * s.h + block % s.blocks * s.source_rows) * s.w * s.c * item
                )
            ahead, share = following(s, x, block, end, images * height, side)
            line = simd.address(dy) + (image * s.oh + row) * s.ow * s.f * item
            runs = runs_of(s, images * height)
            for run in range(runs):
                start = images * height * run // runs
                lines = images * height * (run + 1) // runs - start
                pixel = line + start * s.ow * s.f * item
                resume = int(block > first or run > 0)
                for part in range(side, s.groups * panels, s.parts):
                    group, panel = part // panels, part % panels
                    left = s.group_f - panel * width
                    across = min(width, padded - panel * width)
                    f = group * s.group_f + panel * width
                    panel_at, step = own, across * item
                    if s.weights <= FEW and left >= width:
                        panel_at, step = pixel + f * item, s.f * item
                    else:
                        pack(own, pixel + f * item, s.f * item, lines * s.ow, left)
                    if s.bias:
                        sums(db_slab + f * item, panel_at, step, lines * s.ow, left, resume)
                    for weight in range(0, s.weights, STRIP * rows):
                        product(
                            a + group * s.group_c * item,
                            simd.address(offsets) + weight * 8,
                            s.step,
                            simd.address(segments) + start * 8,
                            1 if s.joined else lines,
                            lines * s.ow if s.joined else s.ow,
                            panel_at,
                            step,
                            dw_slab + f * item,
                            simd.address(target_rows) + weight * 8,
                            min(STRIP * rows, s.weights - weight),
                            left,
                            simd.address(zeros),
                            resume,
                            lowest,
                        )
                        fetch_lines(ahead, share)
                        ahead += share * LINE

    return jit.kernel(weight_gradient, constants=(tile,))


dw = Impl("direct", accepts, bind, scratch)
