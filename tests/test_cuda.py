"""CUDA kernels in Numba's simulator, in a process of its own: it cannot live beside the real CUDA
target.

The simulator is part of Numba, so this runs everywhere. The cases are the tiny ones of `cases`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cases.table import CASES

TESTS = Path(__file__).parent
SIMULATED = {"NUMBA_ENABLE_CUDASIM": "1"}


SHARES = 2  # processes


def run_cases(**environment):
    """Results of all cases: what is wrong with each, and the operations that the device has."""
    paths = (str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", ""))
    environment = {
        **os.environ,
        **environment,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "cuda_cases.run", str(share), str(SHARES)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for share in range(SHARES)
    ]
    ended = [process.communicate(timeout=900) for process in processes]
    assert not any(p.returncode for p in processes), "".join(stderr for _, stderr in ended)
    found = [json.loads(stdout) for stdout, _ in ended]
    results = {name: wrong for part in found for name, wrong in part["results"].items()}
    return {"results": results, "operations": found[0]["operations"]}


@pytest.fixture(scope="module")
def simulated():
    return run_cases(**SIMULATED)


@pytest.mark.parametrize(
    "name, dtype", [(case.name, dtype) for case in CASES if case.tiny for dtype in case.dtypes]
)
def test_simulated(simulated, name, dtype):
    assert simulated["results"][f"{name}-{dtype}"] == ""


def test_every_kernel_has_a_case(simulated):
    assert {case.op.impl_op for case in CASES if case.tiny} == set(simulated["operations"])


DEVICE = """
import numpy as np
from nbcnn.runtime.device import DeviceError, current_device, device, get_device, set_device

gpu = get_device("cuda")
assert gpu is get_device("cuda:0") and (gpu.kind, gpu.name) == ("cuda", "cuda:0")
assert gpu.caps.simulated
assert get_device("auto").kind == "cpu" or not get_device("auto").caps.simulated
with device("cuda"):
    assert current_device() is gpu
set_device("cuda")
assert current_device() is gpu

buffer = gpu.empty(256)
for shape, dtype in (((2, 3), "float32"), ((), "float64"), ((0, 2), "int32"), ((3,), "bool")):
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    array = gpu.view(buffer, 64, shape, dtype)
    gpu.upload(array, values)
    gpu.synchronize()
    copy = gpu.download(array)
    assert (copy.shape, copy.dtype) == (shape, dtype)
    assert np.array_equal(copy, values.astype(dtype))

try:
    get_device("cuda:1")
except DeviceError as error:
    assert str(error) == "device 'cuda:1' does not exist: the last one here is 'cuda:0'"
else:
    raise AssertionError("a second GPU was simulated")
"""


def test_simulated_device(python, tmp_path):
    script = tmp_path / "device.py"
    script.write_text(DEVICE)
    python(script, **SIMULATED)
