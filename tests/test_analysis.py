"""`nbcnn.analysis` against loops over single elements: sizes, parameters, matrices, conversions."""

import math

import numpy as np
import pytest
from random_stacks import STACKS, fields_of, stacks

import nbcnn
from nbcnn import analysis, layers

# -- sizes, parameters, matrices ------------------------------------------------------------------


def test_output_sizes_are_counted_positions():
    rng = np.random.default_rng(0)
    for _ in range(300):
        n, k, s, before, after, d = (
            int(rng.integers(a, b)) for a, b in ((1, 30), (1, 6), (1, 5), (0, 4), (0, 4), (1, 4))
        )
        reach = (k - 1) * d + 1
        count = len(range(0, n + before + after - reach + 1, s))
        if not count:
            with pytest.raises(ValueError, match=f"= {n + before + after}$"):
                analysis.output_size(n, k, s, (before, after), d)
            continue
        assert analysis.output_size(n, k, s, (before, after), d) == count
        if (n - reach + before + after) % s:
            with pytest.raises(ValueError, match=r"is no integer"):
                analysis.output_size(n, k, s, (before, after), d, strict=True)
        else:
            assert analysis.output_size(n, k, s, (before, after), d, strict=True) == count


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        (((32, 30), 3, 1, 1), (32, 30)),
        (((32, 30), (3, 5), (1, 2), (0, (2, 1))), (30, 15)),
        ((7, 3, 2, "same"), 4),
        ((7, 3, 1, "causal", 2), 7),
        ((7, 3, 1, "full"), 9),
        (((7, 9), 3, 1, ("same", "valid")), (7, 7)),
    ],
)
def test_ways_to_say_sizes(arguments, size):
    assert analysis.output_size(*arguments) == size


def test_sizes_that_cannot_be():
    with pytest.raises(ValueError, match=r"\(10 - 3 \+ 0\) / 2 = 3.5 is no integer"):
        analysis.output_size(10, 3, 2, strict=True)
    with pytest.raises(ValueError, match=r"window of 3 \(dilated by 4: 9\) .* 5 \+ 1 \+ 1 = 7"):
        analysis.output_size(5, 3, p=1, d=4)
    with pytest.raises(ValueError, match="p must be 'valid', 'same'"):
        analysis.output_size(5, 3, p="some")
    with pytest.raises(ValueError, match="s must be a whole number, at least 1, got 0"):
        analysis.output_size(5, 3, 0)


def test_parameters_and_entries_of_random_stacks():
    for stack in stacks(STACKS):
        report = analysis.parameter_count(stack.model)
        rows = {row.layer: row for row in report.layers}
        assert {name: row.parameters for name, row in rows.items()} == stack.parameters
        assert report.total == sum(stack.parameters.values())
        for name, entries in stack.sparse.items():
            assert rows[name].sparse == entries
            layer = stack.model.get_layer(name)
            shape = layer.input.shape[1:]
            matrix = analysis.conv_as_matrix(layer, shape)
            assert matrix.nnz == entries
            assert rows[name].dense == math.prod(matrix.shape)
            assert matrix.shape == (math.prod(layer.output.shape[1:]), math.prod(shape))


def test_the_example_of_the_texts():
    """Goodfellow, Bengio and Courville, "Deep Learning", section 9.2."""
    model = nbcnn.Sequential([nbcnn.Input((280, 320, 1)), layers.Conv2D(1, (1, 2), use_bias=False)])
    (row,) = analysis.parameter_count(model).layers
    assert (row.parameters, row.sparse, row.dense) == (2, 178_640, 320 * 280 * 319 * 280)
    assert row.dense > 8e9
    assert "178,640" in str(analysis.parameter_count(model))


def test_frozen_parameters_and_shared_layers():
    shared = layers.Conv2D(2, 3, padding="same")
    x = nbcnn.Input((6, 6, 2))
    y = layers.BatchNormalization()(shared(shared(x)))
    model = nbcnn.Model(x, layers.Dense(3)(layers.Flatten()(y)))
    shared.trainable = False
    report = analysis.parameter_count(model)
    assert report.total == 38 + 8 + 72 * 3 + 3
    assert (report.frozen, report.trainable) == (38 + 4, 4 + 72 * 3 + 3)
    assert report.layers[0].sparse == 2 * 16 * 16 * 4  # applied twice
    assert report.layers[-1].dense == report.layers[-1].sparse == 72 * 3


LINEAR = [
    (layers.Conv1D(3, 3, padding="causal", dilation_rate=2), (9, 2)),
    (layers.Conv2D(4, 3, 2, "same", groups=2), (7, 6, 4)),
    (layers.Conv2D(2, 3, padding=((1, 0), (2, 1)), data_format="channels_first"), (3, 5, 6)),
    (layers.Conv2D(2, (3, 2), flip_filters=True), (5, 6, 2)),
    (layers.Conv3D(2, 2, padding="same"), (4, 5, 3, 2)),
    (layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"), (5, 5, 3)),
    (layers.SeparableConv2D(4, 3, depth_multiplier=2), (5, 6, 3)),
    (layers.Conv1DTranspose(2, 3, 3, "same"), (5, 2)),
    (layers.Conv2DTranspose(3, 3, 2, "same"), (4, 5, 2)),
    (layers.Conv2DTranspose(3, 2, 2, data_format="channels_first"), (2, 3, 4)),
    (layers.Conv3DTranspose(2, 3, 2), (2, 3, 2, 2)),
    (layers.AveragePooling2D(3, 2, "same"), (7, 7, 2)),
]


@pytest.mark.parametrize(("layer", "shape"), LINEAR, ids=lambda v: getattr(v, "name", ""))
def test_matrices_and_dense_layers_do_what_layers_do(layer, shape):
    rng = np.random.default_rng(0)
    layer = type(layer).from_config(layer.get_config())
    layer.build((None, *shape))
    bias = getattr(layer, "bias", None)
    if bias is not None:
        bias.assign(rng.normal(size=bias.shape))
    x = rng.normal(size=(2, *shape)).astype("float32")
    y = np.asarray(layer(x))
    matrix = analysis.conv_as_matrix(layer, shape)
    flat = np.stack([(matrix @ one.ravel()).reshape(y.shape[1:]) for one in x])
    if bias is not None:
        first = layer.data_format == "channels_first"
        flat = flat + bias.numpy().reshape((-1, 1, 1) if first else (-1,))
    np.testing.assert_allclose(flat, y, rtol=1e-4, atol=1e-5)
    dense = analysis.conv_to_dense(layer, shape)
    found = np.asarray(dense(x.reshape(2, -1)))
    np.testing.assert_allclose(found, y.reshape(2, -1), rtol=1e-4, atol=1e-5)


def test_the_transposed_matrix_is_the_transposed_convolution():
    rng = np.random.default_rng(0)
    conv = layers.Conv2D(3, 3, 2, "same", use_bias=False)
    conv.build((None, 8, 6, 2))
    back = layers.Conv2DTranspose(2, 3, 2, "same", use_bias=False)
    back.build((None, 4, 3, 3))
    back.kernel.assign(conv.kernel.numpy())
    y = rng.normal(size=(1, 4, 3, 3)).astype("float32")
    matrix = analysis.conv_as_matrix(conv, (8, 6, 2))
    np.testing.assert_allclose(
        matrix.T @ y.ravel(), np.asarray(back(y)).ravel(), rtol=1e-4, atol=1e-5
    )
    assert abs(matrix.T - analysis.conv_as_matrix(back, (4, 3, 3))).max() < 1e-7


class Doubled(layers.Conv2D):
    def call(self, x):
        return 2 * super().call(x)


@pytest.mark.parametrize("layer", [layers.MaskedConv2D(2, 3), layers.MaskedDepthwiseConv2D(3),
                                   Doubled(2, 3), layers.MaxPooling2D(2)])  # fmt: skip
def test_what_is_more_than_its_kernel_is_no_matrix(layer):
    layer = type(layer).from_config(layer.get_config())
    layer.build((None, 5, 5, 2))
    for convert in (analysis.conv_as_matrix, analysis.conv_to_dense):
        with pytest.raises(TypeError, match=f"^{convert.__name__}: {type(layer).__name__} "):
            convert(layer, (5, 5, 2))


# -- conversion -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6, 4), (2, 3, 4), (2, 2, 3, 2), (1, 1, 24)])
def test_a_dense_layer_as_a_convolution(shape):
    rng = np.random.default_rng(0)
    dense = layers.Dense(5, activation="tanh")
    dense.build((None, 24))
    dense.bias.assign(rng.normal(size=5))
    conv = analysis.dense_to_conv(dense, shape)
    x = rng.normal(size=(2, *shape)).astype("float32")
    y = np.asarray(conv(x))
    assert y.shape == (2, *(1,) * (len(shape) - 1), 5)
    np.testing.assert_allclose(y.reshape(2, 5), np.asarray(dense(x.reshape(2, -1))), atol=1e-6)


def test_a_classifier_on_larger_images():
    model = nbcnn.Sequential(
        [nbcnn.Input((12, 12, 1)), layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D(2),
         layers.BatchNormalization(), layers.Flatten(), layers.Dense(8, activation="relu"),
         layers.Dropout(0.5), layers.Dense(3, activation="softmax")]
    )  # fmt: skip
    x = np.random.default_rng(0).normal(size=(2, 16, 12, 1)).astype("float32")
    maps = analysis.fully_convolutional(model).predict(x, verbose=0)
    assert maps.shape == (2, 3, 1, 3)
    for place in range(3):
        part = x[:, 2 * place : 2 * place + 12]
        np.testing.assert_allclose(maps[:, place, 0], model.predict(part, verbose=0), atol=1e-6)


def test_conversions_that_cannot_be():
    dense = layers.Dense(5)
    with pytest.raises(ValueError, match=r"is not built; dense\w*\.build\(\(None, 24\)\)"):
        analysis.dense_to_conv(dense, (2, 3, 4))
    dense.build((None, 24))
    with pytest.raises(ValueError, match=r"has 24 inputs, .* 3 \* 3 \* 4 = 36 elements"):
        analysis.dense_to_conv(dense, (3, 3, 4))
    conv = layers.Conv2D(2, 3, activation="softmax")
    conv.build((None, 8, 8, 1))
    with pytest.raises(ValueError, match="softmax is over 2 channels at each of 36 places"):
        analysis.conv_to_dense(conv, (8, 8, 1))
    conv.activation = None
    with pytest.raises(ValueError, match="make a kernel of 1,245,701,604,000 entries"):
        analysis.conv_to_dense(conv, (1000, 791, 1))
    with pytest.raises(ValueError, match="expected input of shape"):
        analysis.conv_as_matrix(conv, (8, 8, 3))
    with pytest.raises(ValueError, match=r"does not fit input shape \(None, 2, 8, 1\)"):
        analysis.conv_as_matrix(conv, (2, 8, 1))
    mirrored = layers.Conv2D(2, 3, padding="same", padding_mode="reflect")
    mirrored.build((None, 8, 8, 1))
    with pytest.raises(ValueError, match="has padding_mode 'reflect', expected 'zeros'"):
        analysis.conv_as_matrix(mirrored, (8, 8, 1))
    with pytest.raises(TypeError, match="is no convolution or average pool"):
        analysis.conv_as_matrix(dense, (24,))
    with pytest.raises(TypeError, match="expected a Dense layer, got Conv2D"):
        analysis.dense_to_conv(conv, (2, 3, 4))
    first = layers.Conv2D(2, 3, data_format="channels_first", name="first")
    swapped = [nbcnn.Input((1, 8, 8)), first, layers.Flatten(), layers.Dense(3)]
    with pytest.raises(ValueError, match="must have channels last, layer 'first'"):
        analysis.fully_convolutional(nbcnn.Sequential(swapped))


# -- all ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "receptive_field",
        "parameter_count",
        "operation_count",
        "memory_report",
        "equivariance",
        "profile",
        "fully_convolutional",
    ],
)
def test_a_model_that_is_not_built_is_told_how(name):
    model = nbcnn.Sequential([layers.Conv2D(1, 3)], name="net")
    with pytest.raises(ValueError, match=rf"{name}: .*net\.build\(\(None, height, width, channels"):
        getattr(analysis, name)(model)
    with pytest.raises(TypeError, match=f"{name}: expected a model, got list"):
        getattr(analysis, name)([])


class Own(nbcnn.Model):
    def __init__(self):
        super().__init__(name="own")
        self.conv, self.dense = layers.Conv2D(2, 3), layers.Dense(2)

    def call(self, x):
        return self.dense(nbcnn.ops.mean(self.conv(x), (1, 2)))


@pytest.mark.parametrize("way", ["build", "__call__"])
def test_a_class_of_ones_own_is_looked_at_as_the_message_says(way):
    model = Own()
    getattr(model, way)((None, 6, 7, 3) if way == "build" else np.zeros((2, 6, 7, 3), "float32"))
    assert fields_of(model).layers[-1].size == (6, 7)
    assert analysis.parameter_count(model).total == model.count_params() == 56 + 6
    assert analysis.operation_count(model).multiply_adds == 4 * 5 * 2 * 27 + 4
    assert analysis.memory_report(model, 3, training=False).weights == 4 * 62
    assert analysis.profile(model, 3, repeats=1, limits=(1e11, 1e10)).layers[0].layer == "own"
    model.compile("sgd", "mse")
    assert analysis.memory_report(model, 3).gradients >= 4 * 62
    x, y = np.ones((3, 5, 5, 3), "float32"), np.ones((3, 2), "float32")
    model.fit(x, y, verbose=0)  # sizes stay open
    assert analysis.operation_count(model).multiply_adds == 3 * 3 * 2 * 27 + 4


def test_sizes_that_a_model_does_not_say():
    model = nbcnn.Sequential([nbcnn.Input((None, None, 1)), layers.Conv2D(1, 3)])
    with pytest.raises(ValueError, match="give the sizes of a sample as input_shape"):
        fields_of(model)
    assert fields_of(model, (10, 12, 1)).input_size == (10, 12)
    assert analysis.parameter_count(model, (None, 10, 12, 1)).layers[0].output_shape == (8, 10, 1)
    with pytest.raises(ValueError, match=r"units \(8, 10\) along the input's axes, got \(8, 0\)"):
        fields_of(model, (10, 12, 1)).of(8, 0)
