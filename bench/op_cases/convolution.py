"""Dense convolutions of eight networks, and odd ones. Bias where the network has one, relu where it
follows at once; in the backward passes the bias's gradient goes with the weights'.
"""

from op_cases.case import convolution

BIAS, RELU = {"bias": True}, {"bias": True, "relu": True}

# 3x3, stride 1, 32 channels and more: the home of Winograd.
WIDE_3X3 = [
    ("alexnet", "fxw", (8, 13, 13, 192), 384, RELU),
    ("vgg16", "fxw", (1, 224, 224, 64), 64, RELU),
    ("vgg16", "fxw", (2, 56, 56, 128), 256, RELU),
    ("vgg16", "fxw", (2, 28, 28, 256), 512, RELU),
    ("vgg16", "fxw", (4, 14, 14, 512), 512, RELU),
    ("inception", "fxw", (8, 35, 35, 64), 96, {}),
    ("resnet50", "fxw", (8, 56, 56, 64), 64, {}),
    ("resnet50", "fxw", (8, 28, 28, 128), 128, {}),
    ("resnet50", "fxw", (8, 14, 14, 256), 256, {}),
    ("resnet50", "fxw", (16, 7, 7, 512), 512, {}),
    ("unet", "fxw", (1, 128, 128, 128), 64, RELU),
    ("vgg32", "fxw", (64, 32, 32, 64), 64, BIAS),
    ("resnet20", "fxw", (128, 16, 16, 32), 32, {}),
    ("one image", "f", (1, 56, 56, 64), 64, BIAS),
    ("one image", "f", (1, 7, 7, 512), 512, BIAS),
]

# network, passes, input, filters, kernel, options
OTHERS = [
    # first layers
    ("alexnet", "fw", (8, 224, 224, 3), 64, 11, {"stride": 4, "pad": 2, **RELU}),
    ("vgg16", "fw", (4, 224, 224, 3), 64, 3, RELU),
    ("resnet50", "fw", (8, 224, 224, 3), 64, 7, {"stride": 2}),
    ("mobilenet", "fw", (16, 224, 224, 3), 32, 3, {"stride": 2, "pad": 1}),
    ("convnext", "fw", (8, 224, 224, 3), 96, 4, {"stride": 4, "pad": 0, **BIAS}),
    ("lenet", "fw", (128, 28, 28, 1), 6, 5, BIAS),
    ("convnet", "fw", (128, 28, 28, 1), 32, 3, {"pad": 0, **RELU}),
    # few channels
    ("lenet", "fxw", (128, 14, 14, 6), 16, 5, {"pad": 0, **BIAS}),
    ("resnet20", "fxw", (128, 32, 32, 16), 16, 3, {}),
    ("resnet20", "fxw", (128, 32, 32, 16), 32, 3, {"stride": 2}),
    ("unet", "fxw", (2, 256, 256, 64), 2, 1, BIAS),
    # larger windows
    ("alexnet", "fxw", (4, 27, 27, 64), 192, 5, RELU),
    ("inception", "fxw", (8, 35, 35, 48), 64, 5, {}),
    ("inception", "fxw", (8, 17, 17, 128), 192, (1, 7), {}),
    ("inception", "fxw", (8, 17, 17, 192), 192, (7, 1), {}),
    # strides
    ("inception", "fxw", (4, 35, 35, 288), 384, 3, {"stride": 2, "pad": 0}),
    ("resnet50", "fxw", (8, 56, 56, 128), 128, 3, {"stride": 2}),
    ("resnet50", "fxw", (16, 14, 14, 512), 512, 3, {"stride": 2}),
    ("resnet50", "fxw", (8, 56, 56, 256), 512, 1, {"stride": 2}),
    ("convnext", "fxw", (8, 56, 56, 96), 192, 2, {"stride": 2, "pad": 0, **BIAS}),
    # 1x1
    ("resnet50", "fxw", (8, 56, 56, 64), 256, 1, {}),
    ("resnet50", "fxw", (8, 28, 28, 512), 128, 1, {}),
    ("resnet50", "fxw", (16, 14, 14, 1024), 256, 1, {}),
    ("resnet50", "fxw", (16, 7, 7, 512), 2048, 1, {}),
    ("mobilenet", "fxw", (8, 112, 112, 32), 16, 1, {}),
    ("mobilenet", "fxw", (16, 56, 56, 24), 144, 1, {}),
    ("mobilenet", "fxw", (16, 14, 14, 384), 64, 1, {}),
    ("mobilenet", "fxw", (16, 7, 7, 320), 1280, 1, {}),
    ("efficientnet", "fxw", (16, 14, 14, 672), 112, 1, {}),
    ("convnext", "fxw", (8, 14, 14, 384), 1536, 1, BIAS),
    # groups, dilation, odd sizes
    ("resnext", "fxw", (8, 56, 56, 128), 128, 3, {"groups": 32}),
    ("resnext", "fxw", (8, 28, 28, 256), 256, 3, {"groups": 32}),
    ("resnext", "fxw", (8, 56, 56, 256), 256, 3, {"groups": 32, "stride": 2}),
    ("resnext", "fxw", (8, 14, 14, 512), 512, 3, {"groups": 32}),
    ("grouped", "fxw", (32, 28, 28, 64), 64, 3, {"groups": 4}),
    ("grouped", "fxw", (16, 28, 28, 100), 100, 3, {"groups": 50}),
    ("multiplier", "fxw", (8, 56, 56, 32), 64, 3, {"groups": 32}),
    ("dilated", "fxw", (16, 28, 28, 64), 64, 3, {"dilation": 2}),
    ("odd", "fxw", (64, 17, 13, 5), 7, 3, {}),
    ("odd", "fxw", (16, 31, 31, 33), 35, 3, {}),
    ("odd", "fxw", (16, 29, 37, 20), 50, 3, {"stride": 2}),
    ("odd", "fxw", (8, 41, 41, 10), 30, 4, {"stride": 3, "pad": 0}),
    ("odd", "fxw", (16, 19, 23, 100), 60, 1, {}),
]


def family(kernel, options):
    if options.get("groups", 1) > 1:
        return "convolution, grouped"
    return "convolution 1x1" if kernel == 1 and "stride" not in options else "convolution, other"


def cases():
    for net, passes, x, filters, options in WIDE_3X3:
        yield from convolution(net, "convolution 3x3", passes, x, filters, 3, **options)
    for net, passes, x, filters, kernel, options in OTHERS:
        kind = family(kernel, options)
        yield from convolution(net, kind, passes, x, filters, kernel, **options)
