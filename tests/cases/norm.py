"""Batch normalization and channelwise scale and shift."""

import dataclasses

import numpy as np
from cases.case import Case, normal, positive

from nbcnn.ops.conv_spec import LINEAR, NORM_ACTIVATIONS, RELU, SIGMOID, TANH
from nbcnn.ops.norm import BatchNorm, BatchNormGradient, ScaleShift
from nbcnn.ops.norm_pool import BatchNormMaxPool, BatchNormMaxPoolGradient

TINY = [("small", (2, 3, 2, 4)), ("odd", (3, 2, 5))]
LARGE = [
    ("images", (3, 14, 14, 6)),
    ("one_row", (1, 17)),
    ("one_channel", (33, 5, 5, 1)),
    ("tail", (5, 7, 7, 17)),
    ("many_channels", (3, 2, 2, 600)),
    ("many_rows", (9, 60, 61, 3)),
    ("resnet", (2, 14, 14, 64)),
    ("wide", (70, 1030)),
]


def norms(name, shape, tiny):
    x, dy = normal(*shape) + 5.0, normal(*shape, seed=2)
    gamma, beta, y = positive(shape[-1]), normal(shape[-1], seed=1), np.tanh(dy[::-1])
    for act_name, act in NORM_ACTIVATIONS.items():
        tail, through = f"{name}-{act_name}", act in (SIGMOID, TANH)
        gradient, op = statistics(x, dy, gamma, beta), BatchNormGradient(1e-3, act, through)
        seen = (y,) if through else ()
        yield Case(f"batchnorm-{tail}", BatchNorm(act=act), (x, gamma, beta), tiny=tiny)
        yield Case(f"batchnorm_dx-{tail}", op, (*gradient, *seen), tiny=tiny)
        yield Case(f"scale_shift-{tail}", ScaleShift(act), (x, gamma, beta), tiny=tiny)


def residuals(name, shape, tiny):
    """With an addition before the activation; its gradient is written, and may begin as a sum."""
    x, dy, more = normal(*shape) - 2.0, normal(*shape, seed=2), normal(*shape, seed=3)
    gamma, beta, y = positive(shape[-1]), normal(shape[-1], seed=1), np.tanh(dy[::-1])
    for act_name, act in NORM_ACTIVATIONS.items():
        tail, gradient = f"{name}-{act_name}", statistics(x, dy, gamma, beta)
        op = BatchNormGradient(1e-3, act, True, shared=True)
        added = BatchNorm(1e-3, act, True)
        yield Case(f"batchnorm-added-{tail}", added, (x, gamma, beta, dy), tiny=tiny)
        yield Case(f"batchnorm_dx-shared-{tail}", op, (*gradient, y), tiny=tiny)
        joined = dataclasses.replace(op, joined=True)
        yield Case(f"batchnorm_dx-joined-{tail}", joined, (*gradient, y, more), tiny=tiny)
    for act in (LINEAR, RELU):
        op = BatchNormGradient(1e-3, act, joined=True, shared=True)
        inputs = (*statistics(x, dy, gamma, beta), more)
        yield Case(f"batchnorm_dx-sum-{name}-{act}", op, inputs, tiny=tiny)


def statistics(x, dy, gamma, beta):
    """What the gradient of a normalization reads."""
    axes = tuple(range(x.ndim - 1))
    mean, var = x.mean(axes), x.var(axes)
    origin, scale = x[(0,) * (x.ndim - 1)], gamma / np.sqrt(var + 1e-3)
    return x, dy, gamma, mean, var, np.stack([origin, scale, beta - (mean - origin) * scale])


def shifted():
    """A mean far beyond the deviation: nothing may cancel. Values that float32 holds exactly."""
    x = np.round(normal(700, 3) * 64) / 64 + 1000.0
    yield Case("batchnorm-far_mean", BatchNorm(), (x, positive(3), normal(3)), tiny=False)
    yield Case("batchnorm-no_rows", BatchNorm(), (normal(0, 3, 4), positive(4), normal(4)))
    yield Case("scale_shift-no_rows", ScaleShift(), (normal(0, 3, 4), positive(4), normal(4)))


TINY_POOLED = [("small", (1, 4, 6, 4), (2, 2)), ("odd", (1, 2, 6, 3), (1, 3))]
POOLED = [
    ("images", (3, 14, 12, 16), (2, 2)),
    ("tail", (5, 6, 10, 21), (2, 2)),
    ("few", (7, 4, 2, 9), (2, 2)),
    ("lines", (2, 6, 5, 40), (2, 1)),
    ("columns", (2, 5, 6, 8), (1, 3)),
    ("one_window", (1, 2, 2, 33), (2, 2)),
    ("many_rows", (4, 64, 66, 12), (2, 2)),
    ("many_channels", (2, 4, 4, 300), (2, 2)),
    ("none", (0, 4, 4, 16), (2, 2)),
]


def pooled(name, shape, window, tiny):
    """With the max pool that follows; some gammas are negative."""
    n, h, w, c = shape
    small = (n, h // window[0], w // window[1], c)
    x, dy, beta = normal(*shape) + 3.0, normal(*small, seed=2), normal(c, seed=1)
    gamma = positive(c) * np.where(np.arange(c) % 3, 1.0, -1.0)
    winners = np.random.default_rng(4).integers(0, window[0] * window[1], small).astype("uint8")
    few = statistics(x, dy, gamma, beta)[2:] if n else (*np.ones((3, c)), np.ones((3, c)))
    for act in (LINEAR, RELU):
        op = BatchNormMaxPool(1e-3, act, window)
        yield Case(f"batchnorm_maxpool-{name}-{act}", op, (x, gamma, beta), tiny=tiny)
        op = BatchNormMaxPoolGradient(1e-3, act, window)
        inputs = (x, dy, winners, *few)
        yield Case(f"batchnorm_maxpool_dx-{name}-{act}", op, inputs, tiny=tiny)


CASES = [case for row in TINY for case in norms(*row, tiny=True)]
CASES += [*(case for row in LARGE for case in norms(*row, tiny=False)), *shifted()]
CASES += [case for row in TINY[:1] for case in residuals(*row, tiny=True)]
CASES += [case for row in LARGE for case in residuals(*row, tiny=False)]
CASES += [case for row in TINY_POOLED for case in pooled(*row, tiny=True)]
CASES += [case for row in POOLED for case in pooled(*row, tiny=False)]
