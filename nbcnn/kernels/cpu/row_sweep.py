"""Vector loops over rows, for kernels that treat every column of a matrix in its own way.

A sweep passes over `rows` rows of `width` numbers that follow each other in memory, and a last one
of `last` numbers. Numbers per column (scales, running sums) lie in arrays as wide as a row. Four
rows are taken at a time, a vector of columns after the other: what belongs to the columns is
loaded, and stored, once for four vectors of data. Columns beyond the last whole vector, rows beyond
a multiple of four and the last row go by single vectors under a mask.

Where columns are few, the caller takes several rows for one (see `reduce.cut`), so that a row is
always some vectors wide.
"""

from collections.abc import Callable, Sequence

from nbcnn.kernels.cpu import simd, types
from nbcnn.kernels.cpu.blocking import Tile

GROUP = 4  # rows


class Lanes:
    """Loads and stores of whole vectors or, given a mask, of some lanes."""

    def __init__(self, builder, tile: Tile, mask=None):
        self.builder, self.vector = builder, simd.vector_type(tile.lanes, tile.item)
        self.mask = mask

    def load(self, address):
        if self.mask is None:
            return simd.load_vector(self.builder, address, self.vector)
        return simd.masked_load(self.builder, address, self.vector, self.mask)

    def store(self, value, address):
        if self.mask is None:
            simd.store_vector(self.builder, value, address)
        else:
            simd.masked_store(self.builder, value, address, self.mask)


# (builder, lanes, addresses[stream][row], addresses[column array])
Body = Callable[[object, Lanes, Sequence[Sequence], Sequence], None]


def sweep(tile: Tile, streams: int, columns: int, body: Body):
    """sweep(streams.., columns.., rows, width, last): addresses of this many arrays of rows, and of
    arrays of numbers per column. `body` writes the code for some rows of one vector of columns.
    """
    lanes, item = tile.lanes, tile.item

    def moved(b, addresses, count):
        """Addresses `count` numbers further on."""
        step = b.mul(count, simd.integer(item))
        return [b.add(address, step) for address in addresses]

    def build(b, args):
        data, arrays = args[:streams], args[streams : streams + columns]
        rows, width, last = args[streams + columns :]
        whole = b.and_(width, simd.integer(-lanes))
        grouped = b.and_(rows, simd.integer(-GROUP))
        with simd.loop(b, grouped, GROUP) as j:
            heads = moved(b, data, b.mul(j, width))
            lines = [heads] + [
                moved(b, heads, b.mul(width, simd.integer(r))) for r in range(1, GROUP)
            ]
            with simd.loop(b, whole, lanes) as k:
                places = [moved(b, line, k) for line in lines]
                body(b, Lanes(b, tile), list(zip(*places)), moved(b, arrays, k))
        with simd.loop(b, b.add(rows, simd.integer(1))) as j:
            begin = b.select(b.icmp_signed("<", j, grouped), whole, simd.integer(0))
            end = b.select(b.icmp_signed("<", j, rows), width, last)
            line = moved(b, data, b.mul(j, width))
            with simd.loop(b, b.sub(end, begin), lanes) as i:
                k = b.add(begin, i)
                mask = simd.first_lanes(b, b.sub(end, k), lanes)
                places = [[address] for address in moved(b, line, k)]
                body(b, Lanes(b, tile, mask), places, moved(b, arrays, k))

    return simd.emit(types.void, (types.intp,) * (streams + columns + 3), build)
