"""Volumes, as of computed tomography: a 3-D classifier, then segmentation of voxels."""

from library import TINY, small

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(12)
rng = np.random.default_rng(12)
side = small(8, 4)


def scans(count):
    """Noise, and in half of the volumes a bright ball."""
    z, y, x = np.mgrid[:side, :side, :side]
    volumes = rng.normal(scale=0.3, size=(count, side, side, side))
    masks = np.zeros(volumes.shape, "float32")
    labels = np.arange(count) % 2
    for volume, mask, label in zip(volumes, masks, labels):
        centre = rng.integers(1, side - 1, 3)
        ball = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= 3
        if label:
            volume[ball] += 1.5
            mask[ball] = 1
    return volumes.astype("float32")[..., None], labels.astype("float32"), masks[..., None]


def get_model(width=side, height=side, depth=side):
    inputs = keras.Input((width, height, depth, 1))
    x = layers.Conv3D(filters=small(8, 2), kernel_size=3, padding="same", activation="relu")(inputs)
    x = layers.MaxPool3D(pool_size=2)(x)
    x = layers.BatchNormalization(momentum=0.8)(x)
    x = layers.Conv3D(filters=small(16, 2), kernel_size=3, padding="same", activation="relu")(x)
    x = layers.SpatialDropout3D(0.1)(x)
    x = layers.GlobalMaxPooling3D()(x)
    x = layers.Dense(units=small(16, 4), activation="relu")(x)
    x = layers.Dropout(0.1)(x)
    outputs = layers.Dense(units=1, activation="sigmoid")(x)
    return keras.Model(inputs, outputs, name="3dcnn")


model = get_model()
model.summary()
lr_schedule = keras.optimizers.schedules.ExponentialDecay(
    5e-3, decay_steps=100, decay_rate=0.96, staircase=True
)
model.compile(
    loss="binary_crossentropy",
    optimizer=keras.optimizers.Adam(learning_rate=lr_schedule),
    metrics=["acc"],
)
volumes, labels, masks = scans(small(128, 4))
val_volumes, val_labels, val_masks = scans(small(64, 2))
history = model.fit(
    volumes,
    labels,
    validation_data=(val_volumes, val_labels),
    epochs=small(12, 1),
    batch_size=small(16, 2),
    verbose=2,
)
assert TINY or max(history.history["val_acc"]) > 0.75
prediction = model.predict(np.expand_dims(val_volumes[0], axis=0), verbose=0)[0]
scores = [1 - prediction[0], prediction[0]]
assert abs(sum(scores) - 1) < 1e-6


# Every voxel: down and up again, with the Dice coefficient.
def dice_coefficient(y_true, y_pred, smooth=1.0):
    intersection = ops.sum(y_true * y_pred, axis=(1, 2, 3, 4))
    union = ops.sum(y_true, axis=(1, 2, 3, 4)) + ops.sum(y_pred, axis=(1, 2, 3, 4))
    return (2.0 * intersection + smooth) / (union + smooth)


inputs = keras.Input((side, side, side, 1))
down = layers.Conv3D(small(8, 2), 3, padding="same", activation="relu")(inputs)
x = layers.AveragePooling3D(2)(down)
x = layers.Conv3D(small(8, 2), 3, padding="same", activation="relu")(x)
x = layers.Conv3DTranspose(small(8, 2), 2, strides=2, padding="same", activation="relu")(x)
x = layers.concatenate([x, down, layers.UpSampling3D(2)(layers.MaxPooling3D(2)(down))])
outputs = layers.Conv3D(1, 1, activation="sigmoid")(x)
segmenter = keras.Model(inputs, outputs)
segmenter.compile(
    optimizer=keras.optimizers.Adam(1e-2), loss="binary_crossentropy", metrics=[dice_coefficient]
)
before = segmenter.evaluate(val_volumes, val_masks, verbose=0, return_dict=True)
segmenter.fit(volumes, masks, epochs=small(8, 1), batch_size=small(16, 2), verbose=0)
after = segmenter.evaluate(val_volumes, val_masks, verbose=0, return_dict=True)
print(before, after)
assert after["loss"] < before["loss"]
assert TINY or after["dice_coefficient"] > before["dice_coefficient"] + 0.2
