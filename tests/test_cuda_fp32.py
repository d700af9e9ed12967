"""Machine code of the CUDA kernels in true float32: 128-bit words, registers, no spills. No GPU is
needed.
"""

from processes import faults, needs_numba_cuda, table


@needs_numba_cuda
def test_machine_code():
    results = table("fp32_table", shares=2, timeout=1800)
    assert len(results) >= 30
    assert not faults(results), faults(results)
