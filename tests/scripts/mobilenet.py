"""A MobileNetV2-like network: inverted residuals, ReLU6, squeeze and excitation, cosine decay."""

from library import TINY, digits, small

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(18)
side = small(16, 8)
(x_train, y_train), (x_test, y_test) = digits(small(300, 8), small(100, 4), side=side)
batch_size = small(50, 4)


def make_divisible(v, divisor=4, min_value=None):
    if min_value is None:
        min_value = divisor
    new_v = max(min_value, int(v + divisor / 2) // divisor * divisor)
    return new_v + divisor if new_v < 0.9 * v else new_v


def hard_sigmoid(x):
    return layers.ReLU(6.0)(x + 3.0) * (1.0 / 6.0)


def se_block(inputs, filters):
    x = layers.GlobalAveragePooling2D(keepdims=True)(inputs)
    x = layers.Conv2D(make_divisible(filters / 4), 1, activation="relu")(x)
    x = layers.Conv2D(filters, 1)(x)
    return layers.Multiply()([inputs, hard_sigmoid(x)])


def inverted_res_block(inputs, expansion, stride, filters, block_id):
    prefix = f"block_{block_id}_"
    in_channels = inputs.shape[-1]
    x = layers.Conv2D(
        expansion * in_channels,
        kernel_size=1,
        padding="same",
        use_bias=False,
        name=prefix + "expand",
    )(inputs)
    x = layers.BatchNormalization(epsilon=1e-3, momentum=0.8, name=prefix + "expand_BN")(x)
    x = layers.ReLU(6.0, name=prefix + "expand_relu")(x)
    if stride == 2:
        x = layers.ZeroPadding2D(padding=((0, 1), (0, 1)), name=prefix + "pad")(x)
    x = layers.DepthwiseConv2D(
        3, strides=stride, padding="same" if stride == 1 else "valid", use_bias=False,
        depthwise_initializer="he_normal", name=prefix + "depthwise",
    )(x)  # fmt: skip
    x = layers.BatchNormalization(momentum=0.8, name=prefix + "depthwise_BN")(x)
    x = layers.Activation(keras.activations.relu6)(x)
    x = se_block(x, expansion * in_channels)
    x = layers.Conv2D(filters, 1, padding="same", use_bias=False, name=prefix + "project")(x)
    x = layers.BatchNormalization(momentum=0.8, name=prefix + "project_BN")(x)
    if in_channels == filters and stride == 1:
        return layers.Add(name=prefix + "add")([inputs, x])
    return x


img_input = layers.Input(shape=(side, side, 1))
x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="conv1")(img_input)
x = layers.BatchNormalization(momentum=0.8, name="bn_conv1")(x)
x = layers.Activation("hard_swish")(x)
x = inverted_res_block(x, 2, 1, 8, 0)
x = inverted_res_block(x, 2, 2, make_divisible(17), 1)
x = layers.Conv2D(small(32, 8), 1, use_bias=False, kernel_regularizer="l2")(x)
x = layers.GlobalAveragePooling2D()(x)
x = layers.Dropout(0.1)(x)
x = layers.Dense(10, activation="softmax", name="predictions")(x)
model = keras.Model(img_input, x, name="mobilenet_like")
model.summary()
assert make_divisible(17) == 16
assert model.get_layer("block_1_depthwise").output.shape == (None, side // 4, side // 4, 16)

steps = small(10, 2) * (len(x_train) // batch_size)
schedule = keras.optimizers.schedules.CosineDecay(
    initial_learning_rate=1e-3,
    decay_steps=steps,
    alpha=0.01,
    warmup_target=1e-2,
    warmup_steps=steps // 10,
)
model.compile(
    optimizer=keras.optimizers.AdamW(learning_rate=schedule, weight_decay=1e-4),
    loss=keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
    metrics=["accuracy", keras.metrics.TopKCategoricalAccuracy(k=3, name="top3")],
)
one_hot = ops.convert_to_numpy(ops.one_hot(y_train, 10))
history = model.fit(
    x_train, one_hot, epochs=small(10, 1), batch_size=batch_size, verbose=2, shuffle=True
)
np.testing.assert_allclose(
    float(ops.convert_to_numpy(schedule(steps + steps // 10))), 0.01 * 1e-2, rtol=1e-3
)
loss, accuracy, top3 = model.evaluate(x_test, keras.utils.to_categorical(y_test, 10), verbose=0)
print(f"accuracy {accuracy}, among the first three {top3}")
assert top3 >= accuracy
assert TINY or accuracy > 0.5
assert TINY or history.history["loss"][-1] < 0.8 * history.history["loss"][0]
