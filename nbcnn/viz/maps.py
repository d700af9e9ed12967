"""What a network sees of one image, as arrays: the numbers behind the pictures."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn import ops
from nbcnn.layers.conv import Convolution
from nbcnn.layers.depthwise import Depthwise, Separable
from nbcnn.models.gradients import value_and_grad
from nbcnn.models.sequential import replayed
from nbcnn.ops.tensor import Tensor
from nbcnn.viz.walking import (
    calls_of,
    class_number,
    class_score,
    find_layer,
    image_batch,
    maps_at,
    network_of,
    predicted,
    walk,
)

PER_CALL = 256  # images that are computed together


def layer_maps(
    model: Any, image: Any, layers: Sequence[Any] | None = None
) -> dict[str, np.ndarray]:
    """The feature maps (oh, ow, channels) of an image at layers, by the layers' paths.

    Parameters
    ----------
    layers : layers or names; default all whose outputs have height and width.

    Raises
    ------
    ValueError
        For a model that is not built or has a `call` of its own, an image that does not fit, and
        layers that are none of the model's or have no maps.
    """
    where = "layer_maps"
    batch = image_batch(where, model, image)
    network = network_of(where, model)
    if layers is None:
        found = [
            (path, call.layer)
            for path, call in calls_of(network)
            if replayed(call.layer) is None and _has_maps(call.outputs)
        ]
    else:
        found = [find_layer(where, model, layer) for layer in layers]
    if not found:
        raise ValueError(f"{where}: model {model.name!r} has no layer with maps (n, h, w, c)")
    arrays = maps_at(where, model, batch, found)
    return {path: array[0] for (path, _), array in zip(found, arrays)}


def _has_maps(outputs: Any) -> bool:
    return isinstance(outputs, Tensor) and outputs.ndim == 4


def occlusion_map(
    model: Any,
    image: Any,
    label: int | None = None,
    window: int | tuple[int, int] = 5,
    stride: int | tuple[int, int] = 1,
    fill: float = 0.0,
) -> np.ndarray:
    """The model's output for a class, by where a patch covers the image.

    M. Zeiler and R. Fergus, "Visualizing and understanding convolutional networks" (2014),
    section 4.2. Low values mark what the class is recognized by.

    Parameters
    ----------
    window : (height, width) of the patch, or one number for both; default 5.
    stride : steps of the patch (down, right), or one number for both; default 1. A last step is
        shorter where the patch would not reach the border.
    fill : value of the patch; default 0.

    Returns
    -------
    float32 array (positions down, positions to the right).

    Raises
    ------
    ValueError
        Where the patch is larger than the image or a size is not positive, and as `saliency_map`.
    """
    where = "occlusion_map"
    batch = image_batch(where, model, image)
    label = class_number(where, predicted(where, model, batch), label)
    wh, ww = _pair(where, "window", window)
    sh, sw = _pair(where, "stride", stride)
    _, h, w, _ = batch.shape
    if wh > h or ww > w:
        raise ValueError(f"{where}: window {(wh, ww)} is larger than the image {(h, w)}")
    tops, lefts = _starts(h, wh, sh), _starts(w, ww, sw)
    places = [(top, left) for top in tops for left in lefts]
    scores = []
    for first in range(0, len(places), PER_CALL):
        part = places[first : first + PER_CALL]
        covered = np.repeat(batch, len(part), axis=0)
        for one, (top, left) in zip(covered, part):
            one[top : top + wh, left : left + ww] = fill
        scores.append(predicted(where, model, covered)[:, label])
    return np.concatenate(scores).reshape(len(tops), len(lefts))


def _pair(where: str, argument: str, value: Any) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2 or any(not isinstance(n, (int, np.integer)) or n < 1 for n in pair):
        raise ValueError(f"{where}: {argument} must be one or two positive integers, got {value!r}")
    return pair


def _starts(size: int, window: int, stride: int) -> list[int]:
    """Where windows start, the last one at the border."""
    starts = list(range(0, size - window + 1, stride))
    return starts if starts[-1] == size - window else [*starts, size - window]


def input_gradient(model: Any, image: Any, label: int | None = None) -> np.ndarray:
    """The gradient (h, w, c) of a class's score by the pixels of an image.

    The score is the value before the softmax or sigmoid that ends the model. Raises as
    `saliency_map`.
    """
    batch = image_batch("input_gradient", model, image)
    return _input_gradients("input_gradient", model, batch, batch, label)[0]


def _input_gradients(
    where: str, model: Any, image: np.ndarray, batch: np.ndarray, label: int | None
) -> np.ndarray:
    """The gradients of a batch; a label that is not given is that of the image."""
    label = class_number(where, predicted(where, model, image), label)

    def score(x: Any) -> Any:
        return class_score(model(x, training=False), label)

    return value_and_grad(score, 0)(batch)[1]


def saliency_map(model: Any, image: Any, label: int | None = None) -> np.ndarray:
    """How much a class's score depends on each pixel: the largest |gradient| of its channels.

    K. Simonyan, A. Vedaldi and A. Zisserman, "Deep inside convolutional networks" (2013),
    section 3.1.

    Returns
    -------
    float32 array (h, w).

    Raises
    ------
    TypeError
        For what is no model, and labels that are no integers.
    ValueError
        For a model that is not built, an image that does not fit, and labels that are no class.
    """
    batch = image_batch("saliency_map", model, image)
    return np.abs(_input_gradients("saliency_map", model, batch, batch, label)[0]).max(-1)


def smooth_grad_map(
    model: Any,
    image: Any,
    label: int | None = None,
    samples: int = 32,
    noise: float = 0.15,
    seed: int = 0,
) -> np.ndarray:
    """The saliency map of the mean gradient over noisy copies of the image.

    D. Smilkov et al., "SmoothGrad: removing noise by adding noise" (2017).

    Parameters
    ----------
    samples : number of copies; default 32.
    noise : standard deviation of the noise as a share of the image's range, max - min; default
        0.15.
    seed : of the noise; default 0.

    Returns
    -------
    float32 array (h, w).

    Raises
    ------
    ValueError
        For `samples` below 1 and negative `noise`, and as `saliency_map`.
    """
    where = "smooth_grad_map"
    batch = image_batch(where, model, image)
    if samples < 1:
        raise ValueError(f"{where}: samples must be at least 1, got {samples}")
    if noise < 0:
        raise ValueError(f"{where}: noise must not be negative, got {noise}")
    width = noise * (batch.max() - batch.min())
    drawn = np.random.default_rng(seed).normal(0, width, (samples, *batch.shape[1:]))
    total = np.zeros(batch.shape[1:])
    noisy = (batch + drawn).astype(np.float32)
    for first in range(0, samples, PER_CALL):
        part = noisy[first : first + PER_CALL]
        total += _input_gradients(where, model, batch, part, label).sum(0, dtype=np.float64)
    return np.abs(total / samples).max(-1).astype(np.float32)


def grad_cam_map(model: Any, image: Any, label: int | None = None, layer: Any = None) -> np.ndarray:
    """Where a layer's maps speak for a class: relu(sum over k of a_k A_k), where A_k are the maps
    and a_k the mean of the gradient of the class's score by A_k.

    R. Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based
    localization" (2017).

    Parameters
    ----------
    layer : default the last convolution.

    Returns
    -------
    float32 array (oh, ow) of the layer's size, not scaled.

    Raises
    ------
    ValueError
        Where there is no convolution, or the layer has no maps, and as `saliency_map`.
    """
    where = "grad_cam_map"
    batch = image_batch(where, model, image)
    if layer is None:
        layer = _last_convolution(where, model)
    path, target = find_layer(where, model, layer)
    label = class_number(where, predicted(where, model, batch), label)
    (maps,) = maps_at(where, model, batch, [(path, target)])

    def score(x: Any, change: Any) -> Any:
        def after(each: Any, y: Any) -> Any:
            return ops.add(y, change) if each is target else y

        return class_score(walk(model, x, after), label)

    _, slopes = value_and_grad(score, 1)(batch, np.zeros_like(maps))
    if slopes is None:
        raise ValueError(f"{where}: the score does not depend on layer {path!r}")
    weights = slopes[0].mean((0, 1), dtype=np.float64)
    return np.maximum(maps[0] @ weights, 0).astype(np.float32)


def _last_convolution(where: str, model: Any) -> str:
    """The path of the last convolution; raises ValueError where there is none."""
    kinds = (Convolution, Depthwise, Separable)
    calls = list(calls_of(network_of(where, model)))
    for path, call in reversed(calls):
        if isinstance(call.layer, kinds) and _has_maps(call.outputs):
            return path
    raise ValueError(f"{where}: model {model.name!r} has no convolution of images; give a layer")
