"""Softmax and the cross-entropies."""

import numpy as np
from cases.case import Case, normal, positive

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


def rows(name: str, shape: tuple[int, ...], tiny: bool):
    x, dy = normal(*shape) * 3, normal(*shape, seed=1)
    far = x + 1000.0 * (np.arange(shape[0]) == 0).reshape(-1, *[1] * (len(shape) - 1))
    p = positive(*shape, seed=3)
    p /= p.sum(-1, keepdims=True)
    yield Case(f"softmax-{name}", Softmax(), (far,), tiny=tiny)
    yield Case(f"log_softmax-{name}", LogSoftmax(), (far,), tiny=tiny)
    yield Case(f"softmax_dx-{name}", SoftmaxGradient(), (p, dy), tiny=tiny)
    yield Case(f"log_softmax_dx-{name}", LogSoftmaxGradient(), (np.log(p), dy), tiny=tiny)


def losses(name: str, shape: tuple[int, ...], tiny: bool):
    classes = shape[-1]
    x, dloss = normal(*shape) * 3, normal(*shape[:-1], seed=2)
    p, q = positive(*shape, seed=3), positive(*shape)
    p /= p.sum(-1, keepdims=True)
    if len(q) > 1:
        q[1] = 2.0 * (np.arange(classes) == 1)  # the clip is active
    labels = np.resize(np.arange(classes), shape[:-1]).astype("int32")
    outside = np.where(np.arange(labels.size).reshape(labels.shape) % 3 == 1, classes, labels)
    targets = [("sparse", labels), ("dense", positive(*shape, seed=1))]
    if labels.size:
        targets.append(("outside", np.where(outside == 0, -1, outside).astype("int32")))
    for kind, t in targets:
        sparse, tail = kind != "dense", f"{name}-{kind}"
        forward, backward = SoftmaxCrossEntropy(sparse), SoftmaxCrossEntropyGradient(sparse)
        yield Case(f"softmax_crossentropy-{tail}", forward, (t, x), tiny=tiny)
        yield Case(f"softmax_crossentropy_dx-{tail}", backward, (t, p, dloss), tiny=tiny)
        yield Case(f"crossentropy-{tail}", CrossEntropy(sparse), (t, q), tiny=tiny)
        inputs = (t, q, dloss)
        yield Case(f"crossentropy_dx-{tail}", CrossEntropyGradient(sparse), inputs, tiny=tiny)


TINY = [("small", (5, 4))]
LARGE = [
    ("digits", (65, 10)),
    ("many_classes", (3, 1003)),
    ("many_rows", (5001, 7)),
    ("images", (2, 5, 4, 3)),
    ("no_rows", (0, 10)),
]

CASES = [
    case
    for table, tiny in ((TINY, True), (LARGE, False))
    for name, shape in table
    for case in (*rows(name, shape, tiny), *losses(name, shape, tiny))
]
CASES += rows("one_class", (3, 1), False)
