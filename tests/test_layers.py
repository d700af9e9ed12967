"""Every layer: against recorded values of real Keras or a reference in NumPy, symbolically, by its
configuration.
"""

import inspect
import json

import numpy as np
import pytest
from cases.layer_runs import FILES, arrays, built, outcome, recorded, symbolic_inputs
from cases.layers import CASES, EVERY_CASE

from nbcnn import layers
from nbcnn.registry import deserialize, serialize

CONFIGS = {
    name: config
    for file in FILES
    for name, config in json.loads(file.with_suffix(".json").read_text())["configs"].items()
}
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
CLASSES = {
    name: value
    for name, value in vars(layers).items()
    if inspect.isclass(value) and issubclass(value, layers.Layer) and value.__name__ == name
}
every_case = pytest.mark.parametrize("case", EVERY_CASE, ids=lambda c: c.name.replace(" ", "-"))
case_of_keras = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name.replace(" ", "-"))
every_dtype = pytest.mark.parametrize("dtype", TOLERANCE)


def check(value, expected, dtype, what):
    # Where everything cancels, what is left is the rounding of terms of order 1.
    scale = max(np.abs(expected).max(initial=0.0), 0.1)
    assert value.shape == expected.shape, what
    np.testing.assert_allclose(value, expected, 0, TOLERANCE[dtype] * scale, err_msg=what)


@every_dtype
@every_case
def test_outputs_are_those_expected(case, dtype):
    layer = built(case, dtype)
    x = arrays(case, dtype)
    y = layer(x if len(x) > 1 else x[0], training=case.training)
    assert y.dtype == dtype
    expected = recorded(case)
    check(y, expected["y"], dtype, "output")
    for variable in layer.non_trainable_weights:
        if f"after {variable.name}" in expected:
            check(variable.numpy(), expected[f"after {variable.name}"], dtype, variable.name)


@every_dtype
@every_case
def test_gradients_are_those_expected(case, dtype):
    expected = {k: v for k, v in recorded(case).items() if not k.startswith("after")}
    found = outcome(built(case, dtype), case, dtype)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        check(found[name], value, dtype, name)


@every_case
def test_shapes_with_unknown_batch(case):
    layer = case.make(layers)
    y = layer(symbolic_inputs(case))
    expected = recorded(case)["y"].shape
    unknown = expected if "row" in case.name and len(expected) == 1 else (None, *expected[1:])
    assert y.shape == unknown
    shapes = [(None, *s[1:]) for s in case.inputs]
    assert layer.compute_output_shape(shapes if len(shapes) > 1 else shapes[0]) == unknown
    assert layer(symbolic_inputs(case, batch=5)).shape[1:] == expected[1:]


@every_case
def test_configuration_survives_a_file(case):
    layer = case.make(layers)
    described = json.loads(json.dumps(serialize(layer)))
    again = deserialize(described)
    assert type(again) is type(layer)
    assert serialize(again) == serialize(layer)
    assert repr(again) == repr(layer)
    assert repr(layer).startswith(type(layer).__name__ + "(")


# Arguments of Keras that concern other backends, or parts of Keras that are not here.
NOT_HERE = {
    "dtype", "renorm", "renorm_clipping", "renorm_momentum", "synchronized", "quantization_config",
    "rms_scaling", "lora_rank", "lora_alpha",
}  # fmt: skip


def without_what_is_not_here(config):
    if not isinstance(config, dict):
        return config
    return {k: without_what_is_not_here(v) for k, v in config.items() if k not in NOT_HERE}


@case_of_keras
def test_configurations_of_keras_are_understood(case):
    config = without_what_is_not_here(CONFIGS[case.name])
    layer = case.make(layers)
    assert config.keys() <= layer.fields.keys()
    again = type(layer).from_config(config)
    ours, theirs = layer.get_config(), again.get_config()
    assert ours | {"name": None} == theirs | {"name": None}


def test_every_layer_has_a_case():
    without = {"Layer", "InputLayer", "Lambda", "Pipeline", "Wrapper"}
    assert {type(c.make(layers)).__name__ for c in EVERY_CASE} == CLASSES.keys() - without


def test_weights_have_the_names_and_shapes_of_keras():
    layer = layers.BatchNormalization()
    layer.build((None, 3, 3, 7))
    names = ["gamma", "beta", "moving_mean", "moving_variance"]
    assert [v.name for v in layer.weights] == names
    assert [v.path for v in layer.weights] == [f"{layer.name}/{n}" for n in names]
    assert {v.shape for v in layer.weights} == {(7,)}
    layer = layers.SeparableConv2D(5, (2, 3), depth_multiplier=2)
    layer.build((None, 8, 8, 3))
    shapes = {v.name: v.shape for v in layer.weights}
    assert shapes == {
        "depthwise_kernel": (2, 3, 3, 2),
        "pointwise_kernel": (1, 1, 6, 5),
        "bias": (5,),
    }


def test_arguments_by_position_are_those_of_keras():
    """Where the order is not that of the layers over two axes."""
    layer = layers.Conv3DTranspose(3, 2, 2, "same", "channels_first", 1)
    assert (layer.data_format, layer.output_padding) == ("channels_first", (1, 1, 1))
    layer = layers.Conv1DTranspose(3, 2, 2, "same", 1, "channels_first")
    assert (layer.data_format, layer.output_padding) == ("channels_first", (1,))
    assert layers.DepthwiseConv1D(3, 1, "same", 4).depth_multiplier == 4


def conv(*args, **kwargs):
    return lambda shape: layers.Conv2D(*args, **kwargs)(layers.Input(shape))


ERRORS = [
    (lambda: layers.Conv2D(3, 3, strides=(0, 1)), "Conv2D: strides must be positive, got (0, 1)"),
    (lambda: layers.Conv2D(0, 3), "Conv2D: filters must be positive, got 0"),
    (lambda: layers.Conv2D(3, (3, 3, 3)), "Conv2D: kernel_size must be an integer or a tuple of 2"),
    (lambda: layers.Conv2D(3, 3, padding="full"), "Conv2D: padding must be 'valid', 'same', a num"),
    (lambda: layers.Conv2D(3, 3, padding=-1), "none negative, got -1"),
    (lambda: layers.Conv2D(3, 3, groups=2), "groups must divide filters, got groups=2, filters=3"),
    (lambda: layers.Conv2D(3, 3, activation="rleu"), "did you mean 'relu'?"),
    (lambda: layers.Conv2D(3, 3, conv_algorithm="fft"), "conv_algorithm must be None, 'auto', 'd"),
    (lambda: layers.Conv2D(3, 3, data_format="nhwc"), "data_format must be 'channels_last' or 'c"),
    (lambda: layers.Conv2D(3), "Conv2D: argument 'kernel_size' is missing"),
    (lambda: layers.Conv2D(3, 3, stride=2), "did you mean 'strides'?"),
    (lambda: conv(3, 3)((28, 28)), "expected an input of 4 axes, got shape (None, 28, 28)"),
    (lambda: conv(3, 5)((3, 9, 1)), "window of 5 is larger than its padded input of 3"),
    (lambda: conv(4, 3, groups=2)((9, 9, 3)), "groups must divide the input's channels"),
    (lambda: conv(4, 3)((9, 9, None)), "number of channels must be known"),
    (lambda: layers.MaxPooling2D(4)(layers.Input((3, 3, 1))), "pool_size (4, 4) does not fit"),
    (lambda: layers.MaxPooling2D(strides=0), "MaxPooling2D: strides must be positive, got 0"),
    (
        lambda: layers.MaxPooling2D(2, padding=2)(layers.Input((5, 5, 1))),
        "padding ((2, 2), (2, 2)) must be less than the window (2, 2)",
    ),
    (
        lambda: layers.AveragePooling1D(2, 1, ((0, 3)))(layers.Input((5, 1))),
        "must be less than the window (1, 2)",
    ),
    (lambda: layers.Conv2DTranspose(3, 3, 2, output_padding=2), "must be less than strides"),
    (lambda: layers.Conv3D(3, (2, 2)), "Conv3D: kernel_size must be an integer or a tuple of 3"),
    (
        lambda: layers.Conv3D(3, 2, padding="causal"),
        "((front, back), (top, bottom), (left, right))",
    ),
    (lambda: layers.Conv3D(3, 5)(layers.Input((3, 9, 9, 1))), "kernel_size (5, 5, 5) does not fit"),
    (lambda: layers.Conv3D(3, 2)(layers.Input((9, 9, 1))), "expected an input of 5 axes"),
    (lambda: layers.Conv1DTranspose(3, 3, 2, output_padding=2), "Conv1DTranspose: output_padding"),
    (lambda: layers.Conv1DTranspose(3, 3, padding="causal"), "padding must be 'valid' or 'same'"),
    (lambda: layers.DepthwiseConv1D(3, depth_multiplier=0), "depth_multiplier must be positive"),
    (lambda: layers.SeparableConv1D(3, (2, 2)), "SeparableConv1D: kernel_size must be an integer"),
    (
        lambda: layers.MaxPooling3D(4)(layers.Input((3, 4, 4, 1))),
        "pool_size (4, 4, 4) does not fit",
    ),
    (lambda: layers.AdaptiveMaxPooling2D((2, 0)), "output_size must be positive, got (2, 0)"),
    (lambda: layers.Cropping3D(2)(layers.Input((9, 4, 9, 1))), "leaves nothing of input shape"),
    (
        lambda: layers.ZeroPadding3D((1, 2)),
        "ZeroPadding3D: padding must be a number, (planes, rows",
    ),
    (lambda: layers.UpSampling3D(0), "UpSampling3D: size must be positive, got 0"),
    (lambda: layers.Dense(-1), "Dense: units must be positive, got -1"),
    (lambda: layers.Dense(3)(layers.Input(())), "expected an input of at least 2 axes"),
    (lambda: layers.Dropout(1.5), "Dropout: rate must be between 0 and 1, got 1.5"),
    (lambda: layers.Reshape((3, 3))(layers.Input((4, 4))), "which do not fit target_shape (3, 3)"),
    (lambda: layers.Reshape((-1, -1)), "at most one of them -1, got (-1, -1)"),
    (lambda: layers.Permute((1, 3)), "dims must hold 1..2 once each"),
    (lambda: layers.Cropping2D(2)(layers.Input((4, 9, 1))), "leaves nothing of input shape"),
    (lambda: layers.Input(784), "InputLayer: shape must be a tuple of sizes"),
    (lambda: layers.add(layers.Input((3,))), "Add: expected a list of inputs, got one of shape"),
    (lambda: layers.add([layers.Input((3,)), layers.Input((4,))]), "do not broadcast"),
    (lambda: layers.subtract([layers.Input((3,))]), "Subtract: expected 2 inputs, got 1"),
    (
        lambda: layers.concatenate([layers.Input((3, 4)), layers.Input((4, 3))]),
        "Concatenate: sizes must agree on all axes but 2",
    ),
    (lambda: layers.BatchNormalization(axis=5)(layers.Input((3,))), "axis 5 is out of range"),
    (lambda: layers.UpSampling2D(interpolation="area"), "interpolation must be 'bilinear', 'n"),
]


@pytest.mark.parametrize(("wrong", "text"), ERRORS, ids=[t for _, t in ERRORS])
def test_errors_say_what_came_and_what_was_expected(wrong, text):
    with pytest.raises(ValueError) as error:
        wrong()
    assert text in str(error.value)


def test_a_built_layer_names_the_shape_it_expects():
    layer = layers.Conv2D(3, 3, name="first")
    layer(layers.Input((28, 28, 1)))
    for shape in ((28, 28), (28, 28, 3)):
        got = (None, *shape)
        with pytest.raises(ValueError) as error:
            layer(layers.Input(shape))
        wanted = f"Conv2D 'first': expected input of shape (None, None, None, 1), got {got}"
        assert str(error.value) == wanted
