"""EfficientNet-B0: inverted residuals with squeeze-and-excitation, found by a search.

    python models/efficientnet.py [--width 0.5] [--device cuda] [--epochs 5] ...

M. Tan and Q. Le, "EfficientNet: rethinking model scaling for convolutional neural networks" (2019).
With 1000 classes it has the 5,288,548 trainable parameters of torchvision's `efficientnet_b0` (the
paper says 5.3 million; Keras's `EfficientNetB0` counts statistics, too: 5,330,571, 7 of them of
its normalization of the image, which is not part of this network).
"""

import math

from mobilenet import scaled
from zoo import main

import nbcnn as keras

layers = keras.layers

# Factor of the width inside, filters, how many blocks, stride of the first one, kernel.
STAGES = [(1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3)]
STAGES += [(6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)]


def normalized(layer, x, activation="silu"):
    """A convolution without bias and its batch normalization."""
    x = layers.BatchNormalization(momentum=0.9)(layer(x))
    return x if activation is None else layers.Activation(activation)(x)


def convolution(x, filters, kernel=1, strides=1, activation="silu"):
    layer = layers.Conv2D(filters, kernel, strides, padding="same", use_bias=False)
    return normalized(layer, x, activation)


def squeeze_excite(x, squeezed):
    """Each channel times a factor from 0 to 1 that follows from the means of all channels."""
    y = layers.GlobalAveragePooling2D(keepdims=True)(x)
    y = layers.Conv2D(squeezed, 1, activation="silu")(y)
    y = layers.Conv2D(x.shape[-1], 1, activation="sigmoid")(y)
    return layers.Multiply()([x, y])


def block(x, filters, kernel, strides, factor, drop):
    """Wider, depthwise, excited, narrower; added to x where the sizes are the same, if not dropped:
    in training the block of a whole sample is left out with probability `drop`.
    """
    y = x if factor == 1 else convolution(x, factor * x.shape[-1])
    layer = layers.DepthwiseConv2D(kernel, strides, padding="same", use_bias=False)
    y = squeeze_excite(normalized(layer, y), max(1, x.shape[-1] // 4))
    y = convolution(y, filters, activation=None)
    if x.shape != y.shape:
        return y
    if drop:
        y = layers.Dropout(drop, noise_shape=(None, 1, 1, 1))(y)
    return layers.Add()([x, y])


def build(
    input_shape=(224, 224, 3), classes=1000, width=1.0, depth=1.0, dropout=0.2, drop_connect=0.2
):
    """The network, not yet compiled. `width` and `depth`: factors on filters and blocks, by which
    B1 to B7 differ from B0; `drop_connect`: see `block`, growing from 0 to this with the depth.
    """
    image = keras.Input(input_shape)
    x = convolution(image, scaled(32, width), 3, 2)
    repeats = [math.ceil(depth * blocks) for _, _, blocks, _, _ in STAGES]
    done, total = 0, sum(repeats)
    for (factor, filters, _, strides, kernel), blocks in zip(STAGES, repeats):
        for index in range(blocks):
            drop = drop_connect * done / total
            x = block(x, scaled(filters, width), kernel, 1 if index else strides, factor, drop)
            done += 1
    x = layers.GlobalAveragePooling2D()(convolution(x, scaled(1280, width)))
    return keras.Model(
        image, layers.Dense(classes, activation="softmax")(layers.Dropout(dropout)(x))
    )


if __name__ == "__main__":
    main(build, (32, 32, 3), width=(1.0, 0.5), depth=(1.0, 0.5))
