"""Layers in Numba's simulator, in processes of their own, against values of real Keras
and references.
"""

import os

from cases.layers import EVERY_CASE
from cuda_cases.layers import smallest
from processes import faults, table

# Of each class the smallest case; NBCNN_LAYERS=all takes all, some minutes.
WHICH = os.environ.get("NBCNN_LAYERS", "one")


def test_layers_on_a_simulated_gpu_compute_what_is_expected():
    results = table("layers", WHICH, shares=2, simulated=True)
    assert len(results) == (len(EVERY_CASE) if WHICH == "all" else len(smallest()))
    assert not faults(results), faults(results)
