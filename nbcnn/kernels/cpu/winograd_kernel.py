"""Transformed kernels of Winograd's convolutions: w to u[panel][point][channel][filter].

A panel is a tile's width of filters, the last one as wide as the vectors that it needs. A task
packs the taps of some channels of one panel, in the cache, and transforms them. The input
gradient takes w flipped and transposed: its channels are the filters.

It only reads weights; in inference it runs once for all calls.
"""

from functools import cache

import numpy as np

from nbcnn.kernels.cpu import jit, simd
from nbcnn.kernels.cpu.blocking import Tile, padded_columns, panels, register_tile
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.gemm_pack import pack_columns, pack_rows
from nbcnn.kernels.cpu.winograd_maps import Form
from nbcnn.kernels.cpu.winograd_transforms import kernel_transform
from nbcnn.kernels.impl import Scratch

STEPS = 16  # channels that one task takes: of nine taps 36 KB


def scratch(c: int, f: int, form: Form, caps: Caps) -> dict[str, Scratch]:
    tile = register_tile(caps, "float32")
    size = c * padded_columns(f, tile)
    return {
        "taps": Scratch((caps.threads, form.taps * STEPS * tile.width), "float32"),
        "u": Scratch((form.points * size,), "float32", constant=True),
    }


def call(c: int, f: int, transposed: bool, w, scratch, form: Form, caps: Caps) -> Call:
    """Of `c` channels and `f` filters; `transposed`: w is (kh, kw, f, c), and flipped."""
    tile = register_tile(caps, "float32")
    order = np.arange(form.taps, dtype=np.int64)[:: -1 if transposed else 1].copy()
    args = (c, f, int(transposed), w.reshape(-1), order, scratch["taps"], scratch["u"])
    tasks = panels(f, tile) * -(-c // STEPS)
    return Call(transform(tile, form), tasks, args, weights_only=True)


@cache
def transform(tile: Tile, form: Form):
    as_rows, as_columns = pack_rows(tile), pack_columns(tile)
    into_points, points, taps_count = kernel_transform(tile, form), form.points, form.taps
    lanes, width, item = tile.lanes, tile.width, tile.item

    def transform_kernel(task, thread, c, f, transposed, w, order, taps, u):
        """Some channels of one panel."""
        chunks = (c + STEPS - 1) // STEPS
        filter, channel = task // chunks * width, task % chunks * STEPS
        padded = (f + lanes - 1) // lanes * lanes
        across, count = min(width, padded - filter), min(STEPS, c - channel)
        packed = simd.address(taps) + thread * taps.shape[1] * item
        plane = STEPS * width * item
        for k in range(taps_count):
            tap, at = simd.address(w) + order[k] * c * f * item, packed + k * plane
            if transposed:
                start = tap + (filter * c + channel) * item
                as_columns(at, start, c * item, count, f - filter)
            else:
                as_rows(at, tap + (channel * f + filter) * item, f * item, count, f - filter)
        start = filter * c * points + channel * across
        into_points(
            packed, plane, count * across, simd.address(u) + start * item, c * across * item
        )

    return jit.kernel(transform_kernel, constants=(tile, form))
