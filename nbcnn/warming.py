"""Kernels compiled before they are needed: `nbcnn.warmup`."""

import copy
from typing import Any, NamedTuple

from nbcnn.models import checks


class Warmed(NamedTuple):
    """What `warmup` has done for GPUs of an architecture."""

    cuda: str
    kernels: int
    compiled: int

    def __str__(self) -> str:
        there = self.kernels - self.compiled
        return f"{self.kernels} kernels for {self.cuda}: {self.compiled} compiled, {there} on disk"


def warmup(
    model: Any = None, batch_size: int = 32, training: bool = True, cuda: str | None = None
) -> Warmed | None:
    """Compile the kernels of a model now, so that its first `fit` or `predict` starts at once.

    Compiled kernels stay on disk (see `NBCNN_CACHE_DIR`): later processes have them too.

    Parameters
    ----------
    model : a model. Without one, the kernels of everyday layers, losses and optimizers are
        compiled, for images of some typical sizes: most of what a model needs, not all.
    batch_size : samples per step; default 32. Another size may need a kernel or two more.
    training : whether to prepare training, which needs a model that is compiled, beside prediction;
        default True.
    cuda : compile for GPUs of this architecture, as "sm_90", in the place of the model's device.
        There need not be such a GPU: an image for a cluster can be filled where it is built.

    Returns
    -------
    With `cuda`, how many kernels there are and how many were compiled for them.

    Raises
    ------
    ValueError
        If `batch_size` is not positive, the model has no fixed input shape, or training is asked
        for before `model.compile`; for an unknown architecture.
    DeviceError
        With `cuda`, if what compiles for GPUs is not installed.
    """
    size = checks.whole_number("warmup", "batch_size", batch_size, 1)
    models = _everyday_models() if model is None else [model]
    if cuda is not None:
        return _for_architecture(cuda, models, size, training)
    for each in models:
        _warm(each, size, training)
    return None


def _warm(model: Any, size: int, training: bool) -> None:
    if training:
        model._example_step(size, training=True).warm()
    prediction = model._example_step(size, training=False)
    prediction.warm()
    prediction.plan.prepare()
    prediction.plan.run()  # on whatever its inputs hold: this gets the threads ready


def _for_architecture(name: str, models: list[Any], size: int, training: bool) -> Warmed:
    from nbcnn.runtime.cuda_offline import OfflineDevice

    device = OfflineDevice(name)
    for model in models:
        twin = copy.deepcopy(model)  # whose weights go where there is no memory
        twin._runners.only_device = device
        _warm(twin, size, training)
    return Warmed(device.name, len(device.kernels), device.compiled)


def _everyday_models() -> list[Any]:
    """Small models that together have what most models are made of."""
    return [_classic(), _pooled(), _normalized(), _residual()]


def _classic() -> Any:
    from nbcnn import Input, Sequential, layers

    model = Sequential(
        [
            Input((28, 28, 1)),
            layers.Conv2D(8, 5, padding="same", activation="sigmoid"),
            layers.AveragePooling2D(2),
            layers.Conv2D(16, 3, activation="tanh"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def _pooled() -> Any:
    from nbcnn import Input, Sequential, layers

    model = Sequential([Input((28, 28, 1))])
    for filters in (16, 32):
        model.add(layers.Conv2D(filters, 3, activation="relu"))
        model.add(layers.MaxPooling2D(2))
    model.add(layers.Flatten())
    model.add(layers.Dense(10, activation="softmax"))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def _normalized() -> Any:
    from nbcnn import Input, Sequential, layers

    def block(filters: int, **options: Any) -> list[Any]:
        convolution = layers.Conv2D(filters, 3, padding="same", use_bias=False, **options)
        return [convolution, layers.BatchNormalization(), layers.ReLU()]

    model = Sequential(
        [
            Input((32, 32, 3)),
            *block(32),
            *block(64, strides=2),
            layers.DepthwiseConv2D(3, padding="same", use_bias=False),
            layers.Conv2D(64, 1, activation="relu"),
            layers.MaxPooling2D(2),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("rmsprop", "categorical_crossentropy", metrics=["accuracy"])
    return model


def _residual() -> Any:
    from nbcnn import Input, Model, layers, optimizers

    inputs = Input((32, 32, 3))
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(inputs)
    y = layers.Conv2D(16, 3, padding="same")(x)
    x = layers.ReLU()(layers.Add()([x, layers.BatchNormalization()(y)]))
    x = layers.Concatenate()([x, layers.Conv2D(16, 1, strides=1)(x)])
    x = layers.GlobalAveragePooling2D()(x)
    model = Model(inputs, layers.Dense(1, activation="sigmoid")(x))
    model.compile(optimizers.SGD(0.01, momentum=0.9), "binary_crossentropy", metrics=["accuracy"])
    return model
