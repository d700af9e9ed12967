"""The networks that the benchmarks train: six small and medium ones, in Keras words.

`keras` is nbcnn or real Keras, `edge` the height and width of the images. Each builder returns a
model that is not compiled; `MODELS` says on what input, at which batch size and for how many steps
an epoch it is measured.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

TORCH = "torch_models"  # has them for PyTorch


class Setting(NamedTuple):
    """How a model is measured. `shape` is the shape of one image, `steps` the batches an epoch."""

    build: Callable[..., Any]
    shape: tuple[int, int, int]
    batch: int
    steps: int
    classes: int = 10


def lenet5(keras, edge=28):
    """LeNet-5 with sigmoid and average pooling: the overhead of small layers."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((edge, edge, 1)),
            layers.Conv2D(6, 5, padding="same", activation="sigmoid"),
            layers.AveragePooling2D(2),
            layers.Conv2D(16, 5, activation="sigmoid"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(120, activation="sigmoid"),
            layers.Dense(84, activation="sigmoid"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def convnet(keras, edge=28):
    """Two convolutions with max pooling and dropout: a beginner's network."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((edge, edge, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )


def vgg(keras, edge=32):
    """Six 3x3 convolutions with batch normalization: bound by convolution."""
    layers = keras.layers
    parts = [keras.Input((edge, edge, 3))]
    for filters in (64, 128, 256):
        for _ in range(2):
            parts += [
                layers.Conv2D(filters, 3, padding="same"),
                layers.BatchNormalization(),
                layers.Activation("relu"),
            ]
        parts.append(layers.MaxPooling2D(2))
    return keras.Sequential([*parts, layers.Flatten(), layers.Dense(10, activation="softmax")])


def resnet20(keras, edge=32):
    """Nine residual blocks of 16, 32 and 64 filters: fan-out, additions, many mid-sized steps."""
    layers = keras.layers

    def convolution(x, filters, strides=1, kernel_size=3):
        conv = layers.Conv2D(filters, kernel_size, strides, padding="same", use_bias=False)
        return layers.BatchNormalization()(conv(x))

    def relu(x):
        return layers.Activation("relu")(x)

    image = keras.Input((edge, edge, 3))
    x = relu(convolution(image, 16))
    for filters in (16, 32, 64):
        for block in range(3):
            strides = 2 if block == 0 and filters > 16 else 1
            y = convolution(relu(convolution(x, filters, strides)), filters)
            if strides == 2:
                x = convolution(x, filters, strides, kernel_size=1)
            x = relu(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(10, activation="softmax")(x))


def mobile(keras, edge=96):
    """Depthwise and pointwise convolutions in turn: bound by memory."""
    layers = keras.layers

    def normalized(layer):
        return [layer, layers.BatchNormalization(), layers.Activation("relu")]

    parts = [
        keras.Input((edge, edge, 3)),
        *normalized(layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False)),
    ]
    for filters, strides in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1)):
        depthwise = layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)
        parts += normalized(depthwise)
        parts += normalized(layers.Conv2D(filters, 1, use_bias=False))
    parts += [layers.GlobalAveragePooling2D(), layers.Dense(10, activation="softmax")]
    return keras.Sequential(parts)


def seed256(keras, edge=256):
    """Large images, few layers, and a dense layer of 16 million weights."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((edge, edge, 3)),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(4),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(4),
            layers.Flatten(),
            layers.Dense(1000, activation="softmax"),
        ]
    )


MODELS = {
    "lenet5": Setting(lenet5, (28, 28, 1), batch=128, steps=60),
    "convnet": Setting(convnet, (28, 28, 1), batch=128, steps=40),
    "vgg": Setting(vgg, (32, 32, 3), batch=64, steps=6),
    "resnet20": Setting(resnet20, (32, 32, 3), batch=128, steps=6),
    "mobile": Setting(mobile, (96, 96, 3), batch=32, steps=8),
    "seed256": Setting(seed256, (256, 256, 3), batch=16, steps=4, classes=1000),
}


def data(setting, np, images=None):
    """Random images and labels, the same for every framework; an epoch of them by default."""
    rng = np.random.default_rng(0)
    images = images or setting.batch * setting.steps
    x = rng.standard_normal((images, *setting.shape), dtype=np.float32)
    return x, rng.integers(0, setting.classes, images).astype("int32")
