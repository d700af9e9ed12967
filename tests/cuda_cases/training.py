"""Pooling, normalization, losses, dropout, optimizers."""

import numpy as np
from cuda_cases.case import Case, normal, positive
from references.conv import ACTIVATIONS

from nbcnn.kernels import scalar
from nbcnn.ops.loss import (
    EPSILON,
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

SLOPES = {
    0: lambda y: np.ones_like(y),
    1: lambda y: (y > 0) * 1.0,
    2: lambda y: y * (1 - y),
    3: lambda y: 1 - y * y,
}


def windows(s):
    """(output index, input index, place in the window) of every pixel inside every window."""
    for n, p, q, c in np.ndindex(s.n, s.oh, s.ow, s.c):
        for u, v in np.ndindex(s.kh, s.kw):
            row, column = p * s.sh + u - s.pt, q * s.sw + v - s.pl
            if 0 <= row < s.h and 0 <= column < s.w:
                yield (n, p, q, c), (n, row, column, c), u * s.kw + v


def max_pool(s, x):
    y, place = np.full((s.n, s.oh, s.ow, s.c), -np.inf), np.full((s.n, s.oh, s.ow, s.c), -1)
    for out, at, k in windows(s):
        first_nan = np.isnan(x[at]) and not np.isnan(y[out])
        if place[out] < 0 or x[at] > y[out] or first_nan:
            y[out], place[out] = x[at], k
    return [y, place]


def max_pool_dx(s, dy, winner):
    dx = np.zeros((s.n, s.h, s.w, s.c))
    for out, at, k in windows(s):
        dx[at] += dy[out] * (winner[out] == k)
    return [dx]


def average(s, values, forward):
    counts = np.zeros((s.n, s.oh, s.ow, s.c))
    for out, _, _ in windows(s):
        counts[out] += 1
    result = np.zeros(counts.shape if forward else (s.n, s.h, s.w, s.c))
    for out, at, _ in windows(s):
        result[out if forward else at] += values[at if forward else out] / counts[out]
    return [result]


def pools():
    for name, shape, window, strides, padding in (
        ("even", (2, 4, 4, 3), (2, 2), (2, 2), "valid"),
        ("overlap", (1, 5, 5, 2), (3, 2), (1, 2), "valid"),
        ("same", (1, 5, 4, 2), (3, 3), (2, 2), "same"),
        ("explicit", (1, 4, 5, 1), (3, 3), (2, 1), ((1, 0), (0, 2))),
    ):
        x = np.round(normal(*shape) * 2) / 2  # with ties
        if name == "overlap":
            x[0, 2, 2, 0] = np.nan
        geometry = (window, strides, padding)
        yield Case(f"maxpool2d-{name}", MaxPool2D(*geometry), (x,), lambda s, x: max_pool(s, x)[:1])
        op = MaxPool2D(*geometry, indices=True)
        yield Case(f"maxpool2d-{name}-indices", op, (x,), max_pool)
        yield Case(
            f"avgpool2d-{name}", AvgPool2D(*geometry), (x,), lambda s, x: average(s, x, True)
        )
        y, winner = max_pool(op.geometry(shape), x)
        dy = normal(*y.shape)
        yield Case(
            f"maxpool2d_dx-{name}", MaxPool2DGradient(*geometry, shape),
            (dy, winner.astype("uint8")), max_pool_dx,
        )  # fmt: skip
        yield Case(
            f"avgpool2d_dx-{name}", AvgPool2DGradient(*geometry, shape), (dy,),
            lambda s, dy: average(s, dy, False),
        )  # fmt: skip


def norms():
    x, gamma, beta, dy = (
        normal(2, 3, 2, 4) + 5.0, positive(4), normal(4, seed=1), normal(2, 3, 2, 4, seed=2),
    )  # fmt: skip
    axes = (0, 1, 2)

    def forward(s, x, gamma, beta):
        mean, var = x.mean(axes), x.var(axes)
        h = (x - mean) / np.sqrt(var + s.epsilon)
        return [ACTIVATIONS[s.act](h * gamma + beta), mean, var]

    def backward(s, x, dy, gamma, mean, var, y):
        g, scale = dy * SLOPES[s.act](y), 1 / np.sqrt(var + s.epsilon)
        h = (x - mean) * scale
        dgamma, dbeta = (g * h).sum(axes), g.sum(axes)
        return [gamma * scale * (g - dbeta / s.rows - h * dgamma / s.rows), dgamma, dbeta]

    for act in range(4):
        yield Case(f"batchnorm-{act}", BatchNorm(act=act), (x, gamma, beta), forward)
        y = ACTIVATIONS[act](normal(2, 3, 2, 4, seed=3))
        inputs = (x, dy, gamma, x.mean(axes), x.var(axes), y)
        yield Case(f"batchnorm_dx-{act}", BatchNormGradient(act=act), inputs, backward)
        yield Case(
            f"scale_shift-{act}", ScaleShift(act), (x, gamma, beta),
            lambda s, x, a, b: [ACTIVATIONS[s.act](x * a + b)],
        )  # fmt: skip


def soft(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def dense(t, like):
    """Class numbers as rows of 0 and 1; none for numbers out of range."""
    return t if t.ndim == like.ndim else (t[..., None] == np.arange(like.shape[-1])) * 1.0


def losses():
    x, dy = normal(5, 4) * 3, normal(5, 4, seed=1)
    x[0] += 1000.0
    yield Case("softmax", Softmax(), (x,), lambda s, x: [soft(x)])
    yield Case("log_softmax", LogSoftmax(), (x,), lambda s, x: [np.log(soft(x))])
    yield Case(
        "softmax_dx", SoftmaxGradient(), (soft(x), dy),
        lambda s, y, dy: [y * (dy - (y * dy).sum(-1, keepdims=True))],
    )  # fmt: skip
    yield Case(
        "log_softmax_dx", LogSoftmaxGradient(), (np.log(soft(x)), dy),
        lambda s, y, dy: [dy - np.exp(y) * dy.sum(-1, keepdims=True)],
    )  # fmt: skip

    def from_logits(s, t, x):
        invalid = np.where(t.ndim < x.ndim and (t < 0) | (t >= s.classes), np.nan, 0.0)
        return [
            -(dense(t, x) * np.log(soft(x))).sum(-1) + (invalid if t.ndim < x.ndim else 0),
            soft(x),
        ]

    def from_logits_dx(s, t, p, dloss):
        t = dense(t, p)
        return [(p * t.sum(-1, keepdims=True) - t) * dloss[:, None]]

    def shares(q):
        p = q / q.sum(-1, keepdims=True)
        return p, (p >= EPSILON) & (p <= 1 - EPSILON)

    def from_probabilities(s, t, q):
        p, _ = shares(q)
        return [-(dense(t, q) * np.log(np.clip(p, EPSILON, 1 - EPSILON))).sum(-1)]

    def from_probabilities_dx(s, t, q, dloss):
        p, inside = shares(q)
        slope = np.where(inside, -dense(t, q) / np.where(inside, p, 1), 0.0)
        shared = (slope * p).sum(-1, keepdims=True)
        return [(slope - shared) / q.sum(-1, keepdims=True) * dloss[:, None]]

    dloss, q = normal(5, seed=2), positive(5, 4)
    q[1] = [0.0, 2.0, 0.0, 0.0]
    labels, weights = np.array([0, 1, 2, 3, 0], "int32"), positive(5, 4, seed=1)
    for name, t, sparse in (("sparse", labels, True), ("dense", weights, False)):
        # Differences of a thousand between logits would lose float32 targets their digits.
        op, inputs = SoftmaxCrossEntropy(sparse), (t, normal(5, 4) * 3)
        yield Case(f"softmax_crossentropy-{name}", op, inputs, from_logits)
        op, inputs = SoftmaxCrossEntropyGradient(sparse), (t, soft(x), dloss)
        yield Case(f"softmax_crossentropy_dx-{name}", op, inputs, from_logits_dx)
        yield Case(f"crossentropy-{name}", CrossEntropy(sparse), (t, q), from_probabilities)
        op, inputs = CrossEntropyGradient(sparse), (t, q, dloss)
        yield Case(f"crossentropy_dx-{name}", op, inputs, from_probabilities_dx)
    outside = np.array([0, 4, -1, 3, 0], "int32")
    yield Case("softmax_crossentropy-outside", SoftmaxCrossEntropy(), (outside, dy), from_logits)
    yield Case(
        "softmax_crossentropy_dx-outside", SoftmaxCrossEntropyGradient(),
        (outside, soft(x), dloss), from_logits_dx,
    )  # fmt: skip


def dropouts():
    def expected(s, x, seed):
        words = [
            scalar.dropout_words(i, int(seed[1]), int(seed[0]), s.stream)
            for i in range((s.n + 3) // 4)
        ]
        kept = np.ravel(words)[: s.n] <= scalar.keep_limit(s.keep)
        return [np.where(kept.reshape(x.shape), x * s.scale, 0.0)]

    for rate in (0.0, 0.25, 0.9):
        for seed in ((1, 2), (-3, 1 << 40)):
            inputs = (positive(3, 7), np.array(seed, "int64"))
            yield Case(f"dropout-{rate}-{seed[0]}", Dropout(rate, 5), inputs, expected)


HYPER = np.array([0.01, 3.0, 0.0, 0.0])


def optimizers():
    w, g, m, v = normal(9), normal(9, seed=1), normal(9, seed=2), positive(9)

    def sgd(s, w, g, hyper, *v):
        decayed = w * (1 - hyper[0] * s.weight_decay)
        if not v:
            return [decayed - hyper[0] * g, g, hyper]
        new = s.momentum * v[0] - hyper[0] * g
        step = s.momentum * new - hyper[0] * g if s.nesterov else new
        return [decayed + step, g, hyper, new]

    def rmsprop(s, w, g, hyper, square, *others):
        others = list(others)
        square = s.rho * square + (1 - s.rho) * g * g
        m = others.pop(0) if s.momentum else 0.0
        mean = s.rho * others.pop(0) + (1 - s.rho) * g if s.centered else 0.0
        step = hyper[0] * g / np.sqrt(square - mean * mean + s.epsilon) + s.momentum * m
        new = [w * (1 - hyper[0] * s.weight_decay) - step, g, hyper, square]
        return new + [step] * (s.momentum != 0) + [mean] * s.centered

    def adam(s, w, g, hyper, m, v, *largest):
        rate, t = hyper[:2]
        m, v = m + (1 - s.beta_1) * (g - m), v + (1 - s.beta_2) * (g * g - v)
        top = [np.maximum(v, largest[0])] if largest else []
        root = np.sqrt(top[0] if top else v) + s.epsilon
        step = rate * np.sqrt(1 - s.beta_2**t) / (1 - s.beta_1**t) * m / root
        return [w * (1 - rate * s.weight_decay) - step, g, hyper, m, v, *top]

    def case(name, op, expected, *slots):
        return Case(name, op, (w, g, HYPER, *slots), expected, wide=(2,))

    yield case("sgd", SGD(), sgd)
    yield case("sgd-decay", SGD(weight_decay=0.5), sgd)
    yield case("sgd-momentum", SGD(0.9), sgd, m)
    yield case("sgd-nesterov", SGD(0.9, True, 0.1), sgd, m)
    yield case("rmsprop", RMSprop(), rmsprop, v)
    yield case("rmsprop-momentum", RMSprop(momentum=0.9), rmsprop, v, m)
    yield case("rmsprop-centered", RMSprop(centered=True), rmsprop, v + 9, m)
    yield case("rmsprop-all", RMSprop(0.8, 0.9, 1e-3, True, 0.1), rmsprop, v + 9, m, g)
    yield case("adam", Adam(), adam, m, v)
    yield case("adam-all", Adam(0.8, 0.9, 1e-3, True, 0.1), adam, m, v, v[::-1])


def updates():
    g, bounds = normal(600), np.array([0, 5, 5, 300, 600])

    def by_norm(s, g, bounds):
        pieces = np.split(g, bounds[1:-1])
        norms = [np.linalg.norm(piece) for piece in pieces]
        scaled = [p * min(1.0, s.value / n) if n else p for p, n in zip(pieces, norms)]
        return [np.concatenate(scaled), bounds]

    def by_global_norm(s, g, bounds):
        return [g * min(1.0, s.value / np.linalg.norm(g)), bounds]

    def case(mode, value, expected):
        return Case(f"clip-{mode}-{value}", ClipGradients(mode, value), (g, bounds), expected)

    yield case("value", 0.5, lambda s, g, b: [np.clip(g, -0.5, 0.5), b])
    for value in (1.5, 1000.0):
        yield case("norm", value, by_norm)
        yield case("global_norm", value, by_global_norm)
    nan = np.array([1.0, np.nan, 2.0])
    yield Case(
        "clip-norm-nan", ClipGradients("global_norm", 1.0), (nan, np.array([0, 3])),
        lambda s, g, b: [g * np.nan, b],
    )  # fmt: skip
    yield Case("assign", Assign(), (g, g[::-1]), lambda s, t, v: [v, v])
    value, weight, total = normal(7), positive(7), np.array([10.0, 20.0])

    def accumulated(s, total, value, weight):
        return [total + [value @ weight, weight.sum()], value, weight]

    yield Case("accumulate", Accumulate(), (total, value, weight), accumulated, wide=(0,))


CASES = [*pools(), *norms(), *losses(), *dropouts(), *optimizers(), *updates()]
