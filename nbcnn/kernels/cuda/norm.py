"""Batch normalization: one thread per channel for sums over rows, then one per element.

The variance is summed from squared distances to the mean: E[x^2] - E[x]^2 would cancel.
"""

from math import sqrt

import numpy as np
from numba import cuda

from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import launch
from nbcnn.kernels.impl import Impl, always


@jit.kernel
def statistics_kernel(s, x, mean, var):
    for c in range(cuda.grid(1), s.c, cuda.gridsize(1)):
        total = np.float64(0.0)
        for row in range(s.rows):
            total += x[row * s.c + c]
        center = total / s.rows
        spread = np.float64(0.0)
        for row in range(s.rows):
            distance = x[row * s.c + c] - center
            spread += distance * distance
        mean[c] = center
        var[c] = spread / s.rows


@jit.kernel
def normalize_kernel(s, x, gamma, beta, mean, var, y):
    for i in range(cuda.grid(1), s.rows * s.c, cuda.gridsize(1)):
        c = i % s.c
        h = (np.float64(x[i]) - mean[c]) / sqrt(np.float64(var[c]) + s.epsilon)
        y[i] = jit.activate(s.act, h * gamma[c] + beta[c])


@jit.kernel
def gradient_sums_kernel(s, x, dy, mean, var, y, dgamma, dbeta):
    for c in range(cuda.grid(1), s.c, cuda.gridsize(1)):
        scale = 1.0 / sqrt(np.float64(var[c]) + s.epsilon)
        along, plain = np.float64(0.0), np.float64(0.0)
        for row in range(s.rows):
            i = row * s.c + c
            g = jit.activate_gradient(s.act, np.float64(y[i]), np.float64(dy[i]))
            plain += g
            along += g * (np.float64(x[i]) - mean[c])
        dgamma[c] = along * scale
        dbeta[c] = plain


@jit.kernel
def gradient_kernel(s, x, dy, gamma, mean, var, y, dgamma, dbeta, dx):
    for i in range(cuda.grid(1), s.rows * s.c, cuda.gridsize(1)):
        c = i % s.c
        scale = 1.0 / sqrt(np.float64(var[c]) + s.epsilon)
        h = (np.float64(x[i]) - mean[c]) * scale
        g = jit.activate_gradient(s.act, np.float64(y[i]), np.float64(dy[i]))
        dx[i] = gamma[c] * scale * (g - (dbeta[c] + h * dgamma[c]) / s.rows)


@jit.kernel
def scale_shift_kernel(s, x, scale, shift, y):
    for i in range(cuda.grid(1), s.rows * s.c, cuda.gridsize(1)):
        c = i % s.c
        y[i] = jit.activate(s.act, np.float64(x[i]) * scale[c] + shift[c])


def bind_batchnorm(spec, caps, inputs, outputs, scratch):
    x, gamma, beta = inputs
    y, mean, var = outputs
    return [
        *launch(statistics_kernel, caps, spec.c, spec, x, mean, var),
        *launch(normalize_kernel, caps, x.size, spec, x, gamma, beta, mean, var, y),
    ]


def bind_batchnorm_dx(spec, caps, inputs, outputs, scratch):
    x, dy, gamma, mean, var, y = inputs
    dx, dgamma, dbeta = outputs
    sums = (spec, x, dy, mean, var, y, dgamma, dbeta)
    return [
        *launch(gradient_sums_kernel, caps, spec.c, *sums),
        *launch(gradient_kernel, caps, x.size, spec, x, dy, gamma, mean, var, y, dgamma, dbeta, dx),
    ]


def bind_scale_shift(spec, caps, inputs, outputs, scratch):
    return launch(scale_shift_kernel, caps, outputs[0].size, spec, *inputs, *outputs)


batchnorm = Impl("plain", always, bind_batchnorm)
batchnorm_dx = Impl("plain", always, bind_batchnorm_dx)
scale_shift = Impl("plain", always, bind_scale_shift)
