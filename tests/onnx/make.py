"""Makes the files of this folder: `python make.py FOLDER`, with torch, onnx and onnxruntime.

Small networks with random weights, as PyTorch exports them; what onnxruntime makes of random
inputs; and PyTorch's gradient of the mean square of the outputs by the first weight.
"""

import os
import sys
import warnings

import numpy as np
import onnx
import onnxruntime as ort
import torch
import torch.nn.functional as F
from torch import nn

warnings.filterwarnings("ignore")
torch.manual_seed(0)


def cbr(i, o, k=3, s=1, p=1, g=1, d=1, act=nn.ReLU):
    return nn.Sequential(nn.Conv2d(i, o, k, s, p, d, g, bias=False), nn.BatchNorm2d(o), act())


class Res(nn.Module):
    def __init__(s, i, o, st):
        super().__init__()
        s.a = cbr(i, o, 3, st)
        s.b = nn.Sequential(nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o))
        s.d = nn.Conv2d(i, o, 1, st)

    def forward(s, x):
        return F.relu(s.b(s.a(x)) + s.d(x))


class Inv(nn.Module):
    def __init__(s, i, e):
        super().__init__()
        s.n = nn.Sequential(
            cbr(i, e, 1, 1, 0, act=nn.ReLU6),
            cbr(e, e, 3, 1, 1, e, act=nn.ReLU6),
            nn.Conv2d(e, i, 1),
        )

    def forward(s, x):
        return x + s.n(x)


class UNet(nn.Module):
    def __init__(s):
        super().__init__()
        s.a = cbr(3, 4)
        s.b = cbr(4, 8)
        s.u = nn.ConvTranspose2d(8, 4, 2, 2)
        s.c = cbr(8, 4)
        s.o = nn.Conv2d(4, 2, 1)

    def forward(s, x):
        a = s.a(x)
        b = s.b(F.max_pool2d(a, 2))
        return torch.softmax(s.o(s.c(torch.cat([s.u(b), a], 1))), 1)


class Incep(nn.Module):
    def __init__(s):
        super().__init__()
        s.a = cbr(3, 4, 1, 1, 0)
        s.b = nn.Sequential(
            cbr(3, 2, 1, 1, 0),
            nn.Conv2d(2, 4, (1, 7), padding=(0, 3)),
            nn.Conv2d(4, 4, (7, 1), padding=(3, 0)),
        )
        s.p = nn.Conv2d(3, 2, 1)
        s.f = nn.Linear(10, 5)

    def forward(s, x):
        y = torch.cat([s.a(x), s.b(x), s.p(F.avg_pool2d(x, 3, 1, 1))], 1)
        return s.f(y.mean((2, 3)))


class Shuffle(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = nn.Conv2d(4, 8, 3, 2, 1, groups=2)
        s.f = nn.Linear(8, 3)

    def forward(s, x):
        y = s.c(x)
        n, c, h, w = y.shape
        y = y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        a, b = y.chunk(2, 1)
        y = torch.cat([a * torch.sigmoid(b), F.hardswish(b)], 1)
        return s.f(F.adaptive_avg_pool2d(y, 1).view(n, -1))


class Next(nn.Module):
    def __init__(s):
        super().__init__()
        s.d = nn.Conv2d(4, 4, 7, padding=3, groups=4)
        s.n = nn.LayerNorm(4)
        s.a = nn.Linear(4, 8)
        s.b = nn.Linear(8, 4)
        s.g = nn.Parameter(torch.rand(4))

    def forward(s, x):
        y = s.d(x).permute(0, 2, 3, 1)
        y = s.b(F.gelu(s.a(s.n(y)))) * s.g
        return x + y.permute(0, 3, 1, 2)


class Up(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = nn.Conv2d(3, 8, 3, padding=2, dilation=2)
        s.i = nn.InstanceNorm2d(8, affine=True)
        s.p = nn.PReLU(8)

    def forward(s, x):
        y = s.p(s.i(s.c(x)))
        y = F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)
        y = F.pixel_shuffle(y, 2)
        return torch.tanh(
            F.interpolate(F.pad(y, (1, 1, 2, 2), mode="reflect"), size=(18, 19), mode="nearest")
        )


class Seq(nn.Module):
    def __init__(s):
        super().__init__()
        s.n = nn.Sequential(
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

    def forward(s, x):
        return s.n(x)


class Dec(nn.Module):
    def __init__(s):
        super().__init__()
        s.a = nn.ConvTranspose2d(4, 4, 3, 2, 1, output_padding=1, groups=2)
        s.b = nn.ConvTranspose2d(4, 2, 3, 1, 0, dilation=2)
        s.g = nn.GroupNorm(2, 4)

    def forward(s, x):
        return torch.sigmoid(s.b(F.silu(s.g(s.a(x)))))


class LeNet(nn.Module):
    def __init__(s):
        super().__init__()
        s.n = nn.Sequential(
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

    def forward(s, x):
        return s.n(x)


nets = {
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
}
out = sys.argv[1]
os.makedirs(out, exist_ok=True)
allexp = {}
for i, (name, (net, shape)) in enumerate(nets.items()):
    for m in net.modules():
        if isinstance(m, (nn.BatchNorm2d, nn.BatchNorm1d, nn.BatchNorm3d)):
            m.running_mean.uniform_(-0.3, 0.3)
            m.running_var.uniform_(0.5, 1.5)
    net.eval()
    x = torch.randn(shape)
    path = f"{out}/{name}.onnx"
    dyn = i % 2 == 0
    try:
        torch.onnx.export(
            net,
            (x,),
            path,
            dynamo=False,
            opset_version=[13, 17, 18][i % 3],
            input_names=["x"],
            output_names=["y"],
            dynamic_axes={"x": {0: "n"}, "y": {0: "n"}} if dyn else None,
            do_constant_folding=True,
            **(
                {"training": torch.onnx.TrainingMode.PRESERVE}
                if name in ("resnet", "mobilenet", "volume")
                else {}
            ),
        )
    except Exception as e:
        print(name, "EXPORT", repr(e)[:300])
        continue
    y = ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x.numpy()})[
        0
    ]
    # gradients of the mean square in evaluation mode
    net.zero_grad()
    (net(x) ** 2).mean().backward()
    g = {n: p.grad.numpy() for n, p in net.named_parameters() if p.grad is not None}
    allexp[name + "/x"] = x.numpy()
    allexp[name + "/y"] = y
    k = next(iter(g))
    allexp[name + "/grad"] = g[k]
    print(
        name,
        os.path.getsize(path),
        y.shape,
        k,
        sorted({n.op_type for n in onnx.load(path).graph.node}),
    )
np.savez_compressed(out + "/expected.npz", **allexp)
