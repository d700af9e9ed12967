"""Matrix products on tensor cores, in TF32 or with operands rounded to bfloat16.

    x w, x w^T   by `mma_rows.py`: rows of x are pixels of a map of one tap; w becomes rows of its
                 columns, rounded, which w^T is before. So it is left in place for TF32.
    x^T w        by `mma_columns.py`: gradients of weights, a long sum of few results.

x^T w^T, which no layer makes, is left to others. Rows that are no whole chunks of 16 bytes are
padded by a pass, and for bfloat16 one makes halves of them. Chosen before other algorithms wherever
they are accepted: not yet compared on a GPU.
"""

from nbcnn.kernels.cuda import mma_columns, mma_pack, mma_rows
from nbcnn.kernels.cuda.call import Caps, Launch
from nbcnn.kernels.cuda.mma_columns import Columns
from nbcnn.kernels.cuda.mma_rows import Rows
from nbcnn.kernels.cuda.mma_tiles import (
    chunks_of,
    name_of,
    refuses,
    rtol_of,
    tile_for,
    too_long,
)
from nbcnn.kernels.impl import Impl, Scratch
from nbcnn.ops.conv_spec import LINEAR, MatmulSpec


def _accepts(bfloat16: bool, hopper: bool):
    def accepts(s: MatmulSpec, dtype: str, caps: Caps) -> str | None:
        if hopper and s.tx:
            return "x^T w"
        if s.tx and s.tw:
            return "both operands are transposed"
        if s.tx and (s.bias or s.act != LINEAR):
            return "a tail behind x^T w"
        if min(s.batch, s.m, s.n, s.k) == 0:
            return "nothing to multiply"
        m, n, k = (mma_pack.padded(size, bfloat16) for size in (s.m, s.n, s.k))
        sizes = s.batch * m * n, s.batch * m * k, s.batch * k * n
        return refuses(dtype, bfloat16, hopper, caps) or too_long(*sizes)

    return accepts


def as_rows(s: MatmulSpec, bfloat16: bool) -> Rows:
    return Rows(
        1, s.m, 1, chunks_of(s.k, bfloat16), s.n, 1, 1, s.m, 1, 1, 1, 1, 1, 0, 0, s.m, 1,
        bias=s.bias, batch=s.batch, xb=s.xb, wb=s.wb,
    )  # fmt: skip


def as_columns(s: MatmulSpec, bfloat16: bool) -> Columns:
    return Columns(
        1, s.k, 1, chunks_of(s.m, bfloat16), chunks_of(s.n, bfloat16), s.m, s.n, 1, 1, s.k, 1,
        1, 1, 1, 1, 0, 0, s.batch, s.xb, s.wb,
    )  # fmt: skip


def _packs(s: MatmulSpec, bfloat16: bool, hopper: bool) -> bool:
    """Whether w is laid out anew, or rounded beforehand."""
    return hopper or not s.tw or not mma_pack.in_chunks(s.k, bfloat16)


def _matrices(s: MatmulSpec) -> tuple[int, int]:
    """How many x and w are."""
    return (s.batch if s.xb else 1), (s.batch if s.wb else 1)


def _passes(s: MatmulSpec, bfloat16: bool) -> dict[str, tuple[int, int]]:
    """Operands that a pass lays out in whole chunks: rows, and numbers of each."""
    xs, ws = _matrices(s)
    shapes = {"x": (xs * s.k, s.m), "w": (ws * s.k, s.n)} if s.tx else {"x": (xs * s.m, s.k)}
    return {n: shape for n, shape in shapes.items() if not mma_pack.in_chunks(shape[1], bfloat16)}


def _scratch(bfloat16: bool, hopper: bool):
    def scratch(s: MatmulSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
        needed = mma_columns.scratch(as_columns(s, bfloat16), bfloat16, caps) if s.tx else {}
        for name, shape in _passes(s, bfloat16).items():
            needed[name] = mma_pack.chunks_scratch(*shape, bfloat16)
        if not s.tx and _packs(s, bfloat16, hopper):
            needed["weights"] = mma_pack.packed_scratch(mma_pack.columns(s), bfloat16)
        return needed

    return scratch


def _bind(bfloat16: bool, hopper: bool):
    def bind(s: MatmulSpec, caps: Caps, inputs, outputs, scratch) -> list[Launch]:
        calls: list[Launch] = []
        operands = {"x": inputs[0], "w": inputs[1]}
        for name, shape in _passes(s, bfloat16).items():
            calls += mma_pack.to_chunks(*shape, bfloat16, operands[name], scratch[name], caps)
            operands[name] = scratch[name]
        x, w = operands.values()
        if s.tx:
            shapes = as_columns(s, bfloat16)
            return calls + mma_columns.launches(shapes, bfloat16, x, w, outputs[0], scratch, caps)
        packs = _packs(s, bfloat16, hopper)
        if packs:
            calls += mma_pack.pack(mma_pack.columns(s), bfloat16, w, scratch["weights"], caps)
            w = scratch["weights"]
        tile = tile_for(s.m, s.n, s.batch, hopper, caps)
        bias = inputs[2] if s.bias else w
        rows = as_rows(s, bfloat16)
        product = mma_rows.launch(tile, bfloat16, packs, s.act, rows, x, w, bias, *outputs)
        return [*calls, product]

    return bind


def _impl(bfloat16: bool, hopper: bool = False) -> Impl:
    accepts, bind, scratch = (make(bfloat16, hopper) for make in (_accepts, _bind, _scratch))
    rtol = rtol_of(bfloat16, hopper)
    return Impl(name_of(bfloat16, hopper), accepts, bind, scratch, rtol=rtol)


tf32, bfloat16 = _impl(False), _impl(True)
hopper_tf32, hopper_bfloat16 = _impl(False, True), _impl(True, True)
