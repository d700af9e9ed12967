"""CUDA kernels compiled for real GPUs: each type-checks and becomes machine code; no GPU is
needed.
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


@pytest.mark.skipif(not INSTALLED, reason="needs numba-cuda: pip install 'nbcnn[cuda13]'")
@pytest.mark.parametrize(
    "dtype, capability, cases", [("float32", "8.0", "all"), ("float64", "9.0", "one")]
)
def test_kernels_compile(dtype, capability, cases):
    paths = (str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", ""))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    environment.pop("NUMBA_ENABLE_CUDASIM", None)
    done = subprocess.run(
        [sys.executable, "-m", "cuda_cases.compile", dtype, capability, cases],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert len(results) > {"all": 100, "one": 40}[cases]
    wrong = {name: error for name, error in results.items() if error}
    assert not wrong, "\n".join(f"{name}\n{error}" for name, error in wrong.items())
