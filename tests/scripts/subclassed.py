"""Models as classes of one's own: blocks in lists, a variational autoencoder with its own loss."""

import os
import tempfile

from library import TINY, digits, small

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(15)
(x_train, y_train), (x_test, y_test) = digits(small(500, 8), small(150, 4))


class ConvBlock(layers.Layer):
    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.conv = layers.Conv2D(filters, 3, padding="same", use_bias=False)
        self.bn = layers.BatchNormalization(momentum=0.8)

    def call(self, inputs, training=None):
        return ops.relu(self.bn(self.conv(inputs), training=training))


class MiniNet(keras.Model):
    def __init__(self, num_classes=10, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.blocks = [ConvBlock(filters) for filters in small((16, 16), (4, 4))]
        self.pools = {"first": layers.MaxPooling2D(2)}
        self.dropout = layers.Dropout(0.2)
        self.classifier = keras.Sequential([layers.Flatten(), layers.Dense(num_classes)])

    def call(self, inputs, training=False):
        x = self.blocks[0](inputs, training=training)
        x = self.pools["first"](x)
        for block in self.blocks[1:]:
            x = x + block(x)
        if training:
            x = self.dropout(x, training=training)
        return self.classifier(x)

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes}


model = MiniNet(name="mini")
assert not model.built
logits = model(x_train[:2])
assert tuple(logits.shape) == (2, 10)
model.summary()
assert len(model.trainable_weights) == 2 * 3 + 2
assert len(model.non_trainable_weights) == 2 * 2

model.compile(
    keras.optimizers.Adam(5e-3),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
model.fit(x_train, y_train, epochs=small(8, 1), batch_size=small(50, 4), verbose=2)
loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
assert TINY or accuracy > 0.75

path = os.path.join(tempfile.mkdtemp(), "mini.weights.h5")
model.save_weights(path)
twin = MiniNet.from_config(model.get_config())
twin(x_test[:1])  # makes the weights
twin.load_weights(path)
np.testing.assert_allclose(
    twin.predict(x_test, verbose=0), model.predict(x_test, verbose=0), rtol=1e-5, atol=1e-5
)


class Sampling(layers.Layer):
    """Uses (z_mean, z_log_var) to sample z, the vector encoding a digit."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, inputs):
        z_mean, z_log_var = inputs
        batch = ops.shape(z_mean)[0]
        dim = ops.shape(z_mean)[1]
        epsilon = keras.random.normal(shape=(batch, dim), seed=self.seed_generator)
        return z_mean + ops.exp(0.5 * z_log_var) * epsilon


class Encoder(layers.Layer):
    def __init__(self, latent_dim=4, intermediate_dim=32, name="encoder", **kwargs):
        super().__init__(name=name, **kwargs)
        self.dense_proj = layers.Dense(intermediate_dim, activation="relu")
        self.dense_mean = layers.Dense(latent_dim)
        self.dense_log_var = layers.Dense(latent_dim)
        self.sampling = Sampling()

    def call(self, inputs):
        x = self.dense_proj(inputs)
        z_mean = self.dense_mean(x)
        z_log_var = self.dense_log_var(x)
        z = self.sampling((z_mean, z_log_var))
        return z_mean, z_log_var, z


class Decoder(layers.Layer):
    def __init__(self, original_dim, intermediate_dim=32, name="decoder", **kwargs):
        super().__init__(name=name, **kwargs)
        self.dense_proj = layers.Dense(intermediate_dim, activation="relu")
        self.dense_output = layers.Dense(original_dim, activation="sigmoid")

    def call(self, inputs):
        return self.dense_output(self.dense_proj(inputs))


class VariationalAutoEncoder(keras.Model):
    def __init__(self, original_dim, name="autoencoder", **kwargs):
        super().__init__(name=name, **kwargs)
        self.encoder = Encoder()
        self.decoder = Decoder(original_dim)

    def call(self, inputs):
        z_mean, z_log_var, z = self.encoder(inputs)
        reconstructed = self.decoder(z)
        kl_loss = -0.5 * ops.mean(z_log_var - ops.square(z_mean) - ops.exp(z_log_var) + 1)
        self.add_loss(0.01 * kl_loss)
        return reconstructed


vae = VariationalAutoEncoder(64)
vae.compile(optimizer=keras.optimizers.Adam(learning_rate=5e-3), loss="mse")
flat = x_train.reshape(len(x_train), 64)
history = vae.fit(flat, flat, epochs=small(10, 2), batch_size=small(50, 4), verbose=0)
assert history.history["loss"][-1] < history.history["loss"][0] * small(0.7, 1)
assert vae.predict(flat, verbose=0).shape == flat.shape
assert [layer.name for layer in vae.layers] == ["encoder", "decoder"]
