"""Data from everywhere: generators, PyDataset, sample weights, batch by batch, by steps."""

import math

from library import TINY, digits, small

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(16)
(x_train, y_train), (x_test, y_test) = digits(small(400, 16), small(100, 8))
batch_size = small(40, 4)


def make_model():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(small(16, 4), 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(
        keras.optimizers.Adam(1e-2),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        weighted_metrics=["sparse_categorical_crossentropy"],
    )
    return model


class ExamplePyDataset(keras.utils.PyDataset):
    def __init__(self, x, y, batch_size, **kwargs):
        super().__init__(**kwargs)
        self.x, self.y = x, y
        self.batch_size = batch_size
        self.ends = 0

    def __len__(self):
        return math.ceil(len(self.x) / self.batch_size)

    def __getitem__(self, idx):
        low = idx * self.batch_size
        high = min(low + self.batch_size, len(self.x))
        return self.x[low:high], self.y[low:high]

    def on_epoch_end(self):
        self.ends += 1


# A PyDataset, in threads of the library.
model = make_model()
train_dataset = ExamplePyDataset(x_train, y_train, batch_size, workers=2, max_queue_size=4)
val_dataset = ExamplePyDataset(x_test, y_test, batch_size=3 * batch_size)
history = model.fit(train_dataset, epochs=small(6, 2), validation_data=val_dataset, verbose=2)
assert TINY or history.history["val_accuracy"][-1] > 0.75
assert train_dataset.ends >= small(6, 2) - 1
by_set = model.evaluate(val_dataset, verbose=0)
by_arrays = model.evaluate(x_test, y_test, batch_size=3 * batch_size, verbose=0)
np.testing.assert_allclose(by_set, by_arrays, rtol=1e-4)
assert model.predict(val_dataset, verbose=0).shape == (len(x_test), 10)


# A generator of (x, y, weight), without end.
def batches(weigh):
    rng = np.random.default_rng(0)
    while True:
        rows = rng.integers(0, len(x_train), batch_size)
        yield x_train[rows], y_train[rows], weigh(y_train[rows])


model = make_model()
weights = model.get_weights()
steps = small(20, 2)
model.fit(batches(lambda y: np.ones(len(y))), steps_per_epoch=steps, epochs=2, verbose=0)
assert int(model.optimizer.iterations) == 2 * steps
ones = model.get_weights()

# Samples of weight zero teach nothing: this model never hears of classes above 4.
model = make_model()
model.set_weights(weights)
model.fit(batches(lambda y: (y < 5).astype("float32")), steps_per_epoch=steps, epochs=2, verbose=0)
assert np.abs(model.get_weights()[0] - ones[0]).max() > 0
found = model.predict(x_test, verbose=0).argmax(-1)
assert TINY or (found < 5).mean() > 0.95

# The same by arrays, with validation weights.
sample_weight = np.ones(shape=(len(y_train),))
sample_weight[y_train == 5] = 2.0
model.fit(
    x_train,
    y_train,
    sample_weight=sample_weight,
    validation_data=(x_test, y_test, np.ones(len(y_test))),
    validation_steps=1,
    batch_size=batch_size,
    epochs=1,
    verbose=0,
)

# By hand, one batch after the other.
model = make_model()
first = model.test_on_batch(x_train, y_train, return_dict=True)
for _ in range(small(6, 1)):
    for i in range(len(train_dataset)):
        x, y = train_dataset[i]
        logs = model.train_on_batch(x, y, return_dict=True)
        assert set(logs) == {"loss", "accuracy", "sparse_categorical_crossentropy"}
last = model.test_on_batch(x_train, y_train, return_dict=True)
assert last["loss"] < first["loss"]
np.testing.assert_allclose(
    model.predict_on_batch(x_test[:5]), model.predict(x_test[:5], verbose=0), rtol=1e-4, atol=1e-6
)
