"""Convolutions on tensor cores, in TF32 or with operands rounded to bfloat16.

Forward and data gradient by `mma_rows.py`; the weight gradient is in `mma_conv_dw.py`. A data
gradient is made of phases: for the rows h = p (mod sh) of dx only the taps u with (p + pt - u *
dilh) divisible by sh take part, every sh / gcd(sh, dilh)-th, and each phase is a convolution of dy
with stride 1 and its own packed weights.

TF32 takes x as it is, if its channels are whole chunks of 16 bytes. Else a pass pads them, and for
bfloat16 one makes halves of them. Chosen before other algorithms wherever they are accepted: not
yet compared on a GPU.
"""

from math import gcd

from nbcnn.kernels.cuda import mma_pack, mma_rows
from nbcnn.kernels.cuda.call import Caps, Launch
from nbcnn.kernels.cuda.mma_pack import Weights
from nbcnn.kernels.cuda.mma_rows import Rows
from nbcnn.kernels.cuda.mma_tiles import (
    chunks_of,
    name_of,
    refuses,
    rtol_of,
    tile_for,
    too_long,
)
from nbcnn.kernels.impl import Impl, Scratch, no_pool
from nbcnn.ops.conv_spec import LINEAR, Conv2DSpec

MOST_PHASES = 16  # of a data gradient: each is a launch


def refuses_geometry(s: Conv2DSpec, bfloat16: bool) -> str | None:
    if s.groups > 1:
        return "groups"
    c, f = mma_pack.padded(s.c, bfloat16), mma_pack.padded(s.f, bfloat16)
    sizes = s.n * s.h * s.w * c, s.n * s.oh * s.ow * f, s.kh * s.kw * c * f
    if min(sizes) == 0:
        return "nothing to multiply"
    return too_long(*sizes)


def _accepts(bfloat16: bool, hopper: bool):
    def accepts(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
        return (
            refuses(dtype, bfloat16, hopper, caps)
            or no_pool(spec, dtype, caps)
            or refuses_geometry(spec, bfloat16)
        )

    return accepts


def _accepts_dx(bfloat16: bool, hopper: bool):
    def accepts(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
        if spec.sh * spec.sw > MOST_PHASES:
            return f"{spec.sh * spec.sw} phases"
        return refuses(dtype, bfloat16, hopper, caps) or refuses_geometry(spec, bfloat16)

    return accepts


def forward(s: Conv2DSpec, bfloat16: bool) -> Rows:
    return Rows(
        s.n, s.h, s.w, chunks_of(s.c, bfloat16), s.f, s.kh, s.kw, s.oh, s.ow,
        s.sh, s.sw, s.dilh, s.dilw, s.pt, s.pl, s.oh, s.ow, bias=s.bias,
    )  # fmt: skip


def _taps(phase: int, pad: int, taps: int, stride: int, dilation: int) -> tuple[int, int, int]:
    """(first tap, distance, count) of those that reach rows `phase` (mod stride) of x."""
    every = stride // gcd(stride, dilation)
    first = next(
        (u for u in range(min(every, taps)) if (phase + pad - u * dilation) % stride == 0), taps
    )
    return first, every, len(range(first, taps, every))


def phases(s: Conv2DSpec, bfloat16: bool) -> list[tuple[Weights, Rows]]:
    """Convolutions of dy that make up dx."""
    made = []
    for p in range(min(s.sh, s.h)):
        for q in range(min(s.sw, s.w)):
            u0, su, kh = _taps(p, s.pt, s.kh, s.sh, s.dilh)
            v0, sv, kw = _taps(q, s.pl, s.kw, s.sw, s.dilw)
            weights = mma_pack.channels(s)._replace(kh=kh, kw=kw, u0=u0, su=su, v0=v0, sv=sv)
            # Tap u of the phase reads row h' + (p + pt - (u0 + u * su) * dilh) / sh of dy.
            rows = Rows(
                s.n, s.oh, s.ow, chunks_of(s.f, bfloat16), s.c, kh, kw,
                len(range(p, s.h, s.sh)), len(range(q, s.w, s.sw)), 1, 1,
                -(su * s.dilh // s.sh), -(sv * s.dilw // s.sw),
                -((p + s.pt - u0 * s.dilh) // s.sh), -((q + s.pl - v0 * s.dilw) // s.sw),
                s.h, s.w, s.sh, s.sw, p, q,
            )  # fmt: skip
            made.append((weights, rows))
    return made


def _scratch(bfloat16: bool):
    def scratch(s: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
        needed = {"weights": mma_pack.packed_scratch(mma_pack.filters(s), bfloat16)}
        if not mma_pack.in_chunks(s.c, bfloat16):
            needed["source"] = mma_pack.chunks_scratch(s.n * s.h * s.w, s.c, bfloat16)
        return needed

    return scratch


def _scratch_dx(bfloat16: bool):
    def scratch(s: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
        needed = {
            f"weights_{i}": mma_pack.packed_scratch(weights, bfloat16)
            for i, (weights, _) in enumerate(phases(s, bfloat16))
            if weights.words(bfloat16)
        }
        if not mma_pack.in_chunks(s.f, bfloat16):
            needed["source"] = mma_pack.chunks_scratch(s.n * s.oh * s.ow, s.f, bfloat16)
        return needed

    return scratch


def _source(bfloat16: bool, x, steps: int, scratch, caps: Caps) -> tuple[list[Launch], object]:
    """What the products read for x, and the calls that make it."""
    if "source" not in scratch:
        return [], x
    target = scratch["source"]
    return mma_pack.to_chunks(x.size // steps, steps, bfloat16, x, target, caps), target


def _bind(bfloat16: bool, hopper: bool):
    def bind(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Launch]:
        x, w = inputs[:2]
        calls, source = _source(bfloat16, x, spec.c, scratch, caps)
        packed, rows = scratch["weights"], forward(spec, bfloat16)
        tile = tile_for(rows.rows, rows.f, 1, hopper, caps)
        bias = inputs[2] if spec.bias else w
        return [
            *calls,
            *mma_pack.pack(mma_pack.filters(spec), bfloat16, w, packed, caps),
            mma_rows.launch(tile, bfloat16, True, spec.act, rows, source, packed, bias, *outputs),
        ]

    return bind


def _bind_dx(bfloat16: bool, hopper: bool):
    def bind(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Launch]:
        dy, w = inputs
        calls, source = _source(bfloat16, dy, spec.f, scratch, caps)
        for i, (weights, rows) in enumerate(phases(spec, bfloat16)):
            packed = scratch.get(f"weights_{i}", w)  # a phase without taps reads none
            calls += mma_pack.pack(weights, bfloat16, w, packed, caps)
            tile = tile_for(rows.rows, rows.f, 1, hopper, caps)
            operands = source, packed, w, *outputs
            calls.append(mma_rows.launch(tile, bfloat16, True, LINEAR, rows, *operands))
        return calls

    return bind


def _impl(bfloat16: bool, data_gradient: bool, hopper: bool = False) -> Impl:
    forms = (_accepts_dx, _bind_dx, _scratch_dx) if data_gradient else (_accepts, _bind, _scratch)
    accepts, bind, scratch = forms
    return Impl(
        name_of(bfloat16, hopper),
        accepts(bfloat16, hopper),
        bind(bfloat16, hopper),
        scratch(bfloat16),
        rtol=rtol_of(bfloat16, hopper),
    )


conv2d_tf32, conv2d_bfloat16 = _impl(False, False), _impl(True, False)
dx_tf32, dx_bfloat16 = _impl(False, True), _impl(True, True)
hopper_tf32, hopper_bfloat16 = _impl(False, False, True), _impl(True, False, True)
hopper_dx_tf32, hopper_dx_bfloat16 = _impl(False, True, True), _impl(True, True, True)
