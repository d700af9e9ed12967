"""Small networks that tests of `nbcnn.viz` look into."""

import numpy as np

import nbcnn as keras
from nbcnn import layers

SHAPE = (8, 8, 2)


def randomized(model, seed=1):
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0, 0.4, w.shape).astype("float32") for w in model.get_weights()])
    return model


def parts(relu_apart=False):
    """The layers of `references.seeing.Net`; its relu may be layers."""
    inside = None if relu_apart else "relu"
    first, second = layers.Conv2D(4, 3, activation=inside), layers.Conv2D(5, 2, activation=inside)
    ends = [layers.Flatten(), layers.Dense(3, activation="softmax")]
    if not relu_apart:
        return [first, layers.MaxPooling2D(2), second, *ends]
    return [first, layers.ReLU(), layers.MaxPooling2D(2), second, layers.Activation("relu"), *ends]


def sequential(**options):
    return randomized(keras.Sequential([keras.Input(SHAPE), *parts(**options)]))


def nested():
    """The same network, its first layers a model of their own."""
    all_layers = parts()
    front = keras.Sequential([keras.Input(SHAPE), *all_layers[:2]], name="front")
    x = inputs = keras.Input(SHAPE)
    for layer in (front, *all_layers[2:]):
        x = layer(x)
    return randomized(keras.Model(inputs, x))
