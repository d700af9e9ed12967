"""Super-resolution by sub-pixels, and three ways to make pictures larger."""

from library import TINY, digits, small

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(17)
side = small(16, 8)
(fine, _), (fine_test, _) = digits(small(300, 4), small(60, 4), side=side)
# Soft edges, so that there is something to be learned.
soft = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], "float32") / 16


def blurred(x):
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    rows = sum(
        soft[i, j] * padded[:, i : i + side, j : j + side] for i in range(3) for j in range(3)
    )
    return rows.astype("float32")


fine, fine_test = blurred(fine), blurred(fine_test)
coarse, coarse_test = fine[:, ::2, ::2], fine_test[:, ::2, ::2]
upscale_factor = 2


class DepthToSpace(layers.Layer):
    def __init__(self, block_size, **kwargs):
        super().__init__(**kwargs)
        self.block_size = block_size

    def call(self, inputs):
        batch, height, width, depth = ops.shape(inputs)
        depth = depth // (self.block_size**2)
        x = ops.reshape(inputs, (batch, height, width, self.block_size, self.block_size, depth))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (batch, height * self.block_size, width * self.block_size, depth))


def get_model(upscale_factor=upscale_factor, channels=1):
    conv_args = {"activation": "relu", "kernel_initializer": "orthogonal", "padding": "same"}
    inputs = keras.Input(shape=(None, None, channels))
    x = layers.Conv2D(small(16, 4), 5, **conv_args)(inputs)
    x = layers.Conv2D(small(16, 4), 3, **conv_args)(x)
    x = layers.Conv2D(channels * (upscale_factor**2), 3, padding="same")(x)
    outputs = DepthToSpace(upscale_factor)(x)
    return keras.Model(inputs, outputs)


def psnr(y_true, y_pred):
    error = ops.mean(ops.square(y_true - y_pred), axis=(1, 2, 3))
    return -10.0 * ops.log(error + 1e-9) / ops.log(10.0)


class ESPCNCallback(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.psnr = []

    def on_epoch_end(self, epoch, logs=None):
        print(f"Mean PSNR for epoch: {np.mean(self.psnr):.2f}")

    def on_test_batch_end(self, batch, logs=None):
        self.psnr.append(10 * np.log10(1 / logs["loss"]))


model = get_model()
model.summary()
assert model.output_shape == (None, None, None, 1)
model.compile(
    optimizer=keras.optimizers.Adam(learning_rate=3e-3),
    loss=keras.losses.MeanSquaredError(),
    metrics=[psnr],
)
history = model.fit(
    coarse,
    fine,
    epochs=small(15, 1),
    batch_size=small(16, 4),
    callbacks=[
        ESPCNCallback(),
        keras.callbacks.EarlyStopping(monitor="loss", patience=10),
    ],
    validation_data=(coarse_test, fine_test),
    verbose=2,
)
nearest = np.repeat(np.repeat(coarse_test, 2, 1), 2, 2)
predicted = model.predict(coarse_test, verbose=0)
errors = [np.mean((p - fine_test) ** 2) for p in (nearest, predicted)]
print("squared errors of nearest pixels and of the model:", errors)
assert TINY or errors[1] < 0.5 * errors[0]

# Pictures of any size fit.
assert model.predict(coarse_test[:1, :3, :4], verbose=0).shape == (1, 6, 8, 1)

# Other ways up, compared on one training each.
ways = {
    "nearest": [layers.UpSampling2D(2), layers.Conv2D(1, 3, padding="same")],
    "bilinear": [
        layers.UpSampling2D(2, interpolation="bilinear"),
        layers.Conv2D(1, 3, padding="same"),
    ],
    "transposed": [layers.Conv2DTranspose(1, 4, strides=2, padding="same")],
    "resizing": [layers.Resizing(side, side), layers.Conv2D(1, 3, padding="same")],
}
for name, last in ways.items():
    other = keras.Sequential(
        [
            keras.Input((side // 2, side // 2, 1)),
            layers.Conv2D(small(8, 2), 3, padding="same", activation="relu"),
            *last,
        ],
        name=name,
    )
    other.compile("adam", "mae")
    before = other.evaluate(coarse_test, fine_test, verbose=0)
    other.fit(coarse, fine, epochs=small(3, 1), batch_size=small(16, 4), verbose=0)
    after = other.evaluate(coarse_test, fine_test, verbose=0)
    print(f"{name}: {before:.4f} -> {after:.4f}")
    assert after < before
