"""Layers that Keras does not have, in NumPy, as `reference` of a case takes them."""

import numpy as np


def global_response(x, gamma, beta, epsilon=1e-6, seen=1.0):
    """x (n, ..., c); `seen` are factors of x and the output."""
    x = x * seen
    norms = np.sqrt(np.sum(x**2, axis=tuple(range(1, x.ndim - 1)), keepdims=True))
    shares = norms / (norms.mean(-1, keepdims=True) + epsilon)
    return (gamma * (x * shares) + beta + x) * seen


def upscaled(mask, shape):
    """A mask of patches (n, ...) for a map of that shape (n, ..., c): (n, ..., 1)."""
    mask = (mask > 0.5).astype(float)
    for axis in range(1, mask.ndim):
        mask = np.repeat(mask, shape[axis] // mask.shape[axis], axis)
    return mask[..., None]


def global_response_masked(x, mask, gamma, beta):
    return global_response(x, gamma, beta, seen=upscaled(mask, x.shape))


def correlated(x, kernel, strides=(1, 1), padding="valid", dilation=(1, 1)):
    """x (n, h, w, c), kernel (kh, kw, c, f); 'same' padding is more by at most one at the end."""
    (kh, kw), pads = kernel.shape[:2], [(0, 0)]
    for size, k, s, d in zip(x.shape[1:3], (kh, kw), strides, dilation):
        more = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0) if padding == "same" else 0
        pads.append((more // 2, more - more // 2))
    x = np.pad(x, [*pads, (0, 0)])
    rows, columns = (
        (size - (k - 1) * d - 1) // s + 1
        for size, k, s, d in zip(x.shape[1:3], (kh, kw), strides, dilation)
    )
    y = np.zeros((len(x), rows, columns, kernel.shape[3]))
    for u in range(kh):
        for v in range(kw):
            top, left = u * dilation[0], v * dilation[1]
            seen = x[:, top :: strides[0], left :: strides[1]][:, :rows, :columns]
            y += seen @ kernel[u, v]
    return y


def multi_dilated(x, kernel, bias, shares, rates, strides=(1, 1), padding="valid"):
    """`shares` filters of each of `rates`, pairs, with common centres of the windows."""
    parts, first, widest = [], 0, np.max(rates, 0)
    for count, rate in zip(shares, rates):
        part, first = kernel[..., first : first + count], first + count
        wide = np.zeros((*(widest * (np.array(kernel.shape[:2]) - 1) + 1), *part.shape[2:]))
        top, left = (widest - rate) * (np.array(kernel.shape[:2]) - 1) // 2
        wide[top:, left:][:: rate[0], :: rate[1]][: len(kernel), : kernel.shape[1]] = part
        if padding == "same":
            parts.append(correlated(x, part, strides, padding, rate))
        else:
            parts.append(correlated(x, wide, strides))
    return np.concatenate(parts, -1) + bias


def per_channel(kernel):
    """A depthwise kernel (kh, kw, c, m) as one of a convolution, (kh, kw, c, c m)."""
    kh, kw, c, m = kernel.shape
    return np.einsum("uvcm,cd->uvcdm", kernel, np.eye(c)).reshape(kh, kw, c, c * m)


def masked(x, mask, kernel, bias, strides=(1, 1), padding="same", renormalize=False):
    """Place by place: which pixels of its window an output sees, and whether it is seen."""
    kh, kw = kernel.shape[:2]
    seen = upscaled(mask, x.shape)
    y = correlated(x * seen, kernel, strides, padding)
    around = correlated(seen, np.ones((kh, kw, 1, 1)), strides, padding)
    if renormalize:
        y = y * kh * kw / np.maximum(around, 1)
    visible = around > 0
    if strides == (1, 1) and not renormalize:
        top, left = (0, 0) if padding == "same" else ((kh - 1) // 2, (kw - 1) // 2)
        visible = seen[:, top:, left:][:, : y.shape[1], : y.shape[2]]
    return (y + bias) * visible


def upsampled(x, kernel, bias, size, padding="same", repeat=None):
    repeat = repeat or np.repeat
    large = repeat(repeat(x, size[0], 1), size[1], 2)
    return correlated(large, kernel, padding=padding) + bias


def stretched(x, times, axis):
    """Bilinear, pixels being squares around their centres."""
    places = np.clip((np.arange(x.shape[axis] * times) + 0.5) / times - 0.5, 0, x.shape[axis] - 1)
    low = np.floor(places).astype(int)
    high = np.minimum(low + 1, x.shape[axis] - 1)
    share = np.expand_dims(places - low, tuple(range(1, x.ndim - axis)))
    return np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share


def pyramid(x, levels, function):
    parts = []
    for level in levels:
        for i in range(level):
            for j in range(level):
                (top, bottom), (left, right) = (
                    (k * size // level, -((k + 1) * size // -level))
                    for k, size in zip((i, j), x.shape[1:3])
                )
                parts.append(function(x[:, top:bottom, left:right], (1, 2)))
    return np.concatenate(parts, -1)


def global_max_average(x, together, keepdims=False):
    axes = tuple(range(1, x.ndim - 1))
    return together([x.max(axes, keepdims=keepdims), x.mean(axes, keepdims=keepdims)])
