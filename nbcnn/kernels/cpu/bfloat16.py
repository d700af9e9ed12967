"""Products of operands rounded to bfloat16, by the processor's dot-product instruction.

    y = act(b + sum over l of r(x[., l]) * r(w[l, .])),    r: to bfloat16

Operands become pairs (`bfloat16_pairs.py`), in scratch of half their size; then the float32 kernels
run on pairs as if they were numbers: matrix products by `gemm.py`, convolutions and their input
gradients by `conv_direct.py` with half the channels. The weight gradient of a pointwise convolution
is the product of the transposed input and dy. 32 multiply-adds an instruction instead of 16: twice
the float32 peak, less the passes that make pairs.

The instruction takes numbers below 2^-126 for zeros and rounds sums to nearest in every step.

Chosen where the processor has the instruction (AVX512-BF16), and each converted number is used in
enough products to pay for the conversion: with 200 of them 1.0 to 1.3 times as fast as float32,
with 1000 of them 1.5 to 1.9 times. Not where Winograd's algorithm takes the shape in float32: it
saves more.
"""

from nbcnn.kernels.cpu import conv_direct, conv_winograd, gemm
from nbcnn.kernels.cpu.bfloat16_pairs import pair_columns, pair_rows, pairs_of, units
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.impl import Impl, Scratch
from nbcnn.ops.conv_spec import Conv2DSpec, MatmulSpec

LEAST_WORK = 25_000_000  # multiply-adds; smaller products wait for the conversion
LEAST_USES = 200  # multiply-adds per converted number


def _refuses(work: int, numbers: int, dtype: str, caps: Caps) -> str | None:
    if not caps.bfloat16:
        return "no dot product of bfloat16"
    if dtype != "float32":
        return f"no {dtype}"
    if work < max(LEAST_WORK, LEAST_USES * numbers):
        return "too few products to pay for the conversion"
    return None


def _paired(caps: Caps) -> Caps:
    return caps._replace(pairs=True)


# -- matrix products


def accepts(spec: MatmulSpec, dtype: str, caps: Caps) -> str | None:
    xs, ws = _matrices(spec)
    numbers = spec.k * (xs * spec.m + ws * spec.n)
    work = spec.batch * spec.m * spec.n * spec.k
    return _refuses(work, numbers, dtype, caps) or gemm.accepts(_halved(spec), dtype, _paired(caps))


def _halved(spec: MatmulSpec) -> MatmulSpec:
    return spec._replace(k=pairs_of(spec.k))


def _matrices(spec: MatmulSpec) -> tuple[int, int]:
    """How many matrices x and w are."""
    return (spec.batch if spec.xb else 1), (spec.batch if spec.wb else 1)


def scratch(spec: MatmulSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    half, (xs, ws) = _halved(spec), _matrices(spec)
    return {
        "x": units(xs * spec.m * half.k),
        "w": units(ws * half.k * spec.n, constant=True),
        **{f"gemm_{k}": v for k, v in gemm.scratch(half, dtype, _paired(caps)).items()},
    }


def bind(spec: MatmulSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    x, w, *bias = inputs
    xs, ws = _matrices(spec)
    inner = {k[5:]: v for k, v in scratch.items() if k.startswith("gemm_")}
    operands = [scratch["x"], scratch["w"], *bias]
    if spec.tx:
        as_pairs = pair_rows(x, xs, spec.k, spec.m, scratch["x"])
    else:
        as_pairs = pair_columns(x, xs * spec.m, spec.k, scratch["x"])
    if spec.tw:
        weights = pair_columns(w, ws * spec.n, spec.k, scratch["w"], weights_only=True)
    else:
        weights = pair_rows(w, ws, spec.k, spec.n, scratch["w"], weights_only=True)
    return [as_pairs, weights, *gemm.bind(_halved(spec), _paired(caps), operands, outputs, inner)]


# -- convolutions


def _channels(spec: Conv2DSpec) -> Conv2DSpec:
    """Of pairs of channels: what the forward pass sums over."""
    return spec._replace(c=spec.groups * pairs_of(spec.c // spec.groups))


def _filters(spec: Conv2DSpec) -> Conv2DSpec:
    """Of pairs of filters: what the input gradient sums over."""
    return spec._replace(f=spec.groups * pairs_of(spec.f // spec.groups))


def _work(spec: Conv2DSpec) -> int:
    """Multiply-adds."""
    return spec.n * spec.oh * spec.ow * _weights(spec)


def _weights(spec: Conv2DSpec) -> int:
    return spec.kh * spec.kw * spec.c // spec.groups * spec.f


def accepts_conv(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    numbers, impls = spec.n * spec.h * spec.w * spec.c, (conv_winograd.conv2d, conv_direct.conv2d)
    return _refuses_sums(spec, spec.c, numbers, _channels(spec), impls, dtype, caps)


def accepts_dx(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    numbers, impls = spec.n * spec.oh * spec.ow * spec.f, (conv_winograd.dx, conv_direct.dx)
    return _refuses_sums(spec, spec.f, numbers, _filters(spec), impls, dtype, caps)


def _refuses_sums(
    spec: Conv2DSpec,
    summed: int,
    numbers: int,
    half: Conv2DSpec,
    impls: tuple[Impl, Impl],
    dtype: str,
    caps: Caps,
) -> str | None:
    """Why not, for sums over `summed` channels of a source of so many numbers; `impls`: Winograd's
    algorithm, and what would multiply pairs, `half` as many channels.
    """
    refused = _refuses(_work(spec), numbers + _weights(spec), dtype, caps)
    if refused:
        return refused
    if spec.groups > 1 and summed // spec.groups % 2:
        return "groups of an odd number of channels"
    winograd, direct = impls
    if winograd.accepts(spec, dtype, caps) is None:
        return "Winograd's algorithm multiplies less"
    return direct.accepts(half, dtype, _paired(caps))


def _direct(impl: Impl, spec: Conv2DSpec, caps: Caps, arrays, outputs, scratch) -> list[Call]:
    inner = {k[5:]: v for k, v in scratch.items() if k.startswith("conv_")}
    return impl.bind(spec, _paired(caps), arrays, outputs, inner)


def _direct_scratch(impl: Impl, spec: Conv2DSpec, source: int, weights: int, caps: Caps):
    made = impl.scratch(spec, "float32", _paired(caps))
    operands = {"source": units(source), "w": units(weights, constant=True)}
    return {**operands, **{f"conv_{k}": v for k, v in made.items()}}


def scratch_conv(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    half = _channels(spec)
    source = spec.n * spec.h * spec.w * half.c
    weights = _weights(half)
    return _direct_scratch(conv_direct.conv2d, half, source, weights, caps)


def bind_conv(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    x, w, *bias = inputs
    half, taps, channels = _channels(spec), spec.kh * spec.kw, spec.c // spec.groups
    pixels = spec.n * spec.h * spec.w * spec.groups
    arrays = [scratch["source"], scratch["w"], *bias]
    return [
        pair_columns(x, pixels, channels, scratch["source"]),
        pair_rows(w, taps, channels, spec.f, scratch["w"], weights_only=True),
        *_direct(conv_direct.conv2d, half, caps, arrays, outputs, scratch),
    ]


def scratch_dx(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    half = _filters(spec)
    weights = _weights(half)
    return _direct_scratch(conv_direct.dx, half, spec.n * spec.oh * spec.ow * half.f, weights, caps)


def bind_dx(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    dy, w = inputs
    half, filters = _filters(spec), spec.f // spec.groups
    pixels = spec.n * spec.oh * spec.ow * spec.groups
    rows = spec.kh * spec.kw * (spec.c // spec.groups) * spec.groups
    arrays = [scratch["source"], scratch["w"]]
    return [
        pair_columns(dy, pixels, filters, scratch["source"]),
        pair_columns(w, rows, filters, scratch["w"], weights_only=True),
        *_direct(conv_direct.dx, half, caps, arrays, outputs, scratch),
    ]


def _pointwise_product(spec: Conv2DSpec) -> MatmulSpec:
    """dw = x^T dy over all pixels."""
    return MatmulSpec(spec.c, spec.f, spec.n * spec.h * spec.w, tx=1, xb=0, wb=0)


def accepts_dw(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    window = spec.kh, spec.kw, spec.sh, spec.sw, spec.pt, spec.pl
    if window != (1, 1, 1, 1, 0, 0) or (spec.oh, spec.ow) != (spec.h, spec.w) or spec.groups > 1:
        return "pointwise convolutions only"
    if spec.pool or spec.bias:
        return "neither a pool nor a bias's gradient"
    return accepts(_pointwise_product(spec), dtype, caps)


def scratch_dw(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    return scratch(_pointwise_product(spec), dtype, caps)


def bind_dw(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    return bind(_pointwise_product(spec), caps, inputs, outputs, scratch)


matmul = Impl("dot_pairs", accepts, bind, scratch, rtol=1.5)
conv2d = Impl("dot_pairs", accepts_conv, bind_conv, scratch_conv)
dx = Impl("dot_pairs", accepts_dx, bind_dx, scratch_dx)
dw = Impl("dot_pairs", accepts_dw, bind_dw, scratch_dw)
