"""ConvNeXt V2-Atto, trained first to fill in pictures of which it sees two fifths, without labels.

    python models/convnext_v2.py [--pretrain 20] [--labelled 100] [--device cuda] [--epochs 20] ...

S. Woo et al., "ConvNeXt V2: co-designing and scaling ConvNets with masked autoencoders" (2023).
With 1000 classes the network has the 3,708,400 parameters of its authors' `convnextv2_atto`.

Its first training is a fully convolutional masked autoencoder: of each picture, patches of as many
pixels as the last map's pixel has are hidden, 60 % of them. The encoder is the network, sparse: a
convolution sees visible places alone, and makes nothing of the others (`MaskedDepthwiseConv2D`), so
that no edge of a hole gives it away. A token that is learned stands for what was hidden, one block
and a linear map make pixels of the whole, and the loss is their squared distance from the picture,
over hidden patches only, each of these normalized.
"""

import numpy as np
import zoo
import zoo_data

import nbcnn as keras

layers, ops = keras.layers, keras.ops

ATTO = {"widths": (40, 80, 160, 320), "depths": (2, 2, 6, 2), "stem": 4}
# For pictures of 32 x 32: 8 x 8 patches.
SMALL = {"widths": (32, 64), "depths": (2, 2), "stem": 2}
HIDDEN = 0.6
DECODER = 512  # channels


def normalization(name):
    return layers.LayerNormalization(epsilon=1e-6, name=name)


def block(x, name, mask=None):
    """Depthwise 7x7, four times wider, global response normalization, narrower, added to x."""
    channels = x.shape[-1]
    kind = layers.DepthwiseConv2D if mask is None else layers.MaskedDepthwiseConv2D
    depthwise = kind(7, padding="same", name=f"{name}_depthwise")
    y = depthwise(x if mask is None else [x, mask])
    y = normalization(f"{name}_norm")(y)
    y = layers.Dense(4 * channels, activation="gelu", name=f"{name}_wide")(y)
    competition = layers.GlobalResponseNormalization(name=f"{name}_competition")
    y = competition(y if mask is None else [y, mask])
    return layers.Add()([x, layers.Dense(channels, name=f"{name}_narrow")(y)])


def trunk(image, widths, depths, stem, mask=None):
    """All stages: (n, h, w, c) -> (n, h / patch, w / patch, widths[-1]). Between its blocks a map
    has one place for each patch of the stage, and no layer but theirs mixes patches of the mask.
    """
    x = normalization("stem_norm")(layers.Conv2D(widths[0], stem, stem, name="stem")(image))
    for stage, (width, depth) in enumerate(zip(widths, depths)):
        if stage:
            x = normalization(f"stage{stage}_norm")(x)
            x = layers.Conv2D(width, 2, 2, name=f"stage{stage}_down")(x)
        for index in range(depth):
            x = block(x, f"stage{stage}_block{index}", mask)
    return x


def build(
    input_shape=(224, 224, 3), classes=1000, widths=(40, 80, 160, 320), depths=(2, 2, 6, 2), stem=4
):
    """The classifier, not yet compiled. `widths` and `depths`: channels and blocks of each stage;
    `stem`: side of the first patches, halved in number at each further stage.
    """
    image = keras.Input(input_shape)
    x = layers.GlobalAveragePooling2D()(trunk(image, widths, depths, stem))
    return keras.Model(image, layers.Dense(classes, activation="softmax")(normalization("norm")(x)))


@keras.saving.register_keras_serializable(package="zoo")
class MaskToken(layers.Layer):
    """[x (n, h, w, c), mask (n, h, w)] -> x where the mask is 1, else a token that is learned."""

    def build(self, input_shape):
        channels = input_shape[0][-1]
        self.token = self.add_weight((channels,), initializer="zeros", name="token")

    def call(self, inputs):
        x, mask = inputs
        visible = ops.expand_dims(ops.cast(mask, x.dtype), -1)
        return x * visible + self.token * (1.0 - visible)


@keras.saving.register_keras_serializable(package="zoo")
class HiddenPatchLoss(layers.Layer):
    """[image, prediction (n, rows, columns, patch * patch * channels), mask] -> the prediction.

    Adds to the loss: the squared distance from the normalized patches of the image, mean over those
    where the mask is 0. In inference `PatchMask` hides none: then it adds 0.
    """

    def call(self, inputs):
        image, prediction, mask = inputs
        patches = patches_of(image, image.shape[1] // prediction.shape[1])
        mean = ops.mean(patches, axis=-1, keepdims=True)
        variance = ops.var(patches, axis=-1, keepdims=True)
        wanted = (patches - mean) / ops.sqrt(variance + 1e-6)
        error = ops.mean(ops.square(prediction - wanted), axis=-1)
        hidden = 1.0 - ops.cast(mask, error.dtype)
        self.add_loss(ops.sum(error * hidden) / ops.maximum(ops.sum(hidden), 1.0))
        return prediction


def patches_of(image, side):
    """(n, h, w, c) -> (n, h / side, w / side, side * side * c)."""
    height, width, channels = image.shape[1:]
    rows, columns = height // side, width // side
    x = ops.reshape(image, (-1, rows, side, columns, side, channels))
    return ops.reshape(
        ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, rows, columns, side**2 * channels)
    )


def build_autoencoder(input_shape, hidden=HIDDEN, decoder=DECODER, **sizes):
    """The masked autoencoder, not yet compiled: `fit(images)` trains it, it has its loss in it.

    hidden: share of the patches that are hidden. decoder: channels of the decoder. sizes: `widths`,
    `depths` and `stem` as for `build`, default those of Atto.

    Raises ValueError for images whose sides are not multiples of the patches'.
    """
    sizes = {**ATTO, **sizes}
    side = sizes["stem"] << len(sizes["widths"]) - 1
    if any(n % side for n in input_shape[:2]):
        raise ValueError(
            f"convnext_v2: sides of images must be multiples of {side}, got {input_shape[:2]}"
        )
    image = keras.Input(input_shape)
    mask = layers.PatchMask(side, hidden)(image)
    x = trunk(image, mask=mask, **sizes)
    x = MaskToken()([layers.Dense(decoder, name="decoder")(x), mask])
    x = block(x, "decoder_block")
    x = layers.Dense(side**2 * input_shape[2], name="pixels")(x)
    return keras.Model(image, HiddenPatchLoss()([image, x, mask]))


def transfer(source, target):
    """Give a model the weights of the layers that another has under the same names."""
    there = {layer.name: layer for layer in source.layers if layer.weights}
    for layer in target.layers:
        if layer.name in there:
            layer.set_weights(there[layer.name].get_weights())


def pretrained(images, args):
    """The masked autoencoder after `args.pretrain` epochs with pictures."""
    model = build_autoencoder(images.shape[1:], decoder=64, **SMALL)
    print("masked autoencoder:")
    zoo.describe(model)
    model.compile(keras.optimizers.AdamW(args.learning_rate, weight_decay=0.05))
    model.fit(images, batch_size=args.batch_size, epochs=args.pretrain, verbose=args.verbose)
    return model


def main():
    parser = zoo.argument_parser(build, learning_rate=2e-3, epochs=20)
    add = parser.add_argument
    add("--pretrain", type=int, default=20, help="epochs without labels (20; none with --load)")
    add("--labelled", type=int, default=100, help="pictures with labels, default: %(default)s")
    add("--size", type=int, default=32, help="height and width of pictures, default: %(default)s")
    args = parser.parse_args()
    zoo.start(args)
    shape = (args.size, args.size, 1)
    every = zoo_data.load(args.data, shape, args.batch_size, args.limit)
    images = np.concatenate([every.train[index][0] for index in range(len(every.train))])
    few = zoo_data.load(args.data, shape, args.batch_size, args.labelled)
    data = few._replace(test=every.test)
    model = zoo.loaded(args) or build(shape, data.classes, **SMALL)
    if args.pretrain and not args.load:
        transfer(pretrained(images, args), model)
    zoo.run(model, data, args)


if __name__ == "__main__":
    main()
