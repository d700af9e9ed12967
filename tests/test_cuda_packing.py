"""Arguments of kernels: their types, and that kernels take what is packed for them."""

import re
from typing import Any, NamedTuple

import numpy as np
from processes import needs_numba_cuda

from nbcnn.kernels.cuda import compiling, jit
from nbcnn.kernels.cuda.compiling import architecture
from nbcnn.kernels.cuda.packing import kind_of, kinds_of, numba_type, shown
from nbcnn.ops.broadcast import FlatSpec


def test_kinds_of_arguments():
    given = (3, 0.5, True, np.float32(1), np.zeros((2, 2), "int16"), np.zeros(1, bool), FlatSpec(3))
    assert [shown(kind_of(value)) for value in given] == [
        "int64",
        "float64",
        "bool",
        "float32",
        "int16*",
        "uint8*",
        "nbcnn.ops.broadcast.FlatSpec(int64)",
    ]


class Mixed(NamedTuple):
    n: int
    scale: float
    flag: bool
    small: Any
    count: Any


MIXED = Mixed(1, 0.5, True, np.float32(2), np.int16(3))


def test_fields_of_a_spec_keep_their_types():
    assert str(numba_type(kind_of(MIXED))).startswith("Mixed(int64, float64, bool, float32, int16)")


@needs_numba_cuda
def test_kernels_take_what_is_packed_for_them():
    """As many parameters as words, in their order and of their sizes."""

    @jit.kernel
    def kernel(s, x, flag, y, number):
        if flag and s.flag:
            y[s.n] = x[s.count] * s.scale + s.small + number

    kinds = kinds_of((MIXED, np.zeros(1, bool), True, np.zeros(1, "float64"), np.float32(1)))
    words = kinds[0][1:] + kinds[1:]
    ptx = compiling.ptx_of(kernel, kinds, architecture((9, 0)))
    head = ptx[ptx.index(".visible .entry") :].partition("{")[0]
    sizes = [int(bits) // 8 for bits in re.findall(r"\.param \.[a-z](\d+)", head)]
    assert sizes == [8 if w.endswith("*") else np.dtype(w).itemsize for w in words]
