"""VGG: nothing but 3x3 convolutions, 2x2 pools and three dense layers.

    python models/vgg.py [--depth 16] [--batch-norm] [--size 224] [--device cuda] [--epochs 5] ...

K. Simonyan and A. Zisserman, "Very deep convolutional networks for large-scale image recognition"
(2014). Two 3x3 kernels after each other see 5x5 pixels, three see 7x7, with fewer parameters and
more activations between them. `depth` counts the layers with weights; the paper's table 1 calls 11
configuration A, 13 B, 16 D and 19 E. With 1000 classes and 224x224 pixels, parameters and M
multiply-adds as torchvision states them:

    VGG-11 132,863,336 and 7,609         with batch normalization 132,868,840
    VGG-16 138,357,544 and 15,470        with batch normalization 138,365,992

124 million parameters of each are in the dense layers. Keras's `VGG16` counts the same.
"""

from zoo import main, require_choice, require_size

import nbcnn as keras

layers = keras.layers

FILTERS = (64, 128, 256, 512, 512)  # of the five stages, each of which ends in a pool
CONVOLUTIONS = {  # of each stage, by depth
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


def build(input_shape=(224, 224, 3), classes=1000, depth=16, batch_norm=False, dropout=0.5):
    """The network, not yet compiled. Pictures must have 32x32 pixels or more.

    `batch_norm`: normalize after each convolution, without which a deep one needs a good start.
    """
    require_choice("vgg", "depth", depth, CONVOLUTIONS)
    require_size("vgg", input_shape, 2 ** len(FILTERS))
    parts = [keras.Input(input_shape)]
    for filters, convolutions in zip(FILTERS, CONVOLUTIONS[depth], strict=True):
        for _ in range(convolutions):
            parts.append(layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal"))
            if batch_norm:
                parts.append(layers.BatchNormalization(momentum=0.9, epsilon=1e-5))
            parts.append(layers.Activation("relu"))
        parts.append(layers.MaxPooling2D(2))
    parts.append(layers.Flatten())
    for _ in range(2):
        parts += [layers.Dense(4096, activation="relu"), layers.Dropout(dropout)]
    parts.append(layers.Dense(classes, activation="softmax"))
    return keras.Sequential(parts, name=f"vgg{depth}")


if __name__ == "__main__":
    main(build, (32, 32, 3), learning_rate=1e-4, depth=(11, 13, 16, 19), batch_norm=(False, True))
