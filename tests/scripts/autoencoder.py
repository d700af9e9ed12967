"""A convolutional autoencoder that takes noise away, its two halves used apart."""

from library import TINY, digits, small

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(7)
(train_data, _), (test_data, _) = digits(small(600, 8), small(100, 4))


def noise(array):
    noisy = array + 0.4 * np.random.default_rng(0).normal(size=array.shape)
    return np.clip(noisy, 0.0, 1.0).astype("float32")


noisy_train_data, noisy_test_data = noise(train_data), noise(test_data)
filters = small(16, 4)

encoder_input = keras.Input(shape=(8, 8, 1), name="original")
x = layers.Conv2D(filters, (3, 3), activation="relu", padding="same")(encoder_input)
x = layers.MaxPooling2D((2, 2), padding="same")(x)
x = layers.Conv2D(filters, (3, 3), activation="relu", padding="same")(x)
encoder_output = layers.MaxPooling2D((2, 2), padding="same")(x)
encoder = keras.Model(encoder_input, encoder_output, name="encoder")

decoder_input = keras.Input(shape=encoder.output.shape[1:], name="code")
x = layers.Conv2DTranspose(filters, (3, 3), strides=2, activation="relu", padding="same")(
    decoder_input
)
x = layers.Conv2DTranspose(filters, (3, 3), strides=2, activation="relu", padding="same")(x)
decoder_output = layers.Conv2D(1, (3, 3), activation="sigmoid", padding="same")(x)
decoder = keras.Model(decoder_input, decoder_output, name="decoder")

autoencoder_input = keras.Input(shape=(8, 8, 1))
autoencoder = keras.Model(
    autoencoder_input, decoder(encoder(autoencoder_input)), name="autoencoder"
)
autoencoder.compile(optimizer=keras.optimizers.Adam(5e-3), loss="binary_crossentropy")
autoencoder.summary(expand_nested=True)

# First pictures of themselves, then the same from noisy ones.
plain = autoencoder.fit(
    x=train_data,
    y=train_data,
    epochs=small(6, 1),
    batch_size=small(64, 4),
    shuffle=True,
    validation_data=(test_data, test_data),
    verbose=2,
)
denoising = autoencoder.fit(
    x=noisy_train_data,
    y=train_data,
    epochs=small(10, 1),
    batch_size=small(64, 4),
    shuffle=True,
    validation_data=(noisy_test_data, test_data),
    verbose=2,
)
assert TINY or plain.history["val_loss"][-1] < plain.history["val_loss"][0]

predictions = autoencoder.predict(noisy_test_data, verbose=0)
assert predictions.shape == test_data.shape
assert 0 <= predictions.min() <= predictions.max() <= 1
error_before = np.mean((noisy_test_data - test_data) ** 2)
error_after = np.mean((predictions - test_data) ** 2)
print(f"squared error {error_before:.4f} before, {error_after:.4f} after")
assert TINY or error_after < 0.8 * error_before

# The halves are trained with the whole.
codes = encoder.predict(noisy_test_data, verbose=0)
assert codes.shape[1:] == (2, 2, filters)
np.testing.assert_allclose(decoder.predict(codes, verbose=0), predictions, rtol=1e-4, atol=1e-5)
