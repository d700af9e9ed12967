"""Networks beyond `model_set.py`: sequences, volumes, groups, dilation, transposed convolutions,
layer normalization and gelu. Widths, depths and kernels are those of the papers; images and clips
are small enough for two cores.

The same text builds each under nbcnn and under real Keras: `keras` is the module.
"""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

ZOO = Path(__file__).resolve().parents[1] / "models"

CLASSES = "sparse_categorical_crossentropy"
BINARY = "binary_crossentropy"
MSE = "mean_squared_error"


class Setting(NamedTuple):
    """How a model is measured. `shape` is that of one sample, `labels` that of its labels: whole
    numbers below `classes`, from 0 to 1 where the loss is a binary cross-entropy, or any. Samples
    are numbers of `words`, where there are any.
    """

    build: Callable[..., Any]
    shape: tuple[int, ...]
    batch: int
    steps: int
    classes: int = 10
    labels: tuple[int, ...] = ()
    loss: str = CLASSES
    words: int = 0


def from_zoo(keras, name):
    """`build` of `models/NAME.py`, with this library as its `keras`; what trains the zoo, which
    only nbcnn has, is not loaded.
    """
    modules = {"nbcnn": keras, "zoo": mock.Mock(), "zoo_data": mock.Mock()}
    before = {known: sys.modules[known] for known in modules if known in sys.modules}
    sys.modules.update(modules)
    try:
        return runpy.run_path(str(ZOO / f"{name}.py"))["build"]
    finally:
        for known in modules:
            del sys.modules[known]
        sys.modules.update(before)


def m5(keras):
    """M5 for spoken words (Dai et al. 2017): raw sound, a kernel of 80, four pools by 4."""
    return from_zoo(keras, "m5")((8000, 1), 35)


def tcn(keras):
    """The TCN of sequential MNIST (Bai et al. 2018): 8 residual blocks of 25 filters, kernel 7."""
    return from_zoo(keras, "tcn")((784, 1), 10)


def wavenet(keras):
    """A stack of WaveNet (van den Oord et al. 2016): dilations 1 to 512, gates, skip connections;
    one of 256 classes at every step.
    """
    layers = keras.layers
    sound = keras.Input((2048, 1))
    x = layers.Conv1D(32, 2, padding="causal")(sound)
    skips = []
    for level in range(10):
        gates = [
            layers.Conv1D(32, 2, dilation_rate=2**level, padding="causal", activation=act)(x)
            for act in ("tanh", "sigmoid")
        ]
        y = layers.Multiply()(gates)
        skips.append(layers.Conv1D(64, 1)(y))
        x = layers.Add()([x, layers.Conv1D(32, 1)(y)])
    x = layers.Activation("relu")(layers.Add()(skips))
    x = layers.Conv1D(64, 1, activation="relu")(x)
    return keras.Model(sound, layers.Conv1D(256, 1, activation="softmax")(x))


def voxnet(keras):
    """VoxNet for point clouds (Maturana and Scherer 2015): volumes of 32 x 32 x 32."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((32, 32, 32, 1)),
            layers.Conv3D(32, 5, strides=2),
            layers.LeakyReLU(0.1),
            layers.Conv3D(32, 3),
            layers.LeakyReLU(0.1),
            layers.MaxPooling3D(2),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(40, activation="softmax"),
        ]
    )


def c3d(keras):
    """The first six convolutions of C3D (Tran et al. 2015) on clips of 8 frames of 56 x 56."""
    layers = keras.layers
    parts = [keras.Input((8, 56, 56, 3))]
    for filters, pool in ((64, (1, 2, 2)), (128, 2), ((256, 256), 2), ((512, 512), (1, 2, 2))):
        for f in filters if isinstance(filters, tuple) else (filters,):
            parts.append(layers.Conv3D(f, 3, padding="same", activation="relu"))
        parts.append(layers.MaxPooling3D(pool))
    parts += [layers.GlobalAveragePooling3D(), layers.Dense(101, activation="softmax")]
    return keras.Sequential(parts)


def normalized(layers, convolution, x, relu=True):
    x = layers.BatchNormalization()(convolution(x))
    return layers.Activation("relu")(x) if relu else x


def stem(layers, image):
    """7x7 with stride 2 and a pool, as residual networks begin."""
    x = layers.Conv2D(64, 7, strides=2, padding="same", use_bias=False)(image)
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    return layers.MaxPooling2D(3, strides=2, padding="same")(x)


def resnet18(keras):
    """ResNet-18 (He et al. 2016) on images of 112 x 112."""
    layers = keras.layers
    image = keras.Input((112, 112, 3))
    x = stem(layers, image)
    for stage, filters in enumerate((64, 128, 256, 512)):
        for block in range(2):
            strides = 2 if stage and not block else 1

            def conv(kernel, strides=1, filters=filters):
                return layers.Conv2D(filters, kernel, strides, padding="same", use_bias=False)

            y = normalized(layers, conv(3, strides), x)
            y = normalized(layers, conv(3), y, relu=False)
            if strides == 2:
                x = normalized(layers, conv(1, 2), x, relu=False)
            x = layers.Activation("relu")(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(100, activation="softmax")(x))


def resnext(keras):
    """Two stages of ResNeXt-50 (32x4d, Xie et al. 2017) on images of 112 x 112."""
    layers = keras.layers
    image = keras.Input((112, 112, 3))
    x = stem(layers, image)
    for stage, width in enumerate((128, 256)):
        for block in range(3):
            strides = 2 if stage and not block else 1

            def pointwise(filters, strides=1):
                return layers.Conv2D(filters, 1, strides, use_bias=False)

            grouped = layers.Conv2D(width, 3, strides, padding="same", groups=32, use_bias=False)
            y = normalized(layers, pointwise(width), x)
            y = normalized(layers, grouped, y)
            y = normalized(layers, pointwise(2 * width), y, relu=False)
            if not block:
                x = normalized(layers, pointwise(2 * width, strides), x, relu=False)
            x = layers.Activation("relu")(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(100, activation="softmax")(x))


def deeplab(keras):
    """Dilated convolutions as DeepLab v3 has them (Chen et al. 2017): output stride 8, parallel
    rates 6, 12 and 18; a class of 21 for every pixel of 256 x 256.
    """
    layers = keras.layers

    def conv(x, filters, kernel=3, strides=1, rate=1):
        layer = layers.Conv2D(filters, kernel, strides, "same", dilation_rate=rate, use_bias=False)
        return normalized(layers, layer, x)

    image = keras.Input((256, 256, 3))
    x = image
    for filters in (32, 64, 128):
        x = conv(x, filters, strides=2)
    for rate in (2, 4):
        x = layers.Add()([x, conv(conv(x, 128, rate=rate), 128, rate=rate)])
    x = layers.Concatenate()([conv(x, 128, 1), *(conv(x, 128, rate=r) for r in (6, 12, 18))])
    x = layers.Conv2D(21, 1)(conv(x, 128, 1))
    x = layers.UpSampling2D(8, interpolation="bilinear")(x)
    return keras.Model(image, layers.Softmax()(x))


def dcgan(keras):
    """The generator of DCGAN (Radford et al. 2016): 100 numbers to an image of 64 x 64."""
    layers = keras.layers
    parts = [keras.Input((100,)), layers.Dense(4 * 4 * 1024, use_bias=False)]
    parts += [layers.Reshape((4, 4, 1024)), layers.BatchNormalization(), layers.ReLU()]
    for filters in (512, 256, 128):
        parts += [
            layers.Conv2DTranspose(filters, 5, strides=2, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
        ]
    last = layers.Conv2DTranspose(3, 5, strides=2, padding="same", activation="tanh")
    return keras.Sequential([*parts, last])


def unet(keras):
    """U-Net (Ronneberger et al. 2015) of 16 to 256 filters on images of 128 x 128."""
    return from_zoo(keras, "unet")((128, 128, 1), 2, width=16)


def convnext(keras):
    """Three stages of ConvNeXt-T (Liu et al. 2022), two blocks each, on images of 128 x 128."""
    layers = keras.layers

    def norm(x):
        return layers.LayerNormalization(epsilon=1e-6)(x)

    image = keras.Input((128, 128, 3))
    x = norm(layers.Conv2D(96, 4, strides=4)(image))
    for filters in (96, 192, 384):
        if filters > 96:
            x = layers.Conv2D(filters, 2, strides=2)(norm(x))
        for _ in range(2):
            y = norm(layers.DepthwiseConv2D(7, padding="same")(x))
            y = layers.Dense(4 * filters, activation="gelu")(y)
            x = layers.Add()([x, layers.Dense(filters)(y)])
    x = norm(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, layers.Dense(100, activation="softmax")(x))


def replknet(keras):
    """A stage of RepLKNet (Ding et al. 2022): depthwise 13x13 and 5x5 beside it, wide pointwise
    layers with gelu; 28 x 28 pixels of 128 channels.
    """
    layers = keras.layers

    def pointwise(x, filters):
        return normalized(layers, layers.Conv2D(filters, 1, use_bias=False), x)

    def large(x):
        branches = [
            layers.BatchNormalization()(
                layers.DepthwiseConv2D(kernel, padding="same", use_bias=False)(x)
            )
            for kernel in (13, 5)
        ]
        return layers.Activation("relu")(layers.Add()(branches))

    image = keras.Input((112, 112, 3))
    first = layers.Conv2D(128, 3, strides=2, padding="same", use_bias=False)
    x = normalized(layers, first, image)
    down = layers.DepthwiseConv2D(3, strides=2, padding="same", use_bias=False)
    x = pointwise(normalized(layers, down, x), 128)
    for _ in range(2):
        y = large(pointwise(layers.BatchNormalization()(x), 128))
        x = layers.Add()([x, normalized(layers, layers.Conv2D(128, 1, use_bias=False), y, False)])
        y = layers.Conv2D(512, 1, activation="gelu")(layers.BatchNormalization()(x))
        x = layers.Add()([x, layers.Conv2D(128, 1)(y)])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(100, activation="softmax")(x))


def anomaly(keras):
    """An autoencoder of sequences, as Keras's example "Timeseries anomaly detection" has it."""
    layers = keras.layers

    def conv(layer, filters, strides=1, activation="relu"):
        return layer(filters, 7, strides=strides, padding="same", activation=activation)

    return keras.Sequential(
        [
            keras.Input((288, 1)),
            conv(layers.Conv1D, 32, 2),
            layers.Dropout(0.2),
            conv(layers.Conv1D, 16, 2),
            conv(layers.Conv1DTranspose, 16, 2),
            layers.Dropout(0.2),
            conv(layers.Conv1DTranspose, 32, 2),
            conv(layers.Conv1DTranspose, 1, activation=None),
        ]
    )


MODELS = {
    "m5": Setting(m5, (8000, 1), batch=32, steps=6, classes=35),
    "tcn": Setting(tcn, (784, 1), batch=32, steps=8),
    "wavenet": Setting(wavenet, (2048, 1), batch=8, steps=6, classes=256, labels=(2048,)),
    "voxnet": Setting(voxnet, (32, 32, 32, 1), batch=32, steps=6, classes=40),
    "c3d": Setting(c3d, (8, 56, 56, 3), batch=4, steps=2, classes=101),
    "resnet18": Setting(resnet18, (112, 112, 3), batch=16, steps=2, classes=100),
    "resnext": Setting(resnext, (112, 112, 3), batch=16, steps=2, classes=100),
    "deeplab": Setting(deeplab, (256, 256, 3), batch=4, steps=3, classes=21, labels=(256, 256)),
    "dcgan": Setting(dcgan, (100,), batch=16, steps=2, labels=(64, 64, 3), loss=MSE),
    "unet": Setting(unet, (128, 128, 1), batch=8, steps=4, classes=2, labels=(128, 128)),
    "convnext": Setting(convnext, (128, 128, 3), batch=8, steps=4, classes=100),
    "replknet": Setting(replknet, (112, 112, 3), batch=8, steps=4, classes=100),
    "anomaly": Setting(anomaly, (288, 1), batch=128, steps=20, labels=(288, 1), loss=MSE),
}


def data(setting, np, samples=None):
    """Random samples and labels, the same for every framework; an epoch of them by default."""
    rng = np.random.default_rng(0)
    samples = samples or setting.batch * setting.steps
    shape = (samples, *setting.shape)
    if setting.words:
        x = rng.integers(0, setting.words, shape).astype("int32")
    else:
        x = rng.standard_normal(shape, dtype=np.float32)
    shape = (samples, *setting.labels)
    if setting.loss == CLASSES:
        return x, rng.integers(0, setting.classes, shape).astype("int32")
    if setting.loss == BINARY:
        return x, rng.random(shape, dtype=np.float32)
    return x, rng.standard_normal(shape, dtype=np.float32)
