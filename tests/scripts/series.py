"""Time series: a convolutional classifier, and an autoencoder that finds what is unusual."""

import os
import tempfile

from library import TINY, small

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(11)
rng = np.random.default_rng(11)
length, count = small(64, 16), small(300, 8)


def waves(count, labels):
    """Sine waves, class 1 with twice the frequency, plus noise."""
    phase = rng.uniform(0, 2 * np.pi, (count, 1))
    time = np.linspace(0, 4 * np.pi, length)
    clean = np.sin((1 + labels[:, None]) * time + phase)
    return (clean + rng.normal(scale=0.3, size=clean.shape)).astype("float32")[..., None]


y_train = rng.integers(0, 2, count)
x_train = waves(count, y_train)
num_classes = len(np.unique(y_train))


def make_model(input_shape):
    input_layer = layers.Input(input_shape)
    conv1 = layers.Conv1D(filters=small(16, 4), kernel_size=3, padding="same")(input_layer)
    conv1 = layers.BatchNormalization(momentum=0.8)(conv1)
    conv1 = layers.ReLU()(conv1)
    conv2 = layers.Conv1D(filters=small(16, 4), kernel_size=3, padding="causal", dilation_rate=2)(
        conv1
    )
    conv2 = layers.BatchNormalization(momentum=0.8)(conv2)
    conv2 = layers.ReLU()(conv2)
    pooled = layers.MaxPooling1D(2)(conv2)
    conv3 = layers.SeparableConv1D(small(16, 4), 3, padding="same", activation="relu")(pooled)
    gap = layers.GlobalAveragePooling1D()(conv3)
    output_layer = layers.Dense(num_classes, activation="softmax")(gap)
    return keras.models.Model(inputs=input_layer, outputs=output_layer)


model = make_model(input_shape=x_train.shape[1:])
model.compile(
    optimizer="adam",
    loss="sparse_categorical_crossentropy",
    metrics=["sparse_categorical_accuracy"],
)
path = os.path.join(tempfile.mkdtemp(), "best_model.keras")
history = model.fit(
    x_train,
    y_train,
    batch_size=small(32, 4),
    epochs=small(12, 1),
    callbacks=[
        keras.callbacks.ModelCheckpoint(path, save_best_only=True, monitor="val_loss"),
        keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=20, min_lr=0.0001),
    ],
    validation_split=0.25,
    verbose=0,
)
y_test = rng.integers(0, 2, count)
x_test = waves(count, y_test)
model = keras.models.load_model(path)
test_loss, test_acc = model.evaluate(x_test, y_test, verbose=0)
print("Test accuracy", test_acc, "Test loss", test_loss)
assert TINY or test_acc > 0.9

# An autoencoder of slow waves does not know fast ones.
slow, fast = waves(count, np.zeros(count)), waves(count, np.full(count, 5))
autoencoder = keras.Sequential(
    [
        layers.Input(shape=(length, 1)),
        layers.Conv1D(small(16, 4), 7, padding="same", strides=2, activation="relu"),
        layers.Dropout(rate=0.1),
        layers.Conv1D(small(8, 4), 7, padding="same", strides=2, activation="relu"),
        layers.Conv1DTranspose(small(8, 4), 7, padding="same", strides=2, activation="relu"),
        layers.Dropout(rate=0.1),
        layers.Conv1DTranspose(small(16, 4), 7, padding="same", strides=2, activation="relu"),
        layers.Conv1DTranspose(filters=1, kernel_size=7, padding="same"),
    ]
)
autoencoder.compile(optimizer=keras.optimizers.Adam(learning_rate=0.003), loss="mse")
autoencoder.summary()
autoencoder.fit(
    slow,
    slow,
    epochs=small(12, 1),
    batch_size=small(32, 4),
    validation_split=0.1,
    callbacks=[keras.callbacks.EarlyStopping(monitor="val_loss", patience=5, mode="min")],
    verbose=0,
)
errors = [np.mean(np.abs(autoencoder.predict(x, verbose=0) - x), axis=(1, 2)) for x in (slow, fast)]
threshold = np.quantile(errors[0], 0.95)
found = (errors[1] > threshold).mean()
print(f"{found:.2f} of the unusual ones are found")
assert TINY or found > 0.6

# Windows of a long series, as data sets of forecasting models are made.
series = np.sin(np.arange(200) / 5).astype("float32")
stacked = np.stack([series[i : i + 20] for i in range(150)])[..., None]
nexts = series[20:170, None]
forecaster = keras.Sequential(
    [
        keras.Input((20, 1)),
        layers.ZeroPadding1D(1),
        layers.Conv1D(8, 3, activation="relu"),
        layers.AveragePooling1D(2),
        layers.Flatten(),
        layers.Dense(1),
    ]
)
forecaster.compile("adam", loss=keras.losses.Huber(), metrics=["mae"])
before = forecaster.evaluate(stacked, nexts, verbose=0)[0]
forecaster.fit(stacked, nexts, epochs=small(5, 1), batch_size=small(16, 75), verbose=0)
assert forecaster.evaluate(stacked, nexts, verbose=0)[0] < before
