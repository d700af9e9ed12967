"""Operations of `model_set_more.py`: over one axis and three, transposed, widely dilated, depthwise
with large windows, after upscaling and with halving, normalization over channels and of global
responses, and gelu.
"""

from op_cases.case import PASSES, Case, convolution, text

# network, passes, input, filters, kernel, stride, dilation; padding as "same" has it
ALONG = [
    ("m5", "fw", (32, 8000, 1), 128, 80, 4, 1),
    ("m5", "fxw", (32, 500, 128), 128, 3, 1, 1),
    ("m5", "fxw", (32, 31, 256), 512, 3, 1, 1),
    ("tcn", "fxw", (32, 784, 25), 25, 7, 1, 1),
    ("tcn", "fxw", (32, 784, 25), 25, 7, 1, 16),
    ("wavenet", "fxw", (8, 2048, 32), 32, 3, 1, 64),
    ("ecg", "fxw", (32, 1024, 64), 64, 16, 1, 1),
    ("voxnet", "fw", (32, 32, 32, 32, 1), 32, 5, 2, 1),
    ("voxnet", "fxw", (32, 14, 14, 14, 32), 32, 3, 1, 1),
    ("c3d", "fw", (4, 8, 56, 56, 3), 64, 3, 1, 1),
    ("c3d", "fxw", (4, 8, 28, 28, 64), 128, 3, 1, 1),
    ("c3d", "fxw", (4, 4, 14, 14, 256), 256, 3, 1, 1),
    ("c3d", "fxw", (4, 2, 7, 7, 512), 512, 3, 1, 1),
]
# network, passes, input, filters, kernel, stride
TRANSPOSED = [
    ("dcgan", "fxw", (16, 4, 4, 1024), 512, 5, 2),
    ("dcgan", "fxw", (16, 16, 16, 256), 128, 5, 2),
    ("dcgan", "fxw", (16, 32, 32, 128), 3, 5, 2),
    ("unet", "fxw", (8, 64, 64, 32), 16, 2, 2),
    ("anomaly", "fxw", (128, 144, 16), 32, 7, 2),
    ("unet3d", "fxw", (2, 8, 16, 16, 64), 32, 2, 2),
    ("unet3d", "fxw", (2, 8, 16, 16, 32), 32, 3, 1),
]
# network, input, filters, kernel, options of a convolution of images
IMAGES = [
    ("deeplab", (4, 32, 32, 128), 128, 3, {"dilation": 6}),
    ("deeplab", (4, 32, 32, 128), 128, 3, {"dilation": 12}),
    ("replknet", (8, 28, 28, 128), 128, 13, {"groups": 128}),
    ("replknet", (8, 14, 14, 256), 256, 13, {"groups": 256}),
    ("resnext", (16, 28, 28, 128), 128, 3, {"groups": 32}),
    ("resnet18", (16, 112, 112, 3), 64, 7, {"stride": 2}),
]
# input, filters: upscaled by 2 before the convolution; halved by its stride, or by a pool behind it
UPSCALED = [((8, 32, 32, 64), 32), ((8, 16, 16, 256), 128)]
HALVED = [((16, 32, 32, 64), 64), ((16, 56, 56, 128), 128)]


def along(net, passes, x, filters, kernel, stride, dilation=1, transposed=False):
    """Convolutions over all axes but the first and the last, with the same sizes along each."""
    rank = len(x) - 2
    args = {
        "x": list(x), "filters": filters, "kernel": [kernel] * rank, "stride": [stride] * rank,
        "dilation": [dilation] * rank, "transposed": transposed,
    }  # fmt: skip
    more = f" s{stride}" if stride > 1 else ""
    more += f" d{dilation}" if dilation > 1 else ""
    family = "transposed" if transposed else f"convolution, {'volumes' if rank == 3 else 'lines'}"
    name = f"{net} {text(x)}>{filters} {'transposed ' * transposed}{text([kernel] * rank)}{more}"
    return [Case(name, family, "along", PASSES[p], args) for p in passes]


def cases():
    for row in ALONG:
        yield from along(*row)
    for row in TRANSPOSED:
        yield from along(*row, transposed=True)
    for net, x, filters, kernel, options in IMAGES:
        passes = "fw" if x[3] == 3 else "fxw"
        family = "depthwise, large" if "groups" in options else "convolution, other"
        family = "convolution, grouped" if options.get("groups") == 32 else family
        yield from convolution(net, family, passes, x, filters, kernel, **options)
    for net, x in (("convnext", [8, 32, 32, 96]), ("convnext", [8, 8, 8, 384])):
        for what in "fb":
            name = f"{net} {text(x)} layernorm"
            yield Case(name, "normalization", "layernorm", PASSES[what], {"x": x})
    for x in ([8, 56, 56, 160], [16, 14, 14, 640], [32, 7, 7, 1280]):
        for what in "fb":
            name = f"convnext v2 {text(x)} global response"
            yield Case(name, "normalization", "global_response", PASSES[what], {"x": x})
    for x, filters in UPSCALED:
        for what in "fb":
            args = {"x": list(x), "filters": filters, "kernel": 3}
            name = f"decoder {text(x)}>{filters} upscaled 3x3"
            yield Case(name, "transposed", "upsample_conv", PASSES[what], args)
    for x, filters in HALVED:
        for pool, way in ((False, "stride 2"), (True, "and max pool")):
            for what in "fb":
                args = {"x": list(x), "filters": filters, "kernel": 3, "pool": pool}
                name = f"halved {text(x)}>{filters} 3x3 {way}"
                yield Case(name, "halving", "downsampling", PASSES[what], args)
    x = [8, 32, 32, 384]
    for function in ("gelu", "tanh"):
        for what in "fb":
            args = {"x": x, "function": function}
            name = f"convnext {text(x)} {function}"
            yield Case(name, "activation", "activation", PASSES[what], args)
