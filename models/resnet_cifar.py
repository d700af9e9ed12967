"""ResNet for small pictures: 6n + 2 layers of 16, 32 and 64 filters.

    python models/resnet_cifar.py --data cifar10 [--depth 56] [--shortcut project] [--epochs 20] ...

K. He, X. Zhang, S. Ren and J. Sun, "Deep residual learning for image recognition" (2015), section
4.2. A block is two 3x3 convolutions, whose result is added to the block's input. Where a block
halves the picture and doubles the channels, the input has to follow:

"pad": every second pixel, and zeros for the new channels, without parameters: the paper's option A.
    ResNet-20 has 269,722 parameters, ResNet-56 853,018, as Y. Idelbayev's implementation counts
    them; the paper's table 6 says 0.27 M and 0.85 M. 40.6 and 125.5 M multiply-adds (M. Lin et al.,
    "HRank" (2020), table 3: 125.49 M for the latter).
"project": a 1x1 convolution with batch normalization, option B: 272,474 and 855,770.
"""

from resnet import convolution
from zoo import main, require_choice

import nbcnn as keras

layers, ops = keras.layers, keras.ops

SHORTCUTS = ("pad", "project")


def shortened(x, filters, strides, shortcut):
    """The block's input in the shape of its result."""
    if strides == 1 and x.shape[-1] == filters:
        return x
    if shortcut == "project":
        return convolution(x, filters, 1, strides)
    new = filters - x.shape[-1]
    return ops.pad(x[:, ::strides, ::strides], ((0, 0), (0, 0), (0, 0), (new // 2, new - new // 2)))


def residual(x, filters, strides, shortcut):
    """relu(shortcut + what two 3x3 convolutions learn)."""
    y = convolution(x, filters, 3, strides, activation="relu")
    y = convolution(y, filters, 3)
    y = layers.Add()([shortened(x, filters, strides, shortcut), y])
    return layers.Activation("relu")(y)


def build(input_shape=(32, 32, 3), classes=10, depth=20, shortcut="pad"):
    """The network, not yet compiled; pictures of any size.

    `depth`: 6n + 2 for n = 1, 2, ...; the paper has 20, 32, 44, 56, 110 and 1202.
    """
    require_choice("resnet_cifar", "shortcut", shortcut, SHORTCUTS)
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        raise ValueError(f"resnet_cifar: depth must be 6n + 2, as 20 or 56, got {depth}")
    image = keras.Input(input_shape)
    x = convolution(image, 16, 3, activation="relu")
    for filters in (16, 32, 64):
        for block in range(blocks):
            strides = 2 if filters > 16 and block == 0 else 1
            x = residual(x, filters, strides, shortcut)
    x = layers.GlobalAveragePooling2D()(x)
    outputs = layers.Dense(classes, activation="softmax")(x)
    return keras.Model(image, outputs, name=f"resnet{depth}")


if __name__ == "__main__":
    main(build, (32, 32, 3), 64, depth=(20, 32, 44, 56, 110), shortcut=SHORTCUTS)
