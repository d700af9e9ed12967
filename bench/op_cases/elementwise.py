"""Activations, losses, and what moves or joins maps."""

from op_cases.case import PASSES, Case, text

ACTIVATIONS = [
    ("alexnet", (8, 55, 55, 64), "relu"),
    ("lenet", (128, 28, 28, 6), "sigmoid"),
    ("efficientnet", (8, 56, 56, 144), "silu"),
    ("mobilenet", (8, 56, 56, 144), "relu6"),
    ("mobilenet3", (8, 56, 56, 72), "hard_silu"),
    ("convnext", (8, 14, 14, 1536), "gelu"),
    ("unet", (4, 128, 128, 64), "leaky_relu"),
    ("odd", (16, 31, 31, 33), "tanh"),
    ("odd", (16, 31, 31, 33), "elu"),
]
LOSSES = [("lenet", 4096, 10), ("resnet50", 256, 1000), ("unet", 32768, 21), ("odd", 777, 77)]
SUMS = [
    ("resnet20", (128, 32, 32, 16)),
    ("resnet50", (8, 56, 56, 256)),
    ("resnet50", (16, 7, 7, 2048)),
]


def cases():
    for net, x, function in ACTIVATIONS:
        for what in "fb":
            args = {"x": list(x), "function": function}
            name = f"{net} {text(x)} {function}"
            yield Case(name, "activation", "activation", PASSES[what], args)
    for net, rows, classes in LOSSES:
        name = f"{net} {rows}x{classes} softmax and cross-entropy"
        yield Case(name, "loss", "crossentropy", "both", {"rows": rows, "classes": classes})
    for net, x in SUMS:
        name = f"{net} {text(x)} add relu"
        yield Case(name, "elementwise", "add_relu", "forward", {"x": list(x)})
    x = [8, 28, 28, 240]
    yield Case(f"efficientnet {text(x)} squeeze scale", "elementwise", "scale", "forward", {"x": x})
    for net, x in (("convnet", [128, 5, 5, 64]), ("alexnet", [128, 1, 1, 9216])):
        yield Case(f"{net} {text(x)} dropout", "elementwise", "dropout", "forward", {"x": x})
    for net, x, others in (
        ("inception", [8, 35, 35, 64], [64, 96, 32]),
        ("unet", [2, 128, 128, 64], [64]),
        ("densenet", [16, 28, 28, 128], [32]),
    ):
        args = {"x": x, "others": others}
        name = f"{net} {text(x)} concat with {text(others)}"
        yield Case(name, "elementwise", "concat", "forward", args)
    for net, x in (("unet", [4, 64, 64, 64]), ("fpn", [8, 28, 28, 256])):
        for what in "fb":
            name = f"{net} {text(x)} upsampling"
            yield Case(name, "elementwise", "upsampling", PASSES[what], {"x": x})
