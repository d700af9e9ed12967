"""Layers on a GPU, real or simulated, as a training step computes them, against what real Keras
or a reference computed; what is wrong with each as JSON on stdout.

    NUMBA_ENABLE_CUDASIM=1 python -m cuda_cases.layers all 0 2
    NUMBA_ENABLE_CUDASIM=1 python -m cuda_cases.layers one 0 2

of every two cases the first; "one" takes the smallest case of each class only, without the slowest.
"""

import json
import sys
import traceback

import numpy as np
from cases.layer_runs import built, outcome, recorded
from cases.layers import EVERY_CASE

from nbcnn import layers
from nbcnn.runtime.device import device

TOLERANCE = 2e-5  # sums run in other orders
SLOW = {"clahe"}  # 256 bins for each of 64 tiles, by the operations of "equalization"


def smallest() -> list:
    """Of each class the case whose inputs are smallest."""
    by_class: dict = {}
    for case in sorted(EVERY_CASE, key=lambda c: sum(np.prod(shape) for shape in c.inputs)):
        by_class.setdefault(type(case.make(layers)), case)
    return [case for case in by_class.values() if case.name not in SLOW]


def wrong_with(case) -> str:
    expected = {k: v for k, v in recorded(case).items() if not k.startswith("after")}
    found = outcome(built(case, "float32"), case, "float32")
    if found.keys() != expected.keys():
        return f"computes {sorted(found)}, expected {sorted(expected)}"
    for name, value in expected.items():
        if found[name].shape != value.shape:
            return f"{name}: shape {found[name].shape}, expected {value.shape}"
        error = np.abs(found[name] - value).max(initial=0.0)
        if not error <= TOLERANCE * max(np.abs(value).max(initial=0.0), 0.1):
            return f"{name}: off by {error}"
    return ""


def main(which: str, index: int, count: int) -> None:
    results = {}
    for case in (smallest() if which == "one" else EVERY_CASE)[index::count]:
        with device("cuda"):
            try:
                results[case.name] = wrong_with(case)
            except Exception:
                results[case.name] = traceback.format_exc()
    print(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
