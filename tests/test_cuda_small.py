"""CUDA kernels that are bound by memory: that none is missing beside the CPU's, that both devices
drop the same elements, and what machine code they become. No GPU is needed.
"""

import pytest
from processes import needs_numba_cuda, outputs
from processes import table as table_of

ROWS = (
    "unary", "unary_dx", "unary_dx_sum", "binary", "bias", "concat", "transpose", "batchnorm",
    "batchnorm_dx", "batchnorm_maxpool", "batchnorm_maxpool_dx", "scale_shift", "layernorm",
    "layernorm_dx", "maxpool2d", "maxpool2d_dx", "avgpool2d", "avgpool2d_dx", "upsample2d",
    "reduce", "loss", "loss_dx", "dropout", "sgd", "rmsprop", "adam", "nadam", "mix",
    "clip", "global_response", "global_response_dx",
)  # fmt: skip


# Convolutions with a pool in their tail run as two launches on CUDA.
PARITY = """
from cases.table import CASES
from nbcnn.graph.choosing import main_dtype
from nbcnn.kernels.cpu import lists as cpu
from nbcnn.runtime.device import get_device

gpu, host = get_device("cuda"), get_device("cpu")
from nbcnn.kernels.cuda import lists as cuda
assert set(cpu.IMPLS) <= set(cuda.IMPLS), set(cpu.IMPLS) - set(cuda.IMPLS)
missing = set()
for case in CASES:
    if getattr(case.op, "pool", 0):
        continue
    for dtype in case.dtypes:
        specs = case.specs(dtype)
        spec, main = case.op.spec(*specs), main_dtype(case.op, specs)
        first, other = (
            [i.name for i in d.impls(case.op) if i.accepts(spec, main, d.caps) is None]
            for d in (host, gpu)
        )
        if first and not other:
            missing.add(f"{case.name}-{dtype}")
assert not missing, missing
"""


def test_nothing_is_missing_beside_the_cpu():
    outputs("-c", PARITY, simulated=True)


DROPOUT = """
import numpy as np
from cases.execution import run
from nbcnn.ops.random import Dropout
from nbcnn.runtime.device import get_device

for n, step in ((4, 1), (23, 7), (32, 1 << 40)):
    x = np.random.default_rng(n).standard_normal(n).astype("float32")
    op, seed = Dropout(0.4, stream=3), np.array([-12345678901234, step])
    a, b = (
        run(d.impls(op)[0], op, [x, seed], d)[0] for d in (get_device("cpu"), get_device("cuda"))
    )
    assert a.tobytes() == b.tobytes(), (a, b)
    assert n < 20 or 0 < np.count_nonzero(a) < n
"""


def test_both_devices_drop_the_same():
    outputs("-c", DROPOUT, simulated=True)


@pytest.fixture(scope="module", params=["9.0"])
def table(request):
    return table_of("small_table", request.param)


@needs_numba_cuda
@pytest.mark.parametrize("row", ROWS)
def test_machine_code(table, row):
    assert table[row] == ""


@needs_numba_cuda
def test_all_rows_are_listed(table):
    assert set(table) == set(ROWS)
