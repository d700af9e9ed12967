"""A network conv, relu, max pool, conv, relu, dense in float64 NumPy, from the definitions, and the
projection of Zeiler and Fergus through it step by step.
"""

import numpy as np


def windows(x, size, stride=1):
    """All windows (oh, ow, size, size, channels) of an image (h, w, channels)."""
    found = np.lib.stride_tricks.sliding_window_view(x, (size, size), (0, 1))
    return found[::stride, ::stride].transpose(0, 1, 3, 4, 2)


def conv(x, kernel, bias):
    return np.einsum("ijuvc,uvcf->ijf", windows(x, len(kernel)), kernel) + bias


def transposed_conv(y, kernel, shape):
    """Each value of a map paints its filter onto an image of a shape."""
    x = np.zeros(shape)
    for i, j, f in np.ndindex(y.shape):
        x[i : i + len(kernel), j : j + len(kernel)] += y[i, j, f] * kernel[..., f]
    return x


def max_pool(x):
    """The largest values of 2×2 windows, and the switches: where in the image each was."""
    oh, ow, c = x.shape[0] // 2, x.shape[1] // 2, x.shape[2]
    y, switches = np.zeros((oh, ow, c)), np.zeros((oh, ow, c, 2), int)
    for i, j, k in np.ndindex(oh, ow, c):
        window = x[2 * i : 2 * i + 2, 2 * j : 2 * j + 2, k]
        u, v = np.unravel_index(window.argmax(), (2, 2))
        y[i, j, k], switches[i, j, k] = window[u, v], (2 * i + u, 2 * j + v)
    return y, switches


def unpool(y, switches, shape):
    x = np.zeros(shape)
    for i, j, k in np.ndindex(y.shape):
        x[(*switches[i, j, k], k)] += y[i, j, k]
    return x


def relu(x):
    return np.maximum(x, 0)


class Net:
    """The network with given weights: kernel, bias, kernel, bias, matrix, bias."""

    def __init__(self, weights):
        self.weights = [np.asarray(w, np.float64) for w in weights]

    def first(self, x):
        """The maps of the first convolution."""
        return relu(conv(x, self.weights[0], self.weights[1]))

    def second(self, first):
        """The maps of the second convolution, of those of the first."""
        return relu(conv(max_pool(first)[0], self.weights[2], self.weights[3]))

    def scores(self, second):
        """What the softmax would be given."""
        return second.reshape(-1) @ self.weights[4] + self.weights[5]

    def by_first(self, first, label):
        """The gradient of a score by the maps of the first convolution."""
        pooled, switches = max_pool(first)
        second = self.second(first)
        slope = self.weights[4][:, label].reshape(second.shape) * (second > 0)
        slope = transposed_conv(slope, self.weights[2], pooled.shape)
        return unpool(slope, switches, first.shape)

    def projected(self, x, channel, whole):
        """What in x a channel of the second convolution responds to."""
        first = self.first(x)
        pooled, switches = max_pool(first)
        second = self.second(first)
        signal = np.zeros_like(second)
        signal[..., channel] = second[..., channel]
        if not whole:
            signal[signal < signal.max()] = 0
        signal = transposed_conv(relu(signal), self.weights[2], pooled.shape)
        signal = unpool(signal, switches, first.shape)
        return transposed_conv(relu(signal), self.weights[0], x.shape)


def numerical_gradient(function, x, step=1e-6):
    """Central differences of a number by each element."""
    slopes = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        change = np.zeros(x.shape)
        change[place] = step
        slopes[place] = (function(x + change) - function(x - change)) / (2 * step)
    return slopes
