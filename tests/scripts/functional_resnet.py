"""A toy ResNet of the functional API: residual blocks, shared graphs, models that call models."""

from library import TINY, digits, small

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(2)
(x_train, y_train), (x_test, y_test) = digits(small(600, 8), small(200, 4))
width = small(16, 4)


def residual_block(x, filters, stride=1):
    shortcut = x
    x = layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.8)(x)
    x = layers.Activation("relu")(x)
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.8)(x)
    if stride != 1 or shortcut.shape[-1] != filters:
        shortcut = layers.Conv2D(filters, 1, strides=stride, use_bias=False)(shortcut)
        shortcut = layers.BatchNormalization(momentum=0.8)(shortcut)
    x = layers.add([x, shortcut])
    return layers.Activation("relu")(x)


inputs = keras.Input(shape=(8, 8, 1), name="img")
assert inputs.shape == (None, 8, 8, 1)
assert inputs.dtype == "float32"
x = layers.Conv2D(width, 3, activation="relu", padding="same")(inputs)
block_1_output = residual_block(x, width)
block_2_output = residual_block(block_1_output, 2 * width, stride=2)
x = layers.GlobalAveragePooling2D()(block_2_output)
x = layers.Dense(2 * width, activation="relu")(x)
x = layers.Dropout(0.1)(x)
outputs = layers.Dense(10)(x)
model = keras.Model(inputs, outputs, name="toy_resnet")
model.summary()
try:
    keras.utils.plot_model(model, "toy_resnet.png", show_shapes=True)
except ImportError:
    print("no pydot here, no picture")

model.compile(
    optimizer=keras.optimizers.RMSprop(3e-3),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["acc"],
)
history = model.fit(
    x_train, y_train, batch_size=small(64, 4), epochs=small(10, 1), validation_split=0.25
)
assert TINY or history.history["loss"][-1] < 0.5 * history.history["loss"][0]
test_loss, test_acc = model.evaluate(x_test, y_test, verbose=2)
assert TINY or test_acc > 0.4

# One graph of layers gives two models that share weights.
encoder = keras.Model(inputs, block_2_output, name="encoder")
assert tuple(encoder(x_test[:2]).shape) == (2, 4, 4, 2 * width)
assert encoder.layers[1] is model.layers[1]

# Models are called like layers; an ensemble of three averages their outputs.
classifier_input = keras.Input((8, 8, 1))
logits = [model(classifier_input), model(classifier_input * 0.5), model(classifier_input + 0.1)]
ensemble = keras.Model(classifier_input, layers.average(logits))
assert len(ensemble.trainable_weights) == len(model.trainable_weights)
mean = np.mean([model.predict(v, verbose=0) for v in (x_test, x_test * 0.5, x_test + 0.1)], axis=0)
np.testing.assert_allclose(ensemble.predict(x_test, verbose=0), mean, rtol=1e-3, atol=1e-4)
