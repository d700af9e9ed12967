"""One routine behind direct convolution and its input gradient: the micro-kernel over all pixels.

    target[n, p + i*step, q + j*step, f] =
        act(b[f] + sum over taps, c of source[n, i*s + du, j*s + dv, c] * w[tap, c, f])

for each *phase* (p, q). A convolution is one phase whose taps are the kernel's; the gradient with
respect to the input of a convolution with strides has one phase per position modulo the strides,
each a convolution with stride 1 over dy with its own few taps (no zeros inserted; a phase without
taps just writes zeros). See `conv_direct.py`.

Rows of the register tile are consecutive pixels of the target, across image rows and images, so
nothing is wasted at odd widths; their addresses come from tables made once, in
`conv_sweep_plan.py`. The steps of the sum are (tap, channel): taps that lie side by side are one
run of `taps * c` consecutive numbers. Weights are packed in panels of a tile's width.

Blocking. A task is a block of pixels: some images, or some rows of one. If the taps reach over the
edge, the task first copies its part of the source into a buffer of the thread, with zeros around
(this also brings it to L2, which is where the sweep then reads), and pixels of 2 kB a line further
apart, as the lines of a tile's rows would all compete for a few places in L1. A 1x1 convolution is
cut by pixels, whatever image they belong to: 49 of a 7x7 map would leave an eighth of the tiles
idle. Where images are few and small, a task has several of them and a part of the panels.

Then: for each panel of columns, for each chunk of steps such that the panel's part fills half of
L1, for each tile of pixels. The target is read and written once per chunk; a chunk is about 200
steps, so this costs 1 %.

With a pool in the tail the target is a block of the thread's own, of whole windows, that stays in
L2; from there the pooled pixels are made. The map as a whole never exists, nor is anything computed
that no window covers.
"""

from functools import cache

import numpy as np

from nbcnn.kernels.cpu import jit, simd
from nbcnn.kernels.cpu.blocking import Tile, register_tile
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.conv_fill import fill_block
from nbcnn.kernels.cpu.conv_sweep_plan import Sweep, Tables, tasks
from nbcnn.kernels.cpu.gemm_micro import panel_product
from nbcnn.kernels.cpu.pool_micro import window_max, window_mean
from nbcnn.kernels.cpu.vector_math import activate
from nbcnn.ops.conv_spec import MAX_POOL_INDEXED, MEAN_POOL, NO_POOL, RELU


def call(
    sweep: Sweep,
    tables: Tables,
    source,
    packed,
    bias,
    target,
    buffer,
    caps: Caps,
    pool: int = NO_POOL,
    indices=None,
    block=None,
) -> Call:
    """`bias`: (f,), or `zeros` as wide as a tile; `packed`: see `conv_pack.py`; `pool`: its kind,
    `block` of `block_shape`.
    """
    kernel = sweep_kernel(register_tile(caps, source.dtype.name), pool)
    stride = 0 if bias.size < sweep.target_c else 1
    arrays = (source.reshape(-1), packed, bias, target.reshape(-1), buffer)
    if indices is None:
        indices = np.empty(0, np.uint8)
    block = buffer if block is None else block
    return Call(kernel, tasks(sweep), (sweep, stride, *arrays, indices.reshape(-1), block, *tables))


@cache
def pool_block(tile: Tile, pool: int):
    """pool_block(sweep, block, lines, y, indices): the pooled pixels of as many lines of a block,
    and the activation where it comes last.
    """
    index = 1 if pool == MAX_POOL_INDEXED else 0
    maxima, means, act_numbers = window_max(tile, index), window_mean(tile), activate(tile)
    item, number = tile.item, np.float32 if tile.item == 4 else np.float64

    def rows_of_windows(s, block, lines, y, indices):
        pixel, across = s.target_c * item, s.target_w // s.pw
        line, step = s.target_w * pixel, s.pw * pixel
        for i in range(lines // s.ph):
            x, skip = block + i * s.ph * line, i * across * s.target_c
            to, at = y + skip * item, indices + skip * index
            if pool == MEAN_POOL:
                part = number(1.0 / (s.ph * s.pw))
                means(across, step, x, line, pixel, s.ph, s.pw, part, to, s.target_c)
            else:
                maxima(across, step, x, line, pixel, s.ph, s.pw, 0, s.pw, to, at, s.target_c)
        if pool != MEAN_POOL:
            act_numbers(y, lines // s.ph * across * s.target_c, s.act)

    return jit.always_inline(rows_of_windows)


@cache
def sweep_kernel(tile: Tile, pool: int):
    product, act_numbers, fill = panel_product(tile), activate(tile), fill_block(tile)
    pooled, last = pool_block(tile, pool), pool in (NO_POOL, MEAN_POOL)
    lanes, width, item = tile.lanes, tile.width, tile.item
    number = np.float32 if item == 4 else np.float64
    lowest, zero = number(-np.inf), number(0)

    def sweep_pixels(
        task,
        thread,
        s,
        bias_step,
        source,
        packed,
        bias,
        target,
        buffer,
        indices,
        pool_blocks,
        segments,
        chunks,
        phases,
        sources,
        targets,
    ):
        side, task = task % s.panel_blocks, task // s.panel_blocks
        block, first = task % s.blocks, task // s.blocks * s.images
        images = min(s.images, s.n - first)
        top_row = block * s.rows
        if s.buffer_h > 0:
            a = simd.address(buffer) + thread * buffer.shape[1] * item
            fill(s, a, simd.address(source), first, images, block * s.source_rows + s.top)
        else:
            a = simd.address(source) + (first * s.h + block * s.source_rows) * s.w * s.c * item
        place = (first * s.target_h + top_row) // s.ph * (s.target_w // s.pw) * s.target_c
        y = simd.address(target) + place * item
        c = y
        if pool:
            c = simd.address(pool_blocks) + thread * pool_blocks.shape[1] * item
        height = min(s.rows, s.target_h - top_row)
        panels = (s.group_f + width - 1) // width
        padded = (s.group_f + lanes - 1) // lanes * lanes
        for index in range(s.phases):
            columns = phases[index, 4]
            pixels = images * ((height - phases[index, 3] + s.step_h - 1) // s.step_h) * columns
            source_table = simd.address(sources) + phases[index, 2] * 8
            target_table = simd.address(targets) + phases[index, 2] * 8
            chunk_end = phases[index, 0] + phases[index, 1]
            for part in range(s.groups * panels):
                if part % s.panel_blocks != side:
                    continue
                group, panel = part // panels, part % panels
                left = s.group_f - panel * width
                across = min(width, padded - panel * width)
                b_panel = simd.address(packed) + (group * padded + panel * width) * s.depth * item
                f = group * s.group_f + panel * width
                start = simd.address(bias) + f * bias_step * item
                for k in range(phases[index, 0], chunk_end):
                    clamps = last and s.act == RELU and k + 1 == chunk_end
                    low = zero if clamps else lowest
                    b = b_panel + chunks[k, 3] * across * item
                    segment = simd.address(segments) + chunks[k, 0] * 8
                    resume = int(k > phases[index, 0])
                    product(
                        a + group * s.group_c * item,
                        source_table,
                        item,
                        segment,
                        chunks[k, 1],
                        chunks[k, 2],
                        b,
                        across * item,
                        c + f * item,
                        target_table,
                        pixels,
                        left,
                        start,
                        resume,
                        low,
                    )
        if s.act > RELU and last:
            act_numbers(c, images * height * s.target_w * s.target_c, s.act)
        if pool:
            pooled(s, c, images * height, y, simd.address(indices) + place)

    return jit.kernel(sweep_pixels, constants=(tile, pool))
