"""Grouped convolution with few channels a group, and depthwise convolution with a multiplier.

    y[n,i,j,f] = act(b[f] + sum over u, v, k < c/groups of
                     x[n, i*s+u-pt, j*s+v-pl, g*c/groups + k] * w[u,v,k,f]),   g = group of f

The lanes of a vector are output channels of several groups. A vector of input channels is loaded
once, for each k permuted such that a lane holds channel k of its group (`group_lanes`), and each of
these vectors meets the weights of all taps, as in the depthwise convolution, whose loops these are
(`depthwise_sweep`, `conv_depthwise`). So no lane of a multiplication is wasted, where `conv_direct`
uses as many as a group has filters. Weights are packed: of a vector of output channels, tap by tap,
in the order in which the sweep meets them.

Input gradient: groups have their filters as inputs and their channels as outputs; packed weights
are transposed.

Chosen for groups of few channels that divide a vector, undilated kernels and equal strides of 1
or 2.
"""

import numpy as np

from nbcnn.kernels.cpu import conv_depthwise as depthwise
from nbcnn.kernels.cpu import jit
from nbcnn.kernels.cpu.blocking import ITEM, Tile, register_tile
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.cpu.depthwise_sweep import Sweep
from nbcnn.kernels.impl import Impl, Scratch, no_pool
from nbcnn.ops.conv_spec import Conv2DSpec

MOST_STEP = 320  # multiply-adds of a step of a sweep: its code


def _groups(spec: Conv2DSpec) -> tuple[int, int]:
    """Channels and filters of a group."""
    return spec.c // spec.groups, spec.f // spec.groups


def _tile(caps, dtype: str) -> Tile:
    return register_tile(caps, dtype)


def _accepts(spec: Conv2DSpec, dtype: str, caps, read: int, made: int) -> str | None:
    """`read`, `made`: channels of a group in the vectors that are permuted, in the lanes."""
    if spec.groups in (1, spec.c * (spec.f == spec.c)):
        return "no groups"
    if spec.n == 0:
        return "no images"
    if dtype not in ITEM:
        return f"no {dtype}"
    if spec.dilh > 1 or spec.dilw > 1:
        return "dilated"
    if spec.sh != spec.sw or spec.sh > depthwise.MOST_STRIDE:
        return "stride"
    if _tile(caps, dtype).lanes % made or made * spec.groups < _tile(caps, dtype).lanes:
        return "lanes"
    if read > 16 or max(spec.kh, spec.kw) > 7 or spec.kh * spec.kw * read > MOST_STEP:
        return "many weights a group"
    return no_pool(spec, dtype, caps)


def accepts(spec: Conv2DSpec, dtype: str, caps) -> str | None:
    return _accepts(spec, dtype, caps, *_groups(spec))


def accepts_dx(spec: Conv2DSpec, dtype: str, caps) -> str | None:
    return _accepts(spec, dtype, caps, *reversed(_groups(spec)))


ROWS = 4
def _strip(spec: Conv2DSpec, caps, spread: int, read: int, made: int) -> Sweep:
    one = Sweep(spec.kh, spec.kw, spec.sh, spread, 1, 0, read, made)
    taps = spec.kh * spec.kw * read
    free = (caps.registers - 4) // (one.slots * one.made)
    return one._replace(rows=max(1, min(ROWS, free, MOST_STEP // taps)))


@jit.kernel
def pack(task, thread, inputs, outputs, groups, lanes, transposed, w, order, packed):
    """The weights of vector `task` of the output channels."""
    first = min(task * lanes, groups * outputs - lanes)
    at = task * order.size * inputs * lanes
    for tap in order:
        for k in range(inputs):
            for lane in range(lanes):
                made = first + lane
                if transposed:
                    group, o = made // outputs, made % outputs
                    source = (tap * outputs + o) * groups * inputs + group * inputs + k
                else:
                    source = (tap * inputs + k) * groups * outputs + made
                packed[at] = w[source]
                at += 1


def _packing(spec, sweep: Sweep, tile: Tile, transposed: bool, w, packed) -> Call:
    order = np.arange(spec.kh * spec.kw)
    if transposed and not sweep.spread:
        order = order[::-1].copy()
    args = (sweep.inputs, sweep.outputs, spec.groups, tile.lanes, int(transposed))
    vectors = -(-spec.groups * sweep.outputs // tile.lanes)
    return Call(pack, vectors, (*args, w.reshape(-1), order, packed), weights_only=True)


def _scratch(spec: Conv2DSpec, dtype: str, caps, read: int, made: int) -> dict[str, Scratch]:
    vectors = -(-spec.groups * made // _tile(caps, dtype).lanes)
    size = vectors * spec.kh * spec.kw * read * _tile(caps, dtype).lanes
    return {"packed": Scratch((size,), dtype, constant=True)}


def scratch(spec: Conv2DSpec, dtype: str, caps) -> dict[str, Scratch]:
    return _scratch(spec, dtype, caps, *_groups(spec))


def scratch_dx(spec: Conv2DSpec, dtype: str, caps) -> dict[str, Scratch]:
    return _scratch(spec, dtype, caps, *reversed(_groups(spec)))


def bind(spec: Conv2DSpec, caps, inputs, outputs, scratch) -> list[Call]:
    tile, packed = _tile(caps, outputs[0].dtype.name), scratch["packed"]
    sweep = _strip(spec, caps, 0, *_groups(spec))
    arrays = (inputs[0], packed, *inputs[2:])
    return [
        _packing(spec, sweep, tile, False, inputs[1], packed),
        depthwise.output_call(
            tile, sweep, depthwise.plane(spec, sweep), spec, arrays, outputs[0]
        ),
    ]


def bind_dx(spec: Conv2DSpec, caps, inputs, outputs, scratch) -> list[Call]:
    tile, packed = _tile(caps, outputs[0].dtype.name), scratch["packed"]
    sweep = _strip(spec, caps, int(spec.sh > 1), *reversed(_groups(spec)))
    plane = depthwise.input_plane(spec, sweep)
    return [
        _packing(spec, sweep, tile, True, inputs[1], packed),
        depthwise.output_call(tile, sweep, plane, spec, (inputs[0], packed), outputs[0]),
    ]


def _weight_strip(spec: Conv2DSpec, caps) -> Sweep:
    """As many rows of the kernel at once, then of dy, as the registers hold."""
    read, made = _groups(spec)
    one = Sweep(spec.kh, spec.kw, spec.sh, 0, 1, 0, read, made)
    free = caps.registers - 2
    most = max(1, min(spec.kh, (free - one.slots) // (spec.kw * read)))
    passes = -(-spec.kh // most)
    at_once = -(-spec.kh // passes)
    one = one._replace(kh=at_once)
    if passes * at_once != spec.kh:  # the last pass leaves lines out, which works for one row of dy
        return one
    rows = (free - at_once * spec.kw * read) // one.slots
    return one._replace(rows=max(1, min(ROWS, rows)))


def accepts_dw(spec: Conv2DSpec, dtype: str, caps) -> str | None:
    return _accepts(spec, dtype, caps, *_groups(spec))


def scratch_dw(spec: Conv2DSpec, dtype: str, caps) -> dict[str, Scratch]:
    sweep, tile = _weight_strip(spec, caps), _tile(caps, dtype)
    return depthwise.weight_scratch(spec, sweep, tile, caps)


def bind_dw(spec: Conv2DSpec, caps, inputs, outputs, scratch) -> list[Call]:
    sweep, tile = _weight_strip(spec, caps), _tile(caps, inputs[0].dtype.name)
    return depthwise.weight_calls(spec, sweep, tile, inputs, outputs, scratch)


conv2d = Impl("grouped", accepts, bind, scratch)
conv2d_dx = Impl("grouped", accepts_dx, bind_dx, scratch_dx)
conv2d_dw = Impl("grouped", accepts_dw, bind_dw, scratch_dw)
