"""Places of max pooling's winners, unpooling to places, and its gradient.

    place = (top + u) w + left + v  of the winner u kw + v      y[place, c] += x[i,j,c]
    dx[i,j,c] = dy[place, c]

Places may be any pixels. But those that a pool recorded lie in their own windows, and then nothing
is scattered: for each tap of a window, `place == that pixel` selects vectors of channels, all four
taps at once where it is 2 x 2. So the kernel does this, counts how often a place was found, and
starts again element by element where not all were, with the whole image: it is one task's for the
task's channels. Backward, other windows and places are gathered. Numbers that are no pixels of the
image are left out by both, so none leads outside of the arrays.

Forward a task is an image or, of few images, some channels of one, in lines of the cache.
"""

from collections.abc import Sequence

from nbcnn.kernels.cpu import jit
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.cpu.pool import per_task, taps
from nbcnn.kernels.cpu.shares import blocks, flat
from nbcnn.kernels.cpu.simd_streams import fetch, put
from nbcnn.kernels.cpu.types import int32
from nbcnn.kernels.impl import Impl, always
from nbcnn.ops.pool import Pool2DSpec

FEW = 16  # images; fewer are dealt out in parts
LINE = 64  # bytes


@jit.kernel
def pool_places(task, thread, spec, per, winners, places):
    s = spec
    for row in range(task * per, min((task + 1) * per, s.n * s.oh)):
        top = row % s.oh * s.sh - s.pt
        for j in range(s.ow):
            first, at = int32(top * s.w + j * s.sw - s.pl), (row * s.ow + j) * s.c
            window, rest = int32(s.kw), int32(s.w - s.kw)
            if s.kh * s.kw <= 255:  # division by multiplication, exact for bytes
                factor = int32((1 << 16) // s.kw + 1)
                for k in range(s.c):
                    winner = int32(fetch(winners, at + k))
                    row_of = int32(int32(winner * factor) >> 16)
                    put(places, at + k, int32(int32(first + winner) + int32(row_of * rest)), 0)
            else:
                for k in range(s.c):
                    winner = int32(fetch(winners, at + k))
                    put(places, at + k, first + winner + winner // window * rest, 0)


@jit.helper
def put_where_equal(x, from_x, places, place, y, to_y, channels, add):
    """One tap of a window: how many of its channels have this place."""
    found, zero, place = int32(0), y.dtype.type(0), int32(place)
    if add:
        for k in range(channels):
            hit = fetch(places, from_x + k) == place
            put(y, to_y + k, y[to_y + k] + (fetch(x, from_x + k) if hit else zero), 0)
            found = int32(found + int32(hit))
    else:
        for k in range(channels):
            hit = fetch(places, from_x + k) == place
            put(y, to_y + k, fetch(x, from_x + k) if hit else zero, 0)
            found = int32(found + int32(hit))
    return found


@jit.helper
def put_in_square(s, x, from_x, places, place, y, to_y, channels):
    """All four taps of a window of 2 x 2: how many of its channels are in there."""
    found, zero, down = int32(0), y.dtype.type(0), s.w * s.c
    first, second = int32(place), int32(place + 1)
    third, fourth = int32(place + s.w), int32(place + s.w + 1)
    for k in range(channels):
        value, own = fetch(x, from_x + k), fetch(places, from_x + k)
        put(y, to_y + k, value if own == first else zero, 0)
        put(y, to_y + s.c + k, value if own == second else zero, 1)
        put(y, to_y + down + k, value if own == third else zero, 2)
        put(y, to_y + down + s.c + k, value if own == fourth else zero, 3)
        above, below = own == first or own == second, own == third or own == fourth
        found = int32(found + int32(above or below))
    return found


@jit.helper
def clear(s, image, first, channels, y):
    """Zeros for some channels of an image."""
    for pixel in range(image * s.h * s.w, (image + 1) * s.h * s.w):
        for k in range(channels):
            put(y, pixel * s.c + first + k, 0, 0)


@jit.helper
def scatter(s, image, first, channels, x, places, y):
    """Some channels of an image element by element, onto zeros."""
    clear(s, image, first, channels, y)
    base = image * s.h * s.w
    for window in range(image * s.oh * s.ow, (image + 1) * s.oh * s.ow):
        for k in range(first, first + channels):
            place = places[window * s.c + k]
            if place >= 0 and place < s.h * s.w:
                y[(base + place) * s.c + k] += x[window * s.c + k]


@jit.kernel
def max_unpool2d(task, thread, spec, parts, width, x, places, y):
    """Image task // parts, `width` channels of it."""
    s, image, first = spec, task // parts, task % parts * width
    channels = min(width, s.c - first)
    apart = s.kh <= s.sh and s.kw <= s.sw
    square = apart and s.kh == 2 and s.kw == 2
    tiled = s.pt == 0 and s.pl == 0 and s.kh == s.sh and s.kw == s.sw
    if not (tiled and s.oh * s.kh == s.h and s.ow * s.kw == s.w):
        clear(s, image, first, channels, y)
    found = 0
    for i in range(s.oh):
        top = i * s.sh - s.pt
        u0, u1 = taps(top, s.h, s.kh)
        for j in range(s.ow):
            left = j * s.sw - s.pl
            v0, v1 = taps(left, s.w, s.kw)
            from_x = ((image * s.oh + i) * s.ow + j) * s.c + first
            if square and u1 - u0 == 2 and v1 - v0 == 2:
                place = top * s.w + left
                to_y = (image * s.h * s.w + place) * s.c + first
                found += put_in_square(s, x, from_x, places, place, y, to_y, channels)
                continue
            for u in range(u0, u1):
                for v in range(v0, v1):
                    place = (top + u) * s.w + left + v
                    to_y = (image * s.h * s.w + place) * s.c + first
                    found += put_where_equal(x, from_x, places, place, y, to_y, channels, not apart)
    if found != s.oh * s.ow * channels:
        scatter(s, image, first, channels, x, places, y)


@jit.helper
def take_from_square(s, dy, from_y, places, place, dx, to_x):
    """The way back of `put_in_square`."""
    found, zero, down = int32(0), dx.dtype.type(0), s.w * s.c
    first, second = int32(place), int32(place + 1)
    third, fourth = int32(place + s.w), int32(place + s.w + 1)
    for k in range(s.c):
        own, value = fetch(places, to_x + k), fetch(dy, from_y + k)
        right, low = fetch(dy, from_y + s.c + k), fetch(dy, from_y + down + k)
        last = fetch(dy, from_y + down + s.c + k)
        above = value if own == first else right
        below = low if own == third else last
        upper, lower = own == first or own == second, own == third or own == fourth
        put(dx, to_x + k, above if upper else (below if lower else zero), 0)
        found = int32(found + int32(upper or lower))
    return found


@jit.helper
def gather(s, dy, base, places, dx, to_x):
    """A window element by element."""
    pixels, zero = s.h * s.w, dx.dtype.type(0)
    for k in range(s.c):
        place = fetch(places, to_x + k)
        inside = place >= 0 and place < pixels
        value = fetch(dy, (base + (place if inside else 0)) * s.c + k)
        put(dx, to_x + k, value if inside else zero, 0)


@jit.kernel
def max_unpool2d_dx(task, thread, spec, per, dy, places, dx):
    s = spec
    for row in range(task * per, min((task + 1) * per, s.n * s.oh)):
        base, top = row // s.oh * s.h * s.w, row % s.oh * s.sh - s.pt
        square = s.kh == 2 and s.kw == 2 and top >= 0 and top + 2 <= s.h
        for j in range(s.ow):
            left, to_x, found = j * s.sw - s.pl, (row * s.ow + j) * s.c, 0
            if square and left >= 0 and left + 2 <= s.w:
                place = top * s.w + left
                from_y = (base + place) * s.c
                found = take_from_square(s, dy, from_y, places, place, dx, to_x)
            if found != s.c:
                gather(s, dy, base, places, dx, to_x)


def bind_places(
    spec: Pool2DSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    per = per_task(spec.ow * spec.c)
    args = (spec, per, flat(inputs[0]), flat(outputs[0]))
    return [Call(pool_places, blocks(spec.n * spec.oh, per), args)]


def bind(spec: Pool2DSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict) -> list[Call]:
    y = flat(outputs[0])
    line = LINE // y.itemsize
    lines = blocks(spec.c, line)
    width = blocks(lines, blocks(FEW, max(spec.n, 1))) * line
    parts = blocks(spec.c, width) if spec.c else 0
    args = (spec, parts, width, *map(flat, inputs), y)
    return [Call(max_unpool2d, spec.n * parts, args)]


def bind_dx(
    spec: Pool2DSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    per = per_task(spec.ow * spec.c)
    args = (spec, per, *map(flat, inputs), flat(outputs[0]))
    return [Call(max_unpool2d_dx, blocks(spec.n * spec.oh, per), args)]


pool_places_impl = Impl("windows", always, bind_places)
max_unpool2d_impl = Impl("windows", always, bind)
max_unpool2d_dx_impl = Impl("windows", always, bind_dx)
