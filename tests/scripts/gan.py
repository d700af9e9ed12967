"""A generator and a critic that train each other by `train_on_batch`."""

from library import TINY, digits, small

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(9)
rng = np.random.default_rng(9)
(x_train, y_train), _ = digits(small(600, 16))
x_train = x_train[y_train == 0] * 2 - 1
latent_dim = small(16, 4)
batch_size = small(16, 2)

discriminator = keras.Sequential(
    [
        keras.Input(shape=(8, 8, 1)),
        layers.Conv2D(small(16, 4), kernel_size=4, strides=2, padding="same"),
        layers.LeakyReLU(negative_slope=0.2),
        layers.Conv2D(small(32, 4), kernel_size=4, strides=2, padding="same"),
        layers.LeakyReLU(negative_slope=0.2),
        layers.Flatten(),
        layers.Dropout(0.2),
        layers.Dense(1, activation="sigmoid"),
    ],
    name="discriminator",
)
discriminator.compile(
    loss="binary_crossentropy",
    optimizer=keras.optimizers.Adam(learning_rate=2e-3, beta_1=0.5),
    metrics=["accuracy"],
)

generator = keras.Sequential(
    [
        keras.Input(shape=(latent_dim,)),
        layers.Dense(2 * 2 * small(32, 4)),
        layers.Reshape((2, 2, small(32, 4))),
        layers.Conv2DTranspose(small(32, 4), kernel_size=4, strides=2, padding="same"),
        layers.BatchNormalization(momentum=0.8),
        layers.LeakyReLU(negative_slope=0.2),
        layers.Conv2DTranspose(small(16, 4), kernel_size=4, strides=2, padding="same"),
        layers.LeakyReLU(negative_slope=0.2),
        layers.Conv2D(1, kernel_size=3, padding="same", activation="tanh"),
    ],
    name="generator",
)

# The joined model trains the generator alone: the critic in it is frozen when it is compiled.
discriminator.trainable = False
gan_input = keras.Input(shape=(latent_dim,))
gan = keras.Model(gan_input, discriminator(generator(gan_input)), name="gan")
gan.compile(
    loss="binary_crossentropy",
    optimizer=keras.optimizers.Adam(learning_rate=2e-3, beta_1=0.5),
)
assert len(gan.trainable_weights) == len(generator.trainable_weights)

for step in range(small(60, 2)):
    noise = rng.normal(size=(batch_size, latent_dim)).astype("float32")
    generated = generator.predict_on_batch(noise)
    real = x_train[rng.integers(0, len(x_train), batch_size)]

    discriminator.trainable = True
    frozen = generator.get_weights()
    d_loss_real = discriminator.train_on_batch(real, np.full((batch_size, 1), 0.9))
    d_loss_fake = discriminator.train_on_batch(generated, np.zeros((batch_size, 1)))
    assert all(np.array_equal(a, b) for a, b in zip(frozen, generator.get_weights()))

    discriminator.trainable = False
    frozen = discriminator.get_weights()
    noise = rng.normal(size=(2 * batch_size, latent_dim)).astype("float32")
    g_loss = gan.train_on_batch(noise, np.ones((2 * batch_size, 1)))
    assert all(np.array_equal(a, b) for a, b in zip(frozen, discriminator.get_weights()))
    if step % 20 == 0:
        print(f"{step}: real {d_loss_real}, fake {d_loss_fake}, generator {g_loss}")

assert np.isfinite([*d_loss_real, *d_loss_fake, g_loss]).all()
images = generator.predict(rng.normal(size=(20, latent_dim)).astype("float32"), verbose=0)
assert images.shape == (20, 8, 8, 1)
assert np.abs(images).max() <= 1

# The mean picture has the ring of a zero: dark where zeros are, bright where they are not.
mean, truth = images.mean(0).ravel(), x_train.mean(0).ravel()
likeness = np.corrcoef(mean, truth)[0, 1]
print("likeness of the mean:", likeness)
assert TINY or likeness > 0.5
