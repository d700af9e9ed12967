"""Layer normalization: one thread per row for what a row shares, one per element for the rest, and
one per column for the sums over rows. Sums in float64.
"""

from math import sqrt

import numpy as np
from numba import cuda

from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import launch
from nbcnn.kernels.impl import Impl, Scratch, always
from nbcnn.ops.layer_norm import LayerNormSpec


@jit.kernel
def statistics_kernel(s, x, mean, scale):
    for row in range(cuda.grid(1), s.rows, cuda.gridsize(1)):
        total, spread = np.float64(0.0), np.float64(0.0)
        for k in range(s.c):
            total += x[row * s.c + k]
        center = total / s.c
        for k in range(s.c):
            distance = x[row * s.c + k] - center
            spread += distance * distance
        mean[row] = center
        scale[row] = 1.0 / sqrt(spread / s.c + s.epsilon)


@jit.kernel
def normalize_kernel(s, x, gamma, beta, mean, scale, y):
    for i in range(cuda.grid(1), s.rows * s.c, cuda.gridsize(1)):
        row, k = i // s.c, i % s.c
        h = (np.float64(x[i]) - mean[row]) * scale[row]
        y[i] = h * gamma[k] + beta[k]


@jit.kernel
def row_means_kernel(s, x, dy, gamma, mean, scale, means):
    """Per row the means of g = dy gamma and of g h."""
    for row in range(cuda.grid(1), s.rows, cuda.gridsize(1)):
        plain, along = np.float64(0.0), np.float64(0.0)
        for k in range(s.c):
            i = row * s.c + k
            g = np.float64(dy[i]) * gamma[k]
            plain += g
            along += g * (np.float64(x[i]) - mean[row]) * scale[row]
        means[2 * row] = plain / s.c
        means[2 * row + 1] = along / s.c


@jit.kernel
def gradient_kernel(s, x, dy, gamma, mean, scale, means, dx):
    for i in range(cuda.grid(1), s.rows * s.c, cuda.gridsize(1)):
        row, k = i // s.c, i % s.c
        h = (np.float64(x[i]) - mean[row]) * scale[row]
        g = np.float64(dy[i]) * gamma[k]
        dx[i] = scale[row] * (g - means[2 * row] - h * means[2 * row + 1])


@jit.kernel
def column_sums_kernel(s, x, dy, mean, scale, dgamma, dbeta):
    for k in range(cuda.grid(1), s.c, cuda.gridsize(1)):
        along, plain = np.float64(0.0), np.float64(0.0)
        for row in range(s.rows):
            i = row * s.c + k
            plain += dy[i]
            along += dy[i] * (np.float64(x[i]) - mean[row]) * scale[row]
        dgamma[k] = along
        dbeta[k] = plain


def scratch(spec: LayerNormSpec, dtype: str, caps) -> dict[str, Scratch]:
    return {"means": Scratch((2 * spec.rows,), "float64")}


def bind(spec: LayerNormSpec, caps, inputs, outputs, scratch):
    x, gamma, beta = inputs
    y, mean, scale = outputs
    return [
        *launch(statistics_kernel, caps, spec.rows, spec, x, mean, scale),
        *launch(normalize_kernel, caps, x.size, spec, x, gamma, beta, mean, scale, y),
    ]


def bind_dx(spec: LayerNormSpec, caps, inputs, outputs, scratch):
    x, dy, gamma, mean, scale = inputs
    dx, dgamma, dbeta = outputs
    means = scratch["means"]
    rows = (spec, x, dy, gamma, mean, scale, means)
    columns = (spec, x, dy, mean, scale, dgamma, dbeta)
    return [
        *launch(row_means_kernel, caps, spec.rows, *rows),
        *launch(gradient_kernel, caps, x.size, *rows, dx),
        *launch(column_sums_kernel, caps, spec.c, *columns),
    ]


layernorm = Impl("plain", always, bind)
layernorm_dx = Impl("plain", always, bind_dx, scratch)
