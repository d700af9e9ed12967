"""Dropout: a thread takes four elements, which share a draw of the counter-based generator. The
gradient draws again, so no mask is kept.
"""

from functools import cache

import numpy as np
from numba import cuda

from nbcnn.kernels import scalar
from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import Launch, launch
from nbcnn.kernels.cuda.quads import access, width_of
from nbcnn.kernels.impl import Impl, always
from nbcnn.ops.random import DropoutSpec

dropout_words = jit.formula(scalar.dropout_words, "int64")


@cache
def dropout_kernel(dtype: str, width: int):
    """`limit`: an element is kept where its random word is at most this."""
    number, (fetch, put) = np.dtype(dtype).type, access(width)

    @jit.kernel(constants=(dtype, width))
    def dropout(s, limit, x, seed, y):
        scale, step, key = number(s.scale), int(seed[1]), int(seed[0])
        v = cuda.local.array(width, number)
        whole = s.n // 4 * 4 if width == 4 else 0
        group = cuda.grid(1)
        while group < (s.n + 3) // 4:
            words, i = dropout_words(group, step, key, s.stream), 4 * group
            if i < whole:
                fetch(x, i, v)
                for j in range(width):
                    v[j] = v[j] * scale if words[j] <= limit else number(0)
                put(y, i, v)
            else:
                for j in range(min(4, s.n - i)):
                    y[i + j] = x[i + j] * scale if words[j] <= limit else number(0)
            group += cuda.gridsize(1)

    return dropout


def bind(spec: DropoutSpec, caps, inputs, outputs, scratch) -> list[Launch]:
    limit, dtype = scalar.keep_limit(spec.keep), str(outputs[0].dtype)
    kernel = dropout_kernel(dtype, width_of(dtype))
    return launch(kernel, caps, -(-spec.n // 4), spec, limit, *inputs, *outputs)


dropout = Impl("philox", always, bind, inplace=((0, 0),))
