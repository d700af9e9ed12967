"""Matrix products in true float32 by tiles (`tile_product`): any orientation, stacks, fused bias
and activation. Few results of a long sum, as in the weight gradient of a dense layer, are split.

Where rows are multiples of four floats, operands are read and results written in 128-bit words.
"""

from typing import Any

from nbcnn.kernels.cuda import tiles
from nbcnn.kernels.cuda.call import Caps
from nbcnn.kernels.cuda.matrix_source import Matrix, matrix, matrix_target
from nbcnn.kernels.cuda.tile_product import Product, add_parts, product_launch
from nbcnn.kernels.impl import Impl, Scratch
from nbcnn.ops.conv_spec import MatmulSpec

LARGEST = 2**31 - 1  # indices are int32


def refused(dtype: str, *sizes: int) -> str | None:
    """Why the tiled product does not take such arrays."""
    if dtype != "float32":
        return f"no {dtype}"
    return "too many elements for 32-bit indices" if max(sizes) > LARGEST else None


def accepts(spec: MatmulSpec, dtype: str, caps: Caps) -> str | None:
    s = spec
    if min(s.m, s.n, s.batch) == 0:
        return "no results"
    largest = s.m * s.k, s.k * s.n, s.m * s.n * parts(s, caps)
    return refused(dtype, *(size * s.batch for size in largest))


def parts(spec: MatmulSpec, caps: Caps) -> int:
    return tiles.cut(spec.m, spec.n, spec.k, spec.batch, caps).splits


def scratch(spec: MatmulSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    splits = parts(spec, caps)
    if splits == 1:
        return {}
    return {"parts": Scratch((splits, spec.batch * spec.m * spec.n), dtype)}


def bind(spec: MatmulSpec, caps: Caps, inputs: Any, outputs: Any, scratch: dict) -> list:
    s, (y,) = spec, outputs
    x, w = inputs[:2]
    bias = inputs[2] if s.bias else w
    cut = tiles.cut(s.m, s.n, s.k, s.batch, caps)
    split = cut.splits > 1
    operands = (
        Matrix(s.m, s.k, s.m if s.tx else s.k),
        Matrix(s.n, s.k, s.k if s.tw else s.n),
        Matrix(s.m, 0, s.n),
    )
    sources = (
        matrix(not s.tx, operands[0].ld % 4 == 0),
        matrix(bool(s.tw), operands[1].ld % 4 == 0),
        matrix_target(s.n % 4 == 0),
    )
    product = Product(
        s.n, s.k, cut.row_blocks, cut.column_blocks, cut.splits, cut.split_depth, 0, 0, 0,
        s.xb * s.m * s.k, s.wb * s.k * s.n, s.m * s.n, s.batch * s.m * s.n,
        0 if split else s.bias, 0, 0 if split else s.act,
    )  # fmt: skip
    to = scratch["parts"] if split else y
    calls = [product_launch(cut, s.batch, sources, product, operands, (x, w, bias, to))]
    return calls + (add_parts(caps, cut.splits, s, to, bias, y) if split else [])


matmul = Impl("tiled", accepts, bind, scratch)
