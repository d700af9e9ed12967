"""Recorded pooling and the way back, borders, filters turned round, weights of each place: what
their layers and functions do beyond the tables of cases.
"""

import json
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as shapes_of

import nbcnn as keras
from nbcnn import layers, ops
from nbcnn.ops.tensor import Tensor

FEW = settings(max_examples=40)


def numbers(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).standard_normal(shape)


# -- pools that record ----------------------------------------------------------------------------


def windows_of(x, pool, strides):
    """Places row * w + column and values of the windows, (n, oh, ow, c, pixels)."""
    places = np.arange(x.shape[1] * x.shape[2]).reshape(1, *x.shape[1:3], 1)
    found = []
    for a in (np.broadcast_to(places, x.shape), x):
        seen = np.lib.stride_tricks.sliding_window_view(a, pool, (1, 2))
        seen = seen[:, :: strides[0], :: strides[1]]
        found.append(seen.reshape(*seen.shape[:4], -1))
    return found


side = st.integers(1, 3)


@FEW
@given(st.tuples(side, side), st.tuples(side, side), st.integers(3, 8), st.integers(3, 9), side)
def test_recorded_pools_and_back(pool, strides, h, w, c):
    x = np.round(numbers(2, h, w, c) * 2)
    places, seen = windows_of(x, pool, strides)
    y, indices = ops.max_pool_with_indices(x, pool, strides)
    winner = seen.argmax(-1)[..., None]
    np.testing.assert_array_equal(indices, np.take_along_axis(places, winner, -1)[..., 0])
    np.testing.assert_array_equal(y, seen.max(-1))
    assert indices.dtype == "int32"
    back = ops.max_unpool(y, indices, pool, strides, output_size=(h, w))
    flat = np.zeros((2, h * w, c))
    n, _, _, k = np.indices(indices.shape)
    np.add.at(flat, (n, indices, k), y)
    np.testing.assert_allclose(back, flat.reshape(x.shape))
    symbols = Tensor(y.shape, "float64"), Tensor(indices.shape, "int32")
    assert ops.max_unpool(*symbols, pool, strides, output_size=(h, w)).shape == x.shape


def test_least_size_is_what_the_pool_needs():
    y, indices = ops.max_pool_with_indices(numbers(1, 9, 7, 2), 3, 2)
    assert ops.max_unpool(y, indices, 3, 2).shape == (1, 9, 7, 2)
    y, indices = ops.max_pool_with_indices(numbers(1, 8, 6, 2), 2, 2, "same")
    assert ops.max_unpool(y, indices, 2, 2, "same").shape == (1, 8, 6, 2)


def autoencoder(data_format="channels_last"):
    """Two pools and the way back to their places, as SegNet has it."""
    first = data_format == "channels_first"
    x = keras.Input((2, 9, 8) if first else (9, 8, 2))
    options = {"padding": "same", "data_format": data_format}
    y = layers.Conv2D(3, 3, activation="relu", **options)(x)
    pool = layers.MaxPooling2D(2, data_format=data_format, return_indices=True)
    y, outer = pool(y)
    y, inner = layers.MaxPooling2D((2, 1), data_format=data_format, return_indices=True)(y)
    y = layers.Conv2D(3, 3, **options)(y)
    y = layers.MaxUnpooling2D((2, 1), data_format=data_format)([y, inner])
    unpool = layers.MaxUnpooling2D(2, data_format=data_format, output_size=(9, 8))
    return keras.Model(x, [layers.Conv2D(2, 3, **options)(unpool(y, outer)), outer])


def test_a_model_that_unpools(tmp_path):
    """Trained, kept in both kinds of files, and the same with channels first."""
    keras.utils.set_random_seed(0)
    model, x = autoencoder(), numbers(4, 9, 8, 2).astype("f4")
    trained = keras.Model(model.inputs, model.outputs[0])
    trained.compile(keras.optimizers.Adam(0.01), "mse")
    losses = trained.fit(x, x, batch_size=4, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < 0.9 * losses[0]
    y, places = model.predict(x, verbose=0)
    assert (places.shape, places.dtype) == ((4, 4, 4, 3), "int32")
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    turned = autoencoder("channels_first")
    turned.set_weights(model.get_weights())
    for other, axes in ((again, (0, 1, 2, 3)), (turned, (0, 3, 1, 2))):
        found = other.predict(x.transpose(axes), verbose=0)
        for one, right in zip(found, (y, places), strict=True):
            np.testing.assert_allclose(one, right.transpose(axes), 1e-5, 1e-6)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_unpooling_in_onnx_files(data_format, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    model, path = autoencoder(data_format), tmp_path / "model.onnx"
    x = numbers(3, *model.inputs[0].shape[1:]).astype("f4")
    model.export(path)
    wanted = model.predict(x, verbose=0)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: x})
    again = keras.onnx.load(path).predict(x, verbose=0)
    for results in (found, again):
        for one, right in zip(results, wanted, strict=True):
            np.testing.assert_allclose(one, right, 1e-4, 1e-5)


def test_relu_before_a_recorded_pool_stays_there():
    """Of a window without positive values the first pixel is meant, not the largest before relu."""
    x = keras.Input((2, 2, 1))
    y = layers.Conv2D(1, 1, activation="relu")(x)
    y, places = layers.MaxPooling2D(2, return_indices=True)(y)
    model = keras.Model(x, [y, places])
    model.set_weights([np.ones((1, 1, 1, 1)), np.zeros(1)])
    y, places = model.predict(np.array([[-4.0, -3, -2, -1]], "f4").reshape(1, 2, 2, 1), verbose=0)
    assert y.item() == places.item() == 0


def test_numbers_that_are_no_places():
    x = np.ones((1, 2, 2, 1), "f4")
    beyond = np.array([0, -1, 16, 5], "int32").reshape(1, 2, 2, 1)
    with pytest.raises(ValueError, match=r"pixels 0..15 of an image of 4 x 4, got .* -1 to 16"):
        ops.max_unpool(x, beyond, 2)
    y = layers.MaxUnpooling2D(2)(x, beyond)
    assert np.flatnonzero(y).tolist() == [0, 5]


# -- borders --------------------------------------------------------------------------------------


@FEW
@given(
    st.data(),
    shapes_of.array_shapes(min_dims=1, max_dims=5, min_side=1, max_side=5),
    st.sampled_from(["edge", "reflect", "symmetric", "wrap"]),
)
def test_pad_by_what_is_there(data, shape, mode):
    """Also wider than the array, which goes another way."""
    widths = [(data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))) for _ in shape]
    x = numbers(*shape)
    np.testing.assert_array_equal(ops.pad(x, widths, mode), np.pad(x, widths, mode))
    assert ops.pad(Tensor(shape, "float64"), widths, mode).shape == np.pad(x, widths, mode).shape


def test_means_around_whole_numbers():
    x = np.arange(12, dtype="uint8").reshape(1, 2, 3, 2)
    y = layers.Padding2D(((1, 0), (0, 0)), "mean")(x)
    np.testing.assert_array_equal(y[0, 0], [[5, 6]] * 3)
    np.testing.assert_array_equal(y[:, 1:], x)


def test_a_number_has_no_axis_to_pad():
    assert ops.pad(np.float32(3), 1, "edge") == 3


def test_windows_wider_than_all_channels():
    """Are all channels, and no larger a kernel than that."""
    x = numbers(2, 3)
    wide = ops.local_response_normalization(x, 1_000_001, 3e5)
    np.testing.assert_allclose(wide, ops.local_response_normalization(x, 5, 1.5), 1e-4)


def test_sizes_that_only_the_data_tell():
    layer = layers.Conv2D(1, 3, padding="same", padding_mode="reflect")
    model = keras.Sequential([keras.Input((None, None, 2)), layer, layers.Padding2D(1, "mean")])
    assert model.output_shape == (None, None, None, 1)
    other = layers.Conv2D(1, 3, 2, padding="same", padding_mode="edge")
    strided = keras.Sequential([keras.Input((None, None, 2)), other])
    for size in (4, 7):
        x = numbers(2, size, size + 1, 2).astype("f4")
        assert model.predict(x, verbose=0).shape == (2, size + 2, size + 3, 1)
        assert strided.predict(x, verbose=0).shape == (2, -(-size // 2), -(-(size + 1) // 2), 1)


def test_zeros_stay_in_the_convolution():
    """A border of zeros, said in either way, is no operation of its own."""
    x = keras.Input((6, 6, 2))
    for mode in ("zeros", "constant"):
        y = layers.Conv2D(3, 3, padding=((2, 0), (1, 2)), padding_mode=mode)(x)
        steps = keras.Model(x, y).plan(2, training=False).steps
        assert "copy" not in {step.node.op.impl_op for step in steps}


# -- filters turned round -------------------------------------------------------------------------


def test_convolution_beside_correlation():
    """What scipy calls them."""
    signal = pytest.importorskip("scipy.signal")
    x, kernel = numbers(1, 6, 7, 1), numbers(3, 2, 1, 1)
    for flip, right in ((True, signal.convolve2d), (False, signal.correlate2d)):
        layer = layers.Conv2D(1, (3, 2), use_bias=False, flip_filters=flip, dtype="float64")
        layer.build((None, 6, 7, 1))
        layer.set_weights([kernel])
        wanted = right(x[0, :, :, 0], kernel[:, :, 0, 0], "valid")
        np.testing.assert_allclose(layer(x)[0, :, :, 0], wanted, 1e-12)


# -- files of Keras's -----------------------------------------------------------------------------


def test_what_keras_does_not_know_is_only_said_where_it_counts(tmp_path):
    own = {"padding_mode", "padding_value", "flip_filters", "return_indices"}
    plain = [layers.Conv2D(2, 3), layers.DepthwiseConv2D(2), layers.MaxPooling2D(1)]
    given = [
        layers.Conv2D(2, 3, padding_mode="edge", flip_filters=True),
        layers.DepthwiseConv2D(2, padding_mode="constant", padding_value=0.5),
    ]
    said = []
    for number, stack in enumerate((plain, given)):
        model = keras.Sequential([keras.Input((6, 6, 1)), *stack])
        model.save(tmp_path / f"{number}.keras")
        with zipfile.ZipFile(tmp_path / f"{number}.keras") as file:
            described = json.loads(file.read("config.json"))["config"]["layers"][1:]
        said.append([own & set(layer["config"]) for layer in described])
    assert said[0] == [set()] * 3
    assert said[1] == [{"padding_mode", "flip_filters"}, {"padding_mode", "padding_value"}]


# -- arguments that do not fit --------------------------------------------------------------------

IMAGE = (5, 6, 2)
ERRORS = [
    (
        lambda: layers.MaxUnpooling2D(2)(layers.Input(IMAGE), layers.Input((5, 5, 2))),
        "got inputs of shape (None, 5, 6, 2) and indices of shape (None, 5, 5, 2)",
    ),
    (
        lambda: ops.max_unpool(np.ones((1, 2, 2, 1)), np.ones((1, 2, 2, 2), "int32"), 2),
        "inputs of shape (1, 2, 2, 1) and indices of shape (1, 2, 2, 2)",
    ),
    (
        lambda: layers.MaxUnpooling2D(2, output_size=(10, 99))(
            layers.Input(IMAGE), layers.Input(IMAGE, dtype="int32")
        ),
        "make 49 along axis 2 of an image of output_size (10, 99), got inputs of shape (None, 5, 6",
    ),
    (
        lambda: ops.max_unpool(np.ones((1, 2, 2, 1)), np.ones((1, 2, 2, 1), "int32"), 2, 0),
        "max_unpool: pool_size and strides must be positive, got 2 and 0",
    ),
    (
        lambda: ops.max_unpool(np.ones((2, 3)), np.ones((2, 3), "int32"), 2),
        "max_unpool: inputs must be images (n, h, w, c) of a size that is known, got shape (2, 3)",
    ),
    (
        lambda: ops.max_pool_with_indices(Tensor((None, None, 4, 1), "float32"), 2),
        "max_pool_with_indices: inputs must be images (n, h, w, c) of a size that is known, got",
    ),
    (
        lambda: ops.max_pool_with_indices(np.ones((1, 0, 4, 1)), 2, padding=((1, 1), (0, 0))),
        "on input (1, 0, 4, 1), which has no pixels",
    ),
    (
        lambda: layers.MaxUnpooling2D(3, 2)(layers.Input(IMAGE)),
        "windows side by side: pool_size (3, 3), strides (2, 2) and padding valid are none",
    ),
    (
        lambda: layers.MaxUnpooling2D(2, output_size=(12, 12))(layers.Input(IMAGE)),
        "output_size (12, 12) is not that of an image of which windows of (2, 2) make inputs of",
    ),
    (
        lambda: layers.Padding2D(5, "reflect")(layers.Input(IMAGE)),
        "'reflect' padding of (5, 5) takes up to 5 of the numbers along an axis, "
        "there are 4 to take in input shape (None, 5, 6, 2)",
    ),
    (
        lambda: layers.Conv2D(1, 13, padding="same", padding_mode="circular")(layers.Input(IMAGE)),
        "'circular' padding of (6, 6) takes up to 6 of the numbers along an axis, there are 5",
    ),
    (
        lambda: layers.Conv2D(1, 3, padding_mode="mirror"),
        "padding_mode must be 'zeros', 'constant', 'reflect', 'symmetric', 'edge', 'circular' or",
    ),
    (
        lambda: layers.LocallyConnected2D(1, 3)(layers.Input((None, 6, 2))),
        "each place has weights of its own, so sizes must be known, got shape (None, None, 6, 2)",
    ),
    (
        lambda: layers.LocallyConnected1D(1, 7)(layers.Input((6, 2))),
        "kernel_size (7,) does not fit input shape (None, 6, 2)",
    ),
    (
        lambda: layers.LocallyConnected2D(1, 2, padding=2)(layers.Input(IMAGE)),
        "padding ((2, 2), (2, 2)) must be less than the window (2, 2)",
    ),
    (lambda: layers.LocalResponseNormalization(4), "size must be odd and positive, got 4"),
    (lambda: layers.LocalResponseNormalization(k=0), "k must be positive, got 0"),
    (lambda: ops.local_response_normalization(np.ones((1, 4)), 2), "size must be odd"),
    (lambda: ops.local_response_normalization(np.ones((1, 4)), 2.5), "and positive, got 2.5"),
    (lambda: ops.local_response_normalization(1.0), "x must have an axis, got a number"),
]


@pytest.mark.parametrize(("wrong", "text"), ERRORS, ids=[t for _, t in ERRORS])
def test_errors_say_what_came_and_what_was_expected(wrong, text):
    with pytest.raises(ValueError) as error:
        wrong()
    assert text in str(error.value)


def test_places_of_a_locally_connected_layer_are_fixed():
    layer = layers.LocallyConnected2D(2, 3, name="own")
    layer(layers.Input((5, 6, 2)))
    assert [v.shape for v in layer.weights] == [(12, 18, 2), (3, 4, 2)]
    with pytest.raises(ValueError, match=r"expected input of shape \(None, 5, 6, 2\), got"):
        layer(layers.Input((6, 6, 2)))
