"""A convolutional network as a Sequential model: built late, grown, looked into, trained."""

from library import TINY, digits, small

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(1)
num_classes = 10
input_shape = (8, 8, 1)
(x_train, y_train), (x_test, y_test) = digits(small(600, 8), small(200, 4))
y_train = keras.utils.to_categorical(y_train, num_classes)
y_test = keras.utils.to_categorical(y_test, num_classes)
print("x_train shape:", x_train.shape)

# A model without an input has no weights until it is called.
late = keras.Sequential(
    [
        layers.Dense(2, activation="relu", name="layer1"),
        layers.Dense(3, activation="relu", name="layer2"),
    ]
)
assert late.built is False
y = late(np.ones((3, 3), "float32"))
assert len(late.weights) == 4
assert tuple(y.shape) == (3, 3)
assert late.layers[0].kernel.shape == (3, 2)

# Layers are added and taken away.
model = keras.Sequential(name="digits")
model.add(keras.Input(shape=input_shape))
model.add(layers.Conv2D(16, kernel_size=(3, 3), activation="relu", padding="same"))
model.add(layers.MaxPooling2D(pool_size=(2, 2)))
model.add(layers.Conv2D(32, kernel_size=(3, 3), activation="relu", padding="same"))
model.add(layers.MaxPooling2D(pool_size=(2, 2)))
model.add(layers.Dense(3))
model.pop()
model.add(layers.Flatten())
model.add(layers.Dropout(0.2))
model.add(layers.Dense(num_classes, activation="softmax", name="predictions"))
model.summary()
assert len(model.layers) == 7
assert model.count_params() == 16 * 10 + 32 * 145 + 10 * 129
assert model.output_shape == (None, 10)

# The first fits of many: compile by names, a share of the data to validate.
model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
history = model.fit(
    x_train,
    y_train,
    batch_size=small(32, 4),
    epochs=small(8, 1),
    validation_split=small(0.1, 0.5),
    verbose=2,
)
assert sorted(history.history) == ["accuracy", "loss", "val_accuracy", "val_loss"]
assert history.epoch == list(range(small(8, 1)))

score = model.evaluate(x_test, y_test, verbose=0)
print("Test loss:", score[0])
print("Test accuracy:", score[1])
assert TINY or score[1] > 0.8

# All intermediate outputs, as a model of its own.
extractor = keras.Model(
    inputs=model.inputs,
    outputs=[layer.output for layer in model.layers],
)
features = extractor(x_test[:2])
assert len(features) == 7
assert tuple(features[0].shape) == (2, 8, 8, 16)
one = keras.Model(model.inputs, model.get_layer(name="predictions").output)
np.testing.assert_allclose(
    keras.ops.convert_to_numpy(one(x_test[:2])),
    keras.ops.convert_to_numpy(features[-1]),
    rtol=1e-4,
    atol=1e-6,
)
