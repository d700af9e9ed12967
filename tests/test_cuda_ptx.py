"""Instructions of `kernels.cuda.ptx`: their stand-ins against NumPy in Numba's simulator, and the
machine code of real GPUs, for which no GPU is needed.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
INSTALLED = importlib.util.find_spec("numba_cuda") is not None
PROBES = (
    "quads", "pairs", "shared words", "shared pairs", "shared quads", "copies", "sums", "ldmatrix",
    "ldmatrix_trans", "tf32", "bf16", "wgmma", "rounding", "fences",
)  # fmt: skip


def results_of(*arguments: str, simulated: bool) -> dict[str, str]:
    paths = (str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", ""))
    done = subprocess.run(
        [sys.executable, "-m", "cuda_cases.ptx", *arguments],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "NUMBA_ENABLE_CUDASIM": str(int(simulated)),
        },
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def simulated():
    return results_of(simulated=True)


@pytest.fixture(scope="module")
def compiled():
    return results_of("9.0", simulated=False)


@pytest.mark.parametrize("name", PROBES)
def test_simulated(simulated, name):
    assert simulated[name] == ""


@pytest.mark.skipif(not INSTALLED, reason="needs numba-cuda: pip install 'nbcnn[cuda13]'")
@pytest.mark.parametrize("name", PROBES)
def test_in_machine_code(compiled, name):
    assert compiled[name] == ""


def test_all_are_listed(simulated):
    assert set(simulated) == set(PROBES)
