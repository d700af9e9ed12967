"""Two inputs, two outputs: losses, weights and metrics by the outputs' names."""

from library import TINY, digits, small

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(6)
(x, y), _ = digits(small(500, 8))
rng = np.random.default_rng(6)
meta = rng.normal(size=(len(x), 5)).astype("float32")
is_even = (y % 2 == 0).astype("float32")[:, None]
height = (x.sum((1, 2, 3)) / 20 + meta[:, 0]).astype("float32")

image_input = keras.Input(shape=(8, 8, 1), name="image")
meta_input = keras.Input(shape=(5,), name="meta")
image_features = layers.Conv2D(small(16, 4), 3, activation="relu", padding="same")(image_input)
image_features = layers.MaxPooling2D(2)(image_features)
image_features = layers.Flatten()(image_features)
meta_features = layers.Dense(small(16, 4), activation="relu")(meta_input)
joined = layers.concatenate([image_features, meta_features])
joined = layers.Dense(small(32, 8), activation="relu")(joined)
digit = layers.Dense(10, name="digit")(joined)
even = layers.Dense(1, activation="sigmoid", name="even")(joined)
size = layers.Dense(1, name="size")(joined)
model = keras.Model(
    inputs=[image_input, meta_input],
    outputs={"digit": digit, "even": even, "size": size},
)
assert set(model.output_names) == {"digit", "even", "size"}

model.compile(
    optimizer=keras.optimizers.Adam(5e-3),
    loss={
        "digit": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "even": keras.losses.BinaryCrossentropy(),
        "size": "mse",
    },
    loss_weights={"digit": 1.0, "even": 0.5, "size": 0.2},
    metrics={
        "digit": ["accuracy"],
        "even": [keras.metrics.BinaryAccuracy(name="right"), keras.metrics.AUC(name="auc")],
        "size": [keras.metrics.MeanAbsoluteError(name="mae")],
    },
)
data = {"image": x, "meta": meta}
targets = {"digit": y, "even": is_even, "size": height}
history = model.fit(
    data, targets, epochs=small(10, 1), batch_size=small(50, 4), validation_split=0.2, verbose=0
).history
print(sorted(history))
assert {"loss", "digit_loss", "even_loss", "size_loss", "digit_accuracy", "even_right",
        "even_auc", "size_mae", "val_loss", "val_digit_accuracy"} <= set(history)  # fmt: skip

results = model.evaluate(data, targets, verbose=0, return_dict=True)
weighted = results["digit_loss"] + 0.5 * results["even_loss"] + 0.2 * results["size_loss"]
assert abs(results["loss"] - weighted) < 1e-3 * max(1, weighted)
assert TINY or results["digit_accuracy"] > 0.8
assert TINY or results["even_auc"] > 0.8

predicted = model.predict(data, verbose=0)
assert predicted["digit"].shape == (len(x), 10)
mae = np.abs(predicted["size"][:, 0] - height).mean()
np.testing.assert_allclose(mae, results["size_mae"], rtol=1e-3)

# A weight for each class, with one output.
single = keras.Model([image_input, meta_input], digit)
single.compile(
    "sgd",
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    weighted_metrics=["accuracy"],
)
class_weight = {i: 2.0 if i == 5 else 0.5 for i in range(10)}
single.fit([x, meta], y, class_weight=class_weight, epochs=1, batch_size=small(50, 4), verbose=0)

# A sample weight of 0 is as good as no sample.
half = len(x) // 2
keep = np.repeat([1.0, 0.0], [half, len(x) - half])
all_of_them = single.evaluate([x, meta], y, sample_weight=keep, verbose=0)
alone = single.evaluate([x[:half], meta[:half]], y[:half], verbose=0)
np.testing.assert_allclose(all_of_them[1], alone[1], rtol=1e-5)
