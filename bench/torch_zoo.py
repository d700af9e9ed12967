"""The networks of `models/` as a PyTorch user writes them: channels first, logits at the end.

`BUILDERS` has those that `model_set_zoo.py` measures, under the same names.
"""

import sys
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch_models import lenet5, seed256
from torch_zoo_more import (
    Sentences,
    UNet,
    Variational,
    autoencoder,
    dcgan_discriminator,
    dcgan_generator,
    m5,
    tcn,
)

sys.path.append(str(Path(__file__).resolve().parents[1] / "models"))

from to_onnx import head, mobilenetv2, normalized, resnet18


def conv_relu(channels, filters, kernel, stride=1, **options):
    return nn.Sequential(*normalized(channels, filters, kernel, stride, **options), nn.ReLU())


def mobilenet_v1():
    parts, channels = [conv_relu(3, 32, 3, 2)], 32
    pairs = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
    for filters, stride in [*pairs, *[(512, 1)] * 5, (1024, 2), (1024, 1)]:
        parts += [conv_relu(channels, channels, 3, stride, groups=channels)]
        parts += [conv_relu(channels, filters, 1)]
        channels = filters
    return nn.Sequential(*parts, *head(1024, 1000))


class Excited(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels, squeezed):
        super().__init__()
        self.factors = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1), nn.SiLU(),
            nn.Conv2d(squeezed, channels, 1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x):
        return x * self.factors(x)


class Found(nn.Module):
    """Block of EfficientNet; `drop`: how often it is left out in training."""

    def __init__(self, channels, filters, kernel, stride, factor, drop):
        super().__init__()
        wide = channels * factor
        parts = [] if factor == 1 else [*normalized(channels, wide, 1), nn.SiLU()]
        parts += [*normalized(wide, wide, kernel, stride, groups=wide), nn.SiLU()]
        parts.append(Excited(wide, max(1, channels // 4)))
        self.body = nn.Sequential(*parts, *normalized(wide, filters, 1))
        self.straight, self.drop = stride == 1 and channels == filters, drop

    def forward(self, x):
        y = self.body(x)
        if not self.straight:
            return y
        if self.training and self.drop:
            kept = torch.empty(len(x), 1, 1, 1).bernoulli_(1 - self.drop)
            y = y * kept.div_(1 - self.drop)
        return x + y


def efficientnet_b0():
    parts, channels, done = [*normalized(3, 32, 3, 2), nn.SiLU()], 32, 0
    for factor, filters, blocks, stride, kernel in (
        (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5),
        (6, 192, 4, 2, 5), (6, 320, 1, 1, 3),
    ):  # fmt: skip
        for index in range(blocks):
            step = 1 if index else stride
            parts.append(Found(channels, filters, kernel, step, factor, 0.2 * done / 16))
            channels, done = filters, done + 1
    parts += [*normalized(320, 1280, 1), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*parts, nn.Dropout(0.2), nn.Linear(1280, 1000))


class ChannelNorm(nn.LayerNorm):
    """Layer normalization over the channels of (n, c, h, w)."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Competing(nn.Module):
    """Block of ConvNeXt V2 as its authors write it, with global response normalization."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.wide = nn.Linear(channels, 4 * channels)
        self.narrow = nn.Linear(4 * channels, channels)
        self.gamma, self.beta = (nn.Parameter(torch.zeros(1, 1, 1, 4 * channels)) for _ in "gb")

    def forward(self, x):
        y = F.gelu(self.wide(self.norm(self.conv(x).permute(0, 2, 3, 1))))
        norms = torch.norm(y, p=2, dim=(1, 2), keepdim=True)
        shares = norms / (norms.mean(dim=-1, keepdim=True) + 1e-6)
        y = self.gamma * (y * shares) + self.beta + y
        return x + self.narrow(y).permute(0, 3, 1, 2)


def convnext_v2():
    sizes, parts = (40, 80, 160, 320), [nn.Conv2d(3, 40, 4, 4), ChannelNorm(40, eps=1e-6)]
    for stage, (size, depth) in enumerate(zip(sizes, (2, 2, 6, 2))):
        if stage:
            before = sizes[stage - 1]
            parts += [ChannelNorm(before, eps=1e-6), nn.Conv2d(before, size, 2, 2)]
        parts += [Competing(size) for _ in range(depth)]
    last = [nn.LayerNorm(320, eps=1e-6), nn.Linear(320, 1000)]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *last)


def alexnet():
    """As Caffe has it, in two groups."""
    parts, channels = [], 3
    for filters, kernel, groups, pool in (
        (96, 11, 1, True), (256, 5, 2, True), (384, 3, 1, False), (384, 3, 2, False),
        (256, 3, 2, True),
    ):  # fmt: skip
        where = {"padding": kernel // 2} if kernel < 11 else {"stride": 4}
        parts += [nn.Conv2d(channels, filters, kernel, groups=groups, **where), nn.ReLU()]
        parts += [nn.LocalResponseNorm(5, 5e-4, 0.75, 2)] if kernel > 3 else []
        parts += [nn.MaxPool2d(3, 2)] if pool else []
        channels = filters
    return nn.Sequential(*parts, *dense(9216))


def dense(size):
    """The end of AlexNet and VGG."""
    return (
        nn.Flatten(), nn.Linear(size, 4096), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4096, 1000),
    )  # fmt: skip


def vgg(*convolutions):
    parts, channels = [], 3
    for filters, count in zip((64, 128, 256, 512, 512), convolutions):
        for _ in range(count):
            parts += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU()]
            channels = filters
        parts.append(nn.MaxPool2d(2))
    return nn.Sequential(*parts, *dense(512 * 49))


class Ways(nn.Module):
    """Branches of which the channels are joined."""

    def __init__(self, *ways):
        super().__init__()
        self.ways = nn.ModuleList(nn.Sequential(*way) for way in ways)

    def forward(self, x):
        return torch.cat([way(x) for way in self.ways], 1)


def biased(channels, filters, kernel, stride=1):
    conv = nn.Conv2d(channels, filters, kernel, stride, padding=kernel // 2)
    return nn.Sequential(conv, nn.ReLU())


def googlenet():
    pool = partial(nn.MaxPool2d, 3, 2, ceil_mode=True)
    norm = partial(nn.LocalResponseNorm, 5, 1e-4)
    parts = [biased(3, 64, 7, 2), pool(), norm(), biased(64, 64, 1), biased(64, 192, 3), norm()]
    channels = 192
    for filters in (
        None, (64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64),
        None, (192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64), (256, 160, 320, 32, 128, 128),
        None, (256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128),
    ):  # fmt: skip
        if filters is None:
            parts.append(pool())
            continue
        ones, before, threes, narrow, fives, pooled = filters
        parts.append(
            Ways(
                [biased(channels, ones, 1)],
                [biased(channels, before, 1), biased(before, threes, 3)],
                [biased(channels, narrow, 1), biased(narrow, fives, 5)],
                [nn.MaxPool2d(3, 1, 1), biased(channels, pooled, 1)],
            )
        )
        channels = ones + threes + fives + pooled
    last = [nn.Dropout(0.4), nn.Linear(1024, 1000)]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *last)


class Bottleneck(nn.Module):
    def __init__(self, channels, filters, stride):
        super().__init__()
        self.body = nn.Sequential(
            *normalized(channels, filters, 1), nn.ReLU(),
            *normalized(filters, filters, 3, stride), nn.ReLU(),
            *normalized(filters, 4 * filters, 1),
        )  # fmt: skip
        straight = channels == 4 * filters
        side = [] if straight else normalized(channels, 4 * filters, 1, stride)
        self.side = nn.Sequential(*side)

    def forward(self, x):
        return F.relu(self.side(x) + self.body(x))


def resnet50():
    parts, channels = [*normalized(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)], 64
    for stage, count in enumerate((3, 4, 6, 3)):
        for block in range(count):
            parts.append(Bottleneck(channels, 64 << stage, 2 if stage and not block else 1))
            channels = 256 << stage
    return nn.Sequential(*parts, *head(2048, 1000))


class Padded(nn.Module):
    """Block of the ResNets for CIFAR, zeros for the channels that a shortcut lacks."""

    def __init__(self, channels, filters, stride):
        super().__init__()
        self.body = nn.Sequential(
            *normalized(channels, filters, 3, stride), nn.ReLU(), *normalized(filters, filters, 3)
        )
        self.stride, self.lacking = stride, (filters - channels) // 2

    def forward(self, x):
        y = self.body(x)
        if self.lacking:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, *[self.lacking] * 2))
        return F.relu(x + y)


def resnet_cifar(blocks):
    parts, channels = [*normalized(3, 16, 3), nn.ReLU()], 16
    for filters in (16, 32, 64):
        for block in range(blocks):
            parts.append(Padded(channels, filters, 2 if filters > 16 and not block else 1))
            channels = filters
    return nn.Sequential(*parts, *head(64, 10))


def squeezenet():
    """Version 1.1."""
    pool = partial(nn.MaxPool2d, 3, 2, ceil_mode=True)
    parts, channels = [nn.Conv2d(3, 64, 3, 2), nn.ReLU()], 64
    for index, (squeezed, expanded) in enumerate(
        [(16, 64)] * 2 + [(32, 128)] * 2 + [(48, 192)] * 2 + [(64, 256)] * 2
    ):
        parts += [pool()] if index in (0, 2, 4) else []
        parts.append(biased(channels, squeezed, 1))
        parts.append(Ways([biased(squeezed, expanded, 1)], [biased(squeezed, expanded, 3)]))
        channels = 2 * expanded
    last = [nn.Dropout(0.5), nn.Conv2d(512, 1000, 1), nn.ReLU()]
    return nn.Sequential(*parts, *last, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Growing(nn.Module):
    def __init__(self, channels, rate):
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, 4 * rate, 1, bias=False),
            nn.BatchNorm2d(4 * rate), nn.ReLU(),
            nn.Conv2d(4 * rate, rate, 3, padding=1, bias=False),
        )  # fmt: skip

    def forward(self, x):
        return torch.cat([x, self.body(x)], 1)


def densenet(rate=32):
    parts, channels = [*normalized(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)], 64
    for number, count in enumerate((6, 12, 24, 16)):
        if number:
            conv = nn.Conv2d(channels, channels // 2, 1, bias=False)
            parts += [nn.BatchNorm2d(channels), nn.ReLU(), conv, nn.AvgPool2d(2)]
            channels //= 2
        for _ in range(count):
            parts.append(Growing(channels, rate))
            channels += rate
    return nn.Sequential(*parts, nn.BatchNorm2d(channels), nn.ReLU(), *head(channels, 1000))


BUILDERS = {
    "lenet5": lenet5, "textbook": seed256, "alexnet": alexnet,
    "vgg11": partial(vgg, 1, 1, 2, 2, 2), "vgg16": partial(vgg, 2, 2, 3, 3, 3),
    "googlenet": googlenet, "resnet18": resnet18, "resnet50": resnet50,
    "resnet20": partial(resnet_cifar, 3), "resnet56": partial(resnet_cifar, 9),
    "squeezenet": squeezenet, "densenet121": densenet,
    "mobilenet_v1": mobilenet_v1, "mobilenet_v2": mobilenetv2, "efficientnet_b0": efficientnet_b0,
    "convnext_v2": convnext_v2, "unet": UNet, "autoencoder": autoencoder, "vae": Variational,
    "dcgan_generator": dcgan_generator, "dcgan_discriminator": dcgan_discriminator,
    "m5": m5, "tcn": tcn, "text_cnn": Sentences,
}  # fmt: skip
