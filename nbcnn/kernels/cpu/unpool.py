"""Places of max pooling's winners, unpooling to places, and its gradient.

    place = (top + u) w + left + v  of the winner u kw + v      y[place, c] += x[i,j,c]
    dx[i,j,c] = dy[place, c]

Places may be any pixels. But those that a pool recorded lie in their own windows, and then nothing
is scattered: for each tap of a window, `place == that pixel` selects vectors of channels. So
kernels do this, count how often a place was found, and start again element by element where not
all were: forward the whole image, which is one task's for the task's channels; backward the window.
Numbers that are no pixels of the image are left out by both, so none leads outside of the arrays.

Forward a task is an image or, of few images, some channels of one: a line of the cache each.
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
            for u in range(u0, u1):
                for v in range(v0, v1):
                    place = (top + u) * s.w + left + v
                    to_y = (image * s.h * s.w + place) * s.c + first
                    found += put_where_equal(x, from_x, places, place, y, to_y, channels, not apart)
    if found != s.oh * s.ow * channels:
        scatter(s, image, first, channels, x, places, y)


@jit.helper
def add_where_equal(dy, from_y, places, place, dx, to_x, channels, begin):
    """The way back of `put_where_equal`; `begin`: the first tap of a window."""
    found, zero, place = int32(0), dx.dtype.type(0), int32(place)
    if begin:
        for k in range(channels):
            hit = fetch(places, to_x + k) == place
            put(dx, to_x + k, fetch(dy, from_y + k) if hit else zero, 0)
            found = int32(found + int32(hit))
    else:
        for k in range(channels):
            hit = fetch(places, to_x + k) == place
            put(dx, to_x + k, fetch(dy, from_y + k) if hit else dx[to_x + k], 0)
            found = int32(found + int32(hit))
    return found


@jit.kernel
def max_unpool2d_dx(task, thread, spec, per, dy, places, dx):
    s = spec
    for row in range(task * per, min((task + 1) * per, s.n * s.oh)):
        base, top = row // s.oh * s.h * s.w, row % s.oh * s.sh - s.pt
        u0, u1 = taps(top, s.h, s.kh)
        for j in range(s.ow):
            left, to_x, found = j * s.sw - s.pl, (row * s.ow + j) * s.c, 0
            v0, v1 = taps(left, s.w, s.kw)
            for u in range(u0, u1):
                for v in range(v0, v1):
                    place = (top + u) * s.w + left + v
                    from_y, begin = (base + place) * s.c, u == u0 and v == v0
                    found += add_where_equal(dy, from_y, places, place, dx, to_x, s.c, begin)
            if found != s.c:
                for k in range(s.c):
                    place = places[to_x + k]
                    inside = place >= 0 and place < s.h * s.w
                    dx[to_x + k] = dy[(base + place) * s.c + k] if inside else 0


def bind_places(
    spec: Pool2DSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    per = per_task(spec.ow * spec.c)
    args = (spec, per, flat(inputs[0]), flat(outputs[0]))
    return [Call(pool_places, blocks(spec.n * spec.oh, per), args)]


def bind(spec: Pool2DSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict) -> list[Call]:
    y = flat(outputs[0])
    line = LINE // y.itemsize
    width = spec.c if spec.n >= FEW else min(spec.c, line)
    parts = blocks(spec.c, width) if spec.c else 0
    args = (spec, parts, width, *map(flat, inputs), y)
    return [Call(max_unpool2d, spec.n * parts, args)]


def bind_dx(
    spec: Pool2DSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    per = per_task(spec.sh * spec.w * spec.c)
    args = (spec, per, *map(flat, inputs), flat(outputs[0]))
    return [Call(max_unpool2d_dx, blocks(spec.n * spec.oh, per), args)]


pool_places_impl = Impl("windows", always, bind_places)
max_unpool2d_impl = Impl("windows", always, bind)
max_unpool2d_dx_impl = Impl("windows", always, bind_dx)
