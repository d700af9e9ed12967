"""Dense layers: y = x w + b, with relu where it follows at once."""

from op_cases.case import PASSES, Case

# network, rows, inputs, outputs, relu
ROWS = [
    ("lenet", 4096, 400, 120, False),
    ("convnet", 1024, 1600, 10, False),
    ("mlp", 512, 784, 512, True),
    ("alexnet", 128, 9216, 1024, True),
    ("vgg16", 64, 4096, 4096, True),
    ("resnet50", 256, 2048, 1000, False),
    ("mobilenet", 128, 1280, 1000, False),
    ("seed", 16, 16384, 1000, False),
    ("one row", 1, 4096, 1000, False),
    ("odd", 333, 555, 77, False),
]


def cases():
    for net, m, k, n, relu in ROWS:
        args = {"m": m, "k": k, "n": n, "relu": relu}
        for what in "f" if m == 1 else "fxw":
            yield Case(f"{net} {m}x{k}x{n}", "dense", "dense", PASSES[what], args)
