"""What all pictures share: matplotlib where it is needed, axes, files, and tiles of images."""

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn.models.checks import whole_number

GAP = 0.12  # between tiles, in tiles


def matplotlib(where: str, module: str = "figure") -> Any:
    """A module of matplotlib, or an ImportError that says what to do."""
    try:
        return importlib.import_module(f"matplotlib.{module}")
    except ImportError:
        raise ImportError(
            f"{where} needs matplotlib, which is not installed: pip install 'nbcnn[viz]'"
        ) from None


def axes_for(where: str, ax: Any, size: tuple[float, float]) -> Any:
    """Axes to draw into: those given, or of a new figure of a size in inches.

    The figure is not one of pyplot's, which would keep it: it lives as long as it is used.
    """
    figure = matplotlib(where)
    if ax is None:
        return figure.Figure(figsize=size, layout="constrained").add_subplot()
    if not hasattr(ax, "imshow"):
        raise TypeError(f"{where}: ax must be matplotlib axes, got {type(ax).__name__}")
    return ax


def finished(ax: Any, title: str | None, save: Any) -> Any:
    """The figure of the axes, with its title, written to a file where `save` says so."""
    if title is not None:
        ax.set_title(title)
    figure = ax.figure.canvas.figure  # also of axes in a part of it
    if save is not None:
        figure.savefig(save, dpi=100)
    return figure


def scaled(image: np.ndarray, limit: float | None = None) -> np.ndarray:
    """An image (h, w, c) as values from 0 to 1: stretched from its smallest to its largest, or from
    -limit to limit; even ones in the middle of these.
    """
    limit = 1.0 if limit == 0 else limit
    low = float(image.min()) if limit is None else -limit
    high = float(image.max()) if limit is None else limit
    return np.clip((image - low) / (high - low if high > low else 1.0), 0, 1)


def shown(image: np.ndarray) -> np.ndarray:
    """An image as `imshow` takes it: (h, w) for one channel, (h, w, 3), a mean of any other
    number.
    """
    if image.ndim == 2 or image.shape[-1] in (3, 4):
        return image
    return image[..., 0] if image.shape[-1] == 1 else image.mean(-1)


def tiles(
    ax: Any,
    rows: Sequence[Sequence[np.ndarray]],
    labels: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (),
    **options: Any,
) -> None:
    """Draw rows of images, each in a square tile; labels left of rows, captions above images.

    `options` are for `imshow`.
    """
    step = 1 + GAP
    down = step + (0.25 if captions else 0.0)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            longest = max(image.shape[:2])
            height, width = image.shape[0] / longest, image.shape[1] / longest
            left, top = j * step + (1 - width) / 2, i * down + (1 - height) / 2
            ax.imshow(
                shown(image), extent=(left, left + width, top + height, top),
                interpolation="nearest", **options,
            )  # fmt: skip
            if captions:
                ax.text(j * step + 0.5, i * down - 0.03, captions[i][j], ha="center", fontsize=8)
        if i < len(labels):
            ax.text(-GAP, i * down + 0.5, labels[i], ha="right", va="center", fontsize=8)
    ax.set_xlim(-GAP, max(map(len, rows), default=0) * step)
    ax.set_ylim(len(rows) * down, -GAP - (0.25 if captions else 0.0))
    ax.set_aspect("equal")
    ax.axis("off")


def in_rows(where: str, images: Sequence[Any], columns: int) -> list[Sequence[Any]]:
    """A list cut into rows. Raises ValueError for a number of columns that is not positive."""
    columns = whole_number(where, "columns", columns, 1)
    return [images[first : first + columns] for first in range(0, len(images), columns)]
