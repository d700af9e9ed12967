"""Networks in PyTorch at the sizes of the literature, with random weights, as ONNX files.

    python onnx_networks.py FOLDER NAME...

Writes FOLDER/NAME.onnx for the batch of `onnx_models.py` and FOLDER/NAME.one.onnx for one sample.
Batch normalization stays as it is; what imports the file folds it.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from onnx_settings import SETTINGS
from torch import nn

sys.path.append(str(Path(__file__).resolve().parents[1] / "models"))

from to_onnx import Residual, export, head, mobilenetv2, normalized, resnet18


def conv_relu(channels, filters, kernel, stride=1, **options):
    return nn.Sequential(*normalized(channels, filters, kernel, stride, **options), nn.ReLU())


class UNet(nn.Module):
    """Ronneberger et al. 2015, padded, with half as many channels."""

    def __init__(self, width=32, depth=4, classes=2):
        super().__init__()

        def twice(channels, filters):
            return nn.Sequential(conv_relu(channels, filters, 3), conv_relu(filters, filters, 3))

        sizes = [width << level for level in range(depth + 1)]
        self.down = nn.ModuleList(twice(a, b) for a, b in zip([3, *sizes], sizes))
        self.wider = nn.ModuleList(
            nn.ConvTranspose2d(2 * size, size, 2, 2) for size in reversed(sizes[:-1])
        )
        self.up = nn.ModuleList(twice(2 * size, size) for size in reversed(sizes[:-1]))
        self.last = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        kept = []
        for index, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if index else x)
            kept.append(x)
        kept.pop()
        for wider, block in zip(self.wider, self.up):
            x = block(torch.cat([kept.pop(), wider(x)], 1))
        return torch.softmax(self.last(x), 1)


class Branches(nn.Module):
    def __init__(self, *branches):
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*branch) for branch in branches)

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], 1)


def inception():
    """The stem and one module of each kind of Inception v3 (Szegedy et al. 2015)."""

    def cut(channels, filters, kernel, stride=1):
        conv = nn.Conv2d(channels, filters, kernel, stride, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(filters), nn.ReLU())

    def flat(channels, filters, kernel):
        padding = tuple(k // 2 for k in kernel)
        conv = nn.Conv2d(channels, filters, kernel, padding=padding, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(filters), nn.ReLU())

    def square(channels, pooled):
        return Branches(
            [conv_relu(channels, 64, 1)],
            [conv_relu(channels, 48, 1), conv_relu(48, 64, 5)],
            [conv_relu(channels, 64, 1), conv_relu(64, 96, 3), conv_relu(96, 96, 3)],
            [nn.AvgPool2d(3, 1, 1), conv_relu(channels, pooled, 1)],
        )

    def long(channels, inner):
        pairs = [(1, 7), (7, 1)] * 2
        deep = [conv_relu(channels, inner, 1)]
        deep += [flat(inner, inner, kernel) for kernel in pairs[1:]]
        return Branches(
            [conv_relu(channels, 192, 1)],
            [conv_relu(channels, inner, 1), flat(inner, inner, (1, 7)), flat(inner, 192, (7, 1))],
            [*deep, flat(inner, 192, (1, 7))],
            [nn.AvgPool2d(3, 1, 1), conv_relu(channels, 192, 1)],
        )

    smaller = Branches(
        [cut(288, 384, 3, 2)],
        [conv_relu(288, 64, 1), conv_relu(64, 96, 3), cut(96, 96, 3, 2)],
        [nn.MaxPool2d(3, 2)],
    )
    return nn.Sequential(
        cut(3, 32, 3, 2), cut(32, 32, 3), conv_relu(32, 64, 3), nn.MaxPool2d(3, 2),
        conv_relu(64, 80, 1), cut(80, 192, 3), nn.MaxPool2d(3, 2),
        square(192, 32), square(256, 64), smaller, long(768, 128), long(768, 192),
        *head(768, 1000),
    )  # fmt: skip


class Shuffled(nn.Module):
    def __init__(self, channels, filters, stride):
        super().__init__()
        half = filters // 2
        self.stride = stride
        source = channels if stride == 2 else half

        def deep(size):
            return normalized(size, size, 3, stride, groups=size)

        self.side = nn.Sequential(*deep(source), *normalized(source, half, 1), nn.ReLU())
        self.body = nn.Sequential(
            *normalized(source, half, 1), nn.ReLU(),
            *deep(half), *normalized(half, half, 1), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x):
        if self.stride == 2:
            y = torch.cat([self.side(x), self.body(x)], 1)
        else:
            left, right = x.chunk(2, 1)
            y = torch.cat([left, self.body(right)], 1)
        n, c, h, w = y.shape
        return y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def shufflenet():
    """ShuffleNet v2 1x (Ma et al. 2018)."""
    parts, channels = [conv_relu(3, 24, 3, 2), nn.MaxPool2d(3, 2, 1)], 24
    for filters, blocks in ((116, 4), (232, 8), (464, 4)):
        for block in range(blocks):
            parts.append(Shuffled(channels, filters, 1 if block else 2))
            channels = filters
    return nn.Sequential(*parts, conv_relu(464, 1024, 1), *head(1024, 1000))


class Scaled(nn.Module):
    """Block of ConvNeXt, as its authors write it: dense layers over channels last."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.wide = nn.Linear(channels, 4 * channels)
        self.narrow = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(torch.rand(channels))

    def forward(self, x):
        y = self.norm(self.conv(x).permute(0, 2, 3, 1))
        y = self.gamma * self.narrow(F.gelu(self.wide(y)))
        return x + y.permute(0, 3, 1, 2)


class ChannelsFirstNorm(nn.Module):
    """The arithmetic of ConvNeXt's normalization between stages."""

    def __init__(self, channels):
        super().__init__()
        self.weight, self.bias = (nn.Parameter(torch.rand(channels)) for _ in range(2))

    def forward(self, x):
        return F.layer_norm(
            x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, 1e-6
        ).permute(0, 3, 1, 2)


def convnext():
    """ConvNeXt with the sizes of "atto" (Liu et al. 2022; Wightman)."""
    sizes, depths = (40, 80, 160, 320), (2, 2, 6, 2)
    parts = [nn.Conv2d(3, 40, 4, 4), ChannelsFirstNorm(40)]
    for stage, (size, depth) in enumerate(zip(sizes, depths)):
        if stage:
            before = sizes[stage - 1]
            parts += [ChannelsFirstNorm(before), nn.Conv2d(before, size, 2, 2)]
        parts += [Scaled(size) for _ in range(depth)]
    return nn.Sequential(
        *parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(320), nn.Linear(320, 1000)
    )


def grouped():
    """Stages of ResNeXt 32x4d (Xie et al. 2016) in a shorter network."""

    class Block(nn.Module):
        def __init__(self, channels, filters, stride):
            super().__init__()
            inner = filters // 2
            self.body = nn.Sequential(
                *normalized(channels, inner, 1), nn.ReLU(),
                *normalized(inner, inner, 3, stride, groups=32), nn.ReLU(),
                *normalized(inner, filters, 1),
            )  # fmt: skip
            straight = stride == 1 and channels == filters
            self.side = nn.Sequential(
                *([] if straight else normalized(channels, filters, 1, stride))
            )

        def forward(self, x):
            return F.relu(self.body(x) + self.side(x))

    parts, channels = [conv_relu(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)], 64
    for stage, filters in enumerate((256, 512, 1024)):
        for block in range(2):
            parts.append(Block(channels, filters, 2 if stage and not block else 1))
            channels = filters
    return nn.Sequential(*parts, *head(channels, 1000))


class Dilated(nn.Module):
    """Short DeepLab v3 (Chen et al. 2017): dilated stages, a pyramid of dilations, upsampling."""

    def __init__(self, classes=21):
        super().__init__()
        self.body = nn.Sequential(
            conv_relu(3, 32, 3, 2), Residual(32, 64, 2), Residual(64, 128, 2),
            *(self.wide(128, 128, 2) for _ in range(2)),
        )  # fmt: skip
        rates = (6, 12, 18)
        self.pyramid = Branches(
            [conv_relu(128, 64, 1)], *([self.wide(128, 64, rate)] for rate in rates)
        )
        self.last = nn.Sequential(conv_relu(256, 64, 1), nn.Conv2d(64, classes, 1))

    @staticmethod
    def wide(channels, filters, rate):
        conv = nn.Conv2d(channels, filters, 3, padding=rate, dilation=rate, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(filters), nn.ReLU())

    def forward(self, x):
        y = self.last(self.pyramid(self.body(x)))
        return F.interpolate(y, scale_factor=8, mode="bilinear", align_corners=False)


class Upsampling(nn.Module):
    """Style transfer (Johnson et al. 2016): instance normalization, reflected pads, enlarging."""

    def __init__(self, width=32):
        super().__init__()

        def layer(channels, filters, kernel, stride=1):
            return nn.Sequential(
                nn.ReflectionPad2d(kernel // 2), nn.Conv2d(channels, filters, kernel, stride),
                nn.InstanceNorm2d(filters, affine=True),
            )  # fmt: skip

        self.down = nn.ModuleList(
            [layer(3, width, 9), layer(width, 2 * width, 3, 2), layer(2 * width, 4 * width, 3, 2)]
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(layer(4 * width, 4 * width, 3), nn.ReLU(), layer(4 * width, 4 * width, 3))
            for _ in range(3)
        )
        self.up = nn.ModuleList([layer(4 * width, 2 * width, 3), layer(2 * width, width, 3)])
        self.last = nn.Conv2d(width, 12, 3, padding=1)

    def forward(self, x):
        for part in self.down:
            x = F.relu(part(x))
        for block in self.blocks:
            x = x + block(x)
        x = F.relu(self.up[0](F.interpolate(x, scale_factor=2, mode="nearest")))
        x = F.relu(self.up[1](x))
        return F.pixel_shuffle(torch.tanh(self.last(x)), 2)


def sequence():
    """M11 (Dai et al. 2016): raw sound, one-dimensional convolutions."""

    def parts(channels, filters, count):
        found = []
        for index in range(count):
            conv = nn.Conv1d(channels if not index else filters, filters, 3, padding=1, bias=False)
            found += [conv, nn.BatchNorm1d(filters), nn.ReLU()]
        return found

    return nn.Sequential(
        nn.Conv1d(1, 64, 80, 4, bias=False), nn.BatchNorm1d(64), nn.ReLU(), nn.MaxPool1d(4),
        *parts(64, 64, 2), nn.MaxPool1d(4), *parts(64, 128, 2), nn.MaxPool1d(4),
        *parts(128, 256, 3), nn.MaxPool1d(4), *parts(256, 512, 2),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(512, 35),
    )  # fmt: skip


class Temporal(nn.Module):
    def __init__(self, channels, filters, rate):
        super().__init__()
        self.pad = nn.ConstantPad1d((2 * rate, 0), 0.0)
        self.first = nn.Conv1d(channels, filters, 3, dilation=rate)
        self.second = nn.Conv1d(filters, filters, 3, dilation=rate)
        self.side = nn.Identity() if channels == filters else nn.Conv1d(channels, filters, 1)

    def forward(self, x):
        y = F.relu(self.second(self.pad(F.relu(self.first(self.pad(x))))))
        return F.relu(y + self.side(x))


def sequential_dilated():
    """Temporal convolutional network (Bai et al. 2018)."""
    parts = [Temporal(64 if level else 8, 64, 2**level) for level in range(7)]
    return nn.Sequential(*parts, nn.Conv1d(64, 8, 1))


def decoder(width=64):
    """Generator of DCGAN (Radford et al. 2015), from its first map on."""
    parts = []
    for channels in (8 * width, 4 * width, 2 * width):
        conv = nn.ConvTranspose2d(channels, channels // 2, 4, 2, 1, bias=False)
        parts += [conv, nn.BatchNorm2d(channels // 2), nn.ReLU()]
    return nn.Sequential(*parts, nn.ConvTranspose2d(width, 3, 4, 2, 1), nn.Tanh())


def lenet():
    """LeNet-5 with relu and max pooling, probabilities at the end."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(),
        nn.Linear(84, 10), nn.LogSoftmax(1),
    )  # fmt: skip


def volume():
    """C3D (Tran et al. 2014), narrower, with batch normalization."""
    parts, channels = [], 1
    for filters in (16, 32, 64, 64):
        conv = nn.Conv3d(channels, filters, 3, padding=1, bias=False)
        parts += [conv, nn.BatchNorm3d(filters), nn.ReLU(), nn.MaxPool3d(2)]
        channels = filters
    return nn.Sequential(*parts, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(channels, 10))


BUILDERS = {
    "resnet18": resnet18, "mobilenetv2": mobilenetv2, "unet": UNet, "inception": inception,
    "shufflenet": shufflenet, "convnext": convnext, "grouped": grouped, "dilated": Dilated,
    "upsampling": Upsampling, "sequence": sequence, "sequential_dilated": sequential_dilated,
    "decoder": decoder, "lenet": lenet, "volume": volume,
}  # fmt: skip


def main():
    folder, *names = sys.argv[1:]
    for name in names:
        torch.manual_seed(0)
        net, setting = BUILDERS[name](), SETTINGS[name]
        export(net, (setting.batch, *setting.shape), f"{folder}/{name}.onnx", fixed=True)
        export(net, (1, *setting.shape), f"{folder}/{name}.one.onnx", fixed=True)


if __name__ == "__main__":
    main()
