"""Layers that Keras does not have, with references in NumPy; further cases of `cases.layers`."""

from cases.case_of_layer import case
from references import layers as R

IMAGE = (2, 4, 5, 3)

NORMALIZATIONS = [
    case(
        "global response",
        lambda L: L.GlobalResponseNormalization(),
        IMAGE,
        reference=R.global_response,
    ),
    case(
        "global response first",
        lambda L: L.GlobalResponseNormalization(axis=1, epsilon=0.1),
        (2, 3, 7),
        reference=lambda x, gamma, beta: R.global_response(
            x.swapaxes(1, 2), gamma, beta, 0.1
        ).swapaxes(1, 2),
    ),
    case(
        "global response masked",
        lambda L: L.GlobalResponseNormalization(),
        (2, 4, 6, 2),
        (2, 2, 3),
        reference=R.global_response_masked,
    ),
    case(
        "global response volumes",
        lambda L: L.GlobalResponseNormalization(),
        (1, 2, 3, 2, 3),
        reference=R.global_response,
    ),
]

BEYOND = [*NORMALIZATIONS]
