"""Padding by what is in the array, forward and backward.

    y[o, z, r, q] = x[o, source of z, of r, of q]      dx = sums of dy over the places of an element

A table says for each of the three axes which element a place shows (-1: a number of the border's
own). Rows of y are dealt out; the middle of a row is a row of x in one piece, the sides are pixels.
Backward a task is some rows of dx, and adds the rows of dy that show each, in order: the one in the
middle of y, then those of the border, which are looked for there only.
"""

from collections.abc import Sequence

import numpy as np

from nbcnn.kernels.cpu import jit, simd
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.cpu.copy import words
from nbcnn.kernels.cpu.shares import BLOCK, blocks, flat
from nbcnn.kernels.cpu.simd_streams import fetch, put
from nbcnn.kernels.impl import Impl, always
from nbcnn.ops.borders import FILL, MODES, BorderSpec

NAMES = {number: name for name, number in MODES.items()}


def sources(s: BorderSpec) -> np.ndarray:
    """The tables of the three axes, one behind the other."""
    found = []
    for size, padded, before in ((s.d, s.od, s.front), (s.h, s.oh, s.top), (s.w, s.ow, s.left)):
        widths, numbers = (before, padded - size - before), np.arange(size)
        if s.mode == FILL:
            found.append(np.pad(numbers, widths, constant_values=-1))
        else:
            mode = NAMES[s.mode] if padded > size else "edge"
            found.append(np.pad(numbers, widths, mode))  # type: ignore[call-overload]
    return np.concatenate(found).astype(np.int64)


@jit.helper
def show(x, source, y, to, count):
    for k in range(count):
        put(y, to + k, fetch(x, source + k), 0)


@jit.kernel
def pad_border(task, thread, spec, per, table, x, fill, y):
    s = spec
    for row in range(task * per, min((task + 1) * per, s.outer * s.od * s.oh)):
        o = row // (s.od * s.oh)
        z, r = table[row // s.oh % s.od], table[s.od + row % s.oh]
        to, own = row * s.ow * s.inner, o * s.inner
        outside = z < 0 or r < 0
        base = 0 if outside else ((o * s.d + z) * s.h + r) * s.w
        if not outside:
            middle = simd.address(y) + (to + s.left * s.inner) * y.itemsize
            source = simd.address(x) + base * s.inner * y.itemsize
            simd.copy_bytes(middle, source, s.w * s.inner * y.itemsize)
        q = 0
        while q < s.ow:
            if q == s.left and not outside and s.w > 0:
                q += s.w
                continue
            source = table[s.od + s.oh + q]
            if outside or source < 0:
                show(fill, own, y, to + q * s.inner, s.inner)
            else:
                show(x, (base + source) * s.inner, y, to + q * s.inner, s.inner)
            q += 1


@jit.helper
def add(dy, source, dx, to, count):
    for k in range(count):
        put(dx, to + k, dx[to + k] + fetch(dy, source + k), 0)


@jit.always_inline
def candidate(number, size, before):
    """Places of an axis that may show one element: number 0 is its own, the others' the border."""
    return number - 1 if number <= before else size + number - 1


@jit.helper
def add_row(s, table, base, begin, dy, dx, to):
    """A row of dy to one of dx; `begin`: it is the first one."""
    if begin:
        show(dy, (base + s.left) * s.inner, dx, to, s.w * s.inner)
    else:
        add(dy, (base + s.left) * s.inner, dx, to, s.w * s.inner)
    for number in range(1, s.ow - s.w + 1):
        q = candidate(number, s.w, s.left)
        add(dy, (base + q) * s.inner, dx, to + table[s.od + s.oh + q] * s.inner, s.inner)


@jit.kernel
def pad_border_dx(task, thread, spec, per, table, dy, dx):
    s = spec
    for row in range(task * per, min((task + 1) * per, s.outer * s.d * s.h)):
        o, z, r = row // (s.d * s.h), row // s.h % s.d, row % s.h
        for i in range(s.od - s.d + 1):
            plane = z + s.front if i == 0 else candidate(i, s.d, s.front)
            if table[plane] != z:
                continue
            for j in range(s.oh - s.h + 1):
                line = r + s.top if j == 0 else candidate(j, s.h, s.top)
                if table[s.od + line] == r:
                    base = ((o * s.od + plane) * s.oh + line) * s.ow
                    add_row(s, table, base, i + j == 0, dy, dx, row * s.w * s.inner)


def bind(spec: BorderSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict) -> list[Call]:
    x, y = words(inputs[0]), words(outputs[0])
    per = max(1, BLOCK // max(1, spec.ow * spec.inner))
    args = (spec, per, sources(spec), x, words(inputs[-1]), y)
    tasks = blocks(spec.outer * spec.od * spec.oh, per) if y.size else 0
    return [Call(pad_border, tasks, args)]


def bind_dx(
    spec: BorderSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict
) -> list[Call]:
    dy, dx = flat(inputs[0]), flat(outputs[0])
    per = max(1, BLOCK // max(1, spec.w * spec.inner))
    tasks = blocks(spec.outer * spec.d * spec.h, per) if dx.size else 0
    return [Call(pad_border_dx, tasks, (spec, per, sources(spec), dy, dx))]


pad_border_impl = Impl("rows", always, bind)
pad_border_dx_impl = Impl("rows", always, bind_dx)
