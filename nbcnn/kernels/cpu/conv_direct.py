"""Direct convolution: no im2col buffer, the register-tiled micro-kernel runs over NHWC images
themselves.

    y[n,i,j,f] = act(b[f] + sum over u, v, c of x[n, i*sh + u*dilh - pt, j*sw + v*dilw - pl, c] *
    w[u,v,c,f])

Forward. The tile's rows are output pixels, its columns filters; the sum runs over (u, v, c), where
the taps of one kernel row are consecutive in memory (`conv_sweep.py`). Any stride, dilation,
padding, group and channel count.

Input gradient. dx[h] receives dy[i] * w[u] where i*sh + u*dilh - pt = h. For the rows h = p (mod
sh) only the taps with (p + pt - u*dilh) divisible by sh take part, and i = h' + (p + pt - u*dilh) /
sh with h = p + h' * sh: each of the sh * sw phases is a convolution of dy with stride 1. Every
element of dx is written exactly once.

A pool in the tail is made from blocks in L2, if some rows of windows fit there.

Chosen for float32 and float64 unless a special algorithm takes the shape. Groups with less than a
vector of filters waste the rest of the vector; `conv_grouped` takes most of these, and what it
leaves is still five to ten times as fast here as by im2col or plain loops.
"""

import numpy as np

from nbcnn.kernels.cpu import conv_pack, conv_sweep, conv_sweep_plan
from nbcnn.kernels.cpu.blocking import ITEM, register_tile
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.conv_sweep_plan import Image, Phase, Pool
from nbcnn.kernels.impl import Impl, Scratch
from nbcnn.ops.conv_spec import MAX_POOL_INDEXED, Conv2DSpec


def accepts(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    if dtype not in ITEM:
        return f"no {dtype}"
    if spec.n == 0:
        return "no images"
    if spec.pool == MAX_POOL_INDEXED and spec.ph * spec.pw > 255:
        return "the pool's indices take more than a byte"
    if spec.pool and spec.ph * spec.ow * spec.f * ITEM[dtype] > caps.l2 // 2:
        return "a row of the pool's windows does not fit in L2"
    return None


def plan(s: Conv2DSpec, dtype: str, caps: Caps):
    """(sweep, tables, order of the taps) of the forward pass."""
    s = conv_sweep_plan.pixelwise(s)
    taps = [(u * s.dilh - s.pt, v * s.dilw - s.pl) for u in range(s.kh) for v in range(s.kw)]
    source = Image(s.n, s.h, s.w, s.c)
    target = Image(s.n, s.oh // s.ph * s.ph, s.ow // s.pw * s.pw, s.f)
    phases, pool = [Phase(0, 0, tuple(taps))], Pool(s.pool, s.ph, s.pw)
    made = conv_sweep_plan.make(
        source, target, s.groups, phases, (s.sh, s.sw), (1, 1), s.act, dtype, caps, pool
    )
    return *made, list(range(s.kh * s.kw))


def plan_dx(s: Conv2DSpec, dtype: str, caps: Caps):
    """(sweep, tables, order of the taps) of the input gradient."""
    s = conv_sweep_plan.pixelwise(s)
    phases, order = [], []
    for p in range(min(s.sh, s.h)):
        for q in range(min(s.sw, s.w)):
            taps = [
                ((p + s.pt - u * s.dilh) // s.sh, (q + s.pl - v * s.dilw) // s.sw, u * s.kw + v)
                for u in range(s.kh)
                for v in range(s.kw)
                if (p + s.pt - u * s.dilh) % s.sh == 0 and (q + s.pl - v * s.dilw) % s.sw == 0
            ]
            taps.sort()
            phases.append(Phase(p, q, tuple((du, dv) for du, dv, _ in taps)))
            order += [tap for _, _, tap in taps]
    source, target = Image(s.n, s.oh, s.ow, s.f), Image(s.n, s.h, s.w, s.c)
    made = conv_sweep_plan.make(
        source, target, s.groups, phases, (1, 1), (s.sh, s.sw), 0, dtype, caps, Pool()
    )
    return *made, order


def _scratch(planner):
    def scratch(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
        sweep = planner(spec, dtype, caps)[0]
        packed = conv_sweep_plan.packed_shape(sweep, register_tile(caps, dtype))
        needed = {
            "packed": Scratch(packed, dtype, constant=True),
            "buffer": Scratch(conv_sweep_plan.buffer_shape(sweep, ITEM[dtype], caps), dtype),
        }
        if spec.pool:
            needed["block"] = Scratch(conv_sweep_plan.block_shape(sweep, caps), dtype)
        return needed

    return scratch


def _calls(spec, planner, transposed, source, w, bias, outputs, scratch, caps) -> list[Call]:
    dtype = source.dtype.name
    sweep, tables, order = planner(spec, dtype, caps)
    if bias is None:
        bias = np.zeros(register_tile(caps, dtype).width, dtype)
    packed = scratch["packed"]
    return [
        conv_pack.call(spec, order, transposed, w, packed, caps),
        conv_sweep.call(
            sweep,
            tables,
            source,
            packed,
            bias,
            outputs[0],
            scratch["buffer"],
            caps,
            spec.pool,
            outputs[1] if len(outputs) > 1 else None,
            scratch.get("block"),
        ),
    ]


def bind(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    bias = inputs[2] if spec.bias else None
    return _calls(spec, plan, False, inputs[0], inputs[1], bias, outputs, scratch, caps)


def bind_dx(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    return _calls(spec, plan_dx, True, inputs[0], inputs[1], None, outputs, scratch, caps)


conv2d = Impl("direct", accepts, bind, _scratch(plan))
dx = Impl("direct", accepts, bind_dx, _scratch(plan_dx))
