"""Small models and data that several tests train."""

import numpy as np

import nbcnn
from nbcnn import layers

RNG = np.random.default_rng(5)
X = RNG.normal(size=(23, 3)).astype("float32")
Y = (X @ np.array([[1.0], [-2.0], [0.5]]) + 0.3).astype("float32")
LABELS = RNG.integers(0, 4, 23)


def linear(units=1, **kwargs):
    return nbcnn.Sequential([nbcnn.Input((3,)), layers.Dense(units, **kwargs)])


def classifier():
    return linear(4, activation="softmax")


def compiled(model, **kwargs):
    model.compile(**{"optimizer": nbcnn.optimizers.SGD(0.1), "loss": "mse", **kwargs})
    return model


def compiled_classifier(**kwargs):
    options = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"], **kwargs}
    return compiled(classifier(), **options)
