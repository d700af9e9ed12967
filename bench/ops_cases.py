"""The cases of `ops.py`: (name, operation, [(shape, dtype) of its inputs]), with shapes of the
model set and odd ones.
"""

from nbcnn.ops.conv import Conv2D, Conv2DInputGradient, Conv2DKernelGradient
from nbcnn.ops.dense import Matmul
from nbcnn.ops.elementwise import Binary, Unary, UnaryGradient
from nbcnn.ops.loss import SoftmaxCrossEntropy, SoftmaxCrossEntropyGradient
from nbcnn.ops.norm import BatchNorm, BatchNormGradient, ScaleShift
from nbcnn.ops.optimizer import SGD, Adam
from nbcnn.ops.pool import AvgPool2D, AvgPool2DGradient, MaxPool2D, MaxPool2DGradient
from nbcnn.ops.random import Dropout
from nbcnn.ops.reduce import Reduce
from nbcnn.ops.tensor import TensorSpec

F = "float32"

# name, (n, h, w, c), filters, kernel, strides, padding, groups, dilation
CONVOLUTIONS = [
    ("bar 64x32x32x64 3x3", (64, 32, 32, 64), 64, 3, 1, "same", 1, 1),
    ("lenet 128x28x28x1 5x5", (128, 28, 28, 1), 6, 5, 1, "same", 1, 1),
    ("lenet 128x14x14x6 5x5", (128, 14, 14, 6), 16, 5, 1, "valid", 1, 1),
    ("convnet 128x28x28x1 3x3", (128, 28, 28, 1), 32, 3, 1, "valid", 1, 1),
    ("convnet 128x13x13x32 3x3", (128, 13, 13, 32), 64, 3, 1, "valid", 1, 1),
    ("vgg 64x32x32x3 3x3", (64, 32, 32, 3), 64, 3, 1, "same", 1, 1),
    ("vgg 64x16x16x128 3x3", (64, 16, 16, 128), 128, 3, 1, "same", 1, 1),
    ("vgg 64x8x8x256 3x3", (64, 8, 8, 256), 256, 3, 1, "same", 1, 1),
    ("resnet20 128x32x32x16 3x3", (128, 32, 32, 16), 16, 3, 1, "same", 1, 1),
    ("resnet20 128x32x32x16 3x3 s2", (128, 32, 32, 16), 32, 3, 2, "same", 1, 1),
    ("resnet20 128x32x32x16 1x1 s2", (128, 32, 32, 16), 32, 1, 2, "same", 1, 1),
    ("resnet50 32x56x56x64 1x1", (32, 56, 56, 64), 64, 1, 1, "valid", 1, 1),
    ("resnet50 32x14x14x256 1x1", (32, 14, 14, 256), 256, 1, 1, "valid", 1, 1),
    ("resnet50 8x224x224x3 7x7 s2", (8, 224, 224, 3), 64, 7, 2, "same", 1, 1),
    ("mobile 32x96x96x3 3x3 s2", (32, 96, 96, 3), 32, 3, 2, "same", 1, 1),
    ("mobile 32x48x48x32 depthwise", (32, 48, 48, 32), 32, 3, 1, "same", 32, 1),
    ("mobile 32x48x48x64 depthwise s2", (32, 48, 48, 64), 64, 3, 2, "same", 64, 1),
    ("convnext 16x28x28x96 depthwise 7x7", (16, 28, 28, 96), 96, 7, 1, "same", 96, 1),
    ("odd 3x17x13x5 3x3", (3, 17, 13, 5), 7, 3, 1, "same", 1, 1),
    ("dilated 16x28x28x32 3x3 d2", (16, 28, 28, 32), 32, 3, 1, "same", 1, 2),
    ("grouped 32x28x28x64 g4", (32, 28, 28, 64), 64, 3, 1, "same", 4, 1),
    ("batch1 1x56x56x64 3x3", (1, 56, 56, 64), 64, 3, 1, "same", 1, 1),
    ("batch1 1x7x7x512 3x3", (1, 7, 7, 512), 512, 3, 1, "same", 1, 1),
]


def convolutions():
    for name, x, f, k, stride, padding, groups, dilation in CONVOLUTIONS:
        w = (k, k, x[3] // groups, f)
        common = ((stride, stride), padding, (dilation, dilation), groups)
        (y,) = Conv2D(*common).infer(TensorSpec(x, F), TensorSpec(w, F))
        yield name, Conv2D(*common), [(x, F), (w, F)]
        if x[3] > 3:
            yield name, Conv2DInputGradient(*common, shape=x), [(y.shape, F), (w, F)]
        yield name, Conv2DKernelGradient(*common, shape=w), [(x, F), (y.shape, F)]


def products():
    for m, k, n in [
        (128, 1600, 10),
        (128, 400, 120),
        (128, 784, 512),
        (256, 1024, 1024),
        (16, 16384, 1000),
        (1, 4096, 1000),
    ]:
        yield f"{m}x{k}x{n}", Matmul(), [((m, k), F), ((k, n), F)]
        yield f"{m}x{k}x{n} dx", Matmul(tw=True), [((m, n), F), ((k, n), F)]
        yield f"{m}x{k}x{n} dw", Matmul(tx=True), [((m, k), F), ((m, n), F)]


def pools():
    for x, window, stride in [
        ((64, 32, 32, 64), 2, 2),
        ((128, 26, 26, 32), 2, 2),
        ((128, 28, 28, 6), 2, 2),
        ((32, 56, 56, 64), 3, 2),
    ]:
        name = f"{'x'.join(map(str, x))} {window}x{window} s{stride}"
        geometry = ((window, window), (stride, stride), "valid")
        y, indices = MaxPool2D(*geometry, indices=True).infer(TensorSpec(x, F))
        yield name, MaxPool2D(*geometry, indices=True), [(x, F)]
        yield name, MaxPool2DGradient(*geometry, shape=x), [(y.shape, F), (y.shape, indices.dtype)]
        yield name, AvgPool2D(*geometry), [(x, F)]
        yield name, AvgPool2DGradient(*geometry, shape=x), [(y.shape, F)]


def others():
    for x in [(64, 32, 32, 64), (128, 32, 32, 16), (128, 8, 8, 64)]:
        c, name = (x[3],), "x".join(map(str, x))
        yield f"{name} relu", BatchNorm(act=1), [(x, F), (c, F), (c, F)]
        yield (
            f"{name} relu",
            BatchNormGradient(act=1),
            [(x, F), (x, F), (c, F), (c, F), (c, F), (x, F)],
        )
        yield f"{name} relu", ScaleShift(act=1), [(x, F), (c, F), (c, F)]
        for function in ("relu", "sigmoid", "gelu"):
            yield f"{name} {function}", Unary(function), [(x, F)]
            yield f"{name} {function}", UnaryGradient(function), [(x, F), (x, F)]
        yield f"{name} add", Binary("add"), [(x, F), (x, F)]
        yield f"{name} dropout", Dropout(0.5), [(x, F), ((2,), "int64")]
        yield f"{name} mean", Reduce("mean", 1, 2), [(x, F)]
    for rows, classes in [(128, 10), (128, 1000)]:
        x = ((rows, classes), F)
        yield f"{rows}x{classes}", SoftmaxCrossEntropy(), [((rows,), "int32"), x]
        yield (
            f"{rows}x{classes}",
            SoftmaxCrossEntropyGradient(),
            [((rows,), "int32"), x, ((rows,), F)],
        )
    for n in (272_000, 4_000_000):
        flat, hyper = ((n,), F), ((4,), "float64")
        yield f"{n} momentum", SGD(0.9), [flat, flat, hyper, flat]
        yield f"{n}", Adam(), [flat, flat, hyper, flat, flat]


CASES = [*convolutions(), *products(), *pools(), *others()]
