"""Batch normalization over rows in float64."""

import numpy as np
from references import pool

from nbcnn.ops.conv_spec import RELU, SIGMOID, TANH
from nbcnn.ops.norm import NormGradientSpec, NormSpec
from nbcnn.ops.pool import Pool2DSpec

ACT = {
    0: lambda v: v,
    RELU: lambda v: np.maximum(v, 0),
    SIGMOID: lambda v: 1 / (1 + np.exp(-v)),
    TANH: np.tanh,
}
SLOPE = {
    0: lambda y: 1.0,
    RELU: lambda y: y > 0,
    SIGMOID: lambda y: y * (1 - y),
    TANH: lambda y: 1 - y**2,
}


def _rows(spec, x):
    return np.asarray(x, np.float64).reshape(spec.rows, spec.c)


def batchnorm(spec, x, gamma, beta, added=0.0):
    x, gamma, beta = _rows(spec, x), np.asarray(gamma, np.float64), np.asarray(beta, np.float64)
    added = _rows(spec, added) if spec.residual else 0.0
    mean, var = x.mean(axis=0), x.var(axis=0)
    origin, scale = x[:1].sum(axis=0), gamma / np.sqrt(var + spec.epsilon)
    line = np.stack([origin, scale, beta - (mean - origin) * scale])
    return ACT[spec.act]((x - mean) * scale + beta + added), mean, var, line


def batchnorm_dx(spec, x, dy, gamma, mean, var, line, *others):
    x, dy, line = _rows(spec, x), _rows(spec, dy), np.asarray(line, np.float64)
    gamma, mean, var = (np.asarray(v, np.float64) for v in (gamma, mean, var))
    seen = _rows(spec, others[0]) if spec.through_output else (x - line[0]) * line[1] + line[2]
    g = (dy + _rows(spec, others[-1]) if spec.joined else dy) * SLOPE[spec.act](seen)
    s = 1 / np.sqrt(var + spec.epsilon)
    h = (x - mean) * s
    dgamma, dbeta = (g * h).sum(axis=0), g.sum(axis=0)
    dx = gamma * s * (g - dbeta / spec.rows - h * dgamma / spec.rows)
    return (dx, dgamma, dbeta, g) if spec.shared else (dx, dgamma, dbeta)


def scale_shift(spec, x, scale, shift):
    return ACT[spec.act](
        _rows(spec, x) * np.asarray(scale, np.float64) + np.asarray(shift, np.float64)
    )


def _pool_and_rows(s):
    window = Pool2DSpec(s.n, s.h, s.w, s.c, s.h // s.ph, s.w // s.pw, *2 * (s.ph, s.pw), 0, 0)
    return window, (s.n * s.h * s.w, s.c, s.epsilon)


def batchnorm_maxpool(spec, x, gamma, beta):
    window, rows = _pool_and_rows(spec)
    y, *statistics = batchnorm(NormSpec(*rows), x, gamma, beta)
    y, winners = pool.maxpool2d(window, y)
    return ACT[spec.act](y), winners, *statistics


def batchnorm_maxpool_dx(spec, x, dy, winners, *others):
    window, rows = _pool_and_rows(spec)
    g = pool.maxpool2d_dx(window, dy, winners)
    return batchnorm_dx(NormGradientSpec(*rows, spec.act), x, g, *others)
