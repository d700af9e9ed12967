"""GoogLeNet, the first Inception: blocks that look at windows of several sizes side by side.

    python models/inception.py [--variant torchvision] [--size 224] [--device cuda] [--epochs 5] ...

C. Szegedy et al., "Going deeper with convolutions" (2014). A block joins four ways along the
channels: 1x1, 3x3 and 5x5 convolutions and a pool; 1x1 convolutions before the large ones make them
cheap. There are two variants:

"paper": the paper's table 1 with biases, and with normalization across channels around the second
    and third convolution, as Caffe's `bvlc_googlenet`, of which Netscope counts the same 6,998,552
    parameters; for 224x224 pixels table 1 adds up to 1,583 M multiply-adds.
"torchvision": batch normalization after each convolution in the place of biases, and 3x3 kernels
    where the paper has 5x5, by a mistake that stayed: 6,624,904 parameters, 1,498 M multiply-adds.

Both without the two auxiliary classifiers, which only training uses.
"""

from functools import partial

from zoo import main, require_choice

import nbcnn as keras

layers = keras.layers

VARIANTS = ("paper", "torchvision")
# Table 1, filters: 1x1; 1x1 before 3x3, and 3x3; 1x1 before 5x5, and 5x5; 1x1 after the pool. None:
# a pool that halves height and width.
BLOCKS = (
    (64, 96, 128, 16, 32, 32),
    (128, 128, 192, 32, 96, 64),
    None,
    (192, 96, 208, 16, 48, 64),
    (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128),
    None,
    (256, 160, 320, 32, 128, 128),
    (384, 192, 384, 48, 128, 128),
)


def convolution(x, filters, kernel, strides=1, batch_norm=False):
    """Convolution and relu, with batch normalization between them where wanted."""
    x = layers.Conv2D(
        filters, kernel, strides, padding="same", use_bias=not batch_norm,
        kernel_initializer="he_normal",
    )(x)  # fmt: skip
    if batch_norm:
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-3)(x)
    return layers.Activation("relu")(x)


def inception(x, filters, large, convolution):
    """Four ways side by side; `large`: size of the kernel of the third."""
    ones, before_threes, threes, before_large, larges, pooled = filters
    ways = [
        convolution(x, ones, 1),
        convolution(convolution(x, before_threes, 1), threes, 3),
        convolution(convolution(x, before_large, 1), larges, large),
        convolution(layers.MaxPooling2D(3, strides=1, padding="same")(x), pooled, 1),
    ]
    return layers.Concatenate()(ways)


def halved(x):
    return layers.MaxPooling2D(3, strides=2, padding="same")(x)


def build(input_shape=(224, 224, 3), classes=1000, variant="paper", dropout=0.4):
    """The network, not yet compiled; pictures of any size."""
    require_choice("inception", "variant", variant, VARIANTS)
    if variant == "paper":
        conv, large = convolution, 5
        normalized = layers.LocalResponseNormalization
    else:
        conv, large = partial(convolution, batch_norm=True), 3
        normalized = layers.Identity
    image = keras.Input(input_shape)
    x = halved(conv(image, 64, 7, strides=2))
    x = conv(normalized()(x), 64, 1)
    x = halved(normalized()(conv(x, 192, 3)))
    for filters in BLOCKS:
        x = halved(x) if filters is None else inception(x, filters, large, conv)
    x = layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, layers.Dense(classes, activation="softmax")(x), name="googlenet")


if __name__ == "__main__":
    main(build, (64, 64, 3), learning_rate=3e-4, variant=VARIANTS)
