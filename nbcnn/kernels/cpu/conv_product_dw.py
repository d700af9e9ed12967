"""Weight gradient of a 1x1 convolution of every pixel: a product of matrices, as they are.

    dw[c,f] = sum over pixels of x[pixel, c] * dy[pixel, f]

is x transposed times dy, by `gemm.py`, which packs columns of x and so reads memory from end to
end; `conv_direct_dw.py` reads a few channels of each pixel, and sums few pixels at a time where
they have many channels. The bias's gradient is a pass over dy of its own.

Chosen from LEAST channels and filters on: 1.1 to 1.4 times as fast as `direct` with 256 channels or
filters and more, 1.0 to 1.2 times with less; 24 to 144 channels took 1.2 times as long, as packing
x costs more than it saves (Zen 3, two cores).
"""

from nbcnn.kernels.cpu import conv_direct_dw, gemm
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.conv_sweep_plan import every_pixel
from nbcnn.kernels.cpu.conv_transposed_dw import bias_gradient, bias_scratch
from nbcnn.kernels.impl import Impl, Scratch
from nbcnn.ops.conv_spec import Conv2DSpec, MatmulSpec

LEAST = 48


def accepts(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    refused = conv_direct_dw.accepts(spec, dtype, caps)
    if refused:
        return refused
    if spec.groups > 1 or not every_pixel(spec):
        return "not a 1x1 convolution of every pixel"
    if min(spec.c, spec.f) < LEAST:
        return "few channels or filters: packing x costs more than it saves"
    return None


def product(spec: Conv2DSpec) -> MatmulSpec:
    return MatmulSpec(spec.c, spec.f, spec.n * spec.oh * spec.ow, tx=1)


def scratch(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    return {**gemm.scratch(product(spec), dtype, caps), **bias_scratch(spec, dtype)}


def bind(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    calls = gemm.bind(product(spec), caps, inputs, outputs[:1], scratch)
    return [*calls, *bias_gradient(spec, inputs[1], outputs[1:], scratch)]


dw = Impl("product", accepts, bind, scratch, rtol=gemm.gemm.rtol)
