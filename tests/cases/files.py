"""Models of all kinds of layers for files: made alike by `nbcnn` and by real Keras.

Each is small, draws nothing at random while it trains, and has one optimizer; all optimizers occur.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

IMAGE, SEQUENCE, VOLUME, ROW = (6, 6, 2), (8, 3), (4, 4, 4, 2), (5,)


class Case(NamedTuple):
    """`make(K, inputs)` gives the outputs of a functional model, or a whole model, from a module
    with Keras's names; `optimizer(K)` an optimizer.
    """

    name: str
    make: Callable[[Any, Any], Any]
    shapes: tuple[tuple[int, ...], ...]
    optimizer: Callable[[Any], Any]


def chain(*makers: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """Layers one after the other, then a dense one of two outputs."""

    def make(K: Any, inputs: Any) -> Any:
        x = inputs
        for maker in makers:
            x = maker(K.layers)(x)
        return K.layers.Dense(2)(K.layers.Flatten()(x))

    return make


def shared(K: Any, inputs: Any) -> Any:
    L = K.layers
    conv = L.Conv2D(2, 3, padding="same", name="both")
    x = L.Add()([conv(conv(inputs)), inputs])
    return L.Dense(2, name="last_one")(L.GlobalAveragePooling2D()(x))


def branches(K: Any, inputs: Any) -> Any:
    """Several inputs and outputs, branches of unequal length."""
    L = K.layers
    image, row = inputs
    a = L.Conv2D(3, 3, use_bias=False, name="a")(image)
    b = L.Conv2D(3, 3, strides=2, name="b")(L.ZeroPadding2D(1)(image))
    a = L.GlobalMaxPooling2D()(L.BatchNormalization()(a))
    x = L.Concatenate()([a, L.GlobalAveragePooling2D()(b), L.Dense(3)(row)])
    return [L.Dense(2)(x), L.Dense(1, activation="sigmoid")(row)]


def merges(K: Any, inputs: Any) -> Any:
    L = K.layers
    a, b = L.Dense(4)(inputs), L.Dense(4, use_bias=False)(inputs)
    merged = [L.Average()([a, b]), L.Maximum()([a, b]), L.Minimum()([a, b])]
    merged += [L.Multiply()([a, b]), L.Subtract()([a, b]), L.Dot(1)([a, b])]
    return L.Dense(2)(L.Concatenate()(merged))


def pools(K: Any, inputs: Any) -> Any:
    L = K.layers
    x = L.AveragePooling1D(2, 1)(L.DepthwiseConv1D(2)(inputs))
    y = L.SeparableConv1D(3, 2)(inputs)
    found = [L.GlobalMaxPooling1D()(x), L.GlobalAveragePooling1D()(y)]
    found += [L.Flatten()(L.AdaptiveMaxPooling1D(2)(y))]
    found += [L.Flatten()(L.AdaptiveAveragePooling1D(2)(x))]
    return L.Dense(2)(L.Concatenate()(found))


def volumes(K: Any, inputs: Any) -> Any:
    L = K.layers
    x = L.SpatialDropout3D(0.0)(L.Conv3DTranspose(2, 2, strides=2)(inputs))
    x = L.AveragePooling3D(2, 1)(L.Cropping3D(1)(x))
    found = [L.GlobalMaxPooling3D()(x), L.GlobalAveragePooling3D()(x)]
    found += [L.Flatten()(L.AdaptiveMaxPooling3D(2)(x))]
    found += [L.Flatten()(L.AdaptiveAveragePooling3D(2)(x))]
    return L.Dense(2)(L.Concatenate()(found))


def images(K: Any, inputs: Any) -> Any:
    """What augments at random rests in predictions. Keras's graphs lose an `Equalization`."""
    L = K.layers
    x = L.AutoContrast((0, 1))(inputs)
    x = L.ContrastLimitedAdaptiveHistogramEqualization((0, 1), tile_grid_size=(2, 2))(x)
    for layer in (
        L.RandomBrightness(0.1, (0, 1)), L.RandomColorDegeneration(0.5), L.RandomContrast(0.2),
        L.RandomColorJitter((0, 1), 0.1, 0.2, 0.1, 0.1), L.RandomCrop(6, 6, seed=1),
        L.RandomElasticTransform(0.5, 0.3), L.RandomErasing(0.5, (0.1, 0.2)),
        L.RandomGaussianBlur(0.5, 3, 0.4), L.RandomGrayscale(0.3), L.RandomHue(0.2, (0, 1)),
        L.RandomInvert(0.5, (0, 1)), L.RandomPerspective(0.5, 0.3),
        L.RandomPosterization(3, (0, 1)), L.RandomSaturation(0.2, (0, 1)),
        L.RandomSharpness(0.3, (0, 1)), L.RandomShear((0.1, 0.2), (0.1, 0.3)),
        L.RandomTranslation(0.1, (-0.2, 0.3)), L.RandomZoom((-0.2, 0.1), fill_mode="wrap"),
        L.Solarization(0.2, 0.3, (0, 1)), L.RandAugment((0, 1), 3, 0.2),
        L.AugMix((0, 1), 2, 4, 0.2, 0.5), L.MixUp(0.3),
        L.CutMix(0.5),
    ):  # fmt: skip
        x = layer(x)
    return L.Dense(2)(L.Flatten()(x))


def nested(K: Any, inputs: Any) -> Any:
    L = K.layers
    inner_input = K.Input((6, 6, 2))
    inner = K.Model(inner_input, L.ReLU()(L.Conv2D(2, 3, padding="same")(inner_input)))
    tail = K.Sequential([K.Input((6, 6, 2)), L.MaxPooling2D(), L.Flatten(), L.Dense(4)])
    return L.Dense(2)(tail(inner(inner(inputs))))


def operations(K: Any, inputs: Any) -> Any:
    """Bare operations between layers."""
    ops, L = K.ops, K.layers
    x = ops.relu(L.Conv2D(4, 3)(inputs)) * 0.5 + 1.0
    x = ops.concatenate([x, ops.leaky_relu(-x, 0.3)], axis=-1)
    x = ops.mean(x[:, 1:, :-1], axis=(1, 2))
    return L.Dense(2)(ops.reshape(x, (-1, 8)) - ops.max(x, axis=-1, keepdims=True))


def sequential(K: Any, inputs: Any) -> Any:
    L = K.layers
    return K.Sequential(
        [K.Input(IMAGE), L.Conv2D(3, 3, activation="relu"), L.Flatten(), L.Dense(2)], name="chain"
    )


def own(K: Any, inputs: Any) -> Any:
    return own_classes(K)["OwnModel"](4)


_classes: dict[str, dict[str, Any]] = {}


def own_classes(K: Any) -> dict[str, Any]:
    """A layer and a model written by a user, for `custom_objects`."""
    if K.__name__ in _classes:
        return _classes[K.__name__]
    L = K.layers

    class OwnBlock(L.Layer):
        def __init__(self, units: int, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.units = units
            self.wide, self._hidden = L.Dense(units), L.Dense(units)
            self.many = [L.Dense(units), [L.Dense(units)], {"b": L.LayerNormalization()}]

        def build(self, input_shape: Any) -> None:
            self.step = self.add_weight(shape=(), initializer="zeros", trainable=False, name="s")
            self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="w")
            super().build(input_shape)

        def call(self, x: Any) -> Any:
            x = self._hidden(self.wide(x * self.scale))
            return self.many[2]["b"](self.many[1][0](self.many[0](x))) + self.step

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "units": self.units}

    class OwnModel(K.Model):
        def __init__(self, units: int, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.units = units
            self.hidden, self.out, self.flat = OwnBlock(units), L.Dense(2), L.Flatten()
            self.stack = [K.Sequential([L.Dense(3, activation="relu")]), L.Dense(3)]

        def call(self, x: Any) -> Any:
            x = self.hidden(self.flat(x))
            for layer in self.stack:
                x = layer(x)
            return self.out(x)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "units": self.units}

    _classes[K.__name__] = {"OwnBlock": OwnBlock, "OwnModel": OwnModel}
    return _classes[K.__name__]


def opt(name: str, *args: Any, **options: Any) -> Callable[[Any], Any]:
    return lambda K: getattr(K.optimizers, name)(*args, **options)


def decaying(K: Any) -> Any:
    return K.optimizers.SGD(K.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5), momentum=0.9)


def several(K: Any) -> Any:
    """Two of a class, so that their groups are numbered."""
    opts = K.optimizers
    special = {".*kernel": opts.Adam(0.02), ".*gamma": opts.Nadam(0.01)}
    return opts.MultiOptimizer(opts.OptimizerMap(opts.Adam(0.01, amsgrad=True), special))


def scaled(K: Any) -> Any:
    return K.optimizers.LossScaleOptimizer(K.optimizers.Adam(0.01), initial_scale=8.0)


CASES = [
    Case("conv2d", chain(lambda L: L.Conv2D(3, 3, activation="relu")), (IMAGE,), opt("SGD", 0.1)),
    Case(
        "conv2d groups",
        chain(lambda L: L.Conv2D(4, 2, groups=2, dilation_rate=2, padding="same", use_bias=False)),
        (IMAGE,),
        opt("SGD", 0.1, momentum=0.9, nesterov=True),
    ),
    Case("conv1d", chain(lambda L: L.Conv1D(3, 3, padding="causal")), (SEQUENCE,), opt("Adam")),
    Case(
        "conv3d",
        chain(lambda L: L.Conv3D(2, 2, strides=2), lambda L: L.GlobalAveragePooling3D()),
        (VOLUME,),
        opt("Adam", amsgrad=True),
    ),
    Case(
        "transpose",
        chain(lambda L: L.Conv2DTranspose(2, 3, strides=2, padding="same")),
        (IMAGE,),
        opt("AdamW"),
    ),
    Case("transpose1d", chain(lambda L: L.Conv1DTranspose(2, 3)), (SEQUENCE,), opt("RMSprop")),
    Case(
        "depthwise",
        chain(lambda L: L.DepthwiseConv2D(3, depth_multiplier=2)),
        (IMAGE,),
        opt("RMSprop", momentum=0.9, centered=True),
    ),
    Case(
        "separable",
        chain(lambda L: L.SeparableConv2D(3, 3), lambda L: L.SpatialDropout2D(0.0)),
        (IMAGE,),
        opt("Adagrad", 0.1),
    ),
    Case("pools", chain(
        lambda L: L.MaxPooling2D(2), lambda L: L.AveragePooling2D(2, 1, "same")
    ), (IMAGE,), opt("Adadelta", 0.5)),
    Case("batch norm", chain(
        # No bias: its gradient is rounding alone, which these optimizers divide by its size.
        lambda L: L.Conv2D(3, 3, use_bias=False), lambda L: L.BatchNormalization(momentum=0.5)
    ), (IMAGE,), opt("Adamax")),
    Case("layer norm", chain(
        lambda L: L.LayerNormalization(), lambda L: L.ELU(0.5)
    ), (IMAGE,), opt("Nadam")),
    Case("group norm", chain(
        lambda L: L.GroupNormalization(2), lambda L: L.LeakyReLU(0.2)
    ), (IMAGE,), opt("Ftrl", 0.1)),
    Case("rms norm", chain(
        lambda L: L.RMSNormalization(), lambda L: L.UnitNormalization()
    ), (ROW,), opt("Lion")),
    Case("prelu", chain(
        lambda L: L.PReLU(shared_axes=[1, 2]), lambda L: L.Softmax()
    ), (IMAGE,), opt("Lamb")),
    Case("dense", chain(
        lambda L: L.Dense(
            4, activation="tanh", kernel_regularizer="l2", bias_constraint="unit_norm"
        ),
        lambda L: L.Dropout(0.0),
    ), (ROW,), opt("Adafactor")),
    Case("dense on images", chain(
        lambda L: L.Dense(3, activation="gelu"), lambda L: L.ActivityRegularization(0.1)
    ), (IMAGE,), opt("Muon")),
    Case("reshapes", chain(
        lambda L: L.Permute((2, 1, 3)), lambda L: L.Reshape((-1, 4)), lambda L: L.ZeroPadding1D(1),
        lambda L: L.Cropping1D(1), lambda L: L.UpSampling1D(2),
    ), (IMAGE,), opt("ScheduleFreeAdamW")),
    Case("sizes", chain(
        lambda L: L.UpSampling2D(2, interpolation="nearest"), lambda L: L.Cropping2D(1),
        lambda L: L.ZeroPadding2D((1, 0)), lambda L: L.Rescaling(0.5, -1.0),
    ), (IMAGE,), decaying),
    Case("repeat", chain(
        lambda L: L.RepeatVector(3), lambda L: L.SpatialDropout1D(0.0), lambda L: L.ReLU(6.0),
    ), (ROW,), scaled),
    Case("time distributed", chain(
        lambda L: L.TimeDistributed(L.Dense(3, activation="relu")), lambda L: L.MaxPooling1D(2)
    ), (SEQUENCE,), opt("SGD", 0.1, use_ema=True, ema_momentum=0.9)),
    Case("adaptive", chain(
        lambda L: L.AdaptiveAveragePooling2D(2), lambda L: L.Activation("swish")
    ), (IMAGE,), opt("Adam", gradient_accumulation_steps=2)),
    Case("noise", chain(
        lambda L: L.GaussianNoise(0.0), lambda L: L.GaussianDropout(0.0), lambda L: L.Identity()
    ), (ROW,), opt("SGD", 0.1, clipnorm=0.1)),
    Case("normalization", chain(
        lambda L: L.Normalization(mean=0.5, variance=2.0), lambda L: L.Conv2D(2, 3)
    ), (IMAGE,), opt("SGD", 0.1, global_clipnorm=0.1)),
    Case("augmentation", chain(
        lambda L: L.RandomFlip(), lambda L: L.RandomRotation(0.1), lambda L: L.CenterCrop(4, 4)
    ), (IMAGE,), opt("SGD", 0.0)),
    Case("resizing", chain(lambda L: L.Resizing(4, 4)), (IMAGE,), opt("SGD", 0.1)),
    Case("pools3d", chain(
        lambda L: L.MaxPooling3D(2), lambda L: L.UpSampling3D(2), lambda L: L.ZeroPadding3D(1)
    ), (VOLUME,), opt("SGD", 0.1)),
    Case("shared", shared, (IMAGE,), opt("Adam", 0.01)),
    Case("branches", branches, (IMAGE, ROW), opt("Adam", 0.01)),
    Case("nested", nested, (IMAGE,), opt("Adam", 0.01)),
    Case("operations", operations, (IMAGE,), opt("Adam", 0.01)),
    Case("sequential", sequential, (IMAGE,), opt("Adam", 0.01)),
    Case("own", own, (ROW,), opt("Adam", 0.01)),
    Case("merges", merges, (ROW,), several),
    Case("pools1d", pools, (SEQUENCE,), opt("Adam", 0.01)),
    Case("volumes", volumes, (VOLUME,), opt("SGD", 0.1, momentum=0.9, nesterov=True)),
    Case("adaptive max", chain(
        lambda L: L.AdaptiveMaxPooling2D(2), lambda L: L.AlphaDropout(0.0),
        lambda L: L.BatchNormalization(),
    ), (IMAGE,), several),
    Case("spectral norm", chain(
        lambda L: L.SpectralNormalization(L.Conv2D(2, 3)), lambda L: L.BatchNormalization()
    ), (IMAGE,), opt("Adam", 0.01)),
    Case("images", images, ((6, 6, 3),), opt("SGD", 0.0)),
]  # fmt: skip


# What augments draws at random; spectral normalization changes kernels on TensorFlow, not on JAX.
UNTRAINED = ("images", "spectral norm")
SHARD = 1e-6  # GiB, for files of weights in parts that are recorded
LEGACY = ("batch norm", "nested", "time distributed")  # recorded in Keras's older files, too


def made(case: Case, K: Any) -> Any:
    """The case's model, compiled, with weights that depend on nothing else."""
    shapes = case.shapes
    inputs = [K.Input(shape, name=f"in {i}") for i, shape in enumerate(shapes)]
    outputs = case.make(K, inputs[0] if len(inputs) == 1 else inputs)
    whole = isinstance(outputs, K.Model)
    model = outputs if whole else K.Model(inputs[0] if len(inputs) == 1 else inputs, outputs)
    x, y = data(case)
    many = isinstance(y, list)
    loss = ["mse", K.losses.BinaryCrossentropy()] if many else "mse"
    model.compile(case.optimizer(K), loss, metrics=[["mae"], ["mae"]] if many else ["mae"])
    if not model.built or not model.weights:
        model(x if many else np.asarray(x, "float32"))
    rng = np.random.default_rng(len(case.name))
    # Above zero: some are variances.
    values = [rng.uniform(0.1, 0.5, w.shape).astype("float32") for w in model.weights]
    model.set_weights(values)
    return model


def data(case: Case) -> tuple[Any, Any]:
    """Inputs and targets of four samples."""
    rng = np.random.default_rng(1)
    x = [rng.normal(size=(4, *shape)).astype("float32") for shape in case.shapes]
    y = [rng.normal(size=(4, 2)).astype("float32")]
    if len(x) > 1:
        y.append(rng.integers(0, 2, (4, 1)).astype("float32"))
    return (x[0], y[0]) if len(x) == 1 else (x, y)


def trained(model: Any, case: Case, steps: int) -> None:
    x, y = data(case)
    for _ in range(0 if case.name in UNTRAINED else steps):
        model.train_on_batch(x, y)


def flat(outputs: Any) -> list[np.ndarray]:
    return [np.asarray(o) for o in (outputs if isinstance(outputs, (list, tuple)) else [outputs])]
