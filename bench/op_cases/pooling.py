"""Maximum, mean and global pooling. Maxima keep their indices, as in training."""

from op_cases.case import PASSES, Case, text

# network, input, window, stride, padding
MAXIMA = [
    ("alexnet", (8, 55, 55, 64), 3, 2, 0),
    ("vgg16", (4, 112, 112, 128), 2, 2, 0),
    ("vgg32", (64, 32, 32, 64), 2, 2, 0),
    ("resnet50", (8, 112, 112, 64), 3, 2, 1),
    ("inception", (8, 147, 147, 64), 3, 2, 0),
    ("convnet", (128, 26, 26, 32), 2, 2, 0),
    ("odd", (16, 37, 29, 20), 3, 2, 1),
    ("seed", (8, 128, 128, 64), 4, 4, 0),
]
MEANS = [
    ("lenet", (512, 28, 28, 6), 2, 2, 0),
    ("inception", (8, 35, 35, 192), 3, 1, 1),
    ("densenet", (16, 28, 28, 256), 2, 2, 0),
]
GLOBAL = [("resnet50", (32, 7, 7, 2048)), ("mobile", (32, 12, 12, 256))]


def cases():
    for kind, rows in (("maxpool", MAXIMA), ("avgpool", MEANS)):
        for net, x, window, stride, pad in rows:
            name = f"{net} {text(x)} {kind} {window}x{window} s{stride}"
            args = {"x": list(x), "window": window, "stride": stride, "pad": pad}
            for what in "fb":
                yield Case(name, "pooling", kind, PASSES[what], args)
    for net, x in GLOBAL:
        args = {"x": list(x)}
        yield Case(f"{net} {text(x)} global mean", "pooling", "global_mean", "forward", args)
