"""What models of `models/` learn that are no classifiers of pictures: `task(model)` returns samples
of the model's shape, their labels, and the loss.
"""

import importlib
from typing import Any

import numpy as np

import nbcnn as keras

CLASSES = "sparse_categorical_crossentropy"


def module(name: str) -> Any:
    return importlib.import_module(name)


def digits(side: int, samples: int = 256) -> tuple[np.ndarray, np.ndarray]:
    (x, y), _ = keras.datasets.digits.load_data(size=side)
    return x[:samples], y[:samples]


def segmentation(model: Any) -> Any:
    side = model.input_shape[1]
    return *module("unet").canvases(digits(side // 2)[0], 96, side), CLASSES


def denoising(model: Any) -> Any:
    x, _ = digits(model.input_shape[1])
    return module("autoencoder").noisy(x), x, "binary_crossentropy"


def reconstruction(model: Any) -> Any:
    x, _ = digits(model.input_shape[1])
    return x, x, module("vae").reconstruction


def forgery(model: Any) -> Any:
    side = model.get_layer("discriminator").input_shape[1]
    return 2 * digits(side)[0] - 1, None, None


def sound(model: Any) -> Any:
    return *module("m5").notes(256, model.input_shape[1]), CLASSES


def reading(model: Any) -> Any:
    """Digits row by row: pixel by pixel takes epochs."""
    x, y = digits(model.input_shape[1])
    return x[..., 0], y, CLASSES


def sentences(model: Any) -> Any:
    text_cnn = module("text_cnn")
    texts, labels = text_cnn.sentences()
    chosen = np.random.default_rng(0).permutation(len(texts))[:512]
    texts = [texts[i] for i in chosen]
    words = text_cnn.numbers_of(texts, model.layers[1].input_dim)
    return text_cnn.numbered(texts, words, model.input_shape[1]), labels[chosen], CLASSES
