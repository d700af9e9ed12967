"""Networks of `models/` that do not classify pictures, in PyTorch; see `torch_zoo.py`."""

import torch
import torch.nn.functional as F
from torch import nn


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
