"""Convolutions in all geometries: each row is run forward, plain and with bias and activation, and
backward to input and kernel. Some have a pool in their tail.
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from cases.case import Case, Draw, normal

from nbcnn.ops.conv import (
    Conv2D,
    Conv2DInputGradient,
    Conv2DKernelGradient,
    window_index_dtype,
)
from nbcnn.ops.conv_spec import (
    MAX_POOL,
    MAX_POOL_INDEXED,
    MEAN_POOL,
    NORM_ACTIVATIONS,
    RELU,
    TAIL_ACTIVATIONS,
)

SIGMOID, TANH = TAIL_ACTIVATIONS["sigmoid"], TAIL_ACTIVATIONS["tanh"]
RELU6, HARD_SILU, SILU = (TAIL_ACTIVATIONS[name] for name in ("relu6", "hard_silu", "silu"))


class Geometry(NamedTuple):
    """Shapes of x (n, h, w, c) and w (kh, kw, c / groups, f), and attributes of the operation."""

    name: str
    x: tuple[int, int, int, int]
    w: tuple[int, int, int, int]
    attributes: dict[str, Any]
    act: int = RELU  # of the row with bias


def row(name, x, w, strides=1, padding="valid", dilation=1, groups=1, act=RELU):
    pair = [(v, v) if isinstance(v, int) else v for v in (strides, dilation)]
    attributes = {"strides": pair[0], "padding": padding, "dilation": pair[1], "groups": groups}
    return Geometry(name, x, w, attributes, act)


TINY = [
    row("valid", (2, 5, 6, 2), (3, 2, 2, 3)),
    row("same", (1, 4, 5, 2), (3, 3, 2, 2), padding="same"),
    row("strided", (1, 7, 6, 1), (3, 2, 1, 2), (2, 3), "same"),
    row("dilated", (1, 7, 6, 1), (3, 2, 1, 2), dilation=(2, 3)),
    row("asymmetric", (1, 4, 4, 1), (2, 3, 1, 2), (1, 2), ((2, 0), (1, 3))),
    row("grouped", (1, 4, 4, 4), (2, 2, 2, 6), groups=2),
    row("depth_multiplier", (1, 4, 4, 3), (3, 3, 1, 6), padding="same", groups=3),
    row("depthwise", (1, 4, 4, 3), (3, 3, 1, 3), padding="same", groups=3),
    row("pointwise", (2, 2, 3, 4), (1, 1, 4, 3)),
    row("no_images", (0, 4, 4, 2), (3, 3, 2, 2)),
]

# Small ones beside the edges of a GPU's tiles, which are small in its simulator: more pixels,
# filters or terms of a sum than a tile has, and fewer; channels in words of four, and not.
TINY_TILES = [
    row("words", (1, 5, 4, 4), (3, 2, 4, 12), padding="same"),
    row("words_strided", (1, 7, 6, 4), (3, 3, 4, 12), 2, "same", (1, 2)),
    row("words_groups", (1, 4, 4, 8), (3, 3, 4, 8), groups=2),
    row("words_pointwise", (2, 3, 5, 8), (1, 1, 8, 4), 2),
    row("words_deep", (1, 3, 3, 8), (3, 3, 8, 4), padding="same", act=HARD_SILU),
    row("no_words", (1, 6, 5, 5), (2, 2, 5, 9), (1, 2), ((1, 0), (0, 2))),
    row("few_channels", (1, 4, 6, 3), (3, 3, 3, 16), padding="same", act=SILU),
    row("few_filters", (1, 5, 6, 12), (2, 3, 12, 3), 2, "same"),
    row("few_of_both", (1, 4, 5, 4), (3, 3, 4, 4), padding="same", act=TANH),
    row("depthwise_words", (1, 3, 6, 8), (3, 3, 1, 8), padding="same", groups=8, act=RELU6),
    row("depthwise_words_strided", (1, 5, 7, 4), (3, 3, 1, 4), 2, "same", groups=4),
    row("depthwise_words_dilated", (1, 5, 6, 4), (2, 3, 1, 4), 1, "same", 2, 4),
    row("depthwise_long", (1, 7, 5, 2), (5, 5, 1, 2), padding="same", groups=2),
    row("multiplier_strided", (1, 5, 5, 2), (3, 2, 1, 4), 2, groups=2),
]

POOLS = {"max": MAX_POOL, "indices": MAX_POOL_INDEXED, "mean": MEAN_POOL}

LARGE = [
    # layers of well-known networks
    row("lenet_first", (3, 28, 28, 1), (5, 5, 1, 6), padding="same", act=SIGMOID),
    row("lenet_second", (3, 14, 14, 6), (5, 5, 6, 16), act=SIGMOID),
    row("resnet_stem", (1, 33, 33, 3), (7, 7, 3, 64), 2, "same"),
    row("resnet", (1, 14, 14, 64), (3, 3, 64, 64), padding="same"),
    row("resnet_down", (1, 15, 14, 64), (3, 3, 64, 96), 2, "same"),
    row("resnet_projection", (3, 8, 9, 48), (1, 1, 48, 64), 2),
    row("mobilenet", (1, 28, 28, 64), (3, 3, 1, 64), padding="same", groups=64),
    row("mobilenet_down", (3, 13, 14, 17), (3, 3, 1, 17), 2, "same", groups=17),
    row("mobilenet_pointwise", (2, 14, 14, 17), (1, 1, 17, 65)),
    row("inception_row", (1, 9, 17, 16), (1, 7, 16, 20), padding="same", act=TANH),
    row("inception_column", (1, 17, 9, 16), (7, 1, 16, 5), padding="same"),
    # pixels in blocks, whatever image they belong to; a power of two of channels
    row("pointwise_blocks", (3, 9, 11, 48), (1, 1, 48, 70)),
    row("pointwise_few_filters", (5, 23, 29, 37), (1, 1, 37, 2)),
    row("pointwise_many_channels", (2, 13, 17, 144), (1, 1, 144, 24)),
    row("pointwise_powers", (2, 5, 7, 512), (1, 1, 512, 256)),
    row("powers", (1, 7, 6, 512), (3, 3, 512, 160), padding="same"),
    # weight gradients by lines of channels: planes of rows and columns, several slabs; chunks;
    # groups that end within lines
    row("lines_strided", (5, 33, 31, 20), (3, 3, 20, 18), 2, "same"),
    row("lines_chunks", (1, 41, 40, 170), (3, 3, 170, 8), 2, "same"),
    row("lines_uneven", (3, 17, 19, 37), (4, 3, 37, 33), (3, 2), ((2, 0), (1, 3))),
    row("lines_sparse", (2, 14, 13, 33), (2, 2, 33, 9), 3),
    row("lines_dilated", (2, 15, 16, 24), (3, 3, 24, 20), (2, 3), "same", dilation=(3, 2)),
    row("lines_grouped", (3, 11, 9, 72), (3, 3, 18, 68), 2, "same", groups=4),
    # channels and filters beside multiples of a vector
    row("vector_tail", (2, 7, 9, 5), (3, 3, 5, 17), padding="same", act=SILU),
    row("stride_tail", (1, 8, 8, 17), (3, 3, 17, 33), 2),
    row("one_filter", (3, 5, 5, 33), (3, 3, 33, 1), padding="same"),
    row("one_channel", (3, 6, 7, 1), (3, 3, 1, 31), padding="same"),
    row("many_channels", (1, 4, 4, 700), (2, 2, 700, 40)),
    row("odd_sizes", (2, 9, 11, 5), (5, 3, 5, 7), padding="same"),
    # tiles that reach over the borders, the last block of tiles not full
    row("tiles_odd", (5, 7, 7, 20), (3, 3, 20, 35), padding="same"),
    row("tiles_valid", (2, 15, 13, 33), (3, 3, 33, 18)),
    row("tiles_uneven", (2, 13, 14, 70), (3, 3, 70, 16), padding=((2, 1), (0, 3))),
    row("tiles_crop", (3, 17, 18, 33), (3, 3, 33, 24), padding=((-2, 1), (1, -1))),
    row("tiles_one_image", (1, 13, 16, 64), (3, 3, 64, 80), padding="same"),
    row("tiles_5x5", (3, 14, 13, 18), (5, 5, 18, 35), padding="same"),
    row("tiles_5x5_uneven", (2, 19, 18, 33), (5, 5, 33, 16), padding=((3, 0), (-1, 4))),
    row("tiles_5x5_small", (17, 5, 6, 20), (5, 5, 20, 20), padding="same"),
    row("tiles_5x3", (3, 14, 17, 17), (5, 3, 17, 40), padding="same"),
    row("tiles_3x5", (3, 15, 13, 40), (3, 5, 40, 17)),
    row("tiles_row", (3, 9, 17, 33), (1, 7, 33, 35), padding="same"),
    row("tiles_row_5", (3, 7, 18, 70), (1, 5, 70, 18), padding=((2, -1), (1, 5))),
    row("tiles_row_3", (4, 6, 15, 24), (1, 3, 24, 48), padding="same"),
    row("tiles_column", (3, 17, 9, 33), (7, 1, 33, 35), padding="same"),
    row("tiles_column_5", (2, 19, 7, 70), (5, 1, 70, 18), padding=((3, 2), (-1, 2))),
    row("tiles_column_3", (4, 15, 6, 24), (3, 1, 24, 48)),
    row("tiles_dilated", (3, 17, 19, 20), (3, 3, 20, 35), padding="same", dilation=2),
    row("tiles_phases", (2, 26, 31, 33), (3, 3, 33, 18), 1, ((2, 5), (-1, 4)), (2, 3)),
    row("tiles_row_dilated", (3, 9, 23, 20), (1, 5, 20, 60), padding="same", dilation=(3, 2)),
    row("tiles_deep", (1, 14, 15, 170), (3, 3, 170, 150), padding="same"),
    row("tiles_deep_groups", (6, 13, 14, 520), (3, 3, 520, 200), padding="same"),
    row("small_maps", (2, 14, 14, 520), (3, 3, 520, 60), 2, "same"),
    row("tiles_deep_row", (1, 14, 15, 300), (1, 5, 300, 300), padding=((0, 0), (1, 3))),
    row("tiles_of_no_image", (0, 14, 14, 32), (5, 5, 32, 32), padding="same"),
    # extents
    row("one_pixel", (3, 1, 1, 20), (1, 1, 20, 10)),
    row("one_number", (1, 1, 1, 1), (1, 1, 1, 1)),
    row("whole_image", (3, 5, 4, 16), (5, 4, 16, 12)),
    row("kernel_covers_map", (3, 3, 3, 24), (3, 3, 24, 40), padding="same"),
    row("even_kernel", (1, 9, 10, 3), (4, 2, 3, 8), padding="same"),
    row("many_images", (33, 6, 6, 4), (3, 3, 4, 8), padding="same"),
    row("many_pixels", (3, 61, 67, 3), (3, 3, 3, 8), padding="same"),
    row("no_image_of_many", (0, 7, 7, 64), (3, 3, 64, 64), padding="same"),
    row("depthwise_no_image", (0, 7, 7, 5), (3, 3, 1, 5), padding="same", groups=5),
    # strides and dilations
    row("wide_kernel", (2, 5, 23, 2), (1, 7, 2, 3), (1, 3), "same"),
    row("stride_beyond_kernel", (2, 11, 10, 4), (2, 2, 4, 4), (3, 4)),
    row("stride_beyond_image", (2, 3, 3, 5), (2, 2, 5, 4), (7, 5)),
    row("dilation", (2, 13, 14, 4), (3, 3, 4, 5), padding="same", dilation=(2, 3)),
    row("stride_and_dilation", (2, 14, 13, 6), (3, 3, 6, 4), (2, 3), ((3, 2), (1, 4)), (2, 1)),
    # padding
    row("padding_beyond_kernel", (1, 7, 6, 3), (3, 3, 3, 20), padding=((5, 4), (4, 7))),
    row("only_padding", (1, 3, 3, 8), (3, 3, 8, 8), 4, ((6, 6), (6, 6))),
    row("crop", (2, 9, 9, 7), (3, 3, 7, 9), padding=((-2, 1), (1, -1))),
    row("crop_all_sides", (1, 10, 9, 16), (2, 3, 16, 16), 2, ((-1, -2), (-1, -1))),
    # groups
    row("groups", (1, 9, 8, 12), (3, 3, 4, 24), padding="same", groups=3),
    row("narrow_groups", (2, 9, 9, 6), (3, 3, 2, 12), padding="same", groups=3, act=HARD_SILU),
    row("wide_groups", (2, 6, 6, 40), (3, 3, 8, 80), (2, 1), "same", groups=5),
    row("groups_tail", (1, 6, 6, 34), (3, 3, 17, 34), groups=2),
    # groups that share a vector: as many channels as filters, fewer, more; a channel, some filters
    row("group_lanes", (2, 9, 10, 32), (3, 3, 4, 32), padding="same", groups=8, act=RELU6),
    row("group_lanes_tail", (1, 9, 11, 36), (3, 3, 2, 36), padding="same", groups=18),
    row("group_lanes_stride", (2, 11, 12, 40), (3, 3, 8, 40), 2, "same", groups=5),
    row("group_lanes_widening", (1, 8, 9, 20), (3, 3, 2, 80), 1, "same", groups=10, act=TANH),
    row("group_lanes_narrowing", (1, 9, 8, 96), (3, 3, 8, 24), 2, "same", groups=12),
    row("group_lanes_many", (1, 7, 9, 48), (3, 3, 16, 12), padding="same", groups=3),
    row("group_lanes_odd", (1, 7, 9, 30), (3, 3, 5, 24), padding="same", groups=6),
    row("group_lanes_few", (2, 6, 7, 8), (3, 3, 4, 8), padding="same", groups=2),
    row("group_lanes_one_filter", (1, 8, 8, 54), (3, 3, 3, 18), groups=18),
    row("group_lanes_parts", (1, 7, 8, 6), (3, 3, 3, 64), padding="same", groups=2),
    row("group_lanes_pointwise", (2, 5, 6, 32), (1, 1, 4, 32), groups=8),
    row("group_lanes_5x5", (1, 11, 9, 32), (5, 5, 4, 32), padding="same", groups=8),
    row("group_lanes_over_map", (2, 3, 2, 16), (7, 7, 2, 16), padding="same", groups=8),
    row("group_lanes_even", (1, 8, 9, 16), (4, 2, 2, 32), 2, ((2, 0), (1, 3)), groups=8),
    row("group_lanes_only_padding", (1, 3, 3, 16), (3, 3, 2, 16), 2, ((6, 6), (6, 6)), groups=8),
    row("group_lanes_crop", (2, 9, 9, 32), (3, 3, 4, 16), 1, ((-2, 1), (1, -1)), groups=8),
    # groups that make whole vectors: maps of many and few columns, rows left over, two vectors
    row("group_rows", (2, 14, 14, 32), (3, 3, 16, 32), padding="same", groups=2),
    row("group_rows_wide", (2, 9, 29, 48), (3, 3, 16, 48), padding="same", groups=3, act=TANH),
    row("group_rows_narrow", (17, 7, 7, 32), (3, 3, 16, 32), padding="same", groups=2, act=RELU6),
    row("group_rows_tiny", (2, 5, 3, 32), (3, 3, 16, 32), padding="same", groups=2),
    row("group_rows_stride", (2, 11, 15, 32), (3, 3, 16, 64), 2, "same", groups=2),
    row("group_rows_dilated", (1, 13, 12, 32), (3, 2, 16, 32), 1, "same", (2, 3), groups=2),
    row("group_rows_part", (1, 9, 10, 24), (5, 5, 12, 64), padding="same", groups=2),
    row("group_rows_crop", (2, 9, 9, 32), (3, 3, 16, 32), 1, ((-2, 1), (1, -1)), groups=2),
    row("group_rows_padding", (1, 2, 2, 32), (3, 3, 16, 32), 1, ((4, 4), (4, 4)), groups=2),
    row("group_rows_tall", (1, 70, 30, 32), (3, 3, 16, 32), padding="same", groups=2),
    row("group_rows_line", (2, 1, 370, 32), (1, 3, 16, 32), padding="same", groups=2),
    row("group_rows_doubles", (3, 8, 9, 16), (3, 3, 8, 16), padding="same", groups=2),
    row("group_lanes_no_image", (0, 7, 7, 32), (3, 3, 4, 32), padding="same", groups=8),
    row("multiplier", (2, 9, 8, 20), (3, 3, 1, 40), padding="same", groups=20, act=SIGMOID),
    row("multiplier_stride", (2, 12, 11, 9), (5, 5, 1, 36), 2, "same", groups=9),
    row("multiplier_8", (1, 7, 8, 16), (3, 3, 1, 128), padding="same", groups=16),
    # many images, few filters: images in the lanes of vectors
    *(row(f"lanes_{f}", (16, 6, 7, 9 - f), (3, 3, 9 - f, f), padding="same") for f in range(1, 9)),
    row("lanes_first", (31, 28, 28, 1), (5, 5, 1, 6), padding="same", act=SIGMOID),
    row("lanes_second", (32, 14, 14, 6), (5, 5, 6, 16), act=SIGMOID),
    row("lanes_strided", (15, 15, 14, 7), (3, 4, 7, 11), (2, 3), "same", act=HARD_SILU),
    row("lanes_stride_beyond_kernel", (13, 11, 10, 4), (2, 2, 4, 4), (3, 4)),
    row("lanes_stride_beyond_image", (16, 3, 3, 5), (2, 2, 5, 4), (7, 5)),
    row("lanes_dilation", (29, 13, 14, 3), (3, 2, 3, 20), padding="same", dilation=(2, 3)),
    row("lanes_wide_padding", (8, 7, 6, 3), (3, 3, 3, 2), padding=((5, 4), (4, 7))),
    row("lanes_crop", (14, 9, 9, 7), (3, 3, 7, 9), padding=((-2, 1), (1, -1))),
    row("lanes_pointwise", (16, 5, 5, 4), (1, 1, 4, 3)),
    row("lanes_whole_image", (32, 5, 4, 2), (5, 4, 2, 12)),
    row("lanes_one_row", (40, 1, 50, 3), (1, 9, 3, 4), padding="same"),
    row("lanes_many_pixels", (9, 61, 67, 3), (3, 3, 3, 5), padding="same"),
    row("lanes_many_channels", (12, 9, 10, 100), (3, 3, 100, 3), padding="same"),
    # one filter per channel
    row("depthwise_wide", (2, 12, 13, 35), (3, 3, 1, 35), padding="same", groups=35),
    row("depthwise_stride", (2, 20, 21, 19), (7, 5, 1, 19), (2, 3), "same", groups=19, act=RELU6),
    row("depthwise_dilated", (2, 8, 8, 16), (3, 3, 1, 16), 1, ((4, 4), (4, 4)), 3, 16, SIGMOID),
    row("depthwise_crop", (2, 10, 9, 5), (3, 3, 1, 5), (2, 1), ((-2, 0), (-1, -2)), groups=5),
    row("depthwise_5x5", (2, 9, 11, 33), (5, 5, 1, 33), padding="same", groups=33, act=HARD_SILU),
    row("depthwise_5x5_stride", (1, 14, 15, 20), (5, 5, 1, 20), 2, "same", groups=20),
    row("depthwise_7x7", (1, 10, 9, 18), (7, 7, 1, 18), padding="same", groups=18),
    row("depthwise_over_map", (2, 3, 2, 16), (7, 7, 1, 16), padding="same", groups=16),
    row("depthwise_even", (2, 7, 8, 17), (4, 2, 1, 17), 2, ((2, 0), (1, 3)), groups=17),
    row("depthwise_1x1_stride", (2, 7, 8, 35), (1, 1, 1, 35), 2, groups=35),
    row("depthwise_many_channels", (1, 7, 7, 200), (3, 3, 1, 200), padding="same", groups=200),
    row("depthwise_bands", (1, 60, 70, 33), (3, 3, 1, 33), padding="same", groups=33),
]

# With a pool in the tail: a row, and the window. Where the window does not divide the map, the rest
# is dropped.
POOLED = [
    (row("small", (2, 8, 8, 3), (3, 3, 3, 8), padding="same"), (2, 2)),
    (row("lenet", (3, 28, 28, 1), (5, 5, 1, 6), padding="same", act=SIGMOID), (2, 2)),
    (row("lenet_second", (3, 14, 14, 6), (5, 5, 6, 16), act=TANH), (2, 2)),
    (row("tiles", (4, 16, 16, 33), (3, 3, 33, 18), padding="same"), (2, 2)),
    (row("tiles_rest", (3, 15, 17, 20), (3, 3, 20, 35)), (2, 2)),
    (row("tiles_quarters", (2, 18, 17, 33), (3, 3, 33, 48), padding="same"), (4, 4)),
    (row("tiles_5x5", (2, 16, 17, 20), (5, 5, 20, 35), padding="same"), (2, 2)),
    (row("tiles_row", (3, 16, 17, 33), (1, 5, 33, 35), padding="same"), (2, 2)),
    (row("tiles_deep", (1, 15, 14, 150), (3, 3, 150, 145), padding="same"), (2, 2)),
    (row("tiles_dilated", (3, 17, 17, 20), (3, 3, 20, 16), 1, "same", (2, 2)), (2, 2)),
    (row("tiles_mixed", (2, 18, 17, 16), (3, 3, 16, 16), padding="same"), (3, 2)),
    (row("first_layer", (1, 70, 71, 3), (3, 3, 3, 64), padding="same"), (4, 4)),
    (row("first_wide", (2, 31, 33, 3), (5, 5, 3, 19), (2, 1), ((2, 1), (0, 3))), (3, 2)),
    (row("first_dilated", (2, 21, 23, 2), (3, 2, 2, 6), 1, "same", (3, 1)), (2, 2)),
    (row("first_full", (3, 9, 8, 1), (4, 4, 1, 5)), (2, 2)),
    (row("one_channel", (17, 14, 13, 1), (3, 3, 1, 31)), (2, 2)),
    (row("row_window", (2, 6, 20, 5), (3, 3, 5, 17), padding="same"), (1, 3)),
    (row("column_window", (2, 13, 6, 5), (3, 3, 5, 17), (1, 2), "same"), (3, 1)),
    (row("whole_map", (3, 9, 9, 16), (3, 3, 16, 20)), (7, 7)),
    (row("one_window", (2, 10, 9, 4), (3, 3, 4, 7)), (5, 4)),
    (row("wide_index", (1, 19, 18, 2), (3, 3, 2, 5)), (17, 16)),
    (row("groups", (2, 10, 10, 12), (3, 3, 4, 24), padding="same", groups=3), (2, 2)),
    (row("depthwise", (2, 10, 11, 19), (3, 3, 1, 19), padding="same", groups=19), (2, 2)),
    (row("lanes", (31, 28, 28, 1), (5, 5, 1, 6), padding="same", act=SIGMOID), (2, 2)),
    (row("lanes_second", (32, 14, 14, 6), (5, 5, 6, 16), act=SIGMOID), (2, 2)),
    (row("lanes_rest", (16, 15, 17, 3), (3, 3, 3, 7), (1, 2), "same", act=TANH), (4, 2)),
    (row("lanes_whole_map", (13, 9, 9, 3), (3, 3, 3, 5)), (7, 7)),
    (row("lanes_many_pixels", (14, 61, 63, 2), (3, 3, 2, 9)), (2, 3)),
    (row("no_images", (0, 8, 8, 16), (3, 3, 16, 16), padding="same"), (2, 2)),
]


def gradients(g: Geometry, tiny: bool):
    s = Conv2D(**g.attributes).geometry(g.x, g.w)
    x, w, dy = Draw(g.x), Draw(g.w, 1), Draw((s.n, s.oh, s.ow, s.f), 3)
    into_x = Conv2DInputGradient(**g.attributes, shape=g.x)
    into_w = Conv2DKernelGradient(**g.attributes, shape=g.w)
    yield Case(f"conv2d_dx-{g.name}", into_x, (dy, w), tiny=tiny)
    yield Case(f"conv2d_dw-{g.name}", into_w, (x, dy), tiny=tiny)
    with_bias = dataclasses.replace(into_w, bias=True)
    yield Case(f"conv2d_dw-{g.name}-bias", with_bias, (x, dy), tiny=tiny)


def forward(g: Geometry, tiny: bool, activations: dict[str, int]):
    inputs = Draw(g.x), Draw(g.w, 1), Draw(g.w[3:], 2)
    yield Case(f"conv2d-{g.name}", Conv2D(**g.attributes), inputs[:2], tiny=tiny)
    for name, act in activations.items():
        op = Conv2D(**g.attributes, bias=True, act=act)
        yield Case(f"conv2d-{g.name}-bias_{name}", op, inputs, tiny=tiny)


def pooled(g: Geometry, window: tuple[int, int]):
    inputs = Draw(g.x), Draw(g.w, 1), Draw(g.w[3:], 2)
    tail = {"ph": window[0], "pw": window[1]}
    for name, pool in POOLS.items():
        op = Conv2D(**g.attributes, bias=True, act=g.act, pool=pool, **tail)
        yield Case(f"conv2d-{g.name}-{name}", op, inputs, tiny=False)
    op = Conv2D(**g.attributes, pool=MAX_POOL_INDEXED, **tail)
    yield Case(f"conv2d-{g.name}-indices_only", op, inputs[:2], tiny=False)
    s, tail = op.geometry(g.x, g.w), tail | {"pool": MAX_POOL_INDEXED}
    dy = Draw((s.n, s.oh // s.ph, s.ow // s.pw, s.f), 3)
    winners = np.random.default_rng(4).integers(0, s.ph * s.pw, dy.shape)
    winners = winners.astype(window_index_dtype(s.ph * s.pw))
    for bias in (False, True):
        op = Conv2DKernelGradient(**g.attributes, bias=bias, **tail, shape=g.w)
        name = f"conv2d_dw-{g.name}" + "-bias" * bias
        yield Case(name, op, (inputs[0], dy, winners), tiny=False)


def pooled_nan():
    """A NaN in a window wins it. Too few channels for Winograd, which spreads it over a tile."""
    x = normal(4, 8, 8, 11)
    x[1, 3, 2, 3], x[0, 0, 7, 10] = float("nan"), float("inf")
    inputs = x, Draw((3, 3, 11, 16), 1), Draw((16,), 2)
    for name, pool in POOLS.items():
        op = Conv2D(padding="same", bias=True, act=RELU, pool=pool, ph=2, pw=2)
        yield Case(f"conv2d-pooled_nan-{name}", op, inputs, tiny=False)


def convolutions():
    for g in TINY:
        yield from forward(g, True, NORM_ACTIVATIONS)
        yield from gradients(g, True)
    for g, tiny in [(g, True) for g in TINY_TILES] + [(g, False) for g in LARGE]:
        yield from forward(g, tiny, {n: a for n, a in TAIL_ACTIVATIONS.items() if a == g.act})
        yield from gradients(g, tiny)
    for g, window in POOLED:
        yield from pooled(g._replace(name=f"pooled_{g.name}"), window)
    yield from pooled_nan()
    x = normal(1, 6, 7, 32)
    x[0, 2, 2, 3], x[0, 0, 4, 31] = float("nan"), float("inf")
    op = Conv2D(padding="same", groups=8, bias=True, act=RELU)
    inputs = x, Draw((3, 3, 4, 32), 1), Draw((32,), 2)
    yield Case("conv2d-nan-groups", op, inputs, tiny=False)
    x = normal(1, 5, 5, 17)
    x[0, 2, 2, 3], x[0, 0, 4, 16] = float("nan"), float("inf")
    op = Conv2D(padding="same", bias=True, act=RELU)
    inputs = (x, Draw((3, 3, 17, 16), 1), Draw((16,), 2))
    yield Case("conv2d-nan", op, inputs, tiny=False)


CASES = list(convolutions())
