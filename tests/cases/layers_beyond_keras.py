"""Layers that Keras does not have, with references in NumPy; further cases of `cases.layers`."""

import numpy as np
from cases.case_of_layer import case
from cases.layers_of_windows import LAYERS
from references import layers as R

IMAGE = (2, 4, 5, 3)
CF = "channels_first"


def first(reference):
    """Of maps with channels first, (n, c, ...)."""

    def moved(x, *others, **weights):
        return np.moveaxis(reference(np.moveaxis(x, 1, -1), *others, **weights), -1, 1)

    return moved


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
        reference=first(lambda x, gamma, beta: R.global_response(x, gamma, beta, 0.1)),
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

DILATED = [
    case(
        "multi dilated",
        lambda L: L.MultiDilatedConv2D(5, 2, (1, (2, 1), 3), activation="relu"),
        (2, 5, 6, 2),
        reference=lambda x, kernel, bias: np.maximum(
            R.multi_dilated(x, kernel, bias, (2, 2, 1), [(1, 1), (2, 1), (3, 3)]), 0
        ),
    ),
    case(
        "multi dilated same",
        lambda L: L.MultiDilatedConv2D((1, 2), 3, (1, 2), 2, "same", use_bias=False),
        IMAGE,
        reference=lambda x, kernel: R.multi_dilated(
            x, kernel, 0.0, (1, 2), [(1, 1), (2, 2)], (2, 2), "same"
        ),
    ),
    case(
        "multi dilated first",
        lambda L: L.MultiDilatedConv2D(3, (3, 2), (2, 1), (1, 2), data_format=CF),
        (1, 2, 6, 5),
        reference=first(
            lambda x, kernel, bias: R.multi_dilated(
                x, kernel, bias, (2, 1), [(2, 2), (1, 1)], (1, 2)
            )
        ),
    ),
    case(
        "multi dilated 1d",
        lambda L: L.MultiDilatedConv1D(4, 3, (1, 2)),
        (2, 8, 2),
        reference=lambda x, kernel, bias: R.multi_dilated(
            x[:, None], kernel[None], bias, (2, 2), [(1, 1), (1, 2)]
        )[:, 0],
    ),
]

MASKED = [
    case(
        "masked",
        lambda L: L.MaskedConv2D(3, 3, padding="same", activation="tanh"),
        (2, 4, 6, 2),
        (2, 2, 3),
        reference=lambda x, m, kernel, bias: (
            np.tanh(R.masked(x, m, kernel, bias)) * R.upscaled(m, x.shape)
        ),
    ),
    case(
        "masked valid",
        lambda L: L.MaskedConv2D(2, (2, 3)),
        IMAGE,
        (2, 4, 5),
        reference=lambda x, m, kernel, bias: R.masked(x, m, kernel, bias, padding="valid"),
    ),
    case(
        "masked strides first",
        lambda L: L.MaskedConv2D(2, 2, 2, data_format=CF),
        (2, 3, 4, 6),
        (2, 4, 6),
        reference=first(lambda x, m, kernel, bias: R.masked(x, m, kernel, bias, (2, 2), "valid")),
    ),
    case(
        "masked renormalized",
        lambda L: L.MaskedConv2D(2, 3, 1, "same", renormalize=True),
        IMAGE,
        (2, 4, 5),
        reference=lambda x, m, kernel, bias: R.masked(x, m, kernel, bias, renormalize=True),
    ),
    case(
        "masked renormalized reflect",
        lambda L: L.MaskedConv2D(2, 3, 1, "same", renormalize=True, padding_mode="reflect"),
        IMAGE,
        (2, 4, 5),
        reference=lambda x, m, kernel, bias: R.masked(
            np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect"),
            np.pad(m, ((0, 0), (1, 1), (1, 1)), "reflect"),
            kernel,
            bias,
            (1, 1),
            "valid",
            True,
        ),
    ),
    case(
        "masked depthwise",
        lambda L: L.MaskedDepthwiseConv2D(3, 1, "same", 2),
        (1, 4, 6, 2),
        (1, 2, 2),
        reference=lambda x, m, kernel, bias: R.masked(x, m, R.per_channel(kernel), bias),
    ),
    case(
        "masked depthwise renormalized",
        lambda L: L.MaskedDepthwiseConv2D((3, 2), 2, renormalize=True, use_bias=False),
        IMAGE,
        (2, 4, 5),
        reference=lambda x, m, kernel: R.masked(
            x, m, R.per_channel(kernel), 0.0, (2, 2), "valid", True
        ),
    ),
    case(
        "patch mask",
        lambda L: L.PatchMask((2, 3)),
        (2, 4, 6, 1),
        reference=lambda x: np.ones((2, 2, 2)),
    ),
]

UPSAMPLED = [
    case(
        "upsample conv",
        lambda L: L.UpsampleConv2D(2, 3),
        (2, 3, 4, 2),
        reference=lambda x, kernel, bias: R.upsampled(x, kernel, bias, (2, 2)),
    ),
    case(
        "upsample conv valid",
        lambda L: L.UpsampleConv2D(3, (2, 4), (3, 2), padding="valid", activation="relu"),
        (1, 3, 3, 2),
        reference=lambda x, kernel, bias: np.maximum(
            R.upsampled(x, kernel, bias, (3, 2), "valid"), 0
        ),
    ),
    case(
        "upsample conv even first",
        lambda L: L.UpsampleConv2D(2, (4, 2), 2, data_format=CF, use_bias=False),
        (1, 2, 3, 2),
        reference=first(lambda x, kernel: R.upsampled(x, kernel, 0.0, (2, 2))),
    ),
    case(
        "upsample conv bilinear",
        lambda L: L.UpsampleConv2D(2, 3, (2, 3), "bilinear"),
        (2, 3, 2, 2),
        reference=lambda x, kernel, bias: R.upsampled(x, kernel, bias, (2, 3), repeat=R.stretched),
    ),
]

POOLS = [
    case(
        "spatial pyramid",
        lambda L: L.SpatialPyramidPooling2D(),
        (2, 5, 7, 2),
        reference=lambda x: R.pyramid(x, (1, 2, 4), np.max),
    ),
    case(
        "spatial pyramid of pools",  # windows of 7 and 4 at steps of 6 and 3
        lambda L: L.SpatialPyramidPooling2D((1, 2, 4), "average"),
        (1, 13, 4, 2),
        reference=lambda x: R.pyramid(x, (1, 2, 4), np.mean),
    ),
    case(
        "spatial pyramid of max pools",
        lambda L: L.SpatialPyramidPooling2D((2, 4)),
        (1, 13, 4, 2),
        reference=lambda x: R.pyramid(x, (2, 4), np.max),
    ),
    case(
        "spatial pyramid average first",
        lambda L: L.SpatialPyramidPooling2D((3, 2), "average", CF),
        (2, 2, 6, 7),
        reference=lambda x: R.pyramid(np.moveaxis(x, 1, -1), (3, 2), np.mean),
    ),
    case(
        "global max average",
        lambda L: L.GlobalMaxAveragePooling2D(),
        IMAGE,
        reference=lambda x: R.global_max_average(x, np.hstack),
    ),
    case(
        "global max average added",
        lambda L: L.GlobalMaxAveragePooling1D("add"),
        (2, 7, 3),
        reference=lambda x: R.global_max_average(x, sum),
    ),
    case(
        "global max average first",
        lambda L: L.GlobalMaxAveragePooling3D(data_format=CF, keepdims=True),
        (2, 2, 3, 2, 3),
        reference=first(lambda x: R.global_max_average(x, lambda p: np.concatenate(p, -1), True)),
    ),
]

BEYOND = [*NORMALIZATIONS, *DILATED, *MASKED, *UPSAMPLED, *POOLS, *LAYERS]
