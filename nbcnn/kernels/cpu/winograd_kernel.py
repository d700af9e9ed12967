"""Transformed kernels of Winograd's convolutions: w to u[panel][point][channel][filter].

A panel is a tile's width of filters, the last one as wide as the vectors that it needs. A task
packs the taps of some channels of one panel, in the cache, and transforms them. The input
gradient takes w flipped and transposed: its channels are the filters.

It only reads weights; in inference it runs once for all calls. `winograd_deep` transforms kernels
as it goes instead.
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


def order(form: Form, transposed: bool) -> np.ndarray:
    """Of the taps in memory."""
    return np.arange(form.taps, dtype=np.int64)[:: -1 if transposed else 1].copy()


def call(c: int, f: int, transposed: bool, w, scratch, form: Form, caps: Caps) -> Call:
    """Of `c` channels and `f` filters; `transposed`: w is (kh, kw, f, c), and flipped."""
    tile = register_tile(caps, "float32")
    taps = order(form, transposed)
    args = (c, f, int(transposed), w.reshape(-1), taps, scratch["taps"], scratch["u"])
    tasks = panels(f, tile) * -(-c // STEPS)
    return Call(transform(tile, form), tasks, args, weights_only=True)


@cache
def transformer(tile: Tile, form: Form):
    """A function for kernels:

        transform(w, order, c, f, transposed, channel, count, filter, packed, u, plane)

    `count` channels, at most STEPS, of the panel that begins with a filter: their taps are packed
    and become values at the points, `plane` bytes apart.
    """
    as_rows, as_columns = pack_rows(tile), pack_columns(tile)
    into_points, taps, item = kernel_transform(tile, form), form.taps, tile.item
    lanes, width = tile.lanes, tile.width
    apart = STEPS * width * item

    def transform(w, order, c, f, transposed, channel, count, filter, packed, u, plane):
        for k in range(taps):
            tap, at = w + order[k] * c * f * item, packed + k * apart
            if transposed:
                start = tap + (filter * c + channel) * item
                as_columns(at, start, c * item, count, f - filter)
            else:
                as_rows(at, tap + (channel * f + filter) * item, f * item, count, f - filter)
        across = min(width, (f - filter + lanes - 1) // lanes * lanes)
        into_points(packed, apart, count * across, u, plane)

    return jit.always_inline(transform)


@cache
def transform(tile: Tile, form: Form):
    into_points, points = transformer(tile, form), form.points
    lanes, width, item = tile.lanes, tile.width, tile.item

    def transform_kernel(task, thread, c, f, transposed, w, order, taps, u):
        """Some channels of one panel."""
        chunks = (c + STEPS - 1) // STEPS
        filter, channel = task // chunks * width, task % chunks * STEPS
        across = min(width, (f - filter + lanes - 1) // lanes * lanes)
        into_points(
            simd.address(w),
            order,
            c,
            f,
            transposed,
            channel,
            min(STEPS, c - channel),
            filter,
            simd.address(taps) + thread * taps.shape[1] * item,
            simd.address(u) + (filter * c * points + channel * across) * item,
            c * across * item,
        )

    return jit.kernel(transform_kernel, constants=(tile, form))
