"""Records what real Keras computes for `cases.image_layers`, once for each of two backends, and
keeps what they agree on: keras_image_layers.npz.

KERAS_BACKEND=jax PYTHONPATH=tests python tests/golden/record_image_layers.py a.npz
KERAS_BACKEND=tensorflow PYTHONPATH=tests python tests/golden/record_image_layers.py b.npz
PYTHONPATH=tests python tests/golden/record_image_layers.py a.npz b.npz

Gradients of spectral normalization are TensorFlow's: JAX gives those of the kernel before it is
divided, and never changes it in `fit`.
"""

import sys
from pathlib import Path

import numpy as np
from cases.image_layers import ROWS, SPECTRAL
from golden.layer_values import slopes, spectral_values

HERE = Path(__file__).parent


def of_row(row, keras):
    layer, x = row.make(keras.layers), row.images()
    if row.given is None:
        return {"y": layer(x, training=True)}
    given = {k: keras.ops.convert_to_tensor(v) for k, v in row.given(x).items()}
    found = {"y": layer.transform_images(keras.ops.convert_to_tensor(x), given)}
    if row.labels:
        found["labels"] = layer.transform_labels(row.classes(), given)
    return found


def of_spectral(case, keras):
    layer = keras.layers.SpectralNormalization(case.make(keras.layers), case.power_iterations)
    x, kernel, u = spectral_values(case)
    layer.build(x.shape)
    if case.name != "zeros":
        layer.kernel.assign(kernel.reshape(layer.kernel.shape))
    layer.vector_u.assign(u)
    found = {}
    for i, training in enumerate((True, True, False)):
        found[f"y{i}"] = layer(x, training=training)
        found[f"kernel{i}"] = keras.ops.convert_to_numpy(layer.kernel)
        found[f"u{i}"] = keras.ops.convert_to_numpy(layer.vector_u)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        layer.kernel.assign(2.0 * layer.kernel)
        with tf.GradientTape() as tape:
            y = layer(x, training=True)
            loss = tf.reduce_sum(y * slopes(case, y.shape).astype("float32"))
        found["slope"] = tape.gradient(loss, layer.kernel.value)
        found["slope at"] = layer.kernel.value
    return found


def record(path):
    import keras

    arrays = {}
    for rows, compute in ((ROWS, of_row), (SPECTRAL, of_spectral)):
        for row in rows:
            for name, value in compute(row, keras).items():
                key = f"{compute.__name__[3:]}/{row.name}/{name}"
                arrays[key] = keras.ops.convert_to_numpy(value)
    np.savez_compressed(path, **arrays)


def join(first, second):
    a, b = (dict(np.load(path)) for path in (first, second))
    kept = {}
    for key in sorted({*a, *b}):
        if "/slope" in key:
            kept[key] = {**a, **b}[key]
        elif a[key].shape != b[key].shape or not np.allclose(a[key], b[key], 1e-5, 1e-4):
            print(key, "differs", np.abs(a[key] - b[key]).max())
        else:
            kept[key] = a[key]
    np.savez_compressed(HERE / "keras_image_layers.npz", **kept)
    print(len(kept), "arrays")


if __name__ == "__main__":
    record(sys.argv[1]) if len(sys.argv) == 2 else join(*sys.argv[1:])
