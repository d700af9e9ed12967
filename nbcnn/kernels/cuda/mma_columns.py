"""Products on tensor cores whose operands both have the steps of the sum as rows: weight gradients
of convolutions, and x^T dy.

    dw[(u, v, c), f] = sum over pixels m of x[pixel(m, u, v), c] * dy[m, f]

Implicit GEMM as in `mma_rows.py`, but shared memory holds, per stage, `depth` pixels: of each the
chunks of x at their taps, and those of dy. A thread copies for one pixel at a time, and its chunks
stay at their taps. TF32 operands are read word by word, from lines padded by 8 words, so that the
32 lanes meet 32 banks; bfloat16 ones by `ldmatrix.trans`, chunk c of line r at place c ^ (r & 7).

There are few results of a long sum, so it is split: a block adds the pixels of one part, and a
second launch adds the parts in their order. How many parts there are depends on shapes and the GPU
alone, so results are the same from run to run.
"""

from functools import cache
from typing import Any, NamedTuple

from numba import cuda, float32, int32, int64

from nbcnn.kernels.cuda import jit, ptx
from nbcnn.kernels.cuda.call import Caps, Launch
from nbcnn.kernels.cuda.call import launch as strided
from nbcnn.kernels.cuda.mma_tiles import BLOCKS, CHUNK, PER_CHUNK, WARP, blocks, flat, quotient
from nbcnn.kernels.impl import Scratch

PAD = 8  # words between lines of shared memory, against conflicts of banks
FAR = -(1 << 29)  # a tap that reaches no pixel
LEAST_DEPTHS = 8  # stages a part of the sum is worth


class Tile(NamedTuple):
    """rows (u, v, c) x columns (f) of dw are a block's, warp_rows x warp_columns a warp's; `depth`
    pixels are a stage.
    """

    rows: int
    columns: int
    warp_rows: int
    warp_columns: int
    depth: int
    stages: int
    bfloat16: bool

    @property
    def threads(self) -> int:
        return WARP * (self.rows // self.warp_rows) * (self.columns // self.warp_columns)

    def line(self, numbers: int) -> int:
        """Bytes of a line of shared memory."""
        return numbers * 2 if self.bfloat16 else (numbers + PAD) * 4

    @property
    def shared(self) -> int:
        """Bytes of shared memory, of the stages and then of the tile of dw."""
        stage = self.depth * (self.line(self.rows) + self.line(self.columns))
        return max(self.stages * stage, self.rows * (self.columns + PAD) * 4)


# From large to small, and for little shared memory. Not yet compared on a GPU.
TILES = {
    False: (
        Tile(128, 128, 64, 32, 32, 3, False),
        Tile(128, 128, 64, 32, 16, 3, False),
        Tile(64, 64, 32, 32, 16, 3, False),
    ),
    True: (Tile(128, 128, 64, 32, 64, 3, True), Tile(64, 64, 32, 32, 32, 3, True)),
}
SIMULATED = {half: Tile(32, 32, 32, 16, 16, 3, half) for half in (False, True)}


class Columns(NamedTuple):
    """Windows of pixels (n, oh, ow) on x (n, h, w, chunks) times dy (n, oh, ow, y_chunks) give dw
    (kh, kw, c, f), one for each matrix of a batch.
    """

    n: int
    h: int
    w: int
    chunks: int  # of 16 bytes, per pixel
    y_chunks: int
    c: int
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
    batch: int = 1
    xb: int = 1
    wb: int = 1
    parts: int = 1  # of the sum

    @property
    def pixels(self) -> int:
        return self.n * self.oh * self.ow

    @property
    def size(self) -> int:
        """Numbers of all matrices dw."""
        return self.batch * self.kh * self.kw * self.c * self.f


def tile_for(s: Columns, bfloat16: bool, caps: Caps) -> Tile:
    if caps.simulated:
        return SIMULATED[bfloat16]
    fitting = [t for t in TILES[bfloat16] if t.shared <= caps.shared] or [TILES[bfloat16][-1]]
    large = min(s.kh * s.kw * s.chunks * PER_CHUNK[bfloat16], s.f) > fitting[-1].columns
    return fitting[0] if large else fitting[-1]


def tiles_of(s: Columns, tile: Tile) -> int:
    rows = s.kh * s.kw * s.chunks * PER_CHUNK[tile.bfloat16]
    return blocks(rows, tile.rows) * blocks(s.f, tile.columns) * s.batch


def split(s: Columns, tile: Tile, caps: Caps) -> Columns:
    """With as many parts as give each multiprocessor two blocks, if they are worth it."""
    least = 1 if caps.simulated else LEAST_DEPTHS
    most = max(1, blocks(s.pixels, tile.depth) // least)
    return s._replace(parts=min(most, blocks(2 * caps.multiprocessors, tiles_of(s, tile))))


def scratch(s: Columns, bfloat16: bool, caps: Caps) -> dict[str, Scratch]:
    parts = split(s, tile_for(s, bfloat16, caps), caps).parts
    return {"parts": Scratch((parts * s.size,), "float32")} if parts > 1 else {}


def launches(s: Columns, bfloat16: bool, x, dy, dw, scratch: dict, caps: Caps) -> list[Launch]:
    tile = tile_for(s, bfloat16, caps)
    s = split(s, tile, caps)
    target = scratch["parts"] if s.parts > 1 else dw
    product = Launch(
        columns_kernel(tile),
        tiles_of(s, tile) * s.parts,
        tile.threads,
        (s, *map(flat, (x, dy, target))),
        shared=tile.shared,
        fixed=True,
    )
    return [product, *add_parts(s.parts, s.size, target, dw, caps)] if s.parts > 1 else [product]


@jit.kernel
def add_kernel(parts, size, x, y):
    """y = the sum of x (parts, size), in order."""
    for i in range(cuda.grid(1), size, cuda.gridsize(1)):
        total = x[i]
        for part in range(1, parts):
            total += x[int64(part) * size + i]
        y[i] = total


def add_parts(parts: int, size: int, x, y, caps: Caps) -> list[Launch]:
    return strided(add_kernel, caps, size, parts, size, x, flat(y))


@cache
def columns_kernel(tile: Tile) -> Any:
    rows, columns, depth, stages = tile.rows, tile.columns, tile.depth, tile.stages
    warp_rows, warp_columns, bfloat16 = tile.warp_rows, tile.warp_columns, tile.bfloat16
    threads, per = tile.threads, PER_CHUNK[bfloat16]
    team = threads // depth  # threads that copy for a pixel
    x_copies, y_copies = rows // per // team, columns // per // team
    x_line, y_line = tile.line(rows), tile.line(columns)
    x_bytes, stage_bytes = depth * x_line, depth * (x_line + y_line)
    x_mask = min(8, rows // per) - 1 if bfloat16 else 0
    y_mask = min(8, columns // per) - 1 if bfloat16 else 0
    warps_across = columns // warp_columns
    tall, wide = warp_rows // 16, warp_columns // 16
    sums, x_words, y_words = tall * wide * 8, tall * 4, wide * 4
    step = 16 if bfloat16 else 8  # of the sum, in an instruction
    ahead = stages - 1
    wait = ptx.wait_async(stages - 2)
    mma = ptx.mma_bf16 if bfloat16 else ptx.mma_tf32
    pitch, quads = columns + PAD, columns // 4

    @jit.kernel(bounds=(threads, BLOCKS), constants=(tile,))
    def mma_columns(s, x, dy, dw):
        thread = int32(cuda.threadIdx.x)
        lane, warp = int32(thread & 31), int32(thread >> 5)
        height, width, chunks, y_chunks = int32(s.h), int32(s.w), int32(s.chunks), int32(s.y_chunks)
        oh, ow, pixels = int32(s.oh), int32(s.ow), int32(s.n * s.oh * s.ow)
        taps = int32(s.kh * s.kw)
        across = quotient(s.f + columns - 1, columns)
        down = quotient(taps * chunks * per + rows - 1, rows)
        band = quotient(int32(cuda.blockIdx.x), across)
        rest = quotient(band, down)
        part = quotient(rest, s.batch)
        matrix = int32(rest - part * s.batch)
        first_column = int32((cuda.blockIdx.x - band * across) * columns)
        first_row = int32((band - rest * down) * rows)

        # The pixels of this part; this thread's, of a stage.
        depths = quotient(pixels + depth - 1, depth)
        share = quotient(depths + s.parts - 1, s.parts)
        stop = int32(min(pixels, (part + 1) * share * depth))
        place, line = int32(thread % team), int32(thread // team)
        pixel = int32(part * share * depth + line)
        row = quotient(pixel, ow)
        image = quotient(row, oh)
        j, i = int32(pixel - row * ow), int32(row - image * oh)
        rows_on = quotient(depth, ow)
        images_on = quotient(rows_on, oh)
        j_on, i_on = int32(depth - rows_on * ow), int32(rows_on - images_on * oh)

        # Its chunks of x, which have their taps.
        tap_row, tap_column = cuda.local.array(x_copies, int32), cuda.local.array(x_copies, int32)
        shift = cuda.local.array(x_copies, int32)
        x_target = cuda.local.array(x_copies, int32)
        y_target = cuda.local.array(y_copies, int32)
        for k in range(x_copies):
            chunk = int32(place + k * team)
            q = int32(quotient(first_row, per) + chunk)
            tap = quotient(q, chunks)
            u = quotient(tap, s.kw)
            tap_row[k] = int32(u * s.dilh)
            tap_column[k] = int32((tap - u * s.kw) * s.dilw)
            shift[k] = int32((tap_row[k] * width + tap_column[k] - tap) * chunks + q)
            if tap >= taps:
                tap_row[k] = int32(FAR)
            x_target[k] = int32(line * x_line + (chunk ^ (line & x_mask)) * CHUNK)
        for k in range(y_copies):
            chunk = int32(place + k * team)
            y_target[k] = int32(x_bytes + line * y_line + (chunk ^ (line & y_mask)) * CHUNK)
        y_chunk = int32(quotient(first_column, per) + place)
        x_start = ptx.address(x) + int64(matrix * s.xb) * s.n * s.h * s.w * s.chunks * CHUNK
        y_start = ptx.address(dy) + int64(matrix * s.wb) * pixels * s.y_chunks * CHUNK

        shared = ptx.shared_address(cuda.shared.array(0, float32))
        target = shared
        end = int32(shared + stages * stage_bytes)
        warp_row = int32(warp // warps_across * warp_rows)
        warp_column = int32(warp % warps_across * warp_columns)
        total = cuda.local.array(sums, float32)
        xs, ys = cuda.local.array(x_words, int32), cuda.local.array(y_words, int32)
        for t in range(sums):
            total[t] = float32(0.0)

        source = shared
        for at in range(-ahead, share):
            if at >= 0:
                wait()
                cuda.syncthreads()
            if at + ahead < share:
                top, left = int32(i * s.sh - s.pt), int32(j * s.sw - s.pl)
                corner = int32(((image * height + top) * width + left) * chunks)
                there = pixel < stop
                for k in range(x_copies):
                    r, c = int32(top + tap_row[k]), int32(left + tap_column[k])
                    inside = there and r >= 0 and r < height and c >= 0 and c < width
                    nbytes = int32(CHUNK) if inside else int32(0)
                    address = x_start + int64(int32(corner + shift[k])) * CHUNK
                    ptx.copy_async(int32(target + x_target[k]), address, nbytes)
                for k in range(y_copies):
                    q = int32(y_chunk + k * team)
                    nbytes = int32(CHUNK) if there and q < y_chunks else int32(0)
                    address = y_start + int64(int32(pixel * y_chunks + q)) * CHUNK
                    ptx.copy_async(int32(target + y_target[k]), address, nbytes)
                pixel, j = int32(pixel + depth), int32(j + j_on)
                i, image = int32(i + i_on), int32(image + images_on)
                if j >= ow:
                    j, i = int32(j - ow), int32(i + 1)
                if i >= oh:
                    i, image = int32(i - oh), int32(image + 1)
                target = int32(target + stage_bytes)
                if target >= end:
                    target = shared
            ptx.commit_async()
            if at >= 0:
                for k in range(0, depth, step):
                    fragments(source, k, lane, warp_row, warp_column, xs, ys)
                    for a in range(tall):
                        for b in range(2 * wide):
                            t = (a * 2 * wide + b) * 4
                            total[t], total[t + 1], total[t + 2], total[t + 3] = mma(
                                total[t], total[t + 1], total[t + 2], total[t + 3],
                                xs[4 * a], xs[4 * a + 1], xs[4 * a + 2], xs[4 * a + 3],
                                ys[2 * b], ys[2 * b + 1],
                            )  # fmt: skip
                source = int32(source + stage_bytes)
                if source >= end:
                    source = shared

        # Through shared memory, so that dw is written in whole lines.
        cuda.syncthreads()
        at = int32(shared + ((warp_row + (lane >> 2)) * pitch + warp_column + 2 * (lane & 3)) * 4)
        for a in range(tall):
            for b in range(2 * wide):
                t, to = (a * 2 * wide + b) * 4, int32(at + (a * 16 * pitch + b * 8) * 4)
                ptx.shared_store2(to, total[t], total[t + 1])
                ptx.shared_store2(int32(to + 8 * pitch * 4), total[t + 2], total[t + 3])
        cuda.syncthreads()
        column, line = int32(thread % quads * 4), int32(thread // quads)
        f = int32(first_column + column)
        w_start = int64(part * s.batch + matrix) * taps * s.c
        for r in range(line, rows, threads // quads):
            m = int32(first_row + r)
            tap = quotient(m, chunks * per)
            c = int32(m - tap * chunks * per)
            to = (w_start + tap * s.c + c) * s.f + f
            values = ptx.shared_load4(int32(shared + (r * pitch + column) * 4))
            if tap < taps and c < s.c:
                if s.f % 4 == 0:
                    if f < s.f:
                        ptx.store4(dw, to, values[0], values[1], values[2], values[3])
                else:
                    for k in range(4):
                        if f + k < s.f:
                            dw[to + k] = values[k]

    @jit.device
    def words(source, k, lane, warp_row, warp_column, xs, ys):
        """Of TF32: step t of the sum and row (column) g are words of shared memory."""
        g, t = int32(lane >> 2), int32(lane & 3)
        x_at = int32(source + (k + t) * x_line + (warp_row + g) * 4)
        y_at = int32(source + x_bytes + (k + t) * y_line + (warp_column + g) * 4)
        for a in range(tall):
            for r in range(4):
                at = int32(x_at + a * 64 + r % 2 * 32 + r // 2 * 4 * x_line)
                xs[4 * a + r] = ptx.round_tf32_bits(ptx.bits(ptx.shared_load(at)))
        for b in range(2 * wide):
            for r in range(2):
                at = int32(y_at + b * 32 + r * 4 * y_line)
                ys[2 * b + r] = ptx.round_tf32_bits(ptx.bits(ptx.shared_load(at)))

    @jit.device
    def halves(source, k, lane, warp_row, warp_column, xs, ys):
        """Of bfloat16: matrices of 8 steps of the sum x 8 rows (columns), turned."""
        turn, low, high = int32(lane & 7), int32((lane >> 3) & 1), int32(lane >> 4)
        x_at = int32(source + (k + turn + 8 * high) * x_line)
        y_at = int32(source + x_bytes + (k + turn + 8 * low) * y_line)
        for a in range(tall):
            chunk = int32((warp_row >> 3) + 2 * a + low)
            found = ptx.ldmatrix_trans(int32(x_at + (chunk ^ (turn & x_mask)) * CHUNK))
            for r in range(4):
                xs[4 * a + r] = found[r]
        for b in range(wide):
            chunk = int32((warp_column >> 3) + 2 * b + high)
            found = ptx.ldmatrix_trans(int32(y_at + (chunk ^ (turn & y_mask)) * CHUNK))
            for r in range(4):
                ys[4 * b + r] = found[r]

    fragments = halves if bfloat16 else words
    return mma_columns
