"""Vector loops over rows, for kernels that treat every column of a matrix in its own way.

A sweep passes over `rows` rows of `width` numbers that follow each other in memory, and a last one
of `last` numbers. Numbers per column (scales, running sums) lie in arrays as wide as a row. Four
rows are taken at a time, a vector of columns after the other: what belongs to the columns is
loaded, and stored, once for four vectors of data. Columns beyond the last whole vector, rows beyond
a multiple of four and the last row go by single vectors under a mask.

Memory that is not in L2 is asked for some thousand bytes ahead. The processor does so by itself
only along one line, and loses it at the end of each of four: sums over 25 MB took 0.6 to 1.0 ms,
and take 0.4. Maps that do not fit into the caches are written past them (`past`), which saves
reading what is going to be overwritten.
"""

from collections.abc import Callable, Sequence
from itertools import compress

from nbcnn.kernels.cpu import simd, types
from nbcnn.kernels.cpu.blocking import Tile

GROUP = 4  # rows
AHEAD = 4096  # bytes, or a group of rows where that is more; 1 to 16 KB are equal


class Lanes:
    """Loads and stores of whole vectors or, given a mask, of some lanes. `past`: `write` passes the
    caches by.
    """

    def __init__(self, builder, tile: Tile, mask=None, past=False):
        self.builder, self.vector = builder, simd.vector_type(tile.lanes, tile.item)
        self.mask, self.past = mask, past

    def load(self, address):
        if self.mask is None:
            return simd.load_vector(self.builder, address, self.vector)
        return simd.masked_load(self.builder, address, self.vector, self.mask)

    def store(self, value, address):
        if self.mask is None:
            simd.store_vector(self.builder, value, address)
        else:
            simd.masked_store(self.builder, value, address, self.mask)

    def write(self, value, address):
        """Store what will not be read soon."""
        if self.past and self.mask is None:
            simd.store_past(self.builder, value, address)
        else:
            self.store(value, address)


# (builder, lanes, addresses[stream][row], addresses[column array])
Body = Callable[[object, Lanes, Sequence[Sequence], Sequence], None]


def sweep(tile: Tile, streams: Sequence[bool], columns: int, body: Body, past: bool = False):
    """sweep(streams.., columns.., rows, width, last): addresses of arrays of rows (`streams` tells
    which of them are worth asking for ahead) and of arrays of numbers per column. `body` writes the
    code for some rows of one vector of columns.

    past: `Lanes.write` passes the caches by; rows that it writes are whole vectors wide and begin
    at a multiple of their size.
    """
    lanes, item, arrays_of_rows = tile.lanes, tile.item, len(streams)

    def moved(b, addresses, count):
        """Addresses `count` numbers further on."""
        step = b.mul(count, simd.integer(item))
        return [b.add(address, step) for address in addresses]

    def build(b, args):
        data, arrays = args[:arrays_of_rows], args[arrays_of_rows:-3]
        rows, width, last = args[-3:]
        whole = b.and_(width, simd.integer(-lanes))
        grouped = b.and_(rows, simd.integer(-GROUP))
        ahead = simd.larger(b, b.mul(width, simd.integer(GROUP * item)), simd.integer(AHEAD))
        with simd.loop(b, grouped, GROUP) as j:
            heads = moved(b, data, b.mul(j, width))
            lines = [heads] + [
                moved(b, heads, b.mul(width, simd.integer(r))) for r in range(1, GROUP)
            ]
            with simd.loop(b, whole, lanes) as k:
                places = [moved(b, line, k) for line in lines]
                for line in places:
                    for address in compress(line, streams):
                        simd.prefetch(b, b.add(address, ahead), near=False)
                body(b, Lanes(b, tile, None, past), list(zip(*places)), moved(b, arrays, k))
        with simd.loop(b, b.add(rows, simd.integer(1))) as j:
            begin = b.select(b.icmp_signed("<", j, grouped), whole, simd.integer(0))
            end = b.select(b.icmp_signed("<", j, rows), width, last)
            line = moved(b, data, b.mul(j, width))
            with simd.loop(b, b.sub(end, begin), lanes) as i:
                k = b.add(begin, i)
                mask = simd.first_lanes(b, b.sub(end, k), lanes)
                places = [[address] for address in moved(b, line, k)]
                body(b, Lanes(b, tile, mask), places, moved(b, arrays, k))
        if past:
            b.fence("seq_cst")

    return simd.emit(types.void, (types.intp,) * (arrays_of_rows + columns + 3), build)
