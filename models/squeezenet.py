"""SqueezeNet: as good as AlexNet with one fiftieth of its parameters.

    python models/squeezenet.py [--version 1.0] [--size 224] [--device cuda] [--epochs 5] ...

F. Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5 MB model
size" (2016), table 1. A *fire* block squeezes the channels by a 1x1 convolution and expands them
again, half by 1x1 and half by 3x3 kernels. There is no dense layer: the last convolution has a map
for each class, and its mean is the class's score. The authors' version 1.1 has smaller kernels in
front and pools earlier.

With 1000 classes and 224x224 pixels, parameters and M multiply-adds as torchvision states them:

    version 1.0 1,248,424 and 819        version 1.1 1,235,496 and 349
"""

from zoo import main, require_choice, require_size

import nbcnn as keras

layers = keras.layers

# First convolution (filters, kernel), then fire blocks (squeezed, expanded) and pools.
POOL = None
VERSIONS = {
    "1.0": (
        (96, 7),
        (POOL, (16, 64), (16, 64), (32, 128))
        + (POOL, (32, 128), (48, 192), (48, 192), (64, 256))
        + (POOL, (64, 256)),
    ),
    "1.1": (
        (64, 3),
        (POOL, (16, 64), (16, 64))
        + (POOL, (32, 128), (32, 128))
        + (POOL, (48, 192), (48, 192), (64, 256), (64, 256)),
    ),
}  # fmt: skip


def fire(x, squeezed, expanded):
    x = layers.Conv2D(squeezed, 1, activation="relu", kernel_initializer="he_uniform")(x)
    ways = [
        layers.Conv2D(
            expanded, kernel, padding="same", activation="relu", kernel_initializer="he_uniform"
        )(x)
        for kernel in (1, 3)
    ]
    return layers.Concatenate()(ways)


def pool(x):
    """3x3 windows in steps of 2; the last may stand over the edge by one pixel, as in Caffe."""
    over = [(size - 3) % 2 for size in x.shape[1:3]]
    return layers.MaxPooling2D(3, strides=2, padding=((0, over[0]), (0, over[1])))(x)


def build(input_shape=(224, 224, 3), classes=1000, version="1.1", dropout=0.5):
    """The network, not yet compiled. Pictures need 17x17 pixels or more, for version 1.0 21x21."""
    require_choice("squeezenet", "version", version, VERSIONS)
    require_size("squeezenet", input_shape, 21 if version == "1.0" else 17)
    (filters, kernel), parts = VERSIONS[version]
    image = keras.Input(input_shape)
    x = layers.Conv2D(
        filters, kernel, 2, activation="relu", kernel_initializer="he_uniform"
    )(image)  # fmt: skip
    for part in parts:
        x = pool(x) if part is POOL else fire(x, *part)
    x = layers.Dropout(dropout)(x)
    # Small weights: all classes start with about the same score, and few with none at all.
    small = keras.initializers.RandomNormal(stddev=0.01)
    x = layers.Conv2D(classes, 1, activation="relu", kernel_initializer=small)(x)
    scores = layers.GlobalAveragePooling2D()(x)
    name = f"squeezenet_{version.replace('.', '_')}"
    return keras.Model(image, layers.Activation("softmax")(scores), name=name)


if __name__ == "__main__":
    main(build, (64, 64, 3), learning_rate=3e-4, version=("1.1", "1.0"))
