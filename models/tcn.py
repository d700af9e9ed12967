"""A temporal convolutional network reads digits pixel by pixel.

    python models/tcn.py [--size 28] [--device cuda] [--epochs 20] ...

S. Bai, J. Z. Kolter and V. Koltun, "An empirical evaluation of generic convolutional and recurrent
networks for sequence modeling" (2018), their "sequential MNIST": causal convolutions whose
dilations double from block to block, 8 blocks of 25 filters and kernels of 7, 66,510 parameters
(the paper says 70 thousand; the authors' weight normalization would add a factor for each filter of
the sixteen: 66,910). The digits' last pixel sees them all: 1 + 2 * 6 * (2^8 - 1) = 3,061 steps.
"""

import zoo
import zoo_data

import nbcnn as keras

layers = keras.layers


def build(
    input_shape=(784, 1), classes=10, width=25, kernel=7, levels=8, dropout=0.0, last_step=False
):
    """The network, not yet compiled. `last_step`: what it says after the last step counts, as in
    the paper, not the mean over all.
    """
    steps = keras.Input(input_shape)
    x = steps
    for level in range(levels):
        y = x
        for _ in range(2):
            rate = 2**level
            options = {"dilation_rate": rate, "padding": "causal", "activation": "relu"}
            y = layers.Conv1D(width, kernel, **options)(y)
            if dropout:
                y = layers.SpatialDropout1D(dropout)(y)
        if x.shape[-1] != width:
            x = layers.Conv1D(width, 1)(x)
        x = layers.Activation("relu")(layers.Add()([x, y]))
    if last_step:
        x = layers.Flatten()(layers.Cropping1D((input_shape[0] - 1, 0))(x))
    else:
        x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(steps, layers.Dense(classes, activation="softmax")(x))


def as_sequences(images):
    """Images (n, h, w, 1) -> (n, h * w, 1), row after row."""
    return images.reshape(len(images), -1, 1)


def main():
    parser = zoo.argument_parser(build, epochs=10, pictures=False)
    parser.add_argument("--size", type=int, default=14, help="of digits, default: %(default)s")
    args = parser.parse_args()
    zoo.start(args)
    train, test = ((as_sequences(x), y) for x, y in keras.datasets.digits.load_data(size=args.size))
    model = zoo.loaded(args) or build(train[0].shape[1:])
    zoo.run(model, zoo_data.of_arrays(train, test, args.batch_size), args)


if __name__ == "__main__":
    main()
