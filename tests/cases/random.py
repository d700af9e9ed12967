"""Dropout: which elements fall out is fixed by seed, step and layer."""

import numpy as np
from cases.case import Case, normal, positive

from nbcnn.ops.random import Dropout

SEEDS = ((1, 2), (-3, 1 << 20), (1 << 40, 7))


def dropouts():
    for rate in (0.0, 0.25, 0.9):
        for seed in SEEDS:
            inputs = (positive(3, 7), np.array(seed, "int64"))
            yield Case(f"dropout-{rate}-{seed[0]}", Dropout(rate, 5), inputs)
    for size in (0, 1, 3, 4, 5):
        inputs = (normal(size), np.array([1, 2], "int64"))
        yield Case(f"dropout-size{size}", Dropout(0.5, 0), inputs)
    several_tasks = (normal(7, 5003), np.array([9, 1], "int64"))
    yield Case("dropout-large", Dropout(0.3, 1 << 20), several_tasks, tiny=False)


CASES = list(dropouts())
