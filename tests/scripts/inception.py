"""An inception-like network of towers; sub-models on what lies between; a picture that excites."""

from library import TINY, digits, small

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(22)
(x_train, y_train), (x_test, y_test) = digits(small(400, 4), small(100, 2))


def conv2d_bn(x, filters, num_row, num_col, padding="same", strides=(1, 1), name=None):
    bn_name = name + "_bn" if name is not None else None
    conv_name = name + "_conv" if name is not None else None
    x = layers.Conv2D(
        filters,
        (num_row, num_col),
        strides=strides,
        padding=padding,
        use_bias=False,
        name=conv_name,
    )(x)
    x = layers.BatchNormalization(axis=-1, scale=False, momentum=0.8, name=bn_name)(x)
    return layers.Activation("relu", name=name)(x)


def inception_block(x, filters, name):
    branch1x1 = conv2d_bn(x, filters, 1, 1)
    branch3x3 = conv2d_bn(x, filters, 1, 1)
    branch3x3 = conv2d_bn(branch3x3, filters, 3, 3)
    branch1x7 = conv2d_bn(x, filters, 1, 7)
    branch1x7 = conv2d_bn(branch1x7, filters, 7, 1)
    branch_pool = layers.AveragePooling2D((3, 3), strides=(1, 1), padding="same")(x)
    branch_pool = conv2d_bn(branch_pool, filters, 1, 1)
    return layers.concatenate([branch1x1, branch3x3, branch1x7, branch_pool], axis=-1, name=name)


img_input = layers.Input(shape=(8, 8, 1))
x = conv2d_bn(img_input, small(8, 4), 3, 3, name="stem")
x = inception_block(x, small(8, 2), name="mixed0")
x = layers.MaxPooling2D((2, 2))(x)
x = inception_block(x, small(8, 2), name="mixed1")

# A second head on the way, as GoogLeNet has.
side = layers.GlobalAveragePooling2D()(layers.Conv2D(small(16, 4), 1)(x))
side = layers.Dense(10, activation="softmax", name="side")(side)
x = layers.GlobalMaxPooling2D(name="features")(x)
x = layers.Dense(10, activation="softmax", name="main")(x)
model = keras.Model(img_input, [x, side], name="inception")
model.compile(
    optimizer=keras.optimizers.Nadam(5e-3),
    loss=["sparse_categorical_crossentropy", "sparse_categorical_crossentropy"],
    loss_weights=[1.0, 0.3],
    metrics=[["accuracy"], ["accuracy"]],
)
history = model.fit(
    x_train, [y_train, y_train], epochs=small(8, 1), batch_size=small(40, 4), verbose=2
)
assert {"main_loss", "side_loss", "main_accuracy", "side_accuracy"} <= set(history.history)
scores = model.evaluate(x_test, [y_test, y_test], verbose=0, return_dict=True)
print(scores)
assert TINY or scores["main_accuracy"] > 0.7

# What lies between: feature maps by name, as a dictionary, and without the side head.
feature_extractor = keras.Model(
    inputs=model.inputs,
    outputs={name: model.get_layer(name).output for name in ("mixed0", "mixed1", "features")},
)
features = feature_extractor.predict(x_test, verbose=0)
assert features["mixed0"].shape == (len(x_test), 8, 8, 4 * small(8, 2))
assert features["mixed1"].shape == (len(x_test), 4, 4, 4 * small(8, 2))
np.testing.assert_allclose(features["features"], features["mixed1"].max((1, 2)), rtol=1e-5)
main_only = keras.Model(model.input, model.outputs[0])
np.testing.assert_allclose(
    main_only.predict(x_test, verbose=0), model.predict(x_test, verbose=0)[0], rtol=1e-4, atol=1e-5
)

# A part in the middle becomes a model: from mixed0 to the prediction.
middle = keras.Model(model.get_layer("mixed0").output, model.get_layer("main").output)
np.testing.assert_allclose(
    middle.predict(features["mixed0"], verbose=0),
    main_only.predict(x_test, verbose=0),
    rtol=1e-3,
    atol=1e-5,
)

# A linear probe on features learned.
probe = keras.Sequential([keras.Input((4 * small(8, 2),)), layers.Dense(10, activation="softmax")])
probe.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
learned = feature_extractor.predict(x_train, verbose=0)["features"]
probe.fit(learned, y_train, epochs=small(20, 1), batch_size=small(20, 4), verbose=0)
accuracy = probe.evaluate(features["features"], y_test, verbose=0)[1]
print("accuracy of the probe:", accuracy)
assert TINY or accuracy > 0.5
