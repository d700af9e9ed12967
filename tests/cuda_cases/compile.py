"""Compile the kernels of all cases to machine code, which needs numba-cuda and its compiler but no
GPU.

    python -m cuda_cases.compile float32 9.0

prints JSON: for each kernel and its argument types what is wrong with it, or nothing.
"""

import json
import sys
import traceback
from types import SimpleNamespace

import numpy as np
from cases.case import Case
from cases.table import CASES

from nbcnn.graph.choosing import main_dtype
from nbcnn.kernels.cuda import lists
from nbcnn.kernels.cuda.call import Caps


class Shape:
    """Stands for a device array where only its shape and type matter."""

    def __init__(self, shape, dtype):
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)

    @property
    def ndim(self):
        return len(self.shape)

    @property
    def size(self):
        return int(np.prod(self.shape, dtype=np.int64))

    def reshape(self, *shape):
        return Shape(shape, self.dtype)


def launches(case: Case, dtype: str, caps: Caps):
    specs = case.specs(dtype)
    spec = case.op.spec(*specs)
    inputs, outputs = (
        [Shape(s.shape, s.dtype) for s in group] for group in (specs, case.op.infer(*specs))
    )
    for impl in lists.impls(case.op):
        if impl.accepts(spec, main_dtype(case.op, specs), caps) is not None:
            continue
        wanted = impl.scratch(spec, dtype, caps)
        scratch = {name: Shape(s.shape, s.dtype) for name, s in wanted.items()}
        yield from impl.bind(spec, caps, inputs, outputs, scratch)


def signature(arguments):
    from numba import from_dtype, typeof, types

    kinds = [
        types.Array(from_dtype(a.dtype), 1, "C") if isinstance(a, Shape) else typeof(a)
        for a in arguments
    ]
    return types.void(*kinds)


def assembled(ptx: str, capability: tuple[int, int]) -> bytes:
    """Machine code; raises where the assembler refuses the PTX or a symbol is missing."""
    from cuda.bindings import nvjitlink

    text, handle = ptx.encode(), nvjitlink.create(1, ["-arch=sm_{}{}".format(*capability)])
    nvjitlink.add_data(handle, nvjitlink.InputType.PTX, text, len(text), "kernel.ptx")
    nvjitlink.complete(handle)
    code = bytearray(nvjitlink.get_linked_cubin_size(handle))
    nvjitlink.get_linked_cubin(handle, code)
    return bytes(code)


def main() -> None:
    from numba import cuda
    from numba.cuda import dispatcher

    dtype, capability = sys.argv[1], tuple(map(int, sys.argv[2].split(".")))
    # Functions that kernels call are compiled for the current device; without a GPU we name one.
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=capability)
    caps, results, seen = Caps(1, capability), {}, set()
    for case in (case for case in CASES if case.tiny):
        for call in launches(case, dtype, caps):
            types = signature(call.args)
            if (call.kernel, types) in seen:
                continue
            seen.add((call.kernel, types))
            name = f"{case.name}: {call.kernel.py_func.__qualname__}{types.args}"
            try:
                ptx, _ = cuda.compile(
                    call.kernel.py_func,
                    types,
                    device=False,
                    abi="numba",
                    cc=capability,
                    output="ptx",
                )
                results[name] = "" if assembled(ptx, capability) else "no machine code"
            except Exception:
                results[name] = traceback.format_exc()
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
