"""Data made ready: Normalization that adapts, Rescaling, one-hot, pictures in folders."""

import os
import tempfile

from library import TINY, digits, small

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(21)
to_array = ops.convert_to_numpy
rng = np.random.default_rng(21)

# Means and variances from data.
data = np.array([[0.1, 0.2, 0.3], [0.8, 0.9, 1.0], [1.5, 1.6, 1.7]], "float32")
layer = layers.Normalization()
layer.adapt(data)
normalized_data = to_array(layer(data))
np.testing.assert_allclose(normalized_data.mean(axis=0), np.zeros(3), atol=1e-5)
np.testing.assert_allclose(normalized_data.std(axis=0), np.ones(3), atol=1e-4)
back = layers.Normalization(
    mean=np.ravel(layer.mean), variance=np.ravel(layer.variance), invert=True
)
np.testing.assert_allclose(to_array(back(normalized_data)), data, rtol=1e-4, atol=1e-5)

(x, y), (x_test, y_test) = digits(small(400, 8), small(100, 4))
x, x_test = 255 * x, 255 * x_test
normalizer = layers.Normalization(axis=None)
normalizer.adapt(x)
whole = to_array(normalizer(x))
assert abs(whole.mean()) < 1e-4
assert abs(whole.std() - 1) < 1e-3

model = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        normalizer,
        layers.Conv2D(small(16, 4), 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(10, activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x, y, epochs=small(10, 1), batch_size=small(40, 4), verbose=0)
assert TINY or model.evaluate(x_test, y_test, verbose=0)[1] > 0.75
assert len(model.trainable_weights) == 4

# Rescaling and resizing, as parts of a pipeline.
pipeline = keras.Sequential([layers.Resizing(4, 4), layers.Rescaling(1.0 / 255)])
ready = to_array(pipeline(x[:5]))
assert ready.shape == (5, 4, 4, 1)
assert 0 <= ready.min() <= ready.max() <= 1
np.testing.assert_allclose(ready[0, 0, 0], x[0, :2, :2].mean() / 255, atol=1e-5)

one_hot = keras.utils.to_categorical(y, num_classes=10)
assert one_hot.shape == (len(y), 10)
assert (one_hot.argmax(-1) == y).all()
scaled = keras.utils.normalize(x.reshape(len(x), -1), axis=-1, order=2)
np.testing.assert_allclose(np.linalg.norm(scaled, axis=1), np.ones(len(x)), rtol=1e-5)
padded = keras.utils.pad_sequences([[1, 2], [3], [4, 5, 6]], maxlen=3, padding="post")
assert padded.tolist() == [[1, 2, 0], [3, 0, 0], [4, 5, 6]]

# Pictures of two classes in folders.
try:
    from PIL import Image  # noqa: F401
except ImportError:
    print("no Pillow here, no pictures in files")
else:
    folder = tempfile.mkdtemp()
    kinds = np.unique(y)[:2]
    for label in kinds:
        os.makedirs(os.path.join(folder, f"digit_{label}"))
        for i, picture in enumerate(x[y == label][:5]):
            keras.utils.save_img(
                os.path.join(folder, f"digit_{label}", f"{i}.png"), picture, scale=False
            )
    name = os.path.join(folder, f"digit_{kinds[0]}", "0.png")
    img = keras.utils.load_img(name, target_size=(8, 8), color_mode="grayscale")
    array = keras.utils.img_to_array(img)
    assert array.shape == (8, 8, 1)
    batch = keras.ops.expand_dims(array, 0)
    assert tuple(batch.shape) == (1, 8, 8, 1)
    assert to_array(model(batch)).shape == (1, 10)
