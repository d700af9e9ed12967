"""A base learned on some digits, frozen under a new head for others, then fine-tuned."""

import os
import tempfile

from library import TINY, digits, small

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(5)
(x, y), (x_new, y_new) = digits(small(600, 16), small(400, 16))
first, later = y < 5, y_new >= 5

# Freezing a layer moves its weights from one list to the other.
layer = layers.BatchNormalization()
layer.build((None, 4))
assert (len(layer.weights), len(layer.trainable_weights)) == (4, 2)
layer.trainable = False
assert (len(layer.trainable_weights), len(layer.non_trainable_weights)) == (0, 4)

base_model = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        layers.Conv2D(small(16, 4), 3, padding="same", use_bias=False),
        layers.BatchNormalization(momentum=0.8),
        layers.Activation("relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(small(32, 4), 3, padding="same", activation="relu"),
    ],
    name="base",
)
pretraining = keras.Sequential(
    [base_model, layers.GlobalAveragePooling2D(), layers.Dense(5, activation="softmax")]
)
pretraining.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
pretraining.fit(x[first], y[first], epochs=small(8, 1), batch_size=small(32, 4), verbose=0)
path = os.path.join(tempfile.mkdtemp(), "base.weights.h5")
base_model.save_weights(path)

# The frozen base runs in inference mode, also when the model around it trains.
base_model.trainable = False
inputs = keras.Input(shape=(8, 8, 1))
scale_layer = keras.layers.Rescaling(scale=2.0, offset=-1)
x_in = scale_layer(inputs)
features = base_model(x_in, training=False)
features = keras.layers.GlobalAveragePooling2D()(features)
features = keras.layers.Dropout(0.2)(features)
outputs = keras.layers.Dense(5)(features)
model = keras.Model(inputs, outputs)
model.summary(show_trainable=True)
assert len(model.trainable_variables) == 2
assert all(not inner.trainable for inner in base_model.layers)

model.compile(
    optimizer=keras.optimizers.Adam(1e-2),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=[keras.metrics.SparseCategoricalAccuracy()],
)
before = base_model.get_weights()
frozen = model.fit(
    x_new[later], y_new[later] - 5, epochs=small(8, 1), batch_size=small(16, 4), verbose=0
)
for old, new in zip(before, base_model.get_weights()):
    np.testing.assert_array_equal(old, new)

# Fine-tuning: a low rate, and batch normalization stays as it is.
base_model.trainable = True
for inner in base_model.layers:
    if isinstance(inner, layers.BatchNormalization):
        inner.trainable = False
model.compile(
    optimizer=keras.optimizers.Adam(3e-3),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=[keras.metrics.SparseCategoricalAccuracy()],
)
assert len(model.trainable_variables) == 5
tuned = model.fit(
    x_new[later], y_new[later] - 5, epochs=small(12, 1), batch_size=small(16, 4), verbose=0
)
after = base_model.get_weights()
assert np.abs(before[0] - after[0]).max() > 0
print(frozen.history, tuned.history)
assert TINY or tuned.history["loss"][-1] < frozen.history["loss"][-1]
assert TINY or tuned.history["sparse_categorical_accuracy"][-1] > 0.7

normalization = base_model.layers[1]
for old, new in zip(before[1:5], normalization.get_weights()):
    np.testing.assert_array_equal(old, new)

# The weights from the file are those of the base before.
base_model.load_weights(path)
for old, new in zip(before, base_model.get_weights()):
    np.testing.assert_array_equal(old, new)
