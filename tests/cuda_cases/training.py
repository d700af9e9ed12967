"""Pooling, normalization, losses, dropout, optimizers."""

import numpy as np
from cuda_cases.case import Case, normal, positive

from nbcnn.ops.loss import (
    CrossEntropy,
    CrossEntropyGradient,
    LogSoftmax,
    LogSoftmaxGradient,
    Softmax,
    SoftmaxCrossEntropy,
    SoftmaxCrossEntropyGradient,
    SoftmaxGradient,
)
from nbcnn.ops.norm import BatchNorm, BatchNormGradient, ScaleShift
from nbcnn.ops.optimizer import SGD, Accumulate, Adam, Assign, ClipGradients, RMSprop
from nbcnn.ops.pool import AvgPool2D, AvgPool2DGradient, MaxPool2D, MaxPool2DGradient
from nbcnn.ops.random import Dropout


def pools():
    for name, shape, window, strides, padding in (
        ("even", (2, 4, 4, 3), (2, 2), (2, 2), "valid"),
        ("overlap", (1, 5, 5, 2), (3, 2), (1, 2), "valid"),
        ("same", (1, 5, 4, 2), (3, 3), (2, 2), "same"),
        ("explicit", (1, 4, 5, 1), (3, 3), (2, 1), ((1, 0), (0, 2))),
    ):
        x, geometry = np.round(normal(*shape) * 2) / 2, (window, strides, padding)  # with ties
        if name == "overlap":
            x[0, 2, 2, 0] = np.nan
        yield Case(f"maxpool2d-{name}", MaxPool2D(*geometry), (x,))
        yield Case(f"maxpool2d-{name}-indices", MaxPool2D(*geometry, indices=True), (x,))
        yield Case(f"avgpool2d-{name}", AvgPool2D(*geometry), (x,))
        s = MaxPool2D(*geometry).geometry(shape)
        dy = normal(s.n, s.oh, s.ow, s.c)
        yield Case(f"avgpool2d_dx-{name}", AvgPool2DGradient(*geometry, shape), (dy,))
        # The last pixel of every window that lies in the input.
        p, q = np.indices((s.oh, s.ow))
        u = np.minimum(s.kh - 1, s.h - 1 - (p * s.sh - s.pt))
        v = np.minimum(s.kw - 1, s.w - 1 - (q * s.sw - s.pl))
        last = np.broadcast_to((u * s.kw + v)[None, :, :, None], dy.shape).astype("uint8")
        yield Case(f"maxpool2d_dx-{name}", MaxPool2DGradient(*geometry, shape), (dy, last))


def norms():
    x, dy = normal(2, 3, 2, 4) + 5.0, normal(2, 3, 2, 4, seed=2)
    gamma, beta = positive(4), normal(4, seed=1)
    for act in range(4):
        yield Case(f"batchnorm-{act}", BatchNorm(act=act), (x, gamma, beta))
        inputs = (x, dy, gamma, x.mean((0, 1, 2)), x.var((0, 1, 2)), np.tanh(dy[::-1]))
        yield Case(f"batchnorm_dx-{act}", BatchNormGradient(act=act), inputs)
        yield Case(f"scale_shift-{act}", ScaleShift(act), (x, gamma, beta))


def losses():
    x, dy, dloss = normal(5, 4) * 3, normal(5, 4, seed=1), normal(5, seed=2)
    far = x + 1000.0 * (np.arange(5)[:, None] == 0)
    p, q = positive(5, 4, seed=3), positive(5, 4)
    p /= p.sum(1, keepdims=True)
    q[1] = [0.0, 2.0, 0.0, 0.0]
    yield Case("softmax", Softmax(), (far,))
    yield Case("log_softmax", LogSoftmax(), (far,))
    yield Case("softmax_dx", SoftmaxGradient(), (p, dy))
    yield Case("log_softmax_dx", LogSoftmaxGradient(), (np.log(p), dy))
    labels, weights = np.array([0, 1, 2, 3, 0], "int32"), positive(5, 4, seed=1)
    outside = np.array([0, 4, -1, 3, 0], "int32")
    for name, t in (("sparse", labels), ("outside", outside), ("dense", weights)):
        sparse = t.ndim == 1
        yield Case(f"softmax_crossentropy-{name}", SoftmaxCrossEntropy(sparse), (t, x))
        op, inputs = SoftmaxCrossEntropyGradient(sparse), (t, p, dloss)
        yield Case(f"softmax_crossentropy_dx-{name}", op, inputs)
        yield Case(f"crossentropy-{name}", CrossEntropy(sparse), (t, q))
        yield Case(f"crossentropy_dx-{name}", CrossEntropyGradient(sparse), (t, q, dloss))


def dropouts():
    for rate in (0.0, 0.25, 0.9):
        for seed in ((1, 2), (-3, 1 << 20)):
            inputs = (positive(3, 7), np.array(seed, "int64"))
            yield Case(f"dropout-{rate}-{seed[0]}", Dropout(rate, 5), inputs)


def optimizers():
    w, g, m, v = normal(9), normal(9, seed=1), normal(9, seed=2), positive(9)
    hyper = np.array([0.01, 3.0, 0.0, 0.0])
    for name, op, *slots in (
        ("sgd", SGD()),
        ("sgd-decay", SGD(weight_decay=0.5)),
        ("sgd-momentum", SGD(0.9), m),
        ("sgd-nesterov", SGD(0.9, True, 0.1), m),
        ("rmsprop", RMSprop(), v),
        ("rmsprop-momentum", RMSprop(momentum=0.9), v, m),
        ("rmsprop-centered", RMSprop(centered=True), v + 9, m),
        ("rmsprop-all", RMSprop(0.8, 0.9, 1e-3, True, 0.1), v + 9, m, g),
        ("adam", Adam(), m, v),
        ("adam-all", Adam(0.8, 0.9, 1e-3, True, 0.1), m, v, v[::-1]),
    ):
        yield Case(name, op, (w, g, hyper, *slots), wide=(2,))


def updates():
    g, bounds = normal(600), np.array([0, 5, 5, 300, 600])
    for mode, value in (
        ("value", 0.5), ("norm", 1.5), ("norm", 1e3), ("global_norm", 1.5), ("global_norm", 1e3)
    ):  # fmt: skip
        yield Case(f"clip-{mode}-{value}", ClipGradients(mode, value), (g, bounds))
    nan = (np.array([1.0, np.nan, 2.0]), np.array([0, 3]))
    yield Case("clip-global_norm-nan", ClipGradients("global_norm", 1.0), nan)
    yield Case("assign", Assign(), (g, g[::-1]))
    total = np.array([10.0, 20.0])
    yield Case("accumulate", Accumulate(), (total, normal(7), positive(7)), wide=(0,))


CASES = [*pools(), *norms(), *losses(), *dropouts(), *optimizers(), *updates()]
