"""CUDA kernels compiled for real GPUs: each type-checks and becomes machine code; no GPU is
needed.
"""

import pytest
from processes import faults, needs_numba_cuda, table


@needs_numba_cuda
@pytest.mark.parametrize(
    "dtype, capability, cases", [("float32", "8.0", "all"), ("float64", "9.0", "one")]
)
def test_kernels_compile(dtype, capability, cases):
    results = table("compile", dtype, capability, cases)
    assert len(results) > {"all": 100, "one": 40}[cases]
    assert not faults(results), faults(results)
