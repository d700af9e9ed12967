"""How good is it? Rates, curves, thresholds and confusion, in training and by hand."""

from library import TINY, digits, small

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(24)
(x_train, y_train), (x_test, y_test) = digits(small(500, 12), small(200, 12))
# Rare: is it a three?
t_train, t_test = ((y == 3).astype("float32")[:, None] for y in (y_train, y_test))
neg, pos = np.bincount(t_train.astype(int).ravel(), minlength=2)
print(f"{pos} threes among {neg + pos}")

METRICS = [
    keras.metrics.BinaryCrossentropy(name="cross entropy"),
    keras.metrics.TruePositives(name="tp"),
    keras.metrics.FalsePositives(name="fp"),
    keras.metrics.TrueNegatives(name="tn"),
    keras.metrics.FalseNegatives(name="fn"),
    keras.metrics.BinaryAccuracy(name="accuracy"),
    keras.metrics.Precision(name="precision"),
    keras.metrics.Recall(name="recall"),
    keras.metrics.AUC(small(200, 20), name="auc"),
    keras.metrics.AUC(small(200, 20), name="prc", curve="PR"),
    keras.metrics.SensitivityAtSpecificity(0.9, small(200, 20), name="sensitivity"),
]


def make_model(metrics=METRICS, output_bias=None):
    if output_bias is not None:
        output_bias = keras.initializers.Constant(output_bias)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(small(16, 4), 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(1, activation="sigmoid", bias_initializer=output_bias),
        ]
    )
    model.compile(keras.optimizers.Adam(5e-3), keras.losses.BinaryCrossentropy(), metrics=metrics)
    return model


initial_bias = np.log([max(pos, 1) / neg])
model = make_model(output_bias=initial_bias)
start = model.evaluate(x_train, t_train, batch_size=small(100, 4), verbose=0, return_dict=True)
early_stopping = keras.callbacks.EarlyStopping(
    monitor="val_prc", verbose=1, patience=5, mode="max", restore_best_weights=True
)
history = model.fit(
    x_train,
    t_train,
    batch_size=small(50, 4),
    epochs=small(10, 1),
    callbacks=[early_stopping],
    validation_data=(x_test, t_test),
    class_weight={0: 0.6, 1: 2.0},
    verbose=0,
)
results = model.evaluate(x_test, t_test, batch_size=small(100, 4), verbose=0, return_dict=True)
print(results)
assert TINY or results["auc"] > 0.9
assert TINY or results["prc"] > 0.6

# They agree with each other, and with NumPy.
predictions = model.predict(x_test, verbose=0)
said = predictions > 0.5
tp, fp = int((said & (t_test == 1)).sum()), int((said & (t_test == 0)).sum())
assert (results["tp"], results["fp"]) == (tp, fp)
assert results["tp"] + results["fp"] + results["tn"] + results["fn"] == len(x_test)
if tp + fp:
    assert abs(results["precision"] - tp / (tp + fp)) < 1e-5
order = np.argsort(predictions[:, 0])
ranks = np.empty((len(order), 1))
ranks[order, 0] = np.arange(len(order))
if 0 < t_test.sum() < len(t_test):
    of_threes = ranks[t_test == 1]
    area = (of_threes.mean() - (len(of_threes) - 1) / 2) / (len(order) - len(of_threes))
    assert TINY or abs(results["auc"] - area) < 0.05

# Many classes: the confusion matrix, best of k, F1.
many = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        layers.Flatten(),
        layers.Dense(small(32, 8), activation="relu"),
        layers.Dense(10, activation="softmax"),
    ]
)
many.compile(
    "adam",
    "categorical_crossentropy",
    metrics=[
        "accuracy",
        keras.metrics.TopKCategoricalAccuracy(3, name="top3"),
        keras.metrics.F1Score(average="macro", name="f1"),
        keras.metrics.OneHotMeanIoU(10, name="iou"),
        keras.metrics.Precision(class_id=3, name="precision3"),
    ],
)
one_hot = keras.utils.to_categorical(y_train, 10)
many.fit(x_train, one_hot, epochs=small(15, 1), batch_size=small(25, 4), verbose=0)
truth = keras.utils.to_categorical(y_test, 10)
logs = many.evaluate(x_test, truth, verbose=0, return_dict=True)
print(logs)
found = many.predict(x_test, verbose=0).argmax(-1)
confusion = np.zeros((10, 10), int)
np.add.at(confusion, (y_test, found), 1)
assert abs(np.trace(confusion) / len(y_test) - logs["accuracy"]) < 1e-5
union = confusion.sum(0) + confusion.sum(1) - np.diag(confusion)
iou = (np.diag(confusion)[union > 0] / union[union > 0]).mean()
assert abs(iou - logs["iou"]) < 1e-4
assert logs["top3"] >= logs["accuracy"]
assert TINY or logs["f1"] > 0.6

# A metric alone, batch after batch.
recall = keras.metrics.Recall(thresholds=[0.3, 0.7])
for part in np.array_split(np.arange(len(x_test)), 3):
    recall.update_state(t_test[part], predictions[part])
low, high = np.asarray(recall.result())
assert low >= high
recall.reset_state()
assert np.asarray(recall.result()).max() == 0
