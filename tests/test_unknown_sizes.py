"""Own layers and models that compute with sizes, not known while models are put together."""

import numpy as np
import pytest

import nbcnn
from nbcnn import layers, ops

X = np.random.default_rng(3).random((4, 6, 4, 2)).astype("float32")


@pytest.fixture(autouse=True)
def on_the_cpu():
    with nbcnn.device("cpu"):
        yield


class Doubled(layers.Layer):
    """Twice as high and wide, by numbers made of the sizes."""

    def call(self, inputs):
        batch, height, width, channels = ops.shape(inputs)
        x = ops.reshape(inputs, (batch, height, 1, width, 1, channels))
        x = ops.tile(x, [1, 1, 2, 1, 2, 1])
        return ops.reshape(x, (batch, 2 * height, 2 * width, channels))


class WithOnes(layers.Layer):
    """A channel of ones, which is as large as the batch."""

    def call(self, inputs):
        return ops.concatenate([inputs, ops.ones((*ops.shape(inputs)[:-1], 1))], axis=-1)


@pytest.mark.parametrize("sizes", [(6, 4), (None, None), (None, 4)])
def test_sizes_are_numbers_inside_of_layers(sizes):
    inputs = nbcnn.Input((*sizes, 2))
    outputs = WithOnes()(Doubled()(inputs))
    assert outputs.shape == (None, *(n and 2 * n for n in sizes), 3)
    model = nbcnn.Model(inputs, outputs)
    for x in (X, X[:3, :4, :2]) if None in sizes else (X,):
        if sizes[1] is not None:
            x = x[:, :, :4] if x.shape[2] == 4 else X[:3, :4]
        y = model.predict(x, verbose=0)
        np.testing.assert_array_equal(y[..., :2], x.repeat(2, 1).repeat(2, 2))
        np.testing.assert_array_equal(y[..., 2], np.ones(y.shape[:3]))


def test_models_of_ones_own_compute_with_sizes():
    class Flat(nbcnn.Model):
        def __init__(self):
            super().__init__()
            self.last = layers.Dense(1)

        def call(self, inputs):
            batch, height, width, channels = ops.shape(inputs)
            return self.last(ops.reshape(inputs, (batch, height * width * channels)))

    model = Flat()
    assert model.compute_output_shape((None, 6, 4, 2)) == (None, 1)
    assert [v.shape for v in model.weights] == [(48, 1), (1,)]
    built = Flat()
    built.build((None, 6, 4, 2))
    built.set_weights(model.get_weights())
    np.testing.assert_array_equal(built.predict(X, verbose=0), model.predict(X, verbose=0))


def test_errors_are_about_what_is_wrong_and_not_about_none():
    class Wrong(layers.Layer):
        def call(self, inputs):
            return ops.reshape(inputs, (ops.shape(inputs)[0] * 2, 7))

    with pytest.raises(ValueError, match=r"reshape.*7"):
        Wrong()(nbcnn.Input((6, 4)))
