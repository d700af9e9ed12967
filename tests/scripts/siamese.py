"""A siamese network: two inputs share one tower, a contrastive loss learns distances."""

import random

from library import TINY, digits, small

import keras
import numpy as np
from keras import ops

keras.utils.set_random_seed(10)
(x_train, y_train), (x_test, y_test) = digits(small(300, 8), small(150, 8))
margin = 1


def make_pairs(x, y):
    """Two pairs for each picture: one of its class, labelled 0, and one of another, labelled 1."""
    num_classes = int(max(y)) + 1
    digit_indices = [np.where(y == i)[0] for i in range(num_classes)]
    present = [label for label in range(num_classes) if len(digit_indices[label])]
    pairs, labels = [], []
    for idx1 in range(len(x)):
        label1 = y[idx1]
        pairs += [[x[idx1], x[random.choice(digit_indices[label1])]]]
        labels += [0]
        label2 = random.choice([label for label in present if label != label1])
        pairs += [[x[idx1], x[random.choice(digit_indices[label2])]]]
        labels += [1]
    return np.array(pairs), np.array(labels).astype("float32")


pairs_train, labels_train = make_pairs(x_train, y_train)
pairs_test, labels_test = make_pairs(x_test, y_test)


def euclidean_distance(vects):
    x, y = vects
    sum_square = ops.sum(ops.square(x - y), axis=1, keepdims=True)
    return ops.sqrt(ops.maximum(sum_square, keras.backend.epsilon()))


def loss(margin=1):
    def contrastive_loss(y_true, y_pred):
        square_pred = ops.square(y_pred)
        margin_square = ops.square(ops.maximum(margin - (y_pred), 0))
        return ops.mean((1 - y_true) * square_pred + (y_true) * margin_square)

    return contrastive_loss


input = keras.layers.Input((8, 8, 1))
x = keras.layers.BatchNormalization()(input)
x = keras.layers.Conv2D(small(8, 4), (3, 3), activation="tanh")(x)
x = keras.layers.AveragePooling2D(pool_size=(2, 2))(x)
x = keras.layers.Conv2D(small(16, 4), (3, 3), activation="tanh", padding="same")(x)
x = keras.layers.Flatten()(x)
x = keras.layers.BatchNormalization()(x)
x = keras.layers.Dense(10, activation="tanh")(x)
embedding_network = keras.Model(input, x)

input_1 = keras.layers.Input((8, 8, 1))
input_2 = keras.layers.Input((8, 8, 1))
tower_1 = embedding_network(input_1)
tower_2 = embedding_network(input_2)
merge_layer = keras.layers.Lambda(euclidean_distance, output_shape=(1,))([tower_1, tower_2])
normal_layer = keras.layers.BatchNormalization()(merge_layer)
# Ones: a step of the wrong sign would have to be unlearned first.
output_layer = keras.layers.Dense(1, activation="sigmoid", kernel_initializer="ones")(normal_layer)
siamese = keras.Model(inputs=[input_1, input_2], outputs=output_layer)
siamese.compile(
    loss=loss(margin=margin),
    optimizer=keras.optimizers.RMSprop(2e-3),
    metrics=[keras.metrics.BinaryAccuracy()],
)
siamese.summary()
assert len(siamese.weights) == len(embedding_network.weights) + 4 + 2

history = siamese.fit(
    [pairs_train[:, 0], pairs_train[:, 1]],
    labels_train,
    validation_data=([pairs_test[:, 0], pairs_test[:, 1]], labels_test),
    batch_size=small(32, 8),
    epochs=small(8, 1),
    verbose=2,
)
results = siamese.evaluate([pairs_test[:, 0], pairs_test[:, 1]], labels_test, verbose=0)
print("test loss, test acc:", results)
assert TINY or history.history["loss"][-1] < 0.8 * history.history["loss"][0]
assert TINY or results[1] > 0.65

# Both towers are one: exchanging the inputs changes nothing.
there = siamese.predict([pairs_test[:, 0], pairs_test[:, 1]], verbose=0)
back = siamese.predict([pairs_test[:, 1], pairs_test[:, 0]], verbose=0)
np.testing.assert_allclose(there, back, rtol=1e-4, atol=1e-5)
