"""Rows of an image as runs of pixels that lie in their windows the same way.

With stride s, pixels q, q + s, q + 2s, ... lie at the same places of windows that follow each other
(but for a few at the edges). What they get from the windows is a sum over lines of dy that are
contiguous across pixels and channels, so vectors are full whatever the number of channels:

    3 channels, stride 2, dx of the even pixels:  | p0 p0 p0 p2 p2 p2 p4 p4 p4 p6 p6 p6 p8 p8 p8 ..
    one of their windows' dy, a line:             | w0 w0 w0 w1 w1 w1 w2 w2 w2 w3 w3 w3 w4 w4 w4 ..

The pixels of one remainder modulo s are a *phase*. Phases are summed into a buffer in L1 and then
put between each other; with stride 1 there is one phase, which is the row itself. With more than
MOST_CHANNELS the second copy costs more than empty lanes and calls for single pixels.
"""

from functools import cache

import numpy as np

from nbcnn.kernels.cpu import simd, types
from nbcnn.kernels.cpu.blocking import Tile
from nbcnn.kernels.cpu.simd import integer

MOST_CHANNELS = 64  # of 100 with AVX2, 3x3 with stride 2: 0.20 ms by pixels, 0.30 by phases

Axis = tuple[int, int, int, int, int]  # size, padding, window, stride, windows


def windows_at(size: int, pad: int, window: int, stride: int, count: int) -> np.ndarray:
    """(first window, how many) that each of `size` positions lies in, along one axis."""
    position = np.arange(size) + pad
    first = np.clip((position - window) // stride + 1, 0, count)
    stop = np.minimum(position // stride + 1, count)
    return np.stack([first, np.maximum(stop - first, 0)], axis=1).astype(np.int64)


def parts_of(size: int, pad: int, window: int, stride: int, count: int) -> np.ndarray:
    """One over the positions of each window that lie inside, along one axis."""
    start = np.arange(count) * stride - pad
    return 1.0 / (np.minimum(start + window, size) - np.maximum(start, 0))


def phase_pixels(size: int, stride: int) -> int:
    """Places of a phase in the buffer."""
    return -(-size // stride)


def runs(axis: Axis, phased: bool, parts: np.ndarray | None = None) -> np.ndarray:
    """(first window, windows, place in the first of them, place in the buffer, pixels) of each run;
    `parts`: of the windows, those of a run's pixels are equal. Where the axis has phases but they
    are not wanted, a run is a pixel and its place that in the row.
    """
    size, pad, _, stride, _ = axis
    table, found = windows_at(*axis), []
    for phase in range(min(stride, size)):
        last = None
        for i, at in enumerate(range(phase, size, stride)):
            first, many = table[at] if table[at, 1] else (0, 0)
            shares = () if parts is None else tuple(parts[first : first + many])
            alike = (many, at + pad - first * stride if many else 0, shares)
            if alike == last:
                found[-1][-1] += 1
            else:
                place = phase * phase_pixels(size, stride) + i if phased else at
                found.append([first, many, alike[1], place, 1])
            last = alike if phased or stride == 1 else None
    return np.array(found, np.int64).reshape(-1, 5)


@cache
def interleave(tile: Tile):
    """interleave(target, end, source, pixels, phases, apart, channels): a row of `pixels` pixels
    from its phases, `apart` bytes from each other.

    Pixels are written in order as whole vectors, over what comes after; only if the last one has
    too little space up to `end`, under masks. Vectors are no wider than a pixel needs, as stores
    that cross lines take longer.
    """

    def build(b, args):
        pixel = b.mul(args[-1], integer(tile.item))
        found = [(size // tile.item, 1) for size in (16, 32, 64)]
        found = [each for each in found if each[0] <= tile.lanes]
        choices = [*found, (tile.lanes, 2), (tile.lanes, 0)]

        def emit(lanes, vectors, *rest):
            if not rest:
                _interleave(b, Tile(1, 1, lanes, tile.item), vectors, pixel, *args)
                return
            fits = b.icmp_signed("<=", pixel, integer(vectors * lanes * tile.item))
            with b.if_else(fits) as (here, wider):
                with here:
                    _interleave(b, Tile(1, 1, lanes, tile.item), vectors, pixel, *args)
                with wider:
                    emit(*rest[0], *rest[1:])

        emit(*choices[0], *choices[1:])

    return simd.emit(types.void, (types.intp,) * 7, build)


def _interleave(
    b, tile: Tile, vectors, pixel, target, end, source, pixels, phases, apart, channels
):
    """`vectors`: of a pixel, 0 for any number."""
    vector, size = simd.vector_type(tile.lanes, tile.item), tile.lanes * tile.item
    padded = b.and_(b.add(pixel, integer(size - 1)), integer(-size))
    last = b.add(target, b.mul(b.sub(pixels, integer(1)), pixel))

    def copy(at, to, store):
        if vectors:
            for k in range(0, vectors * size, size):
                store(simd.load_vector(b, b.add(at, integer(k)), vector), to, integer(k))
        else:
            with simd.loop(b, pixel, size) as k:
                store(simd.load_vector(b, b.add(at, k), vector), to, k)

    def plain(value, to, k):
        simd.store_vector(b, value, b.add(to, k))

    def masked(value, to, k):
        mask = simd.first_lanes(b, b.sub(channels, b.sdiv(k, integer(tile.item))), tile.lanes)
        simd.masked_store(b, value, b.add(to, k), mask)

    def group(first, to, count):
        """Neighbours, one of each phase; where the next one goes."""
        with simd.loop(b, count, values=[first, to]) as (_, places):
            copy(*places, plain)
            places[:] = b.add(places[0], apart), b.add(places[1], pixel)
        return places[1]

    with b.if_else(b.icmp_signed("<=", b.add(last, padded), end)) as (roomy, tight):
        with roomy:
            groups, rest = b.sdiv(pixels, phases), b.srem(pixels, phases)
            with simd.loop(b, groups, values=[source, target]) as (_, pointers):
                first, to = pointers
                pointers[:] = b.add(first, pixel), group(first, to, phases)
            group(pointers[0], pointers[1], rest)
        with tight, simd.loop(b, pixels) as i:
            place = b.mul(b.srem(i, phases), apart), b.mul(b.sdiv(i, phases), pixel)
            copy(b.add(source, b.add(*place)), b.add(target, b.mul(i, pixel)), masked)
