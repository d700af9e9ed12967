"""Global response normalization: few samples and many, few channels and many."""

import numpy as np
from cases.case import Case, Draw, normal, positive

from nbcnn.ops.global_response import GlobalResponse, GlobalResponseGradient

TINY = [("small", (2, 3, 2, 5)), ("many_samples", (9, 2, 3)), ("one_number", (1, 1, 1))]
LARGE = [
    ("convnext", (2, 14, 14, 96)),
    ("deep", (9, 7, 7, 640)),
    ("quads", (8, 5, 6, 12)),
    ("tail", (10, 37, 83)),
    ("one_map", (1, 60, 61, 9)),
]


def norms(name, shape, tiny):
    x, dy, c = normal(*shape), Draw(shape, 2), shape[-1]
    gamma, beta = positive(c), Draw((c,), 1)
    found = np.sqrt((x**2).sum(tuple(range(1, len(shape) - 1))))
    yield Case(f"global_response-{name}", GlobalResponse(1e-3), (x, gamma, beta), tiny=tiny)
    inputs = (x, dy, gamma, found)
    yield Case(f"global_response_dx-{name}", GlobalResponseGradient(1e-3), inputs, tiny=tiny)


def special():
    """A channel of zeros, and of others a sample; and no samples."""
    x = normal(3, 4, 5)
    x[..., 2] = x[1] = 0
    inputs = (x, normal(3, 4, 5), positive(5), np.sqrt((x**2).sum(1)))
    yield Case("global_response-zeros", GlobalResponse(), (x, positive(5), normal(5)))
    yield Case("global_response_dx-zeros", GlobalResponseGradient(), inputs)
    nothing = (normal(0, 4, 3), normal(0, 4, 3), positive(3), normal(0, 3))
    yield Case("global_response-none", GlobalResponse(), (normal(0, 4, 3), positive(3), normal(3)))
    yield Case("global_response_dx-none", GlobalResponseGradient(), nothing)


CASES = [case for row in TINY for case in norms(*row, tiny=True)]
CASES += [*(case for row in LARGE for case in norms(*row, tiny=False)), *special()]
