"""MobileNet, version 1 or, with `--version 2`, 2: convolutions that treat every channel by itself
and 1x1 convolutions that mix the channels.

    python models/mobilenet.py [--version 2] [--width 0.5] [--device cuda] [--epochs 5] ...

A. Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision
applications" (2017); M. Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks"
(2018). With 1000 classes they have the 4,231,976 trainable parameters of Keras's `MobileNet` (the
paper says 4.2 million) and the 3,504,872 of torchvision's `mobilenet_v2` (Keras's `MobileNetV2`
counts the moving statistics, too: 3,538,984).
"""

from zoo import main

import nbcnn as keras

layers = keras.layers

# Of version 1: filters and stride of each pair of a depthwise and a 1x1 convolution.
SEPARABLE = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
SEPARABLE += [*[(512, 1)] * 5, (1024, 2), (1024, 1)]
# Of version 2: how much wider a block is inside, its filters, how many there are, stride of the
# first one.
INVERTED = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)]
INVERTED += [(6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]


def scaled(filters, width):
    """The nearest multiple of 8 to `width` times as many filters, not less than 90 % of it."""
    wanted = filters * width
    found = max(8, int(wanted + 4) // 8 * 8)
    return found if found >= 0.9 * wanted else found + 8


def normalized(layer, x, activation=None):
    """A convolution without bias and its batch normalization."""
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(layer(x))
    return x if activation is None else layers.Activation(activation)(x)


def convolution(x, filters, kernel=1, strides=1, activation=None):
    layer = layers.Conv2D(filters, kernel, strides, padding="same", use_bias=False)
    return normalized(layer, x, activation)


def depthwise(x, strides, activation):
    layer = layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)
    return normalized(layer, x, activation)


def inverted(x, filters, strides, factor):
    """Wider, depthwise, narrower without activation; added to x where the sizes are the same."""
    y = x if factor == 1 else convolution(x, factor * x.shape[-1], activation="relu6")
    y = convolution(depthwise(y, strides, "relu6"), filters)
    return layers.Add()([x, y]) if x.shape == y.shape else y


def build(input_shape=(224, 224, 3), classes=1000, version=1, width=1.0, dropout=0.0):
    """The network, not yet compiled. `width`: the factor on all filters."""
    if version not in (1, 2):
        raise ValueError(f"mobilenet: version must be 1 or 2, got {version!r}")
    image = keras.Input(input_shape)
    activation = "relu" if version == 1 else "relu6"
    x = convolution(image, scaled(32, width), 3, 2, activation)
    if version == 1:
        for filters, strides in SEPARABLE:
            x = depthwise(x, strides, activation)
            x = convolution(x, scaled(filters, width), activation=activation)
    else:
        for factor, filters, blocks, strides in INVERTED:
            for block in range(blocks):
                x = inverted(x, scaled(filters, width), 1 if block else strides, factor)
        x = convolution(x, scaled(1280, max(width, 1.0)), activation=activation)
    x = layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, layers.Dense(classes, activation="softmax")(x))


if __name__ == "__main__":
    main(build, (32, 32, 3), version=(1, 2), width=(1.0, 0.75, 0.5, 0.25))
