"""Compile the kernels of all cases to machine code, which needs numba-cuda and its compiler but no
GPU.

    python -m cuda_cases.compile float32 9.0 [one]

prints JSON: for each kernel and its argument types what is wrong with it, or nothing. With "one"
only the first case of each operation is looked at.
"""

import json
import sys
import traceback
from contextlib import suppress
from functools import partial

import numpy as np
from cases.case import Case
from cases.table import CASES

from nbcnn.graph.choosing import main_dtype
from nbcnn.kernels import building
from nbcnn.kernels.cuda import compiling, cubins, lists
from nbcnn.kernels.cuda.call import Caps
from nbcnn.kernels.cuda.compiling import architecture
from nbcnn.kernels.cuda.packing import kinds_of
from nbcnn.runtime.cuda_offline import OfflineDevice


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


def main() -> None:
    dtype, target = sys.argv[1], architecture(tuple(map(int, sys.argv[2].split("."))))
    caps = OfflineDevice("sm_" + sys.argv[2].replace(".", "")).caps
    wanted: dict[cubins.Wanted, str] = {}
    for case in chosen(one="one" in sys.argv):
        for tf32 in (False, True):
            for call in launches(case, dtype, caps._replace(tf32=tf32)):
                kernel = cubins.Wanted(call.kernel, kinds_of(call.args), target)
                wanted.setdefault(kernel, f"{case.name}: {kernel.name}")
    fill(list(wanted))
    json.dump({name: wrong_with(kernel) for kernel, name in wanted.items()}, sys.stdout)


def chosen(one: bool) -> list[Case]:
    tiny = [case for case in CASES if case.tiny]
    return list({case.op.impl_op: case for case in reversed(tiny)}.values()) if one else tiny


def fill(wanted: list) -> None:
    """Compile on all processors, if there is a folder for it; what fails is told later."""
    if cubins.writable():
        missing = [partial(store, kernel) for kernel in wanted if kernel.load() is None]
        building.build(missing, compiling.standing_still)


def store(kernel) -> None:
    with suppress(Exception):
        kernel.store()


def wrong_with(kernel) -> str:
    try:
        code = kernel.load() or kernel.store()
        return "" if code.cubin else "no machine code"
    except Exception:
        return traceback.format_exc()


if __name__ == "__main__":
    main()
