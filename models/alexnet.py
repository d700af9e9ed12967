"""AlexNet: five convolutions and three dense layers, which won ImageNet's contest in 2012.

    python models/alexnet.py [--variant torchvision] [--size 227] [--device cuda] [--epochs 5] ...

A. Krizhevsky, I. Sutskever and G. Hinton, "ImageNet classification with deep convolutional neural
networks" (2012). Two networks have this name:

"caffe": that of the paper, as Caffe's `bvlc_alexnet` has it. The second, fourth and fifth
    convolution are split into two groups, one for each of the two GPUs it was trained on. The first
    two layers' maps are normalized across channels, which has no parameters. 60,965,224 parameters
    and 724 M multiply-adds for 227x227 pixels (V. Sze et al., "Efficient processing of deep neural
    networks" (2017), table II: 61 M and 724 M). The paper says 224x224 pixels, which does not give
    its 55x55 maps.
"torchvision": A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks"
    (2014): one GPU, no groups, fewer filters, no normalization: 61,100,840 parameters, 714 M
    multiply-adds for 224x224 pixels.
"""

from zoo import main, require_choice, require_size

import nbcnn as keras

layers = keras.layers

# Filters, and the groups of the second, fourth and fifth convolution.
VARIANTS = {
    "caffe": ((96, 256, 384, 384, 256), 2),
    "torchvision": ((64, 192, 384, 256, 256), 1),
}


def build(input_shape=(227, 227, 3), classes=1000, variant="caffe", dropout=0.5):
    """The network, not yet compiled; `input_shape`: 67x67 pixels or more ("torchvision": 63x63)."""
    require_choice("alexnet", "variant", variant, VARIANTS)
    # torchvision puts two pixels of zeros around the picture, so that 224 do for 55x55 maps.
    border = 2 if variant == "torchvision" else 0
    require_size("alexnet", input_shape, 67 - 2 * border)
    filters, groups = VARIANTS[variant]

    def convolution(number, kernel, strides=1, groups=1):
        same = {"padding": "same"} if strides == 1 else {}
        return layers.Conv2D(
            filters[number], kernel, strides, groups=groups, activation="relu",
            kernel_initializer="he_normal", **same,
        )  # fmt: skip

    def normalization():
        """Neighbouring channels compete, with the paper's numbers; its alpha of 1e-4 is a factor of
        the sum over 5 channels, the layer's of their mean.
        """
        if variant == "torchvision":
            return []
        return [layers.LocalResponseNormalization(size=5, alpha=5e-4, beta=0.75, k=2)]

    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.ZeroPadding2D(border),
            convolution(0, 11, strides=4),  # 55x55
            *normalization(),
            layers.MaxPooling2D(3, strides=2),  # windows overlap; 27x27
            convolution(1, 5, groups=groups),
            *normalization(),
            layers.MaxPooling2D(3, strides=2),  # 13x13
            convolution(2, 3),
            convolution(3, 3, groups=groups),
            convolution(4, 3, groups=groups),
            layers.MaxPooling2D(3, strides=2),  # 6x6
            layers.Flatten(),
            layers.Dense(4096, activation="relu"),
            layers.Dropout(dropout),
            layers.Dense(4096, activation="relu"),
            layers.Dropout(dropout),
            layers.Dense(classes, activation="softmax"),
        ],
        name="alexnet",
    )


if __name__ == "__main__":
    main(build, (67, 67, 3), learning_rate=1e-4, variant=tuple(VARIANTS))
