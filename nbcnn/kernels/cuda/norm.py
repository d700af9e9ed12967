"""Batch normalization: one thread per channel for sums over rows, then one per element.

The variance is summed from squared distances to the mean: E[x^2] - E[x]^2 would cancel. Where the
gradient needs what relu was applied to, it computes that again, from the same line.
"""

from math import sqrt

import numpy as np
from numba import cuda

from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import launch
from nbcnn.kernels.impl import Impl, always


@jit.kernel
def statistics_kernel(s, x, gamma, beta, mean, var, line):
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
        origin = np.float64(x[c]) if s.rows > 0 else 0.0
        scale = gamma[c] / sqrt(spread / s.rows + s.epsilon)
        line[c] = origin
        line[s.c + c] = scale
        line[2 * s.c + c] = beta[c] - (center - origin) * scale


@jit.device
def on_line(s, x, line, i):
    """What the activation is applied to; the gradient computes it again."""
    c = i % s.c
    return (np.float64(x[i]) - line[c]) * line[s.c + c] + line[2 * s.c + c]


@jit.kernel
def normalize_kernel(s, x, line, y):
    for i in range(cuda.grid(1), s.rows * s.c, cuda.gridsize(1)):
        y[i] = jit.activate(s.act, on_line(s, x, line, i))


@jit.device
def slope(s, x, dy, line, y, i):
    value = np.float64(y[i]) if s.through_output else on_line(s, x, line, i)
    return jit.activate_gradient(s.act, value, np.float64(dy[i]))


@jit.kernel
def gradient_sums_kernel(s, x, dy, mean, var, line, y, dgamma, dbeta):
    for c in range(cuda.grid(1), s.c, cuda.gridsize(1)):
        scale = 1.0 / sqrt(np.float64(var[c]) + s.epsilon)
        along, plain = np.float64(0.0), np.float64(0.0)
        for row in range(s.rows):
            i = row * s.c + c
            g = slope(s, x, dy, line, y, i)
            plain += g
            along += g * (np.float64(x[i]) - mean[c])
        dgamma[c] = along * scale
        dbeta[c] = plain


@jit.kernel
def gradient_kernel(s, x, dy, gamma, mean, var, line, y, dgamma, dbeta, dx):
    for i in range(cuda.grid(1), s.rows * s.c, cuda.gridsize(1)):
        c = i % s.c
        scale = 1.0 / sqrt(np.float64(var[c]) + s.epsilon)
        h = (np.float64(x[i]) - mean[c]) * scale
        g = slope(s, x, dy, line, y, i)
        dx[i] = gamma[c] * scale * (g - (dbeta[c] + h * dgamma[c]) / s.rows)


@jit.kernel
def scale_shift_kernel(s, x, scale, shift, y):
    for i in range(cuda.grid(1), s.rows * s.c, cuda.gridsize(1)):
        c = i % s.c
        y[i] = jit.activate(s.act, np.float64(x[i]) * scale[c] + shift[c])


def accepts(spec, dtype, caps):
    return "adds nothing before the activation" if spec.residual else None


def accepts_dx(spec, dtype, caps):
    return "has one gradient in and one out" if spec.joined or spec.shared else None


def bind_batchnorm(spec, caps, inputs, outputs, scratch):
    x, gamma, beta = inputs
    y, mean, var, line = outputs
    return [
        *launch(statistics_kernel, caps, spec.c, spec, x, gamma, beta, mean, var, line),
        *launch(normalize_kernel, caps, x.size, spec, x, line, y),
    ]


def bind_batchnorm_dx(spec, caps, inputs, outputs, scratch):
    x, dy, gamma, mean, var, line = inputs[:6]
    y = inputs[6] if spec.through_output else x
    dx, dgamma, dbeta = outputs
    sums = (spec, x, dy, mean, var, line, y, dgamma, dbeta)
    last = (spec, x, dy, gamma, mean, var, line, y, dgamma, dbeta, dx)
    return [
        *launch(gradient_sums_kernel, caps, spec.c, *sums),
        *launch(gradient_kernel, caps, x.size, *last),
    ]


def bind_scale_shift(spec, caps, inputs, outputs, scratch):
    return launch(scale_shift_kernel, caps, outputs[0].size, spec, *inputs, *outputs)


batchnorm = Impl("plain", accepts, bind_batchnorm)
batchnorm_dx = Impl("plain", accepts_dx, bind_batchnorm_dx)
scale_shift = Impl("plain", always, bind_scale_shift)
