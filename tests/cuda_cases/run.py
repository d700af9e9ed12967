"""Run cases on a device and compare; as a script, all of them on a simulated GPU, results as JSON
on stdout.

    NUMBA_ENABLE_CUDASIM=1 python -m cuda_cases.run
"""

import json
import sys
import traceback

import numpy as np
from cuda_cases import elements, products, training
from cuda_cases.case import Case, specs_of
from cuda_cases.reference import expected

from nbcnn.kernels.impl import Impl
from nbcnn.runtime.device import Device, get_device

CASES = [*products.CASES, *elements.CASES, *training.CASES]
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
DTYPES = tuple(TOLERANCE)


def on_device(device: Device, array: np.ndarray):
    copy = device.view(device.empty(max(array.nbytes, 1)), 0, array.shape, array.dtype.name)
    device.upload(copy, array)
    return copy


def filled(device: Device, shape, dtype: str):
    """Memory that shows when it is read before it is written."""
    return on_device(device, np.full(shape, np.nan if np.dtype(dtype).kind == "f" else 85, dtype))


def run(impl: Impl, op, arrays: list[np.ndarray], device: Device, grid=None) -> list[np.ndarray]:
    """Outputs of one run; inputs, where the operation writes to them. `grid`: blocks and
    threads.
    """
    specs = specs_of(arrays)
    spec, dtype = op.spec(*specs), specs[-1].dtype
    inputs = [on_device(device, a) for a in arrays]
    outputs = [filled(device, s.shape, s.dtype) for s in op.infer(*specs)]
    wanted = impl.scratch(spec, dtype, device.caps)
    scratch = {name: filled(device, s.shape, s.dtype) for name, s in wanted.items()}
    calls = impl.bind(spec, device.caps, inputs, outputs, scratch)
    if grid:
        calls = [call._replace(grid=grid[0], block=grid[1]) for call in calls]
    device.program(calls).run()
    device.synchronize()
    return [device.download(a) for a in (inputs if op.stateful else outputs)]


def difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference relative to the largest wanted number; NaN and infinities must
    agree.
    """
    wanted = np.asarray(wanted, "float64").reshape(found.shape)
    found = found.astype("float64")
    if not np.array_equal(np.isnan(found), np.isnan(wanted)):
        return float("inf")
    with np.errstate(invalid="ignore"):
        apart = np.where((found == wanted) | np.isnan(wanted), 0.0, np.abs(found - wanted))
    scale = np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0)
    return float(apart.max(initial=0.0) / (scale or 1.0))


def check(case: Case, dtype: str, device: Device) -> str:
    """What is wrong with the device's results, or nothing."""
    arrays = case.arrays(dtype)
    specs = specs_of(arrays)
    with np.errstate(all="ignore"):
        wanted = expected(case.op, case.op.spec(*specs), arrays)
    types = [s.dtype for s in (specs if case.op.stateful else case.op.infer(*specs))]
    for impl in device.impls(case.op):
        with np.errstate(all="ignore"):
            found = run(impl, case.op, arrays, device)
            again = run(impl, case.op, arrays, device, grid=(3, 2))
        if [a.dtype.name for a in found] != types or len(found) != len(wanted):
            return f"{impl.name}: {[a.dtype for a in found]}, expected {types}"
        for i, (a, b, c) in enumerate(zip(found, wanted, again)):
            error = difference(a, b)
            if not error <= TOLERANCE.get(types[i], 0.0):
                return f"{impl.name}: result {i} is off by {error:.2e}\n{a}\nexpected\n{b}"
            if a.tobytes() != c.tobytes():
                return f"{impl.name}: result {i} depends on the grid"
    return ""


def main() -> None:
    from nbcnn.kernels.cuda import lists

    device = get_device("cuda")
    results = {}
    for case in CASES:
        for dtype in DTYPES:
            try:
                wrong = check(case, dtype, device)
            except Exception:
                wrong = traceback.format_exc()
            results[f"{case.name}-{dtype}"] = wrong
    json.dump({"results": results, "operations": sorted(lists.IMPLS)}, sys.stdout)


if __name__ == "__main__":
    main()
