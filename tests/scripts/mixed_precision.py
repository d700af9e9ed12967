"""Mixed precision: a policy for all layers, float32 where it matters, loss scaling."""

from library import TINY, digits, small

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(19)
(x_train, y_train), (x_test, y_test) = digits(small(400, 8), small(100, 4))

keras.mixed_precision.set_global_policy("mixed_bfloat16")
policy = keras.mixed_precision.global_policy()
print("Compute dtype:", policy.compute_dtype)
print("Variable dtype:", policy.variable_dtype)
assert policy.name == "mixed_bfloat16"
assert keras.config.dtype_policy().name == "mixed_bfloat16"

inputs = keras.Input(shape=(8, 8, 1), name="digits")
x = layers.Conv2D(small(16, 4), 3, padding="same", name="conv")(inputs)
x = layers.BatchNormalization(momentum=0.8)(x)
x = layers.Activation("relu")(x)
x = layers.MaxPooling2D(2)(x)
x = layers.Flatten()(x)
dense1 = layers.Dense(small(64, 8), activation="relu", name="dense_1")
x = dense1(x)
assert dense1.kernel.dtype == "float32"
assert dense1.dtype_policy.name == "mixed_bfloat16"
x = layers.Dense(10, name="dense_logits")(x)
outputs = layers.Activation("softmax", dtype="float32", name="predictions")(x)
assert outputs.dtype == "float32"
model = keras.Model(inputs=inputs, outputs=outputs)
model.compile(
    loss="sparse_categorical_crossentropy",
    optimizer=keras.optimizers.RMSprop(2e-3),
    metrics=["accuracy"],
)
initial_weights = model.get_weights()
history = model.fit(
    x_train, y_train, batch_size=small(40, 4), epochs=small(6, 1), validation_split=0.2, verbose=2
)
assert np.isfinite(history.history["loss"]).all()
test_scores = model.evaluate(x_test, y_test, verbose=0)
print("Test loss, test accuracy:", test_scores)
assert TINY or test_scores[1] > 0.75
assert {str(w.dtype) for w in model.get_weights()} == {"float32"}
assert model.predict(x_test, verbose=0).dtype == np.float32

# Back to float32, with the same weights: nearly the same predictions.
keras.mixed_precision.set_global_policy("float32")
full = keras.models.clone_model(
    model,
    clone_function=lambda layer: layer.__class__.from_config(
        {**layer.get_config(), "dtype": "float32"}
    ),
)
full.set_weights(model.get_weights())
assert full.get_layer("dense_1").dtype_policy.name == "float32"
difference = np.abs(full.predict(x_test, verbose=0) - model.predict(x_test, verbose=0)).max()
print("largest difference of probabilities:", difference)
assert difference < 0.1

# Loss scaling wraps an optimizer; here it only must not change anything.
full.set_weights(initial_weights)
full.compile(
    loss="sparse_categorical_crossentropy",
    optimizer=keras.mixed_precision.LossScaleOptimizer(
        keras.optimizers.SGD(0.1), initial_scale=2.0**10
    ),
)
plain = keras.models.clone_model(full)
plain.set_weights(initial_weights)
plain.compile(loss="sparse_categorical_crossentropy", optimizer=keras.optimizers.SGD(0.1))
for each in (full, plain):
    each.fit(x_train[:8], y_train[:8], batch_size=4, epochs=1, shuffle=False, verbose=0)
for a, b in zip(full.get_weights(), plain.get_weights()):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
