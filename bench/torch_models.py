"""The networks of `model_set.py` as a PyTorch user writes them: NCHW, logits at the end."""

import sys
from pathlib import Path

from torch import nn

sys.path.append(str(Path(__file__).resolve().parents[1] / "models"))

from to_onnx import Residual, normalized


def lenet5():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.Sigmoid(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.Sigmoid(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.Sigmoid(),
        nn.Linear(120, 84),
        nn.Sigmoid(),
        nn.Linear(84, 10),
    )


def convnet():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(1600, 10),
    )


def vgg():
    parts, channels = [], 3
    for filters in (64, 128, 256):
        for _ in range(2):
            conv = nn.Conv2d(channels, filters, 3, padding=1)
            parts += [conv, nn.BatchNorm2d(filters), nn.ReLU()]
            channels = filters
        parts.append(nn.MaxPool2d(2))
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(256 * 16, 10))


def resnet20():
    parts, channels = [*normalized(3, 16, 3), nn.ReLU()], 16
    for filters in (16, 32, 64):
        for block in range(3):
            stride = 2 if block == 0 and filters > 16 else 1
            parts.append(Residual(channels, filters, stride))
            channels = filters
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def mobile():
    parts, channels = [*normalized(3, 32, 3, 2), nn.ReLU()], 32
    for filters, stride in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1)):
        parts += [*normalized(channels, channels, 3, stride, groups=channels), nn.ReLU()]
        parts += [*normalized(channels, filters, 1), nn.ReLU()]
        channels = filters
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10))


def seed256():
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(4),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(4),
        nn.Flatten(),
        nn.Linear(16384, 1000),
    )


BUILDERS = {b.__name__: b for b in (lenet5, convnet, vgg, resnet20, mobile, seed256)}
