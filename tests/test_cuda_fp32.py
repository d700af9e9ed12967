"""Machine code of the CUDA kernels in true float32: 128-bit words, registers, no spills. No GPU is
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
SHARES = 2  # processes
INSTALLED = all(importlib.util.find_spec(name) is not None for name in ("numba_cuda", "nvidia"))


@pytest.mark.skipif(not INSTALLED, reason="needs numba-cuda: pip install 'nbcnn[cuda13]'")
def test_machine_code():
    paths = (str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", ""))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    environment.pop("NUMBA_ENABLE_CUDASIM", None)
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "cuda_cases.fp32_table", str(share), str(SHARES)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for share in range(SHARES)
    ]
    ended = [process.communicate(timeout=900) for process in processes]
    assert not any(p.returncode for p in processes), "".join(stderr for _, stderr in ended)
    results = {k: v for stdout, _ in ended for k, v in json.loads(stdout).items()}
    assert len(results) >= 30
    wrong = {name: error for name, error in results.items() if error}
    assert not wrong, "\n".join(f"{name}: {error}" for name, error in wrong.items())
