import random

import numpy as np
import pytest

from nbcnn import random_state, utils
from nbcnn.declare import auto_name


def test_one_seed_starts_all_generators():
    def draw():
        return random.random(), np.random.rand(), random_state.next_seed()  # noqa: NPY002

    utils.set_random_seed(3)
    first = draw()
    assert draw() != first
    utils.set_random_seed(np.int64(3))
    assert draw() == first
    with pytest.raises(ValueError, match=r"seed must be an integer, got 1\.5"):
        utils.set_random_seed(1.5)


def test_clear_session_restarts_names():
    utils.clear_session()
    assert auto_name("Dense") == "dense"
    assert auto_name("Dense") == "dense_1"
    utils.clear_session()
    assert auto_name("Dense") == "dense"


@pytest.mark.parametrize(
    "x, classes, expected",
    [
        ([0, 2], None, [[1, 0, 0], [0, 0, 1]]),
        ([[0], [1]], 3, [[1, 0, 0], [0, 1, 0]]),
        (1, 2, [0, 1]),
        ([[0, 1]], None, [[[1, 0], [0, 1]]]),
        ([], 2, np.zeros((0, 2))),
    ],
)
def test_to_categorical(x, classes, expected):
    got = utils.to_categorical(x, classes)
    np.testing.assert_array_equal(got, expected)
    assert got.dtype == "float64"


@pytest.mark.parametrize("x, wrong", [([0, 3], "3"), ([-1], "-1")])
def test_to_categorical_refuses_labels_out_of_range(x, wrong):
    with pytest.raises(ValueError, match=rf"x must be in 0\.\.2, got {wrong}"):
        utils.to_categorical(x, 3)


def test_normalize():
    x = np.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(utils.normalize(x), [[0.6, 0.8], [0, 0]])
    np.testing.assert_allclose(utils.normalize(x, axis=0, order=1), [[1, 1], [0, 0]])


class Squares(utils.PyDataset):
    def __init__(self, count):  # without super().__init__, as users write
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return index**2


def test_py_dataset():
    assert list(Squares(3)) == [0, 1, 4]
    assert Squares(3).num_batches == 3
    assert Squares(3).workers == 1
    assert utils.PyDataset(workers=2).workers == 2
    with pytest.raises(NotImplementedError, match="PyDataset must define __len__"):
        list(utils.PyDataset())


@pytest.mark.parametrize(
    "sizes, lengths",
    [
        ((0.8,), (8, 2)),
        ((3,), (3, 7)),
        ((None, 0.3), (7, 3)),
        ((2, 0.5), (2, 5)),
        ((1.0,), (10, 0)),
    ],
)
def test_split_dataset(sizes, lengths):
    x = np.arange(10)
    left, right = utils.split_dataset((x, {"y": [x, x]}), *sizes)
    assert (len(left[0]), len(right[0])) == lengths
    np.testing.assert_array_equal(right[1]["y"][1], right[0])


def test_split_dataset_shuffles_with_a_seed():
    x = np.arange(20)
    left, right = utils.split_dataset(x, 5, shuffle=True, seed=1)
    again, _ = utils.split_dataset(x, 5, shuffle=True, seed=1)
    np.testing.assert_array_equal(left, again)
    assert sorted([*left, *right]) == list(range(20))
    assert list(left) != list(range(5))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (([np.arange(1), np.arange(2)], 1), r"arrays must have equal lengths, got \[1, 2\]"),
        ((np.arange(4),), "give left_size or right_size"),
        ((np.arange(4), 5), r"sizes must be 0..4 or a fraction 0.0..1.0, got 5"),
        ((np.arange(4), 3, 2), "must not exceed 4 samples together, got 3 and 2"),
    ],
)
def test_split_dataset_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        utils.split_dataset(*arguments)


def test_packing():
    assert utils.pack_x_y_sample_weight(1) == 1
    assert utils.pack_x_y_sample_weight([1]) == ([1],)
    assert utils.pack_x_y_sample_weight(1, 2) == (1, 2)
    assert utils.pack_x_y_sample_weight(1, 2, 3) == (1, 2, 3)
    assert utils.unpack_x_y_sample_weight(1) == (1, None, None)
    assert utils.unpack_x_y_sample_weight([1, 2]) == (1, 2, None)
    assert utils.unpack_x_y_sample_weight((1, 2, 3)) == (1, 2, 3)
    with pytest.raises(ValueError, match="got a tuple of 4 parts"):
        utils.unpack_x_y_sample_weight((1, 2, 3, 4))
