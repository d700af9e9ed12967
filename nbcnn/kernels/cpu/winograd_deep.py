"""Winograd's convolution where the kernel is large and tiles are few, 512 -> 512 on 7 x 7 say.

There the transformed kernel, four times as large as w, does not fit in a cache, and to read it once
per block of tiles takes longer than to multiply. So the loops are the other way round:

    values[e][c][t]  of all tiles first, by tasks of some tiles
    a task then has a panel of filters and a group of tiles; for each part of the channels
        u[e][c][f]        transformed in L2 from the taps, which are read once per group
        products[e][t][f] += values * u
    and at the end the output transform

The transform of 32 filters takes as long as the products of four tiles or so, and a group has up to
64, as many as leave room in L2 for u.
"""

from functools import cache

import numpy as np

from nbcnn.kernels.cpu import jit, simd
from nbcnn.kernels.cpu.blocking import Tile
from nbcnn.kernels.cpu.winograd_gather import finder, read_bytes, reader, write_bytes
from nbcnn.kernels.cpu.winograd_gemm import point_product
from nbcnn.kernels.cpu.winograd_kernel import STEPS, transformer
from nbcnn.kernels.cpu.winograd_maps import Form
from nbcnn.kernels.cpu.winograd_output import Pool, output_transform
from nbcnn.ops.conv_spec import RELU

READ = 4  # tiles of a task of the input transform


@cache
def values_kernel(tile: Tile, form: Form):
    read, item, lanes = reader(tile, form), tile.item, tile.lanes

    def deep_values(task, thread, s, source, zeros, values, table):
        reads = simd.address(table) + thread * table.shape[1] * 8
        for number in range(task * READ, min((task + 1) * READ, s.tiles)):
            at = simd.address(values) + number * lanes * item
            read(s, number, simd.address(source), simd.address(zeros), reads, at)

    return jit.kernel(deep_values, constants=(tile, form))


@cache
def panel_kernel(tile: Tile, form: Form, pool: Pool):
    product, into_pixels = point_product(tile), output_transform(tile, form, pool)
    into_points, find = transformer(tile, form), finder(tile, form, pool)
    lanes, width, item, points = tile.lanes, tile.width, tile.item, form.points
    read_table, write_table = read_bytes(form), write_bytes(form, pool)
    zero, lowest = np.float32(0), np.float32(-np.inf)

    def deep_panel(
        task,
        thread,
        s,
        transposed,
        w,
        order,
        bias,
        target,
        winners,
        values,
        taps,
        u,
        products,
        nowhere,
        table,
    ):
        groups = (s.tiles + s.block - 1) // s.block
        first, f = task % groups * s.block, task // groups * width
        count = min(s.block, s.tiles - first)
        across = min(width, (s.f - f + lanes - 1) // lanes * lanes)
        packed = simd.address(taps) + thread * taps.shape[1] * item
        kernel = simd.address(u) + thread * u.shape[1] * item
        m = simd.address(products) + thread * products.shape[1] * item
        dump = simd.address(nowhere) + thread * nowhere.shape[1] * item
        writes = simd.address(table) + thread * table.shape[1] * 8 + read_table
        marks = writes + s.block * write_table
        v, plane = simd.address(values) + first * lanes * item, s.depth * across * item
        for start in range(0, s.c, s.depth):
            depth = min(s.depth, s.c - start)
            for c in range(0, depth, STEPS):
                into_points(
                    simd.address(w),
                    order,
                    s.c,
                    s.f,
                    transposed,
                    start + c,
                    min(STEPS, depth - c),
                    f,
                    packed,
                    kernel + c * across * item,
                    plane,
                )
            for e in range(points):
                product(
                    v + e * s.plane + start // lanes * s.chunk,
                    s.chunk,
                    depth,
                    kernel + e * plane,
                    m + e * s.product_plane,
                    count,
                    across,
                    start,
                )
        low = zero if s.act == RELU else lowest
        for k in range(count):
            at = k * write_table
            find(
                s,
                first + k,
                simd.address(target),
                simd.address(winners),
                dump,
                writes + at,
                marks + at,
            )
            into_pixels(
                m + k * width * item,
                s.product_plane,
                min(width, s.f - f),
                writes + at,
                f * item,
                marks + at if s.indexed else 0,
                simd.address(bias) + f * item,
                low,
            )

    return jit.kernel(deep_panel, constants=(tile, form, pool))
