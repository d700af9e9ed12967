"""ResNet-18 and MobileNetV2 in PyTorch, with random weights, as ONNX files: run where PyTorch is.

    python models/to_onnx.py resnet18 resnet18.onnx [--size 56] [--width 1.0] [--classes 10]

Beside the file, `resnet18.npz` holds random images, `x`, and what the network makes of them, `y`:
by ONNX Runtime where it is installed, else by PyTorch. `from_onnx.py` compares with it.
Batch normalization stays in the file as it is, so that the network can be trained further.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn


def normalized(channels, filters, kernel, stride=1, **options):
    """A convolution without bias and its batch normalization."""
    padding = kernel // 2
    conv = nn.Conv2d(channels, filters, kernel, stride, padding, bias=False, **options)
    return [conv, nn.BatchNorm2d(filters)]


class Residual(nn.Module):
    """Two convolutions beside a straight way, or beside a convolution where sizes change."""

    def __init__(self, channels, filters, stride):
        super().__init__()
        self.body = nn.Sequential(
            *normalized(channels, filters, 3, stride), nn.ReLU(), *normalized(filters, filters, 3)
        )
        straight = stride == 1 and channels == filters
        shortcut = [] if straight else normalized(channels, filters, 1, stride)
        self.shortcut = nn.Sequential(*shortcut)
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(self.shortcut(x) + self.body(x))


class Inverted(nn.Module):
    """Expansion, depthwise convolution, projection; added to the input where sizes allow."""

    def __init__(self, channels, filters, stride, factor):
        super().__init__()
        wide = channels * factor
        parts = [] if factor == 1 else [*normalized(channels, wide, 1), nn.ReLU6()]
        parts += [*normalized(wide, wide, 3, stride, groups=wide), nn.ReLU6()]
        self.body = nn.Sequential(*parts, *normalized(wide, filters, 1))
        self.straight = stride == 1 and channels == filters

    def forward(self, x):
        return x + self.body(x) if self.straight else self.body(x)


def head(channels, classes):
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]


def resnet18(width=1.0, classes=1000):
    """K. He et al., "Deep residual learning for image recognition" (2015)."""
    first = max(2, int(64 * width))
    parts = [*normalized(3, first, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = first
    for stage in range(4):
        for block in range(2):
            parts.append(Residual(channels, first << stage, 2 if stage and not block else 1))
            channels = first << stage
    return nn.Sequential(*parts, *head(channels, classes))


def mobilenetv2(width=1.0, classes=1000):
    """M. Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks" (2018)."""

    def scaled(filters):
        return max(4, int(filters * width + 2) // 4 * 4)

    channels = scaled(32)
    parts = [*normalized(3, channels, 3, 2), nn.ReLU6()]
    for factor, filters, blocks, stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):  # fmt: skip
        for block in range(blocks):
            parts.append(Inverted(channels, scaled(filters), 1 if block else stride, factor))
            channels = scaled(filters)
    last = scaled(1280)
    parts += [*normalized(channels, last, 1), nn.ReLU6()]
    return nn.Sequential(*parts, *head(last, classes))


BUILDERS = {"resnet18": resnet18, "mobilenetv2": mobilenetv2}


def export(net, shape, file, fixed=False):
    """Write the network in evaluation mode, its statistics as if it had been trained; `fixed`: for
    this number of samples only.
    """
    for part in net.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.running_mean.uniform_(-0.3, 0.3)
            part.running_var.uniform_(0.5, 1.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.eval(), (torch.randn(shape),), file, dynamo=False, opset_version=17,
            input_names=["x"], output_names=["y"], training=torch.onnx.TrainingMode.PRESERVE,
            dynamic_axes=None if fixed else {"x": {0: "n"}, "y": {0: "n"}},
        )  # fmt: skip


def expected(net, file, x):
    """What the network makes of x, and by which runtime."""
    try:
        import onnxruntime
    except ImportError:
        with torch.inference_mode():
            return net(torch.from_numpy(x)).numpy(), f"PyTorch {torch.__version__}"
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0], f"ONNX Runtime {onnxruntime.__version__}"


def main():
    parser = argparse.ArgumentParser(description="Export a network with random weights.")
    parser.add_argument("network", choices=BUILDERS)
    parser.add_argument("file", type=Path)
    parser.add_argument("--size", type=int, default=56, help="of images, default: %(default)s")
    parser.add_argument("--width", type=float, default=1.0, help="default: %(default)s")
    parser.add_argument("--classes", type=int, default=1000, help="default: %(default)s")
    args = parser.parse_args()
    torch.manual_seed(0)
    net = BUILDERS[args.network](args.width, args.classes)
    shape = (2, 3, args.size, args.size)
    export(net, shape, str(args.file))
    x = (np.random.default_rng(0).integers(0, 256, shape) / 256).astype("float32")
    y, by = expected(net, str(args.file), x)
    np.savez_compressed(args.file.with_suffix(".npz"), x=x, y=y, by=by)
    print(f"{args.file}: {args.file.stat().st_size:,} bytes, expected outputs by {by}")


if __name__ == "__main__":
    main()
