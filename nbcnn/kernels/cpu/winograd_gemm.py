"""The matrix products of Winograd's convolutions: every stride is known when the code is emitted.

    C[i, :] = init + sum over chunks q, steps l of  A[q, i, l] * B[q, l, :]

Operands are packed by the transforms, so a row of A follows the last at a fixed distance, as do
rows of B and of C: two pointers and immediate offsets address all of a tile. `gemm_micro`, which
takes rows from tables, keeps an address per row, and with a vector of columns only it would spill
them; here such a tile has 16 rows.

Products are taken for all channels of a point (`point_product`, A is [chunk of channels][tile][a
vector of channels]), or over the tiles (`channel_product`, the same A read the other way: rows are
the channels of a chunk, steps the tiles). Rows and columns are never masked: operands are padded.
"""

from functools import cache

from llvmlite import ir

from nbcnn.kernels.cpu import simd, types
from nbcnn.kernels.cpu.blocking import Tile
from nbcnn.kernels.cpu.simd import integer


class _Product:
    """Emission of one tile of `rows` x `vectors` accumulators; distances in bytes.

    `a_row`, `a_step`, `b_step`: between rows and steps of A, steps of B; `b_vector`: between the
    vectors of a step of B, an integer of the program.
    """

    def __init__(self, builder, tile: Tile, vectors: int, rows: int, a_row: int, a_step: int):
        self.b, self.lanes, self.item = builder, tile.lanes, tile.item
        self.rows, self.vectors, self.a_row, self.a_step = rows, vectors, a_row, a_step
        self.vector = simd.vector_type(tile.lanes, tile.item)
        self.size = tile.lanes * tile.item
        self.b_step, self.b_vector = vectors * self.size, integer(self.size)
        self.c_row = tile.width * tile.item

    def cells(self, c):
        """Addresses of the tile's vectors in C."""
        for i in range(self.rows):
            for v in range(self.vectors):
                yield self.b.add(c, integer(i * self.c_row + v * self.size))

    def step(self, a, b, sums):
        """sums += a column of A times a row of B."""
        builder = self.b
        places = [b, builder.add(b, self.b_vector)][: self.vectors]
        row = [simd.load_vector(builder, place, self.vector) for place in places]
        kind = self.vector.element.as_pointer()
        totals = []
        for i in range(self.rows):
            at = builder.inttoptr(builder.add(a, integer(i * self.a_row)), kind)
            x = simd.broadcast(builder, builder.load(at, align=self.item), self.lanes)
            for v in range(self.vectors):
                before = sums[i * self.vectors + v]
                totals.append(simd.multiply_add(builder, x, row[v], before))
        return totals

    def chunk(self, a, b, steps, sums):
        """(sums, b) after `steps` >= 1 steps."""
        builder, entry = self.b, self.b.block
        body, done = (builder.append_basic_block(name) for name in ("steps", "steps_end"))
        end = builder.add(b, builder.mul(steps, integer(self.b_step)))
        builder.branch(body)
        builder.position_at_end(body)
        a_at, b_at = builder.phi(a.type), builder.phi(b.type)
        running = [builder.phi(self.vector) for _ in sums]
        totals = self.step(a_at, b_at, running)
        a_next = builder.add(a_at, integer(self.a_step))
        b_next = builder.add(b_at, integer(self.b_step))
        builder.cbranch(builder.icmp_unsigned("<", b_next, end), body, done)
        for phi, start, following in ((a_at, a, a_next), (b_at, b, b_next)):
            phi.add_incoming(start, entry)
            phi.add_incoming(following, body)
        for phi, start, following in zip(running, sums, totals):
            phi.add_incoming(start, entry)
            phi.add_incoming(following, body)
        builder.position_at_end(done)
        return totals, end

    def zeros(self):
        zero = ir.Constant(self.vector, [0.0] * self.lanes)
        return [zero] * (self.rows * self.vectors)

    def add_to(self, c, mask, sums):
        """C, which counts as zeros where the mask has none, plus the sums: short chains of
        additions make small errors.
        """
        for value, at in zip(sums, self.cells(c)):
            before = simd.masked_load(self.b, at, self.vector, mask)
            simd.store_vector(self.b, self.b.fadd(before, value), at)


def row_tile(tile: Tile, vectors: int) -> int:
    """Rows of a tile of `vectors` vectors: one vector leaves registers for twice as many."""
    return tile.rows * 2 // vectors


def _for_vectors(builder, tile: Tile, columns):
    """Code for panels of one vector of columns, and of two."""
    wide = builder.icmp_signed(">", columns, integer(tile.lanes))
    with builder.if_else(wide) as branches:
        for vectors, branch in zip((2, 1), branches):
            with branch:
                yield vectors


@cache
def point_product(tile: Tile):
    """A function for kernels, products of one point for all channels and a panel of filters:

        product(a, chunk, depth, b, c, rows, columns, resume)

    a: [chunk of `lanes` channels, `chunk` bytes apart][row][lane]; b: [channel][columns, in whole
    vectors]; c: [row][tile.width], to which with `resume` (not 0) the sums are added. `rows` are
    rounded up to whole tiles.
    """

    def build(builder, args):
        a, chunk, depth, b, c, rows, columns, resume = args
        again = builder.icmp_signed("!=", resume, integer(0))
        mask, size = simd.broadcast(builder, again, tile.lanes), tile.lanes * tile.item
        for vectors in _for_vectors(builder, tile, columns):
            count = row_tile(tile, vectors)
            product = _Product(builder, tile, vectors, count, size, tile.item)
            with simd.loop(builder, rows, count) as i:
                start = builder.add(a, builder.mul(i, integer(size)))
                pointers = [start, b, *product.zeros()]
                with simd.loop(builder, depth, tile.lanes, pointers) as (k, state):
                    steps = simd.smaller(builder, builder.sub(depth, k), integer(tile.lanes))
                    sums, state[1] = product.chunk(state[0], state[1], steps, state[2:])
                    state[0], state[2:] = builder.add(state[0], chunk), sums
                at = builder.add(c, builder.mul(i, integer(product.c_row)))
                product.add_to(at, mask, state[2:])

    return simd.emit(types.void, (types.intp,) * 8, build)


@cache
def channel_product(tile: Tile):
    """A function for kernels, sums over tiles for the channels of one chunk:

        product(a, depth, b, chunk, c, columns, resume)

    a: [tile][lane]; b: [chunk of `lanes` columns, `chunk` bytes apart][tile][lane]; c:
    [lane][tile.width], which with `resume` is added to. `depth` >= 1 tiles.
    """

    def build(builder, args):
        a, depth, b, chunk, c, columns, resume = args
        again = builder.icmp_signed("!=", resume, integer(0))
        mask = simd.broadcast(builder, again, tile.lanes)
        size = tile.lanes * tile.item
        for vectors in _for_vectors(builder, tile, columns):
            count = channel_rows(tile, vectors)
            product = _Product(builder, tile, vectors, count, tile.item, size)
            product.b_step, product.b_vector = size, chunk
            with simd.loop(builder, integer(tile.lanes), count) as i:
                start = builder.add(a, builder.mul(i, integer(tile.item)))
                at = builder.add(c, builder.mul(i, integer(product.c_row)))
                sums, _ = product.chunk(start, b, depth, product.zeros())
                product.add_to(at, mask, sums)

    return simd.emit(types.void, (types.intp,) * 7, build)


def channel_rows(tile: Tile, vectors: int) -> int:
    """Rows of a tile that divide a chunk of `lanes` channels."""
    return max(r for r in range(1, row_tile(tile, vectors) + 1) if tile.lanes % r == 0)
