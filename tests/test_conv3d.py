"""Volumes as images with the planes of a kernel for channels, and reshapes out of fusion's way."""

import numpy as np
import pytest

import nbcnn as keras
from nbcnn import layers, ops
from nbcnn.graph.autodiff import gradients
from nbcnn.graph.graph import Graph
from nbcnn.graph.plan import Plan
from nbcnn.ops.conv import transposed_output, window_output
from nbcnn.ops.op import tracing
from nbcnn.ops.tensor import Tensor
from nbcnn.runtime.device import get_device

RNG = np.random.default_rng(0)


def convolved(x, w, strides, padding, dilation, groups):
    """The sum over all taps, in float64; `padding`: pairs."""
    x = np.pad(x, ((0, 0), *padding, (0, 0)))
    sizes = [
        (n - (k - 1) * d - 1) // s + 1
        for n, k, s, d in zip(x.shape[1:4], w.shape[:3], strides, dilation)
    ]
    y = np.zeros((x.shape[0], *sizes, w.shape[4]))
    c, f = x.shape[4] // groups, w.shape[4] // groups
    for tap in np.ndindex(*w.shape[:3]):
        cut = x[
            (slice(None), *(
                slice(t * d, t * d + (n - 1) * s + 1, s)
                for t, d, n, s in zip(tap, dilation, sizes, strides)
            ))
        ]  # fmt: skip
        for g in range(groups):
            part = cut[..., g * c : (g + 1) * c] @ w[tap][:, g * f : (g + 1) * f]
            y[..., g * f : (g + 1) * f] += part
    return y


def slopes(f, dy, *arrays):
    """y and the gradients of sum(f * dy)."""
    leaves = [Tensor(a.shape, "float64") for a in arrays]
    with tracing():
        y = f(*leaves)
        loss = ops.sum(ops.multiply(y, dy(y)))
    plan = Plan(Graph([y, *gradients(loss, leaves)]), get_device("cpu"))
    for leaf, value in zip(leaves, arrays):
        plan.array(leaf)[...] = value
    plan.prepare()
    plan.run()
    return [plan.array(t).copy() for t in plan.graph.outputs]


CASES = {
    # shape, kernel, strides, padding, dilation, groups
    "valid": ((2, 5, 4, 5, 3), (3, 2, 3, 3, 4), (1, 1, 1), "valid", (1, 1, 1), 1),
    "same": ((1, 4, 5, 4, 4), (3, 3, 2, 2, 6), (1, 1, 1), "same", (1, 1, 1), 2),
    "one plane": ((1, 3, 4, 4, 2), (1, 2, 2, 2, 3), (1, 2, 1), "same", (1, 1, 1), 1),
    "strides": ((2, 7, 5, 4, 2), (3, 3, 2, 2, 3), (2, 1, 2), "same", (1, 1, 1), 1),
    "dilated": ((1, 7, 5, 5, 4), (2, 2, 3, 2, 2), (1, 1, 1), "valid", (3, 2, 1), 2),
    "wide": ((1, 3, 4, 4, 2), (2, 2, 2, 2, 3), (1, 1, 1), ((3, 2), (1, 0), (0, 1)), (1, 1, 1), 1),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_convolution_of_volumes_and_its_gradients(case):
    """Gradients of a bilinear function: their product with any x is the function of that x."""
    shape, kernel, strides, padding, dilation, groups = case
    x, w, other_x, other_w = (RNG.standard_normal(s) for s in (shape, kernel) * 2)
    pads = [padding] * 3 if isinstance(padding, str) else padding
    sides = [
        window_output(n, k, s, p, d)[1:]
        for n, k, s, p, d in zip(shape[1:4], kernel, strides, pads, dilation)
    ]
    rest = (strides, sides, dilation, groups)
    expected = convolved(x, w, *rest)
    weights = RNG.standard_normal(expected.shape)

    def f(x, w):
        return ops.conv(x, w, strides, padding, "channels_last", dilation, groups)

    y, dx, dw = slopes(f, lambda y: weights, x, w)
    np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(np.asarray(f(x, w)), expected, rtol=1e-10, atol=1e-10)
    for found, value in (
        ((dx * other_x).sum(), (weights * convolved(other_x, w, *rest)).sum()),
        ((dw * other_w).sum(), (weights * convolved(x, other_w, *rest)).sum()),
    ):
        np.testing.assert_allclose(found, value, rtol=1e-9)


TRANSPOSED = {
    # shape, kernel, strides, padding, output padding, dilation
    "stride 1": ((2, 3, 4, 3, 2), (3, 2, 3, 4, 2), (1, 2, 1), "valid", None, (1, 1, 1)),
    "stride 1 same": ((1, 4, 3, 3, 3), (3, 3, 2, 2, 3), (1, 1, 2), "same", None, (1, 1, 1)),
    "side by side": ((2, 3, 3, 2, 3), (2, 2, 2, 4, 3), (2, 2, 2), "valid", None, (1, 1, 1)),
    "overlapping": ((1, 3, 3, 2, 2), (3, 2, 2, 2, 2), (2, 1, 1), "same", (1, 0, 0), (1, 1, 1)),
    "dilated": ((1, 3, 3, 2, 2), (2, 2, 2, 3, 2), (1, 1, 1), "valid", None, (2, 1, 1)),
}


@pytest.mark.parametrize("case", TRANSPOSED.values(), ids=TRANSPOSED)
def test_a_transposed_convolution_of_volumes(case):
    """It is the adjoint of the convolution with the same kernel."""
    shape, kernel, strides, padding, more, dilation = case
    x, w, other_x, other_w = (RNG.standard_normal(s) for s in (shape, kernel) * 2)
    sizes, sides = zip(*(
        transposed_output(n, k, s, padding, None if more is None else more[a], d)
        for a, (n, k, s, d) in enumerate(zip(shape[1:4], kernel, strides, dilation))
    ))  # fmt: skip
    z = RNG.standard_normal((shape[0], *sizes, kernel[3]))

    def adjoint(x, w):
        return (x * convolved(z, w, strides, sides, dilation, 1)).sum()

    def f(x, w):
        return ops.conv_transpose(x, w, strides, padding, more, "channels_last", dilation)

    y, dx, dw = slopes(f, lambda y: z, x, w)
    assert y.shape == z.shape
    np.testing.assert_allclose((y * z).sum(), adjoint(x, w), rtol=1e-9)
    np.testing.assert_allclose((dx * other_x).sum(), adjoint(other_x, w), rtol=1e-9)
    np.testing.assert_allclose((dw * other_w).sum(), adjoint(x, other_w), rtol=1e-9)


def steps(model, training):
    model.compile("sgd", "mse")
    plan = model.plan(2, training=training)
    return [s.node.op for s in plan.steps]


def sequence():
    return [layers.Input((24, 16)), layers.Conv1D(16, 3, padding="causal"), layers.MaxPooling1D(2)]


def volume():
    return [layers.Input((3, 6, 6, 16)), layers.Conv3D(16, 3), layers.MaxPooling3D((1, 2, 2))]


@pytest.mark.parametrize("parts", [sequence, volume])
def test_sequences_and_volumes_fuse_as_images_do(parts):
    """The bias, batch normalization, relu: none is a pass of its own."""
    first, convolution, pool = parts()
    model = keras.Sequential(
        [first, convolution, layers.BatchNormalization(), layers.Activation("relu")]
    )
    names = [op.name for op in steps(model, False)]
    assert "scale_shift" not in names
    assert "unary" not in names
    model = keras.Sequential([first, parts()[1], layers.Activation("relu"), pool])
    done = steps(model, True)
    forward = next(op for op in done if op.name == "conv2d")
    assert forward.bias
    assert forward.act
    assert next(op for op in done if op.name == "conv2d_dw").bias


def test_a_reshape_that_regroups_channels_stays_in_front():
    """The bias belongs to channels as they are after it."""
    model = keras.Sequential(
        [layers.Input((4, 6)), layers.Dense(6), layers.Reshape((8, 3)), layers.BatchNormalization()]
    )
    x = RNG.standard_normal((5, 4, 6)).astype("float32")
    model.layers[-1].set_weights([[1.0, 2, 3], [0.5, 1, 2], [0.1, 0.2, 0.3], [1.0, 2, 3]])
    kernel, bias = model.layers[0].get_weights()
    rows = (x @ kernel + bias).reshape(5, 8, 3)
    scale = np.array([1.0, 2, 3]) / np.sqrt(np.array([1.0, 2, 3]) + 1e-3)
    expected = (rows - [0.1, 0.2, 0.3]) * scale + [0.5, 1, 2]
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_upsampling_between_pixels(interpolation):
    layer = layers.UpSampling2D((2, 3), interpolation=interpolation)
    model = keras.Sequential([layers.Input((4, 5, 2)), layer])
    x = RNG.standard_normal((3, 4, 5, 2)).astype("float32")
    assert model.output_shape == (None, 8, 15, 2)
    expected = np.asarray(ops.image.resize(x, (8, 15), interpolation))
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)


def test_any_number_of_rows_fits_a_batch_whose_size_is_unknown():
    """11 * 13 divides no number that could stand for it."""
    x = layers.Input((11 * 13, 2))
    assert ops.reshape(ops.reshape(x, (-1, 2)), (-1, 11, 13, 2)).shape == (None, 11, 13, 2)
