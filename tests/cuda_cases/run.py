"""Run the cases on a GPU, or the tiny ones on a simulated GPU, and compare; results as JSON on
stdout. Each runs twice, on different grids; where the GPU is simulated the second time as on a real
one, by pointers and packed arguments.

    NUMBA_ENABLE_CUDASIM=1 python -m cuda_cases.run
"""

import json
import sys
import traceback

import numpy as np
from cases.case import Case, specs_of
from cases.execution import run
from cases.expected import TOLERANCE, difference, expected
from cases.table import CASES
from cuda_cases import simulated_driver

from nbcnn.graph.choosing import main_dtype
from nbcnn.runtime.device import Device, get_device

TINY = [case for case in CASES if case.tiny]


def few_threads(calls: list) -> list:
    """The same calls on another grid: results must not depend on it."""
    return [call if call.fixed else call._replace(grid=3, block=2) for call in calls]


def check(case: Case, dtype: str, device: Device, other: Device) -> str:
    """What is wrong with the results of two devices, or nothing."""
    arrays = case.arrays(dtype)
    specs = specs_of(arrays)
    spec = case.op.spec(*specs)
    wanted = expected(case.op, spec, arrays)
    types = [s.dtype for s in (specs if case.op.stateful else case.op.infer(*specs))]
    for impl in device.impls(case.op):
        if impl.accepts(spec, main_dtype(case.op, specs), device.caps) is not None:
            continue
        with np.errstate(all="ignore"):
            found = run(impl, case.op, arrays, device)
            again = run(impl, case.op, arrays, other, change=few_threads)
        if [a.dtype.name for a in found] != types or len(found) != len(wanted):
            return f"{impl.name}: {[a.dtype for a in found]}, expected {types}"
        for i, (a, b, c) in enumerate(zip(found, wanted, again)):
            error = difference(a, b)
            if not error <= TOLERANCE.get(types[i], 0.0):
                return f"{impl.name}: result {i} is off by {error:.2e}\n{a}\nexpected\n{b}"
            if a.tobytes() != c.tobytes():
                return f"{impl.name}: result {i} depends on the grid or the launcher"
    return ""


def main() -> None:
    from nbcnn.kernels.cuda import lists

    device = other = get_device("cuda")
    if device.caps.simulated:
        other = simulated_driver.opened()
    results = {}
    for case in TINY if device.caps.simulated else CASES:
        for dtype in case.dtypes:
            try:
                wrong = check(case, dtype, device, other)
            except Exception:
                wrong = traceback.format_exc()
            results[f"{case.name}-{dtype}"] = wrong
    json.dump({"results": results, "operations": sorted(lists.IMPLS)}, sys.stdout)


if __name__ == "__main__":
    main()
