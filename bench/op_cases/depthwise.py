"""Depthwise convolutions: 3x3, 5x5 and 7x7, at strides 1 and 2."""

from op_cases.case import convolution

# network, input, window, stride
ROWS = [
    ("mobilenet", (8, 112, 112, 32), 3, 1),
    ("mobilenet", (8, 112, 112, 96), 3, 2),
    ("mobilenet", (16, 56, 56, 144), 3, 1),
    ("mobilenet", (16, 14, 14, 384), 3, 1),
    ("mobilenet", (32, 7, 7, 960), 3, 1),
    ("efficientnet", (8, 56, 56, 144), 5, 2),
    ("efficientnet", (16, 28, 28, 240), 5, 1),
    ("efficientnet", (16, 14, 14, 672), 5, 1),
    ("convnext", (8, 56, 56, 96), 7, 1),
    ("convnext", (16, 14, 14, 384), 7, 1),
    ("odd", (8, 45, 37, 50), 3, 1),
]


def cases():
    for net, x, window, stride in ROWS:
        options = {"stride": stride, "groups": x[3]}
        yield from convolution(net, "depthwise", "fxw", x, x[3], window, **options)
