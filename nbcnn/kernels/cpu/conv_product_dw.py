from nbcnn.kernels.cpu import conv_direct_dw, gemm, slabs
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.conv_sweep_plan import every_pixel
from nbcnn.kernels.cpu.conv_transposed_dw import SLAB_PIXELS, sum_slab
from nbcnn.kernels.impl import Impl, Scratch
from nbcnn.ops.conv_spec import Conv2DSpec, MatmulSpec


def accepts(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    refused = conv_direct_dw.accepts(spec, dtype, caps)
    if refused:
        return refused
    if spec.groups > 1 or not every_pixel(spec):
        return "not a 1x1 convolution of every pixel"
    return None


def product(spec: Conv2DSpec) -> MatmulSpec:
    return MatmulSpec(spec.c, spec.f, spec.n * spec.oh * spec.ow, tx=1)


def _slabs(spec: Conv2DSpec) -> int:
    return slabs.slab_count(spec.n * spec.oh * spec.ow, spec.f, SLAB_PIXELS)


def scratch(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    needed = gemm.scratch(product(spec), dtype, caps)
    if spec.bias:
        needed["sums"] = Scratch((_slabs(spec), spec.f), dtype)
    return needed


def bind(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    x, dy = inputs
    calls = gemm.bind(product(spec), caps, (x, dy), [outputs[0]], scratch)
    if spec.bias:
        sums, pixels = scratch["sums"], spec.n * spec.oh * spec.ow
        args = (len(sums), pixels, spec.f, dy.reshape(-1), sums.reshape(-1))
        calls.append(Call(sum_slab, len(sums), args))
        calls += slabs.reductions(sums, [outputs[1]])
    return calls


dw = Impl("product", accepts, bind, scratch)
