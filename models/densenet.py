"""DenseNet: each layer sees the maps of all layers before it.

    python models/densenet.py [--size 224] [--device cuda] [--epochs 5] ...

G. Huang, Z. Liu, L. van der Maaten and K. Weinberger, "Densely connected convolutional networks"
(2016), table 1, with bottlenecks and compression ("DenseNet-BC"). A layer adds `growth_rate` maps
to those that are there; between blocks a 1x1 convolution halves their number and a pool the
picture. DenseNet-121 with 1000 classes has 7,978,856 parameters and, for 224x224 pixels, 2,834 M
multiply-adds, as torchvision states them; Keras's `DenseNet121` has as many trainable ones.
"""

from zoo import main, require_choice, require_size

import nbcnn as keras

layers = keras.layers

# Layers of the blocks, and the growth rate.
DEPTHS = {
    121: ((6, 12, 24, 16), 32),
    161: ((6, 12, 36, 24), 48),
    169: ((6, 12, 32, 32), 32),
    201: ((6, 12, 48, 32), 32),
}


def normalized(x):
    """Batch normalization and relu, which come before each convolution here."""
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
    return layers.Activation("relu")(x)


def convolution(x, filters, kernel, strides=1):
    return layers.Conv2D(
        filters, kernel, strides, padding="same", use_bias=False, kernel_initializer="he_normal"
    )(x)


def dense_layer(x, growth_rate):
    """`growth_rate` new maps beside the old ones; the 1x1 convolution keeps the 3x3 one cheap."""
    y = convolution(normalized(x), 4 * growth_rate, 1)
    y = convolution(normalized(y), growth_rate, 3)
    return layers.Concatenate()([x, y])


def transition(x):
    """Half as many maps of half the size."""
    x = convolution(normalized(x), x.shape[-1] // 2, 1)
    return layers.AveragePooling2D(2)(x)


def build(input_shape=(224, 224, 3), classes=1000, depth=121, blocks=None, growth_rate=None):
    """The network, not yet compiled. Pictures must have 29x29 pixels or more.

    `blocks`, `growth_rate`: other ones than those of `depth`, such as (2, 2, 2) and 12.
    """
    require_choice("densenet", "depth", depth, DEPTHS)
    require_size("densenet", input_shape, 29)
    blocks = blocks or DEPTHS[depth][0]
    growth_rate = growth_rate or DEPTHS[depth][1]
    image = keras.Input(input_shape)
    x = normalized(convolution(image, 2 * growth_rate, 7, strides=2))
    x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    for number, count in enumerate(blocks):
        if number > 0:
            x = transition(x)
        for _ in range(count):
            x = dense_layer(x, growth_rate)
    x = layers.GlobalAveragePooling2D()(normalized(x))
    outputs = layers.Dense(classes, activation="softmax")(x)
    layers_in_all = 2 * sum(blocks) + len(blocks) + 1
    return keras.Model(image, outputs, name=f"densenet{layers_in_all}")


if __name__ == "__main__":
    main(build, (32, 32, 3), depth=(121, 161, 169, 201))
