"""Instructions of `kernels.cuda.ptx`: their stand-ins against NumPy in Numba's simulator, and the
machine code of real GPUs, for which no GPU is needed.
"""

import pytest
from processes import needs_numba_cuda, table

PROBES = (
    "quads", "pairs", "shared words", "shared pairs", "shared quads", "copies", "sums", "ldmatrix",
    "ldmatrix_trans", "tf32", "bf16", "wgmma", "rounding", "fences",
)  # fmt: skip


@pytest.fixture(scope="module")
def simulated():
    return table("ptx", simulated=True)


@pytest.fixture(scope="module")
def compiled():
    return table("ptx", "9.0")


@pytest.mark.parametrize("name", PROBES)
def test_simulated(simulated, name):
    assert simulated[name] == ""


@needs_numba_cuda
@pytest.mark.parametrize("name", PROBES)
def test_in_machine_code(compiled, name):
    assert compiled[name] == ""


def test_all_are_listed(simulated):
    assert set(simulated) == set(PROBES)


SHARED = """
import sys
import threading
from numba import cuda, float32
from nbcnn.kernels.cuda import jit
from numba.cuda.simulator.kernelapi import FakeCUDAShared

sys.setswitchinterval(1e-6)
for _ in range(300):
    shared, found, together = FakeCUDAShared(0), [], threading.Barrier(4)

    def ask():
        together.wait()
        found.append(shared.array(8, float32))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(array) for array in found}) == 1
"""


def test_threads_of_a_simulated_block_share_their_arrays(python, tmp_path):
    script = tmp_path / "shared.py"
    script.write_text(SHARED)
    python(script, NUMBA_ENABLE_CUDASIM="1")
