"""Pictures of filters, maps and images; the numbers are made elsewhere in this package."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn.models.checks import whole_number
from nbcnn.viz.ascent import maximal_image
from nbcnn.viz.figure import axes_for, finished, in_rows, scaled, shown, tiles
from nbcnn.viz.maps import (
    grad_cam_map,
    layer_maps,
    occlusion_map,
    saliency_map,
    smooth_grad_map,
)
from nbcnn.viz.projection import deconvnet_projection
from nbcnn.viz.tallies import filter_images
from nbcnn.viz.walking import image_batch

SIDE = 3.6  # inches of a single picture


def filters(
    model: Any,
    columns: int = 8,
    cmap: str = "gray",
    ax: Any = None,
    save: Any = None,
    title: str | None = None,
) -> Any:
    """The filters of a convolution as images, on one scale, which has zero in the middle.

    Parameters
    ----------
    model : a convolution layer, or a model whose first one is taken. Filters of three channels are
        drawn in colour; of other numbers, each filter is a row with its channels.
    columns : filters in a row; default 8.

    Returns
    -------
    matplotlib Figure.

    Raises
    ------
    ValueError
        As `filter_images`, and for a number of columns that is not positive.
    """
    images = filter_images(model)
    limit = float(np.abs(images).max())
    images = scaled(images, limit)
    if images.shape[-1] in (1, 3):
        rows = in_rows("filters", list(images), columns)
    else:
        rows = [list(np.moveaxis(image, -1, 0)) for image in images]
    ax = axes_for("filters", ax, (0.6 * max(map(len, rows)), 0.6 * len(rows) + 0.3))
    tiles(ax, rows, cmap=cmap, vmin=0, vmax=1)
    return finished(ax, title, save)


def feature_maps(
    model: Any,
    image: Any,
    layers: Sequence[Any] | None = None,
    columns: int = 8,
    cmap: str = "gray",
    ax: Any = None,
    save: Any = None,
    title: str | None = None,
) -> Any:
    """What an image becomes at each layer: a row of maps for each, each map on its own scale.

    Parameters
    ----------
    layers : layers or names; default all whose outputs have height and width.
    columns : how many maps of a layer are shown, its first ones; default 8.

    Returns
    -------
    matplotlib Figure.

    Raises
    ------
    ValueError
        As `layer_maps`, and for a number of columns that is not positive.
    """
    columns = whole_number("feature_maps", "columns", columns, 1)
    found = layer_maps(model, image, layers)
    rows = [[scaled(m) for m in np.moveaxis(a, -1, 0)[:columns]] for a in found.values()]
    names = [f"{name}\n{a.shape[0]}×{a.shape[1]}×{a.shape[2]}" for name, a in found.items()]
    ax = axes_for("feature_maps", ax, (0.8 * max(map(len, rows)) + 1.2, 0.8 * len(rows) + 0.3))
    tiles(ax, rows, names, cmap=cmap, vmin=0, vmax=1)
    return finished(ax, title, save)


def occlusion(
    model: Any,
    image: Any,
    label: int | None = None,
    window: int | tuple[int, int] = 5,
    stride: int | tuple[int, int] = 1,
    fill: float = 0.0,
    cmap: str = "viridis",
    ax: Any = None,
    save: Any = None,
    title: str | None = None,
) -> Any:
    """The model's output for a class, by where a patch covers the image, and its colour bar.

    Parameters
    ----------
    window, stride, fill : as for `occlusion_map`, which computes it.

    Returns
    -------
    matplotlib Figure.

    Raises
    ------
    ValueError
        As `occlusion_map`.
    """
    scores = occlusion_map(model, image, label, window, stride, fill)
    ax = axes_for("occlusion", ax, (SIDE * 1.2, SIDE))
    drawn = ax.imshow(scores, cmap=cmap)
    ax.figure.colorbar(drawn, ax=ax, label="output for the class")
    ax.set_xlabel("patch, steps to the right")
    ax.set_ylabel("patch, steps down")
    return finished(ax, title, save)


def saliency(
    model: Any,
    image: Any,
    label: int | None = None,
    cmap: str = "inferno",
    ax: Any = None,
    save: Any = None,
    title: str | None = None,
) -> Any:
    """How much a class's score depends on each pixel (Simonyan et al. 2013), as `saliency_map`
    computes and raises.

    Returns
    -------
    matplotlib Figure.
    """
    found = saliency_map(model, image, label)
    return _heat("saliency", found, cmap, ax, save, title)


def smooth_grad(
    model: Any,
    image: Any,
    label: int | None = None,
    samples: int = 32,
    noise: float = 0.15,
    seed: int = 0,
    cmap: str = "inferno",
    ax: Any = None,
    save: Any = None,
    title: str | None = None,
) -> Any:
    """Saliency by the mean gradient over noisy copies (Smilkov et al. 2017).

    Parameters
    ----------
    samples, noise, seed : as for `smooth_grad_map`, which computes it, and raises.

    Returns
    -------
    matplotlib Figure.
    """
    found = smooth_grad_map(model, image, label, samples, noise, seed)
    return _heat("smooth_grad", found, cmap, ax, save, title)


def _heat(where: str, values: np.ndarray, cmap: str, ax: Any, save: Any, title: Any) -> Any:
    ax = axes_for(where, ax, (SIDE, SIDE))
    ax.imshow(values, cmap=cmap)
    ax.axis("off")
    return finished(ax, title, save)


def grad_cam(
    model: Any,
    image: Any,
    label: int | None = None,
    layer: Any = None,
    alpha: float = 0.5,
    cmap: str = "jet",
    ax: Any = None,
    save: Any = None,
    title: str | None = None,
) -> Any:
    """Where a layer's maps speak for a class (Selvaraju et al. 2017), over the image.

    Parameters
    ----------
    layer : default the last convolution.
    alpha : opacity of the map, which is scaled to the image's size; default 0.5.

    Returns
    -------
    matplotlib Figure.

    Raises
    ------
    ValueError
        As `grad_cam_map`, which computes it.
    """
    found = grad_cam_map(model, image, label, layer)
    picture = image_batch("grad_cam", model, image)[0]
    height, width = picture.shape[:2]
    ax = axes_for("grad_cam", ax, (SIDE, SIDE))
    whole = (0, width, height, 0)
    ax.imshow(shown(scaled(picture)), cmap="gray", extent=whole)
    ax.imshow(found, cmap=cmap, alpha=alpha, interpolation="bilinear", extent=whole)
    ax.axis("off")
    return finished(ax, title, save)


def deconvnet(
    model: Any,
    image: Any,
    layer: Any,
    channel: int | Sequence[int] | None = None,
    whole: bool = False,
    cmap: str = "gray",
    ax: Any = None,
    save: Any = None,
    title: str | None = None,
) -> Any:
    """The image, and what in it channels respond to (Zeiler & Fergus 2014); gray is zero.

    Parameters
    ----------
    channel : number, or several; default the one with the strongest response.
    whole : as for `deconvnet_projection`, which computes it.

    Returns
    -------
    matplotlib Figure.

    Raises
    ------
    ValueError
        As `deconvnet_projection`.
    """
    channels = _channels("deconvnet", channel)
    row = [scaled(image_batch("deconvnet", model, image)[0])]
    names = ["image"]
    for each in channels:
        found = deconvnet_projection(model, image, layer, each, whole)
        row.append(scaled(found, float(np.abs(found).max())))
        names.append("strongest" if each is None else f"channel {each}")
    rows, captions = (in_rows("deconvnet", part, 9) for part in (row, names))
    ax = axes_for("deconvnet", ax, (1.1 * len(rows[0]), 1.4 * len(rows) + 0.3))
    tiles(ax, rows, captions=captions, cmap=cmap, vmin=0, vmax=1)
    return finished(ax, title, save)


def _channels(where: str, channel: Any) -> list[Any]:
    """One channel or several as a list; raises ValueError for none."""
    several = isinstance(channel, (Sequence, np.ndarray)) and not isinstance(channel, str)
    found = list(channel) if several else [channel]
    if not found:
        raise ValueError(f"{where}: channel must be a number or several, got {channel!r}")
    return found


def activation_maximization(
    model: Any,
    layer: Any = None,
    channel: int | Sequence[int] = 0,
    steps: int = 100,
    rate: float = 0.1,
    l2: float = 0.01,
    seed: int = 0,
    start: Any = None,
    cmap: str = "gray",
    ax: Any = None,
    save: Any = None,
    title: str | None = None,
) -> Any:
    """Images that classes or channels respond to most, found by gradient ascent.

    Parameters
    ----------
    layer : None (default) for the model's scores.
    channel : of the layer, or the class; one number, or several for an image of each; default 0.
    steps, rate, l2, seed, start : as for `maximal_image`, which computes it.

    Returns
    -------
    matplotlib Figure.

    Raises
    ------
    ValueError
        As `maximal_image`.
    """
    where = "activation_maximization"
    channels = _channels(where, channel)
    found = [
        scaled(maximal_image(model, layer, each, steps, rate, l2, seed, start)) for each in channels
    ]
    rows, captions = (in_rows(where, part, 5) for part in (found, list(map(str, channels))))
    ax = axes_for(where, ax, (1.1 * len(rows[0]) + 0.2, 1.4 * len(rows) + 0.3))
    tiles(ax, rows, captions=captions, cmap=cmap, vmin=0, vmax=1)
    return finished(ax, title, save)
