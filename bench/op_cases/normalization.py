"""Batch normalization of training, alone or with relu, and layer normalization."""

from op_cases.case import PASSES, Case, text

# network, input, relu
BATCH = [
    ("resnet50", (8, 112, 112, 64), True),
    ("resnet50", (8, 56, 56, 256), False),
    ("resnet50", (16, 14, 14, 1024), False),
    ("resnet20", (128, 32, 32, 16), True),
    ("vgg32", (64, 16, 16, 128), True),
    ("mobilenet", (16, 56, 56, 144), True),
    ("mobilenet", (16, 7, 7, 1280), True),
    ("odd", (16, 31, 31, 35), True),
]
LAYER = [
    ("convnext", (8, 56, 56, 96)),
    ("convnext", (16, 14, 14, 384)),
    ("convnext", (32, 7, 7, 768)),
]


def cases():
    for net, x, relu in BATCH:
        name = f"{net} {text(x)} batchnorm{' relu' if relu else ''}"
        for what in "fb":
            args = {"x": list(x), "relu": relu}
            yield Case(name, "normalization", "batchnorm", PASSES[what], args)
    for net, x in LAYER:
        for what in "fb":
            name = f"{net} {text(x)} layernorm"
            yield Case(name, "normalization", "layernorm", PASSES[what], {"x": list(x)})
