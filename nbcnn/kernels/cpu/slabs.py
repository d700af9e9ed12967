"""Sums over many pixels in slabs, the same bits at any number of threads.

A weight gradient sums over every pixel of the batch. The pixels are split into slabs, each slab's
sum is a partial result of its own, and `sum_slabs` adds the partials in the order of the slabs.
The number of slabs follows from the shape alone, so neither the number of threads nor their speed
changes how the sum is formed.
"""

from nbcnn.kernels.cpu import jit
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.cpu.types import uintp

MOST = 16  # slabs: enough to balance a few cores
MOST_ELEMENTS = 1 << 22  # of all partials together
BLOCK = 2048  # elements that one task of `sum_slabs` adds


def slab_count(steps: int, size: int, least: int = 1) -> int:
    """Slabs for sums of `size` elements over `steps` steps, at least `least` steps each."""
    return max(1, min(MOST, steps // max(least, 1), MOST_ELEMENTS // max(size, 1)))


@jit.helper
def slab_range(slab, slabs, steps):
    """(first, end): the steps of a slab; they differ by one step at most."""
    return slab * steps // slabs, (slab + 1) * steps // slabs


@jit.kernel
def sum_slabs(task, thread, slabs, stride, offset, parts, out):
    """out[i] = sum over s of parts[s * stride + offset + i], for one block of `out`."""
    first = task * BLOCK
    size, to = uintp(min(BLOCK, out.size - first)), uintp(first)  # unsigned: the loops vectorise
    for s in range(slabs):
        start = uintp(s * stride + offset + first)
        if s == 0:
            for i in range(size):
                out[to + i] = parts[start + i]
        else:
            for i in range(size):
                out[to + i] += parts[start + i]


def reductions(parts, outputs) -> list[Call]:
    """Calls that sum partials, the rows of `parts`: each holds all outputs, one after the other."""
    calls, offset = [], 0
    for out in outputs:
        args = (*parts.shape, offset, parts.reshape(-1), out.reshape(-1))
        calls.append(Call(sum_slabs, -(-out.size // BLOCK), args))
        offset += out.size
    return calls
