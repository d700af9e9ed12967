"""A convolutional autoencoder takes the noise from handwritten digits.

    python models/autoencoder.py [--device cuda] [--epochs 20] ...

An encoder of convolutions and pools leaves 7x7x32 numbers of an image, a decoder of transposed
convolutions makes an image of them: the network of Keras's example "Convolutional autoencoder for
image denoising" (S. Kundu, 2021), with its 28,353 parameters.
"""

import numpy as np
import zoo

import nbcnn as keras

layers = keras.layers


def build(input_shape=(28, 28, 1), width=32):
    """The network, not yet compiled: images with values from 0 to 1, of the input's shape. Heights
    and widths are multiples of 4.
    """
    height, across, channels = input_shape
    if height % 4 or across % 4:
        raise ValueError(f"autoencoder: images must be multiples of 4, got {height} x {across}")
    parts = [keras.Input(input_shape)]
    for _ in range(2):
        parts += [
            layers.Conv2D(width, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2, padding="same"),
        ]
    for _ in range(2):
        parts.append(layers.Conv2DTranspose(width, 3, strides=2, padding="same", activation="relu"))
    last = layers.Conv2D(channels, 3, padding="same", activation="sigmoid")
    return keras.Sequential([*parts, last])


def noisy(images, scale=0.4, seed=0):
    """Images with normal noise, clipped to 0..1."""
    noise = np.random.default_rng(seed).normal(scale=scale, size=images.shape)
    return np.clip(images + noise, 0, 1).astype("float32")


def main():
    parser = zoo.argument_parser(build, epochs=20, pictures=False)
    args = parser.parse_args()
    zoo.start(args)
    (x, _), (x_test, _) = keras.datasets.digits.load_data()
    model = zoo.loaded(args) or build()
    zoo.describe(model)
    if model.optimizer is None:
        model.compile(keras.optimizers.Adam(args.learning_rate), "binary_crossentropy")
    zoo.fit(model, noisy(x), x, args)
    inputs = noisy(x_test, seed=1)
    outputs = model.predict(inputs, verbose=0)
    for name, images in (("noisy", inputs), ("cleaned", outputs)):
        print(f"{name}: mean squared error {np.mean((images - x_test) ** 2):.4f}")
    zoo.finish(model, args)


if __name__ == "__main__":
    main()
