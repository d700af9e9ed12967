"""Machine code of kernels for tensor cores: the instructions that make them fast are there, sums
stay in registers, and as many blocks as are meant to run side by side find room. Compiled without
a GPU; whether it is fast, only a GPU can tell.
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
INSTALLED = importlib.util.find_spec("numba_cuda") is not None


@pytest.mark.skipif(not INSTALLED, reason="needs numba-cuda: pip install 'nbcnn[cuda13]'")
def test_machine_code():
    paths = (str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", ""))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    environment.pop("NUMBA_ENABLE_CUDASIM", None)
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "cuda_cases.codegen", str(share), str(SHARES)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for share in range(SHARES)
    ]
    ended = [process.communicate(timeout=1800) for process in processes]
    assert not any(p.returncode for p in processes), "".join(stderr for _, stderr in ended)
    results = {k: v for stdout, _ in ended for k, v in json.loads(stdout).items()}
    assert len(results) > 25
    wrong = {name: reason for name, reason in results.items() if reason}
    assert not wrong, "\n".join(f"{name}: {reason}" for name, reason in wrong.items())
