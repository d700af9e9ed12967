"""The textbook's convolutional network: convolve, pool, convolve, pool, flatten, classify.

    python models/textbook.py [--size 256] [--epochs 5] [--device cuda] ...

Courses draw it for photographs of 256x256 pixels and 1,000 classes:

    256x256x3 -> 256x256x64 -> 64x64x64 -> 64x64x64 -> 16x16x64 -> 16,384 -> 1,000

Each convolution has 64 maps of 3x3 kernels and keeps height and width; each pool takes the largest
of 4x4 pixels. Of its 16,423,720 parameters the two convolutions have 38,720, since their kernels
are the same everywhere: 1,792 = 64 (3·3·3 + 1) and 36,928 = 64 (3·3·64 + 1). The dense layer, which
shares nothing, has 16,385,000 = 1,000 (16,384 + 1). Had the picture been joined to 1,000 outputs
directly, without convolutions, it would be 196,609,000 = 1,000 (256·256·3 + 1).
"""

from zoo import main, require_size

import nbcnn as keras


def build(input_shape=(256, 256, 3), classes=1000):
    """The network, not yet compiled. Pictures must have 16x16 pixels or more."""
    require_size("textbook", input_shape, 16)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(4),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(4),
            layers.Flatten(),
            layers.Dense(classes, activation="softmax"),
        ],
        name="textbook",
    )


if __name__ == "__main__":
    main(build, (32, 32, 3))
