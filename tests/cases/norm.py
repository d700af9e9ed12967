"""Batch normalization and channelwise scale and shift."""

import numpy as np
from cases.case import Case, normal, positive

from nbcnn.ops.conv_spec import TAIL_ACTIVATIONS
from nbcnn.ops.norm import BatchNorm, BatchNormGradient, ScaleShift

TINY = [("small", (2, 3, 2, 4))]
LARGE = [
    ("images", (3, 14, 14, 6)),
    ("one_row", (1, 17)),
    ("one_channel", (33, 5, 5, 1)),
    ("tail", (5, 7, 7, 17)),
    ("many_channels", (3, 2, 2, 600)),
    ("many_rows", (9, 60, 61, 3)),
    ("resnet", (2, 14, 14, 64)),
]


def norms(name, shape, tiny):
    x, dy = normal(*shape) + 5.0, normal(*shape, seed=2)
    gamma, beta = positive(shape[-1]), normal(shape[-1], seed=1)
    axes = tuple(range(len(shape) - 1))
    gradient = (x, dy, gamma, x.mean(axes), x.var(axes), np.tanh(dy[::-1]))
    for act_name, act in TAIL_ACTIVATIONS.items():
        tail = f"{name}-{act_name}"
        yield Case(f"batchnorm-{tail}", BatchNorm(act=act), (x, gamma, beta), tiny=tiny)
        yield Case(f"batchnorm_dx-{tail}", BatchNormGradient(act=act), gradient, tiny=tiny)
        yield Case(f"scale_shift-{tail}", ScaleShift(act), (x, gamma, beta), tiny=tiny)


def shifted():
    """A mean far beyond the deviation: nothing may cancel. Values that float32 holds exactly."""
    x = np.round(normal(700, 3) * 64) / 64 + 1000.0
    yield Case("batchnorm-far_mean", BatchNorm(), (x, positive(3), normal(3)), tiny=False)
    yield Case("scale_shift-no_rows", ScaleShift(), (normal(0, 3, 4), positive(4), normal(4)))


CASES = [case for row in TINY for case in norms(*row, tiny=True)]
CASES += [*(case for row in LARGE for case in norms(*row, tiny=False)), *shifted()]
