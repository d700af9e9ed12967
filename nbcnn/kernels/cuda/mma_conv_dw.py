"""Weight gradients of convolutions on tensor cores (`mma_columns.py`), in TF32 or with operands
rounded to bfloat16; and the bias's, the sum of dy over pixels, in float32.

The bias's gradient is added by slabs of pixels, a thread per filter and slab, and then over slabs
in order.
"""

import numpy as np
from numba import cuda

from nbcnn.kernels.cuda import jit, mma_columns, mma_pack
from nbcnn.kernels.cuda.call import Caps, Launch, launch
from nbcnn.kernels.cuda.mma_columns import Columns
from nbcnn.kernels.cuda.mma_conv import refuses_geometry
from nbcnn.kernels.cuda.mma_tiles import (
    blocks,
    chunks_of,
    flat,
    name_of,
    refuses,
    rtol_of,
)
from nbcnn.kernels.impl import Impl, Scratch, no_pool
from nbcnn.ops.conv_spec import Conv2DSpec

MOST_SLABS, LEAST_PIXELS = 512, 64  # of the bias's gradient


def gradient(s: Conv2DSpec, bfloat16: bool) -> Columns:
    return Columns(
        s.n, s.h, s.w, chunks_of(s.c, bfloat16), chunks_of(s.f, bfloat16), s.c, s.f, s.kh, s.kw,
        s.oh, s.ow, s.sh, s.sw, s.dilh, s.dilw, s.pt, s.pl,
    )  # fmt: skip


@jit.kernel
def slabs_kernel(rows, columns, slabs, x, sums):
    """sums (slabs, columns) of x (rows, columns), each over its share of the rows."""
    share = (rows + slabs - 1) // slabs
    for i in range(cuda.grid(1), slabs * columns, cuda.gridsize(1)):
        column, slab = i % columns, i // columns
        total = np.float32(0.0)
        for row in range(slab * share, min(rows, (slab + 1) * share)):
            total += x[row * columns + column]
        sums[i] = total


def slabs_of(s: Conv2DSpec) -> int:
    return min(MOST_SLABS, blocks(s.n * s.oh * s.ow, LEAST_PIXELS))


def column_sums(s: Conv2DSpec, dy, db, sums, caps: Caps) -> list[Launch]:
    slabs, pixels = slabs_of(s), s.n * s.oh * s.ow
    return [
        *launch(slabs_kernel, caps, slabs * s.f, pixels, s.f, slabs, flat(dy), sums),
        *mma_columns.add_parts(slabs, s.f, sums, db, caps),
    ]


def _operands(s: Conv2DSpec) -> dict[str, tuple[int, int]]:
    """Their rows, and numbers of each."""
    return {"x": (s.n * s.h * s.w, s.c), "dy": (s.n * s.oh * s.ow, s.f)}


def _accepts(bfloat16: bool):
    def accepts(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
        return (
            refuses(dtype, bfloat16, False, caps)
            or no_pool(spec, dtype, caps)
            or refuses_geometry(spec, bfloat16)
        )

    return accepts


def _scratch(bfloat16: bool):
    def scratch(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
        needed = mma_columns.scratch(gradient(spec, bfloat16), bfloat16, caps)
        for name, (rows, steps) in _operands(spec).items():
            if not mma_pack.in_chunks(steps, bfloat16):
                needed[name] = mma_pack.chunks_scratch(rows, steps, bfloat16)
        if spec.bias:
            needed["sums"] = Scratch((slabs_of(spec) * spec.f,), "float32")
        return needed

    return scratch


def _bind(bfloat16: bool):
    def bind(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Launch]:
        calls: list[Launch] = []
        if spec.bias:
            calls += column_sums(spec, inputs[1], outputs[1], scratch["sums"], caps)
        arrays = []
        for (name, shape), array in zip(_operands(spec).items(), inputs):
            if name in scratch:
                calls += mma_pack.to_chunks(*shape, bfloat16, array, scratch[name], caps)
            arrays.append(scratch.get(name, array))
        (x, dy), shapes = arrays, gradient(spec, bfloat16)
        return calls + mma_columns.launches(shapes, bfloat16, x, dy, outputs[0], scratch, caps)

    return bind


def _impl(bfloat16: bool) -> Impl:
    accepts, bind, scratch = _accepts(bfloat16), _bind(bfloat16), _scratch(bfloat16)
    return Impl(name_of(bfloat16), accepts, bind, scratch, rtol=rtol_of(bfloat16))


dw_tf32, dw_bfloat16 = _impl(False), _impl(True)
