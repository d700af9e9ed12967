"""Callbacks of one's own: every hook, stopping at the minimum, rates by epoch, gathered losses."""

from library import digits, small

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(4)
(x_train, y_train), (x_test, y_test) = digits(small(256, 8), small(64, 4), side=8)
batch = small(64, 4)


def get_model():
    model = keras.Sequential()
    model.add(keras.Input((64,)))
    model.add(layers.Dense(1))
    model.compile(
        optimizer=keras.optimizers.RMSprop(learning_rate=0.01),
        loss="mean_squared_error",
        metrics=["mean_absolute_error"],
    )
    return model


x_train, x_test = x_train.reshape(-1, 64), x_test.reshape(-1, 64)
y_train, y_test = y_train.astype("float32"), y_test.astype("float32")


class CustomCallback(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.calls = []

    def on_train_begin(self, logs=None):
        self.calls.append("train begin")
        assert self.params["epochs"] == 2
        assert self.params["steps"] == len(x_train) // batch

    def on_train_end(self, logs=None):
        self.calls.append(f"train end {sorted(logs)}")

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(f"epoch {epoch}")

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(f"epoch end {sorted(logs)}")

    def on_train_batch_end(self, batch, logs=None):
        assert {"loss", "mean_absolute_error"} == set(logs), logs

    def on_test_begin(self, logs=None):
        self.calls.append("test begin")

    def on_test_batch_end(self, batch, logs=None):
        assert logs["loss"] >= 0

    def on_predict_end(self, logs=None):
        self.calls.append("predict end")


class LossHistory(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.per_batch_losses = []

    def on_batch_end(self, batch, logs=None):
        self.per_batch_losses.append(logs.get("loss"))


class EarlyStoppingAtMinLoss(keras.callbacks.Callback):
    def __init__(self, patience=0):
        super().__init__()
        self.patience = patience
        self.best_weights = None

    def on_train_begin(self, logs=None):
        self.wait = 0
        self.stopped_epoch = 0
        self.best = np.inf

    def on_epoch_end(self, epoch, logs=None):
        current = logs.get("loss")
        if np.less(current, self.best):
            self.best = current
            self.wait = 0
            self.best_weights = self.model.get_weights()
        else:
            self.wait += 1
            if self.wait >= self.patience:
                self.stopped_epoch = epoch
                self.model.stop_training = True
                self.model.set_weights(self.best_weights)


class CustomLearningRateScheduler(keras.callbacks.Callback):
    def __init__(self, schedule):
        super().__init__()
        self.schedule = schedule

    def on_epoch_begin(self, epoch, logs=None):
        if not hasattr(self.model.optimizer, "learning_rate"):
            raise ValueError('Optimizer must have a "learning_rate" attribute.')
        lr = self.model.optimizer.learning_rate
        scheduled_lr = self.schedule(epoch, lr)
        self.model.optimizer.learning_rate = scheduled_lr


model = get_model()
shown, losses = CustomCallback(), LossHistory()
model.fit(
    x_train,
    y_train,
    batch_size=batch,
    epochs=2,
    verbose=0,
    validation_data=(x_test, y_test),
    callbacks=[shown, losses],
)
model.predict(x_test, batch_size=batch, callbacks=[shown], verbose=0)
print("\n".join(shown.calls))
names = ["loss", "mean_absolute_error", "val_loss", "val_mean_absolute_error"]
once = ["test begin", f"epoch end {names}"]
assert shown.calls == [
    "train begin", "epoch 0", *once, "epoch 1", *once, f"train end {names}", "predict end",
]  # fmt: skip
assert len(losses.per_batch_losses) == 2 * len(x_train) // batch
assert all(np.isfinite(losses.per_batch_losses))

# A rate so high that the loss grows: training ends, and the best weights come back.
model = get_model()
stopping = EarlyStoppingAtMinLoss(patience=2)
growing = CustomLearningRateScheduler(lambda epoch, lr: 0.01 if epoch < 3 else 3.0)
model.fit(x_train, y_train, batch_size=batch, epochs=30, verbose=0, callbacks=[stopping, growing])
assert 3 <= stopping.stopped_epoch < 29
assert float(model.optimizer.learning_rate) == 3.0
for kept, now in zip(stopping.best_weights, model.get_weights()):
    np.testing.assert_array_equal(kept, now)
