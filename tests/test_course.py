"""Worked examples as a course on convolutional networks gives them."""

import numpy as np

from nbcnn import layers

FIRST = np.float32([[0, 1, 2], [3, 4, 5], [6, 7, 8]])
KERNEL = np.float32([[0, 1], [2, 3]])


def convolve(image, kernel):
    """The image (h, w, c) under one kernel (kh, kw, c), as (oh, ow)."""
    layer = layers.Conv2D(1, kernel.shape[:2], use_bias=False)
    layer.build((None, *image.shape))
    layer.set_weights([kernel[..., None]])
    return layer(image[None])[0, ..., 0]


def test_convolution_of_one_channel():
    y = convolve(FIRST[..., None], KERNEL[..., None])
    np.testing.assert_array_equal(y, [[19, 25], [37, 43]])


def test_convolution_sums_over_channels():
    second = np.arange(1, 10, dtype="float32").reshape(3, 3)
    image = np.stack([FIRST, second], -1)
    kernel = np.stack([KERNEL, np.float32([[1, 2], [3, 4]])], -1)
    np.testing.assert_array_equal(convolve(image, kernel), [[56, 72], [104, 120]])


def test_max_pooling_at_stride_1():
    y = layers.MaxPooling2D(2, strides=1)(FIRST[None, ..., None])
    np.testing.assert_array_equal(y[0, ..., 0], [[4, 5], [7, 8]])


def test_average_pooling_at_stride_1():
    y = layers.AveragePooling2D(2, strides=1)(FIRST[None, ..., None])
    np.testing.assert_array_equal(y[0, ..., 0], [[2, 3], [5, 6]])


def test_filters_decide_the_depth_of_the_output():
    for filters in (1, 8):
        layer = layers.Conv2D(filters, 5, use_bias=False)
        assert layer(layers.Input((512, 512, 3))).shape == (None, 508, 508, filters)
        assert layer.count_params() == 75 * filters


def test_weights_do_not_depend_on_the_image_size():
    layer = layers.Conv2D(128, 3, use_bias=False)
    layer(layers.Input((64, 64, 1)))
    assert layer.count_params() == 1152


def test_padding_by_one_keeps_the_size_under_a_3x3_kernel():
    same = layers.Conv2D(1, 3, padding="same")(layers.Input((8, 8, 1)))
    assert same.shape == layers.Conv2D(1, 3, padding=1)(layers.Input((8, 8, 1))).shape
    assert same.shape == (None, 8, 8, 1)


def test_strides_skip_positions():
    y = layers.Conv2D(1, 3, strides=(2, 3), padding="same")(layers.Input((8, 8, 1)))
    assert y.shape == (None, 4, 3, 1)
