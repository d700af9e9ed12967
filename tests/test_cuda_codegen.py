"""Machine code of kernels for tensor cores: the instructions that make them fast are there, sums
stay in registers, and as many blocks as are meant to run side by side find room. Compiled without
a GPU; whether it is fast, only a GPU can tell.
"""

from processes import faults, needs_numba_cuda, table


@needs_numba_cuda
def test_machine_code():
    results = table("codegen", shares=2, timeout=1800)
    assert len(results) > 25
    assert not faults(results), faults(results)
