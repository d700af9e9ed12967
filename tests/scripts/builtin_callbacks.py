"""The callbacks that come with the library, all in one training."""

import csv
import os
import tempfile

from library import TINY, digits, small

import keras
import numpy as np
from keras import layers
from keras.callbacks import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

keras.utils.set_random_seed(3)
folder = tempfile.mkdtemp()
(x_train, y_train), (x_val, y_val) = digits(small(400, 8), small(100, 4))


def get_compiled_model():
    inputs = keras.Input(shape=(8, 8, 1))
    x = layers.Conv2D(16, 3, padding="same")(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(x)
    outputs = layers.Dense(10, activation="softmax")(x)
    model = keras.Model(inputs, outputs)
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=1e-2),
        loss="sparse_categorical_crossentropy",
        metrics=["sparse_categorical_accuracy"],
    )
    return model


# The best weights are kept in a file, training stops when nothing improves.
best = os.path.join(folder, "best.keras")
model = get_compiled_model()
history = model.fit(
    x_train,
    y_train,
    epochs=small(12, 2),
    batch_size=small(50, 4),
    validation_data=(x_val, y_val),
    callbacks=[
        ModelCheckpoint(best, monitor="val_loss", save_best_only=True, verbose=1),
        ModelCheckpoint(os.path.join(folder, "at_{epoch:02d}.weights.h5"), save_weights_only=True),
        EarlyStopping(monitor="val_loss", min_delta=1e-2, patience=2, restore_best_weights=True),
        ReduceLROnPlateau(monitor="val_loss", factor=0.2, patience=1, min_lr=1e-5),
        keras.callbacks.CSVLogger(os.path.join(folder, "log.csv")),
        keras.callbacks.TerminateOnNaN(),
    ],
    verbose=0,
)
print(history.history)
assert "learning_rate" in history.history
epochs = len(history.history["loss"])
files = sorted(os.listdir(folder))
assert len([name for name in files if name.startswith("at_")]) == epochs, files
with open(os.path.join(folder, "log.csv"), newline="") as file:
    rows = list(csv.DictReader(file))
assert len(rows) == epochs
assert abs(float(rows[0]["loss"]) - history.history["loss"][0]) < 1e-4

saved = keras.models.load_model(best)
loss, accuracy = saved.evaluate(x_val, y_val, verbose=0)
assert abs(loss - min(history.history["val_loss"])) < 1e-3
assert TINY or accuracy > 0.7

# A checkpoint of weights goes into a model of the same make.
other = get_compiled_model()
other.load_weights(os.path.join(folder, f"at_{epochs:02d}.weights.h5"))
assert [w.shape for w in other.get_weights()] == [w.shape for w in model.get_weights()]


# A schedule of one's own: a tenth less in every epoch, after two of warming up.
def scheduler(epoch, lr):
    return float(lr) if epoch < 2 else float(lr) * 0.9


model = get_compiled_model()
seen = []
model.fit(
    x_train,
    y_train,
    epochs=4,
    batch_size=small(200, 4),
    steps_per_epoch=small(None, 1),
    callbacks=[
        keras.callbacks.LearningRateScheduler(scheduler, verbose=0),
        keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: seen.append(logs["learning_rate"])
        ),
    ],
    verbose=0,
)
np.testing.assert_allclose(seen, [1e-2, 1e-2, 9e-3, 8.1e-3], rtol=1e-5)
assert abs(float(model.optimizer.learning_rate) - 8.1e-3) < 1e-6
