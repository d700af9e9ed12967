"""ResNet for photographs: blocks learn what to add to their input.

    python models/resnet.py [--depth 50] [--size 224] [--device cuda] [--epochs 5] ...

K. He, X. Zhang, S. Ren and J. Sun, "Deep residual learning for image recognition" (2015), table 1.
Blocks of 18 and 34 layers have two 3x3 convolutions; those of 50 and more have a *bottleneck*, 1x1
to few channels, 3x3, 1x1 to four times as many. Where a block halves height and width, so does the
3x3 convolution of a bottleneck, as in torchvision ("version 1.5"), not the first 1x1 one, as in the
paper: parameters stay, the network costs 4.1 rather than 3.9 G multiply-adds.

With 1000 classes and 224x224 pixels, parameters and M multiply-adds as torchvision states them:

    ResNet-18 11,689,512 and 1,814        ResNet-50 25,557,032 and 4,089

Keras's `ResNet50` has 25,583,592 trainable ones: its convolutions have biases, which the
normalization after them takes out again. `resnet_cifar.py` has the paper's other networks.
"""

from zoo import main, require_choice

import nbcnn as keras

layers = keras.layers

# Blocks of the four stages, and whether they are bottlenecks.
DEPTHS = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}


def convolution(x, filters, kernel, strides=1, activation=None):
    """Convolution without bias, batch normalization, activation."""
    x = layers.Conv2D(
        filters, kernel, strides, padding="same", use_bias=False, kernel_initializer="he_normal"
    )(x)
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
    return x if activation is None else layers.Activation(activation)(x)


def residual(x, filters, strides, bottleneck):
    """relu(shortcut + what is learned); the shortcut is a 1x1 convolution where shapes differ."""
    if bottleneck:
        y = convolution(x, filters, 1, activation="relu")
        y = convolution(y, filters, 3, strides, activation="relu")
        y = convolution(y, 4 * filters, 1)
    else:
        y = convolution(x, filters, 3, strides, activation="relu")
        y = convolution(y, filters, 3)
    shortcut = x if x.shape == y.shape else convolution(x, y.shape[-1], 1, strides)
    return layers.Activation("relu")(layers.Add()([shortcut, y]))


def build(input_shape=(224, 224, 3), classes=1000, depth=50):
    """The network, not yet compiled; pictures of any size. `depth`: 18, 34, 50, 101 or 152."""
    require_choice("resnet", "depth", depth, DEPTHS)
    blocks, bottleneck = DEPTHS[depth]
    image = keras.Input(input_shape)
    x = convolution(image, 64, 7, strides=2, activation="relu")
    x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    for stage, count in enumerate(blocks):
        for block in range(count):
            strides = 2 if stage > 0 and block == 0 else 1
            x = residual(x, 64 << stage, strides, bottleneck)
    x = layers.GlobalAveragePooling2D()(x)
    outputs = layers.Dense(classes, activation="softmax")(x)
    return keras.Model(image, outputs, name=f"resnet{depth}")


if __name__ == "__main__":
    main(build, (64, 64, 3), depth=(18, 34, 50, 101, 152))
