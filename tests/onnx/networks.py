"""The networks of this folder, in PyTorch: small ones with random weights."""

import torch
import torch.nn.functional as F
from torch import nn


def cbr(i, o, k=3, s=1, p=1, g=1, d=1, act=nn.ReLU):
    return nn.Sequential(nn.Conv2d(i, o, k, s, p, d, g, bias=False), nn.BatchNorm2d(o), act())


class Res(nn.Module):
    def __init__(self, i, o, st):
        super().__init__()
        self.a = cbr(i, o, 3, st)
        self.b = nn.Sequential(nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o))
        self.d = nn.Conv2d(i, o, 1, st)

    def forward(self, x):
        return F.relu(self.b(self.a(x)) + self.d(x))


class Inv(nn.Module):
    def __init__(self, i, e):
        super().__init__()
        self.n = nn.Sequential(
            cbr(i, e, 1, 1, 0, act=nn.ReLU6),
            cbr(e, e, 3, 1, 1, e, act=nn.ReLU6),
            nn.Conv2d(e, i, 1),
        )

    def forward(self, x):
        return x + self.n(x)


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = cbr(3, 4)
        self.b = cbr(4, 8)
        self.u = nn.ConvTranspose2d(8, 4, 2, 2)
        self.c = cbr(8, 4)
        self.o = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        a = self.a(x)
        b = self.b(F.max_pool2d(a, 2))
        return torch.softmax(self.o(self.c(torch.cat([self.u(b), a], 1))), 1)


class Incep(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = cbr(3, 4, 1, 1, 0)
        self.b = nn.Sequential(
            cbr(3, 2, 1, 1, 0),
            nn.Conv2d(2, 4, (1, 7), padding=(0, 3)),
            nn.Conv2d(4, 4, (7, 1), padding=(3, 0)),
        )
        self.p = nn.Conv2d(3, 2, 1)
        self.f = nn.Linear(10, 5)

    def forward(self, x):
        y = torch.cat([self.a(x), self.b(x), self.p(F.avg_pool2d(x, 3, 1, 1))], 1)
        return self.f(y.mean((2, 3)))


class Shuffle(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(4, 8, 3, 2, 1, groups=2)
        self.f = nn.Linear(8, 3)

    def forward(self, x):
        y = self.c(x)
        n, c, h, w = y.shape
        y = y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        a, b = y.chunk(2, 1)
        y = torch.cat([a * torch.sigmoid(b), F.hardswish(b)], 1)
        return self.f(F.adaptive_avg_pool2d(y, 1).view(n, -1))


class Next(nn.Module):
    def __init__(self):
        super().__init__()
        self.d = nn.Conv2d(4, 4, 7, padding=3, groups=4)
        self.n = nn.LayerNorm(4)
        self.a = nn.Linear(4, 8)
        self.b = nn.Linear(8, 4)
        self.g = nn.Parameter(torch.rand(4))

    def forward(self, x):
        y = self.d(x).permute(0, 2, 3, 1)
        y = self.b(F.gelu(self.a(self.n(y)))) * self.g
        return x + y.permute(0, 3, 1, 2)


class Up(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(3, 8, 3, padding=2, dilation=2)
        self.i = nn.InstanceNorm2d(8, affine=True)
        self.p = nn.PReLU(8)

    def forward(self, x):
        y = self.p(self.i(self.c(x)))
        y = F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)
        y = F.pixel_shuffle(y, 2)
        return torch.tanh(
            F.interpolate(F.pad(y, (1, 1, 2, 2), mode="reflect"), size=(18, 19), mode="nearest")
        )


class Seq(nn.Module):
    def __init__(self):
        super().__init__()
        self.n = nn.Sequential(
            nn.Conv1d(3, 6, 5, 2, 2),
            nn.BatchNorm1d(6),
            nn.LeakyReLU(0.1),
            nn.MaxPool1d(3, 2, 1, ceil_mode=True),
            nn.ConvTranspose1d(6, 4, 4, 2, 1),
            nn.ELU(),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(4 * 14, 3),
        )

    def forward(self, x):
        return self.n(x)


class Dec(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.ConvTranspose2d(4, 4, 3, 2, 1, output_padding=1, groups=2)
        self.b = nn.ConvTranspose2d(4, 2, 3, 1, 0, dilation=2)
        self.g = nn.GroupNorm(2, 4)

    def forward(self, x):
        return torch.sigmoid(self.b(F.silu(self.g(self.a(x)))))


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.n = nn.Sequential(
            nn.Conv2d(1, 4, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 6, 3),
            nn.Tanh(),
            nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False),
            nn.Flatten(),
            nn.Linear(24, 10),
            nn.LogSoftmax(1),
        )

    def forward(self, x):
        return self.n(x)


class Gate(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels):
        super().__init__()
        self.a = nn.Conv2d(channels, 2, 1)
        self.b = nn.Conv2d(2, channels, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.b(F.silu(self.a(F.adaptive_avg_pool2d(x, 1)))))


class Widened(nn.Module):
    """A block as in EfficientNet, with a residual."""

    def __init__(self, channels, inner):
        super().__init__()
        self.n = nn.Sequential(
            cbr(channels, inner, 1, 1, 0, act=nn.SiLU),
            cbr(inner, inner, 5, 1, 2, inner, act=nn.SiLU),
            Gate(inner),
            nn.Conv2d(inner, channels, 1),
        )

    def forward(self, x):
        return x + self.n(x)


class Pyramid(nn.Module):
    """As in DeepLab: dilated branches and a pooled one, brought to the size of the input."""

    def __init__(self):
        super().__init__()
        self.s = cbr(3, 4, 3, 2)
        self.a = nn.Conv2d(4, 3, 1)
        self.b = nn.Conv2d(4, 3, 3, padding=2, dilation=2)
        self.p = nn.Conv2d(4, 3, 1)
        self.o = nn.Conv2d(9, 2, 1)

    def forward(self, x):
        y = self.s(x)
        pooled = F.relu(self.p(F.adaptive_avg_pool2d(y, 1)))
        pooled = F.interpolate(pooled, size=y.shape[-2:], mode="bilinear")
        y = self.o(torch.cat([self.a(y), self.b(y), pooled], 1))
        return F.interpolate(y, size=x.shape[-2:], mode="bilinear"), y.argmax(1)


class Attention(nn.Module):
    """Of channels and of places, then between places, as in CBAM and non-local networks."""

    def __init__(self):
        super().__init__()
        self.i = nn.Conv2d(4, 8, 3, padding=1)
        self.m = nn.Sequential(nn.Linear(8, 2), nn.ReLU(), nn.Linear(2, 8))
        self.s = nn.Conv2d(2, 1, 3, padding=1)
        self.q, self.k, self.v = (nn.Conv2d(8, 3, 1) for _ in range(3))
        self.o = nn.Conv2d(3, 8, 1)
        self.n = nn.LayerNorm(8)

    def forward(self, x):
        x = self.i(x)
        n, _, h, w = x.shape
        gate = self.m(x.mean((2, 3))) + self.m(x.amax((2, 3)))
        x = x * torch.sigmoid(gate)[:, :, None, None].expand_as(x)
        x = x * torch.sigmoid(self.s(torch.cat([x.max(1, True)[0], x.mean(1, True)], 1)))
        q, k, v = (f(x).flatten(2) for f in (self.q, self.k, self.v))
        y = torch.softmax(q.transpose(1, 2) @ k * 3**-0.5, -1) @ v.transpose(1, 2)
        x = x + self.o(y.transpose(1, 2).reshape(n, 3, h, w))
        return self.n(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Detector(nn.Module):
    """As in YOLO: strided slices at the input, pools side by side, a head for boxes."""

    def __init__(self):
        super().__init__()
        self.a = cbr(12, 6, act=nn.SiLU)
        self.b = cbr(9, 4, 1, 1, 0)
        self.c = cbr(12, 6, 1, 1, 0)
        self.h = nn.Conv2d(6, 2 * 5, 1)
        self.register_buffer("grid", torch.rand(1, 2, 8, 8, 2))

    def forward(self, x):
        x = torch.cat([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], 1)
        y, z = self.a(x).split((3, 3), 1)
        x = self.b(torch.cat([y, F.max_pool2d(z, 2, 1, dilation=2, padding=1), z.flip(1)], 1))
        x = self.h(self.c(torch.cat([x, F.max_pool2d(x, 5, 1, 2), F.local_response_norm(x, 3)], 1)))
        x = x.view(-1, 2, 5, 8, 8).permute(0, 1, 3, 4, 2).contiguous()
        place, rest = x.sigmoid().split((2, 3), 4)
        return torch.cat([(place * 2 - 0.5 + self.grid) * 8, rest], 4).view(-1, 128, 5)


class Frames(nn.Module):
    """The same network for each image of a sequence, then one over time."""

    def __init__(self):
        super().__init__()
        self.c = nn.Sequential(nn.Conv2d(2, 4, 3, 2), nn.GroupNorm(2, 4), nn.GELU())
        self.t = nn.Conv1d(4, 3, 2)

    def forward(self, x):
        n, t = x.shape[:2]
        y = self.c(x.flatten(0, 1)).mean((2, 3)).view(n, t, 4)
        return self.t(F.pad(y.transpose(1, 2), (1, 0))).logsumexp(2)


# name -> (network, shape of the input)
NETWORKS = {
    "resnet": (
        nn.Sequential(
            cbr(3, 4, 3, 2),
            nn.MaxPool2d(3, 2, 1),
            Res(4, 4, 1),
            Res(4, 8, 2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 5),
        ),
        (2, 3, 32, 32),
    ),
    "mobilenet": (
        nn.Sequential(
            cbr(3, 4, 3, 2, act=nn.Hardswish),
            Inv(4, 12),
            Inv(4, 8),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(4, 5),
        ),
        (2, 3, 16, 16),
    ),
    "unet": (UNet(), (2, 3, 16, 16)),
    "inception": (Incep(), (2, 3, 11, 11)),
    "shuffle": (Shuffle(), (2, 4, 8, 8)),
    "convnext": (Next(), (2, 4, 6, 6)),
    "upsampling": (Up(), (2, 3, 8, 9)),
    "sequence": (Seq(), (2, 3, 24)),
    "decoder": (Dec(), (2, 4, 5, 6)),
    "lenet": (LeNet(), (2, 1, 14, 14)),
    "volume": (
        nn.Sequential(
            nn.Conv3d(1, 4, 3, padding=1),
            nn.BatchNorm3d(4),
            nn.ReLU(),
            nn.MaxPool3d(2),
            nn.Conv3d(4, 4, 3, groups=2),
            nn.AdaptiveAvgPool3d(1),
            nn.Flatten(),
            nn.Linear(4, 2),
        ),
        (2, 1, 8, 8, 8),
    ),
    "sequential_dilated": (
        nn.Sequential(
            nn.Conv1d(2, 4, 3, padding=2, dilation=2),
            nn.SELU(),
            nn.Conv1d(4, 4, 3, padding=1, groups=4),
            nn.Softplus(),
            nn.AvgPool1d(2),
            nn.Conv1d(4, 1, 1),
        ),
        (2, 2, 16),
    ),
    "efficient": (
        nn.Sequential(
            cbr(3, 4, 3, 2, act=nn.SiLU),
            Widened(4, 8),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 5),
        ),
        (2, 3, 16, 16),
    ),
    "segmentation": (Pyramid(), (2, 3, 15, 16)),
    "attention": (Attention(), (2, 4, 5, 6)),
    "detector": (Detector(), (2, 3, 16, 16)),
    "frames": (Frames(), (2, 3, 2, 9, 9)),
}
