import hashlib

import numpy as np
import pytest

from nbcnn import datasets
from nbcnn.datasets import digits


def test_shapes_types_and_range():
    (x_train, y_train), (x_test, y_test) = digits.load_data()
    assert x_train.shape == (1438, 28, 28, 1)
    assert x_test.shape == (359, 28, 28, 1)
    assert x_train.dtype == x_test.dtype == np.float32
    assert y_train.shape == (1438,)
    assert y_test.shape == (359,)
    assert np.issubdtype(y_train.dtype, np.integer)
    assert x_train.min() == 0
    assert x_train.max() == 1


def test_split_never_changes():
    (x_train, y_train), (x_test, y_test) = digits.load_data(8)
    content = hashlib.sha256()
    for x, y in ((x_train, y_train), (x_test, y_test)):
        content.update((x * 16).astype(np.uint8).tobytes())
        content.update(y.astype(np.uint8).tobytes())
    assert content.hexdigest() == "8b2672ba55fe6f201be6f3ef650fbb1827424678b731c9af5b28bd0324bc2cec"


def test_split_is_stratified_and_complete():
    (x_train, y_train), (x_test, y_test) = digits.load_data(8)
    train, test = np.bincount(y_train), np.bincount(y_test)
    assert np.all(np.abs(test / (train + test) - 0.2) < 0.005)
    assert len(np.unique(np.concatenate([x_train, x_test]).reshape(1797, 64), axis=0)) == 1797


def test_labels_are_shuffled():
    (_, y_train), (_, y_test) = digits.load_data(8)
    for y in (y_train, y_test):
        counts = np.bincount(y[: len(y) // 3], minlength=10)
        assert counts.min() > 0


@pytest.mark.parametrize("size", [1, 5, 8, 16, 28, 33])
def test_resizing_is_bilinear_between_pixel_centres(size):
    (small, _), _ = digits.load_data(8)
    (x, _), _ = digits.load_data(size)
    expected = np.array([bilinear(image[..., 0], size) for image in small[:3]])
    np.testing.assert_allclose(x[:3, ..., 0], expected, atol=1e-6)


def bilinear(image, size):
    """Pixel by pixel, straight from the definition."""
    side = len(image)
    out = np.empty((size, size))
    for i, j in np.ndindex(size, size):
        v = min(max((i + 0.5) * side / size - 0.5, 0), side - 1)
        u = min(max((j + 0.5) * side / size - 0.5, 0), side - 1)
        top, left = int(v), int(u)
        bottom, right = min(top + 1, side - 1), min(left + 1, side - 1)
        a, b = v - top, u - left
        upper = (1 - b) * image[top, left] + b * image[top, right]
        lower = (1 - b) * image[bottom, left] + b * image[bottom, right]
        out[i, j] = (1 - a) * upper + a * lower
    return out


def test_every_call_gives_arrays_of_its_own():
    (first, _), _ = digits.load_data()
    first[:] = 7
    (second, _), _ = digits.load_data()
    assert second.max() == 1


@pytest.mark.parametrize("size", [28.0, "28", None, True, (28, 28)])
def test_size_must_be_an_integer(size):
    with pytest.raises(TypeError, match=r"digits.load_data: size must be an integer, got"):
        digits.load_data(size)


@pytest.mark.parametrize("size", [0, -3])
def test_size_must_be_positive(size):
    with pytest.raises(ValueError, match=f"size must be positive, got {size}"):
        digits.load_data(size)


def test_integers_of_numpy_are_sizes():
    (x, _), _ = digits.load_data(np.int32(10))
    assert x.shape == (1438, 10, 10, 1)


def test_data_sets_are_listed_and_unknown_ones_are_not_there():
    assert dir(datasets) == ["digits"]
    assert datasets.digits is digits
    assert not hasattr(datasets, "letters")
