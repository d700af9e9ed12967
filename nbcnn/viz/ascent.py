"""Images that a class or a channel responds to most, found by gradient ascent."""

from typing import Any

import numpy as np

from nbcnn import ops
from nbcnn.models.gradients import value_and_grad
from nbcnn.viz.walking import (
    check_channels_last,
    class_number,
    class_score,
    find_layer,
    in_range,
    outputs_at,
    predicted,
    walk,
)


def maximal_image(
    model: Any,
    layer: Any = None,
    channel: int = 0,
    steps: int = 100,
    rate: float = 0.1,
    l2: float = 0.01,
    seed: int = 0,
    start: Any = None,
) -> np.ndarray:
    """An image at which a class's score, or the mean of a channel's map, is high.

    Gradient ascent on S(x) - l2 |x|², from small noise: each step goes `rate` along the gradient
    divided by the root of its mean square.

    K. Simonyan, A. Vedaldi and A. Zisserman, "Deep inside convolutional networks" (2013),
    section 2; D. Erhan et al., "Visualizing higher-layer features of a deep network" (2009).

    Parameters
    ----------
    layer : None (default) for the model's scores, before softmax or sigmoid.
    channel : of the layer, or the class; default 0.
    steps : default 100.
    rate : size of a step; default 0.1.
    l2 : weight of the penalty; default 0.01.
    seed : of the noise; default 0.
    start : image (h, w, c) to begin with, in place of noise with standard deviation 0.1.

    Returns
    -------
    float32 array (h, w, c).

    Raises
    ------
    ValueError
        For channels or classes that there are not, negative `steps` or `l2`, and inputs whose
        sizes are not known where `start` is not given; as `saliency_map`.
    """
    where = "maximal_image"
    check_channels_last(where, model)
    if steps < 0 or l2 < 0:
        raise ValueError(f"{where}: steps and l2 must not be negative, got {steps} and {l2}")
    x = _first(where, model, seed, start)
    if layer is None:
        label = class_number(where, predicted(where, model, x), channel)
    else:
        path, target = find_layer(where, model, layer)
        count = outputs_at(model, x, [target])[0].shape[-1]
        channel = in_range(where, "channel", channel, count, f"in layer {path!r}")

    def aim(x: Any) -> Any:
        penalty = l2 * ops.sum(ops.square(x))
        if layer is None:
            return class_score(model(x, training=False), label) - penalty
        found = []

        def keep(each: Any, y: Any) -> Any:
            if each is target:
                found.append(y)
            return y

        walk(model, x, keep)
        return ops.mean(found[-1][..., channel]) - penalty

    slope = value_and_grad(aim, 0)
    for _ in range(steps):
        g = slope(x)[1]
        x = x + np.float32(rate) * g / (np.sqrt(np.mean(np.square(g))) + np.float32(1e-8))
    return x[0]


def _first(where: str, model: Any, seed: int, start: Any) -> np.ndarray:
    shape = model.input_shape[1:]
    if start is not None:
        image = np.asarray(start, np.float32)
        if image.ndim != 3 or any(s not in (None, n) for s, n in zip(shape, image.shape)):
            raise ValueError(f"{where}: start must have shape {shape}, got {image.shape}")
        return image[None]
    if None in shape:
        raise ValueError(f"{where}: the model takes images of any size {shape}; give a start")
    return np.random.default_rng(seed).normal(0, 0.1, (1, *shape)).astype(np.float32)
