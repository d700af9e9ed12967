"""Kernels compiled before they are needed: `nbcnn.warmup`."""

from typing import Any

from nbcnn.models import checks


def warmup(model: Any = None, batch_size: int = 32, training: bool = True) -> None:
    """Compile the kernels of a model now, so that its first `fit` or `predict` starts at once.

    Compiled kernels stay on disk (see `NBCNN_CACHE_DIR`): later processes have them too.

    Parameters
    ----------
    model : a model. Without one, the kernels of everyday layers, losses and optimizers are
        compiled, for images of some typical sizes: most of what a model needs, not all.
    batch_size : samples per step; default 32. Another size may need a kernel or two more.
    training : whether to prepare training, which needs a model that is compiled, beside prediction;
        default True.

    Raises
    ------
    ValueError
        If `batch_size` is not positive, the model has no fixed input shape, or training is asked
        for before `model.compile`.
    """
    size = checks.whole_number("warmup", "batch_size", batch_size, 1)
    for each in _everyday_models() if model is None else [model]:
        if training:
            each.example_step(size, training=True).warm()
        prediction = each.example_step(size, training=False)
        prediction.warm()
        prediction.plan.prepare()
        prediction.plan.run()  # on whatever its inputs hold: this gets the threads ready


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
