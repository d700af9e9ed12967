"""Convolutions and matrix products at the edges: shapes that a blocked kernel gets wrong first."""

from nbcnn.ops.conv import window_output
from nbcnn.ops.conv_spec import RELU, SIGMOID, TANH, Conv2DSpec, MatmulSpec


def conv(n, h, w, c, f, kernel=(3, 3), stride=(1, 1), pad="valid", dil=(1, 1), groups=1, **tail):
    """Spec of images (n, h, w, c) and `f` filters; `pad` as in `ops.conv`."""
    pads = (pad, pad) if isinstance(pad, str) else pad
    oh, pt, _ = window_output(h, kernel[0], stride[0], pads[0], dil[0])
    ow, pl, _ = window_output(w, kernel[1], stride[1], pads[1], dil[1])
    return Conv2DSpec(
        n, h, w, c, f, *kernel, groups, oh, ow, *stride, *dil, pt, pl,
        int(tail.get("bias", 0)), tail.get("act", 0),
    )  # fmt: skip


CONVOLUTIONS = {
    "one_number": conv(1, 1, 1, 1, 1, (1, 1)),
    "lenet_first": conv(2, 28, 28, 1, 6, (5, 5), pad="same", bias=1, act=SIGMOID),
    "lenet_second": conv(3, 14, 14, 6, 16, (5, 5), bias=1, act=SIGMOID),
    "odd_sizes": conv(2, 9, 11, 5, 7, (5, 3), pad="same", bias=1, act=RELU),
    "one_filter": conv(1, 5, 5, 33, 1, pad="same", bias=1, act=TANH),
    "kernel_covers_map": conv(3, 3, 3, 24, 40, pad="same"),
    "map_of_one": conv(5, 1, 1, 20, 10, (1, 1), bias=1),
    "wide_kernel": conv(2, 5, 23, 2, 3, (1, 7), (1, 3), "same"),
    "stride_two": conv(2, 10, 11, 16, 32, stride=(2, 2), pad="same", bias=1, act=RELU),
    "stride_over_kernel": conv(2, 11, 10, 4, 4, (2, 2), (3, 4)),
    "dilation": conv(2, 13, 14, 4, 5, pad="same", dil=(2, 3), bias=1),
    "stride_and_dilation": conv(2, 14, 13, 6, 4, stride=(2, 3), pad=((3, 2), (1, 4)), dil=(2, 1)),
    "more_padding_than_kernel": conv(1, 7, 6, 3, 20, pad=((5, 4), (4, 7)), bias=1),
    "only_padding": conv(1, 3, 3, 8, 8, stride=(4, 4), pad=((6, 6), (6, 6))),
    "cropping": conv(2, 9, 9, 7, 9, pad=((-2, 1), (1, -1)), bias=1),
    "pointwise": conv(3, 6, 6, 17, 33, (1, 1), bias=1, act=RELU),
    "pointwise_stride": conv(2, 8, 9, 16, 16, (1, 1), (2, 2)),
    "many_channels": conv(1, 4, 4, 700, 40, (2, 2), bias=1),
    "many_pixels": conv(9, 33, 31, 3, 8, pad="same", bias=1),
    "groups": conv(2, 9, 9, 6, 12, pad="same", groups=3, bias=1, act=TANH),
    "wide_groups": conv(2, 6, 6, 40, 80, stride=(2, 1), pad="same", groups=5, bias=1),
    "depth_multiplier": conv(2, 7, 7, 4, 12, pad="same", groups=4, bias=1, act=RELU),
    "depthwise": conv(2, 12, 13, 35, 35, pad="same", groups=35, bias=1, act=RELU),
    "depthwise_narrow": conv(3, 8, 7, 3, 3, pad="same", groups=3, act=SIGMOID),
    "depthwise_stride": conv(2, 20, 21, 19, 19, (7, 5), (2, 3), "same", groups=19, bias=1),
    "depthwise_padding": conv(
        2, 8, 8, 16, 16, pad=((4, 4), (4, 4)), dil=(3, 3), groups=16, bias=1, act=TANH
    ),
    "depthwise_cropping": conv(2, 10, 9, 5, 5, stride=(2, 1), pad=((-2, 0), (-1, -2)), groups=5),
    "depthwise_large": conv(2, 40, 50, 40, 40, pad="same", groups=40, bias=1),
}

_SIZES = (
    (1, 1, 1), (3, 5, 7), (17, 33, 65), (64, 10, 400), (9, 257, 129), (70, 1, 20), (7, 40, 2500),
)  # fmt: skip
MATMULS = {
    f"{m}x{n}x{k}{'_tx' * tx}{'_tw' * tw}": MatmulSpec(
        m, n, k, tx, tw, bias=(m + tx) % 2, act=(n + tw) % 4
    )
    for m, n, k in _SIZES
    for tx in (0, 1)
    for tw in (0, 1)
} | {
    "batch": MatmulSpec(5, 6, 7, batch=3),
    "batch_shared_x": MatmulSpec(5, 20, 7, tw=1, batch=3, xb=0),
    "batch_shared_w": MatmulSpec(18, 20, 33, tx=1, batch=2, wb=0, bias=1, act=RELU),
}
