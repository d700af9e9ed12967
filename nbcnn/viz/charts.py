"""Charts of training and of predictions: curves, confusions, mistakes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn.models.checks import whole_number
from nbcnn.viz.figure import axes_for, finished, in_rows, scaled, tiles
from nbcnn.viz.tallies import confusion_counts, mistakes


def training_curves(
    history: Any,
    metrics: Sequence[str] | None = None,
    ax: Any = None,
    save: Any = None,
    title: str | None = None,
) -> Any:
    """Values by epoch, those of validation dashed: losses at the left axis, all else at the right.

    Parameters
    ----------
    history : what `fit` returned, or its `history`, a dictionary of lists.
    metrics : which to draw, without "val_"; default all but the learning rate.

    Returns
    -------
    matplotlib Figure.

    Raises
    ------
    TypeError
        For what is no history.
    ValueError
        For an empty history, and metrics that are not in it.
    """
    values = getattr(history, "history", history)
    if not isinstance(values, dict):
        raise TypeError(
            "training_curves: history must be what fit returned, or a dictionary of lists, "
            f"got {type(history).__name__}"
        )
    there = [name for name in values if not name.startswith("val_") and name != "learning_rate"]
    chosen = there if metrics is None else list(metrics)
    missing = [name for name in chosen if name not in values]
    if missing or not chosen:
        known = ", ".join(values) or "nothing"
        raise ValueError(f"training_curves: no values of {missing or 'epochs'}; there are {known}")
    ax = axes_for("training_curves", ax, (5.4, 3.4))
    losses = [name for name in chosen if name.endswith("loss")]
    others = [name for name in chosen if name not in losses]
    right = ax.twinx() if losses and others else ax
    lines = []
    for number, name in enumerate([*losses, *others]):
        axis = ax if name in losses else right
        for key, style in ((name, "-"), (f"val_{name}", "--")):
            if key in values:
                epochs = range(1, len(values[key]) + 1)
                lines += axis.plot(epochs, values[key], style, color=f"C{number}", label=key)
    ax.set_xlabel("epoch")
    ax.set_ylabel(", ".join(losses or others))
    if right is not ax:
        right.set_ylabel(", ".join(others))
    ax.legend(handles=lines, loc="center right", fontsize=8)
    return finished(ax, title, save)


def confusion_matrix(
    y_true: Any,
    y_pred: Any = None,
    classes: int | Sequence[str] | None = None,
    model: Any = None,
    x: Any = None,
    normalize: bool = False,
    cmap: str = "Blues",
    ax: Any = None,
    save: Any = None,
    title: str | None = None,
) -> Any:
    """How often each class was taken for each, as numbers in a coloured table.

    Parameters
    ----------
    y_true : class numbers (samples,) or one-hot rows.
    y_pred : class numbers, or scores (samples, classes).
    classes : their number, or their names in order; default as many as occur.
    model, x : in place of `y_pred`, a model and the images that it is to classify.
    normalize : show the shares of each row's samples, not their numbers; default False.

    Returns
    -------
    matplotlib Figure.

    Raises
    ------
    TypeError
        Where neither `y_pred` nor `model` and `x` are given, or both.
    ValueError
        As `confusion_counts`.
    """
    if (y_pred is None) == (model is None) or (model is None) != (x is None):
        raise TypeError("confusion_matrix: give either y_pred, or model and x")
    if y_pred is None:
        y_pred = model.predict(x, verbose=0)
    names, count = None, None
    if isinstance(classes, (int, np.integer)):
        count = int(classes)
    elif classes is not None:
        names = [str(c) for c in classes]
        count = len(names)
    elif np.ndim(y_pred) == 2 and np.shape(y_pred)[1] > 1:
        count = np.shape(y_pred)[1]
    counts = confusion_counts(y_true, y_pred, count)
    values = counts / np.maximum(counts.sum(1, keepdims=True), 1) if normalize else counts
    n = len(counts)
    ax = axes_for("confusion_matrix", ax, (max(3.0, 0.42 * n), max(3.0, 0.42 * n)))
    ax.imshow(values, cmap=cmap, vmin=0)
    half = values.max(initial=0) / 2
    for i, j in np.argwhere(counts):
        text = f"{values[i, j]:.2f}" if normalize else str(counts[i, j])
        color = "white" if values[i, j] > half else "black"
        ax.text(j, i, text, ha="center", va="center", fontsize=8, color=color)
    ax.set_xticks(range(n), names or range(n))
    ax.set_yticks(range(n), names or range(n))
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    return finished(ax, title, save)


def misclassified(
    model: Any,
    x: Any,
    y: Any,
    count: int = 16,
    columns: int = 8,
    classes: Sequence[str] | None = None,
    cmap: str = "gray",
    ax: Any = None,
    save: Any = None,
    title: str | None = None,
) -> Any:
    """Images that the model gets wrong, the most confident mistakes first, each with its label,
    what was predicted and the score of that.

    Parameters
    ----------
    x, y : images (n, h, w, c) and class numbers (n,) or one-hot rows.
    count : how many are shown at most; default 16.
    columns : in a row; default 8.
    classes : names of the classes; default their numbers.

    Returns
    -------
    matplotlib Figure; with the words "no mistakes" where there are none.

    Raises
    ------
    ValueError
        As `mistakes`, and for a `count` or `columns` that is not positive.
    """
    columns = whole_number("misclassified", "columns", columns, 1)
    found = mistakes(model, x, y)
    wrong = found.samples[: whole_number("misclassified", "count", count, 1)]
    ax = axes_for("misclassified", ax, (9.0, 1.4 * max(1, -(-len(wrong) // columns)) + 0.3))
    if not len(wrong):
        ax.text(0.5, 0.5, "no mistakes", ha="center", va="center")
        ax.axis("off")
        return finished(ax, title, save)

    def name(number: int) -> str:
        return str(number) if classes is None else str(classes[number])

    where, images = "misclassified", [scaled(np.asarray(x[i])) for i in wrong]
    captions = [
        f"{name(a)} → {name(b)} ({s:.0%})"
        for a, b, s in zip(found.labels, found.predicted, found.scores)
    ]
    rows, texts = (in_rows(where, part, columns) for part in (images, captions[: len(wrong)]))
    tiles(ax, rows, captions=texts, cmap=cmap, vmin=0, vmax=1)
    return finished(ax, title, save)
