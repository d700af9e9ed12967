"""DCGAN: a generator learns to make images that a discriminator takes for real ones.

    python models/dcgan.py [--width 16] [--device cuda] [--epochs 20] ...

A. Radford, L. Metz and S. Chintala, "Unsupervised representation learning with deep convolutional
generative adversarial networks" (2016), at the sizes of PyTorch's DCGAN tutorial: from 100 numbers
to 64 x 64 x 3, with 3,576,704 trainable parameters in the generator and 2,765,568 in the
discriminator.
"""

import numpy as np
import zoo

import nbcnn as keras

layers, ops = keras.layers, keras.ops

LATENT = 100
SLOPE = 0.2  # of the leaky relu


def weights():
    return keras.initializers.RandomNormal(0.0, 0.02)


def convolution(kind, filters, strides=2, padding="same", activation=None):
    return kind(
        filters,
        4,
        strides=strides,
        padding=padding,
        activation=activation,
        use_bias=False,
        kernel_initializer=weights(),
    )


def normalization():
    return layers.BatchNormalization(
        momentum=0.9, epsilon=1e-5, gamma_initializer=keras.initializers.RandomNormal(1.0, 0.02)
    )


def levels_of(side):
    """How often 4 x 4 is doubled to reach images of this side."""
    levels = (side // 4).bit_length() - 1
    if side < 8 or side != 4 << levels:
        raise ValueError(f"dcgan: sides of images must be 8, 16, 32, 64 ..., got {side}")
    return levels


def generator(output_shape=(64, 64, 3), latent=LATENT, width=64):
    """Random numbers -> image with values from -1 to 1."""
    side, _, channels = output_shape
    levels = levels_of(side)
    parts = [keras.Input((latent,)), layers.Reshape((1, 1, latent))]
    for level in reversed(range(levels)):
        first = level == levels - 1
        strides, padding = (1, "valid") if first else (2, "same")
        parts += [
            convolution(layers.Conv2DTranspose, width << level, strides, padding),
            normalization(),
            layers.ReLU(),
        ]
    parts.append(convolution(layers.Conv2DTranspose, channels, activation="tanh"))
    return keras.Sequential(parts, name="generator")


def discriminator(input_shape=(64, 64, 3), width=64):
    """Image -> how real it looks, a logit."""
    parts = [keras.Input(input_shape)]
    for level in range(levels_of(input_shape[0])):
        parts.append(convolution(layers.Conv2D, width << level))
        if level:
            parts.append(normalization())
        parts.append(layers.LeakyReLU(SLOPE))
    parts += [convolution(layers.Conv2D, 1, 1, "valid"), layers.Flatten()]
    return keras.Sequential(parts, name="discriminator")


@keras.saving.register_keras_serializable(package="zoo")
class Adversaries(keras.Model):
    """From random numbers to what the discriminator thinks of the image that is made of them; the
    two networks are the layers "generator" and "discriminator", each with an optimizer.

    A step of `fit(images)` first moves the discriminator to tell the images from as many generated
    ones, then the generator to make the discriminator wrong:

        loss of D = mean(softplus(-D(x)) + softplus(D(G(z)))),
        loss of G = mean(softplus(-D(G(z)))).
    """

    def compile(self, optimizer="adam", loss=None, **options):
        """Each network gets an optimizer of its own like this one. The losses are the step's."""
        super().compile(optimizer, loss, **options)
        kind, config = type(self.optimizer), self.optimizer.get_config()
        self.optimizers = [kind.from_config(config) for _ in range(2)]
        self.losses_of_both = [keras.metrics.Mean(name=name) for name in ("d_loss", "g_loss")]
        self.seed = keras.random.SeedGenerator()

    def train_step(self, data):
        images, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        maker, critic = self.get_layer("generator"), self.get_layer("discriminator")
        noise = keras.random.normal((ops.shape(images)[0], *self.input_shape[1:]), seed=self.seed)
        generated = maker(noise, training=True)

        def loss_of_critic():
            real, made = critic(images, training=True), critic(generated, training=True)
            return ops.mean(ops.softplus(-real) + ops.softplus(made))

        def loss_of_maker():
            return ops.mean(ops.softplus(-critic(maker(noise, training=True), training=True)))

        steps = ((loss_of_critic, critic), (loss_of_maker, maker))
        logs = {}
        for (loss, network), optimizer, metric in zip(steps, self.optimizers, self.losses_of_both):
            variables = network.trainable_variables
            value, slopes = keras.value_and_grad(loss, variables)()
            optimizer.apply(slopes, variables)
            metric.update_state(value)
            logs[metric.name] = metric.result()
        return logs


def build(input_shape=(64, 64, 3), latent=LATENT, width=64):
    """Both networks as a model for `fit(images)`, values from -1 to 1; not yet compiled."""
    noise = keras.Input((latent,))
    image = generator(input_shape, latent, width)(noise)
    return Adversaries(noise, discriminator(input_shape, width)(image))


def main():
    parser = zoo.argument_parser(build, learning_rate=2e-4, epochs=20, pictures=False)
    add = parser.add_argument
    add("--size", type=int, default=32, help="height and width of images, default: %(default)s")
    add("--width", type=int, default=16, help="filters next to the images, default: %(default)s")
    args = parser.parse_args()
    zoo.start(args)
    (x, _), _ = keras.datasets.digits.load_data(size=args.size)
    model = zoo.loaded(args) or build((args.size, args.size, 1), width=args.width)
    zoo.describe(model)
    # A file has none of the two optimizers: a model that goes on begins with new ones.
    model.compile(keras.optimizers.Adam(args.learning_rate, beta_1=0.5))
    zoo.fit(model, 2 * x - 1, None, args)
    noise = np.random.default_rng(args.seed).normal(size=(100, LATENT)).astype("float32")
    made = (model.get_layer("generator").predict(noise, verbose=0) + 1) / 2
    print(f"mean ink: {made.mean():.3f} in generated images, {x.mean():.3f} in real ones")
    zoo.finish(model, args)


if __name__ == "__main__":
    main()
