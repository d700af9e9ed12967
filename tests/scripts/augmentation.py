"""Augmentation as layers in the model, and as a pipeline that a generator applies to the data."""

from library import TINY, digits, small

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(13)
(x_train, y_train), (x_test, y_test) = digits(small(500, 8), small(150, 4))
to_array = keras.ops.convert_to_numpy

data_augmentation = keras.Sequential(
    [
        layers.RandomTranslation(0.1, 0.1, fill_mode="nearest"),
        layers.RandomRotation(0.03),
        layers.RandomZoom(0.1),
        layers.RandomContrast(0.1),
        layers.RandomBrightness(0.1, value_range=(0, 1)),
    ],
    name="augmentation",
)

# Outside of a model: only in training mode does a picture change, and each time otherwise.
image = x_train[:2]
np.testing.assert_allclose(to_array(data_augmentation(image, training=False)), image, atol=1e-6)
one = to_array(data_augmentation(image, training=True))
two = to_array(data_augmentation(image, training=True))
assert one.shape == image.shape
assert np.abs(one - two).max() > 1e-3

flipped = to_array(layers.RandomFlip("horizontal", seed=1)(np.repeat(image, 8, 0), training=True))
mirrored = image[:, :, ::-1]
same = [min(abs(f - i).max(), abs(f - m).max()) for f, i, m in
        zip(flipped, np.repeat(image, 8, 0), np.repeat(mirrored, 8, 0))]  # fmt: skip
assert max(same) < 1e-6
cropped = layers.CenterCrop(6, 6)(layers.Resizing(12, 12)(image))
assert tuple(cropped.shape) == (2, 6, 6, 1)
assert tuple(layers.RandomCrop(5, 7)(image).shape) == (2, 5, 7, 1)


def make_model(augmented):
    inputs = keras.Input(shape=(8, 8, 1))
    x = inputs
    if augmented:
        x = data_augmentation(x)
        x = layers.GaussianNoise(0.02)(x)
    x = layers.Conv2D(small(16, 4), 3, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(small(32, 4), 3, padding="same", activation="relu")(x)
    x = layers.SpatialDropout2D(0.1)(x)
    x = layers.Flatten()(x)
    outputs = layers.Dense(10, activation="softmax")(x)
    model = keras.Model(inputs, outputs)
    model.compile(
        optimizer=keras.optimizers.Adam(5e-3),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


model = make_model(augmented=True)
history = model.fit(
    x_train, y_train, epochs=small(8, 1), batch_size=small(50, 4), verbose=2,
    validation_data=(x_test, y_test),
)  # fmt: skip
assert TINY or history.history["val_accuracy"][-1] > 0.8

# Inference leaves pictures alone, so it repeats.
first, second = (model.predict(x_test, verbose=0) for _ in range(2))
np.testing.assert_array_equal(first, second)


def augmented_batches(x, y, batch_size):
    """Batches without end, augmented outside of the model."""
    rng = np.random.default_rng(0)
    while True:
        rows = rng.permutation(len(x))
        for start in range(0, len(x) - batch_size + 1, batch_size):
            chosen = rows[start : start + batch_size]
            yield to_array(data_augmentation(x[chosen], training=True)), y[chosen]


plain = make_model(augmented=False)
batch_size = small(50, 4)
plain.fit(
    augmented_batches(x_train, y_train, batch_size),
    steps_per_epoch=len(x_train) // batch_size,
    epochs=small(6, 1),
    verbose=0,
)
loss, accuracy = plain.evaluate(x_test, y_test, verbose=0)
print("augmented outside of the model:", loss, accuracy)
assert TINY or accuracy > 0.75
