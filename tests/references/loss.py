"""Softmax and cross-entropies over rows, in float64."""

import numpy as np
from scipy import special

from nbcnn.ops.loss import EPSILON


def _rows(spec, x):
    return np.asarray(x, np.float64).reshape(spec.rows, spec.classes)


def _column(spec, x):
    return np.asarray(x, np.float64).reshape(spec.rows, 1)


def _one_hot(spec, labels):
    """Distributions for class numbers; nothing for a number out of range."""
    return (np.asarray(labels).reshape(-1, 1) == np.arange(spec.classes)).astype(np.float64)


def _outside(spec, labels):
    labels = np.asarray(labels).reshape(-1)
    return (labels < 0) | (labels >= spec.classes)


def softmax(spec, x):
    return special.softmax(_rows(spec, x), axis=1)


def softmax_dx(spec, y, dy):
    y, dy = _rows(spec, y), _rows(spec, dy)
    return y * (dy - (y * dy).sum(axis=1, keepdims=True))


def log_softmax(spec, x):
    return special.log_softmax(_rows(spec, x), axis=1)


def log_softmax_dx(spec, y, dy):
    y, dy = _rows(spec, y), _rows(spec, dy)
    return dy - np.exp(y) * dy.sum(axis=1, keepdims=True)


def softmax_crossentropy(spec, t, x):
    return -(_rows(spec, t) * log_softmax(spec, x)).sum(axis=1), softmax(spec, x)


def softmax_crossentropy_sparse(spec, t, x):
    loss, p = softmax_crossentropy(spec, _one_hot(spec, t), x)
    return np.where(_outside(spec, t), np.nan, loss), p


def softmax_crossentropy_dx(spec, t, p, dloss):
    t = _rows(spec, t)
    return (_rows(spec, p) * t.sum(axis=1, keepdims=True) - t) * _column(spec, dloss)


def softmax_crossentropy_sparse_dx(spec, t, p, dloss):
    return softmax_crossentropy_dx(spec, _one_hot(spec, t), p, dloss)


def crossentropy(spec, t, q):
    q = _rows(spec, q)
    share = np.clip(q / q.sum(axis=1, keepdims=True), EPSILON, 1 - EPSILON)
    return -(_rows(spec, t) * np.log(share)).sum(axis=1)


def crossentropy_sparse(spec, t, q):
    return np.where(_outside(spec, t), np.nan, crossentropy(spec, _one_hot(spec, t), q))


def crossentropy_dx(spec, t, q, dloss):
    t, q = _rows(spec, t), _rows(spec, q)
    total = q.sum(axis=1, keepdims=True)
    share = q / total
    slope = np.where((share >= EPSILON) & (share <= 1 - EPSILON), -t / share, 0)
    return (slope - (slope * share).sum(axis=1, keepdims=True)) / total * _column(spec, dloss)


def crossentropy_sparse_dx(spec, t, q, dloss):
    return crossentropy_dx(spec, _one_hot(spec, t), q, dloss)
