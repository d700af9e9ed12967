"""CUDA kernels in Numba's simulator, in a process of its own: it cannot live beside the real CUDA
target.

The simulator is part of Numba, so this runs everywhere. The cases are the tiny ones of `cases`.
"""

import json

import pytest
from cases.table import CASES
from processes import outputs

SHARES = 2  # processes


@pytest.fixture(scope="module")
def simulated():
    """Results of all cases: what is wrong with each, and the operations that the device has."""
    printed = outputs("-m", "cuda_cases.run", shares=SHARES, simulated=True)
    found = [json.loads(text) for text in printed]
    results = {name: wrong for part in found for name, wrong in part["results"].items()}
    return {"results": results, "operations": found[0]["operations"]}


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
    python(script, NUMBA_ENABLE_CUDASIM="1")
