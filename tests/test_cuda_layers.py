"""Layers in Numba's simulator, in processes of their own, against values of real Keras."""

import os

from cases.layers import CASES
from processes import faults, table

# Of each class the smallest case; NBCNN_LAYERS=all takes all, some minutes.
WHICH = os.environ.get("NBCNN_LAYERS", "one")


def test_layers_on_a_simulated_gpu_compute_what_keras_does():
    results = table("layers", WHICH, shares=2, simulated=True)
    assert len(results) == (len(CASES) if WHICH == "all" else 108)
    assert not faults(results), faults(results)
