"""Dropout from a counter-based generator.

    y[4 i + j] = scale x[4 i + j] where word j of Philox(key, counter i) is at most the limit, else
    0

Each group of four elements has its own counter, so any task can make its part of the mask: the
result depends on neither the device nor the number of threads, and the gradient makes the same mask
again. A task first writes the words of 1,024 elements into a buffer of its own in four separate
rows, which LLVM vectorizes, and the scaled elements into another, then masks. (Reading x and the
mask in one loop, LLVM compares all their places with y's, and in place takes the slow way.)
"""

from collections.abc import Sequence

from nbcnn.kernels import scalar
from nbcnn.kernels.cpu import jit
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.cpu.shares import BLOCK, blocks, flat
from nbcnn.kernels.cpu.simd_streams import fetch, put
from nbcnn.kernels.cpu.vector_math import formula
from nbcnn.kernels.impl import Impl, Scratch, always
from nbcnn.ops.random import DropoutSpec

GROUPS = 256  # counters at a time

words = formula(scalar.dropout_words, "int64")


@jit.kernel
def dropout(task, thread, spec, limit, x, seed, masks, scaled, y):
    number, mask, values = y.dtype.type, masks[thread], scaled[thread]
    scale, zero = number(spec.scale), number(0)
    for first in range(task * BLOCK, min((task + 1) * BLOCK, spec.n), 4 * GROUPS):
        count = min(4 * GROUPS, spec.n - first)
        for i in range((count + 3) // 4):
            w0, w1, w2, w3 = words(first // 4 + i, seed[1], seed[0], spec.stream)
            put(mask, 4 * i, w0 <= limit, 0)
            put(mask, 4 * i + 1, w1 <= limit, 1)
            put(mask, 4 * i + 2, w2 <= limit, 2)
            put(mask, 4 * i + 3, w3 <= limit, 3)
        for i in range(count):
            put(values, i, fetch(x, first + i) * scale, 0)
        for i in range(count):
            put(y, first + i, values[i] if mask[i] else zero, 1)


def scratch(spec: DropoutSpec, dtype: str, caps) -> dict[str, Scratch]:
    shape = caps.threads, 4 * GROUPS
    return {"masks": Scratch(shape, "uint8"), "scaled": Scratch(shape, dtype)}


def bind(spec: DropoutSpec, caps, inputs: Sequence, outputs: Sequence, scratch: dict) -> list[Call]:
    limit = scalar.keep_limit(spec.keep)
    own = scratch["masks"], scratch["scaled"]
    args = (spec, limit, flat(inputs[0]), flat(inputs[1]), *own, flat(outputs[0]))
    return [Call(dropout, blocks(spec.n), args)]


dropout_impl = Impl("philox", always, bind, scratch, inplace=((0, 0),))
