"""Segmentation by a U-Net with separable convolutions and residuals, every pixel a class."""

from library import TINY, small

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(8)
img_size = small((16, 16), (8, 8))
num_classes = 3
batch_size = small(16, 2)


def draw(count, seed):
    """Pictures with a square (class 1) and a disk (class 2) on a noisy ground."""
    rng = np.random.default_rng(seed)
    height, width = img_size
    rows, columns = np.mgrid[:height, :width]
    images = rng.normal(scale=0.1, size=(count, height, width, 3))
    masks = np.zeros((count, height, width, 1), "uint8")
    for image, mask in zip(images, masks):
        top, left = rng.integers(0, height - 5, 2)
        square = (abs(rows - top - 2) <= 2) & (abs(columns - left - 2) <= 2)
        y, x = rng.integers(2, height - 2, 2)
        disk = (rows - y) ** 2 + (columns - x) ** 2 <= 7
        for kind, where in ((1, square), (2, disk)):
            mask[where] = kind
            image[where] = np.eye(3)[kind] * 0.8 + rng.normal(scale=0.1, size=(where.sum(), 3))
    return images.astype("float32"), masks


def get_model(img_size, num_classes, widths):
    inputs = keras.Input(shape=img_size + (3,))
    x = layers.Conv2D(widths[0], 3, strides=2, padding="same")(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.Activation("relu")(x)
    previous_block_activation = x
    for filters in widths[1:]:
        x = layers.Activation("relu")(x)
        x = layers.SeparableConv2D(filters, 3, padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        residual = layers.Conv2D(filters, 1, strides=2, padding="same")(previous_block_activation)
        x = layers.add([x, residual])
        previous_block_activation = x
    skip = layers.Conv2D(widths[0], 3, padding="same", activation="relu")(inputs)
    for filters in reversed(widths):
        x = layers.Activation("relu")(x)
        x = layers.Conv2DTranspose(filters, 3, padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.UpSampling2D(2)(x)
        residual = layers.UpSampling2D(2)(previous_block_activation)
        residual = layers.Conv2D(filters, 1, padding="same")(residual)
        x = layers.add([x, residual])
        previous_block_activation = x
    x = layers.Concatenate(axis=-1)([x, skip])
    outputs = layers.Conv2D(num_classes, 3, activation="softmax", padding="same")(x)
    return keras.Model(inputs, outputs)


model = get_model(img_size, num_classes, widths=small((16, 32), (4, 8)))
model.summary()
model.compile(
    optimizer=keras.optimizers.Adam(5e-3),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy", keras.metrics.MeanIoU(num_classes, sparse_y_pred=False, name="iou")],
)
images, masks = draw(small(96, 4), 0)
val_images, val_masks = draw(small(32, 2), 1)
history = model.fit(
    images,
    masks,
    epochs=small(10, 1),
    batch_size=batch_size,
    validation_data=(val_images, val_masks),
    verbose=2,
)
loss, accuracy, iou = model.evaluate(val_images, val_masks, batch_size=batch_size, verbose=0)
preds = np.argmax(model.predict(val_images, verbose=0), axis=-1)
assert preds.shape == (len(val_images), *img_size)
np.testing.assert_allclose((preds == val_masks[..., 0]).mean(), accuracy, atol=2e-3)
print(f"pixels {accuracy:.3f}, intersection over union {iou:.3f}")
assert TINY or iou > 0.6
