"""A variational autoencoder: handwritten digits become points of a plane, and points digits.

    python models/vae.py [--latent 2] [--device cuda] [--epochs 60] ...

D. Kingma and M. Welling, "Auto-encoding variational Bayes" (2014), with the convolutions of
Keras's example "Variational autoencoder" (F. Chollet, 2020): 69,076 parameters in the encoder and
65,089 in the decoder.
"""

import zoo

import nbcnn as keras

layers, ops = keras.layers, keras.ops


@keras.saving.register_keras_serializable(package="zoo")
class Sampling(layers.Layer):
    """A point of the normal distribution with `mean` and `log_variance`; in inference the mean.

    z = mean + exp(log_variance / 2) * e with e from N(0, 1): a formula, so that gradients reach
    both (the reparameterization). The divergence of the distribution from N(0, 1) is added to the
    loss,

        KL = 1/2 sum(mean^2 + exp(log_variance) - log_variance - 1), a mean over the batch.
    """

    def __init__(self, weight=1.0, seed=None, **keywords):
        super().__init__(**keywords)
        self.weight = weight
        self.seed = keras.random.SeedGenerator(seed)

    def call(self, inputs, training=None):
        mean, log_variance = inputs
        parts = ops.square(mean) + ops.exp(log_variance) - log_variance - 1.0
        self.add_loss(self.weight * 0.5 * ops.mean(ops.sum(parts, axis=-1)))
        if not training:
            return mean
        noise = keras.random.normal(ops.shape(mean), seed=self.seed)
        return mean + ops.exp(0.5 * log_variance) * noise

    def get_config(self):
        return {**super().get_config(), "weight": self.weight}


@keras.saving.register_keras_serializable(package="zoo")
def reconstruction(images, outputs):
    """Cross-entropy of the pixels, summed over each image: in the unit of the divergence."""
    return ops.sum(keras.losses.binary_crossentropy(images, outputs), axis=(1, 2))


def encoder(input_shape=(28, 28, 1), latent=2):
    """Image -> mean and logarithm of the variance."""
    image = keras.Input(input_shape)
    x = image
    for filters in (32, 64):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Dense(16, activation="relu")(layers.Flatten()(x))
    outputs = [layers.Dense(latent, name=name)(x) for name in ("mean", "log_variance")]
    return keras.Model(image, outputs, name="encoder")


def decoder(output_shape=(28, 28, 1), latent=2):
    """Point -> image with values from 0 to 1."""
    height, width, channels = output_shape
    if height % 4 or width % 4:
        raise ValueError(f"vae: images must be multiples of 4, got {height} x {width}")
    point = keras.Input((latent,))
    x = layers.Dense(height // 4 * (width // 4) * 64, activation="relu")(point)
    x = layers.Reshape((height // 4, width // 4, 64))(x)
    for filters in (64, 32):
        x = layers.Conv2DTranspose(filters, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Conv2DTranspose(channels, 3, padding="same", activation="sigmoid")(x)
    return keras.Model(point, x, name="decoder")


def build(input_shape=(28, 28, 1), latent=2, weight=1.0):
    """The network, not yet compiled: image to image. `weight`: the factor on the divergence."""
    image = keras.Input(input_shape)
    point = Sampling(weight, name="sampling")(encoder(input_shape, latent)(image))
    return keras.Model(image, decoder(input_shape, latent)(point))


def main():
    parser = zoo.argument_parser(build, epochs=40, pictures=False)
    parser.add_argument(
        "--latent", type=int, default=2, help="numbers a point, default: %(default)s"
    )
    args = parser.parse_args()
    zoo.start(args)
    (x, _), (x_test, _) = keras.datasets.digits.load_data()
    model = zoo.loaded(args) or build(latent=args.latent)
    zoo.describe(model)
    if model.optimizer is None:
        model.compile(keras.optimizers.Adam(args.learning_rate), reconstruction)
    zoo.fit(model, x, x, args)
    print(f"test: {model.evaluate(x_test, x_test, verbose=0):.2f} nats an image")
    zoo.finish(model, args)


if __name__ == "__main__":
    main()
