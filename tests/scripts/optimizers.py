"""Optimizers and their options: schedules, clipping, moving averages, accumulated gradients."""

from library import TINY, digits, small

import keras
import numpy as np
from keras import layers
from keras.optimizers import schedules

keras.utils.set_random_seed(23)
(x_train, y_train), (x_test, y_test) = digits(small(320, 8), small(100, 4))
batch_size = small(32, 4)
steps = len(x_train) // batch_size


def make_model():
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(
                small(16, 8), activation="relu", kernel_constraint=keras.constraints.MaxNorm(4)
            ),
            layers.Dense(10, kernel_regularizer=keras.regularizers.L1L2(1e-5, 1e-4)),
        ]
    )


initial = make_model().get_weights()


def train(optimizer, epochs=None, **options):
    model = make_model()
    model.set_weights(initial)
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    history = model.fit(
        x_train, y_train, batch_size=batch_size, epochs=epochs or small(4, 1), shuffle=False,
        verbose=0, **options,
    )  # fmt: skip
    return model, history.history["loss"]


for optimizer in (
    keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    keras.optimizers.RMSprop(1e-2, rho=0.9, momentum=0.5, centered=True),
    keras.optimizers.Adam(1e-2, amsgrad=True, clipnorm=1.0),
    keras.optimizers.AdamW(1e-2, weight_decay=1e-3, clipvalue=0.5),
    keras.optimizers.Adagrad(0.1, global_clipnorm=1.0),
    keras.optimizers.Adamax(1e-2),
    keras.optimizers.Nadam(1e-2),
    keras.optimizers.Lion(1e-3),
    keras.optimizers.get("adadelta"),
):
    model, losses = train(optimizer)
    print(f"{optimizer.name}: {losses[0]:.3f} -> {losses[-1]:.3f}")
    assert np.isfinite(losses).all()
    assert TINY or optimizer.name == "adadelta" or losses[-1] < losses[0]
    norms = np.linalg.norm(model.get_weights()[0], axis=0)
    assert norms.max() < 4.001

# Schedules give the rates that their formulas say.
exponential = schedules.ExponentialDecay(0.1, decay_steps=steps, decay_rate=0.5, staircase=True)
model, _ = train(keras.optimizers.SGD(exponential), epochs=3)
assert int(model.optimizer.iterations) == 3 * steps
np.testing.assert_allclose(float(model.optimizer.learning_rate), 0.1 * 0.5**3, rtol=1e-5)
for schedule, step, rate in (
    (schedules.PiecewiseConstantDecay([10, 20], [1.0, 0.5, 0.1]), 15, 0.5),
    (schedules.PolynomialDecay(1.0, 10, 0.0, power=2.0), 5, 0.25),
    (schedules.InverseTimeDecay(1.0, 1, 0.5), 4, 1 / 3),
    (schedules.CosineDecayRestarts(1.0, 10), 10, 1.0),
):
    np.testing.assert_allclose(float(schedule(step)), rate, rtol=1e-5, atol=1e-6)


class Warmup(schedules.LearningRateSchedule):
    def __init__(self, peak, warmup_steps):
        self.peak = peak
        self.warmup_steps = warmup_steps

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        return self.peak * keras.ops.minimum(1.0, (step + 1) / self.warmup_steps)

    def get_config(self):
        return {"peak": self.peak, "warmup_steps": self.warmup_steps}


model, losses = train(keras.optimizers.Adam(Warmup(1e-2, 2 * steps)))
assert TINY or losses[-1] < losses[0]
assert TINY or abs(float(model.optimizer.learning_rate) - 1e-2) < 1e-6

# Two half batches accumulated are one batch, but for the rounding.
whole, _ = train(keras.optimizers.SGD(0.1), epochs=1)
halves = make_model()
halves.set_weights(initial)
halves.compile(
    keras.optimizers.SGD(0.1, gradient_accumulation_steps=2),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)
halves.fit(x_train, y_train, batch_size=batch_size // 2, epochs=1, shuffle=False, verbose=0)
for a, b in zip(whole.get_weights(), halves.get_weights()):
    np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-4)

# Averages of weights take the weights' place when training ends.
averaged, _ = train(
    keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9), epochs=1,
)  # fmt: skip
distances = [
    sum(np.abs(a - b).sum() for a, b in zip(model.get_weights(), initial))
    for model in (whole, averaged)
]
assert distances[1] < distances[0]

# The rate can be set by hand; 0 changes nothing (but that constraints round).
whole.optimizer.learning_rate = 0.0
before = whole.get_weights()
whole.train_on_batch(x_train[:batch_size], y_train[:batch_size])
for a, b in zip(before, whole.get_weights()):
    np.testing.assert_allclose(a, b, rtol=1e-6)
