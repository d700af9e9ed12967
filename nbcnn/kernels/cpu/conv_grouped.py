"""Grouped convolution with few channels a group, and depthwise convolution with a multiplier.

    y[n,i,j,f] = act(b[f] + sum over u, v, k < c/groups of
                     x[n, i*s+u-pt, j*s+v-pl, g*c/groups + k] * w[u,v,k,f]),   g = group of f

The lanes of a vector are the filters of several groups. A vector of input channels is loaded once
and, for each k, permuted such that a lane holds channel k of its group (`group_lanes`); what comes
out meets the weights of all taps, as in the depthwise convolution, whose loops these are
(`depthwise_sweep`, `conv_depthwise`). So every lane of a multiplication counts, where `conv_direct`
uses as many as a group has filters. Weights are packed: those of a vector of filters, tap by tap,
channel by channel, in the order in which the sweep meets them.

Input gradient: a group's filters are what is read and its channels what is made, the packed weights
are transposed and, with stride 1, turned round. Weight gradient: sums for the taps and channels of
a group, in the lanes of its filters.

Chosen where the channels that a group makes divide a vector, undilated, for equal strides of 1 or
2. ResNeXt's 3x3 of 4 and 8 channels a group take 0.2 to 0.5 of the time of `conv_direct`.
"""

import numpy as np

from nbcnn.kernels.cpu import conv_depthwise as depthwise
from nbcnn.kernels.cpu import jit
from nbcnn.kernels.cpu.blocking import ITEM, Tile, register_tile
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.cpu.depthwise_sweep import Sweep
from nbcnn.kernels.impl import Impl, Scratch, no_pool
from nbcnn.ops.conv_spec import Conv2DSpec

MOST_READ = 16  # channels of a group
MOST_PRODUCTS = 320  # multiply-adds of a step of a sweep, which are written out
FEWEST_LANES = 4


def _tile(spec: Conv2DSpec, dtype: str, caps, made: int) -> Tile:
    """Vectors with no more lanes than there are channels to make, `made` a group."""
    tile = register_tile(caps, dtype)
    while tile.lanes > made * spec.groups:
        tile = tile._replace(lanes=tile.lanes // 2)
    return tile


def _refused(spec: Conv2DSpec, dtype: str, caps, read: int, made: int) -> str | None:
    """Why not, for groups of which `read` channels are permuted and `made` are in the lanes."""
    if spec.groups == 1:
        return "no groups"
    if read == made == 1:
        return "depthwise"
    if spec.n == 0:
        return "no images"
    if dtype not in ITEM:
        return f"no {dtype}"
    if spec.dilh > 1 or spec.dilw > 1:
        return "dilated"
    if spec.sh != spec.sw or spec.sh > depthwise.MOST_STRIDE:
        return "stride"
    if max(spec.kh, spec.kw) > depthwise.MOST_TAPS:
        return "large kernel"
    if read > MOST_READ or spec.kh * spec.kw * read > MOST_PRODUCTS:
        return "many channels a group"
    lanes = _tile(spec, dtype, caps, made).lanes
    if lanes < FEWEST_LANES or (lanes % made and made % lanes):
        return "groups do not fill vectors"
    return no_pool(spec, dtype, caps)


def _groups(spec: Conv2DSpec) -> tuple[int, int]:
    """Channels and filters of a group."""
    return spec.c // spec.groups, spec.f // spec.groups


def accepts(spec: Conv2DSpec, dtype: str, caps) -> str | None:
    return _refused_output(spec, dtype, caps, *_groups(spec))


def accepts_dx(spec: Conv2DSpec, dtype: str, caps) -> str | None:
    channels, filters = _groups(spec)
    return _refused_output(spec, dtype, caps, filters, channels)


def accepts_dw(spec: Conv2DSpec, dtype: str, caps) -> str | None:
    channels, filters = _groups(spec)
    if channels > 8 and filters >= 8:  # 16 and 16: 1.4 times the time of `direct`, 16 and 8: 1.15
        return "many channels a group"
    return _refused(spec, dtype, caps, channels, filters)


def _refused_output(spec: Conv2DSpec, dtype: str, caps, read: int, made: int) -> str | None:
    tile = register_tile(caps, dtype)
    # `direct` fills its vectors too, and needs no permutation: of 16 and 16 channels it takes 0.9
    # to 1 of the time, of 8 and 32 as well; of 8 and 16 as long, of 4 and 16 1.2.
    if made >= tile.width or (read > 8 and made >= tile.lanes):
        return "many channels a group"
    return _refused(spec, dtype, caps, read, made)


@jit.kernel
def pack(task, thread, read, made, groups, lanes, transposed, w, order, packed):
    """The weights of vector `task` of what is made."""
    first = min(task * lanes, groups * made - lanes)
    at = task * order.size * read * lanes
    for tap in order:
        for k in range(read):
            for channel in range(first, first + lanes):
                if transposed:
                    row, column = tap * made + channel % made, channel // made * read + k
                    packed[at] = w[row * groups * read + column]
                else:
                    packed[at] = w[(tap * read + k) * groups * made + channel]
                at += 1


def _packed(spec: Conv2DSpec, dtype: str, caps, read: int, made: int) -> dict[str, Scratch]:
    lanes = _tile(spec, dtype, caps, made).lanes
    size = -(-spec.groups * made // lanes) * lanes * spec.kh * spec.kw * read
    return {"packed": Scratch((size,), dtype, constant=True)}


def scratch(spec: Conv2DSpec, dtype: str, caps) -> dict[str, Scratch]:
    return _packed(spec, dtype, caps, *_groups(spec))


def scratch_dx(spec: Conv2DSpec, dtype: str, caps) -> dict[str, Scratch]:
    return _packed(spec, dtype, caps, *reversed(_groups(spec)))


def _output_rows(spec: Conv2DSpec, one: Sweep, tile: Tile, caps) -> int:
    """Rows of a strip, given a sweep of one."""
    if spec.sh > 1:
        # Many channels: the lines of this strip and the next do not fit in L2 with two rows of
        # 56x56x256, which take 1.2 times the time of one. Fewer: 0.9.
        line = spec.w * spec.c * tile.item
        most = 1 if one.spread or 9 * line > 0.4 * caps.l2 else 2
    else:
        most = 4
    free = (caps.registers - 4) // (one.slots * one.made)
    return max(1, min(most, free, MOST_PRODUCTS // (spec.kh * spec.kw * one.inputs)))


def _output_calls(spec, caps, read, made, transposed, arrays, output, packed) -> list[Call]:
    tile = _tile(spec, output.dtype.name, caps, made)
    spread = int(transposed and spec.sh > 1)
    sweep = Sweep(spec.kh, spec.kw, spec.sh, spread, 1, 0, read, made)
    sweep = sweep._replace(rows=_output_rows(spec, sweep, tile, caps))
    order = np.arange(spec.kh * spec.kw)
    if transposed and not spread:
        order = order[::-1].copy()
    source, w, *bias = arrays
    geometry = depthwise.input_plane if transposed else depthwise.plane
    shape = (read, made, spec.groups, tile.lanes, int(transposed))
    vectors = packed.size // (order.size * read * tile.lanes)
    return [
        Call(pack, vectors, (*shape, w.reshape(-1), order, packed), weights_only=True),
        depthwise.output_call(
            tile, sweep, geometry(spec, sweep), spec, (source, packed, *bias), output
        ),
    ]


def bind(spec: Conv2DSpec, caps, inputs, outputs, scratch) -> list[Call]:
    read, made = _groups(spec)
    return _output_calls(spec, caps, read, made, False, inputs, outputs[0], scratch["packed"])


def bind_dx(spec: Conv2DSpec, caps, inputs, outputs, scratch) -> list[Call]:
    made, read = _groups(spec)
    return _output_calls(spec, caps, read, made, True, inputs, outputs[0], scratch["packed"])


def _weight_sweep(spec: Conv2DSpec, caps) -> Sweep:
    """As many rows of the kernel at once, then of dy, as the registers hold."""
    one = Sweep(spec.kh, spec.kw, spec.sh, 0, 1, 0, *_groups(spec))
    row, free = spec.kw * one.inputs, caps.registers - 2
    at_once = max(1, min(spec.kh, (free - one.slots) // row))
    at_once = -(-spec.kh // -(-spec.kh // at_once))
    if spec.kh % at_once:  # the last pass leaves lines out, which works for one row of dy
        return one._replace(kh=at_once)
    rows = (free - at_once * row) // one.slots
    return one._replace(kh=at_once, rows=max(1, min(4, rows)))


def scratch_dw(spec: Conv2DSpec, dtype: str, caps) -> dict[str, Scratch]:
    sweep, tile = _weight_sweep(spec, caps), _tile(spec, dtype, caps, spec.f // spec.groups)
    return depthwise.weight_scratch(spec, sweep, tile, caps)


def bind_dw(spec: Conv2DSpec, caps, inputs, outputs, scratch) -> list[Call]:
    sweep = _weight_sweep(spec, caps)
    tile = _tile(spec, inputs[0].dtype.name, caps, spec.f // spec.groups)
    return depthwise.weight_calls(spec, sweep, tile, inputs, outputs, scratch)


conv2d = Impl("grouped", accepts, bind, scratch)
conv2d_dx = Impl("grouped", accepts_dx, bind_dx, scratch_dx)
conv2d_dw = Impl("grouped", accepts_dw, bind_dw, scratch_dw)
