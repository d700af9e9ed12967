"""Products on tensor cores whose operands both have the steps of the sum side by side: forward
convolutions, their data gradients, and x w^T.

    y[m, f] = act(b[f] + sum over u, v, c of x[pixel(m, u, v), c] * w[f, (u, v, c)])

Implicit GEMM: rows are output pixels m = (n, i, j), columns filters, and the sum runs over taps and
channels. x is not copied into a matrix: the 16-byte chunks of a tap's pixel are copied to shared
memory directly (`cp.async`), with zeros where the tap lies outside. A data gradient is the same
over dy with turned weights, one launch for each phase of the strides; a matrix product has one tap.

A block has a tile of y. Shared memory holds lines of 128 bytes of its rows of x and w, in several
stages; chunk c of line r is at place c ^ (r & 7), so neither copies nor `ldmatrix` meet the same
bank twice. While tensor cores multiply one stage, the next are on their way. Eight threads copy a
line; a thread stays with its place in the line and so has one tap at a time. Sums stay in
registers, in the order of the steps: results do not depend on tiles' sizes, nor on the grid.

On Hopper (sm_90a) four warps multiply 64 rows by all columns of a block at once, and read both
operands from shared memory, whose layout is what `wgmma` calls swizzled by 128 bytes. TF32 operands
then cannot be rounded on the way: x loses its lower bits, weights are rounded.

Weights are packed to rows of one filter and rounded by `mma_pack.py`; TF32 operands that are no
weights are rounded here, between shared memory and the instruction.
"""

from functools import cache
from typing import Any, NamedTuple

from numba import cuda, float32, int32, int64

from nbcnn.kernels import scalar
from nbcnn.kernels.cuda import jit, ptx
from nbcnn.kernels.cuda.call import Launch
from nbcnn.kernels.cuda.mma_tiles import (
    ALIGNMENT,
    BLOCKS,
    CHUNK,
    LINE,
    Tile,
    blocks_of,
    flat,
    quotient,
)

PLACES = LINE // CHUNK  # chunks of a line
PAD = 8  # words between rows of y in shared memory, against conflicts of banks
FAR = -(1 << 29)  # a row of pixels that no tap reaches


class Rows(NamedTuple):
    """Pixels (n, oh, ow) with windows on x (n, h, w, chunks), and where their results go: pixel
    (i * yh + yp, j * yw + yq) of y (n, height, width, f).
    """

    n: int
    h: int
    w: int
    chunks: int  # of 16 bytes, per pixel of x
    f: int
    kh: int
    kw: int
    oh: int
    ow: int
    sh: int
    sw: int
    dilh: int
    dilw: int
    pt: int
    pl: int
    height: int
    width: int
    yh: int = 1
    yw: int = 1
    yp: int = 0
    yq: int = 0
    bias: int = 0
    batch: int = 1  # matrices; x and w stay where they are if they have no own for each
    xb: int = 1
    wb: int = 1

    @property
    def rows(self) -> int:
        return self.n * self.oh * self.ow


def launch(tile: Tile, bfloat16: bool, exact_w: bool, act: int, s: Rows, x, w, b, y) -> Launch:
    """`exact_w`: w is rounded already."""
    return Launch(
        rows_kernel(tile, bfloat16, exact_w, act),
        blocks_of(tile, s.rows, s.f, s.batch),
        tile.threads,
        (s, *map(flat, (x, w, b, y))),
        shared=tile.shared,
        fixed=True,
    )


@cache
def rows_kernel(tile: Tile, bfloat16: bool, exact_w: bool, act: int) -> Any:
    rows, columns, stages = tile.rows, tile.columns, tile.stages
    lines = tile.threads // PLACES  # that all threads copy at once
    x_lines, w_lines = rows // lines, columns // lines
    warps_across = columns // tile.warp_columns
    warp_rows, warp_columns = tile.warp_rows, tile.warp_columns
    tall, wide = warp_rows // 16, warp_columns // 16  # instructions' rows, pairs of their columns
    sums, x_words, w_words = tall * wide * 8, tall * 4, wide * 4
    x_bytes, stage_bytes = rows * LINE, (rows + columns) * LINE
    ahead = stages - 1
    wait = ptx.wait_async(stages - 2)
    mma = ptx.mma_bf16 if bfloat16 else ptx.mma_tf32
    hopper = tile.hopper
    wgmma = ptx.wgmma(warp_columns, bfloat16) if hopper else None
    round_x, round_w = not bfloat16, not (bfloat16 or exact_w)
    threads, pitch, quads = tile.threads, columns + PAD, columns // 4
    store_tail = tail(act)

    @jit.kernel(bounds=(tile.threads, BLOCKS), constants=(tile, bfloat16, exact_w, act))
    def mma_rows(s, x, w, b, y):
        thread = int32(cuda.threadIdx.x)
        lane, warp = int32(thread & 31), int32(thread >> 5)
        height, width, chunks = int32(s.h), int32(s.w), int32(s.chunks)
        kh, kw, filters = int32(s.kh), int32(s.kw), int32(s.f)
        oh, ow, pixels = int32(s.oh), int32(s.ow), int32(s.n * s.oh * s.ow)
        steps = int32(kh * kw * chunks)
        across = quotient(filters + columns - 1, columns)
        bands = quotient(pixels + rows - 1, rows)
        band = quotient(int32(cuda.blockIdx.x), across)
        matrix = quotient(band, bands)
        first_column = int32((cuda.blockIdx.x - band * across) * columns)
        first_row = int32((band - matrix * bands) * rows)

        # This thread's place in its lines, and its lines of x and w.
        place, line = int32(thread & 7), int32(thread >> 3)
        top, left = cuda.local.array(x_lines, int32), cuda.local.array(x_lines, int32)
        source = cuda.local.array(x_lines, int32)  # in chunks
        x_start = ptx.address(x) + int64(matrix * s.xb) * s.n * s.h * s.w * s.chunks * CHUNK
        for i in range(x_lines):
            m = int32(first_row + line + i * lines)
            row = quotient(m, ow)
            image = quotient(row, oh)
            top[i] = int32((row - image * oh) * s.sh - s.pt)
            left[i] = int32((m - row * ow) * s.sw - s.pl)
            source[i] = int32(((image * height + top[i]) * width + left[i]) * chunks)
            if m >= pixels:
                top[i] = int32(FAR)
        w_start = ptx.address(w) + int64(matrix * s.wb) * s.f * steps * CHUNK
        w_source = int32((first_column + line) * steps + place)

        # The tap and the chunk that this thread copies next.
        u, v, chunk = int32(0), int32(0), place
        while chunk >= chunks:
            chunk, v = int32(chunk - chunks), int32(v + 1)
            if v == kw:
                v, u = int32(0), int32(u + 1)

        shared = ptx.shared_address(cuda.shared.array(0, float32))
        if hopper:
            shared = int32((shared + ALIGNMENT - 1) & -ALIGNMENT)
        target = int32(shared + line * LINE + ((place ^ (line & 7)) << 4))
        end = int32(shared + stages * stage_bytes)

        warp_row = int32(warp // warps_across * warp_rows)
        warp_column = int32(warp % warps_across * warp_columns)
        total = cuda.local.array(sums, float32)
        xs, ws = cuda.local.array(x_words, int32), cuda.local.array(w_words, int32)
        for i in range(sums):
            total[i] = float32(0.0)

        parts = int32((steps + PLACES - 1) // PLACES)
        stage = int32(0)
        for part in range(-ahead, parts):
            if part >= 0:
                wait()
                if hopper:
                    ptx.fence_async()
                cuda.syncthreads()
            if part + ahead < parts:
                down, right = int32(u * s.dilh), int32(v * s.dilw)
                there = u < kh
                shift = int32((down * width + right) * chunks + chunk)
                for i in range(x_lines):
                    row, column = int32(top[i] + down), int32(left[i] + right)
                    inside = there and row >= 0 and row < height and column >= 0 and column < width
                    nbytes = int32(CHUNK) if inside else int32(0)
                    at = x_start + int64(int32(source[i] + shift)) * CHUNK
                    ptx.copy_async(int32(target + i * lines * LINE), at, nbytes)
                for i in range(w_lines):
                    inside = there and first_column + line + i * lines < filters
                    nbytes = int32(CHUNK) if inside else int32(0)
                    at = w_start + int64(int32(w_source + i * lines * steps)) * CHUNK
                    ptx.copy_async(int32(target + x_bytes + i * lines * LINE), at, nbytes)
                w_source = int32(w_source + PLACES)
                chunk = int32(chunk + PLACES)
                while chunk >= chunks:
                    chunk, v = int32(chunk - chunks), int32(v + 1)
                    if v == kw:
                        v, u = int32(0), int32(u + 1)
                target = int32(target + stage_bytes)
                if target >= end:
                    target = int32(target - stages * stage_bytes)
            ptx.commit_async()
            if part >= 0:
                multiply(int32(shared + stage), lane, warp_row, warp_column, xs, ws, total)
                stage = int32(stage + stage_bytes)
                if stage >= stages * stage_bytes:
                    stage = int32(0)

        # Through shared memory, so that y is written in whole lines.
        cuda.syncthreads()
        row = int32(warp_row + (lane >> 2))
        at = int32(shared + (row * pitch + warp_column + 2 * (lane & 3)) * 4)
        for i in range(tall):
            for j in range(2 * wide):
                t, to = (i * 2 * wide + j) * 4, int32(at + (i * 16 * pitch + j * 8) * 4)
                ptx.shared_store2(to, total[t], total[t + 1])
                ptx.shared_store2(int32(to + 8 * pitch * 4), total[t + 2], total[t + 3])
        cuda.syncthreads()
        y_start = int64(matrix) * s.n * s.height * s.width * s.f
        column, line = int32(thread % quads * 4), int32(thread // quads)
        f = int32(first_column + column)
        for i in range(line, rows, threads // quads):
            m = int32(first_row + i)
            row = quotient(m, ow)
            image = quotient(row, oh)
            y_row = int64(image) * s.height + (row - image * oh) * s.yh + s.yp
            to = y_start + (y_row * s.width + (m - row * ow) * s.yw + s.yq) * s.f + f
            values = ptx.shared_load4(int32(shared + (i * pitch + column) * 4))
            if m < pixels:
                store_tail(s, values, b, f, y, to)

    @jit.device
    def by_warps(stage, lane, warp_row, warp_column, xs, ws, total):
        """Each warp for itself: fragments come by `ldmatrix`, of x 16 rows and both chunks of a
        step, of w both chunks of 8 columns, then of 8 more.
        """
        turn = int32(lane & 7)
        x_at = int32(stage + (warp_row + (lane & 15)) * LINE)
        w_at = int32(stage + x_bytes + (warp_column + turn + (lane >> 4) * 8) * LINE)
        x_chunk, w_chunk = int32(lane >> 4), int32((lane >> 3) & 1)
        for k in range(PLACES // 2):
            xk = int32(x_at + (((2 * k + x_chunk) ^ turn) << 4))
            wk = int32(w_at + (((2 * k + w_chunk) ^ turn) << 4))
            for i in range(tall):
                words = ptx.ldmatrix(int32(xk + i * 16 * LINE))
                for r in range(4):
                    xs[4 * i + r] = ptx.round_tf32_bits(words[r]) if round_x else words[r]
            for j in range(wide):
                words = ptx.ldmatrix(int32(wk + j * 16 * LINE))
                for r in range(4):
                    ws[4 * j + r] = ptx.round_tf32_bits(words[r]) if round_w else words[r]
            for i in range(tall):
                for j in range(2 * wide):
                    t = (i * 2 * wide + j) * 4
                    total[t], total[t + 1], total[t + 2], total[t + 3] = mma(
                        total[t], total[t + 1], total[t + 2], total[t + 3],
                        xs[4 * i], xs[4 * i + 1], xs[4 * i + 2], xs[4 * i + 3],
                        ws[2 * j], ws[2 * j + 1],
                    )  # fmt: skip

    @jit.device
    def by_four_warps(stage, lane, warp_row, warp_column, xs, ws, total):
        x_at = int32(stage + (warp_row >> 6) * 64 * LINE)
        wgmma(total, ptx.descriptor(x_at), ptx.descriptor(int32(stage + x_bytes)))

    multiply = by_four_warps if hopper else by_warps
    return mma_rows


@cache
def tail(act: int) -> Any:
    activate = jit.formula(scalar.TAIL[act], "float32")

    @jit.device
    def store_tail(s, values, b, f, y, to):
        """y[to], ... = act(values + b[f], ...), of four columns those that there are."""
        if f + 3 < s.f and s.f % 4 == 0:
            p, q, r, t = values
            if s.bias:
                bp, bq, br, bt = ptx.load4(b, f)
                p, q, r, t = p + bp, q + bq, r + br, t + bt
            zero = float32(0.0)
            p, q = activate(p, zero, zero), activate(q, zero, zero)
            r, t = activate(r, zero, zero), activate(t, zero, zero)
            ptx.store4(y, to, p, q, r, t)
        else:
            for k in range(4):
                if f + k < s.f:
                    value = values[k] + b[f + k] if s.bias else values[k]
                    y[to + k] = activate(value, float32(0.0), float32(0.0))

    return store_tail
