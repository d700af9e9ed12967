"""Handwritten digits: 1,797 scans of 8x8 pixels, ten classes, inside the package.

The scans are the test set of *Optical Recognition of Handwritten Digits* by E. Alpaydin and
C. Kaynak, from the UCI Machine Learning Repository (doi:10.24432/C50P49), under the Creative
Commons Attribution 4.0 licence (CC BY 4.0). They are resized and scaled, nothing else is changed.
"""

import operator
from importlib import resources

import numpy as np

__all__ = ["load_data"]

CLASSES = 10
SIDE = 8  # pixels a side of a scan
WHITE = 16  # largest pixel value of a scan
TEST_SHARE = 0.2
SPLIT_SEED = 8  # fixes the split for ever; tests compare checksums

Arrays = tuple[np.ndarray, np.ndarray]


def load_data(size: int = 28) -> tuple[Arrays, Arrays]:
    """Load the handwritten digits.

    Parameters
    ----------
    size : int, default 28
        Pixels a side of the images returned. The scans of 8x8 pixels are resized with bilinear
        interpolation between pixel centres, edges repeated (the convention called
        `align_corners=False`); with 8 they come as they are. Less than 8 samples them unsmoothed.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        `x`: float32 images of shape (samples, size, size, 1), from 0 (paper) to 1 (ink).
        `y`: int64 labels 0 to 9 of shape (samples,).
        1,438 training and 359 test samples, always the same, each digit in equal shares.

    Raises
    ------
    TypeError
        If `size` is not an integer.
    ValueError
        If `size` is not positive.

    Examples
    --------
    >>> from nbcnn.datasets import digits
    >>> (x_train, y_train), (x_test, y_test) = digits.load_data()
    >>> x_train.shape, x_test.shape
    ((1438, 28, 28, 1), (359, 28, 28, 1))
    """
    size = _checked(size)
    scans, labels = _read()
    images = _resize(scans, size)[..., np.newaxis]
    train, test = _split(labels)
    return (images[train], labels[train]), (images[test], labels[test])


def _checked(size: int) -> int:
    try:
        if isinstance(size, (bool, np.bool_)):
            raise TypeError
        value = operator.index(size)
    except TypeError:
        raise TypeError(f"digits.load_data: size must be an integer, got {size!r}") from None
    if value < 1:
        raise ValueError(f"digits.load_data: size must be positive, got {value}")
    return value


def _read() -> Arrays:
    """Scans (samples, 8, 8), float32 from 0 to 1, and int64 labels."""
    file = resources.files(__package__).joinpath("digits.npz")
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as data:
        scans, labels = data["images"], data["labels"]
    return scans.astype(np.float32) / np.float32(WHITE), labels.astype(np.int64)


def _resize(scans: np.ndarray, size: int) -> np.ndarray:
    """Scans (n, 8, 8) to images (n, size, size): one matrix, applied to rows and to columns."""
    if size == SIDE:
        return scans
    matrix = _interpolation(SIDE, size)
    images = matrix @ scans.astype(np.float64) @ matrix.T
    return np.clip(images, 0, 1).astype(np.float32)


def _interpolation(before: int, after: int) -> np.ndarray:
    """The matrix (after, before) of linear interpolation between pixel centres, edges repeated."""
    position = np.clip((np.arange(after) + 0.5) * before / after - 0.5, 0, before - 1)
    # Distance 0 weighs 1, distance 1 and more weighs 0.
    return np.maximum(0, 1 - np.abs(position[:, np.newaxis] - np.arange(before)))


def _split(labels: np.ndarray) -> Arrays:
    """Sample numbers of the training and of the test part, each in a fixed shuffled order.

    Samples are ranked by a hash of their number (a random generator's stream may change between
    versions of NumPy), and of each class the first fifth is the test part.
    """
    order = np.argsort(_hashes(len(labels)), kind="stable")
    is_test = np.zeros(len(labels), dtype=bool)
    for digit in range(CLASSES):
        members = order[labels[order] == digit]
        is_test[members[: round(TEST_SHARE * len(members))]] = True
    return order[~is_test[order]], order[is_test[order]]


def _hashes(count: int) -> np.ndarray:
    """A 64-bit hash (splitmix64) of each of 0..count-1."""
    z = (np.arange(count, dtype=np.uint64) + np.uint64(SPLIT_SEED)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
