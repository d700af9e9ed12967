"""Dropout: one thread per four elements, which share a draw of the counter-based generator."""

from numba import cuda

from nbcnn.kernels import scalar
from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import launch
from nbcnn.kernels.impl import Impl, always

dropout_words = jit.formula(scalar.dropout_words, "int64")


@jit.kernel
def dropout_kernel(s, limit, x, seed, y):
    """`limit`: an element is kept where its random word is at most this."""
    for group in range(cuda.grid(1), (s.n + 3) // 4, cuda.gridsize(1)):
        words = dropout_words(group, int(seed[1]), int(seed[0]), s.stream)
        for k in range(min(4, s.n - 4 * group)):
            i = 4 * group + k
            y[i] = x[i] * s.scale if words[k] <= limit else 0.0


def bind(spec, caps, inputs, outputs, scratch):
    limit = scalar.keep_limit(spec.keep)
    return launch(dropout_kernel, caps, -(-spec.n // 4), spec, limit, *inputs, *outputs)


dropout = Impl("plain", always, bind)
