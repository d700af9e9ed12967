"""The networks of `models/` as a PyTorch user writes them: channels first, logits at the end.

`BUILDERS` has those that `model_set_zoo.py` measures, under the same names.
"""

import sys
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch_models import lenet5, resnet20, seed256

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


class UNet(nn.Module):
    def __init__(self, width=64, depth=4, classes=2):
        super().__init__()

        def twice(channels, filters):
            first = nn.Conv2d(channels, filters, 3, padding=1)
            second = nn.Conv2d(filters, filters, 3, padding=1)
            return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())

        sizes = [width << level for level in range(depth + 1)]
        narrower = sizes[-2::-1]
        self.down = nn.ModuleList(twice(a, b) for a, b in zip([1, *sizes], sizes))
        self.wider = nn.ModuleList(nn.ConvTranspose2d(2 * size, size, 2, 2) for size in narrower)
        self.up = nn.ModuleList(twice(2 * size, size) for size in narrower)
        self.last = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        kept = []
        for index, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if index else x)
            kept.append(x)
        kept.pop()
        for wider, block in zip(self.wider, self.up):
            x = block(torch.cat([kept.pop(), wider(x)], 1))
        return self.last(x)


def autoencoder(width=32):
    def wider(channels):
        return nn.ConvTranspose2d(channels, width, 3, 2, padding=1, output_padding=1)

    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        wider(width), nn.ReLU(), wider(width), nn.ReLU(), nn.Conv2d(width, 1, 3, padding=1),
    )  # fmt: skip


class Variational(nn.Module):
    """`penalty`, after a step of training: the divergence, to be added to the loss."""

    penalty = 0.0

    def __init__(self, latent=2):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 32, 3, 2, padding=1), nn.ReLU(),
            nn.Conv2d(32, 64, 3, 2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(3136, 16), nn.ReLU(),
        )  # fmt: skip
        self.mean, self.log_variance = nn.Linear(16, latent), nn.Linear(16, latent)
        self.decoder = nn.Sequential(
            nn.Linear(latent, 3136), nn.ReLU(), nn.Unflatten(1, (64, 7, 7)),
            nn.ConvTranspose2d(64, 64, 3, 2, padding=1, output_padding=1), nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 3, 2, padding=1, output_padding=1), nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 3, padding=1),
        )  # fmt: skip

    def forward(self, x):
        y = self.encoder(x)
        mean, log_variance = self.mean(y), self.log_variance(y)
        if not self.training:
            return self.decoder(mean)
        parts = mean.square() + log_variance.exp() - log_variance - 1
        self.penalty = 0.5 * parts.sum(dim=1).mean()
        return self.decoder(mean + (0.5 * log_variance).exp() * torch.randn_like(mean))


def dcgan_generator(width=64):
    parts, channels = [nn.Unflatten(1, (100, 1, 1))], 100
    for level in (3, 2, 1, 0):
        where = (1, 0) if level == 3 else (2, 1)
        conv = nn.ConvTranspose2d(channels, width << level, 4, *where, bias=False)
        channels = width << level
        parts += [conv, nn.BatchNorm2d(channels), nn.ReLU()]
    return nn.Sequential(*parts, nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False), nn.Tanh())


def dcgan_discriminator(width=64):
    parts, channels = [], 3
    for level in range(4):
        parts.append(nn.Conv2d(channels, width << level, 4, 2, 1, bias=False))
        channels = width << level
        parts += [nn.BatchNorm2d(channels)] if level else []
        parts.append(nn.LeakyReLU(0.2))
    return nn.Sequential(*parts, nn.Conv2d(channels, 1, 4, bias=False), nn.Flatten())


def m5():
    parts, channels = [], 1
    for filters, kernel, stride in ((128, 80, 4), (128, 3, 1), (256, 3, 1), (512, 3, 1)):
        conv = nn.Conv1d(channels, filters, kernel, stride, padding=(kernel - stride + 1) // 2)
        parts += [conv, nn.BatchNorm1d(filters), nn.ReLU(), nn.MaxPool1d(4)]
        channels = filters
    return nn.Sequential(*parts, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(512, 35))


class Temporal(nn.Module):
    def __init__(self, channels, filters, rate, kernel=7):
        super().__init__()
        self.pad = nn.ConstantPad1d(((kernel - 1) * rate, 0), 0.0)
        self.first = nn.Conv1d(channels, filters, kernel, dilation=rate)
        self.second = nn.Conv1d(filters, filters, kernel, dilation=rate)
        self.side = nn.Identity() if channels == filters else nn.Conv1d(channels, filters, 1)

    def forward(self, x):
        y = F.relu(self.second(self.pad(F.relu(self.first(self.pad(x))))))
        return F.relu(y + self.side(x))


def tcn():
    parts = [Temporal(25 if level else 1, 25, 2**level) for level in range(8)]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(25, 10))


class Sentences(nn.Module):
    def __init__(self, vocabulary=5000, width=300, filters=100, classes=8):
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.convs = nn.ModuleList(nn.Conv1d(width, filters, kernel) for kernel in (3, 4, 5))
        self.last = nn.Sequential(nn.Dropout(0.5), nn.Linear(3 * filters, classes))

    def forward(self, x):
        x = self.words(x).transpose(1, 2)
        return self.last(torch.cat([F.relu(conv(x)).amax(dim=2) for conv in self.convs], 1))


BUILDERS = {
    "lenet5": lenet5, "textbook": seed256, "resnet20": resnet20, "resnet18": resnet18,
    "mobilenet_v1": mobilenet_v1, "mobilenet_v2": mobilenetv2, "efficientnet_b0": efficientnet_b0,
    "convnext_v2": convnext_v2, "unet": UNet, "autoencoder": autoencoder, "vae": Variational,
    "dcgan_generator": dcgan_generator, "dcgan_discriminator": dcgan_discriminator,
    "m5": m5, "tcn": tcn, "text_cnn": Sentences,
}  # fmt: skip
