"""Run the cases on a GPU, or the tiny ones on a simulated GPU, and compare; results as JSON on
stdout. Each runs twice, on different grids; where the GPU is simulated the second time as on a real
one, by pointers and packed arguments.

    NUMBA_ENABLE_CUDASIM=1 python -m cuda_cases.run 0 2

of every two cases the first.
"""

import json
import sys
import traceback
from functools import partial

import numpy as np
from cases import tensor_cores
from cases.case import Case, specs_of
from cases.execution import run
from cases.expected import difference, expected, limit
from cases.table import CASES
from cuda_cases import simulated_driver

from nbcnn import config
from nbcnn.graph.choosing import main_dtype
from nbcnn.runtime.device import Device, get_device

TINY = [case for case in CASES if case.tiny]
FOR_CORES = {case.name for case in tensor_cores.CASES}


def few_threads(calls: list) -> list:
    """The same calls on another grid: results must not depend on it."""
    return [call if call.fixed else call._replace(grid=3, block=2) for call in calls]


def noted(seen: list, calls: list) -> list:
    seen.extend(calls)
    return calls


def impls_of(case: Case, device: Device) -> tuple:
    """Of operands that may be rounded only those that do: for the others it is no new case."""
    from nbcnn.kernels.cuda import lists

    rounds = getattr(case.op, "bfloat16", False)
    return lists.BFLOAT16[case.op.impl_op] if rounds else device.impls(case.op)


def accepting(impl, case: Case, spec, dtype: str, device: Device) -> str | None:
    """The matrix precision with which the implementation takes the case: "high" where only that
    will do. A simulated GPU is slow, and rounds only in cases that were made for it.
    """
    rounds = not device.caps.simulated or case.name in FOR_CORES
    for precision in ("highest", "high")[: 1 + rounds]:
        config.set_matmul_precision(precision)
        if impl.accepts(spec, dtype, device.caps) is None:
            return precision
    return None


def check(case: Case, dtype: str, device: Device, other: Device) -> str:
    """What is wrong with the results of two devices, or nothing."""
    arrays = case.arrays(dtype)
    specs = specs_of(arrays)
    spec = case.op.spec(*specs)
    wanted = expected(case.op, spec, arrays)
    types = [s.dtype for s in (specs if case.op.stateful else case.op.infer(*specs))]
    for impl in impls_of(case, device):
        if accepting(impl, case, spec, main_dtype(case.op, specs), device) is None:
            continue
        calls: list = []
        with np.errstate(all="ignore"):
            found = run(impl, case.op, arrays, device, change=partial(noted, calls))
            # Tiles are slow where they are simulated, and have no other grid.
            slow = device.caps.simulated and any(call.fixed for call in calls)
            again = found if slow else run(impl, case.op, arrays, other, change=few_threads)
        if [a.dtype.name for a in found] != types or len(found) != len(wanted):
            return f"{impl.name}: {[a.dtype for a in found]}, expected {types}"
        for i, (a, b, c) in enumerate(zip(found, wanted, again)):
            error = difference(a, b)
            if not error <= limit(case.op, arrays, wanted, types[i], impl.rtol):
                return f"{impl.name}: result {i} is off by {error:.2e}\n{a}\nexpected\n{b}"
            if a.tobytes() != c.tobytes():
                return f"{impl.name}: result {i} depends on the grid or the launcher"
    return ""


def main() -> None:
    from nbcnn.kernels.cuda import lists

    sys.setswitchinterval(5e-4)  # the simulator polls its threads, which wait for that
    share, shares = map(int, sys.argv[1:])
    device = other = get_device("cuda")
    if device.caps.simulated:
        other = simulated_driver.opened()
    results = {}
    for case in (TINY if device.caps.simulated else CASES)[share::shares]:
        for dtype in case.dtypes:
            try:
                wrong = check(case, dtype, device, other)
            except Exception:
                wrong = traceback.format_exc()
            results[f"{case.name}-{dtype}"] = wrong
    json.dump({"results": results, "operations": sorted(lists.IMPLS)}, sys.stdout)


if __name__ == "__main__":
    main()
