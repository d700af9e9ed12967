"""Models, and the data that trains them, which tests save."""

import numpy as np

import nbcnn
from nbcnn import layers, ops

RNG = np.random.default_rng(1)
X = RNG.normal(size=(12, 6, 6, 2)).astype("float32")
LABELS = RNG.integers(0, 3, 12)


def chain():
    return nbcnn.Sequential(
        [
            nbcnn.Input((6, 6, 2), name="pixels"),
            layers.Conv2D(3, 3, activation="relu", kernel_regularizer=nbcnn.regularizers.L2(1e-3)),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(3, activation="softmax"),
        ]
    )


def residual():
    """Shared layers, bare operations, several inputs and outputs, a model inside."""
    a, b = nbcnn.Input((6, 6, 2), name="a"), nbcnn.Input((4,), name="b")
    conv = layers.Conv2D(2, 3, padding="same")
    x = ops.relu(conv(conv(a)) + a) * 0.5
    x = layers.Flatten()(x)
    inner = nbcnn.Sequential([nbcnn.Input((4,)), layers.Dense(3)], name="inner")
    y = layers.Concatenate()([x, inner(b)])
    return nbcnn.Model([a, b], {"p": layers.Dense(3, name="p")(y), "q": [y, x]})


@nbcnn.saving.register_keras_serializable("tests")
class Own(nbcnn.Model):
    def __init__(self, units, activation="relu", **kwargs):
        super().__init__(**kwargs)
        self.hidden = layers.Dense(units, activation=activation)
        self.out = layers.Dense(3, activation="softmax")
        self.flat = layers.Flatten()

    def call(self, inputs):
        return self.out(self.hidden(self.flat(inputs)))


def trained(model, **options):
    model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"], **options)
    model.fit(X, LABELS, batch_size=5, verbose=0)
    return model


def equal(first, second):
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
