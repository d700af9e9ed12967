"""Packing convolution weights into the panels that `conv_sweep` reads.

A panel holds up to a tile's width of columns of one group; its rows are the steps of the sum, tap
by tap in the order in which the sweep visits them. Forward: rows are the group's channels, columns
its filters. Input gradient: the other way round. Weights change once per training step, so in
inference the packed ones are kept.
"""

from functools import cache

import numpy as np

from nbcnn.kernels.cpu import jit, simd
from nbcnn.kernels.cpu.blocking import Tile, panels, register_tile
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.gemm_pack import pack_columns, pack_rows
from nbcnn.ops.conv_spec import Conv2DSpec


def call(spec: Conv2DSpec, taps: list[int], transposed: bool, w, packed, caps: Caps) -> Call:
    """Pack w (kh, kw, c / groups, f); `taps`: numbers u * kw + v in the order of the panel's
    rows.
    """
    tile = register_tile(caps, w.dtype.name)
    columns = (spec.c if transposed else spec.f) // spec.groups
    kernel = pack_kernel(tile)
    order = np.array(taps or [0], np.int64)
    args = (spec.groups, spec.c // spec.groups, spec.f // spec.groups, len(taps), int(transposed))
    return Call(
        kernel,
        spec.groups * panels(columns, tile),
        (*args, w.reshape(-1), packed, order),
        weights_only=True,
    )


@cache
def pack_kernel(tile: Tile):
    as_rows, as_columns = pack_rows(tile), pack_columns(tile)
    lanes, width, item = tile.lanes, tile.width, tile.item

    def pack_weights(task, thread, groups, cg, fg, taps, transposed, w, packed, order):
        """One panel of one group."""
        columns, steps = (cg, fg) if transposed else (fg, cg)
        padded = (columns + lanes - 1) // lanes * lanes
        panels = (columns + width - 1) // width
        group, first = task // panels, task % panels * width
        f = groups * fg
        at = simd.address(packed) + (group * padded + first) * steps * taps * item
        row = min(width, padded - first) * item
        for t in range(taps):
            tap = simd.address(w) + (order[t] * cg * f + group * fg) * item
            if transposed:
                as_columns(at, tap + first * f * item, f * item, steps, columns - first)
            else:
                as_rows(at, tap + first * item, f * item, steps, columns - first)
            at += steps * row

    return jit.kernel(pack_weights, constants=(tile,))
