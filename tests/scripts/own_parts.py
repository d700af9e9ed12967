"""Layers, losses, metrics, regularizers and initializers of one's own, saved and restored."""

import os
import tempfile

from library import TINY, digits, small

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(14)
(x_train, y_train), (x_test, y_test) = digits(small(500, 8), small(150, 4))
y_train, y_test = (keras.utils.to_categorical(y, 10) for y in (y_train, y_test))


@keras.saving.register_keras_serializable(package="own")
class Linear(keras.layers.Layer):
    def __init__(self, units=32, activation=None, kernel_regularizer=None, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.activation = keras.activations.get(activation)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape):
        self.w = self.add_weight(
            shape=(input_shape[-1], self.units),
            initializer="glorot_uniform",
            regularizer=self.kernel_regularizer,
            trainable=True,
            name="w",
        )
        self.b = self.add_weight(shape=(self.units,), initializer="zeros", trainable=True)
        self.total = self.add_weight(shape=(), initializer="zeros", trainable=False, name="total")

    def call(self, inputs):
        return self.activation(ops.matmul(inputs, self.w) + self.b)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        config = super().get_config()
        config.update(
            {
                "units": self.units,
                "activation": keras.activations.serialize(self.activation),
                "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            }
        )
        return config


@keras.saving.register_keras_serializable(package="own")
class PixelNorm(keras.layers.Layer):
    """Has no weights, and behaves differently in training."""

    def call(self, inputs, training=None):
        scale = ops.sqrt(ops.mean(ops.square(inputs), axis=-1, keepdims=True) + 1e-6)
        if training:
            return inputs / scale
        return inputs / ops.maximum(scale, 1e-3)


@keras.saving.register_keras_serializable(package="own")
class Focal(keras.losses.Loss):
    def __init__(self, gamma=2.0, name="focal", **kwargs):
        super().__init__(name=name, **kwargs)
        self.gamma = gamma

    def call(self, y_true, y_pred):
        y_pred = ops.clip(y_pred, keras.config.epsilon(), 1.0)
        y_true = ops.cast(y_true, y_pred.dtype)
        return ops.sum(-y_true * (1 - y_pred) ** self.gamma * ops.log(y_pred), axis=-1)

    def get_config(self):
        return {**super().get_config(), "gamma": self.gamma}


@keras.saving.register_keras_serializable(package="own")
class CategoricalTruePositives(keras.metrics.Metric):
    def __init__(self, name="categorical_true_positives", **kwargs):
        super().__init__(name=name, **kwargs)
        self.true_positives = self.add_weight(name="ctp", shape=(), initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        values = ops.equal(ops.argmax(y_true, axis=-1), ops.argmax(y_pred, axis=-1))
        values = ops.cast(values, "float32")
        if sample_weight is not None:
            values = ops.multiply(values, ops.cast(sample_weight, "float32"))
        self.true_positives.assign_add(ops.sum(values))

    def result(self):
        return self.true_positives.value

    def reset_state(self):
        self.true_positives.assign(0.0)


@keras.saving.register_keras_serializable(package="own")
def swish_like(x):
    return x * ops.sigmoid(1.5 * x)


def first_moment(y_true, y_pred):
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


model = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        layers.Conv2D(small(16, 4), 3, padding="same", activation=swish_like),
        PixelNorm(),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        Linear(small(32, 4), activation="relu", kernel_regularizer=keras.regularizers.L2(1e-4)),
        layers.Lambda(lambda x: x * 2.0),
        Linear(10, activation="softmax"),
    ]
)
model.compile(
    optimizer=keras.optimizers.Adam(3e-3),
    loss=Focal(gamma=1.5),
    metrics=["accuracy", CategoricalTruePositives(), first_moment],
)
assert len(model.losses) == 1
assert float(model.losses[0]) > 0
history = model.fit(x_train, y_train, epochs=small(8, 1), batch_size=small(50, 4), verbose=2)
results = model.evaluate(x_test, y_test, verbose=0, return_dict=True)
print(results)
assert TINY or results["accuracy"] > 0.8
assert round(results["accuracy"] * len(x_test)) == results["categorical_true_positives"]

# Outside of a model, all of them are functions of arrays.
probabilities = model.predict(x_test, verbose=0)
metric = CategoricalTruePositives()
metric.update_state(y_test, probabilities)
assert float(metric.result()) == results["categorical_true_positives"]
penalty = float(model.losses[0])
np.testing.assert_allclose(
    float(Focal(1.5)(y_test, probabilities)) + penalty, results["loss"], rtol=1e-3
)

# A model of them, without the Lambda, survives a file.
rest = keras.Sequential([layer for layer in model.layers if not isinstance(layer, layers.Lambda)])
rest.build((None, 8, 8, 1))
path = os.path.join(tempfile.mkdtemp(), "own.keras")
rest.compile("adam", loss=Focal())
rest.save(path)
again = keras.models.load_model(path)
assert again.layers[-2].units == small(32, 4)
np.testing.assert_allclose(
    again.predict(x_test, verbose=0), rest.predict(x_test, verbose=0), rtol=1e-5, atol=1e-6
)
