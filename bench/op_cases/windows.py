"""Operations over windows and neighbours beyond the usual ones: locally connected maps, recorded
pools and the way back, local response normalization, borders.
"""

from op_cases.case import PASSES, Case, text

# network, input, filters, window, stride
LOCAL = [
    ("deepface", (32, 25, 25, 16), 16, 9, 1),
    ("deepface", (32, 21, 21, 16), 16, 7, 2),
    ("cifar", (32, 13, 13, 64), 32, 3, 1),
]
# network, image, window, stride
POOLS = [("segnet", (8, 56, 56, 64), 2, 2), ("segnet", (8, 28, 28, 128), 2, 2)]
RESPONSES = [("alexnet", (16, 55, 55, 96)), ("alexnet", (16, 27, 27, 256))]
# network, map, border, mode
BORDERS = [
    ("cyclegan", (4, 128, 128, 32), 3, "reflect"),
    ("cyclegan", (8, 64, 64, 128), 1, "reflect"),
    ("resnet", (16, 56, 56, 64), 1, "edge"),
    ("weather", (8, 64, 128, 16), 2, "circular"),
    ("resnet", (16, 56, 56, 64), 1, "mean"),
]


def cases():
    for net, x, filters, window, stride in LOCAL:
        args = {"x": list(x), "filters": filters, "window": window, "stride": stride}
        name = f"{net} {text(x)}>{filters} local {window}x{window}" + " s2" * (stride == 2)
        for what in "fxw":
            yield Case(name, "locally connected", "local", PASSES[what], args)
    for net, x, window, stride in POOLS:
        args = {"x": list(x), "window": window, "stride": stride, "pad": 0}
        yield Case(f"{net} {text(x)} recorded", "unpooling", "recorded", "forward", args)
        for what in "fb":
            yield Case(f"{net} {text(x)} unpool", "unpooling", "unpool", PASSES[what], args)
    for net, x in RESPONSES:
        for what in "fb":
            name = f"{net} {text(x)} lrn"
            yield Case(name, "local response", "response", PASSES[what], {"x": list(x)})
    for net, x, border, mode in BORDERS:
        args = {"x": list(x), "border": border, "mode": mode}
        for what in "fb":
            yield Case(f"{net} {text(x)} {mode} {border}", "borders", "border", PASSES[what], args)
